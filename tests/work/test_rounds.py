"""Rounds of a project side by side, and the next one begun as the advice says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_forge.dataset.checkup.finding import Finding
from lora_forge.dataset.checkup.report import DetectorInfo, Report, stamps_of
from lora_forge.dataset.project import Project
from lora_forge.errors import ConfigError, TrainingError
from lora_forge.events import CommandBox
from lora_forge.i18n import Said
from lora_forge.lora_file.writer import load_lora
from lora_forge.work.requests import noted
from lora_forge.work.round_rows import told
from lora_forge.work.rounds import advice_of, bad_photos, can_go_on, config_of, find_test, request_for, run_settings
from lora_forge.work.run_file import read_run_file
from lora_forge.work.running import run
from lora_forge.work.runs import find_run
from tests.train.tiny import Recorder
from tests.work.conftest import SMALL
from tests.work.conftest import request_for as wanted
from tests.work.desk import TinyDesk
from tests.work.planted_rounds import keep_test

LOW = lambda epoch: 0.1 + 0.02 * epoch  # noqa: E731


@pytest.fixture
def trained(desk: TinyDesk) -> TinyDesk:
    """A run of two epochs of three steps that is done, at a rate that falls."""
    settings = {**SMALL, "schedule": "linear", "preview_every_steps": 0}
    assert run(desk, wanted(desk, settings=settings, folder="people"), Recorder(), CommandBox()).outcome == "done"
    return desk


def project_of(desk: TinyDesk) -> Project:
    return Project.load(desk.data_root() / "anna")


def test_a_run_tells_what_the_advice_is_reckoned_with(trained: TinyDesk) -> None:
    project = project_of(trained)
    found = run_settings(project, find_run(project, "girl"))
    assert found is not None
    assert (found.repeats, found.epochs, found.photos, found.steps, found.own_visits) == (1, 2, 3, 6, 0)
    assert found.rates == (pytest.approx((6 + 5 + 4) / 18), pytest.approx((3 + 2 + 1) / 18))
    assert found.more_rates == tuple(pytest.approx(sum(12 - s for s in range(3 * e, 3 * e + 3)) / 36) for e in range(4))
    assert found.can_go_on


def test_more_repeats_are_a_new_run_with_the_same_other_settings(trained: TinyDesk) -> None:
    project = project_of(trained)
    id = keep_test(project, "girl", trained.info(), LOW, (1, 2))
    test = find_test(project, id)
    assert test is not None
    request = request_for(trained, project, test, "more_repeats", ["girl_v2"])
    assert (request.name, request.kind, request.resume, request.folder) == ("girl_v3", "person", False, "people")
    assert request.settings == {**SMALL, "schedule": "linear", "preview_every_steps": 0, "epochs": 2, "repeats": 6}
    assert run(trained, request, Recorder(), CommandBox()).outcome == "done"
    now = config_of(find_run(project, "girl_v3"))
    before = config_of(find_run(project, "girl"))
    assert now is not None
    assert before is not None
    assert now.replace(name="girl", repeats=1) == before


def test_more_epochs_are_the_same_run_gone_on_with(trained: TinyDesk) -> None:
    project = project_of(trained)
    test = find_test(project, keep_test(project, "girl", trained.info(), LOW, (1, 2)))
    assert test is not None
    request = request_for(trained, project, test, "more_epochs")
    assert (request.name, request.resume, dict(request.settings)) == ("girl", True, {"epochs": 6})
    folder = trained.lora_dir() / "people"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert run(trained, request, Recorder(), CommandBox()).outcome == "done"
    files = sorted(path.name for path in folder.iterdir())
    assert files == [f"girl-{epoch:06d}.safetensors" for epoch in range(1, 7)]
    assert {name: (folder / name).read_bytes() for name in before} == before
    done = find_run(project, "girl")
    assert (done.state, done.journal.step, done.journal.total, done.epochs) == ("done", 18, 18, 6)
    note = read_run_file(done.folder)
    assert (note["kind"], note["folder"]) == ("person", "people")
    assert note["values"] == {**SMALL, "schedule": "linear", "preview_every_steps": 0, "repeats": 1, "epochs": 6}
    found = run_settings(project, done)
    assert found is not None
    assert found.rates[2] == pytest.approx((12 + 11 + 10) / 36)  # the added ones begin at the full rate again
    assert load_lora(folder / files[-1]).weights


def test_a_run_that_goes_on_keeps_its_own_note(desk: TinyDesk) -> None:
    begun = noted(wanted(desk), {})
    assert begun["values"]["rank"] == 2
    again = noted(wanted(desk, resume=True, repeats=None, epochs=14, settings={}), {**begun, "outcome": "done"})
    assert again["values"] == {**begun["values"], "epochs": 14}
    assert "values" not in noted(wanted(desk, resume=True), {})


def test_what_can_not_go_on_is_not_offered(trained: TinyDesk) -> None:
    project = project_of(trained)
    test = find_test(project, keep_test(project, "girl", trained.info(), LOW, (1, 2)))
    assert test is not None
    done, config = find_run(project, "girl"), config_of(find_run(project, "girl"))
    assert config is not None
    assert can_go_on(done, config)
    assert not can_go_on(done, config.replace(max_steps=6))
    for state in (done.folder / "state").iterdir():
        state.unlink()
    assert not can_go_on(done, config)
    with pytest.raises(ConfigError, match="no more_epochs any more"):
        request_for(trained, project, test, "more_epochs")
    with pytest.raises(ConfigError, match="no better_photos any more"):
        request_for(trained, project, test, "better_photos")


def test_a_lora_of_no_run_here_is_advised_but_not_trained(trained: TinyDesk) -> None:
    project = project_of(trained)
    test = find_test(project, keep_test(project, "foreign", trained.info(), LOW, (1, 2)))
    assert test is not None
    advice = advice_of(project, test)
    assert advice is not None
    assert {choice.id for choice in advice.choices} <= {"better_photos", "earlier_epoch"}
    with pytest.raises(TrainingError, match="no run named foreign"):
        request_for(trained, project, test, "more_repeats")


def test_bad_photos_are_those_that_the_checkup_marks_red(trained: TinyDesk) -> None:
    project = project_of(trained)
    keys = [project.key(path) for path in project.photo_paths()]
    findings = (
        Finding("blur", "red", Said("Blurred: {count}", {"count": 1}), Said("x"), (keys[1], "gone.png")),
        Finding("size", "yellow", Said("Small"), Said("x"), (keys[0],)),
        Finding("who", "red", Said("Unknown"), Said("x"), (keys[2],), is_judged=False),
    )
    report = Report(1.0, "person", 64, DetectorInfo("none", "none", Said("x")), findings, stamps_of(project), {})
    report.save(project)
    (bad,) = bad_photos(project, None)
    assert (bad.key, bad.why.text()) == (keys[1], "Blurred: 1")


def test_rounds_are_told_oldest_first_with_what_differs(trained: TinyDesk) -> None:
    project = project_of(trained)
    keep_test(project, "girl", trained.info(), lambda epoch: 0.3, (1, 2), now=1_000_000.0)
    newest = keep_test(project, "girl", trained.info(), lambda epoch: 0.3 + 0.1 * epoch, (1, 2), now=2_000_000.0)
    run(trained, wanted(trained, name="other", repeats=2, settings=SMALL), Recorder(), CommandBox())
    found = told(project, "", "en")
    first, second = found["rounds"]
    assert [one["name"] for one in found["rounds"]] == ["girl", "other"]
    assert (first["test"], first["epoch"], first["strength"]) == (newest, 2, 1.0)
    assert first["picture"].startswith(f"anna/tests/{newest}/cells/")
    assert (trained.data_root() / first["picture"]).is_file()
    assert first["scores"]["identity"] == pytest.approx(0.5)
    assert (second["test"], second["quality"], second["scores"]) == ("", None, {})
    assert [field["key"] for field in found["settings"]] == ["repeats", "schedule", "preview_every_steps"]
    assert found["settings"][0]["label"] == "Repeats"
    assert (first["values"]["repeats"], second["values"]["repeats"]) == (1, 2)
    assert found["name"] == "girl"
    assert sum(choice["is_advised"] for choice in found["advice"]["choices"]) == 1
    more = next(choice for choice in found["advice"]["choices"] if choice["id"] == "more_epochs")
    assert more["note"].startswith("The state that this goes on from takes ")
    assert json.dumps(told(project, newest, "zh"), ensure_ascii=False).count("重复次数") > 0


def test_nothing_tested_is_no_advice(trained: TinyDesk, tmp_path: Path) -> None:
    found = told(project_of(trained), "", "en")
    assert (found["advice"], found["test"], len(found["rounds"])) == (None, "", 1)
    with pytest.raises(ConfigError, match="no test nothing"):
        told(project_of(trained), "nothing", "en")
