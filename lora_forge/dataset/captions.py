"""Captions: reading them in any common encoding, and making the text of one training step from one."""

from __future__ import annotations

import codecs
import random
import re
from pathlib import Path

from lora_forge.errors import DatasetError

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_COMMAS = re.compile("[,\uff0c]")
_KANA = re.compile("[\u3041-\u30ff]")
_HALF_WIDTH_KANA = re.compile("[\uff61-\uff9f]")
_HIGH_BYTES = re.compile(rb"[\x80-\xff]+")
_SCRIPTS = (  # of two UTF-8 bytes; Latin, its accents and Vietnamese letters go with any
    ("rare", "\u0180", "\u019f"),
    ("rare", "\u01a2", "\u01ae"),
    ("rare", "\u01b1", "\u01cc"),
    ("rare", "\u01dd", "\u0217"),
    ("rare", "\u021c", "\u02ff"),
    ("rare", "\u0370", "\u037f"),
    ("greek", "\u0380", "\u03ff"),
    ("cyrillic", "\u0400", "\u052f"),
    ("rare", "\u0530", "\u058f"),
    ("hebrew", "\u0590", "\u05ff"),
    ("arabic", "\u0600", "\u06ff"),
    ("rare", "\u0700", "\u07ff"),
)
MAX_CAPTION_BYTES = 1 << 20


def decode_text(data: bytes) -> str:
    """Text from bytes of unknown encoding: byte order marks, UTF-8, UTF-16, GB 18030, Shift-JIS, Latin-1.

    Never fails: Latin-1 takes whatever the others refuse.
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return data.decode(encoding, errors="replace")
    if b"\0" in data and len(data) % 2 == 0:
        # ASCII in UTF-16 has its zero bytes in the second place (little endian) or the first.
        return data.decode("utf-16-le" if b"\0" in data[1::2] else "utf-16-be", errors="replace")
    text = _try(data, "utf-8")
    if text is None:
        return _decode_legacy(data)
    return (_try(data, "gb2312") or text) if _is_odd(text) else text


def _is_odd(text: str) -> bool:
    """Whether UTF-8 gave letters that hardly meet in one text: short Chinese in GB 2312 can be valid UTF-8 by chance
    (the two characters of "picture" read as a Greek sigma variant and an African T), long ones never are."""
    outside = [char for char in text if char > "\x7f"]
    if not outside or max(outside) > "\u07ff":
        return False
    scripts = {script for script, start, end in _SCRIPTS for char in outside if start <= char <= end}
    return len(scripts) > 1 or "rare" in scripts


def _decode_legacy(data: bytes) -> str:
    if _looks_western(data):
        return data.decode("latin-1")
    chinese, japanese = _try(data, "gb18030"), _try(data, "cp932")
    if japanese is not None and (chinese is None or _is_japanese(japanese)):
        return japanese
    return data.decode("latin-1") if chinese is None else chinese


def _looks_western(data: bytes) -> bool:
    """Accented letters stand alone between ASCII ones; Chinese and Japanese come in pairs of high bytes."""
    return all(len(run) == 1 and run >= b"\xc0" for run in _HIGH_BYTES.findall(data))


def _is_japanese(text: str) -> bool:
    """Kana are rare hanzi when misread as Chinese, and Chinese misread as Japanese is full of half-width kana."""
    return bool(_KANA.search(text)) and not _HALF_WIDTH_KANA.search(text)


def _try(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def clean_caption(data: bytes) -> str:
    """A caption file's text with plain newlines, without marks, zero bytes and blank ends."""
    return clean_text(decode_text(data))


def clean_text(text: str) -> str:
    """A caption's text with plain newlines, without marks, zero bytes and blank ends."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\ufeff", "").replace("\0", "").strip()


def read_caption(path: Path) -> str:
    """The text of a caption file; empty when there is none.

    Raises:
        DatasetError: the file is there and can't be read, or is too large to be a caption.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CAPTION_BYTES + 1)
    except FileNotFoundError:
        return ""
    except OSError as cause:
        raise DatasetError("The caption {path} can't be read: {cause}.", path=path, cause=cause) from cause
    if len(data) > MAX_CAPTION_BYTES:
        raise DatasetError(
            "{path} is more than 1 MB, too large for a caption.", "Is it another kind of file?", path=path
        )
    return clean_caption(data)


def first_line(caption: str) -> str:
    """The line that is trained on: the first that is not blank."""
    return next((line.strip() for line in caption.splitlines() if line.strip()), "")


def split_tags(caption: str) -> list[str]:
    """The comma parts of the first line, trimmed, empty ones left out; the full-width comma counts too."""
    return [tag for tag in (" ".join(part.split()) for part in _COMMAS.split(first_line(caption))) if tag]


def compose_caption(
    caption: str,
    trigger_word: str,
    *,
    keep_tokens: int,
    shuffle: bool,
    tag_dropout: float,
    caption_dropout: float,
    rng: random.Random,
) -> str:
    """The text for one look at an image; every draw comes from ``rng``.

    The trigger word comes first, once, whether or not the caption has it; a first tag that begins with it ("ohwx
    woman") stands for it. The first ``keep_tokens`` tags, the trigger word being one, are never moved or dropped.
    Pass an empty trigger word for prior preservation images.
    """
    if rng.random() < caption_dropout:
        return ""
    tags = _trigger_first(split_tags(caption), " ".join(trigger_word.split()))
    fixed = max(keep_tokens, 1 if trigger_word.strip() else 0)
    head, rest = tags[:fixed], tags[fixed:]
    if tag_dropout > 0:
        rest = [tag for tag in rest if rng.random() >= tag_dropout]
    if shuffle:
        rng.shuffle(rest)
    return ", ".join([*head, *rest])


def _trigger_first(tags: list[str], trigger_word: str) -> list[str]:
    if not trigger_word:
        return tags
    word = trigger_word.casefold()
    others = [tag for tag in tags if tag.casefold() != word]
    if others and others[0].casefold().startswith(word + " "):
        return others
    return [trigger_word, *others]
