"""Which part of a photo is trained: the part set by hand, else around the faces, else the middle. Pure geometry.

A crop of a bucket's shape that is as large as the photo allows takes its whole width or its whole height, and can be
moved along the other. So whenever any crop of that shape holds all heads, the largest moved to the right place does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lora_forge.dataset.buckets import Bucket, Crop, choose_bucket, cover_crop, source_box
from lora_forge.dataset.project_file import Box

Span = tuple[float, float]
Edges = tuple[float, float, float, float]

# A face box reaches from the brows or the hairline to the chin: hair, ears and some neck belong to the head.
_UP, _SIDEWAYS, _DOWN = 0.6, 0.3, 0.15
_AIR = 0.25  # of the head's size; kept around a head where there is room
_MOST_FACES = 12  # of a crowd only the largest count
_LEAST_OVERLAP = 1e-6


@dataclass(frozen=True)
class Aim:
    """What a photo is cut by. ``mode``: ``middle``, ``subject`` (around ``faces``) or ``none`` (as little as the sizes
    allow). ``crop``: the part set by hand, within which the rest holds. Boxes in px of the upright photo."""

    mode: str = "middle"
    crop: Box | None = None
    faces: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Cut:
    """``edges``: the part of the photo (left, top, right, bottom) in its px, fractional. ``crop``: the same as the
    resized photo and where the bucket begins in it, which is what SDXL is told."""

    bucket: Bucket
    edges: Edges
    crop: Crop

    @property
    def box(self) -> Box:
        """The part in whole px, none of it left out."""
        left, top, right, bottom = self.edges
        x, y = math.floor(left + _LEAST_OVERLAP), math.floor(top + _LEAST_OVERLAP)
        return x, y, math.ceil(right - _LEAST_OVERLAP) - x, math.ceil(bottom - _LEAST_OVERLAP) - y


def head_of(face: Box, size: tuple[int, int]) -> Edges:
    """The head around a face box: (left, top, right, bottom) in px, within a photo of ``size`` (width, height)."""
    x, y, width, height = face
    left, top = x - _SIDEWAYS * width, y - _UP * height
    right, bottom = x + (1 + _SIDEWAYS) * width, y + (1 + _DOWN) * height
    return _clipped((left, top, right, bottom), size)


def propose(size: tuple[int, int], face_boxes: Sequence[Box], target: tuple[int, int]) -> Box:
    """The largest part of a photo of ``size`` with the shape of ``target`` (both width, height) that cuts no head where
    that can be avoided; without faces the middle. (x, y, width, height) in whole px, so the shape is right to a px."""
    aim = Aim("subject", None, tuple(face_boxes)) if face_boxes else Aim()
    return _cut(size, Bucket(*target), aim).box


def around_face(size: tuple[int, int], face: Box, padding: float) -> Box:
    """A square around a face, ``padding`` times the face's longer side added on every side: (x, y, width, height) in px
    of a photo of ``size`` (width, height). Moved into the photo; smaller, and no square, where that has no room for it.

    With padding the square moves up to the middle of the head, which is above that of the face.
    """
    x, y, width, height = face
    side = max(1, round(max(width, height) * (1 + 2 * padding)))
    up = (_UP - _DOWN) / 2 * height * min(1.0, 2 * padding)
    part = min(side, size[0]), min(side, size[1])
    left = round(_within(x + width / 2 - part[0] / 2, 0, size[0] - part[0]))
    top = round(_within(y + height / 2 - up - part[1] / 2, 0, size[1] - part[1]))
    return left, top, *part


def overlap_share(one: Box, other: Box) -> float:
    """What two boxes have in common of what they cover together, 0 to 1."""
    width = _overlap(one[0], one[0] + one[2], (other[0], other[0] + other[2]))
    height = _overlap(one[1], one[1] + one[3], (other[1], other[1] + other[3]))
    return width * height / (one[2] * one[3] + other[2] * other[3] - width * height)


def plan_cut(size: tuple[int, int], buckets: Sequence[Bucket], aim: Aim) -> Cut:
    """The bucket for a photo of ``size`` (width, height), and the part of the photo that fills it."""
    part = _part(size, aim)
    return _cut(size, choose_bucket((part[2], part[3]), buckets), aim)


def _part(size: tuple[int, int], aim: Aim) -> Box:
    """What of the hand crop lies in the photo: a file may have been made smaller since."""
    if aim.crop is None:
        return 0, 0, *size
    x, y, width, height = aim.crop
    left, top = max(0, min(x, size[0] - 1)), max(0, min(y, size[1] - 1))
    right, bottom = max(left + 1, min(size[0], x + width)), max(top + 1, min(size[1], y + height))
    return left, top, right - left, bottom - top


def _cut(size: tuple[int, int], bucket: Bucket, aim: Aim) -> Cut:
    if aim.crop is None and not aim.faces:
        crop = cover_crop(size, bucket)
        return Cut(bucket, source_box(size, bucket, crop), crop)
    x, y, width, height = _part(size, aim)
    faces = [(a - x, b - y, w, h) for a, b, w, h in aim.faces]
    left, top, right, bottom = _window((width, height), bucket, [face for face in faces if _is_in(face, width, height)])
    edges = (x + left, y + top, min(float(size[0]), x + right), min(float(size[1]), y + bottom))
    scale = max(bucket.width / (right - left), bucket.height / (bottom - top))
    resized = max(bucket.width, round(size[0] * scale)), max(bucket.height, round(size[1] * scale))
    start = round(edges[0] * scale), round(edges[1] * scale)
    crop = Crop(resized, min(start[0], resized[0] - bucket.width), min(start[1], resized[1] - bucket.height))
    return Cut(bucket, edges, crop)


def _window(size: tuple[int, int], bucket: Bucket, faces: Sequence[Box]) -> Edges:
    """Edges of the largest window of the bucket's shape in a picture of ``size``, at its best place."""
    width, height = size
    is_wide = width * bucket.height > height * bucket.width
    near = 0 if is_wide else 1  # the one of left and top that can be chosen; its other end is two further on
    length = height * bucket.width / bucket.height if is_wide else width * bucket.height / bucket.width
    largest = sorted(faces, key=lambda box: (-box[2] * box[3], box))[:_MOST_FACES]
    heads = [head_of(face, size) for face in largest]
    bare = [_clipped((x, y, x + w, y + h), size) for x, y, w, h in largest]
    spans = [
        _Spans((face[near], face[near + 2]), (head[near], head[near + 2]), _area(head))
        for face, head in zip(bare, heads, strict=True)
    ]
    start = _best_start(float(size[near]), length, spans)
    return (start, 0.0, start + length, float(height)) if is_wide else (0.0, start, float(width), start + length)


class _Spans:
    """One face along the way the crop can be moved: the face itself, the head, the head with air around it."""

    def __init__(self, face: Span, head: Span, area: float) -> None:
        air = _AIR * (head[1] - head[0])
        self.face, self.head, self.area = face, head, area
        self.airy = (head[0] - air, head[1] + air)


def _best_start(whole: float, length: float, spans: Sequence[_Spans]) -> float:
    """Where a crop of ``length`` begins in 0..``whole``. What counts, the first first: heads held whole, by area; faces
    held whole; few heads cut through; much of the heads; air around them; the middle."""
    most, middle = max(0.0, whole - length), max(0.0, whole - length) / 2
    if not spans or not most:
        return middle

    def score(start: float) -> tuple[float, ...]:
        end = start + length
        held = [one.area for one in spans if _holds(start, end, one.head)]
        faces = [one.area for one in spans if _holds(start, end, one.face)]
        parts = [_overlap(start, end, one.head) for one in spans]
        cut = [part for part, one in zip(parts, spans, strict=True) if _LEAST_OVERLAP < part < _length(one.head) - 1e-9]
        air = sum(_overlap(start, end, one.airy) for one in spans if _holds(start, end, one.head))
        rounded = (sum(held), sum(faces), -len(cut), sum(parts), air)
        return (*(round(value, 6) for value in rounded), -abs(start - middle))

    return max(sorted(_starts(most, length, spans)), key=score)


def _starts(most: float, length: float, spans: Iterable[_Spans]) -> set[float]:
    """The places where the score can change: a span's either end at either end of the crop, and the middle."""
    ends = {end for one in spans for span in (one.face, one.head, one.airy) for end in span}
    return {most / 2} | {_within(start, 0.0, most) for end in ends for start in (end, end - length)}


def _area(edges: Edges) -> float:
    return max(1.0, edges[2] - edges[0]) * max(1.0, edges[3] - edges[1])


def _clipped(edges: Edges, size: tuple[int, int]) -> Edges:
    left, top, right, bottom = edges
    width, height = size
    return _within(left, 0, width), _within(top, 0, height), _within(right, 0, width), _within(bottom, 0, height)


def _is_in(face: Box, width: int, height: int) -> bool:
    """Whether any of it lies in a picture of that size."""
    return face[0] < width and face[1] < height and face[0] + face[2] > 0 and face[1] + face[3] > 0


def _holds(start: float, end: float, span: Span) -> bool:
    return start <= span[0] + 1e-9 and span[1] <= end + 1e-9


def _overlap(start: float, end: float, span: Span) -> float:
    return max(0.0, min(end, span[1]) - max(start, span[0]))


def _length(span: Span) -> float:
    return span[1] - span[0]


def _within(value: float, least: float, most: float) -> float:
    return min(max(value, least), most)
