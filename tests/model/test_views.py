"""One copy of the weights: pointers, outputs, and the traps of tensors made by somebody else."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    create_unet_diffusers_config_from_ldm,
    create_vae_diffusers_config_from_ldm,
)
from transformers import CLIPTextConfig, CLIPTextModel

from lora_forge.config import Family
from lora_forge.errors import CheckpointError
from lora_forge.model.detect import CheckpointFacts, describe
from lora_forge.model.views import build_text_towers, build_unet, build_vae, shapes_of, share

from . import ldm

TOYS = {"sd1": ldm.TOY_SD1, "sd2": ldm.TOY_SD2, "sdxl": ldm.TOY_SDXL}
FULL = {"sd1": ldm.SD1, "sd2": ldm.SD2, "sdxl": ldm.SDXL}
State = dict[str, torch.Tensor]


def facts_of(state: State) -> CheckpointFacts:
    facts = describe(shapes_of(state), {}, None, "a.safetensors")
    return dataclasses.replace(facts, te_heads=4, te2_heads=2)


def ldm_yaml(size: ldm.Sizes) -> dict[str, Any]:
    """The LDM config from which diffusers makes its own."""
    levels = len(size.mult)
    unet: dict[str, Any] = {
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": size.width,
        "channel_mult": list(size.mult),
        "num_res_blocks": 2,
        "attention_resolutions": [2**level for level in range(levels) if size.depth[level]],
        "transformer_depth": [depth or 1 for depth in size.depth] if size.added else 1,
        "context_dim": size.context,
    }
    if size.is_linear:
        unet |= {"use_linear_in_transformer": True, "num_head_channels": 64}
    else:
        unet["num_heads"] = 8
    if size.added:
        unet |= {"num_classes": "sequential", "adm_in_channels": size.added}
    vae = {
        "in_channels": 3,
        "out_ch": 3,
        "ch": size.vae_width,
        "ch_mult": list(size.vae_mult),
        "z_channels": 4,
        "num_res_blocks": size.vae_layers,
    }
    return {"model": {"params": {"unet_config": {"params": unet}, "first_stage_config": {"params": {"ddconfig": vae}}}}}


def plain_unet(state: State, size: ldm.Sizes) -> UNet2DConditionModel:
    """diffusers' own way: its config maker, its converter, its copying load."""
    config = create_unet_diffusers_config_from_ldm(ldm_yaml(size), state)
    if size.added:  # diffusers knows SDXL by its full width alone
        config |= {"class_embed_type": None, "addition_embed_type": "text_time", "addition_time_embed_dim": 32}
    else:
        config.pop("addition_time_embed_dim", None)
    unet = UNet2DConditionModel(**config)
    unet.load_state_dict(convert_ldm_unet_checkpoint(dict(state), config))
    return unet.eval()


@pytest.mark.parametrize("name", TOYS)
@torch.no_grad()
def test_the_unet_equals_a_plain_diffusers_load_bit_for_bit(name: str) -> None:
    size, state = TOYS[name], ldm.random_state(ldm.checkpoint(TOYS[name]))
    ours, theirs = build_unet(state, facts_of(state)), plain_unet(state, size)
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(2, 4, 16, 16, generator=generator)
    text = torch.randn(2, 77, size.context, generator=generator)
    added = (
        {"text_embeds": torch.randn(2, size.text2_width, generator=generator), "time_ids": torch.rand(2, 6) * 512}
        if size.added
        else None
    )
    outputs = [unet(latents, torch.tensor([3, 900]), text, added_cond_kwargs=added).sample for unet in (ours, theirs)]
    assert torch.equal(*outputs)
    assert outputs[0].std() > 1e-3


@pytest.mark.parametrize("name", TOYS)
@torch.no_grad()
def test_the_vae_equals_a_plain_diffusers_load_bit_for_bit(name: str) -> None:
    state = ldm.random_state(ldm.checkpoint(TOYS[name]))
    config = create_vae_diffusers_config_from_ldm(ldm_yaml(TOYS[name]), state)
    theirs = AutoencoderKL(**config)
    theirs.load_state_dict(convert_ldm_vae_checkpoint(dict(state), config))
    ours = build_vae(state, facts_of(state))
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert torch.equal(ours.encode(image).latent_dist.mean, theirs.eval().encode(image).latent_dist.mean)
    latent = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    assert torch.equal(ours.decode(latent).sample, theirs.decode(latent).sample)


def pointers(state: State, prefix: str) -> set[int]:
    return {tensor.data_ptr() for key, tensor in state.items() if key.startswith(prefix)}


@pytest.mark.parametrize("name", FULL)
@pytest.mark.parametrize("is_toy", [True, False])
def test_every_unet_and_vae_tensor_is_the_tensor_that_was_read(name: str, is_toy: bool) -> None:
    shapes = ldm.checkpoint(TOYS[name] if is_toy else FULL[name])
    state = ldm.random_state(shapes) if is_toy else ldm.expanded_state(shapes)
    facts = describe(shapes_of(state), {}, None, "a.safetensors")
    unet, vae = build_unet(state, facts).state_dict(), build_vae(state, facts).state_dict()
    assert {tensor.data_ptr() for tensor in unet.values()} == pointers(state, "model.diffusion_model.")
    assert {tensor.data_ptr() for tensor in vae.values()} == pointers(state, "first_stage_model.")
    if not is_toy:
        assert (len(unet), len(vae)) == (1680 if name == "sdxl" else 686, 248)


@pytest.mark.parametrize("name", FULL)
def test_text_towers_share_memory_too(name: str) -> None:
    """OpenCLIP's fused and transposed weights included; full-size SDXL, SD2 (23 layers) and SD1."""
    state = ldm.expanded_state(ldm.checkpoint(FULL[name]))
    towers = build_text_towers(state, describe(shapes_of(state), {}, None, "a.safetensors"))
    given = pointers(state, "cond_stage_model.") | pointers(state, "conditioner.")
    for tower in towers:
        assert {parameter.untyped_storage().data_ptr() for parameter in tower.module.parameters()} <= given
    counts = {"sd1": [196], "sd2": [372], "sdxl": [196, 517]}
    assert [len(list(tower.module.parameters())) for tower in towers] == counts[name]
    assert [(tower.prefix, tower.pad_token_id) for tower in towers] == {
        "sd1": [("lora_te", 49407)],
        "sd2": [("lora_te", 0)],
        "sdxl": [("lora_te1", 49407), ("lora_te2", 0)],
    }[name]
    assert towers[-1].module.config.num_attention_heads == {"sd1": 12, "sd2": 16, "sdxl": 20}[name]


@pytest.mark.parametrize("name", TOYS)
def test_modules_are_frozen_in_eval_and_nothing_is_left_on_meta(name: str) -> None:
    state = ldm.random_state(ldm.checkpoint(TOYS[name]))
    facts = facts_of(state)
    for module in (
        build_unet(state, facts),
        build_vae(state, facts),
        *(t.module for t in build_text_towers(state, facts)),
    ):
        assert not module.training
        assert not any(parameter.requires_grad for parameter in module.parameters())
        assert not any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers()))


def test_inference_tensors_can_be_trained_on() -> None:
    """Forge's weights: made under inference_mode, autograd refuses them until they are shared anew."""
    with torch.inference_mode():
        state = ldm.random_state(ldm.checkpoint(ldm.TOY_SD1))
        weight = torch.ones(2, 2)
    assert weight.is_inference()
    assert not share(weight).is_inference()
    assert share(weight).data_ptr() == weight.data_ptr()
    with torch.inference_mode():  # even when the host lends its model from within inference_mode
        unet = build_unet(state, facts_of(state))
    assert {tensor.data_ptr() for tensor in unet.state_dict().values()} == pointers(state, "model.diffusion_model.")
    latents = torch.randn(1, 4, 8, 8, requires_grad=True)
    unet(latents, 5, torch.zeros(1, 77, 64)).sample.square().mean().backward()
    assert latents.grad is not None
    assert bool(latents.grad.abs().sum() > 0)


def test_share_keeps_offset_strides_and_dtype() -> None:
    base = torch.arange(24, dtype=torch.float16).reshape(4, 6)
    part = base[1:, ::2].t()
    alias = share(part)
    assert alias.data_ptr() == part.data_ptr()
    assert alias.stride() == part.stride()
    assert torch.equal(alias, part)
    assert alias.dtype is torch.float16
    base[1, 0] = 99
    assert alias[0, 0] == 99


@torch.no_grad()
def test_clip_equals_a_plain_transformers_load() -> None:
    state = ldm.random_state(ldm.checkpoint(ldm.TOY_SD1))
    config = CLIPTextConfig(
        hidden_size=64, intermediate_size=256, num_hidden_layers=3, num_attention_heads=4, hidden_act="quick_gelu"
    )
    theirs = CLIPTextModel(config).eval()
    prefix = "cond_stage_model.transformer."
    cut = prefix + "text_model." if not any(key.startswith("text_model.") for key in theirs.state_dict()) else prefix
    plain = {key[len(cut) :]: value for key, value in state.items() if key.startswith(cut)}
    missing, unexpected = theirs.load_state_dict(plain, strict=False)
    assert not missing
    assert all("position_ids" in key for key in unexpected)
    ids = torch.tensor([[49406, 320, 1125, 49407] + [49407] * 73])
    (tower,) = build_text_towers(state, facts_of(state))
    ours = tower.module(input_ids=ids, output_hidden_states=True)
    expected = theirs(input_ids=ids, output_hidden_states=True)
    assert torch.equal(ours.last_hidden_state, expected.last_hidden_state)
    assert torch.equal(ours.hidden_states[-2], expected.hidden_states[-2])


def open_clip_reference(state: State, prefix: str, layers: int, heads: int, ids: torch.Tensor) -> list[torch.Tensor]:
    """OpenCLIP's own text transformer, from torch's MultiheadAttention: the states after each layer."""
    get = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
    hidden = get["token_embedding.weight"][ids] + get["positional_embedding"]
    width = hidden.shape[-1]
    mask = torch.full((77, 77), float("-inf")).triu(1)
    states = [hidden]
    for index in range(layers):
        layer = {
            key.split(f"resblocks.{index}.")[1]: value for key, value in get.items() if f"resblocks.{index}." in key
        }
        attention = torch.nn.MultiheadAttention(width, heads, batch_first=True)
        attention.load_state_dict({key[5:]: value for key, value in layer.items() if key.startswith("attn.")})
        normed = torch.nn.functional.layer_norm(hidden, (width,), layer["ln_1.weight"], layer["ln_1.bias"])
        hidden = hidden + attention(normed, normed, normed, attn_mask=mask, need_weights=False)[0]
        normed = torch.nn.functional.layer_norm(hidden, (width,), layer["ln_2.weight"], layer["ln_2.bias"])
        inner = torch.nn.functional.gelu(normed @ layer["mlp.c_fc.weight"].t() + layer["mlp.c_fc.bias"])
        hidden = hidden + inner @ layer["mlp.c_proj.weight"].t() + layer["mlp.c_proj.bias"]
        states.append(hidden)
    return states


@torch.no_grad()
def test_the_open_clip_tower_of_sdxl_is_open_clips() -> None:
    state = ldm.random_state(ldm.checkpoint(ldm.TOY_SDXL))
    ids = torch.tensor([[49406, 320, 1125, 49407] + [0] * 73])
    prefix = "conditioner.embedders.1.model."
    states = open_clip_reference(state, prefix, 3, 2, ids)
    _, tower = build_text_towers(state, facts_of(state))
    ours = tower.module(input_ids=ids, output_hidden_states=True)
    torch.testing.assert_close(ours.hidden_states[-2], states[-2], rtol=1e-4, atol=1e-5)
    final = torch.nn.functional.layer_norm(
        states[-1], (64,), state[prefix + "ln_final.weight"], state[prefix + "ln_final.bias"]
    )
    torch.testing.assert_close(ours.text_embeds, final[:, 3] @ state[prefix + "text_projection"], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_sd2_conditions_on_the_last_layer_but_one() -> None:
    state = ldm.random_state(ldm.checkpoint(ldm.TOY_SD2))
    ids = torch.tensor([[49406, 320, 1125, 49407] + [0] * 73])
    prefix = "cond_stage_model.model."
    penultimate = open_clip_reference(state, prefix, 3, 4, ids)[-2]
    final = torch.nn.functional.layer_norm(
        penultimate, (64,), state[prefix + "ln_final.weight"], state[prefix + "ln_final.bias"]
    )
    (tower,) = build_text_towers(state, facts_of(state))
    assert tower.module.config.num_hidden_layers == 2
    torch.testing.assert_close(tower.module(input_ids=ids).last_hidden_state, final, rtol=1e-4, atol=1e-5)


def test_a_pruned_unet_is_refused_with_what_is_missing() -> None:
    state = ldm.random_state(ldm.unet(ldm.TOY_SDXL))
    facts = CheckpointFacts(Family.SDXL, "epsilon", "test")
    distilled = {
        key: value for key, value in state.items() if "transformer_blocks.1." not in key or "output" not in key
    }
    with pytest.raises(CheckpointError, match=r"60 missing .*pruned or distilled"):
        build_unet(distilled, facts)
    with pytest.raises(CheckpointError, match=r"1 unknown .*input_blocks\.1\.0\.strange"):
        build_unet(state | {"model.diffusion_model.input_blocks.1.0.strange.weight": torch.zeros(1)}, facts)
    with pytest.raises(CheckpointError, match=r"1 of another shape"):
        build_unet(state | {"model.diffusion_model.out.2.bias": torch.zeros(5)}, facts)
    with pytest.raises(CheckpointError, match="lacks parts"):
        build_unet({key: value for key, value in state.items() if ".out.2." not in key}, facts)
