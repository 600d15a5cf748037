"""Noise, sigmas and timesteps against the WebUIs' own figures; whole pictures are compared in tests/host."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from lora_forge.errors import ConfigError
from lora_forge.model.philox import normal
from lora_forge.model.schedule import alphas_cumprod
from lora_forge.model.text import Conditioning
from lora_forge.model.webui_sampling import SigmaScale, encode_alone, noise_of, webui_latents
from lora_forge.ports import BorrowedModel, DrawingWay

from .test_sampling import NOTHING, TARGET, Formula, true_noise, true_velocity
from .test_sampling import noise_of as torch_noise_of

CPU = torch.device("cpu")
# k-diffusion's get_sigmas_karras(n=5, sigma_min, sigma_max) of SD's schedule, printed from the host's own code.
FIVE = [14.614643, 4.796544, 1.274105, 0.247952, 0.029168, 0.0]


def scale_of(**options: Any) -> SigmaScale:
    return SigmaScale(alphas_cumprod(), DrawingWay(**options))


def with_formula(model: BorrowedModel, answer: Any, kind: str, zero_snr: bool, way: DrawingWay) -> BorrowedModel:
    schedule = alphas_cumprod(zero_snr)
    info = dataclasses.replace(model.info, prediction_type=kind, zero_terminal_snr=zero_snr)
    unet = Formula(answer, schedule)
    return dataclasses.replace(model, unet=unet, info=info, alphas_cumprod=schedule, drawing=way)


def test_the_sigmas_are_karras_of_the_checkpoints_own_range() -> None:
    torch.testing.assert_close(scale_of().karras(5), torch.tensor(FIVE), rtol=0, atol=2e-6)


def test_the_hosts_options_bend_the_sigmas() -> None:
    bent = scale_of(sigma_min=0.1, sigma_max=10.0, rho=5.0).karras(4)
    ends = 10 ** (1 / 5), 0.1 ** (1 / 5)
    expected = [(ends[0] + at / 3 * (ends[1] - ends[0])) ** 5 for at in range(4)]
    torch.testing.assert_close(bent, torch.tensor([*expected, 0.0]), rtol=1e-5, atol=0)
    five, dropped = scale_of().karras(5), scale_of(drops_penultimate=True).karras(4)
    assert torch.equal(dropped, torch.cat([five[:-2], five[-1:]]))


def test_a_zero_terminal_snr_begins_where_the_hosts_begin() -> None:
    sigmas = SigmaScale(alphas_cumprod(True), DrawingWay()).karras(3)
    assert float(sigmas[0]) == pytest.approx(4518.75, abs=0.5)


def test_timesteps_lie_between_two_or_are_whole() -> None:
    logs = (((1 - alphas_cumprod()) / alphas_cumprod()) ** 0.5).log()
    sigma = (logs[500] * 0.75 + logs[501] * 0.25).exp()
    assert float(scale_of().timestep(sigma)) == pytest.approx(500.25, abs=1e-3)
    assert float(scale_of(whole_timesteps=True).timestep(sigma)) == 500
    for way in (False, True):
        ends = [float(scale_of(whole_timesteps=way).timestep(logs[place].exp())) for place in (0, 999)]
        assert ends == pytest.approx([0, 999], abs=1e-3)


def test_noise_comes_from_where_the_host_takes_it_and_moves_no_generator() -> None:
    before = torch.get_rng_state()
    expected = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(11))
    for source in ("GPU", "CPU"):
        assert torch.equal(noise_of(11, (4, 8, 8), CPU, source), expected)
    assert torch.equal(noise_of(11, (4, 8, 8), CPU, "NV"), torch.from_numpy(normal(11, (4, 8, 8))))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("way", [DrawingWay(), DrawingWay(has_whole_noise=True), DrawingWay(drops_penultimate=True)])
@pytest.mark.parametrize(("kind", "zero_snr"), [("epsilon", False), ("v_prediction", False), ("v_prediction", True)])
def test_a_perfect_model_is_followed_to_its_target(
    toys: dict[str, BorrowedModel], kind: str, zero_snr: bool, way: DrawingWay
) -> None:
    answer = true_noise if kind == "epsilon" else true_velocity
    model = with_formula(toys["sd1"], answer, kind, zero_snr, way)
    drawn = webui_latents(model, NOTHING, NOTHING, (64, 64), 10, 1.0, [5])
    assert drawn is not None
    # The toy's formula reads its schedule straight between two timesteps, the hosts by the logarithm of sigma.
    torch.testing.assert_close(drawn.double(), TARGET, rtol=0, atol=2e-3)


@pytest.mark.parametrize("steps", [1, 4, 20])
def test_constant_noise_has_a_closed_form(toys: dict[str, BorrowedModel], steps: int) -> None:
    """Noise c everywhere: x0 = sigma_max (noise - c), whatever the steps."""
    model = with_formula(toys["sd1"], lambda x, _a, _t: torch.full_like(x, 0.25), "epsilon", False, DrawingWay())
    drawn = webui_latents(model, NOTHING, NOTHING, (64, 64), steps, 1.0, [9])
    assert drawn is not None
    last = alphas_cumprod()[-1].double()
    expected = ((1 - last) / last).sqrt() * (torch_noise_of(9).reshape(1, 4, 8, 8).double() - 0.25)
    torch.testing.assert_close(drawn.double(), expected, rtol=1e-4, atol=1e-3)


def test_guidance_goes_beyond_the_text_and_lengths_may_differ(toys: dict[str, BorrowedModel]) -> None:
    answer = lambda x, _a, text: torch.zeros_like(x) + text.mean(dim=(1, 2))[:, None, None, None]  # noqa: E731
    model = with_formula(toys["sd1"], answer, "epsilon", False, DrawingWay())
    wanted, unwanted = Conditioning(torch.full((1, 154, 64), 0.5)), Conditioning(torch.full((1, 77, 64), 0.1))
    guided = webui_latents(model, wanted, unwanted, (64, 64), 3, 3.0, [1])
    merged = Conditioning(torch.full((1, 77, 64), 0.1 + 3 * 0.4))
    torch.testing.assert_close(
        guided, webui_latents(model, merged, unwanted, (64, 64), 3, 1.0, [1]), atol=1e-4, rtol=1e-4
    )


@torch.no_grad()
def test_sdxl_is_told_zeros_where_nothing_is_unwanted(toys: dict[str, BorrowedModel]) -> None:
    """Both hosts: ``force_zero_negative_prompt``. An empty prompt that is wanted is encoded."""
    nothing, empty = (encode_alone(toys["sdxl"], "", 1, is_negative=flag) for flag in (True, False))
    assert not nothing.hidden.any()
    assert nothing.pooled is not None
    assert not nothing.pooled.any()
    assert nothing.hidden.shape == empty.hidden.shape
    assert empty.hidden.any()
    assert encode_alone(toys["sdxl"], "red", 1, is_negative=True).hidden.any()
    assert encode_alone(toys["sd1"], "", 1, is_negative=True).hidden.any()


def test_stopping_finishes_no_picture(toys: dict[str, BorrowedModel]) -> None:
    asked: list[bool] = []
    stop = lambda: bool(asked.append(True)) or len(asked) == 3  # noqa: E731
    assert webui_latents(toys["sd1"], NOTHING, NOTHING, (32, 32), 9, 1.0, [1], stop) is None
    assert len(asked) == 3


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@torch.no_grad()
def test_a_picture_does_not_depend_on_its_batch(toys: dict[str, BorrowedModel], family: str) -> None:
    model = toys[family]
    told, empty = encode_alone(model, "ohwx, 1girl", 1), encode_alone(model, "", 1, is_negative=True)
    together = webui_latents(model, told, empty, (32, 48), 3, 4.0, [11, 12])
    alone = webui_latents(model, told, empty, (32, 48), 3, 4.0, [12])
    assert together is not None
    assert alone is not None
    assert together.shape == (2, 4, 6, 4)
    torch.testing.assert_close(together[1:], alone, rtol=0, atol=1e-3 * float(alone.std()))


def test_sides_must_be_multiples_of_8(toys: dict[str, BorrowedModel]) -> None:
    with pytest.raises(ConfigError, match="60 x 64"):
        webui_latents(toys["sd1"], NOTHING, NOTHING, (60, 64), 3, 1.0, [1])
