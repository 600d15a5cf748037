"""What any LoRA file tells: ours, kohya's, LyCORIS', bare and damaged ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lora_forge.config import Family, TrainConfig
from lora_forge.errors import LoraFileError
from lora_forge.lora_file.facts import read_facts
from lora_forge.lora_file.metadata import build_metadata
from lora_forge.lora_file.trained_with import settings_of
from lora_forge.lora_file.writer import save_lora
from tests.lora_file.adapters import both, write_file
from tests.lora_file.test_metadata import facts as run_facts

KOHYA = {
    "ss_sd_model_name": "anylora.safetensors",
    "ss_base_model_version": "sd_v1",
    "ss_network_module": "networks.lora",
    "ss_network_dim": "64",
    "ss_network_alpha": "32.0",
    "ss_network_args": json.dumps({"conv_dim": "8", "conv_alpha": "4"}),
    "ss_learning_rate": "0.0001",
    "ss_unet_lr": "0.0002",
    "ss_text_encoder_lr": "5e-05",
    "ss_optimizer": "bitsandbytes.optim.adamw.AdamW8bit(weight_decay=0.1,betas=(0.9, 0.99))",
    "ss_lr_scheduler": "cosine_with_restarts",
    "ss_lr_warmup_steps": "50",
    "ss_num_epochs": "12",
    "ss_clip_skip": "2",
    "ss_resolution": "(768, 768)",
    "ss_min_snr_gamma": "5.0",
    "ss_noise_offset": "None",
    "ss_batch_size_per_device": "2",
    "ss_flip_aug": "True",
    "ss_shuffle_caption": "True",
    "ss_keep_tokens": "1",
    "ss_dataset_dirs": json.dumps({"10_miku": {"n_repeats": 10, "img_count": 20}}),
    "ss_tag_frequency": json.dumps({"10_miku": {"1girl": 20, "miku": 20, "smile": 12, " twintails ": 3}}),
}
SD1 = {
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": (64, 768),
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_up.weight": (320, 64),
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.alpha": (),
    "lora_unet_down_blocks_0_resnets_0_conv1.lora_down.weight": (8, 320, 3, 3),
    "lora_unet_down_blocks_0_resnets_0_conv1.lora_up.weight": (320, 8, 1, 1),
    "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": (64, 768),
}


def test_kohyas_file_is_read(tmp_path: Path) -> None:
    found = read_facts(write_file(tmp_path / "miku.safetensors", SD1, KOHYA))
    assert (found.kind, found.family, found.layers, found.text_layers, found.conv_layers) == (
        "LoCon", Family.SD1, 3, 1, 1,
    )  # fmt: skip
    assert found.ranks == ((64, 2), (8, 1))
    assert found.alphas == ((0.0, 1),)
    assert found.trigger_word == "miku"
    assert [(one.word, one.count, one.share) for one in found.words] == [
        ("1girl", 20, 1.0),
        ("miku", 20, 1.0),
        ("smile", 12, 0.6),
        ("twintails", 3, 0.15),
    ]
    assert not found.is_ours


def test_kohyas_settings_are_ours_where_they_mean_the_same() -> None:
    found = settings_of(KOHYA)
    assert dict(found.values) == {
        "learning_rate": 2e-4,
        "te_learning_rate": 5e-5,
        "rank": 64,
        "alpha": 32.0,
        "conv_rank": 8,
        "conv_alpha": 4.0,
        "optimizer": "adamw8bit",
        "weight_decay": 0.1,
        "beta1": 0.9,
        "beta2": 0.99,
        "schedule": "cosine_with_restarts",
        "warmup_steps": 50,
        "epochs": 12,
        "clip_skip": 2,
        "resolution_px": 768,
        "min_snr_gamma": 5.0,
        "batch_size": 2,
        "flip": True,
        "shuffle_tags": True,
        "keep_tokens": 1,
        "repeats": 10,
    }
    assert found.left == ()


def test_what_means_something_else_is_left_with_a_reason() -> None:
    found = settings_of({**KOHYA, "ss_network_module": "lycoris.kohya", "ss_multires_noise_iterations": "6"})
    assert "rank" not in found.values
    left = {one.key: one.why.text() for one in found.left}
    assert "lycoris.kohya" in left["network_module"]
    assert "multires_noise_iterations" in left


@pytest.mark.parametrize("optimizer", ["adamw", "prodigy", "adafactor", "lion"])
def test_our_own_settings_come_back(optimizer: str) -> None:
    config = TrainConfig(
        name="ohwx",
        rank=24,
        gradient_checkpointing="off",
        alpha=12.0,
        conv_rank=6,
        conv_alpha=3.0,
        learning_rate=3e-4,
        te_learning_rate=4e-5,
        optimizer=optimizer,  # type: ignore[arg-type]
        weight_decay=0.03,
        beta2=0.99,
        schedule="linear",
        warmup_steps=7,
        epochs=6,
        repeats=10,
        resolution_px=640,
        bucket_min_px=320,
        bucket_max_px=960,
        min_snr_gamma=5.0,
        flip=True,
        clip_skip=2,
        batch_size=3,
        gradient_accumulation=2,
        noise_offset=0.05,
        max_norm=1.0,
        rank_dropout=0.1,
        lora_plus_ratio=4.0,
        keep_tokens=2,
        tag_dropout=0.2,
        caption_dropout=0.1,
        use_buckets=False,
    )
    values = {key: value for key, value in config.to_dict().items() if key not in ("name", "trigger_word", "seed")}
    made = run_facts(**values)
    metadata = build_metadata(made, "ohwx-000003")
    found = dict(settings_of({**metadata, "ss_dataset_dirs": '{"10_a": {"n_repeats": 10, "img_count": 3}}'}).values)
    told = {key for key in found if getattr(config, key) != found[key]}
    assert told == set()
    assert len(found) >= 28
    assert {"optimizer", "beta2", "weight_decay", "rank_dropout", "lora_plus_ratio", "max_norm"} <= set(found)


def test_our_own_file_tells_its_word_and_alpha(tmp_path: Path) -> None:
    path = tmp_path / "ohwx-000003.safetensors"
    save_lora(path, both(4, dtype=torch.float16, alpha=2.5), build_metadata(run_facts(), "ohwx-000003"))
    found = read_facts(path)
    assert found.is_ours
    assert found.trigger_word == "ohwx"
    assert found.alphas == ((2.5, 2),)
    assert found.ranks == ((4, 2),)
    assert [(one.word, one.count) for one in found.words[:2]] == [("ohwx", 3), ("smile", 2)]
    assert found.family is Family.SD1


@pytest.mark.parametrize(
    ("shapes", "metadata", "family"),
    [
        ({"lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": (4, 1280)}, None, "SDXL"),
        ({"lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down.weight": (4, 2048)}, None, "SDXL"),
        ({"lora_unet_mid_block_attentions_0_blocks_0_attn2_to_v.lora_down.weight": (4, 1024)}, None, "SD2.x"),
        ({"lora_unet_x.lora_down.weight": (4, 320)}, {"ss_base_model_version": "sdxl_base_v1-0"}, "SDXL"),
        ({"lora_unet_x.lora_down.weight": (4, 320)}, {"ss_v2": "True", "ss_base_model_version": "sd_v2"}, "SD2.x"),
        ({"lora_unet_x.lora_down.weight": (4, 320)}, {"modelspec.architecture": "stable-diffusion-v1/lora"}, "SD1.x"),
        ({"lora_unet_x.lora_down.weight": (4, 320)}, None, ""),
        ({"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": (4, 3072)}, None, "Flux"),
    ],
)  # fmt: skip
def test_the_family_by_layers_then_by_words(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], metadata: dict[str, str] | None, family: str
) -> None:
    assert read_facts(write_file(tmp_path / "a.safetensors", shapes, metadata)).family_name == family


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("lora_unet_x.hada_w1_b", "LoHa"),
        ("lora_unet_x.lokr_w2_b", "LoKr"),
        ("lora_unet_x.oft_blocks", "OFT"),
        ("unet.down.lora_A.weight", "LoRA (diffusers)"),
    ],
)
def test_other_kinds_tell_their_metadata_too(tmp_path: Path, key: str, kind: str) -> None:
    found = read_facts(write_file(tmp_path / "a.safetensors", {key: (4, 16)}, KOHYA))
    assert found.kind == kind
    assert found.trigger_word == "miku"


def test_a_bare_file_tells_nothing_and_is_no_error(tmp_path: Path) -> None:
    found = read_facts(write_file(tmp_path / "a.safetensors", {"lora_unet_x.lora_down.weight": (4, 320)}))
    assert (found.trigger_word, found.words, found.problems) == ("", (), ())
    assert dict(settings_of(found.metadata).values) == {}


@pytest.mark.parametrize("value", ["{", '{"a": 1}', "[1, 2]", "None", "", '{"a": {"b": "c"}, "d": null}', "(" * 5000])
def test_damaged_metadata_is_read_around(tmp_path: Path, value: str) -> None:
    broken = dict.fromkeys(KOHYA, value)
    found = read_facts(write_file(tmp_path / "a.safetensors", SD1, broken))
    assert found.kind == "LoCon"
    assert found.words == ()
    settings_of(found.metadata)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04abc", b"<html>", b"\x80\x04abc", b"\x10\0\0\0\0\0\0\0{}"])
def test_what_is_no_lora_is_told_plainly(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(LoraFileError):
        read_facts(tmp_path / "a.safetensors")
    with pytest.raises(LoraFileError):
        read_facts(tmp_path / "gone.safetensors")
