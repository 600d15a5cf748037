"""Reading a photo, whatever it is stored as, into upright 8-bit sRGB.

Pillow's process-wide switches (``MAX_IMAGE_PIXELS``, ``LOAD_TRUNCATED_IMAGES``, registered openers) stay as the host
set them. Only picture formats are tried: Pillow would hand a PostScript file to Ghostscript.
"""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from lora_forge.dataset.colour import to_srgb
from lora_forge.dataset.naming import printable
from lora_forge.errors import DatasetError
from lora_forge.i18n import Said, Several, Text, word
from lora_forge.i18n.reasons import reason

_SUFFIXES = ".jpg .jpeg .jpe .jfif .png .apng .webp .avif .heic .heif .hif .gif .bmp .dib .tif .tiff .jp2 .ppm .mpo"
IMAGE_SUFFIXES = frozenset(_SUFFIXES.split())
MAX_PIXELS = 178_956_970  # where Pillow itself refuses; kept even where a host has switched that off
_SHRINKABLE = ("RGB", "L", "RGBA", "CMYK")  # others are colour tables or numbers, which can't be mixed
_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "DIB", "TIFF", "JPEG2000", "PPM", "MPO")
_ORIENTATION = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow's decoders raise on damaged files; there is no common base class.
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RuntimeError,
    MemoryError,
)


class UnreadableImageError(DatasetError):
    """A file can't be used as a photo; ``reason`` says why without naming it, for lists."""

    def __init__(self, path: Path, why: str, remedy: str = "", **values: object) -> None:
        self._why = Said(why, values)
        what = word("{path} can't be used as a photo: {reason}.")
        super().__init__(what, remedy, path=printable(str(path)), reason=self._why)

    @property
    def reason(self) -> Text:
        """Why, and what to do, as one line."""
        return Several((self._why, Said(self.remedy)), ". ") if self.remedy else self._why


def read_image(path: Path) -> Image.Image:
    """The first frame as mode RGB, upright by its EXIF orientation, transparency on white, colours in sRGB.

    16-bit and float pictures are scaled to 8 bits, not clipped; CMYK by its profile or the plain formula.

    Raises:
        UnreadableImageError: missing, empty, damaged, cut off, too large, or of a kind that has no reader here.
    """
    return _read(path)[0]


def read_small(path: Path, side_px: int) -> tuple[Image.Image, tuple[int, int]]:
    """:func:`read_image` at ``side_px`` at most, and the whole picture's (width, height); far quicker for a photo.

    Raises:
        UnreadableImageError: as :func:`read_image`.
    """
    image, size = _read(path, 2 * side_px)
    scale = min(1.0, side_px / max(size))
    wanted = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    return image if image.size == wanted else image.resize(wanted, Image.Resampling.BICUBIC), size


def read_size(path: Path) -> tuple[int, int]:
    """The upright (width, height) in px by the file's head alone, without looking whether the rest is whole. A turned
    PNG may be given as it lies: its EXIF block may come behind the pixels.

    Raises:
        UnreadableImageError: it is no picture that is read here.
    """
    head = _read_head(path)
    try:
        with _open(path, head) as image:
            is_known = image.format != "PNG" or "exif" in image.info
            return _turned(image.size, _orientation(image) if is_known else 1)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as cause:
        raise UnreadableImageError(path, "it has too many pixels for the memory", "Make it smaller first.") from cause
    except _DECODE_ERRORS as cause:
        raise _explain(path, head, cause) from cause


def _read(path: Path, enough_px: int | None = None) -> tuple[Image.Image, tuple[int, int]]:
    """The picture as :func:`read_image` gives it and its whole size; not much larger than ``enough_px``, if given."""
    head = _read_head(path)
    try:
        with _open(path, head) as image:
            width, height = size = image.size
            if width * height > MAX_PIXELS:
                too_large = word("{width} x {height} px is too large")
                raise UnreadableImageError(path, too_large, "Make it smaller first.", width=width, height=height)
            if enough_px:
                image.draft(None, (enough_px, enough_px))  # JPEG: fewer coefficients are turned into pixels
            image.load()
            orientation = _orientation(image)
            if enough_px and image.mode in _SHRINKABLE and "transparency" not in image.info:
                image.thumbnail((enough_px, enough_px))
            upright = to_srgb(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as cause:
        raise UnreadableImageError(path, "it has too many pixels for the memory", "Make it smaller first.") from cause
    except UnreadableImageError:
        raise
    except _DECODE_ERRORS as cause:
        raise _explain(path, head, cause) from cause
    if orientation in _TRANSPOSE:
        upright = upright.transpose(_TRANSPOSE[orientation])
    return upright, _turned(size, orientation)


def _turned(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    return (size[1], size[0]) if orientation >= 5 else size


def read_mask(path: Path) -> Image.Image:
    """A mask as mode L, 255 where the loss counts: its transparency when it has any, else its brightness.

    Raises:
        UnreadableImageError: as :func:`read_image`.
    """
    head = _read_head(path)
    try:
        with _open(path, head) as image:
            image.load()
            if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
                alpha: Image.Image = image.convert("RGBA").getchannel("A")
                if alpha.getextrema() != (255, 255):
                    return alpha
            return to_srgb(image).convert("L")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as cause:
        raise UnreadableImageError(path, "it has too many pixels for the memory") from cause
    except _DECODE_ERRORS as cause:
        raise _explain(path, head, cause) from cause


def pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    """uint8 array (H, W, 3) of an RGB image, or (H, W) of an L image."""
    return np.asarray(image, dtype=np.uint8)


def _read_head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as cause:
        raise UnreadableImageError(path, "{cause}", cause=reason(cause)) from cause
    if not head:
        raise UnreadableImageError(path, "the file is empty")
    return head


def _open(path: Path, head: bytes) -> Image.Image:
    if _is_heif(head):
        return _open_heif(path)
    Image.init()
    if _brand(head) in (b"avif", b"avis") and "AVIF" not in Image.OPEN:
        with contextlib.suppress(ImportError):  # hosts with an older Pillow pin this plugin; importing registers it
            import pillow_avif  # noqa: F401
    return Image.open(path, formats=[name for name in _FORMATS if name in Image.OPEN])


def _open_heif(path: Path) -> Image.Image:
    """HEIC by pillow-heif's own reader: registering it with Pillow would change the host's process."""
    try:
        import pillow_heif
    except ImportError as cause:
        raise UnreadableImageError(
            path, "HEIC needs a reader that is not installed", "Install pillow-heif, or save the photo as JPEG."
        ) from cause
    image: Image.Image = pillow_heif.open_heif(io.BytesIO(path.read_bytes())).to_pillow()
    return image


def _brand(head: bytes) -> bytes:
    return head[8:12] if head[4:8] == b"ftyp" else b""


def _is_heif(head: bytes) -> bool:
    return _brand(head) in (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis") or (
        _brand(head) in (b"mif1", b"msf1") and b"avif" not in head
    )


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; a damaged EXIF block counts as upright, the picture itself is fine."""
    if image.format == "TIFF":
        return 1  # Pillow turns TIFFs while loading, and older versions leave the tag in place
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except _DECODE_ERRORS:
        return 1


def _explain(path: Path, head: bytes, cause: BaseException) -> UnreadableImageError:
    if isinstance(cause, MemoryError):
        return UnreadableImageError(path, "there is not enough memory to open it", "Make it smaller first.")
    if not isinstance(cause, UnidentifiedImageError):
        detail = str(cause).strip() or type(cause).__name__
        return UnreadableImageError(path, "it is damaged or cut off ({detail})", detail=detail)
    if _brand(head) in (b"avif", b"avis"):
        if "AVIF" in Image.OPEN:
            return UnreadableImageError(path, "it is damaged or cut off")
        return UnreadableImageError(
            path, "AVIF needs a reader that is not installed", "Install pillow-avif-plugin, or save it as JPEG."
        )
    kind = _foreign_kind(head)
    if kind:
        foreign = word("it is {kind}, not a picture that is read here")
        return UnreadableImageError(path, foreign, "Save it as JPEG or PNG.", kind=Said(kind))
    return UnreadableImageError(path, "it is not a picture, or too damaged to tell")


def _foreign_kind(head: bytes) -> str:
    marks = {
        b"%PDF": word("a PDF"),
        b"%!PS": word("a PostScript file"),
        b"8BPS": word("a Photoshop file"),
        b"PK\x03\x04": word("a zip archive"),
        b"Rar!": word("a RAR archive"),
        b"7z\xbc\xaf": word("a 7z archive"),
        b"\xff\x0a": word("a JPEG XL picture"),
        b"\0\0\0\x0cJXL": word("a JPEG XL picture"),
        b"\x1aE\xdf\xa3": word("a video"),
    }
    for mark, kind in marks.items():
        if head.startswith(mark):
            return kind
    if _brand(head):
        return word("a video")
    text = head.lstrip().lower()
    return word("a web page") if text.startswith((b"<!doctype", b"<html")) else ""
