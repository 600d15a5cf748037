"""A saved file is kohya's format, whole, and what was meant; anything else is refused by name."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from lora_forge.errors import LoraFileError
from lora_forge.lora_file import hashes
from lora_forge.lora_file.weights import LoraModule, LoraWeights, combine
from lora_forge.lora_file.writer import load_lora, load_metadata, save_lora

NAME = "lora_unet_mid_block_attentions_0_proj_in"
OTHER = "lora_te_text_model_encoder_layers_0_mlp_fc1"


def weights(scale: float = 1.0, width: int = 8) -> LoraWeights:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return scale * torch.randn(shape, generator=generator)

    return {
        NAME: LoraModule(draw(2, width, 1, 1), draw(width, 2, 1, 1), 1.0),
        OTHER: LoraModule(draw(4, width), draw(3 * width, 4), 2.5),
    }


def rewrite(path: Path, change: object, **metadata: str) -> Path:
    """Save with the library itself, after ``change`` of the tensors."""
    tensors = safetensors.torch.load_file(path)
    change(tensors)  # type: ignore[operator]
    safetensors.torch.save_file(tensors, path, metadata or None)
    return path


def test_the_library_reads_what_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "ohwx-000003.safetensors"
    saved = save_lora(path, weights(), {"ss_v2": "False", "ss_output_name": "wrong", "modelspec.title": "名"})
    tensors = safetensors.torch.load_file(path)
    suffixes = ("alpha", "lora_down.weight", "lora_up.weight")
    assert set(tensors) == set(saved.keys) == {f"{name}.{suffix}" for name in (NAME, OTHER) for suffix in suffixes}
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert torch.equal(tensors[f"{NAME}.lora_down.weight"], weights()[NAME].down.half())
    assert tensors[f"{OTHER}.alpha"].shape == ()
    assert float(tensors[f"{OTHER}.alpha"]) == 2.5
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata["ss_output_name"] == "ohwx-000003"
    assert metadata["modelspec.title"] == "名"
    assert set(metadata) == {"ss_v2", "ss_output_name", "modelspec.title", "sshs_model_hash", "sshs_legacy_hash"}
    assert saved.size_bytes == path.stat().st_size
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_hashes_are_those_of_the_bytes(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "a-000001.safetensors"
    saved = save_lora(path, weights(width=90_000), {"ss_tag_frequency": '{"10_名": {"a": 1}}', "other": "x"}, dtype)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    metadata = header["__metadata__"]
    digest = hashlib.sha256(content[8 + length :]).hexdigest()
    assert metadata["sshs_model_hash"] == saved.model_hash == digest == hashes.model_hash(path)
    # kohya: the legacy hash is taken of the file as safetensors itself writes it with the ss_ fields alone.
    own = {key: value for key, value in metadata.items() if key.startswith("ss_")}
    plain = safetensors.torch.save(safetensors.torch.load(content), own)
    assert len(plain) > 0x110000
    assert metadata["sshs_legacy_hash"] == hashlib.sha256(plain[0x100000:0x110000]).hexdigest()[:8]
    assert hashes.autov2(path) == hashlib.sha256(content).hexdigest()[:10]
    assert hashes.autov3(saved.model_hash) == digest[:12]
    assert hashes.file_sha256(path) == hashlib.sha256(content).hexdigest()
    assert hashes.base_legacy_hash(path) == hashlib.sha256(content[0x100000:0x110000]).hexdigest()[:8]


def test_the_legacy_hash_of_a_small_file_is_that_of_nothing(tmp_path: Path) -> None:
    save_lora(tmp_path / "a.safetensors", weights(), {})
    assert load_metadata(tmp_path / "a.safetensors")["sshs_legacy_hash"] == "e3b0c442"


def test_the_same_weights_and_metadata_give_the_same_bytes(tmp_path: Path) -> None:
    fields = {f"ss_{i}": str(i) for i in range(30)}
    for folder in ("a", "b"):
        save_lora(tmp_path / folder / "x-000001.safetensors", weights(), fields)
    first, second = (tmp_path / folder / "x-000001.safetensors" for folder in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_float32_comes_back_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "a-000001.safetensors"
    save_lora(path, weights(), {"ss_epoch": "1"}, torch.float32)
    back = load_lora(path)
    for name, module in weights().items():
        assert torch.equal(back.weights[name].down, module.down)
        assert torch.equal(back.weights[name].up, module.up)
        assert back.weights[name].alpha == module.alpha
    assert back.metadata["ss_epoch"] == "1"
    path.unlink()  # nothing of it is mapped
    assert torch.equal(back.weights[NAME].up, weights()[NAME].up)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_values_are_refused_and_leave_no_file(tmp_path: Path, value: float) -> None:
    broken = weights()
    broken[OTHER].up[1, 1] = value
    with pytest.raises(LoraFileError, match=rf"not finite, such as {OTHER}\.lora_up"):
        save_lora(tmp_path / "a.safetensors", broken, {})
    assert os.listdir(tmp_path) == []


def test_values_that_only_float16_can_not_hold_are_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(LoraFileError, match=r"too large for float16, .* Save as float32"):
        save_lora(tmp_path / "a.safetensors", weights(1e6), {})
    save_lora(tmp_path / "a.safetensors", weights(1e6), {}, torch.bfloat16)


def test_nothing_to_save_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LoraFileError, match="would hold no adapter"):
        save_lora(tmp_path / "a.safetensors", {}, {})


def test_a_disk_that_gives_back_other_bytes_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a-000001.safetensors"
    save_lora(path, weights(), {})
    good = path.read_bytes()
    sync = os.fsync

    def corrupt(descriptor: int) -> None:
        os.lseek(descriptor, -3, os.SEEK_END)
        os.write(descriptor, b"\xff")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", corrupt)
    with pytest.raises(LoraFileError, match="came back from the disk other than it was written"):
        save_lora(path, weights(2.0), {})
    assert path.read_bytes() == good
    assert os.listdir(tmp_path) == [path.name]


def test_a_full_disk_is_an_error_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LoraFileError, match=r"the disk is full\. Make room"):
        save_lora(tmp_path / "a.safetensors", weights(), {})
    assert os.listdir(tmp_path) == []


def test_a_missing_alpha_means_scale_one(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_lora(path, weights(), {})
    rewrite(path, lambda tensors: tensors.pop(f"{OTHER}.alpha"))
    assert load_lora(path).weights[OTHER].scale == 1.0
    assert load_lora(path).metadata == {}


def test_delta_and_combine_are_exact_sums() -> None:
    one, two = weights(), weights(0.5)
    both = combine([(one, 0.7), ({OTHER: two[OTHER]}, -1.5)])
    torch.testing.assert_close(both[NAME].delta(), 0.7 * one[NAME].delta())
    torch.testing.assert_close(both[OTHER].delta(), 0.7 * one[OTHER].delta() - 1.5 * two[OTHER].delta())
    assert both[OTHER].rank == 8
    assert one[NAME].delta().shape == (8, 8, 1, 1)
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    module = one[OTHER]
    torch.testing.assert_close(x @ module.delta().T, 2.5 / 4 * (x @ module.down.T) @ module.up.T)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("lora_unet_x.lora_mid.weight", r"keys are of no kind .* such as lora_unet_x\.lora_mid\.weight"),
        ("something", "keys are of no kind .* such as something"),
        ("model.diffusion_model.out.2.weight", "a whole checkpoint, not a LoRA"),
        ("decoder.conv_in.weight", "a VAE, not a LoRA"),
        ("emb_params", "a textual inversion embedding"),
        (f"{NAME}.dora_scale", "a DoRA"),
        (f"{NAME}.hada_w1_a", "a LoHa"),
        (f"{NAME}.lokr_w1", "a LoKr"),
        ("unet.mid_block.attentions.0.proj_in.lora_A.weight", "a LoRA in diffusers' own format"),
        ("lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight", "for Flux"),
    ],
)
def test_other_kinds_of_files_are_named(tmp_path: Path, key: str, message: str) -> None:
    path = tmp_path / "a.safetensors"
    save_lora(path, weights(), {})
    rewrite(path, lambda tensors: tensors.update({key: torch.zeros(2)}))
    with pytest.raises(LoraFileError, match=message):
        load_lora(path)


def test_halves_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_lora(path, weights(), {})
    rewrite(path, lambda tensors: tensors.update({f"{OTHER}.lora_up.weight": torch.zeros(24, 5)}))
    with pytest.raises(LoraFileError, match=rf"two halves of the adapter {OTHER} don't fit"):
        load_lora(path)
    rewrite(path, lambda tensors: tensors.pop(f"{OTHER}.lora_up.weight"))
    with pytest.raises(LoraFileError, match=rf"{OTHER} has no lora_up\.weight"):
        load_lora(path)


def test_broken_values_in_a_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_lora(path, weights(), {})
    rewrite(path, lambda tensors: tensors[f"{NAME}.lora_up.weight"].fill_(float("nan")))
    with pytest.raises(LoraFileError, match=rf"broken values, such as {NAME}\.lora_up"):
        load_lora(path)


def test_what_is_no_safetensors_file_is_named(tmp_path: Path) -> None:
    good = tmp_path / "good.safetensors"
    save_lora(good, weights(), {})
    content = good.read_bytes()
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("a", "b")
    cases = {
        b"": "is empty",
        content[:-1]: "is damaged: it has",
        content + b"x": "is damaged: it has",
        content[:40]: "cut short or something else",
        pickle.dumps({"a": 1}): "a pickle",
        (tmp_path / "zip").read_bytes(): "a zip archive or a pickle",
        b"<!DOCTYPE html><html>": "a web page",
        b"version https://git-lfs": "git-lfs",
        b"\x02\0\0\0\0\0\0\0[]": "not a safetensors file",
        b'\x0d\0\0\0\0\0\0\0{"a":{"b":1}}': "not a safetensors file",
        b"\x02\0\0\0\0\0\0\0{}": "holds no tensors",
    }
    path = tmp_path / "a.safetensors"
    for bad, message in cases.items():
        path.write_bytes(bad)
        with pytest.raises(LoraFileError, match=message):
            load_lora(path)
    with pytest.raises(LoraFileError, match="can't be read: it is not there"):
        load_lora(tmp_path / "none.safetensors")
