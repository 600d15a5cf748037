"""Captions of a whole set in one file, as other programs read and write them.

``kohya_json``: sd-scripts' metadata, ``{"group/NAME": {"tags": "a, b"}}``, sentences under ``caption`` (its
``train_data_dir`` is then our images/). ``txt_zip``: NAME.txt in its group's folder. ``csv``: file and tags, with the
mark that makes a spreadsheet read UTF-8. Read in: each of these, from any encoding, matched by path, by path without
its suffix, or by the file's name where only one photo has it.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from lora_forge.dataset.captions import MAX_CAPTION_BYTES, clean_text, decode_text
from lora_forge.dataset.tags.book import Change, TagBook
from lora_forge.dataset.tags.errors import TagError
from lora_forge.i18n import word

FORMATS = {"kohya_json": ".json", "txt_zip": ".zip", "csv": ".csv"}
_MOST_ENTRIES = 100_000


def export(book: TagBook, form: str) -> bytes:
    """All captions in one file.

    Raises:
        TagError: there is no such format.
    """
    files = book.files()
    texts = {key: (file.caption.text, file.caption.is_prose) for key, file in files.items()}
    if form == "kohya_json":
        plain = {_stem(key): {"caption" if is_prose else "tags": text} for key, (text, is_prose) in texts.items()}
        return (json.dumps(plain, indent=2, ensure_ascii=False) + "\n").encode("utf-8", errors="replace")
    if form == "csv":
        lines = io.StringIO()
        writer = csv.writer(lines)
        writer.writerow(["file", "tags"])
        writer.writerows((key, text) for key, (text, _) in texts.items())
        return lines.getvalue().encode("utf-8-sig", errors="replace")
    if form == "txt_zip":
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
            for stem, text in {_stem(key): text for key, (text, _) in texts.items()}.items():
                archive.writestr(
                    f"{stem}.txt".encode("utf-8", "replace").decode(), f"{text}\n".encode("utf-8", "replace")
                )
        return held.getvalue()
    raise TagError("There is no format {format!r}.", "Known are {known}.", format=form, known=", ".join(FORMATS))


def take_in(book: TagBook, data: bytes, base: int | None = None, client: str = "") -> tuple[Change, tuple[str, ...]]:
    """Write the captions that ``data`` holds to the photos they belong to, as one step of undo; and the names in it
    that belong to none.

    Raises:
        TagError: it is none of the formats, or names no photo here.
        ConflictError: as :meth:`TagBook.apply`.
    """
    found = read(data)
    places = _Places(book.files())
    captions: dict[str, str] = {}
    strangers = []
    for name, text in found.items():
        key = places.key_of(name)
        if key is None:
            strangers.append(name)
        else:
            captions[key] = text
    if not captions:
        raise TagError("No photo here is named in that file.", "Its names must be those of the photos.")
    change = book.write(captions, (word("Import {count} captions"), {"count": len(captions)}), base, client)
    return change, tuple(strangers)


def read(data: bytes) -> dict[str, str]:
    """Captions by the name they are given for.

    Raises:
        TagError: the bytes are none of the formats.
    """
    if data.startswith(b"PK\x03\x04"):
        return _read_zip(data)
    text = decode_text(data).lstrip("\ufeff").strip()
    if text.startswith(("{", "[")):
        return _read_json(text)
    return _read_csv(text)


def _read_zip(data: bytes) -> dict[str, str]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename.lower().endswith((".txt", ".caption"))]
            if len(entries) > _MOST_ENTRIES or any(entry.file_size > MAX_CAPTION_BYTES for entry in entries):
                raise TagError("The zip holds something else than captions.", "Pack only the .txt files.")
            return {entry.filename: clean_text(decode_text(archive.read(entry))) for entry in entries}
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError) as cause:
        raise TagError("The zip can't be read: {cause}.", "Pack it again.", cause=cause) from cause


def _read_json(text: str) -> dict[str, str]:
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as cause:
        raise TagError("That JSON can't be read: {cause}.", cause=cause) from cause
    if not isinstance(plain, dict):
        raise TagError("That JSON is no captions by name.", "kohya's metadata is an object of objects.")
    found = {}
    for name, value in plain.items():
        parts = [value] if isinstance(value, str) else _parts(value)
        if any(parts):
            found[str(name)] = clean_text(", ".join(part for part in parts if part))
    return found


def _parts(value: object) -> list[str]:
    """sd-scripts trains on the caption, a comma, and the tags."""
    if not isinstance(value, Mapping):
        return []
    return [str(value[name]) for name in ("caption", "tags") if isinstance(value.get(name), str)]


def _read_csv(text: str) -> dict[str, str]:
    head = text.split("\n", 1)[0]
    mark = max(";\t,", key=head.count)
    if mark not in head:
        raise TagError("That is no JSON, no zip and no table.", "Give kohya's JSON, a zip of .txt files, or a CSV.")
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=mark) if len(row) > 1]
    except csv.Error as cause:
        raise TagError("The table can't be read: {cause}.", cause=cause) from cause
    names = [cell.strip().casefold() for cell in rows[0]] if rows else []
    file = next((at for at, name in enumerate(names) if name in ("file", "filename", "image", "image_file", "文件")), 0)
    tags = next((at for at, name in enumerate(names) if name in ("tags", "caption", "text", "prompt", "标签")), 1)
    has_head = names[file : file + 1] != [] and names[tags : tags + 1] != [] and names[tags] in _HEADS
    return {row[file]: clean_text(row[tags]) for row in rows[int(has_head) :] if len(row) > max(file, tags)}


_HEADS = ("tags", "caption", "text", "prompt", "标签")


class _Places:
    """Photos by every name that means only one of them."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._by_name: dict[str, str | None] = {}
        keys = list(keys)
        for make in (_whole, _stem, lambda key: PurePosixPath(key).name, lambda key: PurePosixPath(key).stem):
            seen: dict[str, str | None] = {}
            for key in keys:
                name = make(key)
                same_stem = seen.get(name)
                seen[name] = key if name not in seen or (same_stem and _stem(same_stem) == _stem(key)) else None
            for name, key_or_none in seen.items():
                self._by_name.setdefault(name, key_or_none)

    def key_of(self, name: str) -> str | None:
        """The photo's key; None when there is none, or several."""
        parts = PurePosixPath(name.replace("\\", "/")).parts
        for start in range(len(parts)):  # absolute paths of another machine end in ours
            tail = "/".join(parts[start:])
            for candidate in (tail, _stem(tail)):
                if self._by_name.get(candidate):
                    return self._by_name[candidate]
        return None


def _whole(key: str) -> str:
    return key


def _stem(key: str) -> str:
    path = PurePosixPath(key)
    return path.with_suffix("").as_posix() if path.name else key
