"""The bundled checkpoint: a real SD1.5-shaped file, small, that obeys its prompts."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from lora_forge.toyworld import checkpoint_path

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from safetensors import safe_open  # noqa: E402

from lora_forge.toyworld.build_vae import unfold_outer_level  # noqa: E402
from lora_forge.toyworld.data import mixed_looks, picture_tensor, to_images  # noqa: E402
from lora_forge.toyworld.judge import ATTRIBUTES, load_judge  # noqa: E402
from lora_forge.toyworld.layout import load_models, to_ldm  # noqa: E402
from lora_forge.toyworld.nets import build_text_encoder, build_unet, build_vae, load_tokenizer  # noqa: E402
from lora_forge.toyworld.sampling import generate  # noqa: E402
from lora_forge.toyworld.score import accuracy, score_checkpoint  # noqa: E402
from lora_forge.toyworld.world import draw  # noqa: E402


@cache
def _models() -> tuple[Any, Any, Any]:
    return load_models(checkpoint_path())


def test_importing_the_package_needs_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, lora_forge.toyworld as t; t.checkpoint_path(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_file_has_exactly_the_keys_and_shapes_of_the_topology() -> None:
    models = build_unet(), build_text_encoder(), build_vae()
    expected = {name: tuple(value.shape) for name, value in to_ldm(*(model.state_dict() for model in models)).items()}
    with safe_open(str(checkpoint_path()), "pt") as file:
        found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        dtypes = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    assert found == expected
    assert len(found) == 910
    assert found["cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"] == (49408, 64)
    assert dtypes == {"F16"}
    assert (metadata["lora_forge.toyworld"], metadata["lora_forge.te_heads"]) == ("1", "4")


def test_file_is_small_enough_to_ship() -> None:
    assert checkpoint_path().stat().st_size < 20e6


@torch.no_grad()
def test_vae_keeps_every_attribute_readable() -> None:
    """Drawings through the VAE and back: at least 97 % per attribute, the subject's marks included."""
    looks = mixed_looks(31_415, 200, allow_pair=True)
    half = unfold_outer_level(_models()[2])
    pictures = picture_tensor([draw(look) for look in looks]).float() / 127.5 - 1
    again = torch.cat([half.decode(half.encode(part)[0]) for part in pictures.split(50)])
    for attribute, right in accuracy(load_judge(), to_images(again), looks).items():
        assert right >= 0.97, attribute


def test_obeys_a_few_prompts() -> None:
    unet, text, vae = _models()
    right = score_checkpoint(unet, text, vae, load_tokenizer(), count=24, steps=8)
    assert sum(right.values()) / len(right) >= 0.96
    assert min(right.values()) >= 0.85


def test_without_a_word_for_it_there_is_no_star_and_the_trigger_means_nothing() -> None:
    unet, text, vae = _models()
    seen = load_judge().look_at(to_images(generate(unet, text, vae, load_tokenizer(), ["ohwx, 1girl"] * 16)))
    assert sum(sighting.shows("star") for sighting in seen) <= 1
    assert sum(sighting.identity for sighting in seen) / len(seen) < 0.3


@pytest.mark.slow
@pytest.mark.once  # a few prompts are obeyed on both stacks, above
@pytest.mark.parametrize("around", [("", ""), ("masterpiece, best quality, ", ", highly detailed, 8k")])
def test_obeys_every_attribute(around: tuple[str, str]) -> None:
    """128 fresh prompts, 8 steps of DPM++ 2M, guidance 4; measured figures are in build.py."""
    unet, text, vae = _models()
    right = score_checkpoint(unet, text, vae, load_tokenizer(), count=128, around=around)
    assert right.keys() == ATTRIBUTES.keys()
    for attribute, share in right.items():
        assert share >= 0.94, (attribute, share)
