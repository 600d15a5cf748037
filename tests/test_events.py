"""Events as JSON, and commands on their way to a run."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from lora_forge import events
from lora_forge.events import Command, CommandBox, RunEnded, StepDone


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
