"""Settings from files: what means the same is taken with its number, everything else is listed with a reason."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from lora_forge.config import TrainConfig
from lora_forge.errors import ConfigError
from lora_forge.presets import brought
from lora_forge.presets.brought import read_settings
from lora_forge.presets.user import UserPreset

LORA_SCRIPTS = """
[model]
v2 = false
pretrained_model_name_or_path = "./sd-models/model.safetensors"
[dataset]
prior_loss_weight = 0.5
shuffle_caption = true
enable_bucket = true
[additional_network]
network_dim = 64
network_alpha = 32
network_module = "networks.lora"
network_args = ["conv_dim=8", "conv_alpha=4", "loraplus_unet_lr_ratio=4"]
[optimizer]
unet_lr = 2e-4
text_encoder_lr = 1e-5
optimizer_type = "Lion"
optimizer_args = ["weight_decay=0.1", "betas=.9,.99"]
lr_scheduler = "cosine_with_restarts"
lr_warmup_steps = 30
lr_restart_cycles = 2
[training]
resolution = "768,768"
max_train_epochs = 12
clip_skip = 2
mixed_precision = "bf16"
seed = 1337
noise_offset = 0.05
[saving]
save_last_n_epochs = 499
"""
GUI: dict[str, Any] = {
    "LoRA_type": "Standard",
    "learning_rate": "0.0001",
    "unet_lr": 0,
    "text_encoder_lr": 0,
    "network_dim": 32,
    "network_alpha": "13",
    "conv_dim": 32,
    "conv_alpha": 32,
    "optimizer": "AdamW8bit",
    "optimizer_args": "",
    "lr_scheduler": "constant",
    "lr_warmup": "10",
    "epoch": 16,
    "max_train_epochs": "",
    "max_resolution": "1024,1024",
    "train_batch_size": 8,
    "scale_weight_norms": 2.5,
    "min_snr_gamma": 5,
    "seed": "",
    "noise_offset_type": "Original",
    "color_aug": True,
    "xformers": "xformers",
}


def whys(found: brought.Brought) -> dict[str, str]:
    return {one.key: str(one.why) for one in found.left}


def test_lora_scripts_toml_is_taken_where_it_means_the_same() -> None:
    found = read_settings("\ufeff" + LORA_SCRIPTS, "mine.toml")
    assert found.values == {
        "rank": 64, "alpha": 32.0, "conv_rank": 8, "conv_alpha": 4.0, "learning_rate": 2e-4, "te_learning_rate": 1e-5,
        "optimizer": "lion", "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.99, "schedule": "cosine_with_restarts",
        "schedule_cycles": 2, "warmup_steps": 30, "resolution_px": 768, "epochs": 12, "clip_skip": 2,
        "precision": "bf16", "seed": 1337, "noise_offset": 0.05, "prior_weight": 0.5, "shuffle_tags": True,
        "use_buckets": True,
    }  # fmt: skip
    assert "network_dim -> rank" in found.taken
    assert whys(found) == {
        "loraplus_unet_lr_ratio": "Here it counts for both parts of the model.",
        "pretrained_model_name_or_path": "It is chosen on the page, not among the settings.",
        "save_last_n_epochs": "Every file is kept until you choose.",
    }


def test_the_guis_json_is_read_as_the_gui_reads_it() -> None:
    """0 for the UNet's rate is the common one, 0 for the text encoder is off, and a plain LoRA has no convolutions."""
    found = read_settings(json.dumps(GUI), "mine.json")
    assert found.values == {
        "rank": 32, "alpha": 13.0, "learning_rate": 1e-4, "te_learning_rate": 0.0, "optimizer": "adamw8bit",
        "schedule": "constant", "epochs": 16, "resolution_px": 1024, "batch_size": 8, "max_norm": 2.5,
        "min_snr_gamma": 5.0,
    }  # fmt: skip
    assert whys(found) == {
        "lr_warmup": "It is a share of the run there; here it is a number of steps.",
        "color_aug": "Nothing here has this meaning.",
        "xformers": "It concerns the other trainer's own workings.",
    }
    locon = read_settings(json.dumps({**GUI, "LoRA_type": "Kohya LoCon"}), "")
    assert (locon.values["conv_rank"], locon.values["conv_alpha"]) == (32, 32.0)


def test_a_data_sets_toml_is_read_and_several_sets_are_not_guessed() -> None:
    one = "[general]\nenable_bucket = true\n[[datasets]]\nresolution = 512\nbatch_size = 4\n"
    found = read_settings(one + "[[datasets.subsets]]\nimage_dir = 'x'\nnum_repeats = 7\nkeep_tokens = 2\n")
    assert found.values == {
        "use_buckets": True, "resolution_px": 512, "batch_size": 4, "repeats": 7, "keep_tokens": 2
    }  # fmt: skip
    both = read_settings(one + "[[datasets.subsets]]\nnum_repeats = 7\n[[datasets.subsets]]\nnum_repeats = 9\n")
    assert "repeats" not in both.values
    assert whys(both)["subsets"].startswith("It has several sets")


@pytest.mark.parametrize(
    ("plain", "values", "left"),
    [
        ({"learning_rate": 3e-4}, {"learning_rate": 3e-4, "te_learning_rate": 3e-4}, set()),
        ({"learning_rate": 3e-4, "network_train_unet_only": True}, {"learning_rate": 3e-4, "te_learning_rate": 0.0},
         set()),
        ({"text_encoder_lr": [1e-5, 2e-5]}, {}, {"text_encoder_lr"}),
        ({"network_dim": 8}, {"rank": 8, "alpha": 1.0}, set()),
        ({"network_dim": 8, "network_module": "lycoris.kohya", "network_args": ["algo=lokr"]}, {},
         {"network_dim", "network_args", "network_module"}),
        ({"resolution": "512,650"}, {}, {"resolution"}),
        ({"resolution": [640, 640]}, {"resolution_px": 640}, set()),
        ({"optimizer_type": "AdaFactor"}, {}, {"optimizer_type"}),
        ({"optimizer_type": "AdaFactor", "optimizer_args": ["relative_step=False", "scale_parameter=False"]},
         {"optimizer": "adafactor", "weight_decay": 0.0}, set()),
        ({"optimizer_type": "Prodigy", "optimizer_args": ["decouple=True", "d_coef=2"]},
         {"optimizer": "prodigy", "weight_decay": 0.0}, {"d_coef"}),
        ({"optimizer_type": "DAdaptAdam"}, {}, {"optimizer_type"}),
        ({"lr_scheduler": "polynomial", "lr_scheduler_power": 1}, {}, {"lr_scheduler"}),
        ({"lr_warmup_steps": 0.1}, {}, {"lr_warmup_steps"}),
        ({"max_train_steps": 1600}, {}, {"max_train_steps"}),
        ({"max_train_epochs": 4, "max_train_steps": 1600}, {"epochs": 4}, {"max_train_steps"}),
        ({"network_dim": 4096}, {"alpha": 1.0}, {"rank"}),
        ({"model_train_type": "flux-lora", "network_dim": 8}, {}, {"model_train_type"}),
        ({"seed": 0, "cache_latents": False, "color_aug": False, "keep_tokens": 1}, {"keep_tokens": 1}, set()),
    ],
)  # fmt: skip
def test_what_means_something_else_is_left(plain: dict[str, Any], values: dict[str, Any], left: set[str]) -> None:
    found = read_settings(json.dumps(plain))
    assert dict(found.values) == values
    assert set(whys(found)) == left
    assert all("{" not in one.why.text("zh") for one in found.left)


def test_our_own_files_come_back_whole() -> None:
    mine = UserPreset("soft", "style", {"rank": 8, "preview_prompts": ["a", "b"]})
    found = read_settings(json.dumps(mine.plain()))
    assert (found.kind, found.name, dict(found.values), found.left) == ("style", "soft", dict(mine.values), ())
    run = TrainConfig(name="x", trigger_word="ohwx", rank=7)
    of_run = read_settings(json.dumps({**run.to_dict(), "later": 1}), "config.json")
    assert TrainConfig(name="x", trigger_word="ohwx").replace(**of_run.values) == run
    assert whys(of_run) == {"later": "There is no such setting here."}
    bad = read_settings(json.dumps({**mine.plain(), "values": {"rank": 0, "alpha": 4}}))
    assert dict(bad.values) == {"alpha": 4.0}
    assert whys(bad) == {"rank": "rank is 0, it must be 1 to 1024"}


@pytest.mark.parametrize("text", ["", "{", "[]", '"a"', "{}", "a = ", "a", "[" * 5000, '{"a":' * 5000])
def test_what_holds_no_settings_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"can't be read as settings|holds no settings"):
        read_settings(text, "some.json" if text[:1] in '{["' else "some.toml")


def test_without_a_reader_for_toml_json_is_still_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tomllib", "tomli", "pip._vendor.tomli"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match="no reader for TOML"):
        read_settings("a = 1", "a.toml")
    assert read_settings('{"network_dim": 4}').values["rank"] == 4
