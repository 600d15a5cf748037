"""A run's journal as lines and pictures: followed, wound back, thinned without losing a peak."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lora_forge.events import EpochEnded, PreviewMade, RunStarted, StepDone, Validated, to_json
from lora_forge.i18n import Said
from lora_forge.train.journal import FILE_NAME, Journal
from lora_forge.work.preview_list import column_of
from lora_forge.work.series import LINES, RunSeries, extremes, running_mean, series_of, thinned

TOTAL = 900


def step(number: int, loss: float = 0.1, window: float = 0.08, rate: float = 1e-4) -> StepDone:
    return StepDone(number, TOTAL, 1 + (number - 1) // 10, loss, loss, window, rate, 2.0, 30.0)


def started(first: int) -> RunStarted:
    return RunStarted("girl", "sd1", "epsilon", Said("made so"), "cpu", "fp32", 3, 10, TOTAL, first, 100)


def write(run_dir: Path, *events: Any) -> None:
    with Journal(run_dir, lambda _: None) as journal:
        for event in events:
            journal(event)


def test_the_lines_are_those_of_the_journal(tmp_path: Path) -> None:
    steps = [step(number, 0.5 / number, 0.4 / number, 1e-4 * number) for number in range(1, 8)]
    validations = [Validated(0, 0, 0.21), Validated(1, 5, 0.19)]
    write(tmp_path, started(1), validations[0], *steps[:5], validations[1], EpochEnded(1, 5, 0.08, 0.19), *steps[5:])
    assert RunSeries(tmp_path).series() | {"revision": ""} == {
        "revision": "",
        "since": 0,
        "is_new": True,
        "first": 1,
        "last": 7,
        "total": TOTAL,
        "steps_per_epoch": 10,
        "steps": [1, 2, 3, 4, 5, 6, 7],
        "loss": [0.5, 0.25, 0.166667, 0.125, 0.1, 0.0833333, 0.0714286],
        "window_mse": [0.4, 0.2, 0.133333, 0.1, 0.08, 0.0666667, 0.0571429],
        "objective": [0.5, 0.375, 0.305556, 0.260417, 0.228333, 0.204167, 0.185204],
        "learning_rate": [0.0001, 0.0002, 0.0003, 0.0004, 0.0005, 0.0006, 0.0007],
        "validation": [[0, 0.21], [5, 0.19]],
        "epochs": [[5, 1]],
    }


def test_a_run_without_a_journal_has_no_lines(tmp_path: Path) -> None:
    told = RunSeries(tmp_path / "not there").series()
    assert [told[name] for name in ("first", "last", "total")] == [None] * 3
    assert [told[name] for name in ("steps", *LINES, "validation", "epochs")] == [[]] * 7


def test_only_what_was_added_is_read_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, started(1), step(1), step(2), Validated(1, 2, 0.3))
    series = RunSeries(tmp_path)
    revision = series.series()["revision"]
    write(tmp_path, step(3, 0.7), step(4))
    read: list[bytes] = []
    take = RunSeries._take
    monkeypatch.setattr(RunSeries, "_take", lambda self, line: (read.append(line), take(self, line))[1])
    told = series.series(since=2, revision=revision)
    assert len(read) == 2
    assert (told["is_new"], told["since"], told["revision"]) == (False, 2, revision)
    assert (told["steps"], told["loss"]) == ([3, 4], [0.7, 0.1])
    assert told["validation"] == [[2, 0.3]], "what belongs to the last step may have come after it"
    assert series.series(since=4, revision=revision)["steps"] == []


def test_a_line_that_is_being_written_waits_for_its_end(tmp_path: Path) -> None:
    write(tmp_path, step(1))
    series, line = RunSeries(tmp_path), json.dumps(to_json(step(2))).encode() + b"\n"
    with (tmp_path / FILE_NAME).open("ab") as file:
        file.write(line[:40])
        file.flush()
        assert series.series()["steps"] == [1]
        file.write(line[40:])
    assert series.series()["steps"] == [1, 2]


def test_damaged_lines_are_skipped(tmp_path: Path) -> None:
    write(tmp_path, step(1))
    with (tmp_path / FILE_NAME).open("ab") as file:
        file.write(b'{"event": "StepDone", "st\n\xff\xfe\n[1]\n7\n{"event": ["StepDone"]}\n{"event": "StepDone"}\n')
        file.write(b'{"event": "StepDone", "step": 2, "loss": "much", "window_mse": null}\n')
        file.write(b'{"event": "StepDone", "step": true}\n{"event": "PreviewMade", "step": 2, "path": 3}\n')
    told = RunSeries(tmp_path).series()
    assert (told["steps"], told["loss"], told["window_mse"]) == ([1, 2], [0.1, None], [0.08, None])


def test_steps_done_again_replace_the_earlier_ones(tmp_path: Path) -> None:
    pictures = [PreviewMade(tmp_path / f"previews/step-{at:08d}-1.png", at, "ohwx") for at in (2, 4)]
    write(tmp_path, started(1), step(1), step(2), Validated(1, 2, 0.2), EpochEnded(1, 2, 0.1, 0.2), pictures[0])
    write(tmp_path, step(3), step(4), Validated(2, 4, 0.1), EpochEnded(2, 4, 0.1, 0.1), pictures[1])
    series = RunSeries(tmp_path)
    before = series.series()
    write(tmp_path, started(3))
    wound = series.series(since=4, revision=before["revision"])
    assert (wound["is_new"], wound["since"], wound["steps"], wound["last"]) == (True, 0, [1, 2], 2)
    assert (wound["validation"], wound["epochs"]) == ([[2, 0.2]], [[2, 1]])
    assert [one["step"] for one in series.previews().told("", {one.path.name for one in pictures})["steps"]] == [2]
    write(tmp_path, step(3, 0.9), step(4, 0.8))
    told = series.series(since=4, revision=before["revision"])
    assert told["loss"] == [0.1, 0.1, 0.9, 0.8]
    assert series.series(since=4, revision=told["revision"])["is_new"] is False
    assert told == RunSeries(tmp_path).series(), "another process tells the same, its revision with it"


def test_an_old_journal_without_a_word_of_the_resume(tmp_path: Path) -> None:
    write(tmp_path, step(1), step(2), step(3), step(2, 0.9))
    told = RunSeries(tmp_path).series()
    assert (told["steps"], told["loss"]) == ([1, 2], [0.1, 0.9])


def test_another_run_of_the_same_name_begins_anew(tmp_path: Path) -> None:
    write(tmp_path, step(1), step(2))
    series = RunSeries(tmp_path)
    before = series.series()
    os.replace(tmp_path / FILE_NAME, tmp_path / "trashed")
    assert series.series(since=2, revision=before["revision"])["steps"] == []
    write(tmp_path, step(1, 0.5), step(2, 0.5), step(3, 0.5))
    told = series.series(since=2, revision=before["revision"])
    assert (told["is_new"], told["loss"]) == (True, [0.5, 0.5, 0.5])


def test_nan_is_null_and_no_peak(tmp_path: Path) -> None:
    losses = [math.nan if number % 3 == 0 else number / 1000 for number in range(1, 301)]
    write(tmp_path, *(step(number, loss, math.nan) for number, loss in enumerate(losses, 1)))
    told = RunSeries(tmp_path).series(points=40)
    assert json.dumps(told, allow_nan=False)
    assert len(told["steps"]) <= 40
    assert max(value for value in told["loss"] if value is not None) == 0.299
    assert set(told["window_mse"]) == {None}


@pytest.mark.parametrize("points", [16, 50, 1200])
@pytest.mark.parametrize("count", [17, 1201, 50_000])
def test_peaks_planted_in_every_line_are_kept(points: int, count: int) -> None:
    draw = np.random.default_rng(count)
    columns = [draw.normal(0.1, 0.01, count) for _ in LINES]
    planted = []
    for column in columns:
        low, high = (int(place) for place in draw.choice(count, 2, replace=False))
        column[low], column[high] = -5.0, 5.0
        planted += [low, high]
    places = thinned(columns, points)
    assert len(places) <= points or count <= points
    assert set(planted) <= set(places.tolist())
    assert (places[0], places[-1]) == (0, count - 1)
    assert (np.diff(places) > 0).all()


def test_the_objective_is_smoothed_over_an_epoch() -> None:
    values = np.array([1.0, 3.0, np.nan, 5.0, np.inf, np.nan, np.nan])
    np.testing.assert_array_equal(running_mean(values, 3), [1, 2, 2, 4, 5, 5, np.nan])
    assert running_mean(np.array([]), 3).shape == (0,)


def test_the_mean_goes_on_over_what_was_asked_before(tmp_path: Path) -> None:
    write(tmp_path, started(1), *(step(number, number / 100) for number in range(1, 13)))
    assert RunSeries(tmp_path).series(since=11)["objective"] == [0.075], "the steps 3 to 12"


def test_every_stretch_keeps_its_own_lowest_and_highest() -> None:
    values = np.array([3.0, 1.0, 2.0, 9.0, np.nan, 7.0, np.nan, np.nan, np.nan, 4.0])
    assert {1, 0, 5, 3, 9} <= set(extremes(values, 4).tolist())


def test_a_span_is_told_in_detail_with_its_edges(tmp_path: Path) -> None:
    write(tmp_path, *(step(number) for number in range(1, 501)))
    told = RunSeries(tmp_path).series(points=100, span=(200, 210))
    assert told["steps"] == list(range(199, 212))
    assert told["is_new"] is False
    assert RunSeries(tmp_path).series(points=100, span=(900, 100))["steps"] == []


def test_pictures_by_step_and_column_newest_first(tmp_path: Path) -> None:
    base, other = tmp_path / "base-1.png", tmp_path / "base-2.png"
    write(
        tmp_path,
        PreviewMade(base, 50, "ohwx", 0),
        PreviewMade(tmp_path / "step-00000050-1.png", 50, "ohwx", 1),
        PreviewMade(tmp_path / "step-00000050-2.png", 50, "ohwx, white hair", 2),
        PreviewMade(tmp_path / "step-00000100-1.png", 100, "ohwx", 1),
        PreviewMade(other, 150, "ohwx, snow", 0),
        PreviewMade(tmp_path / "step-00000150-1.png", 150, "ohwx, snow", 1),
        PreviewMade(tmp_path / "step-00000200-1.png", 200, "ohwx, snow", 1),
    )
    there = {"base-1.png", "base-2.png", *(f"step-{at:08d}-1.png" for at in (50, 100, 150)), "step-00000050-2.png"}
    told = RunSeries(tmp_path).previews().told("anna/runs/girl/previews/", there)
    assert told["columns"] == [
        {"column": 0, "prompt": "ohwx, snow"},
        {"column": 1, "prompt": "ohwx, snow"},
        {"column": 2, "prompt": "ohwx, white hair"},
    ]
    place = "anna/runs/girl/previews/"
    assert [(one["step"], one["pictures"]) for one in told["steps"]] == [
        (150, {"0": place + "base-2.png", "1": place + "step-00000150-1.png"}),
        (100, {"0": place + "base-1.png", "1": place + "step-00000100-1.png"}),
        (
            50,
            {"0": place + "base-1.png", "1": place + "step-00000050-1.png", "2": place + "step-00000050-2.png"},
        ),
    ], "the picture of step 200 is no longer there"
    assert told["steps"][1]["prompts"] == {"0": "ohwx", "1": "ohwx"}


def test_old_journals_say_the_column_in_the_file_name(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(
        '{"event": "PreviewMade", "path": "C:\\\\runs\\\\girl\\\\step-00000050-2.png", "step": 50, "prompt": "ohwx"}\n'
    )
    told = RunSeries(tmp_path).previews().told("", {"step-00000050-2.png"})
    assert told["steps"][0]["pictures"] == {"2": "step-00000050-2.png"}
    assert [column_of(name) for name in ("step-00000050-12.png", "base-ab12.png")] == [12, 0]


def test_one_follower_for_a_run(tmp_path: Path) -> None:
    assert series_of(tmp_path) is series_of(tmp_path)
