"""Taggers on disk, whole and broken."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lora_forge.dataset.taggers import OnnxTagger, TaggerError, Thresholds, find_taggers, tagger_in
from lora_forge.dataset.taggers.labels import Label, read_csv, read_mapping, spaced, underscored
from lora_forge.dataset.taggers.onnx_tagger import providers
from lora_forge.errors import MissingPartError
from tests.dataset.taggers.conftest import make_tagger, write_list, write_model


def test_known_and_dropped_in_folders_are_found_the_first_root_counting(tmp_path: Path) -> None:
    ours, host = tmp_path / "ours", tmp_path / "host"
    make_tagger(ours / "wd-vit-tagger-v3", "wd")
    make_tagger(host / "wd-vit-tagger-v3", "cl")
    make_tagger(host / "My own", "pixai")
    (host / "half").mkdir()
    write_model(host / "half" / "model.onnx", "wd")
    found = find_taggers([ours, host, tmp_path / "none"])
    assert [(one.id, one.layout) for one in found] == [("My own", "pixai"), ("wd-vit-tagger-v3", "wd")]
    assert found[1].folder.parent == ours
    assert tagger_in(host / "half") is None


def test_a_root_may_be_a_tagger_itself(tmp_path: Path) -> None:
    make_tagger(tmp_path / "x", "wd")
    assert [one.id for one in find_taggers([tmp_path / "x"])] == ["x"]


def test_makers_thresholds_and_those_in_a_file(tmp_path: Path) -> None:
    advice = {}
    for layout in ("wd", "pixai", "cl"):
        found = tagger_in(make_tagger(tmp_path / layout, layout))
        assert found is not None
        advice[layout] = found.thresholds()
    assert advice == {"wd": Thresholds(0.35, 0.85), "pixai": Thresholds(0.3, 0.85), "cl": Thresholds(0.55, 0.6)}
    (tmp_path / "pixai" / "thresholds.csv").write_text("category,name,threshold\n0,general,0.31\n4,character,0.77\n")
    found = tagger_in(tmp_path / "pixai")
    assert found is not None
    assert found.thresholds() == Thresholds(0.31, 0.77)


def test_a_fingerprint_follows_the_content_not_the_name(tmp_path: Path) -> None:
    one, two = (tagger_in(make_tagger(tmp_path / name, "wd")) for name in ("one", "two"))
    assert one is not None
    assert two is not None
    before = one.fingerprint
    assert before == two.fingerprint
    write_list(two.folder, "wd", 147, [("other", 0)])
    assert two.fingerprint != before
    make_tagger(one.folder, "wd", scale=0.5)
    assert one.fingerprint != before


def test_lists_are_read_as_their_makers_write_them(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('tag_id,name,category,count\n9,general,9,1\n2,"a,_b",0,5\n3,miku,4,6\n4,x,77,1\n')
    assert read_csv(tmp_path / "a.csv") == (
        Label("general", "rating"), Label("a,_b", "general"), Label("miku", "character"), Label("x", "other"),
    )  # fmt: skip
    (tmp_path / "a.json").write_text(
        '{"1": {"tag": "b c", "category": "Character"}, "0": {"tag": "a", "category": "Quality"}}'
    )
    assert read_mapping(tmp_path / "a.json") == (Label("a", "quality"), Label("b c", "character"))
    (tmp_path / "b.json").write_text('{"idx_to_tag": {"0": "a"}, "tag_to_category": {"a": "General"}}')
    assert read_mapping(tmp_path / "b.json") == (Label("a", "general"),)


@pytest.mark.parametrize("text", ["", "x,y\n1,2\n"])
def test_a_list_without_its_columns_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text + "name\nq\n")
    with pytest.raises(TaggerError, match="is no list of tags"):
        read_csv(tmp_path / "a.csv")


@pytest.mark.parametrize("text", ["[]", "{", '{"0": 3}', '{"1": {"tag": "a", "category": "General"}}'])
def test_a_mapping_with_holes_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(TaggerError, match="is no list of tags"):
        read_mapping(tmp_path / "a.json")


def test_kaomoji_keep_their_underscores() -> None:
    assert spaced("long_hair") == "long hair"
    assert [spaced(face) for face in ("^_^", "o_o", "||_||", "+_-")] == ["^_^", "o_o", "||_||", "+_-"]
    assert underscored("very long hair") == "very_long_hair"


def test_a_list_of_another_model_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    folder = make_tagger(tmp_path / "m", "wd")
    write_list(folder, "wd", 100)
    found = tagger_in(folder)
    assert found is not None
    with pytest.raises(TaggerError, match="has 147 outputs and its list 100 names"):
        OnnxTagger(found)


@pytest.mark.parametrize("content", [b"", b"not a model", b"<html>"])
def test_a_model_that_is_none_ends_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("onnxruntime")
    folder = make_tagger(tmp_path / "m", "wd")
    (folder / "model.onnx").write_bytes(content)
    found = tagger_in(folder)
    assert found is not None
    with pytest.raises(TaggerError, match="can't be loaded"):
        OnnxTagger(found)


def test_colours_first_without_a_description_is_not_guessed(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    count = write_model(tmp_path / "m" / "model.onnx", "cl")
    write_list(tmp_path / "m", "wd", count)
    found = tagger_in(tmp_path / "m")
    assert found is not None
    with pytest.raises(TaggerError, match="How photos are prepared for m is not known"):
        OnnxTagger(found)


def test_without_onnxruntime_the_remedy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    found = tagger_in(make_tagger(tmp_path / "m", "wd"))
    assert found is not None
    with pytest.raises(MissingPartError, match="Tagging needs onnxruntime") as raised:
        OnnxTagger(found)
    assert "Install it under Libraries" in raised.value.remedy


def test_the_cpu_is_the_default_and_always_the_last() -> None:
    offered = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CoreMLExecutionProvider", "CPUExecutionProvider"]
    assert providers(offered, is_fast=False) == ["CPUExecutionProvider"]
    assert providers(offered, is_fast=True) == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert providers(["DmlExecutionProvider"], is_fast=True) == ["DmlExecutionProvider", "CPUExecutionProvider"]
