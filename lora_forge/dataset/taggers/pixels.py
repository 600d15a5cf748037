"""Photos as the taggers' makers want them: sizes, padding, order of colours, scale. Exactly theirs, each quoted.

- **wd** (SmilingWolf's own demo): white where transparent, padded to a square with white, the photo in the middle
  (rounded down), bicubic to the model's size, float32 0..255, BGR, height x width x 3.
- **cl** (cella110n's own demo): the same square, then 3 x height x width, BGR, (x / 255 - 0.5) / 0.5.
- **pixai** (``preprocess.json`` beside the model): its stages in order, RGB, 3 x height x width. Without that file
  what it says for v0.9: 448 x 448 bilinear without regard to shape, (x / 255 - 0.5) / 0.5.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from lora_forge.dataset.taggers.errors import TaggerError

Pixels = npt.NDArray[np.float32]
Prepare = Callable[[Image.Image], Pixels]
WHITE = (255, 255, 255)
_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
    "lanczos": Image.Resampling.LANCZOS,
}
PIXAI_STAGES: tuple[Mapping[str, Any], ...] = (
    {"type": "resize", "size": [448, 448], "interpolation": "bilinear"},
    {"type": "to_tensor"},
    {"type": "normalize", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
)


def on_white(image: Image.Image) -> Image.Image:
    """RGB, with white where ``image`` is transparent."""
    if image.mode == "RGB":
        return image
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        clear = image.convert("RGBA")
        canvas = Image.new("RGBA", clear.size, (*WHITE, 255))
        canvas.alpha_composite(clear)
        return canvas.convert("RGB")
    return image.convert("RGB")


def squared(image: Image.Image, side_px: int) -> Image.Image:
    """``image`` in the middle of a white square, bicubic to ``side_px``; one that fits already is left as it is."""
    width, height = image.size
    side = max(width, height)
    square = Image.new("RGB", (side, side), WHITE)
    square.paste(image, ((side - width) // 2, (side - height) // 2))
    return square if side == side_px else square.resize((side_px, side_px), Image.Resampling.BICUBIC)


def wd_pixels(image: Image.Image, side_px: int = 448) -> Pixels:
    """float32 (side, side, 3), BGR, 0..255."""
    rgb = np.asarray(squared(on_white(image), side_px), dtype=np.float32)
    return np.ascontiguousarray(rgb[:, :, ::-1])


def cl_pixels(image: Image.Image, side_px: int = 448) -> Pixels:
    """float32 (3, side, side), BGR, -1..1."""
    bgr = wd_pixels(image, side_px).transpose(2, 0, 1)
    return np.ascontiguousarray((bgr / np.float32(255) - np.float32(0.5)) / np.float32(0.5))


def read_stages(path: Path) -> tuple[Mapping[str, Any], ...]:
    """The stages of ``preprocess.json``.

    Raises:
        TaggerError: it can't be read, or asks for something unknown here.
    """
    try:
        found = json.loads(path.read_bytes())
        stages = tuple(found["stages"] if "stages" in found else found["test"])
        staged(stages)(Image.new("RGB", (8, 6)))
    except (OSError, KeyError, ValueError, TypeError) as cause:
        raise TaggerError(
            "{path} can't be followed: {cause}.", "Take the preprocess.json of the same model.", path=path, cause=cause
        ) from cause
    return stages


def staged(stages: Sequence[Mapping[str, Any]]) -> Prepare:
    """What ``stages`` say, as one function: an image to float32 (3, H, W)."""

    def prepare(image: Image.Image) -> Pixels:
        value: Any = on_white(image)
        for stage in stages:
            name = str(stage["type"])
            if name not in _STAGES:
                raise ValueError(f"there is no stage {name!r}")
            value = _STAGES[name](value, {key: item for key, item in stage.items() if key != "type"})
        array = _tensor(value, {})
        return np.ascontiguousarray(array, dtype=np.float32)

    return prepare


def _resize(image: Image.Image, asked: Mapping[str, Any]) -> Image.Image:
    """torchvision's: one number is the shorter side, two are (height, width)."""
    size = asked["size"]
    wanted = [size] if isinstance(size, int) else list(size)
    width, height = image.size
    if len(wanted) == 1:
        short = int(wanted[0])
        sides = (short, int(short * height / width)) if width < height else (int(short * width / height), short)
    else:
        sides = (int(wanted[1]), int(wanted[0]))
    how = _FILTERS[str(asked.get("interpolation", "bilinear")).lower()]
    return image if image.size == sides else image.resize(sides, how)


def _center_crop(image: Image.Image, asked: Mapping[str, Any]) -> Image.Image:
    size = asked["size"]
    high, wide = (size, size) if isinstance(size, int) else (size[0], size[-1])
    left, top = (image.width - wide) // 2, (image.height - high) // 2
    return image.crop((left, top, left + wide, top + high))


def _pad_to_size(image: Image.Image, asked: Mapping[str, Any]) -> Image.Image:
    """Shrink or grow to fit (width, height), then fill up around it."""
    size = asked["size"]
    wide, high = (size, size) if isinstance(size, int) else (size[0], size[-1])
    how = _FILTERS[str(asked.get("interpolation", "bilinear")).lower()]
    scale = min(wide / image.width, high / image.height)
    fitted = image.resize((int(image.width * scale), int(image.height * scale)), how)
    canvas = Image.new("RGB", (wide, high), asked.get("background_color", "white"))
    canvas.paste(fitted, ((wide - fitted.width) // 2, (high - fitted.height) // 2))
    return canvas


def _tensor(value: Any, _: Mapping[str, Any]) -> Pixels:
    if not isinstance(value, Image.Image):
        return np.asarray(value, dtype=np.float32)
    return np.asarray(value.convert("RGB"), dtype=np.float32).transpose(2, 0, 1) / np.float32(255)


def _normalize(value: Any, asked: Mapping[str, Any]) -> Pixels:
    mean, deviation = (np.asarray(asked[name], dtype=np.float32).reshape(-1, 1, 1) for name in ("mean", "std"))
    return np.asarray((_tensor(value, {}) - mean) / deviation, dtype=np.float32)


def _rgb(image: Image.Image, _: Mapping[str, Any]) -> Image.Image:
    return on_white(image)


_STAGES: Mapping[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "resize": _resize,
    "center_crop": _center_crop,
    "pad_to_size": _pad_to_size,
    "to_tensor": _tensor,
    "maybe_to_tensor": _tensor,
    "normalize": _normalize,
    "convert_rgb": _rgb,
}
