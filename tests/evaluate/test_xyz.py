"""The X/Y/Z text: what the script does with it is done here, with the script's own few lines, cell by cell."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lora_forge.config import Family
from lora_forge.errors import ConfigError, LoraFileError
from lora_forge.evaluate import xyz
from lora_forge.evaluate.lora_tags import split_prompt
from lora_forge.evaluate.plan import GridPlan
from lora_forge.lora_file.weights import LoraModule
from lora_forge.lora_file.writer import save_lora

# infotext_utils.re_param_code of both hosts
_PARAM = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


def pasted(text: str) -> tuple[str, str, dict[str, str]]:
    """Prompt, negative prompt and settings as both hosts read an infotext."""
    *lines, last = text.strip().split("\n")
    found = _PARAM.findall(last)
    assert len(found) >= 3
    settings = {key: json.loads(value) if value[:1] == '"' == value[-1:] else value for key, value in found}
    split = next((n for n, line in enumerate(lines) if line.startswith("Negative prompt:")), len(lines))
    negative = "\n".join(lines[split:]).removeprefix("Negative prompt:").strip()
    return "\n".join(lines[:split]), negative, settings


def cells(text: str) -> list[str]:
    """The prompts of the plot's cells, X outermost, as ``scripts/xyz_grid.py`` makes them."""
    prompt, negative, settings = pasted(text)
    xs, ys = xyz.parse_csv(settings["X Values"]), xyz.parse_csv(settings["Y Values"])
    assert xs[0] in prompt or xs[0] in negative
    assert ys[0] in prompt or ys[0] in negative
    return [prompt.replace(xs[0], x).replace(ys[0], y) for x, y in itertools.product(xs, ys)]


def test_the_text_in_full() -> None:
    plan = GridPlan("ohwx, red dress <lora:anna-NUM:STRENGTH>", "bad", (1, 2), (0.5, 1.0), (7,), 64, 96, 8, 4.0)
    assert xyz.infotext(plan, {"Clip skip": "2", "RNG": "CPU"}) == (
        "ohwx, red dress <lora:anna-000001:0.5>\n"
        "Negative prompt: bad\n"
        "Steps: 8, Sampler: DPM++ 2M, CFG scale: 4, Seed: 7, Size: 64x96, Clip skip: 2, RNG: CPU, Script: X/Y/Z plot, "
        'X Type: Prompt S/R, X Values: "000001, 000002", Y Type: Prompt S/R, Y Values: "0.5, 1.0", Z Type: Nothing'
    )


@pytest.mark.parametrize(
    ("prompt", "x", "y"),
    [
        ("a <lora:anna-NUM:STRENGTH>", "000001", "0.5"),
        ("a, take 000001 <lora:anna-NUM:STRENGTH>", "anna-000001", "0.5"),
        ("a (smile:0.5) <lora:anna-NUM:STRENGTH>", "000001", ":0.5>"),
        ("a <lora:old-000001:0.5> <lora:anna-NUM:STRENGTH>", "anna-000001", "0.50"),
        ("photo of anna-000001 <lora:anna-NUM:STRENGTH>", "<lora:anna-000001:", "0.5"),
    ],
)
def test_places_that_would_hit_other_text_are_avoided(prompt: str, x: str, y: str) -> None:
    plan = GridPlan(prompt, "ugly", (1, 2), (0.5, 1.0))
    axes = xyz.axes_of(plan)
    assert (axes.x[0], axes.y[0]) == (x, y)
    assert len(set(cells(xyz.infotext(plan)))) == 4


def test_a_prompt_with_the_very_same_tag_can_not_be_gridded() -> None:
    with pytest.raises(ConfigError, match="a second time"):
        xyz.axes_of(GridPlan("<lora:anna-000001:0.5> <lora:anna-NUM:STRENGTH>", "", (1, 2), (0.5, 1.0)))


_NAMES = st.from_regex(r"[A-Za-z0-9_\u4e00-\u4e05][A-Za-z0-9_.\- \u4e00-\u4e05]{0,8}[A-Za-z0-9_]", fullmatch=True)
_WORDS = st.text("ab 01.5,:()\"'日", max_size=20)


@given(_NAMES, _WORDS, _WORDS, st.sets(st.integers(1, 30), min_size=1, max_size=3), st.data())
def test_every_cell_asks_for_its_file_at_its_strength(
    name: str, before: str, negative: str, epochs: set[int], data: st.DataObject
) -> None:
    tenths = data.draw(st.sets(st.integers(0, 12), min_size=1, max_size=4))
    strengths = tuple(sorted(tenth / 10 for tenth in tenths))
    plan = GridPlan(f"{before}<lora:{name}-NUM:STRENGTH>", negative.strip(), tuple(sorted(epochs)), strengths)
    asked = [split_prompt(prompt)[1] for prompt in cells(xyz.infotext(plan))]
    wanted = itertools.product(plan.epochs, strengths)
    assert [(tag.name, tag.strength) for (tag,) in asked] == [(f"{name}-{e:06d}", strength) for e, strength in wanted]


def test_what_suits_a_family(tmp_path: Path) -> None:
    plan = xyz.default_plan("anna", "ohwx", "person", Family.SDXL, (1, 2), (0.5, 1.0), has_baseline=True, seed=3)
    assert plan.prompt == "RAW photo, best quality, highly detailed, ohwx, portrait, <lora:anna-NUM:STRENGTH>"
    assert (plan.width, plan.height, plan.guidance, plan.seeds) == (1024, 1024, 5.0, (3,))
    assert plan.strengths == (0.0, 0.5, 1.0)
    assert xyz.default_plan("a", "", "anime", Family.SD1, (1,), (1.0,)).width == 512
    assert xyz.default_plan("a", "", "style", Family.SD2, (1,), (1.0,)).width == 768


def test_files_are_checked_wherever_they_lie_below_the_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for place in ("anna-000001", "sub/anna-000002", "other"):
        (tmp_path / f"{place}.safetensors").write_bytes(b"")
    plan = GridPlan("<lora:anna-NUM:STRENGTH>", "", (1, 2), (1.0,))
    xyz.check_files(plan, tmp_path)
    assert xyz.trained(tmp_path) == {"anna": (1, 2)}
    with pytest.raises(LoraFileError, match=r"no file for anna-000003\.safetensors, anna-000004\.safetensors"):
        xyz.check_files(GridPlan("<lora:anna-NUM:STRENGTH>", "", (1, 3, 4), (1.0,)), tmp_path)


def test_the_trigger_word_is_read_from_the_file(tmp_path: Path) -> None:
    module = LoraModule(torch.ones(2, 4), torch.ones(4, 2), 2.0)
    key = "lora_unet_mid_block_attentions_0_proj_in"
    folder = tmp_path / "people"
    save_lora(folder / "anna-000002.safetensors", {key: module}, {"modelspec.trigger_phrase": "ohwx 女孩"})
    save_lora(folder / "none-000001.safetensors", {key: module}, {})
    (folder / "torn-000001.safetensors").write_bytes(b"torn")
    said = [xyz.trigger_word_of(tmp_path, *file) for file in (("anna", 2), ("none", 1), ("torn", 1), ("gone", 1))]
    assert said == ["ohwx 女孩", "", "", ""]
