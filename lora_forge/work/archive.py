"""What was put away when one file was kept: the other epochs, with all that lay beside them, and the way back.

::

    DATA_ROOT/archive/girl-20261123-001530/manifest.json   what goes where; written before anything moves
                                           files/NAME...    what was put away
                                           made/NAME...     the kept file and its card, until they are in place
                                           trash/NAME...    the same, taken out again by an undo

The manifest's ``state`` says which way it goes: ``keeping`` and ``undoing`` are being done, and a program that died in
the middle left them so; :func:`go_on` finishes either, and an unfinished keep can be undone as well. ``kept`` and
``undone`` are done. Every move can be done again: see :mod:`lora_forge.work.moving`.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from lora_forge import atomic
from lora_forge.errors import LoraFileError
from lora_forge.i18n.reasons import reason
from lora_forge.work import moving

FOLDER, MANIFEST = "archive", "manifest.json"
FILES, MADE, TRASH = "files", "made", "trash"
State = Literal["keeping", "kept", "undoing", "undone"]
STATES: tuple[State, ...] = ("keeping", "kept", "undoing", "undone")
_BUSY = threading.Lock()  # one archive at a time in this program: two windows may press undo


@dataclass(frozen=True)
class Entry:
    """One act of keeping. ``moved``: (name in files/, where it was). ``made``: (name in made/, where it goes).

    ``about``: project, name, epoch, strength, file and whatever else a list shows.
    """

    folder: Path
    state: State
    moved: tuple[tuple[str, Path], ...]
    made: tuple[tuple[str, Path], ...]
    made_at: float
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Its folder's name."""
        return self.folder.name

    def write(self) -> None:
        """Keep it on the disk."""
        plain = {
            "version": 1,
            "state": self.state,
            "made_at": self.made_at,
            "moved": [{"file": name, "from": str(place)} for name, place in self.moved],
            "made": [{"file": name, "to": str(place)} for name, place in self.made],
            "about": dict(self.about),
        }
        atomic.write_json(self.folder / MANIFEST, plain)


def new_entry(data_root: Path, name: str, now: float) -> Path:
    """A fresh folder of an entry that will be named ``name`` and the time.

    Raises:
        LoraFileError: it can't be made.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    root = data_root / FOLDER
    try:
        root.mkdir(parents=True, exist_ok=True)
        for number in range(1, 1000):
            folder = root / (f"{name}-{stamp}" if number == 1 else f"{name}-{stamp}-{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
        raise FileExistsError(name)
    except OSError as cause:
        raise _refused(root, cause) from cause


def keep(entry: Entry) -> Entry:
    """Put ``moved`` away, then ``made`` in its place; the manifest is on the disk before the first of them.

    Raises:
        LoraFileError: a name is taken, or the disk refuses in the middle: what had moved is put back. Where even that
            is refused, :func:`go_on` or :func:`undo` take it from there.
    """
    with _BUSY:
        for name, place in entry.made:
            moving.check_free(entry.folder / MADE / name, place)
        noted = _noted(entry, "keeping")
        try:
            return _kept(noted)
        except LoraFileError:
            with contextlib.suppress(LoraFileError):
                _taken_back(noted)
            raise


def go_on(entry: Entry) -> Entry:
    """Finish what a dead program began.

    Raises:
        LoraFileError: as :func:`keep`.
    """
    with _BUSY:
        return _kept(entry) if entry.state == "keeping" else _undone(entry) if entry.state == "undoing" else entry


def undo(entry: Entry) -> Entry:
    """Every file back where it was; what was made goes to the entry's trash.

    Raises:
        LoraFileError: another file lies where one was (nothing was done then), or the disk refuses in the middle.
    """
    with _BUSY:
        if entry.state == "undone":
            raise LoraFileError("This was undone already.", "Reload the list.")
        for name, place in entry.moved:
            source = entry.folder / FILES / name
            if source.exists():
                moving.check_free(source, place)
        return _undone(_noted(entry, "undoing"))


def entries(data_root: Path) -> list[Entry]:
    """All of them, newest first; folders without a readable manifest are left out."""
    return sorted(_found(data_root), key=lambda entry: (entry.made_at, entry.id), reverse=True)


def find(data_root: Path, id: str) -> Entry:
    """The entry ``id``.

    Raises:
        LoraFileError: there is none.
    """
    found = next((entry for entry in _found(data_root) if entry.id == id), None)
    if found is None:
        raise LoraFileError("There is nothing in the archive under {id!r}.", "Reload the list.", id=id)
    return found


def used_stems(data_root: Path) -> set[str]:
    """Stems of LoRA files that were put away or taken out again: hosts go on showing the old weights of such a name."""
    return {
        Path(name).stem
        for entry in _found(data_root)
        for name, _ in (*entry.moved, *entry.made)
        if name.endswith(".safetensors")
    }


def _kept(entry: Entry) -> Entry:
    _clear(entry)
    for name, place in entry.moved:
        _move_if_there(place, entry.folder / FILES / name)
    for name, place in entry.made:
        moving.move(entry.folder / MADE / name, place)
    return _noted(entry, "kept")


def _taken_back(entry: Entry) -> None:
    """As if it had never been begun; a name that a host may have seen is noted as used."""
    was_seen = any(not (entry.folder / MADE / name).exists() for name, _ in entry.made)
    _undone(entry)
    if not was_seen:
        shutil.rmtree(entry.folder, ignore_errors=True)


def _undone(entry: Entry) -> Entry:
    _clear(entry)
    for name, place in entry.moved:
        _move_if_there(entry.folder / FILES / name, place)
    for name, place in entry.made:
        staged, trash = entry.folder / MADE / name, entry.folder / TRASH / name
        if staged.exists() and place.exists() and moving.is_same(staged, place):
            place.unlink()  # it was cut off on its way there
        source = staged if staged.exists() else place
        if not trash.exists() or (source.exists() and moving.is_same(source, trash)):
            _move_if_there(source, trash)
    return _noted(entry, "undone")


def _move_if_there(source: Path, target: Path) -> None:
    """A file that somebody took away meanwhile is no reason to leave the others."""
    if source.exists() or target.exists():
        moving.move(source, target)


def _clear(entry: Entry) -> None:
    """Copies to another disk that a dead program left half done."""
    for name, place in (*entry.moved, *entry.made):
        for target in (place, *(entry.folder / part / name for part in (FILES, TRASH))):
            moving.clear(target)


def _noted(entry: Entry, state: State) -> Entry:
    told = replace(entry, state=state)
    try:
        told.write()
    except OSError as cause:
        raise _refused(entry.folder, cause) from cause
    return told


def _refused(place: Path, cause: OSError) -> LoraFileError:
    return LoraFileError(
        "{path} can't be written: {cause}.",
        "Make room, or choose another folder.",
        path=place,
        cause=reason(cause),
    )


def _found(data_root: Path) -> Iterator[Entry]:
    root = data_root / FOLDER
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        entry = _read(folder)
        if entry is not None:
            yield entry


def _read(folder: Path) -> Entry | None:
    try:
        plain = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        moved, made = _pairs(plain["moved"], "from"), _pairs(plain["made"], "to")
        state, at, about = plain["state"], float(plain["made_at"]), dict(plain["about"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Entry(folder, state, moved, made, at, about) if state in STATES else None


_PLAIN = re.compile(r"[^/\\\0]+")


def _pairs(rows: Sequence[Mapping[str, str]], where: str) -> tuple[tuple[str, Path], ...]:
    found = tuple((row["file"], Path(row[where])) for row in rows)
    if not all(_PLAIN.fullmatch(name) and name not in (".", "..") for name, _ in found):
        raise ValueError(found)
    return found
