"""Everything on offer for tags and sentences, wherever it comes from: models on disk, the toy world, transformers, the
host itself. What the page, the command line and the routes share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, cast

from lora_forge.dataset.project import Project
from lora_forge.dataset.taggers import (
    Interrogator,
    OnnxTagger,
    Preview,
    RunOptions,
    Tagger,
    TaggerError,
    TaggerFolder,
    Thresholds,
    find_taggers,
    preview,
    run,
)
from lora_forge.downloads import ITEMS, Item, Mirrors, Shelf
from lora_forge.downloads.mirrors import SETTINGS_FILE
from lora_forge.errors import MissingPartError
from lora_forge.events import CommandBox, Emit
from lora_forge.i18n import Said, word
from lora_forge.ports import Desk

TOY_ID = "toyworld"
_TOY = word("Toy world (bundled, for drawn photos)")
_READY, _MISSING = word("It is ready."), word("It is not on this machine yet; download it below.")
_ADVICE = {"cl_tagger_1_02": Thresholds(0.55, 0.6), "pixai-tagger-v0.9-onnx": Thresholds(0.3, 0.85)}
_BUNDLED, _HOSTS = word("bundled"), word("the WebUI's own")


@dataclass(frozen=True)
class Offer:
    """One line of a list. ``sentence`` says why it is not ready. ``size_bytes`` is 0 where nobody asks."""

    id: str
    name: Said
    kind: Literal["tags", "sentence"]
    state: Literal["ready", "missing", "broken"]
    sentence: Said
    size_bytes: int = 0
    licence: str = ""
    source: Said | str = ""
    thresholds: Thresholds = field(default_factory=Thresholds)


@dataclass(frozen=True)
class TaggerRoom:
    """Where taggers may lie (``roots``) and captioners (``captioner_roots``), ours first; the host's interrogators."""

    roots: Sequence[Path]
    captioner_roots: Sequence[Path] = ()
    interrogators: Sequence[Interrogator] = ()

    def offers(self) -> list[Offer]:
        """Known taggers in our order, there or not; then those dropped in, captioners, the host's, the toy world."""
        found = {folder.id: folder for folder in find_taggers(self.roots)}
        known = [_known(item, found.pop(item.id, None)) for item in ITEMS if item.kind == "tagger"]
        dropped = [_dropped(folder) for folder in found.values()]
        spoken = [_spoken(one, _HOSTS) for one in self.interrogators]
        return [*known, *dropped, *(_spoken(one, "") for one in self._captioners()), *spoken, _toy()]

    def load(self, id: str, *, is_fast: bool = False) -> Tagger | Interrogator:
        """What is called ``id``, ready for work.

        Raises:
            TaggerError: it is not there, or not whole.
            MissingPartError: a library or a file it needs is not there.
        """
        if id == TOY_ID:
            from lora_forge.toyworld.tagger import ToyTagger

            return ToyTagger()
        for one in (*self._captioners(), *self.interrogators):
            if one.id == id:
                return one
        return OnnxTagger(self._folder(id), is_fast=is_fast)

    def check(self, id: str) -> None:
        """Nothing where ``id`` could be loaded, as far as can be told without loading it.

        Raises:
            TaggerError: it is not there.
            MissingPartError: a file it needs is not there.
        """
        for one in (*self._captioners(), *self.interrogators):
            if one.id == id:
                if one.problem:
                    raise MissingPartError(one.problem)
                return
        if id != TOY_ID:
            self._folder(id).labels()

    def fingerprint(self, id: str) -> str:
        """Of what is called ``id``; loads no network.

        Raises:
            TaggerError: it is not there, or keeps no scores.
        """
        if id == TOY_ID:
            from lora_forge.toyworld.tagger import ToyTagger

            return ToyTagger().fingerprint
        if any(one.id == id for one in (*self._captioners(), *self.interrogators)):
            raise TaggerError("{id} gives no scores to move sliders over.", "Run it instead.", id=id)
        return self._folder(id).fingerprint

    def _folder(self, id: str) -> TaggerFolder:
        for folder in find_taggers(self.roots):
            if folder.id == id:
                return folder
        raise TaggerError(
            "The tagger {id} is not on this machine.",
            "Download it, or put its folder (model.onnx and its list of tags) into {place}.",
            id=id,
            place=self.roots[0] if self.roots else "models/taggers",
        )

    def _captioners(self) -> Sequence[Interrogator]:
        if not any(root.is_dir() for root in self.captioner_roots):
            return ()
        from lora_forge.model.captioner import find_captioners

        return cast("Sequence[Interrogator]", find_captioners(self.captioner_roots))


def room_of(desk: Desk) -> TaggerRoom:
    """What ``desk`` offers, its own interrogators with it where it has any (an optional method)."""
    dirs = desk.model_dirs()
    ask = getattr(desk, "interrogators", None)
    return TaggerRoom(dirs.get("taggers", ()), dirs.get("captioners", ()), tuple(ask()) if ask is not None else ())


def room_in(models_dirs: Sequence[Path]) -> TaggerRoom:
    """Taggers and captioners in folders of models, without a host."""
    return TaggerRoom([root / "taggers" for root in models_dirs], [root / "captioners" for root in models_dirs])


def shelf_in(data_root: Path) -> Shelf:
    """Downloads of a data root: its ``models``, and its own mirrors."""
    return Shelf(data_root / "models", Mirrors(data_root / SETTINGS_FILE))


def tag(
    project: Project,
    room: TaggerRoom,
    id: str,
    options: RunOptions,
    keys: Sequence[str] | None,
    emit: Emit,
    commands: CommandBox,
    *,
    is_fast: bool = False,
    only_scores: bool = False,
) -> str:
    """Tag photos and write their captions as one step that can be undone; returns ``done`` or ``stopped``.

    ``only_scores``: remember the scores for previews, and leave the captions alone.

    Raises:
        LoraForgeError: the tagger is not there or failed, or the captions can't be written.
    """
    from lora_forge.dataset.tags import book_of

    def write(changes: Mapping[str, list[str]]) -> None:
        book_of(project).write(changes, (word("Automatic tags: {tagger}"), {"tagger": id}))

    return run(project, room.load(id, is_fast=is_fast), options, keys, emit, commands, None if only_scores else write)


def would_be(project: Project, room: TaggerRoom, id: str, options: RunOptions, keys: Sequence[str] | None) -> Preview:
    """What :func:`tag` would write, from remembered scores alone.

    Raises:
        TaggerError: the tagger is not there or keeps no scores, or a list is wrong.
    """
    return preview(project, room.fingerprint(id), options, keys)


def _known(item: Item, folder: TaggerFolder | None) -> Offer:
    if folder is not None:
        return replace(_dropped(folder, Said(item.name)), licence=item.licence, source=item.source)
    return Offer(
        item.id,
        Said(item.name),
        "tags",
        "missing",
        Said(_MISSING),
        item.size_bytes,
        item.licence,
        item.source,
        _ADVICE.get(item.id, Thresholds()),
    )


def _dropped(folder: TaggerFolder, name: Said | None = None) -> Offer:
    shown, source = name or Said("{name}", {"name": folder.id}), str(folder.folder)
    try:
        folder.labels()
        size, thresholds = folder.size_bytes, folder.thresholds()
    except (TaggerError, OSError) as problem:
        return Offer(folder.id, shown, "tags", "broken", _why(problem), source=source)
    return Offer(folder.id, shown, "tags", "ready", Said(_READY), size, source=source, thresholds=thresholds)


def _spoken(one: Interrogator, source: str) -> Offer:
    state: Literal["ready", "missing"] = "missing" if one.problem else "ready"
    sentence = Said(one.problem or _READY)
    return Offer(one.id, Said("{name}", {"name": one.name}), one.kind, state, sentence, source=Said(source))


def _toy() -> Offer:
    return Offer(
        TOY_ID, Said(_TOY), "tags", "ready", Said(_READY), source=Said(_BUNDLED), thresholds=Thresholds(0.5, 0.5)
    )


def _why(problem: Exception) -> Said:
    if isinstance(problem, TaggerError):
        return Said(problem.what, problem.values)
    return Said("{cause}", {"cause": problem})
