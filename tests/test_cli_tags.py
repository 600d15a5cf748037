"""``lora-forge tags`` and ``lora-forge traits``, as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_forge.cli import main
from lora_forge.dataset.project import Project
from tests.dataset.tags.conftest import put

SET = {"photos/a.png": "ohwx, red hair, pink shirt\n", "photos/b.png": "ohwx, red hair, park\n"}


@pytest.fixture
def anna(tmp_path: Path) -> str:
    project = Project.create(tmp_path / "anna", "ohwx")
    put(project, SET)
    return str(project.root)


def say(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(words) == code
    got = capsys.readouterr()
    return got.out if code == 0 else got.err


def captions(anna: str) -> list[str]:
    return [(Path(anna) / "images" / "photos" / name).read_text(encoding="utf-8") for name in ("a.txt", "b.txt")]


def test_tags_are_listed_found_edited_and_undone(anna: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "    2  red hair  红发" in say(capsys, "tags", "list", "--project", anna)
    assert say(capsys, "tags", "find", "--project", anna, "粉色衬衫") == "photos/a.png\n"
    say(capsys, "tags", "add", "--project", anna, "hat", "--at", "front", "--find", "park")
    assert captions(anna) == ["ohwx, red hair, pink shirt\n", "ohwx, hat, red hair, park\n"]
    say(capsys, "tags", "replace", "--project", anna, "--regex", r"^(\w+) hair$", r"\1 fur")
    say(capsys, "tags", "remove", "--project", anna, "park", "ohwx")
    assert captions(anna) == ["ohwx, red fur, pink shirt\n", "ohwx, hat, red fur\n"]
    for _ in range(3):
        say(capsys, "tags", "undo", "--project", anna)
    assert captions(anna) == [*SET.values()]
    say(capsys, "tags", "redo", "--project", anna)
    assert captions(anna)[1].startswith("ohwx, hat")
    assert "nothing to undo" in (say(capsys, "tags", "undo", "--project", anna),
                                 say(capsys, "tags", "undo", "--project", anna, code=1))[1]  # fmt: skip


def test_a_wrong_query_is_pointed_at(anna: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "a, (b\n   ^" in say(capsys, "tags", "find", "--project", anna, "a, (b", code=1)


def test_captions_go_out_and_come_in(anna: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "meta.json")
    say(capsys, "tags", "export", "--project", anna, "--out", out)
    assert json.loads(Path(out).read_text(encoding="utf-8"))["photos/b"] == {"tags": "ohwx, red hair, park"}
    say(capsys, "tags", "remove", "--project", anna, "red hair")
    edited = json.loads(say(capsys, "tags", "import", "--project", anna, out, "--json"))
    assert (edited["event"], sorted(edited["changed"])) == ("Edited", ["photos/a.png", "photos/b.png"])
    assert captions(anna) == [*SET.values()]


def test_traits_are_shown_and_answered(anna: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = say(capsys, "traits", "--project", anna, "--kind", "anime")
    assert "  part?        100 %  red hair  红发" in shown
    assert captions(anna) == [*SET.values()]
    told = json.loads(
        say(capsys, "traits", "--project", anna, "--accept", "--changeable", "park", "--json").splitlines()[-1]
    )
    assert "park" in told["changeable"]
    assert captions(anna) == ["ohwx, pink shirt\n", "ohwx, park\n"]
    say(capsys, "tags", "undo", "--project", anna)
    assert captions(anna) == [*SET.values()]
