"""Metadata says what hosts read, in the form they read it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pytest

from lora_forge.config import Family, PredictionType, TrainConfig
from lora_forge.lora_file.metadata import DatasetFacts, RunFacts, build_metadata, dataset_facts
from lora_forge.ports import BaseInfo

STEM = "ohwx-000003"


class Bucket(NamedTuple):
    width: int
    height: int


PORTRAIT, LANDSCAPE = Bucket(512, 768), Bucket(768, 512)


@dataclass(frozen=True)
class Image:
    caption: str
    group: str = "ohwx"
    repeats: int | None = None
    is_prior: bool = False
    bucket: Bucket = PORTRAIT


IMAGES = [
    Image("ohwx, Red dress, smile"),
    Image("ohwx, smile", bucket=LANDSCAPE),
    Image("ohwx", "ohwx", 3),
    Image("a woman", "women", 1, is_prior=True),
]


def facts(family: Family = Family.SD1, prediction: PredictionType = "epsilon", **changes: Any) -> RunFacts:
    return RunFacts(
        info=BaseInfo("base.safetensors", family, prediction, "a test", sha256="ab" * 32, legacy_hash="1234abcd"),
        config=TrainConfig(name="ohwx", trigger_word="ohwx", rank=8, alpha=4.0).replace(**changes),
        dataset=dataset_facts(IMAGES, 10),
        epoch=3,
        step=72,
        steps_per_epoch=24,
        total_steps=240,
        started_at=1_700_000_000.25,
        saved_at=1_700_000_100.5,
        precision="bf16",
        session="77",
    )


def test_images_are_counted_as_kohya_counts() -> None:
    found = dataset_facts(IMAGES, 10)
    assert found.folders == {
        "10_ohwx": {"n_repeats": 10, "img_count": 2},
        "3_ohwx": {"n_repeats": 3, "img_count": 1},
    }
    assert found.prior_folders == {"1_women": {"n_repeats": 1, "img_count": 1}}
    assert found.tags == {"10_ohwx": {"ohwx": 2, "red dress": 1, "smile": 2}, "3_ohwx": {"ohwx": 1}}
    assert found.buckets == {(512, 768): 14, (768, 512): 10}
    assert (found.train_images, found.prior_images) == (23, 1)


def test_values_are_as_hosts_parse_them() -> None:
    metadata = build_metadata(facts(), STEM)
    assert all(isinstance(key, str) and isinstance(value, str) for key, value in metadata.items())
    assert float(metadata["ss_training_started_at"]) == 1_700_000_000.25
    assert float(metadata["ss_training_finished_at"]) == 1_700_000_100.5
    decoded = {key: json.loads(value) for key, value in metadata.items() if value.startswith("{")}
    assert set(decoded) == {"ss_bucket_info", "ss_dataset_dirs", "ss_reg_dataset_dirs", "ss_tag_frequency"}
    # A1111's editor: .items() of dataset_dirs with img_count, bucket_info["buckets"] with resolution and count.
    assert {k: v["img_count"] for k, v in decoded["ss_dataset_dirs"].items()} == {"10_ohwx": 2, "3_ohwx": 1}
    assert [(b["resolution"], b["count"]) for b in decoded["ss_bucket_info"]["buckets"].values()] == [
        ([512, 768], 14),
        ([768, 512], 10),
    ]
    assert decoded["ss_tag_frequency"]["10_ohwx"]["smile"] == 2


def test_fields_that_hosts_and_other_tools_read() -> None:
    metadata = build_metadata(facts(conv_rank=4, te_learning_rate=5e-5, min_snr_gamma=5.0), STEM)
    expected = {
        "ss_output_name": STEM,
        "ss_sd_model_name": "base.safetensors",
        "ss_sd_model_hash": "1234abcd",
        "ss_new_sd_model_hash": "ab" * 32,
        "ss_network_module": "networks.lora",
        "ss_network_dim": "8",
        "ss_network_alpha": "4.0",
        "ss_learning_rate": "0.0001",
        "ss_unet_lr": "0.0001",
        "ss_text_encoder_lr": "5e-05",
        "ss_lr_scheduler": "cosine",
        "ss_epoch": "3",
        "ss_steps": "72",
        "ss_num_epochs": "10",
        "ss_max_train_steps": "240",
        "ss_num_batches_per_epoch": "24",
        "ss_batch_size_per_device": "1",
        "ss_total_batch_size": "1",
        "ss_seed": "0",
        "ss_mixed_precision": "bf16",
        "ss_min_snr_gamma": "5.0",
        "ss_noise_offset": "None",
        "ss_clip_skip": "1",
        "ss_session_id": "77",
        "ss_resolution": "(512, 512)",
        "ss_num_train_images": "23",
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.title": STEM,
        "modelspec.date": "2023-11-14T22:15:00",
        "modelspec.resolution": "512x512",
        "modelspec.trigger_phrase": "ohwx",
        "modelspec.implementation": "diffusers",
    }
    assert {key: metadata.get(key) for key in expected} == expected
    assert json.loads(metadata["ss_network_args"]) == {"conv_dim": "4", "conv_alpha": "2.0"}
    assert metadata["ss_optimizer"].startswith("adamw")


@pytest.mark.parametrize(
    ("family", "prediction", "version", "is_v2", "architecture"),
    [
        (Family.SD1, "epsilon", "sd_v1", "False", "stable-diffusion-v1/lora"),
        (Family.SD2, "epsilon", "sd_v2", "True", "stable-diffusion-v2-512/lora"),
        (Family.SD2, "v_prediction", "sd_v2_v", "True", "stable-diffusion-v2-768-v/lora"),
        (Family.SDXL, "epsilon", "sdxl_base_v1-0", "False", "stable-diffusion-xl-v1-base/lora"),
        (Family.SDXL, "v_prediction", "sdxl_base_v1-0", "False", "stable-diffusion-xl-v1-base/lora"),
    ],
)
def test_each_family_is_recognised(
    family: Family, prediction: PredictionType, version: str, is_v2: str, architecture: str
) -> None:
    metadata = build_metadata(facts(family, prediction), STEM)
    assert metadata["ss_base_model_version"] == version
    assert metadata["ss_v2"] == is_v2
    assert metadata["modelspec.architecture"] == architecture
    assert metadata["modelspec.prediction_type"] == ("v" if prediction == "v_prediction" else "epsilon")
    # The hosts' own rules, in their order (A1111 1.10.1 and Forge, extensions-builtin network.py).
    a1111 = "SDXL" if version.startswith("sdxl_") else "SD2" if is_v2 == "True" else "SD1"
    forge = "SDXL" if architecture == "stable-diffusion-xl-v1-base/lora" else "SD2" if is_v2 == "True" else "SD1"
    assert a1111 == forge == {"sd1": "SD1", "sd2": "SD2", "sdxl": "SDXL"}[family.value]


def test_unknown_and_unwritable_values_do_no_harm() -> None:
    run = facts()
    info = replace(run.info, sha256="", legacy_hash="")
    folder = {"10_\udcffx": {"n_repeats": 10, "img_count": 1}}  # a Linux folder name that is not UTF-8
    metadata = build_metadata(replace(run, info=info, dataset=DatasetFacts(folders=folder)), STEM)
    assert metadata["ss_new_sd_model_hash"] == metadata["ss_sd_model_hash"] == "None"
    assert json.loads(metadata["ss_dataset_dirs"]) == {"10_?x": {"n_repeats": 10, "img_count": 1}}
    assert json.loads(metadata["ss_tag_frequency"]) == {}
