"""Tools on the host's LoRA files: a list of them, what one says of itself, a lower rank, two as one."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lora_forge.errors import LoraFileError
from lora_forge.events import CommandBox, Emit, Progress, StageDone, StageStarted
from lora_forge.i18n import Said, word
from lora_forge.lora_file.facts import LoraFacts, read_facts
from lora_forge.lora_file.names import SUFFIX, check_single, free_name, listed_files
from lora_forge.work.archive import used_stems
from lora_forge.work.keeping import MADE_FROM, Places

if TYPE_CHECKING:  # they bring torch, which a page that only lists has no need of
    from lora_forge.lora_file.algebra import Loss
    from lora_forge.lora_file.writer import LoraFile, SavedLora

_MOST_KNOWN = 4000
_KNOWN: OrderedDict[tuple[str, int, int], LoraFacts | None] = OrderedDict()

_RESIZED = word(
    "{file}: rank {ranks}, {megabytes} MB (it was {before} MB). Off by {whole} of the whole; "
    "the layer that lost most is off by {worst} ({layer})."
)
_MERGED = word("{file}: rank {ranks}, {megabytes} MB. Off by {whole} of the exact sum.")


@dataclass(frozen=True)
class Listed:
    """One LoRA file of the host's folder. ``key``: its path there, with forward slashes. ``facts`` None: unreadable."""

    key: str
    path: Path
    size_bytes: int
    facts: LoraFacts | None


@dataclass(frozen=True)
class Result:
    """What a tool made. ``loss``: see :class:`Loss`."""

    saved: SavedLora
    loss: Loss
    sentence: Said


def loras(desk: Places) -> list[Listed]:
    """Every .safetensors beneath the host's Lora folder, by name."""
    root = desk.lora_dir()
    found = (path for path in listed_files(root) if path.suffix.lower() == SUFFIX)
    rows = (_listed(root, path) for path in found)
    return sorted((row for row in rows if row is not None), key=lambda row: row.key.casefold())


def find(desk: Places, key: str) -> Path:
    """The file with that key; nothing outside the Lora folder has one.

    Raises:
        LoraFileError: there is none.
    """
    root = desk.lora_dir()
    found = next((path for path in listed_files(root) if _key(root, path) == key), None)
    if found is None:
        raise LoraFileError("There is no LoRA {file} in the Lora folder.", "Reload the list.", file=key)
    return found


def proposed_name(desk: Places, path: Path, ending: str) -> str:
    """A free name such as ``girl_r16``."""
    return free_name(f"{path.stem}_{ending}", desk.lora_dir(), used_stems(desk.data_root()))


def check_new_name(desk: Places, name: str) -> None:
    """Nothing, if a new file may have that name.

    Raises:
        LoraFileError: it can't.
    """
    check_single(name, desk.lora_dir(), used_stems(desk.data_root()))


class StoppedError(Exception):
    """A stop was asked for between two layers."""


def resize(
    desk: Places,
    path: Path,
    new_name: str,
    rank: int | None,
    keep_share: float | None,
    emit: Emit,
    commands: CommandBox,
) -> Result:
    """A copy of ``path`` at a lower rank, beside it.

    Raises:
        LoraFileError: the file can't be read, the rank or share is out of range, or the name is taken.
        StoppedError: a stop was asked for; nothing was written.
    """
    from lora_forge.lora_file import resizing
    from lora_forge.lora_file.algebra import dtype_of
    from lora_forge.lora_file.writer import load_lora, save_lora

    check_new_name(desk, new_name)
    file = load_lora(path)
    emit(StageStarted("resize", len(file.weights), "layers"))
    dtype = dtype_of(file.weights)
    made = resizing.resize(file.weights, rank, keep_share, dtype, _each("resize", emit, commands))
    least, most = made.ranks
    name = str(most) if least == most else "Dynamic"  # as kohya's own tool writes it
    origin = {"file": path.name, "rank": rank, "keep_share": keep_share}
    metadata = {key: value for key, value in file.metadata.items() if key != "modelspec.hash_sha256"}
    metadata |= {"ss_network_dim": name, "ss_network_alpha": name, MADE_FROM: json.dumps(origin, ensure_ascii=False)}
    saved = save_lora(path.with_name(new_name + SUFFIX), made.weights, metadata, dtype)
    values = {"before": _megabytes(path.stat().st_size), "layer": made.loss.worst_layer or "-"}
    return _done("resize", saved, made.loss, made.ranks, _RESIZED, values, emit)


def merge(
    desk: Places,
    first: tuple[Path, float],
    second: tuple[Path, float],
    rank: int | None,
    new_name: str,
    emit: Emit,
    commands: CommandBox,
) -> Result:
    """Both, each at its strength, as a new file beside the first.

    Raises:
        LoraFileError: as :func:`resize`; or they are for different families.
        StoppedError: a stop was asked for; nothing was written.
    """
    from lora_forge.lora_file import merging
    from lora_forge.lora_file.writer import load_lora, save_lora

    check_new_name(desk, new_name)
    merging.check_alike(read_facts(first[0]), read_facts(second[0]))
    one, other = load_lora(first[0]), load_lora(second[0])
    emit(StageStarted("merge", len({**one.weights, **other.weights}), "layers"))
    made = merging.merge(one, first[1], other, second[1], rank, _each("merge", emit, commands))
    origin = {"files": {first[0].name: first[1], second[0].name: second[1]}, "rank": rank}
    metadata = _merged_metadata(one, other, origin, made.ranks)
    saved = save_lora(first[0].with_name(new_name + SUFFIX), made.weights, metadata, made.dtype)
    return _done("merge", saved, made.loss, made.ranks, _MERGED, {}, emit)


def _merged_metadata(
    one: LoraFile, other: LoraFile, origin: Mapping[str, object], ranks: tuple[int, int]
) -> dict[str, str]:
    from lora_forge.lora_file import merging

    name = str(ranks[1]) if ranks[0] == ranks[1] else "Dynamic"
    made = merging.merged_metadata(one.metadata, other.metadata, origin)
    return {**made, "ss_network_dim": name, "ss_network_alpha": name}


def _done(
    stage: str,
    saved: SavedLora,
    loss: Loss,
    ranks: tuple[int, int],
    template: str,
    values: Mapping[str, object],
    emit: Emit,
) -> Result:
    least, most = ranks
    told = {
        "file": saved.path.name,
        "ranks": str(most) if least == most else f"{least}-{most}",
        "megabytes": _megabytes(saved.size_bytes),
        "whole": _percent(loss.whole),
        "worst": _percent(loss.worst),
        **values,
    }
    emit(StageDone(stage, template, told))
    return Result(saved, loss, Said(template, told))


def _each(stage: str, emit: Emit, commands: CommandBox) -> Callable[[int, int], None]:
    def told(done: int, total: int) -> None:
        if commands.asks_to_stop():
            raise StoppedError
        emit(Progress(stage, done, total))

    return told


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _listed(root: Path, path: Path) -> Listed | None:
    try:
        stat = path.stat()
    except OSError:  # it went this moment
        return None
    known = (str(path), stat.st_size, stat.st_mtime_ns)
    if known not in _KNOWN:
        _KNOWN[known] = _facts(path)
        while len(_KNOWN) > _MOST_KNOWN:
            _KNOWN.popitem(last=False)
    return Listed(_key(root, path), path, stat.st_size, _KNOWN[known])


def _facts(path: Path) -> LoraFacts | None:
    try:
        return read_facts(path)
    except LoraFileError:
        return None


def _key(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
