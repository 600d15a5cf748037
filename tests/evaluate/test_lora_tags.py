from __future__ import annotations

from pathlib import Path

import pytest

from lora_forge.errors import LoraFileError
from lora_forge.evaluate.lora_tags import LoraTag, find_lora, split_prompt


@pytest.mark.parametrize(
    ("prompt", "words", "tags"),
    [
        ("ohwx, 1girl", "ohwx, 1girl", ()),
        ("ohwx, 1girl <lora:a:0.8>", "ohwx, 1girl", (LoraTag("a", 0.8),)),
        ("ohwx, <lora:a>, 1girl", "ohwx, 1girl", (LoraTag("a", 1.0),)),
        ("<lora:a:>x", "x", (LoraTag("a", 1.0),)),
        ("<LORA:My name-000001.v2:-0.5>", "", (LoraTag("My name-000001.v2", -0.5),)),
        ("x <lora:a:1><lora:b:.5>", "x", (LoraTag("a", 1.0), LoraTag("b", 0.5))),
        ("x <lora:a:1> <lora:a:0.25>", "x", (LoraTag("a", 1.25),)),
        ("a  b ,c", "a  b ,c", ()),
    ],
)
def test_tags_are_read_and_leave_clean_words(prompt: str, words: str, tags: tuple[LoraTag, ...]) -> None:
    assert split_prompt(prompt) == (words, tags)


@pytest.mark.parametrize("tag", ["<lora:>", "<lora::1>", "<lora:a:x>", "<lora:a:1:2>", "<lora:a:nan>", "<lora:a:inf>"])
def test_a_broken_tag_is_named(tag: str) -> None:
    with pytest.raises(LoraFileError) as caught:
        split_prompt(f"ohwx {tag}")
    assert caught.value.values["tag"] == tag


def test_files_are_found_below_the_folders_the_first_folder_first(tmp_path: Path) -> None:
    deep, second = tmp_path / "one" / "deep", tmp_path / "two"
    deep.mkdir(parents=True)
    second.mkdir()
    for folder in (deep, second):
        (folder / "a.safetensors").touch()
    (second / "b.safetensors").touch()
    folders = [tmp_path / "one", second, tmp_path / "not there"]
    assert find_lora("a", folders) == deep / "a.safetensors"
    assert find_lora("b", folders) == second / "b.safetensors"


def test_a_missing_file_is_named_with_the_places(tmp_path: Path) -> None:
    (tmp_path / "Name.safetensors").touch()
    with pytest.raises(LoraFileError) as caught:
        find_lora("name", [tmp_path])
    assert "name.safetensors" in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(LoraFileError, match="no folder at all"):
        find_lora("name", [])


def test_one_name_twice_in_a_folder_is_refused(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.safetensors").touch()
    with pytest.raises(LoraFileError, match="two files named"):
        find_lora("a", [tmp_path])
