"""Two processes over gloo take one run's steps together; what they are told, and what becomes of all when one fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_forge.errors import ConfigError, TrainingError
from lora_forge.lora_file.writer import load_lora
from lora_forge.train.journal import read_journal
from lora_forge.train.ranks import Ranks, Word, joined
from tests.train.test_resume import assert_same, assert_same_end, files_of, newest

ROOT = Path(__file__).parents[2]
RUNS = ("alone", "straight")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, which Windows does not have")


def together(test: Any) -> Any:
    """Marks of a test that looks at what the two processes did."""
    return pytest.mark.slow(pytest.mark.once(needs_fork(test)))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def story(place: Path) -> dict[str, list[Any]]:
    """What each process of each scenario met."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.train.two_ranks", str(place)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def events(where: Path) -> list[str]:
    """Names of the events in the run's journal."""
    return [line["event"] for line in read_journal(where / "run")]


@together
def test_two_processes_are_one_with_twice_the_batch(story: dict[str, list[Any]], place: Path) -> None:
    """Ranks are silenced, text is learned; one photo has a caption of two chunks, the others of one; one has a bucket
    of its own, so that one process has nothing to do."""
    (alone,), (first, second) = story["alone"], story["straight"]
    assert first["steps"] == second["steps"]
    assert len(alone["steps"]) == len(first["steps"]) == 4
    for one, other in zip(alone["steps"], first["steps"], strict=True):
        assert one == pytest.approx(other, rel=1e-6)
    expected, found = newest(place / "alone"), newest(place / "straight")
    assert found.window == pytest.approx(expected.window, rel=1e-6)
    assert found.fingerprints == expected.fingerprints
    of_all = {
        load_lora(place / name / "out" / "tiny-000002.safetensors").metadata["ss_total_batch_size"] for name in RUNS
    }
    assert of_all == {"4"}
    for name, weight in expected.weights.items():  # each has moved by up to 0.025
        assert (weight - found.weights[name]).abs().max() < 3e-5, name
    assert events(place / "straight") == events(place / "alone")


@together
def test_frozen_text_of_mixed_lengths_is_that_of_the_whole_batch(story: dict[str, list[Any]], place: Path) -> None:
    """Captions a little over and under 75 tokens: how long one process's text is hangs on the other's."""
    (alone,), (first, second) = story["frozen_alone"], story["frozen"]
    assert first["steps"] == second["steps"]
    assert len(alone["steps"]) == len(first["steps"]) == 2
    for one, other in zip(alone["steps"], first["steps"], strict=True):
        assert one == pytest.approx(other, rel=1e-6)
    expected, found = newest(place / "frozen_alone"), newest(place / "frozen")
    apart = [(weight - found.weights[name]).flatten() for name, weight in expected.weights.items()]
    assert torch.cat(apart).norm() < 1e-3  # if each process filled up for itself, 0.26


@together
def test_only_the_writer_writes(story: dict[str, list[Any]]) -> None:
    for name in ("straight", "stopped", "resumed"):
        first, second = story[name]
        assert first["written"]
        assert second["written"] == []


@together
def test_a_stop_of_one_stops_both_and_the_resumed_run_is_the_same(story: dict[str, list[Any]], place: Path) -> None:
    for said in story["stopped"]:
        assert (said["outcome"], said["step"]) == ("stopped", 1)
    assert [said["outcome"] for said in story["resumed"]] == ["done", "done"]
    assert_same_end(newest(place / "straight"), newest(place / "stopped"))
    assert_same(files_of(place / "straight"), files_of(place / "stopped"))
    paused = events(place / "stopped")
    assert {"Paused", "Resumed"} <= set(paused)


@together
@pytest.mark.parametrize("scenario", ["writer_told_early", "other_told_early"])
def test_a_stop_before_the_first_step_stops_both(scenario: str, story: dict[str, list[Any]]) -> None:
    assert [(said["outcome"], said["steps"]) for said in story[scenario]] == [("stopped", [])] * 2


@together
def test_one_process_goes_on_with_what_two_began(story: dict[str, list[Any]], place: Path) -> None:
    assert story["resumed_alone"][0]["outcome"] == "done"
    steps = [*story["stopped"][0]["steps"], *story["resumed_alone"][0]["steps"]]
    for one, other in zip(story["alone"][0]["steps"], steps, strict=True):
        assert one == pytest.approx(other, rel=1e-6)


@together
@pytest.mark.parametrize("scenario", ["one_fails", "writer_fails"])
def test_an_error_of_one_ends_both(scenario: str, story: dict[str, list[Any]], place: Path) -> None:
    said = [one["error"] for one in story[scenario]]
    failed = 1 if scenario == "one_fails" else 0
    assert said[failed].startswith("TrainingError: The memory is full")
    assert said[1 - failed].startswith("TrainingError: Another process of this run failed")
    ended = read_journal(place / scenario / "run")[-1]
    assert (ended["event"], ended["outcome"]) == ("RunEnded", "failed")
    assert not (place / scenario / "run" / "ladder.json").exists()


@together
def test_a_process_that_dies_ends_the_other(story: dict[str, list[Any]], place: Path) -> None:
    first, second = story["one_is_killed"]
    assert second == 9
    assert first["error"].startswith("TrainingError: Another process of this run is gone")
    assert read_journal(place / "one_is_killed" / "run")[-1]["outcome"] == "failed"


@together
def test_processes_with_different_settings_train_nothing(story: dict[str, list[Any]], place: Path) -> None:
    for said in story["differ"]:
        assert "are not at the same place" in said["error"]
    assert "StepDone" not in events(place / "differ")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_shares_are_all_of_a_batch_and_single_pictures_go_round(count: int) -> None:
    everyone = [Ranks(rank, count) for rank in range(count)]
    for turn in range(4):
        for size in range(7):
            shares = [list(ranks.share(range(size), turn)) for ranks in everyone]
            assert sorted(item for share in shares for item in share) == list(range(size))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1
    busy = [[ranks.rank for ranks in everyone if ranks.share([0], turn)] for turn in range(count)]
    assert sorted(busy) == [[rank] for rank in range(count)]


def test_without_a_launcher_a_process_is_alone() -> None:
    for environment in ({}, {"WORLD_SIZE": "4"}, {"RANK": "0", "WORLD_SIZE": "1"}, {"RANK": "", "WORLD_SIZE": "2"}):
        with joined("cpu", environment) as ranks:
            assert (ranks.count, ranks.is_writer, ranks.device_name("cuda:1")) == (1, True, "cuda:1")
            assert ranks.meet(Word.STOP, mark=3) is Word.STOP


def test_processes_that_cannot_meet_say_so() -> None:
    with pytest.raises(TrainingError, match="can't reach each other"), joined("cpu", {"RANK": "0", "WORLD_SIZE": "2"}):
        pass


def test_each_process_has_its_own_card() -> None:
    cards = ["cuda:0", "cuda:1", "cpu"]
    second = Ranks(rank=5, count=6, local=1)
    assert [second.device_name(name, cards) for name in ("auto", "cuda", "cpu")] == ["cuda:1", "cuda:1", "cpu"]
    assert second.device_name("auto", ["cpu"]) == "auto"
    with pytest.raises(ConfigError, match="need a card each"):
        second.device_name("cuda:0", cards)
    with pytest.raises(ConfigError, match="fewer cards"):
        Ranks(rank=2, count=3, local=2).device_name("auto", cards)
