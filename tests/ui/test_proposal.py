"""What the page proposes: names, trigger words, numbers, steps."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lora_forge.config import Family
from lora_forge.dataset.project import Group, Project
from lora_forge.errors import ConfigError
from lora_forge.lora_file.names import check_name
from lora_forge.ui import proposal
from lora_forge.ui.proposal import Proposal, Visits


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
    assert proposal.suggest_trigger(name) == trigger_word


@given(st.text("aNUMSTRENGTH1 .-_中/é", max_size=30))
def test_a_suggested_name_can_be_used(project: str) -> None:
    name = proposal.suggest_name(project)
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
    assert proposal.free_name(name, taken) == free


def test_numbers_follow_type_family_and_photos() -> None:
    assert proposal.propose("person", Family.SD1, 25) == Proposal(10, 10, 512)
    assert proposal.propose("style", Family.SDXL, 50) == Proposal(2, 10, 1024)
    assert proposal.propose("person", Family.SD1, 0) == proposal.propose("person", Family.SD1, 25)


def test_steps_count_each_groups_own_repeats() -> None:
    visits = Visits(((4, None), (3, 2)))
    assert visits.photos == 7
    assert proposal.steps_per_epoch(visits, 10) == 46
    assert proposal.steps_per_epoch(visits, 10, batch_size=4) == 12
    assert proposal.steps_per_epoch(visits, 10, batch_size=4, accumulation=5) == 3


def test_prior_pictures_are_no_photos_to_learn(tmp_path: Path) -> None:
    project = Project.create(tmp_path)
    project.set_group(Group("women", 1, is_prior=True))
    for place in ("photos/a.png", "photos/b.png", "women/c.png"):
        Image.new("RGB", (8, 8)).save(project.images_dir / place)
    assert proposal.visits_of(project, project.photos()) == Visits(((2, None),))


def test_settings_are_lines() -> None:
    assert proposal.parse_settings("rank=8\n\n# a note\nflip = true # mirrored\n") == {"rank": "8", "flip": "true"}
    with pytest.raises(ConfigError, match="'rank 8' is not a setting"):
        proposal.parse_settings("rank 8")
