"""Aspect-ratio buckets: which (width, height) a photo is trained at, and how it is cut to it. Pure geometry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lora_forge.errors import DatasetError


class Bucket(NamedTuple):
    """A training size in pixels, width first."""

    width: int
    height: int


@dataclass(frozen=True)
class Crop:
    """A photo resized to ``resized`` (width, height), of which the bucket begins at (``left``, ``top``); all in px."""

    resized: tuple[int, int]
    left: int
    top: int


def make_buckets(resolution_px: int, step: int, least: int, most: int) -> tuple[Bucket, ...]:
    """All sizes with sides in multiples of ``step``, within ``least``..``most``, of at most ``resolution_px`` squared.

    For every width the tallest height that fits, and its mirror, as kohya's ``make_bucket_resolutions`` does. A range
    that does not hold the resolution is widened in the proportion of the defaults (256 and 1024 for 512): ``least``
    becomes half the resolution, ``most`` twice, so that an unusual resolution works without touching both ends.

    Raises:
        DatasetError: a number is not positive, or not even one square of ``step`` fits.
    """
    if min(resolution_px, step, least, most) < 1:
        raise DatasetError("Bucket sizes must be at least 1 pixel.", "Check resolution, step, least and most.")
    if resolution_px < step:
        raise DatasetError(
            "A resolution of {resolution_px} is less than one bucket step of {step}.",
            "Choose a smaller bucket_step_px or a larger resolution.",
            resolution_px=resolution_px,
            step=step,
        )
    low = max(step, _up(least if least <= resolution_px else resolution_px // 2, step))
    high = _down(most if most >= resolution_px else resolution_px * 2, step)
    area = resolution_px * resolution_px
    found = {Bucket(_down(resolution_px, step), _down(resolution_px, step))}
    for width in range(low, high + 1, step):
        height = min(high, _down(area // width, step))
        if height >= low:
            found |= {Bucket(width, height), Bucket(height, width)}
    return tuple(sorted(found))


def square_bucket(resolution_px: int, step: int) -> Bucket:
    """The one size used when buckets are off: the largest square in multiples of ``step``.

    Raises:
        DatasetError: the resolution is less than one step.
    """
    return make_buckets(resolution_px, step, resolution_px, resolution_px)[0]


def choose_bucket(size: tuple[int, int], buckets: Sequence[Bucket]) -> Bucket:
    """The bucket that keeps most of a photo of ``size`` (width, height): nearest in log aspect, then largest."""
    aspect = math.log(size[0] / size[1])
    return min(buckets, key=lambda b: (abs(math.log(b.width / b.height) - aspect), -b.width * b.height, b))


def cover_crop(size: tuple[int, int], bucket: Bucket) -> Crop:
    """Scale ``size`` (width, height) until it just covers ``bucket``, then cut the middle."""
    width, height = size
    if width * bucket.height > height * bucket.width:
        resized = (max(bucket.width, round(width * bucket.height / height)), bucket.height)
    else:
        resized = (bucket.width, max(bucket.height, round(height * bucket.width / width)))
    return Crop(resized, (resized[0] - bucket.width) // 2, (resized[1] - bucket.height) // 2)


def source_box(size: tuple[int, int], bucket: Bucket, crop: Crop) -> tuple[float, float, float, float]:
    """The part of the original that ends up in the bucket: (left, top, right, bottom) in original px, fractional.

    Resizing just this box equals resizing all and cutting, without ever holding the rest (a 1 x 10000 px strip
    resized to cover would be gigabytes).
    """
    scale_x, scale_y = size[0] / crop.resized[0], size[1] / crop.resized[1]
    right = min(float(size[0]), (crop.left + bucket.width) * scale_x)
    bottom = min(float(size[1]), (crop.top + bucket.height) * scale_y)
    return crop.left * scale_x, crop.top * scale_y, right, bottom


def _down(value: int, step: int) -> int:
    return value // step * step


def _up(value: int, step: int) -> int:
    return -(-value // step) * step
