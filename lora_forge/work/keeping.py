"""Keep this one (只保留这个): one epoch becomes a file of its own with a card, the numbered ones go to the archive."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lora_forge.atomic import write_bytes
from lora_forge.dataset.images import UnreadableImageError, read_image
from lora_forge.dataset.project import Project
from lora_forge.errors import LoraFileError
from lora_forge.i18n import Said, some_of, word
from lora_forge.i18n.reasons import reason
from lora_forge.lora_file import sidecar
from lora_forge.lora_file.facts import LoraFacts, read_facts
from lora_forge.lora_file.names import check_single, epoch_files, free_name, listed_files, parse_epoch, run_files
from lora_forge.train.claim import is_claimed
from lora_forge.work import archive
from lora_forge.work.archive import Entry
from lora_forge.work.run_file import read_run_file

MADE_FROM = "lora_forge.made_from"
"""Key of a file's metadata: JSON that says what it was made from."""

_KEPT = word("{file} is kept: epoch {epoch} at strength {strength}. {count} files are in the archive.")
_BAKED = word(
    "{file} is kept: epoch {epoch} with strength {strength} baked in, so that 1 draws what {strength} drew. "
    "{count} files are in the archive."
)
_UNDONE = word("{count} files are back where they were; {file} is in the archive's trash.")
_MADE_OF = word("Made from epoch {epoch} of {name} with LoRA Forge.")
_MADE_OF_BAKED = word("Made from epoch {epoch} of {name} with LoRA Forge; strength {strength} is baked in.")


class Places(Protocol):
    """As much of a desk as this needs."""

    def data_root(self) -> Path: ...
    def lora_dir(self) -> Path: ...
    def language(self) -> str: ...


@dataclass(frozen=True)
class Folders:
    """:class:`Places` without a host: the data root and the folder of LoRA files, in English."""

    root: Path
    loras: Path

    def data_root(self) -> Path:
        """As given."""
        return self.root

    def lora_dir(self) -> Path:
        """As given."""
        return self.loras

    def language(self) -> str:
        """Of the card's description."""
        return "en"


@dataclass(frozen=True)
class Chosen:
    """The numbered files of a LoRA, by epoch, in the folder they lie in; ``all`` has those between epochs too."""

    name: str
    folder: Path
    epochs: Mapping[int, Path]
    all: tuple[Path, ...]

    def put_away(self) -> list[Path]:
        """Every one of them with what lies beside it."""
        return [path for lora in self.all for path in (lora, *sidecar.companions(lora))]


@dataclass(frozen=True)
class KeepRequest:
    """What is to be kept. ``picture``: of the card, None for none. ``weight`` None: 1 where the strength is baked,
    else the strength."""

    project: Project | None
    name: str
    epoch: int
    strength: float
    new_name: str
    bake: bool = False
    picture: Path | None = None
    activation: str = ""
    weight: float | None = None
    negative: str = ""
    notes: str = ""


@dataclass(frozen=True)
class Kept:
    """``file``: where it is. ``archived``: names of what went to the archive."""

    entry: Entry
    file: Path
    archived: tuple[str, ...] = field(default_factory=tuple)
    sentence: Said = field(default_factory=lambda: Said(""))


def chosen(desk: Places, project: Project | None, name: str) -> Chosen:
    """The numbered files of ``name``: where the project's run of that name wrote them, or anywhere in the Lora folder.

    Raises:
        LoraFileError: there are none.
    """
    for folder in _folders(desk, project, name):
        epochs = epoch_files(folder, name)
        if epochs:
            return Chosen(name, folder, epochs, tuple(run_files(folder, name)))
    raise LoraFileError(
        "There are no numbered files of {name} in the Lora folder.", "Choose a LoRA that is there.", name=name
    )


def names_in(desk: Places, project: Project | None) -> list[str]:
    """LoRAs with numbered files, those of the project's runs first."""
    found = {parsed[0] for path in listed_files(desk.lora_dir()) if (parsed := parse_epoch(path))}
    runs = [path.name for path in project.runs_dir.iterdir()] if project and project.runs_dir.is_dir() else []
    return sorted(found, key=lambda name: (name not in runs, name.casefold()))


def proposed_name(desk: Places, name: str) -> str:
    """``name`` without a number, or its next free version."""
    return free_name(name, desk.lora_dir(), archive.used_stems(desk.data_root()))


def proposed_activation(facts: LoraFacts, trigger_word: str) -> str:
    """The trigger word, and up to three words that nearly every picture was described with."""
    trigger = trigger_word or facts.trigger_word
    words = [one.word for one in facts.words if one.share is not None and one.share >= 0.9 and one.word != trigger]
    told = dict.fromkeys(part for part in (trigger, *words[:3]) if part)
    return ", ".join(told)


def check_idle(chosen_files: Chosen, project: Project | None, at_work: Collection[str]) -> None:
    """Nothing, if no run or test of that name is at work or waits.

    Raises:
        LoraFileError: one is.
    """
    is_held = project is not None and is_claimed(project.runs_dir / chosen_files.name)
    if is_held or chosen_files.name in at_work:
        raise LoraFileError(
            "{name} is at work or waits in the queue.",
            "Wait for its end, stop it, or take it out of the queue.",
            name=chosen_files.name,
        )


def keep(desk: Places, request: KeepRequest, at_work: Collection[str] = ()) -> Kept:
    """Write the file and its card under the new name, and put the numbered ones away.

    Raises:
        LoraFileError: there is no such epoch, the name can't be used, a file can't be read or written, or a run of
            that name is at work. A refusal before anything moved leaves everything as it was.
    """
    found = chosen(desk, request.project, request.name)
    check_idle(found, request.project, at_work)
    check_single(request.new_name, desk.lora_dir(), archive.used_stems(desk.data_root()))
    _check_no_companion(found.folder, request.new_name)
    if request.epoch not in found.epochs:
        raise LoraFileError(
            "There is no epoch {epoch} of {name}.", "Reload the list.", epoch=request.epoch, name=found.name
        )
    now = time.time()
    folder = archive.new_entry(desk.data_root(), request.new_name, now)
    try:
        made = _make(desk, request, found, folder / archive.MADE)
    except BaseException:
        _clear(folder)
        raise
    moved = tuple((path.name, path) for path in found.put_away())
    entry = archive.keep(
        Entry(
            folder,
            "keeping",
            moved,
            tuple((path.name, found.folder / path.name) for path in made),
            now,
            _about(request),
        )
    )
    return Kept(entry, found.folder / made[0].name, tuple(name for name, _ in moved), kept_sentence(entry))


def undo(desk: Places, id: str, at_work: Collection[str] = ()) -> tuple[Entry, Said]:
    """Put every file of the entry back, and what was kept into its trash.

    Raises:
        LoraFileError: as :func:`archive.undo`, or the LoRA is at work.
    """
    entry = archive.find(desk.data_root(), id)
    names = {str(entry.about.get("name", "")), str(entry.about.get("new_name", ""))}
    if names & set(at_work):
        raise LoraFileError(
            "{name} is at work or waits in the queue.",
            "Wait for its end, stop it, or take it out of the queue.",
            name=some_of(sorted(names & set(at_work))),
        )
    undone = archive.undo(entry)
    return undone, Said(_UNDONE, {"count": len(undone.moved), "file": str(undone.about.get("file", ""))})


def kept_sentence(entry: Entry) -> Said:
    """What was kept, from the entry alone."""
    about = entry.about
    values = {"file": about.get("file", ""), "epoch": about.get("epoch", 0), "strength": about.get("strength", 1)}
    return Said(_BAKED if about.get("bake") else _KEPT, {**values, "count": len(entry.moved)})


def _folders(desk: Places, project: Project | None, name: str) -> Iterator[Path]:
    root = desk.lora_dir()
    if project is not None:
        asked = read_run_file(project.runs_dir / name)
        if asked.get("out_dir"):
            yield Path(str(asked["out_dir"]))
        if asked:
            yield root / str(asked.get("folder") or "")
    yield root
    parents = (path.parent for path in listed_files(root) if (parsed := parse_epoch(path)) and parsed[0] == name)
    yield from dict.fromkeys(parents)


def _make(desk: Places, request: KeepRequest, found: Chosen, place: Path) -> list[Path]:
    """The LoRA, its JSON and its picture in ``place``, the LoRA first."""
    from lora_forge.lora_file import baking  # these bring torch, which a page that only lists has no need of
    from lora_forge.lora_file.algebra import dtype_of
    from lora_forge.lora_file.writer import load_lora, save_lora

    source = found.epochs[request.epoch]
    lora, facts = load_lora(source), read_facts(source)
    weights = baking.bake(lora.weights, request.strength) if request.bake else lora.weights
    path = place / f"{request.new_name}.safetensors"
    save_lora(path, weights, _metadata(lora.metadata, request), dtype_of(lora.weights))
    card = sidecar.Card(
        request.activation.strip(),
        request.weight or (1.0 if request.bake else request.strength),
        request.negative.strip(),
        request.notes.strip(),
        _described(request).text(desk.language()),
        facts.family,
    )
    made = [path, place / f"{request.new_name}.json"]
    content = {made[1]: card.json_bytes(sidecar.read_card(source))}
    if request.picture is not None:
        made.append(place / f"{request.new_name}.png")
        content[made[2]] = _picture(request.picture)
    try:
        for target, data in content.items():
            write_bytes(target, data)
    except OSError as cause:
        raise LoraFileError(
            "{path} can't be written: {cause}.",
            "Make room, or choose another folder.",
            path=place,
            cause=reason(cause),
        ) from cause
    return made


def _metadata(before: Mapping[str, str], request: KeepRequest) -> dict[str, str]:
    """As the file had it, under its new name, with what it was made from; a hash of other tensors goes."""
    made = {key: value for key, value in before.items() if not (request.bake and key == "modelspec.hash_sha256")}
    if "modelspec.title" in made:
        made["modelspec.title"] = request.new_name
    origin = {"name": request.name, "epoch": request.epoch, "strength": request.strength, "baked": request.bake}
    if request.project is not None:
        origin["run"] = request.name
    return {**made, MADE_FROM: json.dumps(origin, ensure_ascii=False)}


def _described(request: KeepRequest) -> Said:
    values = {"epoch": request.epoch, "name": request.name, "strength": f"{request.strength:g}"}
    return Said(_MADE_OF_BAKED if request.bake else _MADE_OF, values)


def _picture(path: Path) -> bytes:
    try:
        return sidecar.picture_bytes(read_image(path))
    except UnreadableImageError as problem:
        raise LoraFileError(
            "{path} can't be used as the picture of the card: {why}.",
            "Choose another one.",
            path=path.name,
            why=problem.reason,
        ) from problem


def _about(request: KeepRequest) -> dict[str, Any]:
    return {
        "project": request.project.root.name if request.project else "",
        "name": request.name,
        "new_name": request.new_name,
        "file": f"{request.new_name}.safetensors",
        "epoch": request.epoch,
        "strength": request.strength,
        "bake": request.bake,
    }


def _check_no_companion(folder: Path, name: str) -> None:
    near = next((path for path in sorted(folder.iterdir()) if path.name.startswith(f"{name}.")), None)
    if near is not None:
        raise LoraFileError("{file} exists already, and nothing is written over.", "Choose another name.", file=near)


def _clear(folder: Path) -> None:
    """An entry that never came to be: what was staged is ours alone."""
    for path in (
        *(folder / archive.MADE).glob("*"),
        *(folder / archive.MADE).glob(".*.tmp"),
        folder / archive.MADE,
        folder,
    ):
        if path.is_file():
            path.unlink(missing_ok=True)
        elif path.is_dir():
            path.rmdir()
