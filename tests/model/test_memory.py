"""The estimate against its closed form, and how it grows."""

from __future__ import annotations

import dataclasses

import pytest

from lora_forge.config import Family, TrainConfig
from lora_forge.model.memory import GIB, MemoryEstimate, trained_numbers, training_memory
from lora_forge.work.memory import memory_sentence

BASE = TrainConfig(resolution_px=512, batch_size=1, rank=16, precision="bf16", gradient_checkpointing=False)


@pytest.fixture(autouse=True)
def on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def beside(family: Family, **changes: object) -> float:
    """GiB that a run takes besides the checkpoint's own weights."""
    found = training_memory(family, dataclasses.replace(BASE, **changes))
    return (found.needed_bytes - found.weights_bytes) / GIB


def test_the_counted_figures_come_out_where_they_were_counted() -> None:
    adapter = 423_936 * 16 * 16 / GIB
    assert beside(Family.SD1) == pytest.approx(0.863 + adapter, abs=1e-3)
    assert beside(Family.SD1, resolution_px=256) == pytest.approx(0.219 + adapter, abs=5e-3)
    assert beside(Family.SD1, gradient_checkpointing=True) == pytest.approx(0.143 * 1.5 + adapter, abs=1e-3)


def test_it_grows_with_area_batch_rank_and_width() -> None:
    adapter = 2_659_840 * 16 * 16 / GIB
    kept = beside(Family.SDXL) - adapter
    assert beside(Family.SDXL, resolution_px=1024) - adapter == pytest.approx(4 * kept, rel=1e-6)
    assert beside(Family.SDXL, batch_size=3) - adapter == pytest.approx(3 * kept, rel=1e-6)
    assert beside(Family.SDXL, rank=32) - kept == pytest.approx(2 * adapter, rel=1e-6)
    assert beside(Family.SDXL, precision="fp32") - adapter == pytest.approx(2 * kept, rel=1e-6)


@pytest.mark.parametrize("family", Family)
def test_automatic_checkpointing_is_one_of_both(family: Family) -> None:
    """Which one is for the free memory to say: by far enough, and by far not."""
    small = dataclasses.replace(BASE, resolution_px=64)
    huge = dataclasses.replace(BASE, resolution_px=2048, batch_size=1024)
    for config, is_on in ((small, False), (huge, True)):
        found = {
            word: training_memory(family, dataclasses.replace(config, gradient_checkpointing=word))
            for word in ("off", "on", "auto")
        }
        assert [each.is_checkpointed for each in found.values()] == [False, True, is_on]
        assert found["auto"].needed_bytes == found["on" if is_on else "off"].needed_bytes
        assert found["on"].needed_bytes < found["off"].needed_bytes


def test_the_weights_count_as_there_and_unknown_memory_fits() -> None:
    assert MemoryEstimate(10, 6, "x", 4).fits
    assert not MemoryEstimate(10, 6, "x", 3).fits
    assert MemoryEstimate(10, 6, "x", None).fits


def test_it_is_said_in_both_languages() -> None:
    said = memory_sentence(Family.SD1, BASE)
    assert said.fits
    english = "At 512 px: about 1.0 GB of memory beside the checkpoint's 2.1 GB; CPU has "
    assert said.sentence.text("en").startswith(english)
    assert said.sentence.text("zh").startswith("512 像素：除底模 2.1 GB 外，约需 1.0 GB；CPU 空闲 ")
    short = memory_sentence(Family.SDXL, dataclasses.replace(BASE, resolution_px=2048, batch_size=64))
    assert not short.fits
    assert "gradient_checkpointing=on takes less" in short.sentence.text("en")


def test_trained_numbers_are_those_of_the_networks() -> None:
    """Ranks of diffusers' own SD1.x and SDXL UNets and transformers' CLIP towers, counted on the meta device."""
    plain = dataclasses.replace(BASE, rank=1, conv_rank=0, te_learning_rate=0.0)
    assert trained_numbers(Family.SD1, plain) == 423_936
    assert trained_numbers(Family.SDXL, plain) == 2_659_840
    assert trained_numbers(Family.SD1, dataclasses.replace(plain, targets=("attention",))) == 199_296
    assert trained_numbers(Family.SD2, dataclasses.replace(plain, te_learning_rate=1e-5)) == 432_128 + 423_936
    assert trained_numbers(Family.SD1, dataclasses.replace(plain, conv_rank=2)) == 423_936 + 2 * 544_000 + 82_880
    assert trained_numbers(Family.SD1, dataclasses.replace(plain, learning_rate=0.0, te_learning_rate=1e-5)) == 165_888
