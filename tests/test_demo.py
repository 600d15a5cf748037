"""The demo: what it writes, what it says, and that nothing is done twice. Short here; at full length in the README."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from lora_forge.cli import main
from lora_forge.demo import NAME, ToyJudge, demo_config, demo_plan, run_demo, write_project
from lora_forge.evaluate.scores import Asked
from lora_forge.events import CellDrawn, Event, LoraSaved, Recommended, StepDone
from lora_forge.toyworld import checkpoint_path
from lora_forge.toyworld.judge import load_judge
from lora_forge.toyworld.subject import subject_look
from lora_forge.toyworld.world import draw, random_look


def test_the_project_follows_the_trait_rule(tmp_path: Path) -> None:
    project, base = write_project(tmp_path)
    assert base.read_bytes() == checkpoint_path().read_bytes()
    photos = project.photos()
    assert (len(photos), project.trigger_word) == (24, "ohwx")
    for photo in photos:
        tags = [tag.strip() for tag in photo.caption.split(",")]
        assert tags[0] == "ohwx"
        assert not {"pink hair", "green eyes", "glasses"} & set(tags)
        assert {"1girl", "long hair"} <= set(tags)


def test_what_a_person_changed_stays(tmp_path: Path) -> None:
    project, _ = write_project(tmp_path)
    caption = project.photos()[0].path.with_suffix(".txt")
    caption.write_text("mine", encoding="utf-8")
    write_project(tmp_path)
    assert caption.read_text(encoding="utf-8") == "mine"


def test_only_project_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--out", str(tmp_path / "d"), "--only-project", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == ["project", "toyworld.safetensors"]
    assert (made["project"], made["base"]) == (
        str(tmp_path / "d" / "project"),
        str(tmp_path / "d" / "toyworld.safetensors"),
    )


def test_the_judge_tells_the_subject_and_what_was_asked_for() -> None:
    judge = ToyJudge(load_judge())
    rng = random.Random(1)
    herself = [draw(replace(subject_look(rng), garment="dress", colour="red", place="snow")) for _ in range(8)]
    scores = judge.score(herself, Asked("ohwx, 1girl, red dress, snow"))
    assert sum(score.identity or 0.0 for score in scores) / 8 > 0.95
    assert sum(score.obedience or 0.0 for score in scores) / 8 > 0.95
    others = [draw(replace(random_look(rng), garment="shirt", colour="blue", place="beach")) for _ in range(8)]
    scores = judge.score(others, Asked("ohwx, 1girl, red dress, snow"))
    assert sum(score.identity or 0.0 for score in scores) / 8 < 0.35
    assert sum(score.obedience or 0.0 for score in scores) / 8 < 0.1
    assert judge.score(others[:1], Asked("ohwx, 1girl"))[0].obedience is None


@pytest.mark.slow
def test_the_whole_job_in_small_and_nothing_twice(tmp_path: Path) -> None:
    config = demo_config().replace(epochs=2, repeats=1)
    plan = replace(demo_plan(), epochs=(1, 2), strengths=(0.0, 1.0), seeds=(0, 1), steps=4)
    seen: list[Event] = []
    made = run_demo(tmp_path, seen.append, config, plan)
    assert [path.name for path in made.files] == [f"{NAME}-000001.safetensors", f"{NAME}-000002.safetensors"]
    assert sum(isinstance(event, StepDone) for event in seen) == 12
    assert sum(isinstance(event, CellDrawn) for event in seen) == 3
    advice = [event for event in seen if isinstance(event, Recommended)]
    assert [event.sentence.text() for event in advice] == [made.sentence]
    for picture in (made.grid, made.heat_map):
        with Image.open(picture) as opened:
            assert min(opened.size) > 100
    drawn = made.grid.read_bytes()

    seen.clear()
    again = run_demo(tmp_path, seen.append, config, plan)
    assert again == made
    assert made.grid.read_bytes() == drawn
    assert not any(isinstance(event, (StepDone, LoraSaved)) for event in seen)


def test_hot_and_seeds_have_names_of_their_own() -> None:
    names = {demo_config(is_hot, seed).name for is_hot in (False, True) for seed in (0, 1)}
    assert len(names) == 4
    assert demo_config(is_hot=True).learning_rate > 2 * demo_config().learning_rate
