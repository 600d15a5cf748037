"""One step against the same step written out by hand, and what must not depend on how a step is cut."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from lora_forge.dataset.prepared import PreparedSet
from lora_forge.events import StepDone
from lora_forge.model.text import encode
from lora_forge.ports import BorrowedModel
from lora_forge.train import draws
from lora_forge.train.batches import BatchPlan
from lora_forge.train.cache import CachedText, TensorCache
from lora_forge.train.encoding import encode_set
from lora_forge.train.examples import Examples
from lora_forge.train.network import Network
from lora_forge.train.optimizers import build_optimizer, trained_of
from lora_forge.train.step import Stepper
from tests.train import tiny


def one_step(model: BorrowedModel, prepared: PreparedSet, **changes: Any) -> tuple[list[torch.Tensor], Any]:
    """The adapters after the first step of epoch 1, and the step's figures."""
    settings = tiny.config(schedule="constant", max_grad_norm=0.0, **changes)
    cache = TensorCache(None, print)
    images, latents = encode_set(model, prepared.images, False, cache, lambda _: None)
    text = CachedText(model, settings.clip_skip, cache, is_fixed=False)
    sample = Examples(model, settings, images, latents, text)
    plan = BatchPlan(images, settings.repeats, settings.batch_size, settings.gradient_accumulation, settings.seed)
    with Network.attach(model, settings) as network:
        trained = trained_of(network)
        stepper = Stepper(model, network, trained, build_optimizer(trained, settings), sample, settings)
        figures = stepper.run(plan.epoch(1)[0], 1, 10)
        return [t.parameter.detach().clone() for t in trained], figures


def test_a_step_equals_the_one_written_out(model: BorrowedModel, prepared: PreparedSet) -> None:
    """diffusers' own scheduler, torch's own AdamW, the paper's loss: nothing of ours but the draws and the adapters."""
    from diffusers import DDPMScheduler

    settings = tiny.config(min_snr_gamma=5.0, batch_size=2)
    mine, figures = one_step(model, prepared, min_snr_gamma=5.0, batch_size=2)
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    images, latents = encode_set(model, prepared.images, False, TensorCache(None, print), lambda _: None)
    visits = BatchPlan(images, 2, 2, 1, 0).epoch(1)[0][0].visits
    captions = Examples(model, settings, images, latents, CachedText(model, 1, TensorCache(None, print), False))
    with Network.attach(model, settings) as network:
        parameters = [t.parameter for t in trained_of(network)]
        optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.01)
        noise = torch.stack([draws.noise(v, 0, tuple(latents[v.image].plain.shape))[0] for v in visits])
        steps = torch.tensor([draws.timestep(v, 0) for v in visits])
        noisy = scheduler.add_noise(torch.stack([latents[v.image].plain for v in visits]), noise, steps)
        hidden = encode(model, [captions.caption(v) for v in visits], 1).hidden.detach()
        prediction = model.unet(noisy, steps, hidden).sample
        acp = scheduler.alphas_cumprod[steps]
        snr = acp / (1 - acp)
        weight = torch.minimum(snr, torch.tensor(5.0)) / snr
        per_image = torch.nn.functional.mse_loss(prediction, noise, reduction="none").mean([1, 2, 3])
        (per_image * weight).mean().backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, 1e9)
        optimizer.step()
    assert figures.loss == pytest.approx((per_image * weight).mean().item(), rel=1e-5)
    assert figures.mse == pytest.approx(per_image.mean().item(), rel=1e-5)
    assert figures.gradient_norm == pytest.approx(norm.item(), rel=1e-4)
    for one, other in zip(mine, parameters, strict=True):
        assert_close(one, other.detach(), atol=1e-4, rtol=1e-3)


def test_accumulation_is_a_larger_batch_for_no_memory(model: BorrowedModel, prepared: PreparedSet) -> None:
    """All visits of an epoch in one step, cut in two ways."""
    squares = dataclasses.replace(prepared, images=(prepared.images[0], prepared.images[2]))
    whole, at_once = one_step(model, squares, batch_size=4)
    parts, in_parts = one_step(model, squares, batch_size=1, gradient_accumulation=4)
    uneven, in_three = one_step(model, squares, batch_size=3, gradient_accumulation=2)
    assert at_once.images == in_parts.images == in_three.images == 4
    for figures in (in_parts, in_three):
        assert figures.loss == pytest.approx(at_once.loss, rel=1e-5)
        assert figures.gradient_norm == pytest.approx(at_once.gradient_norm, rel=1e-3)
    for one, two, three in zip(whole, parts, uneven, strict=True):
        assert_close(one, two, atol=2e-3, rtol=1e-2)
        assert_close(one, three, atol=2e-3, rtol=1e-2)


def test_checkpointing_changes_no_gradient(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    losses = []
    for is_on in (False, True):
        recorder = tiny.Recorder()
        settings = tiny.config(epochs=1, repeats=4, gradient_checkpointing=is_on, rank_dropout=0.3)
        tiny.run(tmp_path / str(is_on), settings, prepared, model, recorder)
        losses.append([s.loss for s in recorder.of(StepDone)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.05), (torch.float16, 0.02)])
def test_half_precision_learns_the_same(
    dtype: torch.dtype, tolerance: float, tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    settings = tiny.config(epochs=1, repeats=4)
    losses = []
    for where, lent in (("full", model), ("half", tiny.build_model(dtype=dtype))):
        recorder = tiny.Recorder()
        tiny.run(tmp_path / where, settings, prepared, lent, recorder)
        steps = recorder.of(StepDone)
        assert not any(s.is_skipped for s in steps)
        losses.append([s.loss for s in steps])
    assert losses[1] == pytest.approx(losses[0], rel=tolerance)


def test_an_overflowing_loss_scale_is_lowered_and_training_goes_on(
    tmp_path: Path, prepared: PreparedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lora_forge.train.scaling import LossScaler

    scalers: list[LossScaler] = []

    def high(is_on: bool) -> LossScaler:
        scalers.append(LossScaler(is_on, scale=2.0**30))
        return scalers[-1]

    monkeypatch.setattr("lora_forge.train.step.LossScaler", high)
    recorder = tiny.Recorder()
    settings = tiny.config(epochs=1, repeats=12, state_every_steps=0)
    tiny.run(tmp_path, settings, prepared, tiny.build_model(dtype=torch.float16), recorder)
    skipped = [s.is_skipped for s in recorder.of(StepDone)]
    assert skipped[0]
    assert not skipped[-1]
    assert scalers[0].scale == 2.0 ** (30 - sum(skipped))
