"""A whole run on a desk: what is written and said, when it stops, and whether the host is shown to be as it was."""

from __future__ import annotations

import dataclasses
import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_forge.config import Family
from lora_forge.dataset.project import Project
from lora_forge.errors import CheckpointError, LoraFileError, TrainingError
from lora_forge.events import Command, CommandBox, Event, LoraSaved, Progress, StageDone, StageStarted, StepDone, Warned
from lora_forge.jobs import JobBoard
from lora_forge.ports import Traces
from lora_forge.work import run
from tests.train.tiny import Recorder
from tests.work.conftest import SMALL, request_for
from tests.work.desk import TinyDesk

LONG_S = 120.0


def proof_of(said: Recorder) -> list[str]:
    return [event.summary for event in said.of(StageDone) if event.stage == "prove"]


def test_a_run_writes_its_files_into_the_lora_folder_and_has_each_looked_at(desk: TinyDesk) -> None:
    said = Recorder()
    result = run(desk, request_for(desk, folder="people"), said, CommandBox())
    names = ["girl-000001.safetensors", "girl-000002.safetensors"]
    assert (result.outcome, result.step) == ("done", 6)
    assert [path.relative_to(desk.lora_dir()).as_posix() for path in result.files] == [f"people/{n}" for n in names]
    assert desk.checked == names
    assert said.of(Warned) == []
    stages = [event.stage for event in said.of(StageStarted)]
    assert stages.index("prepare") < stages.index("wait") < stages.index("train")
    assert "prove" not in stages
    assert desk.looks == []
    settings = json.loads((desk.data_root() / "anna" / "runs" / "girl" / "config.json").read_text(encoding="utf-8"))
    assert (settings["name"], settings["rank"]) == ("girl", 2)
    assert not desk.lock.locked()


def test_the_hosts_own_bar_moves_with_every_step(desk: TinyDesk) -> None:
    run(desk, request_for(desk), Recorder(), CommandBox())
    steps = [(step, total) for step, total, text in desk.reports if "loss" in text]
    assert steps == [(number, 6) for number in range(1, 7)]


def test_keys_that_the_host_leaves_unused_are_named(desk: TinyDesk) -> None:
    desk.unused = [f"lora_unet_key{number}" for number in range(7)]
    said = Recorder()
    assert run(desk, request_for(desk, epochs=1), said, CommandBox()).outcome == "done"
    (warned,) = [event.message for event in said.of(Warned)]
    assert warned.startswith("Tiny 1.0 leaves 7 of ")
    assert "girl-000001.safetensors unused: lora_unet_key0, " in warned
    assert warned.endswith("lora_unet_key4 and 2 more.")


CAUSES = [LoraFileError("It is torn."), AttributeError("networks")]


@pytest.mark.parametrize("cause", CAUSES)
def test_a_loader_that_fails_is_a_warning_and_the_run_goes_on(desk: TinyDesk, cause: Exception) -> None:
    desk.unused = cause
    said = Recorder()
    assert run(desk, request_for(desk, epochs=1), said, CommandBox()).outcome == "done"
    assert "could not look at girl-000001.safetensors" in said.of(Warned)[0].message


def test_a_stop_while_waiting_is_obeyed_while_others_hold_the_checkpoint(desk: TinyDesk) -> None:
    board = JobBoard()
    desk.lock.acquire()  # someone makes a picture
    board.start("girl", lambda emit, commands: run(desk, request_for(desk), emit, commands).outcome)
    while board.snapshot()["state"] != "waiting":
        pass
    board.send(Command.STOP)
    board.join(LONG_S)
    assert board.snapshot()["state"] == "stopped"
    assert desk.lock.locked()
    desk.lock.release()
    assert list(desk.lora_dir().iterdir()) == []
    left = {path.name for path in (desk.data_root() / "anna" / "runs" / "girl").iterdir()}
    assert left == {".lock", "run.json"}


def test_a_stop_while_photos_are_prepared_is_obeyed_after_the_photo(desk: TinyDesk) -> None:
    commands = CommandBox()

    def act(event: Event) -> None:
        if isinstance(event, Progress):
            commands.send(Command.STOP)

    said = Recorder(act)
    result = run(desk, request_for(desk), said, commands)
    assert (result.outcome, result.files, result.step) == ("stopped", (), 0)
    assert [event.done for event in said.of(Progress)] == [1]
    assert "wait" not in [event.stage for event in said.of(StageStarted)]


def test_stop_and_resume_ends_in_the_files_of_an_uninterrupted_run(desk: TinyDesk, tmp_path: Path) -> None:
    commands = CommandBox()

    def act(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == 4:
            commands.send(Command.STOP_AND_SAVE)

    stopped = run(desk, request_for(desk), Recorder(act), commands)
    assert (stopped.outcome, stopped.step) == ("stopped", 4)
    again = run(desk, request_for(desk, resume=True, repeats=None, settings={}), Recorder(), CommandBox())
    assert (again.outcome, again.step) == ("done", 6)
    whole = TinyDesk(tmp_path / "other", desk.model)
    (tmp_path / "other").mkdir()
    straight = run(whole, request_for(whole, project=_copy(desk, whole)), Recorder(), CommandBox())
    assert _tensors(again.files[-1]) == _tensors(straight.files[-1])


@pytest.mark.parametrize(("prove", "looks"), [("weights", [False, False]), ("picture", [True, True])])
def test_the_proof_compares_before_and_after(desk: TinyDesk, prove: Any, looks: list[bool]) -> None:
    said = Recorder()
    run(desk, request_for(desk, epochs=1, prove=prove), said, CommandBox())
    assert desk.looks == looks
    (proof,) = proof_of(said)
    assert proof.startswith("The host is as it was, bit for bit: ")
    assert "unet " in proof
    assert said.of(Warned) == []


def test_the_proof_names_what_changed(desk: TinyDesk) -> None:
    def act(event: Event) -> None:
        if isinstance(event, LoraSaved):
            with torch.no_grad():
                next(desk.model.unet.parameters()).add_(1.0)

    desk.model = dataclasses.replace(desk.model)
    said = Recorder(act)
    run(desk, request_for(desk, epochs=1, prove="weights"), said, CommandBox())
    assert proof_of(said) == []
    assert [event.message for event in said.of(Warned)] == ["The host is not as it was. Changed: unet: weights."]


def test_generators_that_moved_are_told_with_what_else_moves_them(desk: TinyDesk) -> None:
    state = torch.get_rng_state()
    said = Recorder(lambda event: torch.rand(1) if isinstance(event, LoraSaved) else None)
    run(desk, request_for(desk, epochs=1, prove="weights"), said, CommandBox())
    torch.set_rng_state(state)
    (warned,) = [event.message for event in said.of(Warned)]
    assert warned.startswith("The host is not as it was. Changed: random: torch. Pictures that were made meanwhile")


def test_a_failed_run_is_proven_too_and_its_own_error_is_the_one_heard(desk: TinyDesk) -> None:
    def act(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == 2:
            raise MemoryError

    said = Recorder(act)
    with pytest.raises(TrainingError, match="memory is full"):
        run(desk, request_for(desk, prove="weights"), said, CommandBox())
    assert len(proof_of(said)) == 1
    assert not desk.lock.locked()


@pytest.mark.parametrize("cause", [CheckpointError("No picture came."), AttributeError("sd_model")])
def test_a_proof_that_can_not_be_had_is_a_warning(
    desk: TinyDesk, cause: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(with_picture: bool = False) -> Traces:
        raise cause

    monkeypatch.setattr(desk, "traces", refuse)
    said = Recorder()
    assert run(desk, request_for(desk, epochs=1, prove="picture"), said, CommandBox()).outcome == "done"
    (warned,) = [event.message for event in said.of(Warned)]
    assert warned.startswith("Whether the host is left as it was can't be shown: ")
    assert str(cause) in warned


def test_another_checkpoint_than_was_planned_for_is_refused(desk: TinyDesk) -> None:
    desk.lock.acquire()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            run(desk, request_for(desk), said, CommandBox())
        except TrainingError as error:
            failed.append(error)

    waits = threading.Event()
    said = Recorder(lambda e: waits.set() if isinstance(e, StageStarted) and e.stage == "wait" else None)
    thread = threading.Thread(target=work)
    thread.start()
    assert waits.wait(LONG_S)
    other = dataclasses.replace(desk.model.info, name="other", family=Family.SDXL)
    desk.model = dataclasses.replace(desk.model, info=other)
    desk.lock.release()
    thread.join(LONG_S)
    assert "changed from tiny (sd1) to other (sdxl)" in str(failed[0])
    assert said.of(StepDone) == []


def test_the_board_shows_a_whole_run_to_a_page_that_comes_late(desk: TinyDesk) -> None:
    board = JobBoard()
    request = request_for(desk, prove="weights", settings={**SMALL, "state_every_steps": 0})
    board.start("girl", lambda emit, commands: run(desk, request, emit, commands).outcome)
    board.join(LONG_S)
    snapshot = board.snapshot()
    assert snapshot["state"] == "done"
    assert snapshot["files"] == ["girl-000001.safetensors", "girl-000002.safetensors"]
    text = "\n".join(line["text"] for line in snapshot["log"])
    for words in ("Preparing 3 photos.", "Training: 6 steps.", "Saved girl-000002.safetensors", "as it was, bit for"):
        assert words in text
    assert str(desk.root) not in json.dumps(snapshot)


def _copy(desk: TinyDesk, other: TinyDesk) -> Path:
    from lora_forge.work import gather

    gather(other, "anna", [desk.data_root() / "anna" / "images" / "subject"], "", Recorder(), allows_paths=True)
    made = Project.load(other.data_root() / "anna")
    made.set_trigger_word("")  # as the one it was copied from: a new project gets one from its name
    return made.root


def _tensors(path: Path) -> dict[str, bytes]:
    from safetensors.torch import load_file

    return {name: tensor.numpy().tobytes() for name, tensor in load_file(path).items()}
