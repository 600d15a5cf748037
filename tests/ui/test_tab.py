"""The tab as it is built, and what its events do, without a browser."""

# ruff: noqa: E402
from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

gr = pytest.importorskip("gradio")

from lora_forge.errors import DatasetError
from lora_forge.host.desk import StandaloneDesk
from lora_forge.i18n import catalogue
from lora_forge.ui import photos
from lora_forge.ui.around import Around
from lora_forge.ui.form import Values
from lora_forge.ui.tab import _Tab, build_tab

_SHOWN = ("label", "info", "value", "placeholder")
_ENGLISH = re.compile(r"[A-Za-z]{3,} [a-z]{2,}")


@pytest.fixture
def tab(desk: StandaloneDesk) -> _Tab:
    """Built on the toy world."""
    with gr.Blocks():
        return _Tab(desk, Around())


def shown_texts(blocks: list[Any]) -> dict[str, str]:
    """Every word on the page by component and property; choices too."""
    found = {}
    for block in blocks:
        config = block.get_config()
        for name in _SHOWN:
            if isinstance(config.get(name), str):
                found[f"{block.elem_id}.{name}"] = re.sub(r"<[^>]*>", "", config[name])
        for choice in config.get("choices") or []:
            found[f"{block.elem_id}.choice {choice}"] = str(choice[0])
    return found


def test_a_chinese_page_has_no_english_sentence(desk: StandaloneDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    texts = shown_texts(list(build_tab(desk).blocks.values()))
    assert len(texts) > 40
    assert {place: text for place, text in texts.items() if _ENGLISH.search(text)} == {}


def test_switching_the_language_says_every_text_anew(tab: _Tab) -> None:
    english = shown_texts(tab.texts.components)
    changes = tab.texts.updates("zh")
    assert len(changes) == len(tab.texts.components)
    for component in tab.texts.components:
        for name, value in changes[component].items():
            before = english.get(f"{component.elem_id}.{name}")
            if isinstance(value, str) and name in _SHOWN and before and component.elem_id:
                assert value == catalogue()[before]
    values = Values(language="zh", project="")
    everything = tab._language(values, {})
    assert "程序没有回应" in everything[tab.live]
    assert "底模" in everything[tab.base]
    assert "素材体检" in everything[tab.wall]
    assert "自动打标" in everything[tab.tags]
    assert "打标" in everything[tab.steps_bar]
    assert "开始炼丹" in everything[tab.train]
    assert "智能网格" in everything[tab.frames["test"]]


def test_photos_come_in_and_what_is_left_out_is_named(tab: _Tab, folder: Path) -> None:
    values = Values(project="anna_v2", folder=str(folder))
    changes = tab._taken(values, {})
    assert "4 photos added." in changes[tab.brought]
    assert "broken.png" in changes[tab.brought]
    assert "4 photos, 4 with a caption." in changes[tab.stock]
    assert photos.list_projects(tab.desk) == ["anna_v2"]


def test_folders_can_be_closed(desk: StandaloneDesk, folder: Path) -> None:
    with gr.Blocks():
        tab = _Tab(desk, Around(reads_folders=lambda: False))
    with pytest.raises(DatasetError, match="closed to this page"):
        tab._taken(Values(project="anna", folder=str(folder)), {})


def test_a_refusal_is_shown_in_the_persons_language(desk: StandaloneDesk, folder: Path) -> None:
    with gr.Blocks() as page:
        tab = _Tab(desk, Around())
    if isinstance(page.fns, list):  # gradio 3
        places = [(known["targets"], known["trigger"]) for known in page.dependencies]
        take = page.fns[places.index(([tab.take._id], "click"))]
    else:
        take = next(fn for fn in page.fns.values() if (tab.take._id, "click") in fn.targets)
    given = dict.fromkeys(tab.form.components())
    changes = take.fn({**given, tab.form.language: "zh", tab.form.folder: str(folder)})
    assert "项目还没有名字。" in changes[tab.brought]


def test_importing_the_extension_is_cheap_and_loads_nothing_heavy() -> None:
    heavy = ("torch", "diffusers", "peft", "transformers", "gradio", "numpy", "PIL")
    code = f"import sys, lora_forge.app; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_building_the_tab_loads_no_training_library() -> None:
    code = (
        "import sys, lora_forge.ui.tab, lora_forge.work, lora_forge.evaluate.xyz;"
        "print([name for name in ('torch', 'diffusers', 'peft', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
