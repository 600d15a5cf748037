"""What a run leaves on the disk and shows along the way: numbered files, states, previews, the validation loss."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lora_forge import atomic
from lora_forge.config import TrainConfig
from lora_forge.config import load as load_config
from lora_forge.events import Emit, LoraSaved, StateSaved, Validated, Warned
from lora_forge.i18n import word
from lora_forge.i18n.reasons import reason
from lora_forge.lora_file.metadata import DatasetFacts, RunFacts, build_metadata
from lora_forge.lora_file.names import SUFFIX, epoch_path
from lora_forge.lora_file.writer import save_lora
from lora_forge.ports import BorrowedModel
from lora_forge.train.folders import CONFIG_FILE, restore_run_dir, say_if_out_gone
from lora_forge.train.loop import Counters
from lora_forge.train.network import Network
from lora_forge.train.optimizers import Trained
from lora_forge.train.preview import Previews, filled_in
from lora_forge.train.state import RunState, save_state
from lora_forge.train.step import Stepper
from lora_forge.train.validation import Validation
from lora_forge.train.weights import as_saved, check_finite

STATE_DIR = "state"
_NOT_KEPT = word(
    "The new preview prompts are used, but not kept for a resume: {file} could not be written ({problem})."
)
_PRECISIONS = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


@dataclass(frozen=True)
class RunPlace:
    """Where a run is, and what it says of itself in its files.

    ``fingerprints``: see `fingerprints.check_same`. ``started_at``: Unix seconds of the first start.
    ``preview_prompts``: see `preview.prompts_of`. ``ends``: see `state.RunState`. ``settled``: settings as they were
    carried out, where ``config`` leaves them to the machine. ``processes``: how many train together.
    """

    config: TrainConfig
    run_dir: Path
    out_dir: Path
    dataset: DatasetFacts
    fingerprints: Mapping[str, Any]
    steps_per_epoch: int
    total_steps: int
    ends: Sequence[int]
    started_at: float
    preview_prompts: Sequence[str]
    settled: Mapping[str, Any] = field(default_factory=dict)
    processes: int = 1


def precision_of(dtype: torch.dtype) -> str:
    """A type's name in the settings."""
    return _PRECISIONS.get(dtype, str(dtype))


def between_epochs_path(out_dir: Path, name: str, step: int) -> Path:
    """``NAME-step00000123.safetensors``: eight digits behind a word, so it is never taken for an epoch's file."""
    return out_dir / f"{name}-step{step:08d}{SUFFIX}"


@dataclass
class Keeper:
    """Saves, draws and validates with the weights as they would be saved; leaves the training as it was."""

    place: RunPlace
    model: BorrowedModel
    network: Network
    trained: Sequence[Trained]
    optimizer: torch.optim.Optimizer
    stepper: Stepper
    validation: Validation
    emit: Emit
    should_stop: Callable[[], bool] = lambda: False
    files: list[Path] = field(default_factory=list)
    _saved_state: int = -1
    _previews: Previews | None = None

    def save_epoch(self, epoch: int, counters: Counters) -> None:
        """Write NAME-000001.safetensors and so on; read back before it is told of."""
        self._save_lora(epoch_path(self.place.out_dir, self.place.config.name, epoch), epoch, counters.step)

    def save_between_epochs(self, epoch: int, counters: Counters) -> None:
        """Write NAME-step00000123.safetensors; nothing if this step was written already."""
        path = between_epochs_path(self.place.out_dir, self.place.config.name, counters.step)
        if path not in self.files:
            self._save_lora(path, epoch, counters.step)

    def save_missing(self, counters: Counters) -> None:
        """Write the file of the epoch that ended with a resumed state where it is gone: the state has all of it."""
        place, step = self.place, counters.step
        epoch = -(-step // place.steps_per_epoch)
        is_end = step == place.total_steps or (
            step % place.steps_per_epoch == 0 and epoch % place.config.save_every_epochs == 0
        )
        if step and is_end and not epoch_path(place.out_dir, place.config.name, epoch).exists():
            self.save_epoch(epoch, counters)

    def save_state(self, counters: Counters) -> None:
        """Write what a resumed run starts from; nothing if this step was written already."""
        if counters.step == self._saved_state:
            return
        check_finite(self.trained)
        restore_run_dir(self.place.run_dir, self.place.config, self.emit)
        ema, scaler = self.stepper.ema, self.stepper.scaler
        state = RunState(
            step=counters.step,
            weights=named_tensors(self.trained),
            optimizer=self.optimizer.state_dict(),
            ema=None if ema is None else ema.averages,
            scaler=(scaler.scale, scaler.calm_steps),
            window=list(counters.window),
            fingerprints=dict(self.place.fingerprints),
            started_at=self.place.started_at,
            skipped=counters.skipped,
            total=self.place.total_steps,
            ends=list(self.place.ends),
        )
        path = save_state(self.place.run_dir / STATE_DIR, state)
        self._saved_state = counters.step
        self.emit(StateSaved(path, counters.step))

    def preview(self, step: int, is_asked: bool = False) -> None:
        """Draw every preview prompt, see :meth:`Previews.draw`."""
        self.stepper.make_room()
        with as_saved(self.trained, self.optimizer, self.stepper.ema):
            self.previews.draw(step, is_asked)

    @property
    def previews(self) -> Previews:
        """What draws them, with the present prompts."""
        if self._previews is None:
            place = self.place
            prompts, unet = tuple(place.preview_prompts), str(place.fingerprints["base"])
            self._previews = Previews(self.model, place.config, place.run_dir, self.network, self.emit, prompts, unet)
            self._previews.should_stop = self.should_stop
        return self._previews

    def use_prompts(self, prompts: Sequence[str]) -> None:
        """Draw these from the next preview on, in a resumed run too; none: what a run draws by default."""
        place, kept = self.place, tuple(prompts)
        default = (place.config.trigger_word or place.preview_prompts[0],)
        self.previews.use(filled_in(kept, place.config.trigger_word) or default)
        self.place = dataclasses.replace(place, config=place.config.replace(preview_prompts=kept))
        path = place.run_dir / CONFIG_FILE
        try:
            now = load_config(path) if path.is_file() else place.config
            atomic.write_json(path, now.replace(preview_prompts=kept).to_dict())
        except OSError as problem:
            self.emit(Warned(_NOT_KEPT, {"file": path.name, "problem": reason(problem)}))

    def validate(self, epoch: int, step: int) -> float | None:
        """The validation loss now; with the first epoch's comes that of the base alone, as of step 0.

        The base is measured then, not before the first step, so that nobody waits for it.
        """
        if epoch == 1:
            self.network.set_strength(0.0)
            self._tell_loss(0, 0)
            self.network.set_strength(1.0)
        with as_saved(self.trained, self.optimizer, self.stepper.ema):
            return self._tell_loss(epoch, step)

    def _tell_loss(self, epoch: int, step: int) -> float | None:
        loss = self.validation.loss()
        if loss is not None:
            self.emit(Validated(epoch, step, loss))
        return loss

    def _save_lora(self, path: Path, epoch: int, step: int) -> None:
        check_finite(self.trained)
        with as_saved(self.trained, self.optimizer, self.stepper.ema):
            weights = self.network.weights()
        say_if_out_gone(self.place.out_dir, self.emit)
        saved = save_lora(path, weights, self._metadata(path, epoch, step))
        self.files.append(path)
        self.emit(LoraSaved(path, epoch, step, len(saved.keys), saved.size_bytes))

    def _metadata(self, path: Path, epoch: int, step: int) -> dict[str, str]:
        place = self.place
        facts = RunFacts(
            info=self.model.info,
            config=place.config.replace(**place.settled),
            dataset=place.dataset,
            epoch=epoch,
            step=step,
            steps_per_epoch=place.steps_per_epoch,
            total_steps=place.total_steps,
            started_at=place.started_at,
            saved_at=time.time(),
            precision=precision_of(self.model.dtype),
            session=f"{int(place.started_at * 1000):x}",
            processes=place.processes,
        )
        return build_metadata(facts, path.stem)


def named_tensors(trained: Sequence[Trained]) -> dict[str, Tensor]:
    """The adapters' float32 tensors by name."""
    return {t.name: t.parameter.detach() for t in trained}
