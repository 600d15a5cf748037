"""The READMEs tell the truth: their commands parse, their files are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from lora_forge.cli.parser import build_parser

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[1]
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
TEXTS = [*READMES, ROOT / "CONTRIBUTING.md", ROOT / "lora_forge" / "ui" / "page.py"]


def commands(text: str) -> list[list[str]]:
    """Every ``lora-forge`` line of the code blocks, in words, without comments."""
    blocks = "".join(re.findall(r"```\n(.*?)```", text, flags=re.DOTALL)).replace("\\\n", " ")
    lines = [line for line in blocks.splitlines() if line.startswith("lora-forge ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_commands_parse(path: Path) -> None:
    for words in commands(path.read_text(encoding="utf-8")):
        assert build_parser().parse_args(words).command == words[0]


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.name)
def test_both_languages_show_the_same_steps(path: Path) -> None:
    found = [words[0] for words in commands(path.read_text(encoding="utf-8"))]
    steps = ["import", "checkup", "tag", "traits", "photos", "trial", "train"]
    assert found == [*steps, "grid", "rounds", "album", "keep"]


@pytest.mark.parametrize("path", TEXTS[:3], ids=lambda path: path.name)
def test_links_and_pictures_are_there(path: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8"))
    assert all((ROOT / link).is_file() for link in links if "://" not in link), links


def test_flags_named_in_prose_exist() -> None:
    parsers = sorted((ROOT / "lora_forge" / "cli").glob("parser*.py"))
    known = {flag for path in parsers for flag in re.findall(r"--[a-z][a-z-]+", path.read_text(encoding="utf-8"))}
    for path in READMES:
        named = set(re.findall(r"`(--[a-z][a-z-]+)", path.read_text(encoding="utf-8")))
        assert named <= known, named - known
