"""Two as one is their sum, and families are not mixed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lora_forge.errors import LoraFileError
from lora_forge.lora_file.facts import read_facts
from lora_forge.lora_file.merging import check_alike, merge, merged_metadata
from lora_forge.lora_file.writer import LoraFile
from tests.lora_file.adapters import CONV, LINEAR, both, conv, linear, write_file

SDXL = {"lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": (4, 1280)}
SD1 = {"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": (4, 768)}


def test_the_sum_is_exact() -> None:
    first, second = {LINEAR: linear(2, 1)}, {LINEAR: linear(3, 2), CONV: conv(4, 3)}
    made = merge(LoraFile(first, {}), 0.8, LoraFile(second, {}), -0.5, None)
    wanted = 0.8 * first[LINEAR].delta() - 0.5 * second[LINEAR].delta()
    assert torch.allclose(made.weights[LINEAR].delta(), wanted, atol=1e-8)
    assert torch.allclose(made.weights[CONV].delta(), -0.5 * second[CONV].delta(), atol=1e-8)
    assert made.ranks == (4, 5)
    assert made.loss.whole < 1e-6
    assert made.dtype == torch.float32


def test_with_a_rank_the_error_is_told() -> None:
    first, second = both(4, 1, torch.float16), both(4, 7, torch.float16)
    exact = merge(LoraFile(first, {}), 1.0, LoraFile(second, {}), 1.0, None)
    made = merge(LoraFile(first, {}), 1.0, LoraFile(second, {}), 1.0, 3)
    assert made.ranks == (3, 3)
    assert exact.ranks == (8, 8)
    lost = sum(float((made.weights[name].delta() - exact.weights[name].delta()).square().sum()) for name in first)
    whole = sum(float(exact.weights[name].delta().square().sum()) for name in first)
    assert made.loss.whole == pytest.approx((lost / whole) ** 0.5, rel=1e-3)
    assert made.dtype == torch.float16


def test_nothing_of_two_is_refused() -> None:
    file = LoraFile(both(2), {})
    with pytest.raises(LoraFileError, match="Both strengths are 0"):
        merge(file, 0.0, file, 0.0, None)
    assert merge(file, 1.0, file, 0.0, None).ranks == (2, 2)


def test_families_that_differ_are_named(tmp_path: Path) -> None:
    xl, small = write_file(tmp_path / "xl.safetensors", SDXL), write_file(tmp_path / "small.safetensors", SD1)
    with pytest.raises(LoraFileError, match=r"xl.safetensors is for SDXL and small.safetensors for SD1.x"):
        check_alike(read_facts(xl), read_facts(small))
    check_alike(read_facts(xl), read_facts(xl))


def test_words_of_both_are_counted() -> None:
    one = {
        "ss_base_model_version": "sd_v1",
        "ss_learning_rate": "1e-4",
        "modelspec.trigger_phrase": "ohwx",
        "ss_tag_frequency": json.dumps({"10_a": {"ohwx": 5, "smile": 2}}),
    }
    other = {
        "modelspec.trigger_phrase": "sks",
        "ss_tag_frequency": json.dumps({"10_a": {"smile": 1}, "5_b": {"sks": 4}}),
        "sshs_model_hash": "ab",
    }
    made = merged_metadata(one, other, {"files": {"one": 1.0}})
    assert json.loads(made["ss_tag_frequency"]) == {"10_a": {"ohwx": 5, "smile": 3}, "5_b": {"sks": 4}}
    assert made["modelspec.trigger_phrase"] == "ohwx, sks"
    assert made["ss_base_model_version"] == "sd_v1"
    assert "ss_learning_rate" not in made
    assert "sshs_model_hash" not in made
    assert json.loads(made["lora_forge.made_from"]) == {"files": {"one": 1.0}}
