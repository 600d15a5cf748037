"""The words a person adds: a table of their own beside the projects, ``tag<TAB>[category<TAB>]zh[;another zh...]``.

It may be written by hand. A line that can't be read is skipped, counted, and kept as it is when the file is written.
"""

from __future__ import annotations

import codecs
import contextlib
import re
from pathlib import Path
from typing import NamedTuple

from lora_forge.atomic import write_bytes, write_text
from lora_forge.dataset.captions import decode_text
from lora_forge.dataset.words.entries import Category, normalise
from lora_forge.errors import DatasetError

MAX_BYTES = 8 << 20
_BETWEEN_NAMES = re.compile("[;\uff1b]")
_CATEGORIES = {category.value: category for category in Category}


class OwnLine(NamedTuple):
    """``category`` is None where the person gave none."""

    tag: str
    category: Category | None
    names: tuple[str, ...]


def read_lines(path: Path) -> list[str]:
    """The file's lines without their ends, in whatever encoding it is; none when it is absent.

    Raises:
        DatasetError: the file can't be opened, or is far too big to be a word list.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DatasetError(
                "{path} is larger than {limit} MB, too large for a list of words.",
                "Move it away, or keep only lines with a tag, a tab and its Chinese.",
                path=path,
                limit=MAX_BYTES >> 20,
            )
        text = _decode(path.read_bytes())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DatasetError(
            "{path} can't be read: {cause}.", "Check that it is a file you may read.", path=path, cause=error
        ) from error
    if not text:
        return []
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")


def parse(line: str) -> OwnLine | None:
    """A line's content, or None when it isn't one: no tab, an empty tag or Chinese, an unknown category."""
    parts = [part.strip() for part in line.split("\t")]
    while parts and not parts[-1]:
        parts.pop()
    if len(parts) not in (2, 3) or not normalise(parts[0]) or "\0" in line:
        return None
    category = None
    if len(parts) == 3:
        category = _CATEGORIES.get(parts[1].lower())
        if category is None and parts[1]:
            return None
    names = split_names(parts[-1])
    return OwnLine(_one_line(parts[0]), category, names) if names else None


def is_nothing(line: str) -> bool:
    """Whether a line is empty or a remark, and so no damage."""
    return not line.strip() or (line.lstrip().startswith("#") and "\t" not in line)


def split_names(zh: str) -> tuple[str, ...]:
    """The names in ``zh``, which stand between half- or full-width semicolons; each once."""
    names = (_one_line(name) for name in _BETWEEN_NAMES.split(zh))
    return tuple(dict.fromkeys(name for name in names if name))


def write_word(path: Path, word: OwnLine) -> None:
    """Put ``word`` in the place of every line of its tag, or at the end; without names its lines go.

    The file is read again first, so what another program added meanwhile stays.

    Raises:
        DatasetError: the file can't be read or written; it is then as it was.
    """
    kept, place = [], None
    for line in read_lines(path):
        old = None if is_nothing(line) else parse(line)
        if old is None or normalise(old.tag) != normalise(word.tag):
            kept.append(line)
        elif place is None:
            place = len(kept)
    if word.names:
        kept.insert(len(kept) if place is None else place, _line_of(word))
    try:
        _keep_copy_of_other_encodings(path)
        write_text(path, "".join(line + "\n" for line in kept))
    except OSError as error:
        raise DatasetError(
            "{path} can't be written: {cause}.",
            "Free some space, or check that the folder may be written.",
            path=path,
            cause=error,
        ) from error


def _decode(data: bytes) -> str:
    """``data`` as text; a stray zero byte in UTF-8 does not make it UTF-16."""
    if b"\0" in data and not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        with contextlib.suppress(UnicodeDecodeError):
            return data.decode("utf-8-sig")
    return decode_text(data)


def _keep_copy_of_other_encodings(path: Path) -> None:
    """Keep the first file that is not UTF-8 beside the new one, which is: its encoding is only a good guess.

    Raises:
        OSError: the copy can't be written.
    """
    copy = path.with_name(path.name + ".bak")
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        if not copy.exists():
            write_bytes(copy, path.read_bytes())
    except FileNotFoundError:
        pass


def _line_of(word: OwnLine) -> str:
    parts = (word.tag, word.category.value if word.category else "", ";".join(word.names))
    return "\t".join(part for part in parts if part)


def _one_line(text: str) -> str:
    return " ".join(text.split())
