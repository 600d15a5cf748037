"""What a run is resumed from: exact, checked, never half written."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_forge.errors import TrainingError
from lora_forge.events import Event, Warned
from lora_forge.train.state import RunState, load_newest, save_state, state_path
from lora_forge.train.tensor_file import DamagedFileError, load_tree, save_tree


def state(step: int) -> RunState:
    return RunState(
        step=step,
        weights={"a.down": torch.full((2, 3), float(step))},
        optimizer={"state": {0: {"step": torch.tensor(1.0), "k": 3}}, "param_groups": [{"betas": (0.9, 0.99)}]},
        ema=None,
        scaler=(65536.0, 4),
        window=[0.1, 0.2],
        fingerprints={"base": "b"},
        started_at=1.5,
    )


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
        | st.tuples(inner, inner)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(trees)
def test_any_tree_comes_back_as_it_was(tmp_path_factory, tree) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.getbasetemp() / "tree.safetensors"
    save_tree(path, tree)
    assert load_tree(path) == tree


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.uint8, torch.int64])
def test_tensors_come_back_bit_for_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    values = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).mul(10).to(dtype)
    path = tmp_path / "t.safetensors"
    save_tree(path, {"x": values, "view": values.T, "empty": values[:0], "scalar": values[0, 0]})
    back = load_tree(path)
    assert back["x"].dtype == dtype
    assert torch.equal(back["x"], values)
    assert torch.equal(back["view"], values.T)
    assert back["empty"].shape == (0, 3)
    assert torch.equal(back["scalar"], values[0, 0])


def test_what_has_no_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="object"):
        save_tree(tmp_path / "t.safetensors", {"x": object()})
    assert list(tmp_path.iterdir()) == []


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_flipped_byte_anywhere_is_noticed(tmp_path_factory, place, flip) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.getbasetemp() / "flipped.safetensors"
    save_tree(path, {"x": torch.arange(50.0), "n": 3})
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= flip
    path.write_bytes(content)
    try:
        back = load_tree(path)
    except DamagedFileError:
        return
    # Padding and the order of header entries carry nothing: then the values are still the same.
    assert back["n"] == 3
    assert torch.equal(back["x"], torch.arange(50.0))


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_a_cut_file_is_noticed(tmp_path: Path, length: int) -> None:
    path = tmp_path / "t.safetensors"
    save_tree(path, {"x": torch.arange(50.0)})
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DamagedFileError, match=r"t\.safetensors"):
        load_tree(path)


def test_the_newest_two_stay(tmp_path: Path) -> None:
    for step in (5, 100, 20):
        save_state(tmp_path, state(step))
    save_state(tmp_path, state(101))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000100.safetensors", "step-00000101.safetensors"]
    loaded = load_newest(tmp_path, pytest.fail)
    assert loaded is not None
    assert loaded.step == 101
    assert torch.equal(loaded.weights["a.down"], torch.full((2, 3), 101.0))
    assert loaded.optimizer["param_groups"][0]["betas"] == (0.9, 0.99)
    assert loaded.optimizer["state"][0]["k"] == 3
    assert loaded.scaler == (65536.0, 4)


def test_a_damaged_newest_falls_back_and_says_so(tmp_path: Path) -> None:
    save_state(tmp_path, state(1))
    path = save_state(tmp_path, state(2))
    content = bytearray(path.read_bytes())
    content[-3] ^= 0xFF
    path.write_bytes(content)
    said: list[Event] = []
    loaded = load_newest(tmp_path, said.append)
    assert loaded is not None
    assert loaded.step == 1
    (warned,) = said
    assert isinstance(warned, Warned)
    assert "step-00000002.safetensors can't be read" in warned.message
    assert load_newest(tmp_path, pytest.fail).step == 1  # set aside: not met again


def test_none_whole_and_none_at_all(tmp_path: Path) -> None:
    assert load_newest(tmp_path, pytest.fail) is None
    state_path(tmp_path, 3).write_bytes(b"garbage")
    with pytest.raises(TrainingError, match="No state"):
        load_newest(tmp_path, lambda _: None)


def test_a_full_disk_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_state(tmp_path, state(1))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(TrainingError, match="the disk is full"):
        save_state(tmp_path, state(2))
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001.safetensors"]


def test_random_numbers_survive(tmp_path: Path) -> None:
    floats = [random.Random(0).random() for _ in range(100)]
    save_tree(tmp_path / "f.safetensors", floats)
    assert load_tree(tmp_path / "f.safetensors") == floats


def test_every_type_is_read_by_the_library_too_and_permissions_are_the_usual_ones(tmp_path: Path) -> None:
    kinds = (torch.bool, torch.int8, torch.int16, torch.int32, torch.float64, torch.uint8, torch.bfloat16)
    tree = {str(kind): torch.tensor([[1, 0, 1]]).to(kind) for kind in kinds}
    save_tree(tmp_path / "t.safetensors", tree)
    back = load_tree(tmp_path / "t.safetensors")
    assert all(back[name].dtype == tree[name].dtype and torch.equal(back[name], tree[name]) for name in tree)
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "t.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode
    with pytest.raises(TypeError, match="complex64 can't be saved"):
        save_tree(tmp_path / "t.safetensors", torch.zeros(1, dtype=torch.complex64))
