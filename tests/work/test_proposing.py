"""What the form proposes: a free name, a trigger word, and the steps that photos come to."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lora_forge.config import Family
from lora_forge.dataset.project import Group, Project
from lora_forge.lora_file.names import check_name
from lora_forge.work import proposing
from lora_forge.work.proposing import Visits
from lora_forge.work.settings import proposed_config


@pytest.mark.parametrize(
    ("name", "trigger_word"),
    [
        ("anna_v2", "anna"),
        ("Anna 2", "anna"),
        ("安娜-000010", "安娜"),
        ("v2", "v2"),
        ("red_dress", "reddress"),
        ("r2d2", "r2d2"),
    ],
)
def test_a_trigger_word_is_the_name_without_its_version(name: str, trigger_word: str) -> None:
    assert proposing.suggest_trigger(name) == trigger_word


@given(st.text("aNUMSTRENGTH1 .-_中/é", max_size=30))
def test_a_suggested_name_can_be_used(project: str) -> None:
    name = proposing.suggest_name(project)
    if name:
        check_name(name)


@pytest.mark.parametrize(
    ("name", "taken", "free"),
    [
        ("anna", [], "anna"),
        ("anna", ["Anna"], "anna_v2"),
        ("anna", ["anna", "anna_v2"], "anna_v3"),
        ("anna_v2", ["anna_v2"], "anna_v3"),
        ("", ["anna"], ""),
    ],
)
def test_a_used_name_becomes_its_next_version(name: str, taken: list[str], free: str) -> None:
    assert proposing.free_name(name, taken) == free


def test_a_name_that_any_file_or_run_has_is_not_proposed(tmp_path: Path) -> None:
    project, loras = Project.create(tmp_path / "anna"), tmp_path / "Lora"
    assert proposing.propose_name(project, loras) == "anna"
    (loras / "deep").mkdir(parents=True)
    (loras / "deep" / "ANNA-000003.safetensors").write_bytes(b"")
    assert proposing.propose_name(project, loras) == "anna_v2"
    (loras / "anna_v2-step00000050.pt").write_bytes(b"")
    (project.runs_dir / "anna_v3" / "state").mkdir(parents=True)
    (project.runs_dir / "anna_v3" / "state" / "step-00000001.safetensors").write_bytes(b"")
    assert proposing.propose_name(project, loras, also_taken=["anna_v4"]) == "anna_v5"
    assert proposing.propose_name(project, loras, "bea") == "bea"
    assert proposing.propose_name(project, loras, "bea", ["Bea"]) == "bea_v2"


def test_steps_count_each_groups_own_repeats() -> None:
    visits = Visits(((4, None), (3, 2)))
    assert visits.photos == 7
    assert visits.steps(10) == 46
    assert visits.steps(10, batch_size=4) == 12
    assert visits.steps(10, batch_size=4, accumulation=5) == 3


def test_prior_pictures_are_no_photos_to_learn_and_previews_follow_the_epoch(tmp_path: Path) -> None:
    project = Project.create(tmp_path)
    assert proposed_config(project, "a", "person", Family.SD1, {}).preview_every_steps == 50  # of 25 photos x 10
    project.set_group(Group("women", 1, is_prior=True))
    for place in (*(f"photos/{number}.png" for number in range(24)), "women/c.png"):
        Image.new("RGB", (8, 8)).save(project.images_dir / place)
    assert proposing.visits_of(project) == Visits(((24, None),))
    made = proposed_config(project, "a", "person", Family.SD1, {})
    assert (made.repeats, made.preview_every_steps) == (10, 48)
    assert proposed_config(project, "a", "person", Family.SD1, {"batch_size": 2}).preview_every_steps == 60
    assert proposed_config(project, "a", "person", Family.SD1, {"preview_every_steps": 0}).preview_every_steps == 0


def test_previews_take_a_tenth_of_the_run_unless_they_were_set_by_hand(tmp_path: Path) -> None:
    project = Project.create(tmp_path)

    def share(**values: object) -> float:
        return proposed_config(project, "a", "person", Family.SD1, values).preview_share

    assert share() == share(batch_size=2) == share(preview_every_steps=0) == 0.1
    assert share(preview_every_steps=30) == 0.0
    assert share(preview_share=0.3) == share(preview_share=0.3, preview_every_steps=30) == 0.3
