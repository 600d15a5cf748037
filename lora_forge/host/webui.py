"""What AUTOMATIC1111, Forge and their kin share: one lock, one progress bar, one folder of LoRA files.

A subclass knows how its host keeps weights; everything here is the same in all of them. The WebUI's modules are
imported where they are used: this package can be imported without any.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lora_forge.errors import CheckpointError
from lora_forge.ports import BaseInfo, BorrowedModel, Traces

DATA_FOLDER = "lora_forge"


class WebUIHost(ABC):
    """A WebUI around us (:class:`lora_forge.ports.Desk`).

    Its Interrupt button is harmless to a run: the flag it sets is one for the whole program, and it is also set by
    strangers (a queued picture's Interrupt, the API, Reload UI). A run is stopped by its own Stop.
    """

    name: str

    def __init__(self) -> None:
        self._borrower: int | None = None

    @abstractmethod
    def info(self) -> BaseInfo:
        """What is loaded; loads nothing, takes no lock.

        Raises:
            CheckpointError: nothing is loaded, or it is of a kind that can't be trained on; the sentence says which.
        """

    @abstractmethod
    def _lend(self) -> contextlib.AbstractContextManager[BorrowedModel]:
        """Under the lock: restore what the last picture left merged, refuse what can't be lent, give aliases of the
        host's memory; on leaving drop them all and put back what was moved."""

    @abstractmethod
    def switch(self, title: str) -> None:
        """Load another checkpoint the host's own way."""

    @abstractmethod
    def check_loads(self, path: Path) -> tuple[str, ...]:
        """Keys of a LoRA file that the host's own loader would leave unused."""

    @abstractmethod
    def traces(self, with_picture: bool = False) -> Traces:
        """Fingerprints of weights, flags, generators, hooks; and of a picture, when asked for."""

    @contextlib.contextmanager
    def borrow(self, label: str = "LoRA Forge") -> Iterator[BorrowedModel]:
        """Lend the loaded checkpoint. Pictures asked for meanwhile wait in the host's queue and then run.

        Raises:
            CheckpointError: what is loaded can't be lent, or this thread holds it already.
        """
        with self._turn(), self._shown(label), self._lend() as model:
            yield model

    @property
    def is_lent(self) -> bool:
        """Whether someone holds the checkpoint now."""
        return self._borrower is not None

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """The host's generation lock, which is not re-entrant."""
        from modules.call_queue import queue_lock

        if self._borrower == threading.get_ident():
            raise CheckpointError(
                "The checkpoint is lent already, to this very piece of work.", "End the run or the drawing first."
            )
        with queue_lock:
            self._borrower = threading.get_ident()
            try:
                yield
            finally:
                self._borrower = None

    @contextlib.contextmanager
    def _shown(self, label: str) -> Iterator[None]:
        """Our work as a job in the host's progress, under a name of its own making (its maker draws global numbers)."""
        from modules import progress, shared

        task = f"task(lora_forge-{uuid.uuid4().hex[:7]})"
        progress.add_task_to_queue(task)
        shared.state.begin(job=task)
        progress.start_task(task)
        shared.state.job_count = 1
        shared.state.textinfo = label
        try:
            yield
        finally:
            progress.finish_task(task)
            shared.state.end()
            shared.state.textinfo = None

    def report(self, step: int, total: int, text: str) -> None:
        """Show progress in the host's own bar."""
        from modules import shared

        state = shared.state
        state.job_count, state.sampling_steps, state.sampling_step, state.textinfo = 1, total, step, text

    def language(self) -> str:
        """``zh`` when the host's page is in Chinese, else ``en``."""
        from modules import shared

        chosen = str(getattr(shared.opts, "localization", "") or "").lower()
        return "zh" if chosen.startswith("zh") or "chinese" in chosen or "中文" in chosen else "en"

    def checkpoints(self) -> tuple[str, ...]:
        """Titles as in the host's own list."""
        from modules import sd_models

        return tuple(info.title for info in sd_models.checkpoints_list.values())

    def data_root(self) -> Path:
        """``lora_forge`` in the host's data folder."""
        from modules.paths_internal import data_path

        root = Path(data_path).resolve() / DATA_FOLDER
        root.mkdir(parents=True, exist_ok=True)
        return root

    def lora_dir(self) -> Path:
        """The host's own setting (``--lora-dir``)."""
        from modules import shared

        folder = Path(shared.cmd_opts.lora_dir).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def loaded(self) -> str:
        """Title of the checkpoint the host's settings name; empty when there is none."""
        found = self._chosen()
        return "" if found is None else str(found.title)

    def _chosen(self) -> Any:
        """The host's CheckpointInfo that the settings name, or None."""
        from modules import sd_models, shared

        return sd_models.get_closet_checkpoint_match(str(shared.opts.sd_model_checkpoint or ""))
