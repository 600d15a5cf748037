"""Words on pictures with nothing but Pillow: its own scalable font where it has one, whatever script is asked for."""

from __future__ import annotations

import functools

from PIL import Image, ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Colour = tuple[int, int, int]

_LAST_LATIN = 0x24F
_LATIN_FONTS = ("DejaVuSans.ttf", "segoeui.ttf", "arial.ttf", "Helvetica.ttc")
_WIDE_FONTS = (
    "msyh.ttc", "PingFang.ttc", "Hiragino Sans GB.ttc", "STHeiti Medium.ttc", "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf", "NotoSansSC-Regular.otf", "NotoSansSC-Regular.ttf", "SourceHanSansSC-Regular.otf",
    "SourceHanSansCN-Regular.otf", "wqy-microhei.ttc", "wqy-zenhei.ttc", "Deng.ttf", "simhei.ttf", "simsun.ttc",
    "DroidSansFallbackFull.ttf", "DroidSansFallback.ttf", "Arial Unicode.ttf", "DejaVuSans.ttf",
)  # fmt: skip
_FACES = {"NotoSansCJK-Regular.ttc": 2}
"""Fonts of several faces: which of them is simplified Chinese, where it is not the first."""
_NO_LETTER = "\uffff"


def text_size(words: str, size_px: int) -> tuple[int, int]:
    """(width, height) in pixels of one line; the height is the same for every line of this size."""
    mask = text_mask(words, size_px)
    return mask.width, mask.height


def text_mask(words: str, size_px: int) -> Image.Image:
    """One line of text as an 8-bit mask (255: ink), as high as the font's line.

    Pillow before 10.1 has only a bitmap font of Latin letters: it is enlarged, and other letters become "?" unless the
    machine has one of the usual fonts.
    """
    font = _font(_is_wide(words), size_px)
    if isinstance(font, ImageFont.FreeTypeFont):
        ascent, descent = font.getmetrics()
        mask = Image.new("L", (max(1, round(font.getlength(words))), ascent + descent))
        ImageDraw.Draw(mask).text((0, 0), words, fill=255, font=font)
        return mask
    words = words.encode("latin-1", "replace").decode("latin-1")
    _, _, width, height = font.getbbox(words or " ")
    mask = Image.new("L", (max(1, round(width)), max(11, round(height))))
    ImageDraw.Draw(mask).text((0, 0), words, fill=255, font=font)
    return mask.resize((max(1, mask.width * size_px // 11), mask.height * size_px // 11), Image.Resampling.BICUBIC)


def write(
    canvas: Image.Image, place: tuple[int, int], words: str, size_px: int, colour: Colour, anchor: str = "lt"
) -> None:
    """Put one line on ``canvas``; ``anchor``: l, m or r of the line, then t, m or b, lies on ``place``."""
    paste(canvas, place, text_mask(words, size_px), colour, anchor)


def paste(canvas: Image.Image, place: tuple[int, int], mask: Image.Image, colour: Colour, anchor: str = "lt") -> None:
    """Ink ``colour`` on ``canvas`` through ``mask``, placed as :func:`write` does."""
    share = {"l": 0.0, "t": 0.0, "m": 0.5, "r": 1.0, "b": 1.0}
    x = place[0] - round(share[anchor[0]] * mask.width)
    y = place[1] - round(share[anchor[1]] * mask.height)
    canvas.paste(Image.new("RGB", mask.size, colour), (x, y), mask)


def can_write(words: str) -> bool:
    """Whether a font of this machine has all letters of ``words``, whatever script they are of."""
    if not _is_wide(words):
        return True
    font = _font(True, 16)
    if not isinstance(font, ImageFont.FreeTypeFont):
        return False
    nothing = bytes(font.getmask(_NO_LETTER))
    return all(bytes(font.getmask(letter)) != nothing for letter in set(words) if not letter.isspace())


def wrap(words: str, size_px: int, width_px: int, most_lines: int = 4) -> list[str]:
    """Lines no wider than ``width_px``; what does not fit into ``most_lines`` is cut with an ellipsis.

    Breaks at blanks, or anywhere in a word that is too wide by itself (Chinese has no blanks).
    """
    lines: list[str] = []
    line = ""
    for piece in _pieces(words, size_px, width_px):
        longer = line + piece
        if line and text_size(longer.rstrip(), size_px)[0] > width_px:
            lines.append(line.rstrip())
            line = piece.lstrip()
        else:
            line = longer
    lines.append(line.rstrip())
    if len(lines) > most_lines:
        lines = [*lines[: most_lines - 1], lines[most_lines - 1][:-3].rstrip() + "..."]
    return lines


def _pieces(words: str, size_px: int, width_px: int) -> list[str]:
    pieces: list[str] = []
    for word in words.split(" "):
        spaced = word + " "
        pieces += [spaced] if text_size(word, size_px)[0] <= width_px else list(spaced)
    return pieces


def _is_wide(words: str) -> bool:
    return any(ord(letter) > _LAST_LATIN and not 0x2000 <= ord(letter) <= 0x206F for letter in words)


@functools.lru_cache(maxsize=64)
def _font(is_wide: bool, size_px: int) -> Font:
    default = _default_font(size_px)
    if not is_wide and isinstance(default, ImageFont.FreeTypeFont):
        return default
    for name in _WIDE_FONTS if is_wide else _LATIN_FONTS:
        try:
            return ImageFont.truetype(name, size_px, index=_FACES.get(name, 0))
        except (OSError, ImportError):  # not on this machine; or Pillow was built without FreeType
            continue
    return default


def _default_font(size_px: int) -> Font:
    try:
        return ImageFont.load_default(size_px)
    except TypeError:  # Pillow before 10.1
        return ImageFont.load_default()
