"""What is proposed, how long it may take, grids that the host drew, and judges that come and go."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from lora_forge.dataset.project import Project
from lora_forge.events import CommandBox
from lora_forge.host.desk import StandaloneDesk
from lora_forge.work.testing import create, keep_cell, load_test, new_test, run_test
from lora_forge.work.testing.files import ScoreBook, change_about, read_notes
from lora_forge.work.testing.proposing import form, planned, seconds_per_picture
from lora_forge.work.testing.request import read_form, strengths_text
from tests.work.testing.conftest import request_for

pytestmark = pytest.mark.once


def test_time_grows_with_pixels_and_steps(desk: StandaloneDesk, project: Project) -> None:
    wanted = request_for(project)
    values = {**wanted.form(), "mode": "full"}
    assert seconds_per_picture(desk, project, wanted) is None
    unknown = planned(desk, project, values, "en")
    assert unknown["seconds"] is None
    assert unknown["sentence"] == "5 cells with 2 picture(s) each: 10 pictures, time not measured yet."
    id = new_test(desk, wanted)
    pace = {"base": "toyworld", "pixels": 64 * 64, "steps": 2, "seconds": 1.5}
    change_about(load_test(project, id).folder, pace=pace)
    assert seconds_per_picture(desk, project, wanted) == pytest.approx(1.5)
    assert seconds_per_picture(desk, project, replace(wanted, width=128, steps=6)) == pytest.approx(1.5 * 2 * 3)
    assert planned(desk, project, values, "en")["seconds"] == 15
    change_about(load_test(project, id).folder, pace={**pace, "base": "another"})
    assert seconds_per_picture(desk, project, wanted) is None


def test_a_project_without_a_lora_has_a_form_too(desk: StandaloneDesk, project: Project) -> None:
    for path in desk.lora_dir().iterdir():
        path.unlink()
    told = form(desk, project, "toyworld", "", "en")
    assert (told["name"], told["loras"], told["tests"]) == ("", [], [])
    problems = planned(desk, project, told, "en")["problems"]
    assert [one["key"] for one in problems] == ["name"]


@pytest.mark.parametrize(
    ("strengths", "text"),
    [((0.1, 0.2, 0.3), "0.1-0.3"), ((0.0, 0.5, 1.0), "0,0.5,1"), ((0.7, 0.8, 1.25), "0.7-0.8,1.25"), ((1.0,), "1")],
)
def test_strengths_are_written_as_they_are_read(strengths: tuple[float, ...], text: str) -> None:
    from lora_forge.evaluate.plan import parse_strengths

    assert strengths_text(strengths) == text
    assert parse_strengths(text) == strengths


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"width": True}, "width"),
        ({"steps": 2.5}, "steps"),
        ({"guidance": "nan"}, "guidance"),
        ({"seeds": 17}, "seeds"),
        ({"swaps": [1]}, "swaps"),
        ({"name": ""}, "name"),
        ({"mode": "xyz"}, "mode"),
        ({"epochs": "1-1000", "strengths": "0-10"}, "epochs"),
        ({"prompt": ["x"]}, "prompt"),
    ],
)
def test_each_wrong_field_is_named(project: Project, changes: dict[str, Any], key: str) -> None:
    read = read_form(project.root, {**request_for(project).form(), **changes})
    assert read.request is None
    assert [one.key for one in read.problems] == [key]


def test_a_form_and_its_request_are_one(project: Project) -> None:
    wanted = request_for(project, seeds=(5, 6), swaps=("red dress", "snow"), prompt="sks, <lora:toy-NUM:STRENGTH>")
    assert read_form(project.root, wanted.form()).request == wanted


def test_pictures_that_the_host_drew_are_scored_and_no_more(desk: StandaloneDesk, project: Project) -> None:
    wanted = request_for(project, mode="xyz", swaps=(), name="gone", epochs=(1, 2), strengths=(0.0, 1.0))
    id = create(project, wanted, "somebody's")
    photo = Image.open(next(iter(project.photos())).path).convert("RGB")
    for cell in wanted.plan().cells():
        keep_cell(project, id, cell, [photo])
    assert run_test(desk, project, id, lambda event: None, CommandBox()) == "done"
    test = load_test(project, id)
    assert set(test.cells) == set(test.surface) == {(0, 0.0), (1, 1.0), (2, 1.0)}
    assert all(len(paths) == 1 for paths in test.cells.values())
    copying = test.surface[1, 1.0].copying
    assert copying is not None
    assert copying.mean == pytest.approx(1.0, abs=0.01)  # it is that photo


def test_scores_of_other_judges_are_made_anew(desk: StandaloneDesk, project: Project) -> None:
    id = new_test(desk, request_for(project, epochs=(1,), strengths=(1.0,)))
    run_test(desk, project, id, lambda event: None, CommandBox())
    test = load_test(project, id)

    class SameStore:
        def mark(self, epoch: int, strength: float) -> str:
            return test.notes[epoch, strength].mark

    judges = dict(test.notes[1, 1.0].judges)
    cell = (1, 1.0)

    def kept(now: dict[str, str]) -> bool:
        return ScoreBook(test.folder, SameStore(), now).scores(cell) is not None  # type: ignore[arg-type]

    assert kept(judges)
    assert kept({score: name for score, name in judges.items() if score != "identity"})  # one is missing now
    assert not kept({**judges, "identity": "another"})
    assert not kept({**judges, "beauty": "new"})
    assert read_notes(test.folder)[0] == test.revision
