from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model

from lora_forge.errors import ConfigError
from lora_forge.model.sampling import SAMPLERS, build_scheduler, sample, sample_latents
from lora_forge.model.schedule import alphas_cumprod
from lora_forge.model.text import Conditioning, encode
from lora_forge.ports import BorrowedModel

from .conftest import BuildToy

NOTHING = Conditioning(torch.zeros(1, 77, 64))


class Formula(torch.nn.Module):
    """A UNet whose answer is a closed form of (noisy latents, alphas_cumprod at the timestep, text)."""

    def __init__(self, answer: Any, schedule: torch.Tensor) -> None:
        super().__init__()
        self.answer, self.schedule = answer, schedule

    def forward(
        self, latents: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor, **_: Any
    ) -> Any:
        place = float(timestep)
        low = min(int(place), 998)
        kept = torch.lerp(self.schedule[low].double(), self.schedule[low + 1].double(), place - low)
        return (self.answer(latents.double(), kept, encoder_hidden_states.double()).float(),)


def with_formula(model: BorrowedModel, answer: Any, prediction_type: str, zero_snr: bool = False) -> BorrowedModel:
    schedule = alphas_cumprod(zero_snr)
    info = dataclasses.replace(model.info, prediction_type=prediction_type, zero_terminal_snr=zero_snr)
    return dataclasses.replace(model, unet=Formula(answer, schedule), info=info, alphas_cumprod=schedule)


def noise_of(seed: int) -> torch.Tensor:
    return torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


TARGET = torch.linspace(-1.5, 1.5, 4 * 64, dtype=torch.float64).reshape(1, 4, 8, 8)


def true_noise(latents: torch.Tensor, kept: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return (latents - kept.sqrt() * TARGET) / (1 - kept).sqrt()


def true_velocity(latents: torch.Tensor, kept: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    return kept.sqrt() * true_noise(latents, kept, text) - (1 - kept).sqrt() * TARGET


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(("kind", "zero_snr"), [("epsilon", False), ("v_prediction", False), ("v_prediction", True)])
def test_a_perfect_model_is_followed_to_its_target(
    toys: dict[str, BorrowedModel], sampler: str, kind: str, zero_snr: bool
) -> None:
    model = with_formula(toys["sd1"], true_noise if kind == "epsilon" else true_velocity, kind, zero_snr)
    drawn = sample_latents(model, NOTHING, NOTHING, 64, 64, 10, 1.0, [5], sampler)
    assert drawn is not None
    # Karras' sigmas fall between timesteps, and diffusers rounds to the nearest one.
    torch.testing.assert_close(drawn.double(), TARGET, rtol=0, atol=0.05 if "karras" in sampler else 2e-3)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_the_wrong_prediction_type_misses_the_target(toys: dict[str, BorrowedModel], kind: str) -> None:
    model = with_formula(toys["sd1"], true_velocity if kind == "epsilon" else true_noise, kind)
    drawn = sample_latents(model, NOTHING, NOTHING, 64, 64, 10, 1.0, [5])
    assert drawn is not None
    distance = (drawn - TARGET).abs().mean()
    assert distance > 0.05  # a true oracle pulls even a wrong reading towards its target, but not there


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "euler", "ddim"])
@pytest.mark.parametrize("steps", [1, 4, 20])
def test_constant_noise_has_a_closed_form(toys: dict[str, BorrowedModel], sampler: str, steps: int) -> None:
    """Noise c everywhere: the flow is straight, x0 = (start - sigma c) / alpha, whatever the steps.

    Euler starts at noise * sigma_max in k-diffusion's scale, so there x0 = sigma_max (noise - c).
    """
    model = with_formula(toys["sd1"], lambda x, _a, _t: torch.full_like(x, 0.25), "epsilon")
    drawn = sample_latents(model, NOTHING, NOTHING, 64, 64, steps, 1.0, [9], sampler)
    last = alphas_cumprod()[-1].double()
    sigma = ((1 - last) / last).sqrt()
    start = noise_of(9).double()
    expected = sigma * (start - 0.25) if sampler == "euler" else start / last.sqrt() - sigma * 0.25
    assert drawn is not None
    torch.testing.assert_close(drawn.double(), expected, rtol=1e-4, atol=1e-3)


def test_guidance_goes_beyond_the_text_by_its_factor(toys: dict[str, BorrowedModel]) -> None:
    """A model that answers with its text: guidance g must act like the text u + g (c - u)."""
    answer = lambda x, _a, text: torch.zeros_like(x) + text.mean(dim=(1, 2))[:, None, None, None]  # noqa: E731
    model = with_formula(toys["sd1"], answer, "epsilon")
    wanted, unwanted = Conditioning(torch.full((1, 77, 64), 0.5)), Conditioning(torch.full((1, 77, 64), 0.1))
    merged = Conditioning(torch.full((1, 77, 64), 0.1 + 3 * 0.4))
    guided = sample_latents(model, wanted, unwanted, 64, 64, 3, 3.0, [1, 2], "ddim")
    plain = sample_latents(model, merged, unwanted, 64, 64, 3, 1.0, [1, 2], "ddim")
    longer = Conditioning(torch.full((1, 154, 64), 0.5))
    apart = sample_latents(model, longer, unwanted, 64, 64, 3, 3.0, [1, 2], "ddim")
    torch.testing.assert_close(guided, plain, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(apart, guided, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("sampler", SAMPLERS)
@torch.no_grad()
def test_a_picture_does_not_depend_on_its_batch(toys: dict[str, BorrowedModel], family: str, sampler: str) -> None:
    model = toys[family]
    told, empty = encode(model, ["ohwx, 1girl"]), encode(model, [""])
    before = torch.get_rng_state()
    together = sample_latents(model, told, empty, 32, 48, 3, 4.0, [11, 12], sampler)
    alone = sample_latents(model, told, empty, 32, 48, 3, 4.0, [12], sampler)
    assert together is not None
    assert alone is not None
    assert together.shape == (2, 4, 6, 4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(together[1:], alone, rtol=0, atol=1e-3 * float(alone.std()))
    assert (together[0] - together[1]).abs().mean() > 0.1 * float(alone.std())


@torch.no_grad()
def test_rows_of_a_batch_may_have_their_own_text(toys: dict[str, BorrowedModel]) -> None:
    model = toys["sdxl"]
    told, empty = encode(model, ["ohwx", "1girl"]), encode(model, [""])
    both = sample_latents(model, told, empty, 32, 32, 2, 4.0, [3, 3])
    second = sample_latents(model, encode(model, ["1girl"]), empty, 32, 32, 2, 4.0, [3])
    assert both is not None
    assert second is not None
    torch.testing.assert_close(both[1:], second, rtol=0, atol=1e-3 * float(second.std()))
    assert not torch.allclose(both[0], both[1], atol=1e-3)


@torch.no_grad()
def test_an_adapter_changes_pictures_and_only_while_it_acts(build_toy: BuildToy) -> None:
    model = build_toy("sd1")
    told, empty = encode(model, ["ohwx"]), encode(model, [""])

    def draw() -> np.ndarray[Any, Any]:
        return np.asarray(sample(model, told, empty, 32, 32, 2, 4.0, [1])[0], dtype=int)

    plain = draw()
    inject_adapter_in_model(LoraConfig(r=4, lora_alpha=4, target_modules=["to_q", "to_v"]), model.unet)
    assert np.array_equal(draw(), plain)  # kohya and peft both start with up = 0
    for name, parameter in model.unet.named_parameters():
        if "lora_B" in name:
            parameter.fill_(0.3)
    assert np.abs(draw() - plain).max() > 3


def test_drawing_needs_no_gradient_mode_and_leaves_none_behind(build_toy: BuildToy) -> None:
    model = build_toy("sd1")
    model.unet.requires_grad_(True).train()
    told = Conditioning(torch.zeros(1, 77, 64, requires_grad=True))
    drawn = sample_latents(model, told, NOTHING, 32, 32, 2, 4.0, [1])
    assert drawn is not None
    assert not drawn.requires_grad
    assert model.unet.training
    with torch.inference_mode():
        again = sample_latents(model, told, NOTHING, 32, 32, 2, 4.0, [1])
    assert again is not None
    assert torch.equal(again, drawn)


def test_steps_are_counted(toys: dict[str, BorrowedModel]) -> None:
    counted: list[tuple[int, int]] = []
    model = with_formula(toys["sd1"], lambda x, _a, _t: torch.zeros_like(x), "epsilon")
    pictures = sample(
        model, NOTHING, NOTHING, 32, 48, 3, 2.0, [1, 2], on_step=lambda done, of: counted.append((done, of))
    )
    assert counted == [(1, 3), (2, 3), (3, 3)]
    assert [picture.size for picture in pictures] == [(32, 48)] * 2


def test_stopping_finishes_no_picture(toys: dict[str, BorrowedModel]) -> None:
    counted: list[int] = []
    pictures = sample(
        toys["sd1"], NOTHING, NOTHING, 32, 32, 9, 2.0, [1],
        on_step=lambda done, _: counted.append(done), should_stop=lambda: len(counted) == 2,
    )  # fmt: skip
    assert pictures == []
    assert counted == [1, 2]


def test_what_cannot_be_drawn_is_refused(toys: dict[str, BorrowedModel]) -> None:
    with pytest.raises(ConfigError, match=r"no sampler 'plms'.*dpmpp_2m"):
        sample(toys["sd1"], NOTHING, NOTHING, 64, 64, 3, 1.0, [1], sampler="plms")
    with pytest.raises(ConfigError, match="60 x 64"):
        sample(toys["sd1"], NOTHING, NOTHING, 60, 64, 3, 1.0, [1])


@pytest.mark.parametrize("zero_snr", [False, True])
def test_the_scheduler_stands_on_the_models_schedule(zero_snr: bool) -> None:
    schedule = alphas_cumprod(zero_snr)
    for sampler in SAMPLERS:
        scheduler = build_scheduler(sampler, schedule, "v_prediction")
        scheduler.set_timesteps(4)
        torch.testing.assert_close(scheduler.alphas_cumprod[:-1], schedule[:-1])
        assert float(scheduler.timesteps[0]) == pytest.approx(999, abs=1)
        assert len(scheduler.timesteps) == 4
        assert scheduler.config.prediction_type == "v_prediction"
