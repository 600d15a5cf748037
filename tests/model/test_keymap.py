"""Our name maps against diffusers' own converters, on layouts written from LDM's constructors."""

import pytest
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

from lora_forge.config import Family
from lora_forge.model import configs, keymap

from . import ldm

SIZES = {
    "sd1": (ldm.SD1, Family.SD1),
    "sd2": (ldm.SD2, Family.SD2),
    "sdxl": (ldm.SDXL, Family.SDXL),
    "toy_sd1": (ldm.TOY_SD1, Family.SD1),
    "toy_sdxl": (ldm.TOY_SDXL, Family.SDXL),
}


def test_the_layouts_of_the_tests_are_the_real_ones() -> None:
    counts = {name: (len(ldm.unet(size)), len(ldm.vae(size))) for name, (size, _) in SIZES.items()}
    assert counts["sd1"] == (686, 248)
    assert counts["sd2"] == (686, 248)
    assert counts["sdxl"] == (1680, 248)


@pytest.mark.parametrize("name", SIZES)
def test_unet_names_are_diffusers_names(name: str) -> None:
    size, family = SIZES[name]
    shapes = ldm.unet(size)
    config = configs.unet_config(shapes, family)
    state = ldm.expanded_state(shapes)
    theirs = {key: tensor.data_ptr() for key, tensor in convert_ldm_unet_checkpoint(state, config).items()}
    cut = len(keymap.UNET_PREFIX)
    ours = {keymap.unet_name(key[cut:], 2): tensor.data_ptr() for key, tensor in state.items()}
    assert ours == theirs


@pytest.mark.parametrize("name", SIZES)
def test_vae_names_are_diffusers_names(name: str) -> None:
    size, _ = SIZES[name]
    state = ldm.expanded_state(ldm.vae(size))
    config = configs.vae_config(ldm.vae(size), 0.18215)
    theirs = {key: tensor.data_ptr() for key, tensor in convert_ldm_vae_checkpoint(state, config).items()}
    cut = len(keymap.VAE_PREFIX)
    ours = {keymap.vae_name(key[cut:], 4): tensor.data_ptr() for key, tensor in state.items()}
    assert ours == theirs


@pytest.mark.parametrize("key", ["input_blocks.1.0.strange.weight", "nothing.weight", "middle_block.3.norm.weight"])
def test_unknown_unet_names_have_no_diffusers_name(key: str) -> None:
    assert keymap.unet_name(key, 2) is None


def test_old_text_files_without_the_text_model_level_and_their_counts() -> None:
    assert keymap.clip_name("encoder.layers.0.mlp.fc1.bias") == "text_model.encoder.layers.0.mlp.fc1.bias"
    assert keymap.clip_name("text_model.embeddings.position_ids") is None
    assert keymap.open_clip_names("logit_scale") == ()
    fused = keymap.open_clip_names("transformer.resblocks.3.attn.in_proj_bias")
    assert fused == tuple(f"text_model.encoder.layers.3.self_attn.{part}_proj.bias" for part in "qkv")


def test_configs_of_full_size_checkpoints() -> None:
    sd1 = configs.unet_config(ldm.unet(ldm.SD1), Family.SD1)
    assert sd1["block_out_channels"] == (320, 640, 1280, 1280)
    assert sd1["attention_head_dim"] == 8
    assert sd1["down_block_types"] == ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    assert sd1["cross_attention_dim"] == 768
    assert sd1["layers_per_block"] == 2
    assert not sd1["use_linear_projection"]
    sd2 = configs.unet_config(ldm.unet(ldm.SD2), Family.SD2)
    assert sd2["attention_head_dim"] == (5, 10, 20, 20)
    assert sd2["use_linear_projection"]
    sdxl = configs.unet_config(ldm.checkpoint(ldm.SDXL), Family.SDXL)
    assert sdxl["transformer_layers_per_block"] == (1, 2, 10)
    assert sdxl["attention_head_dim"] == (5, 10, 20)
    assert sdxl["projection_class_embeddings_input_dim"] == 2816
    assert sdxl["addition_time_embed_dim"] == 256
    vae = configs.vae_config(ldm.vae(ldm.SD1), 0.18215)
    assert vae["block_out_channels"] == (128, 256, 512, 512)
    assert vae["layers_per_block"] == 2
