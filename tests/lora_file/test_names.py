"""Names of files: numbered, free, and good for every host and system."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_forge.errors import LoraFileError
from lora_forge.lora_file.names import check_name, epoch_files, epoch_path, parse_epoch


@given(name=st.from_regex(r"[a-z][a-z0-9_.-]{0,20}[a-z0-9]", fullmatch=True), epoch=st.integers(1, 999_999))
def test_the_epoch_comes_back_from_the_path(name: str, epoch: int) -> None:
    path = epoch_path(Path("loras"), name, epoch)
    assert path.name == f"{name}-{epoch:06d}.safetensors"
    assert parse_epoch(path) == (name, epoch)


@pytest.mark.parametrize("name", ["ohwx.safetensors", "ohwx-1.safetensors", "ohwx-000001.pt", "-000001.safetensors"])
def test_other_files_are_no_epochs(name: str) -> None:
    assert parse_epoch(Path(name)) is None


@pytest.mark.parametrize("name", ["ohwx", "my girl v1.5", "小红_v2", "Ünï-cödé", "a", "x" * 160])
def test_good_names(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"),
        ("a:b", "holds :"),
        ("a<b>", "holds < >"),
        ("a/b", "holds /"),
        ("a\\b", r"holds \\"),
        ("a,b", "holds ,"),
        ("(a)", "holds"),
        ("a\n", r"holds '\\n'"),
        ("..", "begins or ends"),
        ("a ", "begins or ends"),
        ("-a", "begins or ends"),
        ("con", "device"),
        ("LPT1", "device"),
        ("nul.x", "device"),
        ("NUMBER", "holds NUM"),
        ("小" * 60, "longer than 160 bytes"),
    ],
)
def test_bad_names_are_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(LoraFileError, match=reason):
        check_name(name)


def test_used_names_are_refused_unless_resuming(tmp_path: Path) -> None:
    (tmp_path / "people").mkdir()
    used = tmp_path / "people" / "Ohwx-000002.safetensors"
    used.write_bytes(b"")
    with pytest.raises(LoraFileError, match=r"Ohwx-000002\.safetensors exists already"):
        check_name("ohwx", tmp_path)
    check_name("ohwx", tmp_path, is_resuming=True)
    check_name("ohwx_v2", tmp_path)
    check_name("ohwx", tmp_path / "not yet there")


@pytest.mark.parametrize(
    "used", ["ohwx.safetensors", "OHWX.pt", "deep/er/ohwx-step00000007.safetensors", "ohwx-000001.ckpt"]
)
def test_any_file_of_the_name_counts_and_longer_names_do_not(tmp_path: Path, used: str) -> None:
    path = tmp_path / used
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    with pytest.raises(LoraFileError, match="exists already"):
        check_name("ohwx", tmp_path)
    for other in ("ohwx_v2", "ohwx-v2", "ohw", "ohwx-1"):
        check_name(other, tmp_path)


def test_composed_and_decomposed_letters_are_one_name(tmp_path: Path) -> None:
    (tmp_path / "Zoe\u0308.safetensors").write_bytes(b"")
    with pytest.raises(LoraFileError, match="exists already"):
        check_name("zo\u00eb", tmp_path)


def test_epoch_files_are_found_in_order(tmp_path: Path) -> None:
    for name in ("a-000010", "a-000002", "A-000003", "a", "a-b-000001"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"")
    (tmp_path / ".a-000004.safetensors.1-1.tmp").write_bytes(b"")
    assert [(epoch, path.name) for epoch, path in epoch_files(tmp_path, "a").items()] == [
        (2, "a-000002.safetensors"),
        (10, "a-000010.safetensors"),
    ]
    assert epoch_files(tmp_path / "none", "a") == {}
