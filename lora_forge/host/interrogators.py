"""What a WebUI itself can say of a photo: BLIP's sentence and DeepDanbooru's tags, by its own calls under its own lock.

The calls are those of its own "Interrogate" buttons and of its training preprocessing (``modules/interrogate.py``,
``modules/deepbooru.py``). Both would download gigabytes when their files are not there, and they do it without a word:
so the files are looked for first, and an absent one is said instead.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from lora_forge.errors import MissingPartError
from lora_forge.i18n import word

Turn = Callable[[], AbstractContextManager[Any]]

NO_BLIP = word("BLIP's files are not there yet; press Interrogate CLIP in img2img once, which fetches them.")
NO_DEEPBOORU = word("DeepDanbooru's file is not there yet; press Interrogate DeepBooru in img2img once to fetch it.")
_CLIP_FILE = "ViT-L-14.pt"


class BlipOfHost:
    """``shared.interrogator``: a sentence. ``turn``: the host's generation lock."""

    id, name = "host:blip", "BLIP (WebUI)"
    kind: Literal["tags", "sentence"] = "sentence"

    def __init__(self, turn: Turn) -> None:
        self._turn = turn

    @property
    def problem(self) -> str:
        """Empty when BLIP and the CLIP model that the host loads with it are on disk."""
        return "" if _has_file("BLIP", ".pth") and _has_clip() else NO_BLIP

    def __call__(self, image: Image.Image) -> str:
        """One sentence.

        Raises:
            MissingPartError: the host would have to download something first.
        """
        _refuse(self.problem)
        from modules import shared

        interrogator = shared.interrogator
        with self._turn(), _as_job("interrogate"):
            _make_room()
            try:
                interrogator.load()
                return str(interrogator.generate_caption(image.convert("RGB")))
            finally:
                interrogator.unload()


class DeepbooruOfHost:
    """``modules.deepbooru.model``: tags above the host's own threshold, with its own settings."""

    id, name = "host:deepbooru", "DeepDanbooru (WebUI)"
    kind: Literal["tags", "sentence"] = "tags"

    def __init__(self, turn: Turn) -> None:
        self._turn = turn

    @property
    def problem(self) -> str:
        """Empty when its file is on disk."""
        return "" if _has_file("torch_deepdanbooru", ".pt") else NO_DEEPBOORU

    def __call__(self, image: Image.Image) -> str:
        """Tags, separated by commas, without the host's backslashes before brackets and its (tag:0.5) weights.

        Raises:
            MissingPartError: the host would have to download something first.
        """
        _refuse(self.problem)
        from modules import deepbooru

        with self._turn(), _as_job("interrogate"):
            deepbooru.model.start()
            try:
                found = deepbooru.model.tag_multi(image.convert("RGB"), force_disable_ranks=True)
            finally:
                deepbooru.model.stop()
        return str(found).replace("\\(", "(").replace("\\)", ")").replace("\\\\", "\\")


def interrogators_of(turn: Turn) -> tuple[BlipOfHost | DeepbooruOfHost, ...]:
    """Those this host's program has."""
    found: list[BlipOfHost | DeepbooruOfHost] = []
    with contextlib.suppress(ImportError):
        from modules import shared

        if hasattr(getattr(shared, "interrogator", None), "generate_caption"):
            found.append(BlipOfHost(turn))
    with contextlib.suppress(ImportError):
        from modules import deepbooru

        if hasattr(deepbooru.model, "tag_multi"):
            found.append(DeepbooruOfHost(turn))
    return tuple(found)


@contextlib.contextmanager
def _as_job(name: str) -> Iterator[None]:
    from modules import shared

    shared.state.begin(job=name)
    try:
        yield
    finally:
        shared.state.end()


def _make_room() -> None:
    """As AUTOMATIC1111's own ``interrogate`` does first; Forge's memory manager does it by itself."""
    with contextlib.suppress(ImportError):
        from modules import devices, lowvram

        if hasattr(lowvram, "send_everything_to_cpu"):
            lowvram.send_everything_to_cpu()
            devices.torch_gc()


def _refuse(problem: str) -> None:
    if problem:
        raise MissingPartError(problem)


def _has_file(folder: str, suffix: str) -> bool:
    from modules.paths_internal import models_path

    return any(_files(Path(models_path) / folder, suffix))


def _has_clip() -> bool:
    from modules import shared

    own = getattr(shared.cmd_opts, "clip_models_path", None)
    return any(path.name == _CLIP_FILE for path in _files(Path(own) if own else Path.home() / ".cache/clip", ".pt"))


def _files(folder: Path, suffix: str) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if path.suffix == suffix and path.stat().st_size > 0)
