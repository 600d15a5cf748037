"""Tagging the photos of a project: scores made once and remembered, captions written as one step at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image

from lora_forge.dataset.captions import read_caption, split_tags
from lora_forge.dataset.images import IMAGE_SUFFIXES, UnreadableImageError, read_image
from lora_forge.dataset.project import Project, caption_path
from lora_forge.dataset.stages import Stage
from lora_forge.dataset.taggers.errors import TaggerError
from lora_forge.dataset.taggers.interrogators import Interrogator
from lora_forge.dataset.taggers.labels import Label
from lora_forge.dataset.taggers.picking import MODES, Mode, PickOptions, Scored, merge, pick, sentence_tags
from lora_forge.dataset.taggers.scores import Contents, ScoreCache
from lora_forge.dataset.taggers.tagger import Tagger
from lora_forge.events import CommandBox, Emit, Warned

STAGE = "tag"
Write = Callable[[Mapping[str, list[str]]], None]


@dataclass(frozen=True)
class RunOptions:
    """``picks``: what becomes of the scores. ``mode``: what becomes of the captions that are there."""

    picks: PickOptions = field(default_factory=PickOptions)
    mode: Mode = "replace"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise TaggerError("{mode!r} is no mode.", "Say one of {known}.", mode=self.mode, known=", ".join(MODES))


def run(
    project: Project,
    tagger: Tagger | Interrogator,
    options: RunOptions,
    keys: Sequence[str] | None,
    emit: Emit,
    commands: CommandBox,
    write: Write | None,
) -> str:
    """Tag the photos ``keys`` (None: all); returns ``done`` or ``stopped``.

    Captions are handed to ``write`` in one go at the end, those that change alone; without it photos are scored for
    previews and no caption changes. After a stop none is written, but a tagger's scores are remembered and the next
    run goes on from there.

    Raises:
        TaggerError: the model failed, or a list is wrong.
        OSError: the disk is full or the folder can't be written.
    """
    wanted = _wanted(project, keys)
    pick([], options.picks)  # a wrong list is said before anything long begins
    stage = Stage(emit, STAGE, len(wanted))
    work = _describe if callable(tagger) else _score
    found: dict[str, list[str]] = {}
    with contextlib.closing(work(project, tagger, options, wanted, emit, commands)) as results:  # type: ignore[arg-type]
        for key, tags in results:
            found[key] = tags
            stage.advance()
            if commands.asks_to_stop():
                break
    if commands.asks_to_stop() and len(found) < len(wanted):
        stage.finish(
            "Stopped after {done} of {total} photos; no caption was changed.", done=len(found), total=len(wanted)
        )
        return "stopped"
    if write is None:
        stage.finish("{done} photos scored; move the sliders, then write the captions.", done=len(found))
        return "done"
    changes = _Captions(project, options.mode).changes(found)
    if changes:
        write(changes)
    stage.finish("{done} photos tagged, {changed} captions changed.", done=len(found), changed=len(changes))
    return "done"


@dataclass(frozen=True)
class Preview:
    """``tags``: what the captions would be. ``missing``: photos that were not scored by this tagger yet."""

    tags: Mapping[str, list[str]]
    missing: tuple[str, ...]


def preview(project: Project, fingerprint: str, options: RunOptions, keys: Sequence[str] | None) -> Preview:
    """What :func:`run` would write, from remembered scores alone; nothing is written, no model is needed.

    Raises:
        TaggerError: a list is wrong.
    """
    pick([], options.picks)
    contents, cache = Contents(project), ScoreCache(project, fingerprint)
    captions = _Captions(project, options.mode)
    found: dict[str, list[str]] = {}
    missing: list[str] = []
    for key in _wanted(project, keys):
        scored = _remembered(contents, cache, key)
        if scored is None:
            missing.append(key)
        else:
            found[key] = captions.with_tags(key, pick(scored, options.picks))
    contents.save()
    return Preview(found, tuple(missing))


def _wanted(project: Project, keys: Sequence[str] | None) -> list[str]:
    """``keys``, each once; all of the project's where it is None.

    Raises:
        TaggerError: one of them is no photo of the project.
    """
    if keys is None:
        return [project.key(photo.path) for photo in project.photos()]
    root = project.images_dir.resolve()
    for key in keys:
        path = project.images_dir / key
        if root not in path.resolve().parents or path.suffix.lower() not in IMAGE_SUFFIXES or not path.is_file():
            raise TaggerError("There is no photo {key} in this project.", "Load the page again.", key=key)
    return list(dict.fromkeys(keys))


def _remembered(contents: Contents, cache: ScoreCache, key: str) -> list[Scored] | None:
    try:
        return cache.get(contents.of(key))
    except OSError:
        return None


def _score(
    project: Project, tagger: Tagger, options: RunOptions, keys: Sequence[str], emit: Emit, commands: CommandBox
) -> Generator[tuple[str, list[str]], None, None]:
    contents, cache = Contents(project), ScoreCache(project, tagger.fingerprint)
    batch: list[tuple[str, str, Image.Image]] = []
    try:
        for place, key in enumerate(keys):
            scored = _remembered(contents, cache, key)
            image = _read(project, key, emit) if scored is None else None
            if scored is not None:
                yield key, pick(scored, options.picks)
            elif image is not None:
                batch.append((key, contents.of(key), image))
            if batch and (len(batch) == tagger.batch_size or place == len(keys) - 1):
                yield from _score_batch(tagger, cache, batch, options.picks)
                batch = []
            if commands.asks_to_stop():
                return
    finally:
        contents.save()


def _score_batch(
    tagger: Tagger, cache: ScoreCache, batch: Sequence[tuple[str, str, Image.Image]], picks: PickOptions
) -> list[tuple[str, list[str]]]:
    scores = tagger.score([image for _, _, image in batch])
    rows = zip(batch, scores, strict=True)
    return [(key, pick(cache.put(content, tagger.labels, row), picks)) for (key, content, _), row in rows]


def _describe(
    project: Project, tagger: Interrogator, options: RunOptions, keys: Sequence[str], emit: Emit, commands: CommandBox
) -> Generator[tuple[str, list[str]], None, None]:
    """An interrogator chooses by its own thresholds; lists count for its tags, not for its sentences."""
    for key in keys:
        image = _read(project, key, emit)
        if image is not None:
            parts = sentence_tags(tagger(image))
            yield key, _listed(parts, options.picks) if tagger.kind == "tags" else _with_additions(parts, options.picks)
        if commands.asks_to_stop():
            return


def _listed(tags: Sequence[str], picks: PickOptions) -> list[str]:
    return pick([Scored(Label(tag), 2.0) for tag in tags], picks)


def _with_additions(parts: Sequence[str], picks: PickOptions) -> list[str]:
    return [*(" ".join(tag.split()) for tag in picks.add if tag.strip()), *parts]


def _read(project: Project, key: str, emit: Emit) -> Image.Image | None:
    try:
        return read_image(project.images_dir / key)
    except UnreadableImageError as problem:
        emit(Warned("{photo} is left out: {reason}", {"photo": key, "reason": problem.reason}))
        return None


class _Captions:
    """Captions of a project as they would be with other tags."""

    def __init__(self, project: Project, mode: Mode) -> None:
        self._project, self._mode, self._word = project, mode, project.trigger_word
        self._prior = {group.name: group.is_prior for group in project.groups}

    def with_tags(self, key: str, found: Sequence[str]) -> list[str]:
        """The tags of the whole caption."""
        group = key.partition("/")[0]
        return merge(self._now(key), found, self._mode, "" if self._prior.get(group, False) else self._word)

    def changes(self, found: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Those that become others than they are."""
        wanted = {key: self.with_tags(key, tags) for key, tags in found.items()}
        return {key: tags for key, tags in wanted.items() if tags != split_tags(self._now(key))}

    def _now(self, key: str) -> str:
        return read_caption(caption_path(self._project.images_dir / key))
