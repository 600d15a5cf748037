import pytest

from lora_forge.config import Family
from lora_forge.errors import CheckpointError
from lora_forge.model.detect import CheckpointFacts, describe
from lora_forge.model.wrong_files import SIGNS, refuse

from . import ldm

SIZES = {"sd1": ldm.SD1, "sd2": ldm.SD2, "sdxl": ldm.SDXL}
FULL = {name: ldm.checkpoint(size) for name, size in SIZES.items()}
CONV_IN = "model.diffusion_model.input_blocks.0.0.weight"


@pytest.mark.parametrize("name", FULL)
@pytest.mark.parametrize("is_toy", [False, True])
def test_families_at_any_width(name: str, is_toy: bool) -> None:
    toys = {"sd1": ldm.TOY_SD1, "sd2": ldm.TOY_SD2, "sdxl": ldm.TOY_SDXL}
    facts = describe(ldm.checkpoint(toys[name]) if is_toy else FULL[name], {}, None, "a.safetensors")
    assert facts.family is Family(name)
    assert facts.vae_scale == (0.13025 if name == "sdxl" else 0.18215)
    assert (facts.prediction_type, facts.zero_terminal_snr, facts.hint) == ("epsilon", False, "")
    assert str(facts.prediction_source).startswith("the convention for SD")


MARKS = {"v_pred": (), "ztsnr": ()}
LDM_V = 'model:\n  params:\n    parameterization: "v"\n'
SGM_V = "denoiser_config:\n  scaling_config:\n    target: sgm.modules.diffusionmodules.denoiser_scaling.VScaling\n"


@pytest.mark.parametrize(
    ("name", "extra", "metadata", "yaml", "std", "expected", "source"),
    [
        ("sdxl", {"v_pred": ()}, {}, None, None, ("v_prediction", False), "v_pred key"),
        ("sdxl", MARKS, {}, None, None, ("v_prediction", True), "v_pred key"),
        ("sdxl", {"ztsnr": ()}, {}, None, None, ("epsilon", False), "convention"),
        ("sdxl", {}, {}, SGM_V, None, ("v_prediction", False), ".yaml"),
        ("sd1", {}, {}, LDM_V, None, ("v_prediction", False), ".yaml"),
        ("sd1", {}, {}, LDM_V + "    zero_terminal_snr: true\n", None, ("v_prediction", True), ".yaml"),
        ("sd1", {}, {}, "# parameterization: v\nmodel: x\n", None, ("epsilon", False), "convention"),
        ("sd2", {"v_pred": ()}, {}, "parameterization: eps", 0.5, ("epsilon", False), ".yaml"),
        (
            "sdxl",
            {},
            {"modelspec.prediction_type": "v"},
            None,
            None,
            ("v_prediction", False),
            "modelspec.prediction_type",
        ),
        ("sdxl", {}, {"modelspec.predict_key": "epsilon"}, None, None, ("epsilon", False), "modelspec.predict_key"),
        ("sd2", {}, {"ss_v_parameterization": "False"}, None, 0.5, ("epsilon", False), "ss_v_parameterization"),
        (
            "sdxl",
            {},
            {"ss_v_parameterization": "True", "ss_zero_terminal_snr": "True"},
            None,
            None,
            ("v_prediction", True),
            "ss_v",
        ),
        (
            "sd2",
            {},
            {"modelspec.architecture": "stable-diffusion-v2-768-v"},
            None,
            0.0,
            ("v_prediction", False),
            "architecture",
        ),
        ("sd2", {}, {}, None, 0.2, ("v_prediction", False), "statistic 0.200, above"),
        ("sd2", {}, {}, None, 0.05, ("epsilon", False), "statistic 0.050, not above"),
        ("sd1", {}, {}, None, 0.2, ("epsilon", False), "convention for SD1.x"),
    ],
)
def test_where_the_prediction_type_comes_from(
    name: str,
    extra: dict[str, tuple[int, ...]],
    metadata: dict[str, str],
    yaml: str | None,
    std: float | None,
    expected: tuple[str, bool],
    source: str,
) -> None:
    facts = describe(FULL[name] | extra, metadata, yaml, "a.safetensors", std)
    assert (facts.prediction_type, facts.zero_terminal_snr) == expected
    assert source in str(facts.prediction_source)


def test_what_is_set_by_hand_wins_and_says_so() -> None:
    facts = describe(FULL["sdxl"], {}, None, "noob-vpred.safetensors")
    assert facts.prediction_type == "epsilon"
    assert "v-prediction" in facts.hint
    changed = facts.override("v_prediction", zero_terminal_snr=True)
    assert (changed.prediction_type, str(changed.prediction_source)) == ("v_prediction", "set by hand")
    assert changed.zero_terminal_snr
    assert changed.hint == ""
    assert facts.override() == facts
    assert facts.override("epsilon").prediction_source == facts.prediction_source


def test_an_unknown_prediction_type_is_refused() -> None:
    with pytest.raises(CheckpointError, match="'EDMScaling'"):
        describe(FULL["sdxl"], {}, "target: sgm.modules.diffusionmodules.denoiser_scaling.EDMScaling", "a.safetensors")
    with pytest.raises(CheckpointError, match="'x0'"):
        describe(FULL["sd1"], {}, "parameterization: x0", "a.safetensors")


def test_heads_come_from_the_metadata() -> None:
    facts = describe(FULL["sd1"], {"lora_forge.te_heads": "4", "lora_forge.unet_heads": "x"}, None, "a.safetensors")
    assert (facts.te_heads, facts.unet_heads) == (4, None)


def _with_channels(channels: int) -> ldm.Shapes:
    return FULL["sd1"] | {CONV_IN: (320, channels, 3, 3)}


def _refiner() -> ldm.Shapes:
    kept = {key: shape for key, shape in FULL["sdxl"].items() if not key.startswith("conditioner.embedders.0")}
    return {key.replace("conditioner.embedders.1", "conditioner.embedders.0"): shape for key, shape in kept.items()}


VARIANTS = {
    "an inpainting": _with_channels(9),
    "an image editing": _with_channels(8),
    "an upscaling": _with_channels(7),
    "a depth": _with_channels(5),
    "takes 6 input channels": _with_channels(6),
    "SDXL refiner": _refiner(),
    "EDM noise": FULL["sdxl"] | {"edm_vpred.sigma_max": ()},
    "video model": FULL["sd2"] | {"model.diffusion_model.input_blocks.1.1.time_stack.0.norm1.weight": (320,)},
    "unCLIP": FULL["sd2"] | {"embedder.model.visual.proj": (1, 1)},
    "ControlNet with its base": FULL["sd1"] | {"control_model.time_embed.0.weight": (1, 1)},
    "quantized": FULL["sd1"] | {"model.diffusion_model.out.2.weight.absmax": (3,)},
    "no VAE": {key: shape for key, shape in FULL["sd1"].items() if not key.startswith("first_stage")},
    "no text encoder": {
        key: shape for key, shape in FULL["sdxl"].items() if not key.startswith("conditioner.embedders.1")
    },
}


@pytest.mark.parametrize("kind", VARIANTS)
def test_relatives_of_a_checkpoint_are_named(kind: str) -> None:
    with pytest.raises(CheckpointError, match=kind):
        describe(VARIANTS[kind], {}, None, "a.safetensors")


WRONG = {
    "is a LoRA": [
        "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight",
        "lora_unet_mid_block_attentions_0_proj_in.alpha",
    ],
    "is a LoRA,": ["unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight"],
    "is a textual inversion": ["emb_params"],
    "is a VAE alone": ["encoder.conv_in.weight", "decoder.mid.block_1.conv1.weight", "quant_conv.weight"],
    "is a VAE alone,": ["first_stage_model.encoder.conv_in.weight", "first_stage_model.decoder.conv_in.weight"],
    "is a ControlNet": ["control_model.input_hint_block.0.weight"],
    "is a ControlNet,": ["controlnet_cond_embedding.conv_in.weight", "down_blocks.0.resnets.0.conv1.weight"],
    "is an IP-Adapter": ["ip_adapter.1.to_k_ip.weight"],
    "is of the Flux family": ["double_blocks.0.img_attn.norm.key_norm.scale", "single_blocks.0.linear1.weight"],
    "is of the Flux family,": [
        "model.diffusion_model.double_blocks.0.img_attn.qkv.weight",
        "vae.encoder.conv_in.weight",
    ],
    "is of the Stable Diffusion 3 family": ["model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight"],
    "is of the PixArt family": ["t_block.1.weight", "blocks.0.scale_shift_table"],
    "is of the Qwen-Image family": ["transformer_blocks.0.img_mod.1.weight"],
    "is of the Wan family": ["model.diffusion_model.head.modulation"],
    "is of the Lumina or Z-Image family": ["model.diffusion_model.cap_embedder.0.weight"],
    "is of the DiT (diffusion transformer) family": ["blocks.0.adaLN_modulation.1.weight"],
    "in diffusers' layout": ["down_blocks.0.resnets.0.conv1.weight", "time_embedding.linear_1.weight"],
    "is a text encoder alone": ["text_model.encoder.layers.0.self_attn.q_proj.weight"],
    "is a T5": ["encoder.block.0.layer.0.SelfAttention.q.weight", "shared.weight"],
    "is a CLIP image encoder": ["vision_model.embeddings.patch_embedding.weight"],
    "is an upscaler": ["RRDB_trunk.0.RDB1.conv1.weight"],
    "UNet without its prefix": ["input_blocks.0.0.weight"],
    "without any tensor": [],
    "its first tensor is 'abc'": ["abc", "xyz"],
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_files_are_named(kind: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        describe(dict.fromkeys(WRONG[kind], (1,)), {}, None, "thing.safetensors")
    assert kind.rstrip(",") in str(caught.value)
    assert "thing.safetensors" in str(caught.value)
    assert "Choose a full SD1.x" in str(caught.value)


def test_no_sign_claims_a_real_checkpoint_layout_of_another_kind() -> None:
    diffusers_unet = [
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight",
        "add_embedding.linear_1.weight",
    ]
    assert "diffusers' layout" in str(refuse(diffusers_unet, "a"))
    assert len({sign.pattern for sign in SIGNS}) == len(SIGNS)


def test_facts_can_be_made_by_a_host() -> None:
    assert CheckpointFacts(Family.SD1, "epsilon", "the WebUI").vae_scale == 0.18215
