from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_forge.dataset.buckets import Bucket, choose_bucket, cover_crop, make_buckets, source_box, square_bucket
from lora_forge.errors import DatasetError

sizes = st.tuples(st.integers(1, 6000), st.integers(1, 6000))
ranges = st.tuples(
    st.integers(8, 160).map(lambda n: n * 8), st.sampled_from([8, 32, 64]), st.integers(8, 1500), st.integers(8, 3000)
).filter(lambda r: r[0] >= r[1])


def test_the_defaults_give_kohyas_sizes_for_512():
    tall = [(256, 1024), (256, 896), (256, 960), (256, 832), (320, 768), (320, 704), (384, 640), (448, 576), (512, 512)]
    assert set(make_buckets(512, 64, 256, 1024)) == {Bucket(*s) for s in tall} | {Bucket(h, w) for w, h in tall}


def test_a_tiny_resolution_is_one_square():
    assert make_buckets(64, 64, 64, 64) == (Bucket(64, 64),)


def test_a_tiny_resolution_with_the_default_range_still_has_other_shapes():
    tall = {(64, 256), (64, 192), (128, 128)}
    assert set(make_buckets(128, 64, 256, 1024)) == tall | {(h, w) for w, h in tall}


def test_a_resolution_above_the_longest_side_is_reached():
    assert Bucket(1536, 1536) in make_buckets(1536, 64, 256, 1024)


@given(ranges)
def test_buckets_keep_their_promises(numbers: tuple[int, int, int, int]):
    resolution_px, step, least, most = numbers
    buckets = make_buckets(resolution_px, step, least, most)
    assert len(set(buckets)) == len(buckets) >= 1
    side = resolution_px // step * step
    assert Bucket(side, side) in buckets
    for bucket in buckets:
        assert bucket.width % step == bucket.height % step == 0
        assert 0 < bucket.width * bucket.height <= resolution_px**2
        assert Bucket(bucket.height, bucket.width) in buckets
        if least <= side and most >= resolution_px:
            assert least <= min(bucket)
            assert max(bucket) <= most


@pytest.mark.parametrize("numbers", [(32, 64, 32, 64), (512, 0, 256, 1024), (0, 64, 64, 64), (512, 64, -1, 512)])
def test_impossible_numbers_are_refused(numbers: tuple[int, int, int, int]):
    with pytest.raises(DatasetError):
        make_buckets(*numbers)


def test_without_buckets_there_is_one_square():
    assert square_bucket(512, 64) == (512, 512)
    assert square_bucket(520, 64) == (512, 512)


@given(sizes, ranges)
def test_the_chosen_bucket_keeps_most_of_the_photo(size: tuple[int, int], numbers: tuple[int, int, int, int]):
    buckets = make_buckets(*numbers)

    def kept(bucket: Bucket) -> float:
        """The share of a photo's area that is left when cut to the shape of ``bucket``."""
        ratio = (size[0] / size[1]) / (bucket.width / bucket.height)
        return min(ratio, 1 / ratio)

    assert kept(choose_bucket(size, buckets)) == pytest.approx(max(map(kept, buckets)))


def test_of_equal_shapes_the_largest_is_chosen():
    assert choose_bucket((100, 100), [Bucket(64, 64), Bucket(512, 512), Bucket(256, 256)]) == (512, 512)


@given(sizes, ranges, st.randoms(use_true_random=False))
def test_the_crop_covers_and_lies_inside(size: tuple[int, int], numbers: tuple[int, int, int, int], pick):
    bucket = pick.choice(make_buckets(*numbers))
    crop = cover_crop(size, bucket)
    width, height = crop.resized
    assert width == bucket.width or height == bucket.height
    assert width >= bucket.width
    assert height >= bucket.height
    assert crop.left >= 0
    assert crop.left + bucket.width <= width
    assert crop.top >= 0
    assert crop.top + bucket.height <= height
    # centred to within a pixel, and scaled alike both ways to within rounding
    assert abs(2 * crop.left + bucket.width - width) <= 1
    assert abs(2 * crop.top + bucket.height - height) <= 1
    scale = max(bucket.width / size[0], bucket.height / size[1])
    assert math.isclose(width, size[0] * scale, abs_tol=0.51)
    assert math.isclose(height, size[1] * scale, abs_tol=0.51)
    left, top, right, bottom = source_box(size, bucket, crop)
    assert 0 <= left < right <= size[0]
    assert 0 <= top < bottom <= size[1]
    assert (right - left) / (bottom - top) == pytest.approx(
        bucket.width / bucket.height * (size[0] / width) / (size[1] / height)
    )


def test_the_exact_fit_is_not_cut():
    crop = cover_crop((1024, 512), Bucket(512, 256))
    assert (crop.resized, crop.left, crop.top) == ((512, 256), 0, 0)
    assert source_box((1024, 512), Bucket(512, 256), crop) == (0, 0, 1024, 512)


def test_a_wide_photo_loses_its_sides():
    crop = cover_crop((2000, 500), Bucket(512, 512))
    assert (crop.resized, crop.left, crop.top) == ((2048, 512), 768, 0)
    assert source_box((2000, 500), Bucket(512, 512), crop) == (750, 0, 1250, 500)
