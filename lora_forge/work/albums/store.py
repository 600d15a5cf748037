"""Albums on the disk: ``PROJECT/albums/ID/`` holds album.json and the pictures, ``01.png`` for the first scene and
``01-without.png`` for the same without the LoRA. The file is written after every picture."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from lora_forge import atomic
from lora_forge.dataset.naming import safe_stem
from lora_forge.dataset.project import Project
from lora_forge.errors import DatasetError
from lora_forge.evaluate.acceptance import Ticks, Verdict, ticks_of, verdict_of
from lora_forge.evaluate.scenes import Scene
from lora_forge.evaluate.scores import PictureScore
from lora_forge.i18n import Said, word
from lora_forge.ports import PictureRequest
from lora_forge.work.albums.request import AlbumRequest
from lora_forge.work.trashing import to_trash

FILE = "album.json"
FOLDER = "albums"
VERSION = 1
RUNNING, STOPPED, DONE, FAILED, INTERRUPTED = "running", "stopped", "done", "failed", "interrupted"
RESUMABLE = (STOPPED, FAILED, INTERRUPTED)
_UNFINISHED = word("only {done} of {total} pictures are drawn")


@dataclass
class Album:
    """One album. ``scores`` and ``without``: by scene, with the LoRA and without. ``used`` and ``missing``: judges, as
    :mod:`drawing` packs them. ``error``: why it failed, packed."""

    folder: Path
    request: AlbumRequest
    made_at: float
    state: str = RUNNING
    base: str = ""
    lora_sha256: str = ""
    scores: dict[str, PictureScore] = field(default_factory=dict)
    without: dict[str, PictureScore] = field(default_factory=dict)
    used: list[dict[str, Any]] = field(default_factory=list)
    missing: list[dict[str, Any]] = field(default_factory=list)
    error: Any = None

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def scenes(self) -> tuple[Scene, ...]:
        return self.request.scenes

    def path(self, scene: Scene, *, has_lora: bool = True) -> Path:
        """Where a scene's picture belongs."""
        number = 1 + self.scenes.index(scene)
        return self.folder / f"{number:02d}{'' if has_lora else '-without'}.png"

    def is_drawn(self, scene: Scene, *, has_lora: bool = True) -> bool:
        """Whether a scene's picture is there and seen."""
        return scene.id in (self.scores if has_lora else self.without) and self.path(scene, has_lora=has_lora).is_file()

    def drawn(self) -> list[Scene]:
        """Scenes whose picture is there, in their order."""
        return [scene for scene in self.scenes if self.is_drawn(scene)]

    def ticks(self, scene: Scene) -> Ticks:
        """What the picture of ``scene`` shows."""
        return ticks_of(
            self.scores[scene.id], scene.asks, self.without.get(scene.id), is_excluded=bool(scene.contradicts)
        )

    def verdict(self) -> Verdict | None:
        """None before the first picture; an album that is not whole can't have passed."""
        drawn = self.drawn()
        if not drawn:
            return None
        if len(drawn) < len(self.scenes) or self.state == RUNNING:
            return Verdict(None, Said(_UNFINISHED, {"done": len(drawn), "total": len(self.scenes)}))
        return verdict_of([self.ticks(scene) for scene in drawn])

    def keep(self, scene: Scene, image: Image.Image, request: PictureRequest, score: PictureScore) -> None:
        """Write a picture and its score."""
        has_lora = "<lora:" in request.prompt
        info = PngImagePlugin.PngInfo()
        text = parameters(request)
        (info.add_text if text.isascii() else info.add_itxt)("parameters", text)
        path = self.path(scene, has_lora=has_lora)
        atomic.write_atomically(path, lambda temporary: image.save(temporary, format="PNG", pnginfo=info))
        (self.scores if has_lora else self.without)[scene.id] = score
        self.save()

    def save(self) -> None:
        """Write album.json."""
        told = {
            "version": VERSION,
            "made_at": self.made_at,
            "state": self.state,
            "base": self.base,
            "lora_sha256": self.lora_sha256,
            "request": self.request.to_dict(),
            "scores": {scene: score.to_dict() for scene, score in self.scores.items()},
            "without": {scene: score.to_dict() for scene, score in self.without.items()},
            "used": self.used,
            "missing": self.missing,
            "error": self.error,
        }
        atomic.write_json(self.folder / FILE, told)


def parameters(request: PictureRequest) -> str:
    """How a picture was made, as the WebUIs write and read it."""
    from lora_forge.evaluate.xyz import SAMPLERS

    lines = [request.prompt]
    lines += [f"Negative prompt: {request.negative_prompt}"] if request.negative_prompt else []
    facts = {
        "Steps": str(request.steps),
        "Sampler": SAMPLERS.get(request.sampler, request.sampler),
        "CFG scale": f"{request.guidance:g}",
        "Seed": str(request.seed),
        "Size": f"{request.width}x{request.height}",
        "Clip skip": str(request.clip_skip),
    }
    return "\n".join([*lines, ", ".join(f"{key}: {value}" for key, value in facts.items())])


def new_album(project: Project, request: AlbumRequest, now: float | None = None) -> Album:
    """An empty album on the disk, under a name of its own.

    Raises:
        DatasetError: the folder can't be written.
    """
    made_at = time.time() if now is None else now
    stem = f"{safe_stem(request.name)}-{time.strftime('%Y%m%d-%H%M%S', time.localtime(made_at))}"
    home = project.root / FOLDER
    try:
        home.mkdir(exist_ok=True)
        album = Album(_made(home, stem), request, round(made_at, 3))
        album.save()
    except OSError as cause:
        raise DatasetError("{path} can't be written: {cause}.", path=f"{FOLDER}/{stem}", cause=cause) from cause
    return album


def load_album(project: Project, name: str) -> Album:
    """The album whose id is ``name``.

    Raises:
        DatasetError: there is none, or its file can't be read.
    """
    folder = project.root / FOLDER / name
    is_plain = bool(name) and Path(name).name == name and "\\" not in name and not name.startswith(".")
    if not is_plain or not (folder / FILE).is_file():
        raise DatasetError("This project has no album {name}.", "Reload the page.", name=name)
    try:
        return _read(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as cause:
        raise DatasetError("The album {name} can't be read: {cause}.", name=name, cause=cause) from cause


def albums_of(project: Project) -> list[Album]:
    """All albums that can be read, newest first."""
    found = []
    for folder in _folders(project.root / FOLDER):
        try:
            found.append(load_album(project, folder.name))
        except DatasetError:  # a damaged one is left where it is
            continue
    return sorted(found, key=lambda album: (album.made_at, album.id), reverse=True)


def remove_album(project: Project, name: str) -> Path:
    """Move an album to the project's trash; its new place.

    Raises:
        DatasetError: there is none.
        DatasetError: it can't be moved.
    """
    return to_trash(project, load_album(project, name).folder, FOLDER)


def _made(home: Path, stem: str) -> Path:
    """A folder that nobody has: two albums may begin in one second."""
    number = 1
    while True:
        folder = home / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1


def _folders(home: Path) -> Iterator[Path]:
    try:
        with os.scandir(home) as entries:
            names = [one.name for one in entries if one.is_dir() and not one.name.startswith(".")]
    except OSError:
        return
    yield from (home / name for name in names if (home / name / FILE).is_file())


def _read(folder: Path) -> Album:
    plain = json.loads((folder / FILE).read_text(encoding="utf-8"))
    if plain["version"] != VERSION:
        raise ValueError(f"version {plain['version']}")
    return Album(
        folder,
        AlbumRequest.from_dict(plain["request"]),
        float(plain["made_at"]),
        str(plain["state"]),
        str(plain["base"]),
        str(plain["lora_sha256"]),
        {scene: PictureScore.from_dict(score) for scene, score in plain["scores"].items()},
        {scene: PictureScore.from_dict(score) for scene, score in plain["without"].items()},
        list(plain["used"]),
        list(plain["missing"]),
        plain["error"],
    )
