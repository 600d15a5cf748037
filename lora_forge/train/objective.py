"""The training objective: small pure functions, each named as in its paper.

Shapes: latents, noise and predictions (B, 4, H/8, W/8); ``timesteps`` int64 (B,) in 0..999; ``alphas_cumprod``
float32 (1000,). All arithmetic is float32, whatever the network computes in.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from lora_forge.config import PredictionType, TrainConfig

MAX_DEBIASED_SNR = 1000.0


def _per_image(values: Tensor, like: Tensor) -> Tensor:
    """(B,) spread over the axes of ``like`` (B, ...)."""
    return values.view(-1, *(1,) * (like.dim() - 1))


def add_noise(latents: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) noise: the forward process of DDPM (arXiv 2006.11239, eq. 4)."""
    signal = _per_image(alphas_cumprod[timesteps], latents)
    return signal.sqrt() * latents + (1 - signal).sqrt() * noise


def velocity(latents: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """v = sqrt(a_t) noise - sqrt(1 - a_t) x_0 (arXiv 2202.00512, appendix D)."""
    signal = _per_image(alphas_cumprod[timesteps], latents)
    return signal.sqrt() * noise - (1 - signal).sqrt() * latents


def target(prediction_type: PredictionType, latents: Tensor, noise: Tensor, timesteps: Tensor, acp: Tensor) -> Tensor:
    """What the network should say: the noise, or the velocity."""
    return noise if prediction_type == "epsilon" else velocity(latents, noise, timesteps, acp)


def offset_noise(noise: Tensor, shift: Tensor, strength: float) -> Tensor:
    """Noise whose channels are shifted as a whole; ``shift`` standard normal (B, C, 1, 1) (crosslabs.org, 2023)."""
    return noise + strength * shift


def snr(timesteps: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """Signal-to-noise ratio a_t / (1 - a_t), (B,): 1175 at t=0 to 0.0047 at t=999, or 0 with zero terminal SNR."""
    signal = alphas_cumprod[timesteps]
    return signal / (1 - signal)


def min_snr_weight(snr_values: Tensor, gamma: float, prediction_type: PredictionType) -> Tensor:
    """Min-SNR weight (arXiv 2303.09556): min(snr, g) / snr for epsilon, min(snr, g) / (snr + 1) for velocity.

    Written so that snr = 0 gives the limit (1 and 0), not NaN.
    """
    if prediction_type == "epsilon":
        return (gamma / snr_values).clamp(max=1.0)
    return snr_values.clamp(max=gamma) / (snr_values + 1)


def debiased_weight(snr_values: Tensor, prediction_type: PredictionType) -> Tensor:
    """Debiased estimation weight (arXiv 2310.08442): 1 / sqrt(snr) for epsilon, 1 / (snr + 1) for velocity.

    snr is held at or below 1000 as kohya does, and at or above 1/1000, so that a schedule with zero terminal SNR
    has a finite weight at its last step.
    """
    if prediction_type == "epsilon":
        return snr_values.clamp(1 / MAX_DEBIASED_SNR, MAX_DEBIASED_SNR).rsqrt()
    return 1 / (snr_values + 1)


def loss_mask(mask: Tensor, latent_size: tuple[int, int], outside_weight: float) -> Tensor:
    """Weights of the latent grid (h, w) from a picture's mask (H, W) in 0..1, by area; 0 becomes ``outside_weight``."""
    small = functional.interpolate(mask[None, None].float(), size=latent_size, mode="area")[0, 0]
    return outside_weight + (1 - outside_weight) * small


@dataclass(frozen=True)
class Losses:
    """Per image, float32 (B,): ``objective`` is what is minimised, ``mse`` the raw unweighted error (no gradient)."""

    objective: Tensor
    mse: Tensor


@dataclass(frozen=True)
class Objective:
    """Which loss a run minimises."""

    prediction_type: PredictionType
    min_snr_gamma: float = 0.0
    is_debiased: bool = False

    @classmethod
    def of(cls, config: TrainConfig, prediction_type: PredictionType) -> Objective:
        """The objective that the settings ask for."""
        return cls(prediction_type, config.min_snr_gamma, config.debiased)

    def snr_weight(self, timesteps: Tensor, alphas_cumprod: Tensor) -> Tensor | None:
        """Weight per image (B,); None when every timestep counts alike."""
        if self.min_snr_gamma:
            return min_snr_weight(snr(timesteps, alphas_cumprod), self.min_snr_gamma, self.prediction_type)
        if self.is_debiased:
            return debiased_weight(snr(timesteps, alphas_cumprod), self.prediction_type)
        return None

    def losses(
        self,
        prediction: Tensor,
        wanted: Tensor,
        timesteps: Tensor,
        alphas_cumprod: Tensor,
        image_weights: Tensor,
        masks: Tensor | None = None,
    ) -> Losses:
        """Both losses of a batch; ``image_weights`` (B,) for prior images, ``masks`` (B, 1, h, w) from `loss_mask`.

        As in kohya's trainer, a masked error is averaged over the whole grid, not over the mask's area.
        """
        errors = (prediction.float() - wanted.float()).square()
        mse = errors.detach().mean(dim=(1, 2, 3))
        per_image = (errors if masks is None else errors * masks).mean(dim=(1, 2, 3)) * image_weights
        weight = self.snr_weight(timesteps, alphas_cumprod)
        return Losses(per_image if weight is None else per_image * weight, mse)
