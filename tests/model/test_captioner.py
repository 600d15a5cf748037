"""A tiny BLIP of random weights, made on the spot by transformers' own classes and read back from its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from lora_forge.errors import TrainingError
from lora_forge.model.captioner import BlipCaptioner, find_captioners

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]", "a", "red", "woman", "dress", "in"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

    root = tmp_path_factory.mktemp("captioners")
    folder = root / "tiny-blip"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    text: dict[str, Any] = {
        **sizes, "vocab_size": len(WORDS), "encoder_hidden_size": 32, "max_position_embeddings": 128,
        "bos_token_id": 5, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0,
    }  # fmt: skip
    config = BlipConfig(
        text_config=text, vision_config={**sizes, "image_size": 32, "patch_size": 16}, projection_dim=16
    )
    torch.manual_seed(0)
    BlipForConditionalGeneration(config).save_pretrained(folder)
    images = BlipImageProcessor(size={"height": 32, "width": 32})
    BlipProcessor(images, BertTokenizer(str(folder / "vocab.txt"))).save_pretrained(folder)
    (root / "other").mkdir()
    (root / "other" / "config.json").write_text(json.dumps({"model_type": "llava"}))
    (root / "other" / "model.safetensors").write_bytes(b"x")
    (root / "empty").mkdir()
    return root


def test_only_blip_with_weights_counts(models: Path) -> None:
    assert [(one.id, one.kind) for one in find_captioners([models, models / "none"])] == [
        ("blip:tiny-blip", "sentence")
    ]
    assert [one.id for one in find_captioners([models / "tiny-blip"])] == ["blip:tiny-blip"]


def test_it_writes_words_of_its_own_vocabulary_the_same_each_time(models: Path) -> None:
    captioner = BlipCaptioner(models / "tiny-blip")
    image = Image.new("RGB", (50, 30), (200, 30, 40))
    state = torch.get_rng_state()
    first = captioner(image)
    assert torch.equal(torch.get_rng_state(), state), "no global generator is read or moved"
    assert first == captioner(image)
    assert first
    assert set(first.split()) <= set(WORDS)
    other = BlipCaptioner(models / "tiny-blip")(Image.new("RGB", (50, 30), (200, 30, 40)))
    assert other == first


def test_a_folder_that_is_torn_ends_in_a_sentence(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "torn"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "blip"}))
    (folder / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(TrainingError, match="can't be loaded as a BLIP model"):
        find_captioners([tmp_path])[0](Image.new("RGB", (8, 8)))
