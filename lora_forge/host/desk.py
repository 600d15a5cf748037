"""The desk of our own page: checkpoints are files in a folder, and the LoRAs go to one beside the projects."""

from __future__ import annotations

import hashlib
import locale
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from PIL.Image import Image

from lora_forge.config import BaseStorage
from lora_forge.errors import CheckpointError
from lora_forge.host.lending import held
from lora_forge.host.standalone import StandaloneHost
from lora_forge.ports import BaseInfo, BorrowedModel, PictureRequest, Traces, helper_model_dirs, never
from lora_forge.toyworld import checkpoint_path

SUFFIX = ".safetensors"
TOYWORLD = "toyworld (bundled)"


class StandaloneDesk:
    """:class:`lora_forge.ports.Desk` without a WebUI.

    ``checkpoint_dir`` is searched with its subfolders for ``.safetensors``; ``base`` is one more, loaded at the start.
    The bundled toy world is always on offer.

    Raises:
        CheckpointError: ``base`` is no checkpoint.
    """

    name = "standalone"

    def __init__(
        self,
        data_root: Path,
        lora_dir: Path,
        checkpoint_dir: Path | None = None,
        base: Path | None = None,
        device: str = "auto",
    ) -> None:
        self._data_root, self._lora_dir, self._checkpoint_dir = data_root.resolve(), lora_dir.resolve(), checkpoint_dir
        self._base, self._device = base, device
        self._host: StandaloneHost | None = None
        self._title = ""
        self._lock = threading.Lock()  # held while lent, and while another is put in its place
        if base is not None:
            self.switch(base.name)

    # ---------------------------------------------------------------- the host

    def info(self) -> BaseInfo:
        """What the chosen file is, from its header.

        Raises:
            CheckpointError: none is chosen.
        """
        return self._chosen().info()

    @contextmanager
    def borrow(self, label: str = "LoRA Forge", should_stop: Callable[[], bool] = never) -> Iterator[BorrowedModel]:
        """Lend the chosen checkpoint; meanwhile no other can be chosen."""
        with held(self._lock, should_stop), self._chosen().borrow(label, should_stop) as model:
            yield model

    def stored_as(self, storage: BaseStorage) -> AbstractContextManager[None]:
        """Lend the chosen checkpoint so while this is open."""
        return self._chosen().stored_as(storage)

    def draw(
        self,
        requests: Sequence[PictureRequest],
        lora_dirs: Sequence[Path],
        should_stop: Callable[[], bool] = never,
    ) -> Iterator[Image]:
        """Draw with the chosen checkpoint."""
        return self._chosen().draw(requests, lora_dirs, should_stop)

    # ---------------------------------------------------------------- the desk

    def language(self) -> str:
        """The machine's own."""
        spoken = os.environ.get("LC_ALL") or os.environ.get("LANG") or locale.getlocale()[0] or ""
        return "zh" if spoken.lower().startswith(("zh", "chinese")) else "en"

    def checkpoints(self) -> tuple[str, ...]:
        """Names of the files, the toy world last."""
        return (*sorted(self._files()), *([TOYWORLD] if checkpoint_path().is_file() else []))

    def loaded(self) -> str:
        """The name of the chosen one."""
        return self._title

    def switch(self, title: str) -> None:
        """Choose another one; it is read when it is first needed.

        Raises:
            CheckpointError: there is none of that name, it is no checkpoint, or a run holds the present one.
        """
        path = checkpoint_path() if title == TOYWORLD else self._files().get(title)
        if path is None:
            raise CheckpointError("There is no checkpoint {title}.", "Look again, or check the folder.", title=title)
        host = StandaloneHost(path, self._device)
        host.info()
        if not self._lock.acquire(blocking=False):
            raise CheckpointError("A run holds the checkpoint.", "Stop it first, or wait for its end.")
        try:
            before, self._host, self._title = self._host, host, title
        finally:
            self._lock.release()
        if before is not None:
            before.close()

    def base_path(self) -> Path | None:
        """The file of the chosen one."""
        if not self._title:
            return None
        return checkpoint_path() if self._title == TOYWORLD else self._files().get(self._title)

    def data_root(self) -> Path:
        """As given."""
        self._data_root.mkdir(parents=True, exist_ok=True)
        return self._data_root

    def lora_dir(self) -> Path:
        """As given."""
        self._lora_dir.mkdir(parents=True, exist_ok=True)
        return self._lora_dir

    def grids_dir(self) -> None:
        """There is no X/Y/Z plot but ours."""

    def model_dirs(self) -> Mapping[str, tuple[Path, ...]]:
        """In the data root."""
        return helper_model_dirs(self.data_root() / "models")

    def check_loads(self, path: Path) -> tuple[str, ...]:
        """None are left: the writer has read the file back with the reader that draws."""
        return ()

    def report(self, step: int, total: int, text: str) -> None:
        """There is no bar but the page's own."""

    def traces(self, with_picture: bool = False) -> Traces:
        """Fingerprints of torch's flags and generators; of the weights and a picture, where the file is read."""
        from lora_forge.host.traces import flag_marks, generator_marks, module_marks

        marks = {**flag_marks(), **generator_marks()}
        with self.borrow("traces") as model:
            marks.update(module_marks("unet", model.unet))
            marks.update(module_marks("vae", model.vae))
            for number, tower in enumerate(model.text_towers, 1):
                marks.update(module_marks(f"text encoder {number}", tower.module))
        if with_picture:
            (picture,) = self.draw([PictureRequest("a test", width=64, height=64, steps=2)], [])
            marks["picture"] = hashlib.sha256(picture.tobytes()).hexdigest()
        return Traces(marks)

    def _files(self) -> dict[str, Path]:
        folder = self._checkpoint_dir
        found = [] if folder is None else [path for path in folder.rglob(f"*{SUFFIX}") if path.is_file()]
        files = {path.relative_to(folder).as_posix(): path for path in found} if folder is not None else {}
        return files if self._base is None else {**files, self._base.name: self._base}

    def _chosen(self) -> StandaloneHost:
        if self._host is None:
            raise CheckpointError("No checkpoint is chosen.", "Choose one above.")
        return self._host
