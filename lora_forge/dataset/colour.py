"""From any Pillow mode to 8-bit sRGB."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageChops

_WHITE = (255, 255, 255)
_HAS_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")


def to_srgb(image: Image.Image) -> Image.Image:
    """``image`` (loaded) as mode RGB: deep pixels scaled, transparency laid on white, its ICC profile applied."""
    profile = image.info.get("icc_profile")
    if image.mode == "CMYK":
        return _from_cmyk(image, profile)
    if image.mode.startswith("I") or image.mode == "F":
        return _scale_deep(image).convert("RGB")
    rgb = _flatten(image)
    return _apply_profile(rgb, profile) or rgb


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode not in _HAS_ALPHA and "transparency" not in image.info:
        return image.convert("RGB")
    if image.mode == "1":  # Pillow turns one-bit pictures with a transparent value into RGBA only by way of L
        image = image.convert("L")
    rgba = image.convert("RGBA")
    canvas = Image.new("RGB", image.size, _WHITE)
    canvas.paste(rgba, mask=rgba.getchannel("A"))
    return canvas


def _from_cmyk(image: Image.Image, profile: bytes | None) -> Image.Image:
    if image.format == "JPEG" and "adobe" not in image.info:
        # Adobe stores CMYK inverted and Pillow turns every CMYK JPEG round; one without Adobe's mark is not inverted.
        image = Image.merge("CMYK", [ImageChops.invert(band) for band in image.split()])
    return _apply_profile(image, profile) or image.convert("RGB")


def _scale_deep(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit integer and float grey to mode L by its number range; Pillow's own convert would clip."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    top = values.max(initial=0.0)
    if image.mode.startswith("I;16") or (image.mode == "I" and (image.format in ("PNG", "PPM") or 255 < top <= 65535)):
        white = 65535.0
    elif image.mode == "F" and top <= 1.0:
        white = 1.0
    else:
        white = 255.0 if top <= 255.0 else top
    return Image.fromarray(np.clip(np.rint(values * (255.0 / white)), 0, 255).astype(np.uint8))


def _apply_profile(image: Image.Image, profile: bytes | None) -> Image.Image | None:
    """``image`` brought from ``profile`` to sRGB; None when there is none, it is sRGB, or it does not fit."""
    if not profile or b"sRGB" in profile or b"s\0R\0G\0B" in profile:
        return None
    try:
        from PIL import ImageCms  # a Pillow built without LittleCMS has none
    except ImportError:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None  # a broken profile is no reason to lose the photo
