"""Where a file is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_forge.downloads import ITEMS, DownloadError, Mirrors, item_of
from lora_forge.i18n import catalogue


@pytest.fixture
def mirrors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mirrors:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    return Mirrors(tmp_path / "downloads.json")


def address(mirrors: Mirrors, id: str) -> str:
    item = item_of(id)
    return mirrors.url(item, item.files[0])


def test_the_original_a_mirror_and_back(mirrors: Mirrors) -> None:
    path = "/SmilingWolf/wd-vit-tagger-v3/resolve/7f6b584d0bd3f55c4531f14ba3d4761b2bccdc0f/model.onnx"
    assert address(mirrors, "wd-vit-tagger-v3") == "https://huggingface.co" + path
    mirrors.set("https://mirror.example/ ")
    assert address(mirrors, "wd-vit-tagger-v3") == "https://mirror.example" + path
    assert address(mirrors, "buffalo_l").startswith("https://github.com/deepinsight/")
    mirrors.set("")
    assert address(mirrors, "wd-vit-tagger-v3").startswith("https://huggingface.co/")


def test_a_proxy_takes_the_whole_address(mirrors: Mirrors) -> None:
    mirrors.set("https://proxy.example/{url}", "releases")
    wanted = "https://proxy.example/https://github.com/deepinsight/insightface/releases/download/v0.7/antelopev2.zip"
    assert address(mirrors, "antelopev2") == wanted
    assert mirrors.all() == {"hub": "", "releases": "https://proxy.example/{url}"}


def test_what_other_programs_obey_counts_until_something_is_set(
    mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://env.example")
    assert address(mirrors, "cl_tagger_1_02").startswith("https://env.example/cella110n/")
    mirrors.set("https://own.example")
    assert address(mirrors, "cl_tagger_1_02").startswith("https://own.example/")


@pytest.mark.parametrize("url", ["mirror", "ftp://x", "https://", "https://a b", "file:///etc/passwd"])
def test_no_address_is_refused(mirrors: Mirrors, url: str) -> None:
    with pytest.raises(DownloadError, match="no address of a mirror"):
        mirrors.set(url)


def test_torn_settings_mean_the_originals(mirrors: Mirrors, tmp_path: Path) -> None:
    (tmp_path / "downloads.json").write_text("[1, {")
    assert mirrors.all() == {"hub": "", "releases": ""}


def test_every_item_is_complete_and_in_chinese_too() -> None:
    assert len({item.id for item in ITEMS}) == len(ITEMS)
    for item in ITEMS:
        assert item.size_bytes > 10_000_000
        assert item.licence
        assert (item.kind == "faces") == bool(item.terms) == item.is_archive
        assert not item.terms or item.terms in catalogue()
        assert all(len(file.sha256) in (0, 64) for file in item.files)
