"""Folders, files and photos that a person takes away while the run goes on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_forge.dataset import trash
from lora_forge.dataset.prepare import PrepareSettings, prepare
from lora_forge.dataset.project import Project
from lora_forge.errors import DatasetError, TrainingError
from lora_forge.events import Command, CommandBox, LoraSaved, RunStarted, StageDone, StateSaved, StepDone, Warned
from lora_forge.ports import BorrowedModel
from lora_forge.train.claim import claimed
from lora_forge.train.journal import read_journal
from lora_forge.work import run as run_on_desk
from tests.faults import checks
from tests.train import tiny
from tests.work.conftest import SMALL, request_for
from tests.work.desk import TinyDesk

AHEAD = pytest.mark.parametrize("ahead", ["on", "auto", "off"])


def when(kind: type, number: int, act: Callable[[], Any], box: CommandBox | None = None) -> tiny.Recorder:
    """Does ``act`` when the ``kind`` of event comes with that step."""

    def look(event: Any) -> None:
        if type(event) is kind and event.step == number:
            act()

    return tiny.Recorder(look)


def said(recorder: tiny.Recorder) -> list[str]:
    return [warned.message for warned in recorder.of(Warned)]


@pytest.mark.skipif(os.name == "nt", reason="Windows removes no folder with an open file in it")
def test_the_output_folder_is_made_again_and_that_is_said(
    tmp_path: Path, prepared: Any, model: BorrowedModel, straight: Path
) -> None:
    recorder = when(StepDone, 4, lambda: shutil.rmtree(tmp_path / "out"))
    assert tiny.run(tmp_path, checks.SETTINGS, prepared, model, recorder).outcome == "done"
    made, gone = said(recorder)
    assert "out was removed while the run goes on" in made
    assert "made again" in made
    assert "tiny-000001.safetensors" in gone
    files, states, figures = checks.expected(straight)
    assert checks.loras(tmp_path) == {name: content for name, content in files.items() if "000001" not in name}
    assert {step: checks.state_bits(state) for step, state in checks.states(tmp_path).items()} == states
    assert checks.steps_of(tmp_path) == figures


@pytest.mark.skipif(os.name == "nt", reason="Windows removes no folder with an open file in it")
def test_the_last_file_is_written_again_by_resuming(
    tmp_path: Path, prepared: Any, model: BorrowedModel, straight: Path
) -> None:
    recorder = when(StateSaved, checks.STEPS, lambda: shutil.rmtree(tmp_path / "out"))
    with pytest.raises(TrainingError, match=r"tiny-000003\.safetensors is not there any more\. Resume the run"):
        tiny.run(tmp_path, checks.SETTINGS, prepared, model, recorder)
    again = tiny.Recorder()
    checks.finish(tmp_path, prepared, model, again)
    assert [saved.epoch for saved in again.of(LoraSaved)] == [3]
    assert again.of(StepDone) == []
    assert checks.loras(tmp_path)["tiny-000003.safetensors"] == checks.expected(straight)[0]["tiny-000003.safetensors"]
    third = tiny.Recorder()
    checks.finish(tmp_path, prepared, model, third)
    assert third.of(LoraSaved) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows removes no folder with an open file in it")
def test_the_runs_own_folder_is_made_again_claimed_again_and_can_be_resumed(
    tmp_path: Path, prepared: Any, model: BorrowedModel, straight: Path
) -> None:
    box, refused = CommandBox(), list[str]()

    def claim_too() -> None:
        with pytest.raises(TrainingError, match="Another run is at work") as caught, claimed(tmp_path / "run"):
            pass
        refused.append(caught.value.message())

    def look(event: Any) -> None:
        if isinstance(event, StepDone) and event.step == 4:
            shutil.rmtree(tmp_path / "run")
        if isinstance(event, StepDone) and event.step == 5:
            claim_too()
        if isinstance(event, StepDone) and event.step == 7:
            box.send(Command.STOP)

    recorder = tiny.Recorder(look)
    result = tiny.run(tmp_path, checks.SETTINGS, prepared, model, recorder, box)
    assert (result.outcome, result.step, len(refused)) == ("stopped", 7, 1)
    (message,) = said(recorder)
    assert "The run's folder" in message
    assert "made again" in message
    assert sorted(checks.states(tmp_path)) == [4, 6]
    assert [line["step"] for line in read_journal(tmp_path / "run") if line["event"] == "StepDone"] == [5, 6, 7]
    checks.finish(tmp_path, prepared, model)
    files, states, _ = checks.expected(straight)
    assert checks.loras(tmp_path) == files
    assert {step: checks.state_bits(state) for step, state in checks.states(tmp_path).items()} == states


@AHEAD
def test_a_photo_deleted_during_a_run_makes_no_difference_to_it(
    ahead: str, tmp_path: Path, model: BorrowedModel, straight: Path
) -> None:
    prepared = tiny.build_project(tmp_path / "project")
    recorder = when(StepDone, 1, prepared.images[1].source.unlink)
    settings = checks.SETTINGS.replace(encode_ahead=ahead)
    assert tiny.run(tmp_path, settings, prepared, model, recorder).outcome == "done"
    assert said(recorder) == []
    checks.assert_same_end(tmp_path, straight)


@AHEAD
def test_a_prepared_copy_that_is_gone_is_named_and_preparing_again_heals_it(
    ahead: str, tmp_path: Path, model: BorrowedModel, straight: Path
) -> None:
    prepared = tiny.build_project(tmp_path / "project")
    settings = checks.SETTINGS.replace(encode_ahead=ahead)
    if ahead == "on":  # the photos have been read by then
        recorder = when(StepDone, 1, lambda: shutil.rmtree(tmp_path / "project" / "prepared"))
        assert tiny.run(tmp_path, settings, prepared, model, recorder).outcome == "done"
    else:
        for image in prepared.images:
            image.path.unlink()
        with pytest.raises(
            DatasetError, match=r"photo\d\.png can't be used: it is not there\. Prepare the photos again"
        ):
            tiny.run(tmp_path, settings, prepared, model)
        project = Project.load(tmp_path / "project")
        prepared = prepare(project, PrepareSettings(64, True, 16, 32, 128), lambda _: None)
        assert tiny.run(tmp_path, settings, prepared, model, resume=True).outcome == "done"
    checks.assert_same_end(tmp_path, straight)


@AHEAD
@pytest.mark.once
def test_a_photo_put_into_the_trash_during_a_run_is_asked_for_when_resuming(ahead: str, tmp_path: Path) -> None:
    """On a desk, as from the page: the run that goes on needs it no more, one that is taken up again does."""
    ends = []
    for name, is_taken_out in (("whole", False), ("cut", True)):
        (tmp_path / name).mkdir()
        desk = TinyDesk(tmp_path / name)
        root = desk.data_root() / "anna"
        tiny.build_project(root, ((70, 70), (90, 70), (70, 70)))
        request = request_for(desk, settings={**SMALL, "encode_ahead": ahead, "state_every_steps": 1})
        if is_taken_out:
            _cut_take_out_and_put_back(desk, root, request)
        else:
            assert run_on_desk(desk, request, tiny.Recorder(), CommandBox()).outcome == "done"
        ends.append({path.name: checks.weight_bytes(path) for path in desk.lora_dir().glob("*.safetensors")})
    assert ends[0] == ends[1]
    assert len(ends[0]) == 2


def _cut_take_out_and_put_back(desk: TinyDesk, root: Path, request: Any) -> None:
    box, entries = CommandBox(), list[trash.TrashEntry]()

    def look(event: Any) -> None:
        if isinstance(event, StepDone) and event.step == 1:
            entries.append(trash.take_out(Project.load(root), root / "images" / "subject" / "photo1.png"))
        if isinstance(event, StepDone) and event.step == 2:
            box.send(Command.STOP)

    assert run_on_desk(desk, request, tiny.Recorder(look), box).step == 2
    again = request_for(desk, settings=request.settings, resume=True)
    with pytest.raises(TrainingError, match=r"photos gone: photo1\.png.*Put that back as it was"):
        run_on_desk(desk, again, tiny.Recorder(), CommandBox())
    trash.put_back(Project.load(root), entries[0])
    recorder = tiny.Recorder()
    assert run_on_desk(desk, again, recorder, CommandBox()).outcome == "done"
    assert recorder.of(RunStarted)[0].first_step == 3
    assert recorder.of(StageDone)
