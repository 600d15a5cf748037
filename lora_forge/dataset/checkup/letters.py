"""Writing in a photo: how many letters stand in lines, by strokes alone; nothing is read.

A letter is a patch that stands out from its surroundings in one colour channel, stays whole when twice the contrast is
asked for (texture falls apart then), and is thin compared with its height. Letters of like height, stroke and colour
whose feet or heads are on one straight line make a line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

WORK_PX = 768  # the longer side; a line of a watermark is 15-40 px high there
_AROUND = 31  # px whose mean a letter stands out from
_CONTRASTS = (12.0, 30.0)  # grey levels: faint watermarks, and writing on busy ground
_STAYS = 0.6  # part of a letter that also has twice the contrast
_HEIGHTS = (7, 90)
_THIN = 0.33  # stroke to height; bold type has 0.25
_FILLS = (0.12, 0.95)
_LINE_FROM = 5
_LONG_LINE = 7
_OFF_LINE, _OFF_LONG_LINE = 0.04, 0.06  # median distance of feet or heads from their line, in letter heights
_LEAST_IN_LINES = 0.15  # of all patches; grass and gravel reach 0.11, writing over a motorcycle 0.16


@dataclass(frozen=True)
class _Letter:
    x: int
    y: int
    width: int
    height: int
    stroke: float
    shade: float


def letters_in_lines(image: Image.Image) -> int | None:
    """The most letters found in lines of an RGB picture, by one channel and contrast; None without SciPy."""
    try:
        from scipy import ndimage
    except ImportError:
        return None
    factor = min(1.0, WORK_PX / max(image.size))
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    small = image if factor == 1.0 else image.resize(size, Image.Resampling.LANCZOS)
    planes = np.asarray(small, dtype=np.float32)
    return max(_in_channel(ndimage, planes[:, :, channel]) for channel in range(3))


def _in_channel(ndimage: Any, plane: npt.NDArray[np.float32]) -> int:
    above = plane - ndimage.uniform_filter(plane, _AROUND, mode="nearest")
    best = 0
    for contrast in _CONTRASTS:
        for stands_out in (above, -above):
            patches = _patches(ndimage, stands_out, plane, contrast)
            found = sum(len(line) for line in _lines(patches) if _is_straight(line))
            if found >= _LEAST_IN_LINES * len(patches):
                best = max(best, found)
    return best


def _patches(ndimage: Any, stands_out: Any, plane: Any, contrast: float) -> list[_Letter]:
    labels, count = ndimage.label(stands_out > contrast, np.ones((3, 3)))
    if not count:
        return []
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    strong = np.bincount(labels[stands_out > 2 * contrast], minlength=count + 1)[1:]
    places = ndimage.find_objects(labels)
    found = []
    for number in np.flatnonzero((areas >= 12) & (strong >= _STAYS * areas)).tolist():  # most patches are specks
        place = places[number]
        height, width = (one.stop - one.start for one in place)
        if not _HEIGHTS[0] <= height <= _HEIGHTS[1] or width > 3 * height:
            continue
        letter = _letter(labels[place] == number + 1, plane[place], place)
        if letter is not None:
            found.append(letter)
    return found


def _letter(inside: Any, plane: Any, place: Any) -> _Letter | None:
    height, width = inside.shape
    area = int(inside.sum())
    if not _FILLS[0] <= area / (height * width) <= _FILLS[1]:
        return None
    rows = inside[1:-1] & inside[:-2] & inside[2:]
    edge = area - int(np.count_nonzero(rows[:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]))
    stroke = 2 * area / max(edge, 1)
    if stroke > _THIN * height:
        return None
    return _Letter(place[1].start, place[0].start, width, height, stroke, float(plane[inside].mean()))


def _lines(letters: list[_Letter]) -> list[list[_Letter]]:
    """Chains from left to right, each letter once."""
    ordered = sorted(letters, key=lambda letter: (letter.x, letter.y))
    used: set[int] = set()
    lines = []
    for start in range(len(ordered)):
        if start in used:
            continue
        chain = [start]
        for other in range(start + 1, len(ordered)):
            last = ordered[chain[-1]]
            if ordered[other].x - last.x - last.width > 1.2 * _HEIGHTS[1]:
                break
            if other not in used and _follows(last, ordered[other]):
                chain.append(other)
        if len(chain) >= _LINE_FROM:
            used.update(chain)
            lines.append([ordered[number] for number in chain])
    return lines


def _follows(one: _Letter, other: _Letter) -> bool:
    """Whether ``other`` may be the next letter of the line that ``one`` is in."""
    beside = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    if beside <= 0:  # most are: another line
        return False
    gap = other.x - one.x - one.width
    high, low = max(one.height, other.height), min(one.height, other.height)
    thick, thin = max(one.stroke, other.stroke), min(one.stroke, other.stroke)
    return (
        -0.5 * min(one.width, other.width) <= gap <= 1.2 * high
        and beside >= 0.6 * low
        and high <= 1.9 * low
        and thick <= 1.8 * thin + 0.5
        and abs(one.shade - other.shade) <= 25
    )


def _is_straight(line: list[_Letter]) -> bool:
    """Whether feet or heads lie on one line, level or slanting."""
    across = np.array([letter.x + letter.width / 2 for letter in line])
    if np.ptp(across) == 0:
        return False
    height = float(np.median([letter.height for letter in line]))
    most = _OFF_LINE if len(line) < _LONG_LINE else _OFF_LONG_LINE
    feet = np.array([letter.y + letter.height for letter in line], dtype=float)
    heads = np.array([letter.y for letter in line], dtype=float)
    return any(_off(across, ends) < most * height for ends in (feet, heads))


def _off(across: npt.NDArray[np.float64], ends: npt.NDArray[np.float64]) -> float:
    slope, start = np.polyfit(across, ends, 1)
    return float(np.median(np.abs(ends - (slope * across + start))))
