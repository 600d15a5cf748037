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

from lora_forge.errors import DatasetError, LoraForgeError
from lora_forge.host.desk import StandaloneDesk
from lora_forge.i18n import catalogue
from lora_forge.jobs import JobBoard
from lora_forge.ui import grid_panel, photos, shop
from lora_forge.ui.around import Around
from lora_forge.ui.form import Values
from lora_forge.ui.tab import _Tab, build_tab

_SHOWN = ("label", "info", "value", "placeholder")
_ENGLISH = re.compile(r"[A-Za-z]{3,} [a-z]{2,}")


@pytest.fixture
def tab(desk: StandaloneDesk) -> _Tab:
    """Built on the toy world."""
    with gr.Blocks():
        return _Tab(desk, JobBoard(), Around())


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
    texts = shown_texts(list(build_tab(desk, JobBoard()).blocks.values()))
    assert len(texts) > 40
    shown = {place: text for place, text in texts.items() if not place.startswith("lora_forge_settings.placeholder")}
    assert {place: text for place, text in shown.items() if _ENGLISH.search(text)} == {}


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


def test_photos_come_in_and_what_is_left_out_is_named(tab: _Tab, folder: Path) -> None:
    values = Values(project="anna_v2", folder=str(folder))
    changes = tab._taken(values, {})
    assert "4 photos added." in changes[tab.brought]
    assert "broken.png" in changes[tab.brought]
    assert "4 photos, 4 with a caption." in changes[tab.stock]
    assert changes[tab.form.name] == "anna_v2"
    assert changes[tab.form.trigger_word] == "anna"
    assert changes[tab.form.repeats] == 40
    assert photos.list_projects(tab.desk) == ["anna_v2"]
    shown = tab._steps(Values(project="anna_v2", repeats=3, epochs=2), {})[tab.steps]
    assert "4 photos x 3 repeats: 12 steps an epoch, 24 in all." in shown


def test_photos_that_the_script_brought_are_counted_and_name_the_run(tab: _Tab, folder: Path) -> None:
    photos.add_folder(tab.desk, "anna_v2", "", str(folder))
    changes = tab._imported(Values(project="anna_v2"), {})
    assert "4 photos, 4 with a caption." in changes[tab.stock]
    assert changes[tab.form.name] == "anna_v2"
    assert changes[tab.form.trigger_word] == "anna"
    assert changes[tab.form.repeats] == 40
    kept = tab._imported(Values(project="anna_v2", name="bea", trigger_word="sks"), {})
    assert (kept[tab.form.name], kept[tab.form.trigger_word]) == ("bea", "sks")


def test_folders_can_be_closed(desk: StandaloneDesk, folder: Path) -> None:
    with gr.Blocks():
        tab = _Tab(desk, JobBoard(), Around(reads_folders=lambda: False))
    with pytest.raises(DatasetError, match="closed to this page"):
        tab._taken(Values(project="anna", folder=str(folder)), {})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (Values(project=""), "can't be called ''"),
        (Values(project="nobody"), "There is no project 'nobody' yet."),
        (Values(project="../x"), "can't be called '../x'"),
    ],
)
def test_a_start_without_a_project_is_refused(tab: _Tab, values: Values, said: str) -> None:
    with pytest.raises(LoraForgeError, match=said):
        tab._started(values, {})


def test_a_bad_name_or_setting_is_refused_at_once(tab: _Tab, folder: Path) -> None:
    tab._taken(Values(project="anna", folder=str(folder)), {})
    with pytest.raises(LoraForgeError, match="can't be the name of a LoRA"):
        tab._started(Values(project="anna", name="a:b"), {})
    with pytest.raises(LoraForgeError, match="unknown setting 'rnak'"):
        tab._started(Values(project="anna", name="anna", settings="rnak=4"), {})
    assert not tab.board.is_busy


def test_a_resumed_run_keeps_its_own_settings() -> None:
    values = Values(project="p", name="n", repeats=3, epochs=4, resolution_px=256, settings="rank=2", prove="weights")
    fresh = shop.request_of(values, Path("p"))
    assert (fresh.repeats, fresh.epochs, fresh.prove) == (3, 4, "weights")
    assert fresh.settings == {"resolution_px": 256, "rank": "2"}
    resumed = shop.request_of(Values(project="p", name="n", epochs=4, settings="rank=2", resume=True), Path("p"))
    assert (resumed.repeats, resumed.resume, resumed.settings) == (None, True, {"rank": "2"})


def test_a_run_from_the_tab_saves_files_and_offers_them_to_the_grid(tab: _Tab, folder: Path) -> None:
    tab._taken(Values(project="anna", folder=str(folder)), {})
    values = Values(
        project="anna", name="anna", trigger_word="ohwx", kind="toyworld", repeats=1, epochs=2, resolution_px=64
    )
    tab._started(values, {})
    tab.board.join(300)
    told = tab.board.snapshot()
    assert (told["state"], told["error"]) == ("done", None)
    assert told["files"] == ["anna-000001.safetensors", "anna-000002.safetensors"]
    changes = tab._saved(values, {})
    assert changes[tab.grid.epochs] == "1-2"
    assert changes[tab.grid.prompt] == "ohwx, <lora:anna-NUM:STRENGTH>"
    with pytest.raises(LoraForgeError, match="exists already"):
        tab._started(values, {})
    given = {tab.form.language: "en", tab.grid.lora: "anna", tab.grid.epochs: "1-2", tab.grid.strengths: "0.5,1"}
    given |= {tab.grid.baseline: True, tab.grid.prompt: "a <lora:NAME-NUM:STRENGTH>", tab.grid.negative: ""}
    given |= {tab.grid.size_px: 64, tab.grid.steps: 4, tab.grid.seed: 3}
    plan = grid_panel.plan_of(tab.desk, tab.grid, values, given)
    assert (plan.prompt, plan.strengths, plan.width) == ("a <lora:anna-NUM:STRENGTH>", (0.0, 0.5, 1.0), 64)
    with pytest.raises(LoraForgeError, match=r"no file for anna-000003\.safetensors"):
        grid_panel.plan_of(tab.desk, tab.grid, values, {**given, tab.grid.epochs: "3"})


def test_a_refusal_is_shown_in_the_persons_language(desk: StandaloneDesk) -> None:
    with gr.Blocks() as page:
        tab = _Tab(desk, JobBoard(), Around())
    if isinstance(page.fns, list):  # gradio 3
        places = [(known["targets"], known["trigger"]) for known in page.dependencies]
        start = page.fns[places.index(([tab.start._id], "click"))]
    else:
        start = next(fn for fn in page.fns.values() if (tab.start._id, "click") in fn.targets)
    given = dict.fromkeys(tab.form.components())
    changes = start.fn({**given, tab.form.language: "zh", tab.form.project: "nobody"})
    assert "还没有项目 &#x27;nobody&#x27;。请先添加素材。" in changes[tab.said]


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
