from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lora_forge.dataset.buckets import Bucket, choose_bucket, cover_crop, make_buckets, source_box
from lora_forge.dataset.crops import Aim, Cut, Edges, head_of, plan_cut, propose
from lora_forge.dataset.project_file import Box

SQUARE = Bucket(512, 512)
SIDES = st.integers(16, 6000)
BUCKETS = st.sampled_from([*make_buckets(512, 64, 256, 1024), *make_buckets(64, 16, 32, 128)])


@st.composite
def photos(draw: st.DrawFn, most: int = 4) -> tuple[tuple[int, int], list[Box]]:
    """A size, and faces somewhere in it."""
    width, height = draw(SIDES), draw(SIDES)
    faces = []
    for _ in range(draw(st.integers(1, most))):
        side = draw(st.integers(1, max(1, min(width, height) // 2)))
        tall = draw(st.integers(max(1, side // 2), side * 2))
        faces.append((draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1)), side, tall))
    return (width, height), faces


def heads_of(size: tuple[int, int], faces: list[Box]) -> list[Edges]:
    return [head_of(face, size) for face in faces]


def holds(box: Box, heads: list[Edges]) -> bool:
    x, y, width, height = box
    near = 1e-6
    return all(
        x <= left + near and y <= top + near and right <= x + width + near and bottom <= y + height + near
        for left, top, right, bottom in heads
    )


def some_crop_holds(size: tuple[int, int], target: Bucket, heads: list[Edges]) -> bool:
    """By its own way: the smallest crop of the shape around all heads must fit into the photo."""
    left, top = min(head[0] for head in heads), min(head[1] for head in heads)
    right, bottom = max(head[2] for head in heads), max(head[3] for head in heads)
    height = max(bottom - top, (right - left) * target.height / target.width)
    return height <= size[1] and height * target.width / target.height <= size[0]


@given(photos(), BUCKETS)
def test_whenever_a_crop_holds_all_heads_the_proposal_does(photo: tuple[tuple[int, int], list[Box]], target: Bucket):
    size, faces = photo
    heads = heads_of(size, faces)
    assume(some_crop_holds(size, target, heads))
    assert holds(propose(size, faces, target), heads)


@given(photos(), BUCKETS)
def test_the_proposal_has_the_shape_lies_in_the_photo_and_covers_as_much_as_can_be(
    photo: tuple[tuple[int, int], list[Box]], target: Bucket
):
    size, faces = photo
    x, y, width, height = propose(size, faces, target)
    assert x >= 0
    assert y >= 0
    assert x + width <= size[0]
    assert y + height <= size[1]
    whole = min(size[0] / target.width, size[1] / target.height)
    assert abs(width - whole * target.width) <= 2
    assert abs(height - whole * target.height) <= 2


@given(photos(1), BUCKETS)
def test_a_single_head_is_never_cut_when_its_face_alone_could_be_held(
    photo: tuple[tuple[int, int], list[Box]], target: Bucket
):
    """Where the head is too large for any crop, the face comes before the hair."""
    size, faces = photo
    x, y, width, height = faces[0]
    face = (float(x), float(y), float(min(size[0], x + width)), float(min(size[1], y + height)))
    if not some_crop_holds(size, target, heads_of(size, faces)) and some_crop_holds(size, target, [face]):
        assert holds(propose(size, faces, target), [face])


@given(SIDES, SIDES, BUCKETS)
def test_without_faces_it_is_the_middle(width: int, height: int, target: Bucket):
    cut = plan_cut((width, height), [target], Aim())
    crop = cover_crop((width, height), target)
    assert cut == Cut(target, source_box((width, height), target, crop), crop)


@given(photos(), BUCKETS)
def test_what_sdxl_is_told_is_what_is_cut(photo: tuple[tuple[int, int], list[Box]], target: Bucket):
    size, faces = photo
    cut = plan_cut(size, [target], Aim("subject", None, tuple(faces)))
    told = source_box(size, target, cut.crop)
    scale = max(size[0] / cut.crop.resized[0], size[1] / cut.crop.resized[1])
    assert cut.crop.left >= 0
    assert cut.crop.left + target.width <= cut.crop.resized[0]
    assert cut.crop.top >= 0
    assert cut.crop.top + target.height <= cut.crop.resized[1]
    assert all(abs(a - b) <= 1.5 * scale + 1e-6 for a, b in zip(told, cut.edges, strict=True))


@given(photos(), photos(), st.booleans())
def test_a_crop_by_hand_is_never_left(
    photo: tuple[tuple[int, int], list[Box]], other: tuple[tuple[int, int], list[Box]], has_faces: bool
):
    """Not even when it lies over the edge, or the file has become smaller since."""
    size, faces = photo
    hand = other[1][0]
    x, y = min(hand[0], size[0] - 1), min(hand[1], size[1] - 1)
    buckets = make_buckets(512, 64, 256, 1024)
    cut = plan_cut(size, buckets, Aim("subject" if has_faces else "middle", hand, tuple(faces) if has_faces else ()))
    left, top, right, bottom = cut.edges
    near = 1e-6
    assert left >= x - near
    assert top >= y - near
    assert right > left
    assert bottom > top
    assert right <= max(x + 1, min(size[0], hand[0] + hand[2])) + near
    assert bottom <= max(y + 1, min(size[1], hand[1] + hand[3])) + near
    assert abs((right - left) / (bottom - top) - cut.bucket.width / cut.bucket.height) < 1e-6 * 16


def test_a_head_at_the_top_of_a_portrait_keeps_air_above_it():
    """1000 x 2000, face at 300..500: the head is 180..530, the square moves up from the middle (500) to keep it and a
    quarter of its height above, no further."""
    assert propose((1000, 2000), [(400, 300, 200, 200)], SQUARE) == (0, 92, 1000, 1001)
    exact = plan_cut((1000, 2000), [SQUARE], Aim("subject", None, ((400, 300, 200, 200),))).edges
    assert exact == (0.0, pytest.approx(92.5), 1000.0, pytest.approx(1092.5))


def test_a_head_at_the_bottom_moves_the_square_down_no_further_than_needed():
    """The head of the face at 1700..1900 is 1580..1930 and has 70 px below it, less than its air of 87."""
    assert propose((1000, 2000), [(400, 1700, 200, 200)], SQUARE) == (0, 1000, 1000, 1000)
    exact = plan_cut((1000, 2000), [SQUARE], Aim("subject", None, ((400, 1500, 200, 200),))).edges
    assert exact == (0.0, pytest.approx(1730 + 87.5 - 1000), 1000.0, pytest.approx(1817.5))


def test_a_head_near_the_middle_leaves_the_middle_alone():
    assert propose((1000, 2000), [(400, 900, 200, 200)], SQUARE) == (0, 500, 1000, 1000)


def test_of_two_heads_too_far_apart_the_larger_is_kept_and_the_other_left_out_whole():
    """Nor is the small one cut through: the crop ends before it."""
    large, small = (200, 300, 300, 300), (1050, 300, 100, 100)
    size = (3000, 1000)
    x, _, width, _ = propose(size, [small, large], SQUARE)
    (left, _, right, _), (other, *_) = head_of(large, size), head_of(small, size)
    assert x <= left
    assert right <= x + width
    assert x + width <= other + 1


def test_two_heads_beat_one_that_is_a_little_larger():
    size = (4000, 1000)
    first, second, third = (100, 300, 220, 220), (2000, 300, 200, 200), (2400, 300, 200, 200)
    x, _, width, _ = propose(size, [first, second, third], SQUARE)
    assert holds((x, 0, width, 1000), heads_of(size, [second, third]))


def test_a_crowd_is_planned_at_once():
    faces = [(n * 37 % 3900, n * 53 % 900, 40, 40) for n in range(200)]
    assert propose((4000, 1000), faces, SQUARE)[2] == pytest.approx(1000, abs=1)


def test_the_bucket_follows_the_crop_by_hand():
    buckets = make_buckets(512, 64, 256, 1024)
    cut = plan_cut((4000, 3000), buckets, Aim("middle", (1000, 500, 900, 1600)))
    assert cut.bucket == choose_bucket((900, 1600), buckets)
    assert cut.box[0] >= 1000
    assert cut.box[1] >= 500
    assert math.isclose(cut.edges[2] - cut.edges[0], 900) or math.isclose(cut.edges[3] - cut.edges[1], 1600)


def test_a_head_outside_the_crop_by_hand_has_no_say():
    inside = plan_cut((4000, 3000), [SQUARE], Aim("middle", (0, 0, 2000, 1000)))
    assert plan_cut((4000, 3000), [SQUARE], Aim("subject", (0, 0, 2000, 1000), ((3500, 2500, 200, 200),))) == inside
