import io
import json
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from lora_forge.config import Family
from lora_forge.errors import CheckpointError
from lora_forge.model.read import read_checkpoint, read_facts, read_header

from . import ldm


def test_full_size_files_are_told_from_their_headers(tmp_path: Path) -> None:
    for family, size in ((Family.SD1, ldm.SD1), (Family.SDXL, ldm.SDXL)):
        path = ldm.save_header(tmp_path / f"{family.value}.safetensors", ldm.checkpoint(size))
        assert read_facts(path).family is family
        assert path.stat().st_size > 2_000_000_000


def test_tensors_are_the_files_and_only_the_used_ones(tmp_path: Path) -> None:
    state = ldm.random_state(ldm.checkpoint(ldm.TOY_SD1))
    extra = {
        "model_ema.decay": torch.zeros(()),
        "model_ema.diffusion_modelout0weight": torch.ones(4),
        "betas": torch.ones(1000),
    }
    path = ldm.save(tmp_path / "a.safetensors", state | extra, {"note": "kept"})
    checkpoint = read_checkpoint(path)
    assert checkpoint.metadata == {"note": "kept"}
    assert checkpoint.tensors.keys() == state.keys()
    assert all(torch.equal(checkpoint.tensors[key], state[key]) for key in state)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_weights_of_the_wanted_dtype_stay_in_the_mapped_file(tmp_path: Path, dtype: torch.dtype | None) -> None:
    path = ldm.save(tmp_path / "half.safetensors", ldm.random_state(ldm.checkpoint(ldm.TOY_SD1), torch.float16))
    checkpoint = read_checkpoint(path, dtype)
    ranges = [
        line.split()[0].split("-") for line in Path("/proc/self/maps").read_text().splitlines() if path.name in line
    ]
    mapped = [(int(first, 16), int(last, 16)) for first, last in ranges]
    assert mapped
    for key, tensor in checkpoint.tensors.items():
        assert any(first <= tensor.data_ptr() < last for first, last in mapped), key


def test_other_dtypes_are_cast_one_by_one(tmp_path: Path) -> None:
    state = ldm.random_state(ldm.checkpoint(ldm.TOY_SD1), torch.float16)
    path = ldm.save(tmp_path / "a.safetensors", state)
    tensors = read_checkpoint(path, torch.bfloat16, vae_dtype=torch.float32).tensors
    assert {tensors[key].dtype for key in tensors if key.startswith("model.diffusion")} == {torch.bfloat16}
    assert {tensors[key].dtype for key in tensors if key.startswith("first_stage")} == {torch.float32}
    key = "model.diffusion_model.out.2.weight"
    assert torch.equal(tensors[key], state[key].to(torch.bfloat16))


def test_eight_bit_floats_become_half(tmp_path: Path) -> None:
    state = ldm.random_state(ldm.checkpoint(ldm.TOY_SD1), torch.float8_e4m3fn)
    tensors = read_checkpoint(ldm.save(tmp_path / "a.safetensors", state)).tensors
    assert {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()} == {torch.float16}


@pytest.mark.parametrize(("spread", "expected"), [(0.2, "v_prediction"), (0.02, "epsilon")])
def test_sd2_is_told_by_its_statistic(tmp_path: Path, spread: float, expected: str) -> None:
    state = ldm.random_state(ldm.checkpoint(ldm.TOY_SD2))
    probe = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
    state[probe] = torch.tensor([-spread, spread] * 16)
    facts = read_facts(ldm.save(tmp_path / "a.safetensors", state))
    assert facts.prediction_type == expected
    assert f"statistic {spread:.3f}" in str(facts.prediction_source)


def test_the_yaml_beside_it_is_read(tmp_path: Path) -> None:
    path = ldm.save_header(tmp_path / "a.safetensors", ldm.checkpoint(ldm.TOY_SD1))
    (tmp_path / "a.yaml").write_text("model:\n  params:\n    parameterization: 'v'\n")
    facts = read_facts(path)
    assert (facts.prediction_type, str(facts.prediction_source)) == ("v_prediction", "the .yaml beside the file")
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CheckpointError, match=r"a\.yaml stands beside"):
        read_facts(path)


def _pickled(value: object, is_zip: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=is_zip)
    return buffer.getvalue()


def _safetensors(path: Path, names: list[str]) -> bytes:
    save_file({name: torch.zeros(2, 2) for name in names}, str(path))
    return path.read_bytes()


def test_files_that_are_no_checkpoint(tmp_path: Path) -> None:
    good = _safetensors(tmp_path / "good.safetensors", ["a"])
    cases: dict[str, tuple[str, bytes]] = {
        "is empty": ("empty.safetensors", b""),
        "is a pickle file: reading it can run any code": ("model.ckpt", _pickled({"state_dict": {}}, is_zip=True)),
        "renamed.safetensors is a pickle": ("renamed.safetensors", _pickled({"a": 1}, is_zip=True)),
        "old.safetensors is a pickle": ("old.safetensors", _pickled({"a": 1}, is_zip=False)),
        "is not a safetensors file": ("noise.safetensors", b"\x01" * 400),
        "tiny.safetensors is not a safetensors file": ("tiny.safetensors", b"abc"),
        "is a web page": ("page.safetensors", b"<!DOCTYPE html><html>not found</html>"),
        "is a GGUF file": ("q4.safetensors", b"GGUF\x03\0\0\0" + b"\0" * 100),
        "is a Git LFS pointer": ("lfs.safetensors", b"version https://git-lfs.github.com/spec/v1\n"),
        "cut1.safetensors is cut short": ("cut1.safetensors", good[:-4]),
        "cut2.safetensors is cut short": ("cut2.safetensors", good[:20]),
        "json.safetensors is not a safetensors file": ("json.safetensors", (4).to_bytes(8, "little") + b"[1]} "),
    }
    for expected, (name, content) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError) as caught:
            read_checkpoint(tmp_path / name)
        assert expected in str(caught.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        read_facts(tmp_path / "nowhere.safetensors")
    with pytest.raises(CheckpointError, match="is a folder"):
        read_facts(tmp_path)
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(CheckpointError, match="diffusers' layout"):
        read_facts(tmp_path)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight"], "is a LoRA"),
        (["decoder.conv_in.weight", "encoder.conv_in.weight"], "is a VAE alone"),
        (["double_blocks.0.img_attn.qkv.weight"], "is of the Flux family"),
        (["emb_params"], "is a textual inversion"),
    ],
)
def test_other_safetensors_files_are_named(tmp_path: Path, names: list[str], kind: str) -> None:
    _safetensors(tmp_path / "other.safetensors", names)
    with pytest.raises(CheckpointError, match=kind):
        read_checkpoint(tmp_path / "other.safetensors")


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=200), length=st.none() | st.integers(0, 220))
def test_no_bytes_break_the_reader_in_another_way(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, length: int | None
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "a.safetensors"
    path.write_bytes(content if length is None else length.to_bytes(8, "little") + content)
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


@settings(max_examples=40, deadline=None)
@given(
    entry=st.fixed_dictionaries(
        {},
        optional={
            "dtype": st.sampled_from(["F16", "X9", 3]),
            "shape": st.lists(st.integers(-2, 9)) | st.text(),
            "data_offsets": st.lists(st.integers(-5, 99), max_size=3) | st.none(),
        },
    )
)
def test_odd_headers_are_refused_in_words(tmp_path_factory: pytest.TempPathFactory, entry: dict[str, object]) -> None:
    raw = json.dumps({"weird": entry}).encode()
    path = tmp_path_factory.mktemp("fuzz") / "a.safetensors"
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + b"\0" * 128)
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


def test_header_of_a_good_file(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2, 3), "b": torch.zeros(())}, str(tmp_path / "a.safetensors"), {"k": "v"})
    header = read_header(tmp_path / "a.safetensors")
    assert header.shapes == {"a": (2, 3), "b": ()}
    assert header.metadata == {"k": "v"}
