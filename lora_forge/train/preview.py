"""Pictures drawn during training: with the weights as they would be saved, as the host will draw with the file."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL.Image import Image

from lora_forge.atomic import write_atomically
from lora_forge.config import TrainConfig
from lora_forge.errors import LoraForgeError
from lora_forge.events import Emit, PreviewMade, Warned
from lora_forge.i18n import Said, word
from lora_forge.i18n.reasons import reason
from lora_forge.model.devices import empty_cache
from lora_forge.model.latents import decode
from lora_forge.model.residence import TEXT, VAE
from lora_forge.model.webui_sampling import encode_alone, webui_latents
from lora_forge.ports import BorrowedModel
from lora_forge.train.fingerprints import digest, module_fingerprint
from lora_forge.train.network import Network

TRIGGER_PLACE = "TRIGGER"
BASE_COLUMN = 0
MOST_FAILURES = 3
_FAILED = word("The preview at step {step} could not be drawn ({problem}). The run goes on.")
_GIVEN_UP = word(
    "{count} previews in a row could not be drawn, so none is tried any more: "
    'press "Preview now" when there is room again.'
)
_FULL = word("the memory is full")


def prompts_of(config: TrainConfig, example: str) -> tuple[str, ...]:
    """The settings' prompts with the trigger word filled in; without any, the word alone, or a caption of the photos.

    They are the columns from 1 on; the first is drawn without the LoRA too.
    """
    return filled_in(config.preview_prompts, config.trigger_word) or (config.trigger_word or example,)


def filled_in(prompts: Sequence[str], trigger_word: str) -> tuple[str, ...]:
    """``prompts`` with the trigger word in its places."""
    return tuple(prompt.replace(TRIGGER_PLACE, trigger_word) for prompt in prompts)


def preview_path(run_dir: Path, step: int, column: int) -> Path:
    """Where the picture of a step goes; ``column`` counts from 1."""
    return run_dir / "previews" / f"step-{step:08d}-{column}.png"


def base_path(run_dir: Path, model: BorrowedModel, config: TrainConfig, prompt: str, unet: str) -> Path:
    """Where the picture without the LoRA goes: a name for each prompt, checkpoint and way to draw.

    ``unet``: the UNet's fingerprint without adapters. Of the text encoders, which may wear some now, the norms count.
    """
    info = model.info
    if model.residence is not None:  # in a file they may lie in another type
        model.residence.come(VAE, TEXT)
    norms = [
        sorted(
            (name, float(tensor.float().sum())) for name, tensor in tower.module.state_dict().items() if "norm" in name
        )
        for tower in model.text_towers
    ]
    networks = (unet, module_fingerprint(model.vae), norms, model.dtype, info.prediction_type, info.zero_terminal_snr)
    settings = (config.resolution_px, config.preview_steps, config.preview_guidance, config.seed, config.clip_skip)
    return run_dir / "previews" / f"base-{digest(prompt, settings, model.drawing, networks)}.png"


@torch.no_grad()
def draw_preview(
    model: BorrowedModel, config: TrainConfig, prompt: str, should_stop: Callable[[], bool]
) -> Image | None:
    """One square picture of the run's own seed: what txt2img gives for that seed, prompt, steps, guidance and size.

    None when ``should_stop`` said so before it was done.
    """
    try:
        return _drawn(model, config, prompt, should_stop)
    finally:
        if model.residence is not None:
            model.residence.rest()


def _drawn(model: BorrowedModel, config: TrainConfig, prompt: str, should_stop: Callable[[], bool]) -> Image | None:
    wanted = encode_alone(model, prompt, config.clip_skip)
    unwanted = encode_alone(model, "", config.clip_skip, is_negative=True)
    size = (config.resolution_px, config.resolution_px)
    steps, guidance = config.preview_steps, config.preview_guidance
    latents = webui_latents(model, wanted, unwanted, size, steps, guidance, [config.seed], should_stop)
    if latents is None or should_stop():
        return None
    if model.residence is not None:
        model.residence.for_decoding(size[0] * size[1])
    return decode(model, latents)[0]


@dataclass
class Previews:
    """Draws the columns of a run; what can't be drawn is said, and the run goes on.

    ``prompts``: of the columns from 1 on, finished. Column 0 is the first prompt without the LoRA, drawn once.
    ``unet``: see :func:`base_path`.
    """

    model: BorrowedModel
    config: TrainConfig
    run_dir: Path
    network: Network
    emit: Emit
    prompts: tuple[str, ...]
    unet: str
    should_stop: Callable[[], bool] = lambda: False
    _base_told: Path | None = None
    _bases: dict[str, Path] = field(default_factory=dict)
    _failures: int = 0

    def draw(self, step: int, is_asked: bool = False) -> None:
        """All columns of ``step``; a stop that is asked for meanwhile is not kept waiting.

        After a few failures in a row nothing is tried but what ``is_asked`` for.
        """
        if self._failures >= MOST_FAILURES and not is_asked:
            return
        for column, prompt in enumerate((self.prompts[0], *self.prompts)):
            path = self._made(step, column, prompt)
            if path is None:
                return
            if column != BASE_COLUMN or path != self._base_told:
                self.emit(PreviewMade(path, step, prompt, column))
            if column == BASE_COLUMN:
                self._base_told = path
        self._failures = 0

    def use(self, prompts: tuple[str, ...]) -> None:
        """Draw these from now on."""
        self.prompts, self._failures = prompts, 0

    def _made(self, step: int, column: int, prompt: str) -> Path | None:
        """The picture's file; None when it was stopped, or failed and that was said."""
        problem: object = None
        try:
            return self._base(prompt) if column == BASE_COLUMN else self._step(step, column, prompt)
        except Exception as error:  # noqa: BLE001 - whatever it is, a picture is not worth the run
            problem = _problem(error)
        gc.collect()  # outside: inside, the error's frames still hold what filled the memory
        empty_cache(self.model.device)
        self._failures += 1
        self.emit(Warned(_FAILED, {"step": step, "problem": problem}))
        if self._failures == MOST_FAILURES:
            self.emit(Warned(_GIVEN_UP, {"count": self._failures}))
        return None

    def _base(self, prompt: str) -> Path | None:
        if prompt not in self._bases:
            self._bases[prompt] = base_path(self.run_dir, self.model, self.config, prompt, self.unet)
        path = self._bases[prompt]
        if path.is_file():
            return path
        self.network.set_strength(0.0)
        try:
            return self._drawn(prompt, path)
        finally:
            self.network.set_strength(1.0)

    def _step(self, step: int, column: int, prompt: str) -> Path | None:
        return self._drawn(prompt, preview_path(self.run_dir, step, column))

    def _drawn(self, prompt: str, path: Path) -> Path | None:
        picture = draw_preview(self.model, self.config, prompt, self.should_stop)
        if picture is None:
            return None
        write_atomically(path, lambda temporary: picture.save(temporary, format="PNG"))
        return path


def _problem(error: Exception) -> object:
    if isinstance(error, LoraForgeError):
        return error
    if isinstance(error, OSError):
        return reason(error)
    if isinstance(error, MemoryError) or "memory" in str(error).lower():
        return Said(_FULL)
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
