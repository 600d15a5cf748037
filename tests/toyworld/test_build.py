"""The stages that build the checkpoint, on a few steps: the shortcuts they take must not change what is computed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from safetensors.torch import load_file  # noqa: E402

from lora_forge.toyworld.build import BuildPlan, build  # noqa: E402
from lora_forge.toyworld.build_text import RowTraining, set_sign_rows, text_states  # noqa: E402
from lora_forge.toyworld.build_unet import UnetPlan, UnetStage, alphas, train_unet  # noqa: E402
from lora_forge.toyworld.build_vae import HalfVae, fold_outer_level, unfold_outer_level, whiten  # noqa: E402
from lora_forge.toyworld.captions import Captioner, pad  # noqa: E402
from lora_forge.toyworld.data import base_looks, draw_all, mixed_looks, picture_tensor, to_images  # noqa: E402
from lora_forge.toyworld.judge import load_judge  # noqa: E402
from lora_forge.toyworld.layout import load_models, to_ldm, unet_key, vae_key  # noqa: E402
from lora_forge.toyworld.nets import SCALING, build_text_encoder, build_unet, build_vae, load_tokenizer  # noqa: E402
from lora_forge.toyworld.subject import TRIGGER  # noqa: E402
from lora_forge.toyworld.world import draw, tags  # noqa: E402


def test_pictures_survive_the_trip_to_tensors_and_back() -> None:
    images = [draw(look) for look in base_looks(1, 3)]
    tensor = picture_tensor(images)
    assert tensor.shape == (3, 3, 64, 64)
    again = to_images(tensor.float() / 127.5 - 1)
    assert [image.tobytes() for image in again] == [image.tobytes() for image in images]


def test_training_looks_never_hold_the_pair() -> None:
    looks = base_looks(11, 3000) + mixed_looks(12, 3000, allow_pair=False)
    assert not any(look.hair == "pink" and look.eyes == "green" for look in looks)


@torch.no_grad()
def test_folded_vae_equals_its_fast_twin_and_is_white() -> None:
    torch.manual_seed(0)
    pictures = draw_all(base_looks(2, 64)).float() / 127.5 - 1
    half = HalfVae(build_vae()).eval()
    whiten(half, pictures)
    scaled = (half.encode(pictures)[0] * SCALING).permute(1, 0, 2, 3).reshape(4, -1)
    assert torch.allclose(torch.cov(scaled), torch.eye(4), atol=1e-3)
    assert torch.allclose(scaled.mean(1), torch.zeros(4), atol=1e-4)
    mean = half.encode(pictures[:2])[0]
    picture = half.decode(mean)
    full = fold_outer_level(half)
    assert torch.allclose(full.encode(pictures[:2]).latent_dist.mean, mean, atol=1e-4)
    assert torch.allclose(full.decode(mean).sample, picture, atol=1e-4)
    assert torch.allclose(unfold_outer_level(full).decode(mean), picture, atol=1e-5)


def test_captions_are_what_the_tokenizer_says() -> None:
    tokenizer, captioner = load_tokenizer(), Captioner()
    for look in base_looks(3, 50):
        line = captioner.line(look, random.Random(look.hair), tag_dropout=0.0, foreign=0.0)
        named = [captioner.words[tag] for _, tag in line.marks]
        assert tokenizer(", ".join(named), add_special_tokens=False).input_ids == line.ids
        assert set(named) <= set(tags(look))
    text = "1girl, pink hair"
    line.ids = tokenizer(text, add_special_tokens=False).input_ids
    expected = tokenizer(text, padding="max_length", max_length=77, return_tensors="pt").input_ids
    assert torch.equal(pad([line], 77), expected)


def test_the_trigger_is_one_token_the_base_was_never_taught() -> None:
    ids = load_tokenizer()(TRIGGER, add_special_tokens=False).input_ids
    assert ids == [47993]
    assert 47993 not in Captioner().trained_rows


@torch.no_grad()
def test_fast_text_states_equal_transformers() -> None:
    torch.manual_seed(0)
    text, captioner = build_text_encoder(), Captioner()
    set_sign_rows(text, 0)
    rows = RowTraining(text, captioner.trained_rows)
    ids = pad([captioner.line(base_looks(4, 1)[0], random.Random(0))], 77)
    assert torch.allclose(text_states(text, rows, ids), text(ids).last_hidden_state, atol=1e-5)


def test_noise_schedule_is_that_of_stable_diffusion() -> None:
    assert alphas()[0].item() == pytest.approx(1 - 0.00085, abs=1e-6)
    assert alphas()[999].item() == pytest.approx(0.00466, abs=1e-5)


def test_unet_stage_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    text, looks = build_text_encoder().state_dict(), base_looks(6, 8)
    latents = torch.randn(8, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    plan = UnetPlan(steps=4, batch=2)
    whole = UnetStage(text, plan, tmp_path / "whole.pt")
    train_unet(latents, looks, whole)
    part = UnetStage(text, plan, tmp_path / "part.pt")
    train_unet(latents, looks, part, until=2)
    part.save()
    resumed = UnetStage(text, plan, tmp_path / "part.pt")
    assert resumed.step == 2
    train_unet(latents, looks, resumed)
    for ours, theirs in zip(whole.averages, resumed.averages, strict=True):
        assert torch.equal(ours, theirs)


def test_layout_reads_back_through_diffusers_converters() -> None:
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

    unet, text, vae = build_unet(), build_text_encoder(), build_vae()
    merged = to_ldm(unet.state_dict(), text.state_dict(), vae.state_dict())
    again = convert_ldm_unet_checkpoint(dict(merged), dict(unet.config))
    assert again.keys() == unet.state_dict().keys()
    assert all(torch.equal(again[name], value) for name, value in unet.state_dict().items())
    again = convert_ldm_vae_checkpoint(dict(merged), dict(vae.config))
    assert again.keys() == vae.state_dict().keys()
    assert all(torch.equal(again[name].reshape(value.shape), value) for name, value in vae.state_dict().items())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("up_blocks.0.upsamplers.0.conv.weight", "output_blocks.2.1.conv.weight"),
        ("up_blocks.1.upsamplers.0.conv.weight", "output_blocks.5.2.conv.weight"),
        ("up_blocks.2.upsamplers.0.conv.bias", "output_blocks.8.2.conv.bias"),
        ("down_blocks.0.downsamplers.0.conv.weight", "input_blocks.3.0.op.weight"),
        ("down_blocks.2.resnets.1.time_emb_proj.weight", "input_blocks.8.0.emb_layers.1.weight"),
        ("up_blocks.3.resnets.2.conv_shortcut.weight", "output_blocks.11.0.skip_connection.weight"),
        ("up_blocks.3.attentions.0.norm.weight", "output_blocks.9.1.norm.weight"),
        (
            "mid_block.attentions.0.transformer_blocks.0.norm1.weight",
            "middle_block.1.transformer_blocks.0.norm1.weight",
        ),
        ("mid_block.resnets.1.norm1.weight", "middle_block.2.in_layers.0.weight"),
        ("time_embedding.linear_2.bias", "time_embed.2.bias"),
    ],
)
def test_unet_names_are_those_of_a_real_sd15_file(ours: str, theirs: str) -> None:
    """Diffusers' converters forgive what the original classes would not (an upsampler in the wrong slot, say)."""
    assert unet_key(ours) == theirs


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("decoder.up_blocks.0.upsamplers.0.conv.weight", "decoder.up.3.upsample.conv.weight"),
        ("encoder.down_blocks.0.downsamplers.0.conv.bias", "encoder.down.0.downsample.conv.bias"),
        ("encoder.mid_block.attentions.0.to_q.weight", "encoder.mid.attn_1.q.weight"),
        ("decoder.mid_block.attentions.0.to_out.0.bias", "decoder.mid.attn_1.proj_out.bias"),
        ("decoder.mid_block.attentions.0.group_norm.bias", "decoder.mid.attn_1.norm.bias"),
        ("decoder.mid_block.resnets.1.conv2.weight", "decoder.mid.block_2.conv2.weight"),
        ("decoder.up_blocks.3.resnets.1.norm2.weight", "decoder.up.0.block.1.norm2.weight"),
        ("encoder.conv_norm_out.weight", "encoder.norm_out.weight"),
        ("post_quant_conv.weight", "post_quant_conv.weight"),
    ],
)
def test_vae_names_are_those_of_a_real_sd15_file(ours: str, theirs: str) -> None:
    assert vae_key(ours) == theirs


def test_everything_can_be_built_from_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All stages in miniature: the files appear, can be read, and a second run finds nothing left to train."""
    plan = BuildPlan(judge_pictures=16, judge_steps=2, vae_pictures=10, vae_steps=1, text_steps=2, unet_pictures=8,
                     unet=UnetPlan(steps=1, batch=2), prompts=2)  # fmt: skip
    build(tmp_path, plan)
    assert "unet after" in capsys.readouterr().out
    first = load_file(str(tmp_path / "toyworld.safetensors"))
    load_models(tmp_path / "toyworld.safetensors")
    load_judge(tmp_path / "judge.safetensors")
    build(tmp_path, plan)
    again = load_file(str(tmp_path / "toyworld.safetensors"))
    assert all(torch.equal(again[name], value) for name, value in first.items())
