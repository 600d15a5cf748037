"""A training run from a borrowed model and a prepared set to numbered files."""

from __future__ import annotations

import dataclasses
import gc
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lora_forge import atomic
from lora_forge.config import TrainConfig
from lora_forge.config import load as load_config
from lora_forge.dataset.prepared import PreparedImage, PreparedSet
from lora_forge.errors import TrainingError
from lora_forge.events import CommandBox, Emit, RunEnded, RunStarted, StageDone, StageStarted, Warned
from lora_forge.i18n import Said, word
from lora_forge.lora_file.metadata import dataset_facts
from lora_forge.model.devices import empty_cache, peak_since_last
from lora_forge.model.residence import residence_of
from lora_forge.model.schedule import alphas_cumprod
from lora_forge.ports import BorrowedModel
from lora_forge.train import descent, fingerprints, opening
from lora_forge.train.batches import BatchPlan
from lora_forge.train.captions_ahead import CaptionsAhead
from lora_forge.train.descent import Grouping, Taken, same_but_size
from lora_forge.train.encoding import StoppedError
from lora_forge.train.examples import Examples
from lora_forge.train.folders import CONFIG_FILE
from lora_forge.train.full_memory import FullMemory, is_full
from lora_forge.train.ladder import RESOLUTION, rungs
from lora_forge.train.lease import training_lease
from lora_forge.train.loop import MAX_SKIPPED_IN_A_ROW, MAX_SKIPPED_WITH_SCALER, Counters, Loop, Stepping, total_steps
from lora_forge.train.material import Material, gathered
from lora_forge.train.network import Network
from lora_forge.train.optimizers import Trained, build_optimizer, load_state, trained_of
from lora_forge.train.place import disk_said_plainly, place_held
from lora_forge.train.preview import prompts_of
from lora_forge.train.ranks import Bystander, Ranks
from lora_forge.train.read_back import read_back
from lora_forge.train.saving import STATE_DIR, Keeper, RunPlace, precision_of
from lora_forge.train.small_convs import small_convs_as_products
from lora_forge.train.state import RunState, ends_of, load_newest
from lora_forge.train.step import Stepper
from lora_forge.train.validation import Validation

_FROM_START = word("No state was saved before the interruption: the run starts from the beginning.")
_LOWERED = word("The memory is full ({cause}). The run goes on from its last state with less: {what}")
PrepareAgain = Callable[[TrainConfig], PreparedSet]
"""The photos prepared for other settings; may raise :class:`StoppedError`."""


@dataclass(frozen=True)
class RunResult:
    """``outcome``: ``done`` or ``stopped``. ``files``: what this call wrote, oldest first. ``step``: where it ended."""

    outcome: str
    files: tuple[Path, ...]
    step: int


def train(
    model: BorrowedModel,
    prepared: PreparedSet,
    config: TrainConfig,
    run_dir: Path,
    out_dir: Path,
    emit: Emit,
    commands: CommandBox,
    resume: bool = False,
    cache_dir: Path | None = None,
    prepare_again: PrepareAgain | None = None,
    ranks: Ranks | None = None,
) -> RunResult:
    """Train a LoRA on ``model`` and write one numbered file an epoch into ``out_dir``.

    ``run_dir`` takes config.json, journal.jsonl, state/ and previews/. ``cache_dir`` takes latents and text embeddings;
    None means the ``cache`` folder beside the prepared images' folder. With ``resume`` a run goes on from its last
    state, to the very result it would have had without the interruption. Whatever happens, ``model`` is left as it
    was lent, and no global generator is read or moved.

    Where the memory runs out the run goes on from its last state one rung further down the ladder (see
    :mod:`lora_forge.train.ladder`), and says so; ``prepare_again`` prepares the photos for a lower resolution, and
    without it that rung is not taken.

    Of several processes (``ranks``) each calls this with the same settings, ``batch_size`` for itself; only the writer
    writes and tells, and nothing is lowered when the memory runs out.

    Raises:
        ConfigError, LoraFileError: the name can't be used, or is taken.
        TrainingError: the run can't start, be resumed or go on; what was saved stays good.
        MissingPartError: the optimizer's library is absent.
    """
    if not prepared.images:
        raise TrainingError("There is no image to train on.", "Import photos and prepare the project.")
    ranks = ranks or Ranks()
    with place_held(config, run_dir, out_dir, emit, resume, ranks) as journal:
        run = _Run(_as_configured(model, config), prepared, config, run_dir, out_dir, journal, commands, resume, ranks)
        try:
            result = _down_the_ladder(run, cache_dir or prepared.images[0].path.parent.parent / "cache", prepare_again)
            if result.outcome == "done" and ranks.is_writer:
                read_back(result.files, out_dir, config.name, journal)
        except StoppedError:
            ranks.stop()
            result = RunResult("stopped", (), run.step)
        except Exception as error:  # said in the journal, then raised again
            journal(RunEnded("failed", run.step, run.total, run.files, str(error)))
            raise
        journal(RunEnded(result.outcome, result.step, run.total, result.files))
    return result


def _as_configured(model: BorrowedModel, config: TrainConfig) -> BorrowedModel:
    """The same networks under the prediction type and noise schedule that the settings insist on."""
    info, schedule = model.info, model.alphas_cumprod
    if config.prediction_type != "auto" and config.prediction_type != info.prediction_type:
        source = Said(word("the settings"))
        info = dataclasses.replace(info, prediction_type=config.prediction_type, prediction_source=source)
    if config.zero_terminal_snr != "auto" and (config.zero_terminal_snr == "on") != info.zero_terminal_snr:
        info = dataclasses.replace(info, zero_terminal_snr=config.zero_terminal_snr == "on")
        schedule = alphas_cumprod(info.zero_terminal_snr)
    return dataclasses.replace(model, info=info, alphas_cumprod=schedule)


def _down_the_ladder(run: _Run, cache_dir: Path, prepare_again: PrepareAgain | None) -> RunResult:
    """Try, and try with less, until the run ends or nothing is left to lower."""
    while True:
        try:
            return run.execute(cache_dir)
        except Exception as error:
            if not is_full(error):
                raise
            full = FullMemory.of(error)
            if run.ranks.count > 1:  # the others have gone on: nobody can step down alone
                raise full.error() from error
        # Only here is the error gone, and with it every frame it came through and the tensors in them.
        gc.collect()
        empty_cache(run.model.device)
        run.step_down(full, prepare_again)


@dataclass
class _Run:
    """One call of :func:`train`, in the order things happen."""

    model: BorrowedModel
    prepared: PreparedSet
    config: TrainConfig
    run_dir: Path
    out_dir: Path
    emit: Emit
    commands: CommandBox
    resume: bool
    ranks: Ranks = field(default_factory=Ranks)
    step: int = 0
    total: int = 0
    files: tuple[Path, ...] = ()
    is_kept: bool = False
    is_checkpointed: bool = False

    def execute(self, cache_dir: Path) -> RunResult:
        residence = residence_of(self.model)
        model = self.model = dataclasses.replace(self.model, residence=residence)
        self.is_checkpointed = opening.decide_checkpointing(model, self.config, self.emit)
        with (
            training_lease(model, self.is_checkpointed),
            small_convs_as_products(model.unet, model.device),
            residence.calls_home(),
            disk_said_plainly(self.run_dir),
        ):
            prints = self._fingerprints()
            with self.ranks.writer_first():  # who reads a damaged state sets it aside
                state = self._load_state(prints)
                if self.ranks.is_writer:
                    opening.warn_of_another_end(self.config, self.run_dir, state, self.emit)
                    atomic.write_json(self.run_dir / CONFIG_FILE, self.config.to_dict())
            self.is_kept = True
            with self.ranks.writer_first():  # who encodes what the others then find in the cache
                material = gathered(model, self.prepared.images, self.config, cache_dir, self.emit, self.commands)
            with Network.attach(self.model, self.config) as network:
                return self._train(network, material, prints, state)

    def step_down(self, full: FullMemory, prepare_again: PrepareAgain | None) -> None:
        """Lower the next thing on the ladder, said and kept on the disk; the next attempt goes on from the last state.

        Raises:
            TrainingError: there is nothing left to lower.
        """
        path = self.run_dir / CONFIG_FILE
        # The one on the disk has what was changed while the run went, once it is this call's.
        before = load_config(path) if self.is_kept and path.is_file() else self.config
        known_on = before.replace(gradient_checkpointing="on") if self.is_checkpointed else before
        left = [rung for rung in rungs(known_on, full.stage) if prepare_again or rung.id != RESOLUTION]
        if not left:
            raise full.error()
        rung = left[0]
        self.emit(Warned(_LOWERED, {"cause": full.cause, "what": rung.sentence}))
        config, images, buckets = before.replace(**rung.changes), {}, {}
        if rung.id == RESOLUTION and prepare_again is not None:
            was, uses_masks = self.prepared, config.masked_loss
            self.prepared = same_but_size(was, prepare_again(config))
            images = fingerprints.paired(was.images, self.prepared.images, uses_masks)
            buckets = {
                name: str(one.bucket) for name, one in zip(fingerprints.names(was.images), was.images, strict=True)
            }
        known = before.to_dict()
        changed = {key: known[key] for key in rung.changes}
        with disk_said_plainly(self.run_dir):
            descent.note(self.run_dir, Taken(rung.id, full.stage, self.step, changed, rung.changes, images, buckets))
            atomic.write_json(path, config.to_dict())
        self.config, self.resume = config, True

    def _fingerprints(self) -> dict[str, Any]:
        config = self.config
        return {
            "config": fingerprints.config_fingerprint(config, self._grouping(), self.ranks.count),
            "images": fingerprints.prepared_fingerprint(self.prepared.images, config.masked_loss),
            "base": fingerprints.module_fingerprint(self.model.unet),
        }

    def _grouping(self) -> Grouping:
        """How all processes together put visits into steps."""
        grouped = descent.grouping(self.config, descent.load_taken(self.run_dir) if self.resume else ())
        return dataclasses.replace(grouped, batch_size=grouped.batch_size * self.ranks.count)

    def _load_state(self, prints: dict[str, Any]) -> RunState | None:
        if not self.resume:
            return None
        state = load_newest(self.run_dir / STATE_DIR, self.emit)
        if state is None:
            self.emit(Warned(_FROM_START))
            return None
        fingerprints.check_same(state.fingerprints, prints, descent.load_taken(self.run_dir))
        self.step = state.step
        return state

    def _train(
        self,
        network: Network,
        material: Material,
        prints: dict[str, Any],
        state: RunState | None,
    ) -> RunResult:
        config, images, examples = self.config, material.images, material.examples
        trained = trained_of(network)
        optimizer = build_optimizer(trained, config, network.flat.sections)
        grouped = self._grouping()
        plan = BatchPlan(
            images,
            config.repeats,
            grouped.batch_size,
            grouped.accumulation,
            config.seed,
            grouped.is_split,
            grouped.labels(fingerprints.names(images), [str(image.bucket) for image in images]),
        )
        self.total = total_steps(config, plan.steps_per_epoch)
        ends = ends_of(state, self.total) if config.schedule != "constant" else ()
        ranks, emit = self.ranks, self.emit
        stepper = Stepper(self.model, network, trained, optimizer, examples, config, ends, ranks, emit)
        counters = Counters(0, deque(maxlen=plan.steps_per_epoch))
        if state is not None:
            load_state(optimizer, state.optimizer, network.flat)
            _take_up(state, trained, stepper, counters)
        place = self._place(images, plan, prints, state, examples, ends)
        validation = Validation(self.model, examples, images, config.validation_photos, config.seed)
        keeper: Keeper | Bystander = Bystander()
        if self.ranks.is_writer:
            keeper = Keeper(place, self.model, network, trained, optimizer, stepper, validation, self.emit)
            keeper.should_stop = self.commands.asks_to_stop
        most_skipped = MAX_SKIPPED_WITH_SCALER if stepper.scaler.is_on else MAX_SKIPPED_IN_A_ROW
        names = [image.source.name for image in images]
        name_of = names.__getitem__
        stepping: Stepping = stepper
        if material.has_captions_ahead:
            stepping = CaptionsAhead(stepper, plan, examples, self.model.residence)
        loop = Loop(
            config, plan, stepping, keeper, counters, self.commands, self.emit, most_skipped, name_of, self.ranks
        )
        loop.memory_bytes = peak_since_last(self.model.device)
        self.ranks.go_on(fingerprints.number(prints, self.step, self.total, len(images)))
        self._announce(trained, plan)
        try:
            if state is not None:
                keeper.save_missing(counters)
            outcome = loop.run()
        finally:
            stepper.close()
            self.step, self.files = counters.step, tuple(dict.fromkeys([*self.files, *keeper.files]))
        values = {"step": self.step, "total": self.total, "files": len(self.files)}
        self.emit(StageDone("train", "{step} of {total} steps, {files} files", values))
        return RunResult(outcome, self.files, self.step)

    def _place(
        self,
        images: Sequence[PreparedImage],
        plan: BatchPlan,
        prints: dict[str, Any],
        state: RunState | None,
        examples: Examples,
        ends: Sequence[int],
    ) -> RunPlace:
        counted = [dataclasses.replace(image, repeats=n) for image, n in zip(images, plan.repeats, strict=True)]
        storage = opening.base_storage(self.model, self.config, self.emit)
        return RunPlace(
            config=self.config,
            run_dir=self.run_dir,
            out_dir=self.out_dir,
            dataset=dataset_facts(counted, self.config.repeats),
            fingerprints=prints,
            steps_per_epoch=plan.steps_per_epoch,
            total_steps=self.total,
            ends=ends,
            started_at=time.time() if state is None else state.started_at,
            preview_prompts=prompts_of(self.config, examples.plain_caption(0)),
            processes=self.ranks.count,
            settled={"gradient_checkpointing": self.is_checkpointed, "base_storage": storage},
        )

    def _announce(self, trained: list[Trained], plan: BatchPlan) -> None:
        info, config = self.model.info, self.config
        opening.warn_of_unused(self.model, config, self.emit)
        self.emit(
            RunStarted(
                name=config.name,
                family=info.family.value,
                prediction_type=info.prediction_type,
                prediction_source=info.prediction_source,
                device=str(self.model.device),
                precision=precision_of(self.model.dtype),
                photos=len(plan.repeats),
                steps_per_epoch=plan.steps_per_epoch,
                total_steps=self.total,
                first_step=self.step + 1,
                trained_parameters=sum(t.parameter.numel() for t in trained),
                is_checkpointed=self.is_checkpointed,
            )
        )
        self.emit(StageStarted("train", self.total, "steps"))


def _take_up(state: RunState, trained: list[Trained], stepper: Stepper, counters: Counters) -> None:
    """Put everything where it was after ``state.step`` steps."""
    with torch.no_grad():
        for t in trained:
            t.parameter.copy_(state.weights[t.name])
        if stepper.ema is not None and state.ema is not None:
            for average, saved in zip(stepper.ema.averages, state.ema, strict=True):
                average.copy_(saved)
    stepper.scaler.scale, stepper.scaler.calm_steps = state.scaler
    counters.step, counters.skipped = state.step, state.skipped
    counters.window.extend(state.window)
