"""Drawing: from seeds and conditioning to pictures, with diffusers' own schedulers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
)
from PIL import Image

from lora_forge.errors import ConfigError
from lora_forge.model.latents import VAE_FACTOR, decode
from lora_forge.model.schedule import TRAIN_STEPS
from lora_forge.model.sdxl import Size, added_conditions, time_ids
from lora_forge.model.text import Conditioning
from lora_forge.ports import BorrowedModel

SAMPLERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "dpmpp_2m": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++", "solver_order": 2}),
    "dpmpp_2m_karras": (
        DPMSolverMultistepScheduler,
        {"algorithm_type": "dpmsolver++", "solver_order": 2, "use_karras_sigmas": True},
    ),
    "euler": (EulerDiscreteScheduler, {}),
    "euler_a": (EulerAncestralDiscreteScheduler, {}),
    "ddim": (DDIMScheduler, {"clip_sample": False, "set_alpha_to_one": True}),
}
# With a zero terminal SNR the first step's sigma would be infinite; ComfyUI, Forge and diffusers stop short of it too.
_LEAST_ALPHA = 2.0**-24


def sample(
    model: BorrowedModel,
    conditioning: Conditioning,
    unconditional: Conditioning,
    width: int,
    height: int,
    steps: int,
    guidance: float,
    seeds: Sequence[int],
    sampler: str = "dpmpp_2m",
    on_step: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> list[Image.Image]:
    """Draw one picture of ``width`` x ``height`` pixels for each seed, in one batch.

    ``conditioning`` and ``unconditional``: one row for all, or one for each seed. ``guidance`` 1 leaves the
    unconditional pass out. A picture's noise comes from its own CPU generator, so it does not depend on its batch.
    ``on_step`` gets (steps done, steps). When ``should_stop`` says so, no picture is finished: an empty list.

    Raises:
        ConfigError: an unknown sampler, or sizes that are no multiples of 8.
    """
    latents = sample_latents(
        model, conditioning, unconditional, width, height, steps, guidance, seeds, sampler, on_step, should_stop
    )
    return [] if latents is None else decode(model, latents)


@torch.no_grad()
def sample_latents(
    model: BorrowedModel,
    conditioning: Conditioning,
    unconditional: Conditioning,
    width: int,
    height: int,
    steps: int,
    guidance: float,
    seeds: Sequence[int],
    sampler: str = "dpmpp_2m",
    on_step: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> torch.Tensor | None:
    """As :func:`sample`, but the scaled latents (B, 4, height/8, width/8), float32; None when stopped."""
    shape = latent_shape(width, height)
    scheduler = build_scheduler(sampler, model.alphas_cumprod, model.info.prediction_type)
    scheduler.set_timesteps(steps, device=model.device)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    noise = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
    latents: torch.Tensor = noise.to(model.device) * scheduler.init_noise_sigma
    predict = predictor(model, conditioning, unconditional, guidance, len(seeds), (width, height))
    extra = {"generator": generators} if sampler == "euler_a" else {}
    with evaluating(model.unet):
        for done, timestep in enumerate(scheduler.timesteps, start=1):
            if should_stop is not None and should_stop():
                return None
            predicted = predict(scheduler.scale_model_input(latents, timestep), timestep)
            latents = scheduler.step(predicted, timestep, latents, return_dict=False, **extra)[0]
            if on_step is not None:
                on_step(done, steps)
    return latents


def latent_shape(width: int, height: int) -> tuple[int, int, int]:
    """(channels, height, width) of the latents of a picture in pixels.

    Raises:
        ConfigError: sizes that are no multiples of 8.
    """
    if width % VAE_FACTOR or height % VAE_FACTOR:
        what = "{width} x {height} can't be drawn: sides must be multiples of 8."
        raise ConfigError(what, width=width, height=height)
    return 4, height // VAE_FACTOR, width // VAE_FACTOR


def build_scheduler(sampler: str, schedule: torch.Tensor, prediction_type: str) -> Any:
    """A diffusers scheduler on the model's own ``schedule`` (alphas_cumprod, (1000,)), with trailing spacing.

    Trailing (arXiv 2305.08891, section 3.3): the first step is the last timestep, where training starts.

    Raises:
        ConfigError: ``sampler`` is unknown.
    """
    if sampler not in SAMPLERS:
        known = ", ".join(SAMPLERS)
        raise ConfigError("There is no sampler {name!r}.", "Choose one of {known}.", name=sampler, known=known)
    kind, options = SAMPLERS[sampler]
    kept = schedule.double().clamp(min=_LEAST_ALPHA)
    betas = 1 - kept / torch.cat([torch.ones(1, dtype=kept.dtype), kept[:-1]])
    scheduler = kind(
        num_train_timesteps=TRAIN_STEPS,
        trained_betas=betas.tolist(),
        prediction_type=prediction_type,
        timestep_spacing="trailing",
        **options,
    )
    scheduler.alphas_cumprod = kept.float()  # what the betas multiply to, without their rounding
    return scheduler


_Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def predictor(
    model: BorrowedModel,
    conditioning: Conditioning,
    unconditional: Conditioning,
    guidance: float,
    count: int,
    size: Size,
) -> _Predict:
    """The UNet under classifier-free guidance (arXiv 2207.12598): (latents, timestep) -> float32 prediction.

    Both passes go as one batch when their texts are equally long; else one after the other, as the hosts do.
    """
    wanted, unwanted = _placed(conditioning, model, count), _placed(unconditional, model, count)
    sizes = time_ids(original=size, crop=(0, 0), target=size).to(model.device)

    def run(latents: torch.Tensor, timestep: torch.Tensor, told: Conditioning) -> torch.Tensor:
        added = added_conditions(told, sizes)
        output: torch.Tensor = model.unet(
            latents.to(model.dtype),
            timestep,
            encoder_hidden_states=told.hidden,
            added_cond_kwargs=added,
            return_dict=False,
        )[0]
        return output.float()

    if guidance == 1:
        return lambda latents, timestep: run(latents, timestep, wanted)
    if wanted.hidden.shape == unwanted.hidden.shape:
        both = _joined(unwanted, wanted)

        def guided(latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
            without, with_text = run(torch.cat([latents, latents]), timestep, both).chunk(2)
            return without + guidance * (with_text - without)

        return guided

    def guided_apart(latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        without = run(latents, timestep, unwanted)
        return without + guidance * (run(latents, timestep, wanted) - without)

    return guided_apart


def _placed(conditioning: Conditioning, model: BorrowedModel, count: int) -> Conditioning:
    """Rows for ``count`` pictures, on the UNet's device and in its dtype."""
    hidden = conditioning.hidden.to(model.device, model.dtype).expand(count, -1, -1)
    pooled = conditioning.pooled
    return Conditioning(hidden, None if pooled is None else pooled.to(model.device, model.dtype).expand(count, -1))


def _joined(first: Conditioning, second: Conditioning) -> Conditioning:
    pooled = None
    if first.pooled is not None and second.pooled is not None:
        pooled = torch.cat([first.pooled, second.pooled])
    return Conditioning(torch.cat([first.hidden, second.hidden]), pooled)


@contextlib.contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """Dropout off while drawing, in the middle of training too."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        if was_training:
            module.train()
