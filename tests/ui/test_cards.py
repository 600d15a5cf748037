"""What the tab shows when parts are missing, or when it can't be built at all."""

# ruff: noqa: E402
from __future__ import annotations

import pytest

gr = pytest.importorskip("gradio")

from lora_forge import parts
from lora_forge.errors import CheckpointError
from lora_forge.parts import Part
from lora_forge.ui import markup, parts_card
from lora_forge.ui.failure import failure_page

PEFT = Part(
    name="peft",
    needed_for="training",
    state="missing",
    version="",
    why="It puts the LoRA into the model and takes it out again.",
    remedy=parts.PRESS,
    is_needed=True,
    can_install=True,
)


def test_a_missing_part_is_named_with_why_and_what_to_do() -> None:
    english, chinese = parts_card.card([PEFT], "en"), parts_card.card([PEFT], "zh")
    for text in ("peft", "missing. It puts the LoRA into the model", "Press Install"):
        assert text in english
    for text in ("peft", "缺失", "它把 LoRA 装进模型", "点安装即可"):
        assert text in chinese


def test_a_broken_part_shows_what_it_says_and_the_command() -> None:
    broken = Part(
        "diffusers", "training", "broken", "0.40", "Why.", parts.REPAIR, "No module <x>", "pip install y", True, False
    )
    shown = parts_card.card([broken], "en")
    assert "diffusers 0.40" in shown
    assert "No module &lt;x&gt;" in shown
    assert "<pre>pip install y</pre>" in shown


def test_what_is_there_or_optional_needs_no_card() -> None:
    there = Part("peft", "training", "present", "0.13.2", "Why.", is_needed=True)
    optional = Part("insightface", "faces", "missing", "", "Why.", can_install=True)
    assert parts_card.card([there, optional], "en") == ""


@pytest.mark.parametrize(
    ("problem", "english", "chinese"),
    [
        (ImportError("no numpy"), "open: ImportError: no numpy", "打不开：ImportError：no numpy"),
        (
            CheckpointError("No checkpoint is chosen.", "Choose one above."),
            "No checkpoint is chosen.",
            "还没有选底模。",
        ),
    ],
)
def test_a_tab_that_can_not_be_built_says_why_in_both_languages(problem: Exception, english: str, chinese: str) -> None:
    page = failure_page(problem)
    shown = " ".join(str(block.get_config().get("value")) for block in page.blocks.values())
    assert english in shown
    assert chinese in shown


def test_markup_escapes_what_comes_from_files() -> None:
    nasty = '<img src=x onerror="alert(1)">'
    for made in (markup.note(nasty), markup.facts([(nasty, nasty)]), markup.listing(nasty, [(nasty, nasty)])):
        assert "<img" not in made
    assert "<img" not in markup.frame("lf-live", {"a": nasty}, nasty) + markup.code(nasty)
    assert markup.note("") == ""
