"""Names are kohya's, all of them and no others."""

from __future__ import annotations

import hashlib

import pytest

from lora_forge.config import Family
from lora_forge.lora_file.keys import kohya_name, module_names, parts_of, split_name

# Made with kohya-ss/sd-scripts 48d368fa: networks.lora.create_network on its own full-size UNets and transformers'
# CLIP towers, with and without conv_dim; (family, has_conv): number of names, sha256 of the sorted names.
KOHYA = {
    (Family.SD1, False): (264, "3b0b58f74c4028ff0a5fc6dced3aca89994271e636ccb8378589702b85067cc4"),
    (Family.SD1, True): (350, "44edcda39c26243367a6d85165b42ad157964a5a7c4a8e22d6d6f97b71ee6549"),
    (Family.SD2, False): (330, "1d7e05c4353d4a57668635cc65c95d13ec2e32bf5a67499791ae3228d536476f"),
    (Family.SD2, True): (416, "22bce914ca3c4d0c3f40c169edf08292f1354a7da07845497ed1f006f60b4f9d"),
    (Family.SDXL, False): (986, "1063b91c0a4164d0d184003241903ddb45ea2789384d465a17bbc942e6c871ff"),
    (Family.SDXL, True): (1052, "231dc80db7c1b20b12efab0fb99c7afe268c7a1f392eff7107847e4b2f94d651"),
}


def digest(names: object) -> str:
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()  # type: ignore[call-overload]


@pytest.mark.parametrize(("family", "has_conv"), KOHYA)
def test_the_names_of_a_full_size_model_are_kohyas(family: Family, has_conv: bool) -> None:
    names = [name for part in parts_of(family) for name in module_names(family, part, has_conv=has_conv)]
    assert (len(names), digest(names)) == KOHYA[family, has_conv]


def test_sd15_has_264_modules_and_sdxl_722_in_the_unet() -> None:
    assert len(module_names(Family.SD1, "unet")) == 192
    assert len(module_names(Family.SD1, "te")) == 72
    assert len(module_names(Family.SDXL, "unet")) == 722


@pytest.mark.parametrize("family", list(Family))
def test_every_name_comes_back_from_its_path(family: Family) -> None:
    for part in parts_of(family):
        for name in module_names(family, part, has_conv=True):
            found, path = split_name(name)
            assert found == part
            assert kohya_name(family, part, path) == name


def test_names_as_in_the_format_description() -> None:
    path = "up_blocks.1.attentions.2.transformer_blocks.0.attn2.to_out.0"
    assert kohya_name(Family.SD1, "unet", path) == (
        "lora_unet_up_blocks_1_attentions_2_transformer_blocks_0_attn2_to_out_0"
    )
    assert kohya_name(Family.SDXL, "unet", "down_blocks.1.attentions.0.proj_in") == "lora_unet_input_blocks_4_1_proj_in"
    assert kohya_name(Family.SDXL, "unet", "up_blocks.0.upsamplers.0.conv") == "lora_unet_output_blocks_2_2_conv"
    assert kohya_name(Family.SDXL, "unet", "mid_block.resnets.1.conv_shortcut") == (
        "lora_unet_middle_block_2_skip_connection"
    )


@pytest.mark.parametrize("path", ["text_model.encoder.layers.3.mlp.fc1", "encoder.layers.3.mlp.fc1"])
def test_both_generations_of_transformers_give_one_name(path: str) -> None:
    assert kohya_name(Family.SD1, "te", path) == "lora_te_text_model_encoder_layers_3_mlp_fc1"
    assert kohya_name(Family.SDXL, "te2", path) == "lora_te2_text_model_encoder_layers_3_mlp_fc1"


def test_diffusers_names_are_taken_for_sdxl_too() -> None:
    part, path = split_name("lora_unet_down_blocks_1_attentions_0_proj_in")
    assert kohya_name(Family.SDXL, part, path) == "lora_unet_input_blocks_4_1_proj_in"


@pytest.mark.parametrize(
    "name", ["lora_unet_", "lora_unet", "unet_down_blocks_0", "lora_te3_encoder", "lora_unet_a__b"]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="names no layer"):
        split_name(name)
