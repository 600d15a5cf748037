"""The job: every scene drawn with the host's own pipeline, seen by the judges as it arrives, and a verdict at the end.

Pictures with the LoRA come first, so that a person sees them; then, for scenes where something asked for is not there,
the same without the LoRA, which tells whether the checkpoint itself can draw it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL.Image import Image

from lora_forge.dataset.project import Project
from lora_forge.errors import ConfigError, LoraFileError, LoraForgeError
from lora_forge.evaluate.acceptance import needs_base
from lora_forge.evaluate.scenes import Scene
from lora_forge.evaluate.scores import Asked, Judge, PictureScore
from lora_forge.events import CommandBox, Emit, Progress, StageDone, StageStarted, Warned
from lora_forge.i18n import word
from lora_forge.jobs.failures import explain
from lora_forge.ports import Desk, GaveUpError
from lora_forge.work.albums.store import DONE, FAILED, RUNNING, STOPPED, Album
from lora_forge.work.judging import Judging, judging
from lora_forge.work.packing import packed

Judges = Callable[..., Judging]

_UNSEEN = word("{file} could not be judged: {problem}")
_WITHOUT_FACE = ("full-body", "from-side")  # a face that is small or turned away may not be found


def check_album(desk: Desk, album: Album) -> None:
    """Nothing, if ``album`` could be drawn with what is loaded now.

    Raises:
        LoraFileError: its LoRA is not there, or another file by now.
        ConfigError: it was begun with another checkpoint.
        CheckpointError: none is chosen.
    """
    path, base = album.request.lora([desk.lora_dir()]), desk.info().name
    if album.base and album.base != base:
        raise ConfigError(
            "The album was begun with the checkpoint {old}, and {new} is loaded now.",
            "Load {old} again, or make a new album.",
            old=album.base,
            new=base,
        )
    if album.lora_sha256 and album.lora_sha256 != _sha256(path):
        raise LoraFileError(
            "{file} is not the file any more that the album was begun with.", "Make a new album.", file=path.name
        )


def draw_album(
    desk: Desk, project: Project, album: Album, emit: Emit, commands: CommandBox, judges: Judges = judging
) -> str:
    """Draw and judge what is missing of ``album``; ``done`` or ``stopped``. What is drawn stays, whatever happens.

    Raises:
        LoraForgeError: as :func:`check_album`, or as the host's drawing does. It is kept in the album too.
    """
    try:
        check_album(desk, album)
        album.base = desk.info().name
        album.lora_sha256 = album.lora_sha256 or _sha256(album.request.lora([desk.lora_dir()]))
        album.state, album.error = RUNNING, None
        album.save()
        outcome = _Drawing(desk, project, album, emit, commands, judges).run()
    except GaveUpError:
        outcome = STOPPED
    except BaseException as cause:
        what, remedy = explain(cause, is_traced=False)
        album.state, album.error = FAILED, [packed(what), packed(remedy)]
        album.save()
        raise
    album.state = outcome
    album.save()
    verdict = album.verdict()
    if verdict is not None:
        emit(StageDone("album", verdict.sentence.template, verdict.sentence.values))
    return outcome


@dataclass
class _Drawing:
    """``seconds``: what each picture took until now, looking included."""

    desk: Desk
    project: Project
    album: Album
    emit: Emit
    commands: CommandBox
    judges: Judges
    seconds: list[float] = field(default_factory=list)

    def run(self) -> str:
        album = self.album
        found = self.judges(self.desk, self.project, album.request.kind, self.emit, self.commands.asks_to_stop)
        album.used, album.missing = _packed(found.used), _packed(found.missing)
        album.save()
        self.emit(StageStarted("album", len(album.scenes), "pictures"))
        wanted = [scene for scene in album.scenes if not album.is_drawn(scene)]
        if not self._draw(wanted, found.judge, has_lora=True):
            return STOPPED
        doubtful = [
            scene for scene in album.scenes if not scene.contradicts and needs_base(album.scores[scene.id], scene.asks)
        ]
        wanted = [scene for scene in doubtful if not album.is_drawn(scene, has_lora=False)]
        return DONE if self._draw(wanted, found.judge, has_lora=False) else STOPPED

    def _draw(self, scenes: Sequence[Scene], judge: Judge, *, has_lora: bool) -> bool:
        """False when it was stopped."""
        if not scenes:
            return True
        requests = [self.album.request.picture(scene, has_lora=has_lora) for scene in scenes]
        drawn = self.desk.draw(requests, [self.desk.lora_dir()], self.commands.asks_to_stop)
        try:
            for number, (scene, request) in enumerate(zip(scenes, requests, strict=True)):
                if self.commands.asks_to_stop():
                    return False
                began = time.monotonic()
                image = next(drawn).convert("RGB")
                self.album.keep(scene, image, request, self._look(judge, image, scene, has_lora))
                self.seconds.append(time.monotonic() - began)
                self._tell(len(scenes) - number - 1)
        finally:
            if isinstance(drawn, Generator):  # gives the checkpoint back now, not when the collector comes by
                drawn.close()
        return True

    def _look(self, judge: Judge, image: Image, scene: Scene, has_lora: bool) -> PictureScore:
        """A judge that fails costs this picture its ticks, not the album its pictures."""
        expects_face = self.album.request.kind in ("person", "anime") and scene.id not in _WITHOUT_FACE
        asked = Asked(self.album.request.words(scene), scene.asks, expects_face)
        try:
            return judge.score([image], asked)[0]
        except (LoraForgeError, OSError) as problem:
            name = self.album.path(scene, has_lora=has_lora).name
            self.emit(Warned(_UNSEEN, {"file": name, "problem": problem}))
            return PictureScore(None)

    def _tell(self, left: int) -> None:
        total = len(self.album.drawn()) + len(self.album.without) + left
        self.emit(Progress("album", total - left, total, sum(self.seconds) / len(self.seconds) * left))


def _packed(rows: Sequence[Any]) -> list[dict[str, Any]]:
    return [{name: packed(value) for name, value in vars(row).items()} for row in rows]


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
