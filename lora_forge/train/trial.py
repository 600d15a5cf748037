"""Test firing: two real steps and a preview of a run that is not begun, measured. Nothing stays of it."""

from __future__ import annotations

import dataclasses
import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from lora_forge.config import TrainConfig
from lora_forge.dataset.prepared import PreparedImage
from lora_forge.events import Emit, Progress, StageStarted
from lora_forge.model.devices import (
    PeakWatch,
    empty_cache,
    free_memory_bytes,
    synchronize,
    total_memory_bytes,
    used_memory_bytes,
)
from lora_forge.model.memory import checkpointing
from lora_forge.model.residence import residence_of
from lora_forge.ports import BorrowedModel
from lora_forge.train.batches import Batch
from lora_forge.train.cache import CachedText, LiveText, TensorCache
from lora_forge.train.captured import WARM_UP
from lora_forge.train.draws import Visit
from lora_forge.train.encoding import LatentsWhenMet, StoppedError
from lora_forge.train.examples import Examples
from lora_forge.train.full_memory import FullMemory, is_full
from lora_forge.train.lease import training_lease
from lora_forge.train.network import Network
from lora_forge.train.optimizers import build_optimizer, trained_of
from lora_forge.train.preview import draw_preview, prompts_of
from lora_forge.train.small_convs import small_convs_as_products
from lora_forge.train.step import Stepper, is_recordable
from lora_forge.train.weights import as_saved

STAGE = "trial"
STEPS = 2
RECORDED_STEPS = WARM_UP + 2  # where steps are recorded: the last one is a replay
_MOST_BATCHES = 2  # of a step: more are as many times as long and need no more memory
_CPU_PREVIEW_STEPS = 4
_PARTS_BESIDE = 3  # encoding, the file's weights, the preview


@dataclass
class Measured:
    """``batch_s``: forward, backward and update of one batch. ``encode_s``: of one photo. ``preview_s``: of a picture
    by ``preview_steps`` sampler steps. Bytes: the peak, what was in use and free before, and all there is; None: can't
    be told. ``failed_at``: the stage where memory was full, and ``cause`` in the library's words. ``is_checkpointed``:
    parts of a step were computed twice."""

    batch_s: float | None = None
    encode_s: float | None = None
    preview_s: float | None = None
    preview_steps: int = 0
    peak_bytes: int | None = None
    used_bytes: int | None = None
    free_bytes: int | None = None
    total_bytes: int | None = None
    failed_at: str = ""
    cause: str = ""
    is_checkpointed: bool = False


def fire(
    model: BorrowedModel,
    images: Sequence[PreparedImage],
    config: TrainConfig,
    emit: Emit,
    should_stop: Callable[[], bool],
) -> Measured:
    """Try ``config`` on ``images``, which share the largest shape of the set; each batch is filled with them.

    Full memory is a result. ``model`` is left as it was lent, no global generator is moved, nothing is written.

    Raises:
        StoppedError: ``should_stop`` said so.
        TrainingError, MissingPartError: the run itself could not start either.
    """
    device = model.device
    found = Measured(
        used_bytes=used_memory_bytes(device),
        free_bytes=free_memory_bytes(device),
        total_bytes=total_memory_bytes(device),
    )
    full: FullMemory | None = None
    emit(StageStarted(STAGE, _steps(model, config) + _PARTS_BESIDE, "steps"))
    with PeakWatch(device) as watch:
        try:
            _Trial(model, images, config, emit, should_stop, found).run()
        except Exception as error:
            if not is_full(error):
                raise
            full = FullMemory.of(error)
        # Only here is the error gone, and with it every frame it came through and the tensors in them.
        gc.collect()
        empty_cache(device)
    found.peak_bytes = watch.bytes
    if full is not None:
        found.failed_at, found.cause = full.stage or "forward", full.cause
    return found


@dataclass
class _Trial:
    model: BorrowedModel
    images: Sequence[PreparedImage]
    config: TrainConfig
    emit: Emit
    should_stop: Callable[[], bool]
    found: Measured
    done: int = field(default=0)

    def run(self) -> None:
        residence = residence_of(self.model)
        model, config = dataclasses.replace(self.model, residence=residence), self.config
        self.model = model
        self.found.is_checkpointed = checkpointing(model, config).is_on
        with (
            training_lease(model, self.found.is_checkpointed),
            small_convs_as_products(model.unet, model.device),
            residence.calls_home(),
        ):
            residence.for_encoding(max(image.bucket[0] * image.bucket[1] for image in self.images))
            examples = self._encoded()
            residence.for_training(needs_text=True)
            self._advance()
            with Network.attach(model, config) as network:
                self._train(network, examples)

    def _encoded(self) -> Examples:
        """The photos' latents, each timed; the last one's time counts, since the first has a device to wake."""
        model, config = self.model, self.config
        cache = TensorCache(None, self.emit)
        latents = LatentsWhenMet(model, self.images, config.flip, cache, self.emit)
        for index in range(len(self.images)):
            self._stop_if_asked()
            seconds, _ = self._timed(partial(latents.__getitem__, index))
            self.found.encode_s = seconds / (2 if config.flip else 1)
        live = LiveText(model, config.clip_skip)
        text = live if config.te_learning_rate > 0 else CachedText(model, config.clip_skip, cache, False)
        return Examples(model, config, self.images, latents, text)

    def _train(self, network: Network, examples: Examples) -> None:
        config = self.config
        trained = trained_of(network)
        optimizer = build_optimizer(trained, config, network.flat.sections)
        stepper = Stepper(self.model, network, trained, optimizer, examples, config, emit=self.emit)
        batches = self._batches()
        steps = _steps(self.model, config)
        for step in range(1, steps + 1):
            self._stop_if_asked()
            seconds, _ = self._timed(partial(stepper.run, batches, step, steps))
            self.found.batch_s = seconds / len(batches)
            self._advance()
        with as_saved(trained, optimizer, stepper.ema):
            network.weights()
            self._advance()
            self._preview(prompts_of(config, examples.plain_caption(0))[0])
        self._advance()

    def _batches(self) -> tuple[Batch, ...]:
        size, count = self.config.batch_size, min(self.config.gradient_accumulation, _MOST_BATCHES)
        visits = [
            Visit(number % len(self.images), self.images[number % len(self.images)].key, 1, number)
            for number in range(count * size)
        ]
        return tuple(Batch(tuple(visits[first * size : (first + 1) * size])) for first in range(count))

    def _preview(self, prompt: str) -> None:
        """One picture, where the run will draw any; on a CPU by fewer sampler steps, which take no less memory."""
        config = self.config
        if not config.preview_every_steps:
            return
        if self.model.device.type == "cpu":
            config = config.replace(preview_steps=min(config.preview_steps, _CPU_PREVIEW_STEPS))
        seconds, picture = self._timed(lambda: draw_preview(self.model, config, prompt, self.should_stop))
        if picture is None:
            raise StoppedError
        self.found.preview_s, self.found.preview_steps = seconds, config.preview_steps

    def _timed(self, work: Callable[[], object]) -> tuple[float, object]:
        began = time.perf_counter()
        answer = work()
        synchronize(self.model.device)
        return time.perf_counter() - began, answer

    def _stop_if_asked(self) -> None:
        if self.should_stop():
            raise StoppedError

    def _advance(self) -> None:
        self.done += 1
        self.emit(Progress(STAGE, self.done, _steps(self.model, self.config) + _PARTS_BESIDE))


def _steps(model: BorrowedModel, config: TrainConfig) -> int:
    return RECORDED_STEPS if is_recordable(model.device, config) else STEPS
