"""What AUTOMATIC1111, Forge and their kin share: one lock, one progress bar, one folder of LoRA files.

A subclass knows how its host keeps weights; everything here is the same in all of them. The WebUI's modules are
imported where they are used: this package can be imported without any.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lora_forge.errors import CheckpointError
from lora_forge.ports import BaseInfo, BorrowedModel, PictureRequest, Traces, helper_model_dirs, never

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from lora_forge.dataset.taggers.interrogators import Interrogator

DATA_FOLDER = "lora_forge"
_PROOF: Mapping[str, object] = {
    "prompt": "a photo of a red house",
    "seed": 1,
    "subseed": 1,
    "steps": 2,
    "width": 64,
    "height": 64,
    "sampler_name": "Euler",
}
_STATE_NAMES = ("job_count", "job_no", "sampling_step", "sampling_steps", "textinfo", "current_image")


class WebUIHost(ABC):
    """A WebUI around us (:class:`lora_forge.ports.Desk`).

    Its Interrupt button is harmless to a run: the flag it sets is one for the whole program, and it is also set by
    strangers (a queued picture's Interrupt, the API, Reload UI). A run is stopped by its own Stop.
    """

    name: str
    rounds_timesteps: ClassVar[bool] = True
    """Whether the UNet is always told whole timesteps: so in everything that took its sampling from ComfyUI."""

    # The lock is the program's, so this is too: after Reload UI another object speaks for the same host.
    _borrower: ClassVar[int | None] = None

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

    def _choosable(self, title: str) -> Any:
        """The host's own record of the checkpoint of that ``title``.

        Raises:
            CheckpointError: there is none, or a run holds the present one.
        """
        from modules import sd_models

        found = sd_models.get_closet_checkpoint_match(title)
        if found is None:
            raise CheckpointError(
                "There is no checkpoint {title!r}.", "Press the refresh button beside the list.", title=title
            )
        if self.is_lent:
            what = "A run holds {loaded}: it can't be changed now."
            raise CheckpointError(what, "Wait for the run's end, or stop it.", loaded=self.loaded())
        return found

    @abstractmethod
    def check_loads(self, path: Path) -> tuple[str, ...]:
        """Keys of a LoRA file that the host's own loader would leave unused."""

    @abstractmethod
    def _networks(self) -> Mapping[str, tuple[Any, Mapping[str, torch.Tensor]]]:
        """What :meth:`traces` looks at: the host's own modules by part, each with the values to look at in place of
        tensors that hold a merged LoRA now. Called under the lock; changes nothing."""

    @contextlib.contextmanager
    def borrow(self, label: str = "LoRA Forge", should_stop: Callable[[], bool] = never) -> Iterator[BorrowedModel]:
        """Lend the loaded checkpoint. Pictures asked for meanwhile wait in the host's queue and then run.

        Raises:
            GaveUpError: ``should_stop`` said so while it waited in that queue.
            CheckpointError: what is loaded can't be lent, or this thread holds it already.
        """
        from modules import shared

        from lora_forge.host.drawing_way import drawing_way
        from lora_forge.host.lending import dropped
        from lora_forge.host.traces import kept_flags

        with contextlib.ExitStack() as stack:
            stack.enter_context(self.at_work(label, should_stop))
            stack.enter_context(kept_flags())
            model = stack.enter_context(self._lend())
            stack.enter_context(dropped(model))
            model.drawing = drawing_way(shared.opts, self.rounds_timesteps)
            yield model

    def draw(
        self,
        requests: Sequence[PictureRequest],
        lora_dirs: Sequence[Path],
        should_stop: Callable[[], bool] = never,
    ) -> Iterator[Image]:
        """By the host's own txt2img, see :func:`lora_forge.host.picturing.pictures`."""
        from lora_forge.host.picturing import pictures

        return pictures(self, requests, lora_dirs, should_stop)

    def chosen_file(self) -> str:
        """The checkpoint that the next picture is drawn with; empty when there is none."""
        found = self._chosen()
        return "" if found is None else str(found.filename)

    def unused_loras(self, files: Mapping[str, Path]) -> tuple[str, ...]:
        """Names of LoRAs that the picture just made should have had and did not. Called under the lock."""
        loaded = getattr(sys.modules.get("networks"), "loaded_networks", None)
        if loaded is None:
            return ()
        there = {str(getattr(network, "mentioned_name", None) or network.name) for network in loaded}
        return tuple(name for name in files if name not in there)

    @property
    def is_lent(self) -> bool:
        """Whether someone holds the checkpoint now."""
        return self._borrower is not None

    @contextlib.contextmanager
    def at_work(self, label: str, should_stop: Callable[[], bool] = never) -> Iterator[None]:
        """Our turn in the host's queue, shown as its present job.

        Raises:
            GaveUpError: ``should_stop`` said so while it waited.
            CheckpointError: this thread has its turn already.
        """
        with self._queued() as task, self._turn(should_stop), self._shown(task, label):
            yield

    @contextlib.contextmanager
    def _turn(self, should_stop: Callable[[], bool] = never) -> Iterator[None]:
        """The host's generation lock, which is not re-entrant."""
        from modules.call_queue import queue_lock

        from lora_forge.host.lending import Turn

        if self._borrower == threading.get_ident():
            raise CheckpointError(
                "The checkpoint is lent already, to this very piece of work.", "End the run or the drawing first."
            )
        turn = Turn(queue_lock)
        try:
            turn.wait(should_stop)
            WebUIHost._borrower = threading.get_ident()
            yield
        finally:
            if self._borrower == threading.get_ident():
                WebUIHost._borrower = None
            turn.end()

    @contextlib.contextmanager
    def _queued(self) -> Iterator[str]:
        """A task in the host's list, counted in its "In queue: 2/2" (its own maker of names draws global numbers)."""
        from modules import progress

        task = f"task(lora_forge-{uuid.uuid4().hex[:7]})"
        progress.add_task_to_queue(task)
        try:
            yield task
        finally:
            progress.pending_tasks.pop(task, None)

    @contextlib.contextmanager
    def _shown(self, task: str, label: str) -> Iterator[None]:
        """Our work as the host's present job; its progress is afterwards as it was."""
        from modules import progress, shared

        state = shared.state
        before = {name: getattr(state, name) for name in _STATE_NAMES if hasattr(state, name)}
        state.begin(job=task)
        progress.start_task(task)
        state.job_count = 1
        state.textinfo = label
        try:
            yield
        finally:
            progress.finish_task(task)
            state.end()
            for name, value in before.items():
                setattr(state, name, value)

    def traces(self, with_picture: bool = False) -> Traces:
        """Fingerprints of weights, flags, generators, hooks; and of a picture, when asked for. Waits in the queue."""
        from lora_forge.host.traces import flag_marks, generator_marks, module_marks

        with self._turn():
            marks = {**flag_marks(), **generator_marks()}
            for part, (module, originals) in self._networks().items():
                marks |= module_marks(part, module, originals)
            if with_picture:
                marks["picture"] = self._picture_mark()
        return Traces(marks)

    def _picture_mark(self) -> str:
        """Digest of the pixels of a small txt2img of the host's own, which is saved nowhere.

        Raises:
            CheckpointError: the host made none.
        """
        from lora_forge.host.picturing import make

        picture = make(self.name, _PROOF).picture
        if picture is None:
            what = "{name} made no picture, and did not say why."
            raise CheckpointError(what, "Make one in txt2img; its console says more.", name=self.name)
        return hashlib.blake2b(picture.convert("RGB").tobytes(), digest_size=16).hexdigest()

    def report(self, step: int, total: int, text: str) -> None:
        """Show progress in the host's own bar; while nobody of us has his turn it shows others' work, and is left."""
        from modules import shared

        if not self.is_lent:
            return
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

    def grids_dir(self) -> Path | None:
        """As the settings have it; a relative one counts from where the program was started, as for the host."""
        from modules import shared

        told = getattr(shared.opts, "outdir_grids", "") or getattr(shared.opts, "outdir_txt2img_grids", "")
        return Path(str(told)).resolve() if told else None

    def model_dirs(self) -> Mapping[str, tuple[Path, ...]]:
        """Ours, and the host's own folder of models, where its other extensions keep theirs."""
        from modules.paths_internal import models_path

        return helper_model_dirs(self.data_root() / "models", Path(models_path).resolve())

    def interrogators(self) -> Sequence[Interrogator]:
        """What the host itself can say of a photo, by its own models and under its own lock."""
        from lora_forge.host.interrogators import interrogators_of

        return interrogators_of(self._turn)

    def loaded(self) -> str:
        """Title of the checkpoint the host's settings name; empty when there is none."""
        found = self._chosen()
        return "" if found is None else str(found.title)

    def _chosen(self) -> Any:
        """The host's CheckpointInfo that the settings name, or None."""
        from modules import sd_models, shared

        return sd_models.get_closet_checkpoint_match(str(shared.opts.sd_model_checkpoint or ""))
