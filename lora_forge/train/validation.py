"""A loss that can be compared from epoch to epoch: the same images, noise and timesteps every time."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from lora_forge.dataset.prepared import PreparedImage
from lora_forge.ports import BorrowedModel
from lora_forge.seeds import stable_seed
from lora_forge.train import objective
from lora_forge.train.draws import cpu_generator
from lora_forge.train.examples import Examples, predict

TIMESTEPS = (200, 400, 600, 800)


def choose_photos(images: Sequence[PreparedImage], count: int, seed: int) -> list[int]:
    """Indices of up to ``count`` photos (prior images are none), chosen by the seed, in the set's order."""
    photos = [index for index, image in enumerate(images) if not image.is_prior]
    chosen = random.Random(stable_seed(seed, "validation")).sample(photos, min(count, len(photos)))
    return sorted(chosen)


class Validation:
    """Mean unweighted error over the chosen photos at t = 200, 400, 600 and 800."""

    def __init__(
        self, model: BorrowedModel, examples: Examples, images: Sequence[PreparedImage], count: int, seed: int
    ) -> None:
        self._model, self._examples, self._images, self._seed = model, examples, images, seed
        self._alphas_cumprod = model.alphas_cumprod.to(model.device)
        self._chosen = choose_photos(images, count, seed)

    @torch.no_grad()
    def loss(self) -> float | None:
        """The loss with the weights as they are now; None when there is nothing to validate on."""
        usable = [index for index in self._chosen if self._examples.is_usable(index)]
        if not usable:
            return None
        return sum(float(self._error(index)) for index in usable) / len(usable)

    def _error(self, index: int) -> Tensor:
        """One forward pass for each timestep, so that a batch of 4 needs no memory that training did not."""
        errors = []
        for timestep in TIMESTEPS:
            generator = cpu_generator(stable_seed(self._seed, "validation", timestep, self._images[index].key))
            noise = torch.randn((1, *self._examples.latent_shape(index)), generator=generator).to(self._model.device)
            inputs = self._examples.fixed(index, noise, torch.tensor([timestep], device=self._model.device))
            acp = self._alphas_cumprod
            noisy = objective.add_noise(inputs.latents, noise, inputs.timesteps, acp)
            kind = self._model.info.prediction_type
            wanted = objective.target(kind, inputs.latents, noise, inputs.timesteps, acp)
            errors.append((predict(self._model, noisy, inputs).float() - wanted).square().mean())
        return torch.stack(errors).mean()
