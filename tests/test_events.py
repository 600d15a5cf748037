"""Events as JSON, and commands on their way to a run."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from lora_forge import events
from lora_forge.errors import DatasetError
from lora_forge.events import Command, CommandBox, Recommended, RunEnded, StageDone, StepDone, Warned
from lora_forge.i18n import Said, Several, some_of


def test_an_event_is_one_plain_object() -> None:
    made = events.to_json(RunEnded("done", 120, 120, (Path("loras") / "a-000001.safetensors",), "fine"))
    assert made == {
        "event": "RunEnded",
        "outcome": "done",
        "step": 120,
        "total_steps": 120,
        "files": [str(Path("loras") / "a-000001.safetensors")],
        "message": "fine",
    }
    assert json.loads(json.dumps(made)) == made


def test_a_number_that_is_none_is_no_nan_in_json() -> None:
    step = StepDone(1, 2, 1, float("nan"), float("inf"), 0.5, 1e-4, 2.0, 3.0, is_skipped=True)
    made = events.to_json(step)
    assert made["loss"] is None
    assert made["mse"] is None
    assert made["window_mse"] == 0.5
    json.dumps(made, allow_nan=False)


def test_a_warning_and_a_summary_are_their_english_in_json() -> None:
    values = {"photos": some_of(["a{b}.png", "c.png"])}
    warned = Warned("{photos}: the caption has several lines; only the first is trained on.", values)
    said = "a{b}.png, c.png: the caption has several lines; only the first is trained on."
    assert warned.message == said
    assert events.to_json(warned) == {"event": "Warned", "message": said}
    done = StageDone("train", "{step} of {total} steps, {files} files", {"step": 5, "total": 9, "files": 1})
    assert events.to_json(done) == {"event": "StageDone", "stage": "train", "summary": "5 of 9 steps, 1 files"}
    assert events.to_json(StageDone("wait")) == {"event": "StageDone", "stage": "wait", "summary": ""}
    advice = Recommended(2, 0.5, Said("Keep {cell}: {facts}.", {"cell": "{x}", "facts": Said("1 picture")}))
    assert events.to_json(advice)["sentence"] == "Keep {x}: 1 picture."


def test_what_is_kept_of_a_value_holds_no_error_and_stays_sayable() -> None:
    inner = DatasetError("{name} is empty.", "Check the path.", name=Path("{x}.png"))
    kept = events.kept(Said("{problem} ({n})", {"problem": inner, "n": 3}))
    whole = Several((Said("{name} is empty.", {"name": "{x}.png"}), Said("Check the path.", {"name": "{x}.png"})), " ")
    assert kept == Said("{problem} ({n})", {"problem": whole, "n": 3})
    assert str(kept) == "{x}.png is empty. Check the path. (3)"
    assert events.kept(Several((ValueError("full"), 2), "; ")) == Several(("full", 2), "; ")
    assert events.text_of("{not} a place").text("zh") == "{not} a place"


def test_commands_arrive_in_order_and_once() -> None:
    box = CommandBox()
    assert box.take() is None
    box.send(Command.PAUSE)
    box.send(Command.RESUME)
    assert [box.take(), box.take(), box.take()] == [Command.PAUSE, Command.RESUME, None]


def test_a_waiting_run_wakes_when_told() -> None:
    box = CommandBox()
    taken: list[Command | None] = []
    waiting = threading.Thread(target=lambda: taken.append(box.take(timeout_s=30)))
    waiting.start()
    box.send(Command.STOP)
    waiting.join(timeout=30)
    assert taken == [Command.STOP]
