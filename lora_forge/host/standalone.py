"""Our own host: a checkpoint file on disk, read by ourselves, for machines without a WebUI in front."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL.Image import Image

from lora_forge.config import BaseStorage, Precision, PredictionType
from lora_forge.errors import CheckpointError
from lora_forge.host.drawing import Drawing, Order, parse_orders
from lora_forge.host.lending import held
from lora_forge.host.restoring import restored
from lora_forge.host.vae_file import read_vae
from lora_forge.lora_file.hashes import base_legacy_hash, file_sha256
from lora_forge.model.build import build_model
from lora_forge.model.devices import empty_cache, pick_device, pick_dtype
from lora_forge.model.read import read_checkpoint, read_facts
from lora_forge.ports import BaseInfo, BorrowedModel, PictureRequest, never


class FileInfo(BaseInfo):
    """What is known of a checkpoint file. Its sha256 takes a pass over gigabytes, so it is read when first asked for:
    a run asks when it writes its first file, a drawing never does. (``dataclasses.replace`` asks too.)"""

    _read_sha256: Callable[[], str] | None = None

    @property
    def sha256(self) -> str:
        """Of the whole file, lower-case hex."""
        if self._read_sha256 is not None:
            return self._read_sha256()
        return str(self.__dict__["_sha256"])

    @sha256.setter
    def sha256(self, value: str) -> None:
        self.__dict__["_sha256"] = value

    def __repr__(self) -> str:  # the dataclass's own would read the whole file
        return f"FileInfo(name={self.name!r}, family={self.family.value!r}, prediction_type={self.prediction_type!r})"

    @classmethod
    def lazy(cls, info: BaseInfo, read_sha256: Callable[[], str], legacy_hash: str) -> FileInfo:
        """``info`` with its hashes."""
        values = {field.name: getattr(info, field.name) for field in dataclasses.fields(BaseInfo)}
        made = cls(**{**values, "legacy_hash": legacy_hash})
        object.__setattr__(made, "_read_sha256", read_sha256)  # frozen for users, not for its maker
        return made


class StandaloneHost:
    """A host (:class:`lora_forge.ports.Host`) on one checkpoint file.

    The file is read when it is first lent, and once: every later borrower gets the same modules. ``prediction_type``,
    ``zero_terminal_snr`` and ``vae_path`` take the place of what the file says or holds. ``most_pictures`` is the
    largest batch that :meth:`draw` makes of small pictures; large ones go in smaller batches. ``base_storage``: how the
    UNet's weights lie in memory.

    Raises:
        ConfigError: the device or precision can't be had here.
    """

    def __init__(
        self,
        base_path: Path,
        device: str = "auto",
        precision: Precision = "auto",
        prediction_type: PredictionType | None = None,
        zero_terminal_snr: bool | None = None,
        vae_path: Path | None = None,
        most_pictures: int = 16,
        base_storage: BaseStorage = "as_lent",
    ) -> None:
        self._base_path = Path(base_path)
        self._device = pick_device(device)
        self._dtype = pick_dtype(precision, self._device)
        self._overrides: tuple[PredictionType | None, bool | None] = (prediction_type, zero_terminal_snr)
        self._vae_path = vae_path
        self._drawing = Drawing(most_pictures)
        self._model: BorrowedModel | None = None
        self._storage: BaseStorage = base_storage
        self._model_storage: BaseStorage = base_storage  # of the model that is there
        self._info: BaseInfo | None = None
        self._sha256: str | None = None
        self._lent = threading.Lock()
        self._borrower: int | None = None

    def info(self) -> BaseInfo:
        """What the file is, from its header.

        Raises:
            CheckpointError: the file can't be used; the message says what it is.
        """
        if self._info is None:
            facts = read_facts(self._base_path).override(*self._overrides)
            info = BaseInfo(
                name=self._base_path.stem,
                family=facts.family,
                prediction_type=facts.prediction_type,
                prediction_source=facts.prediction_source,
                zero_terminal_snr=facts.zero_terminal_snr,
            )
            self._info = FileInfo.lazy(info, self._read_sha256, base_legacy_hash(self._base_path))
        return self._info

    @contextlib.contextmanager
    def borrow(self, label: str = "LoRA Forge", should_stop: Callable[[], bool] = never) -> Iterator[BorrowedModel]:
        """Lend the checkpoint to one borrower at a time; another thread waits its turn.

        On leaving, whatever happened: no adapters, nothing wants a gradient, everything in eval mode. The borrower's
        changes to the fields of the :class:`BorrowedModel` itself are forgotten.

        Raises:
            CheckpointError: the file can't be used, or this thread holds the checkpoint already.
            GaveUpError: ``should_stop`` said so while another thread held it.
        """
        with self._turn(should_stop):
            if self._model is not None and self._model_storage != self._storage:
                self._let_go()
            if self._model is None:
                self._model, self._model_storage = self._open(), self._storage
            model = self._model
            lent = dataclasses.replace(model, notes=dict(model.notes))
            with restored([model.unet, model.vae, *(tower.module for tower in model.text_towers)]):
                yield lent

    def draw(
        self,
        requests: Sequence[PictureRequest],
        lora_dirs: Sequence[Path],
        should_stop: Callable[[], bool] = never,
    ) -> Iterator[Image]:
        """Draw each request in order; the checkpoint is held from the first picture to the last (or to ``close()``).

        Neighbours that differ in prompt and seed alone are drawn as one batch. Each has its own noise and its own text
        encoding, so a picture does not depend on its batch but for the last bit of a float. Prompts are plain text:
        brackets and weights have no meaning here.

        Raises:
            LoraFileError: at once, before anything is drawn: a LoRA is missing or its tag can't be read; while
                drawing: a file is damaged or made for another family.
            ConfigError: while drawing: an unknown sampler, or sides that are no multiples of 8.
            GaveUpError: while drawing: ``should_stop`` said so before the checkpoint was free.
        """
        return self._draw(parse_orders(requests, lora_dirs), should_stop)

    def close(self) -> None:
        """Give the memory back; the next borrower reads the file anew."""
        with self._turn():
            self._let_go()

    @contextlib.contextmanager
    def stored_as(self, storage: BaseStorage) -> Iterator[None]:
        """Lend the UNet stored so while this is open; the file is read anew for the first borrower who finds it
        otherwise, so that pictures drawn before and after are of the weights as they are in the file."""
        before, self._storage = self._storage, storage
        try:
            yield
        finally:
            self._storage = before

    def _let_go(self) -> None:
        self._model = None
        self._drawing.forget()
        empty_cache(self._device)

    def _draw(self, orders: Sequence[Order], should_stop: Callable[[], bool]) -> Iterator[Image]:
        if orders:
            with self.borrow(should_stop=should_stop) as model:
                yield from self._drawing.draw(model, orders)

    def _open(self) -> BorrowedModel:
        info = self.info()
        checkpoint = read_checkpoint(self._base_path, self._dtype, maps=self._device.type == "cpu")
        checkpoint.facts = checkpoint.facts.override(*self._overrides)
        notes: dict[str, Any] = {}
        if self._vae_path is not None:
            checkpoint.tensors.update(read_vae(self._vae_path, checkpoint.tensors))
            notes["vae"] = self._vae_path.name
        model = build_model(checkpoint, self._device, self._storage)
        return dataclasses.replace(model, info=info, notes={**model.notes, **notes})

    def _read_sha256(self) -> str:
        if self._sha256 is None:
            self._sha256 = file_sha256(self._base_path)
        return self._sha256

    @contextlib.contextmanager
    def _turn(self, should_stop: Callable[[], bool] = never) -> Iterator[None]:
        if self._borrower == threading.get_ident():
            raise CheckpointError(
                "{name} is lent already, to this very piece of work.",
                "End the run or the drawing first.",
                name=self._base_path.name,
            )
        with held(self._lent, should_stop):
            self._borrower = threading.get_ident()
            try:
                yield
            finally:
                self._borrower = None
