"""What a run is planned as, and what is refused before anything begins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lora_forge.config import Family
from lora_forge.dataset.project import Project
from lora_forge.errors import ConfigError, DatasetError, LoraFileError, LoraForgeError, TrainingError
from lora_forge.presets import preset
from lora_forge.work import plan
from lora_forge.work.planning import out_dir
from tests.work.conftest import SMALL, request_for
from tests.work.desk import TinyDesk


def test_a_plan_is_the_preset_of_the_loaded_family_with_what_was_asked_for(desk: TinyDesk) -> None:
    Project.load(desk.data_root() / "anna").set_trigger_word("ohwx woman")
    config = plan(desk, request_for(desk, kind="anime", settings={"resolution_px": 768, "rank": 8}))
    of_kind = preset("anime", Family.SD1, 3)
    assert (config.name, config.trigger_word, config.epochs, config.repeats) == ("girl", "ohwx woman", 2, 1)
    assert (config.resolution_px, config.rank, config.alpha) == (768, 8, 4.0)
    assert (config.flip, config.clip_skip) == (of_kind["flip"], of_kind["clip_skip"]) == (True, 2)


def test_repeats_are_chosen_by_the_number_of_photos_when_none_are_given(desk: TinyDesk) -> None:
    assert plan(desk, request_for(desk, repeats=None)).repeats == preset("person", Family.SD1, 3)["repeats"]


def test_the_size_a_project_is_prepared_with_stands_unless_another_is_named(desk: TinyDesk) -> None:
    kept = plan(desk, request_for(desk, settings={}))
    assert (kept.resolution_px, kept.bucket_min_px, kept.bucket_max_px, kept.bucket_step_px) == (64, 64, 128, 16)
    assert plan(desk, request_for(desk, settings={"resolution_px": 640})).bucket_step_px == 64


def test_previews_change_what_the_traits_leave_changeable(desk: TinyDesk) -> None:
    """Traits of one colour are asked for in another; parts of the subject are left alone; what was said wins."""
    usual = ("TRIGGER", "TRIGGER, white hair, red dress")  # the person preset's, until traits are answered
    assert plan(desk, request_for(desk)).preview_prompts == usual
    answers = {"pink hair": "part", "black shirt": "changeable", "brown hair": "changeable", "smile": "changeable"}
    path = desk.data_root() / "anna" / "traits.json"
    path.write_text(json.dumps({"version": 1, "kind": "person", "answers": answers, "removed": {}}), encoding="utf-8")
    assert plan(desk, request_for(desk)).preview_prompts == ("TRIGGER", "TRIGGER, white shirt, white hair")
    mine = request_for(desk, settings={**SMALL, "preview_prompts": ["TRIGGER, at night"]})
    assert plan(desk, mine).preview_prompts == ("TRIGGER, at night",)
    path.write_text("{", encoding="utf-8")
    assert plan(desk, request_for(desk)).preview_prompts == usual


@pytest.mark.parametrize(
    "place",
    [
        "girl-000001.safetensors",
        "deep/er/GIRL-000009.safetensors",
        "people/girl.safetensors",
        "Girl-step00000012.safetensors",
        "old/girl.pt",
    ],
)
def test_a_name_that_any_file_beneath_the_lora_folder_has_is_refused(desk: TinyDesk, place: str) -> None:
    path = desk.lora_dir() / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    with pytest.raises(LoraFileError, match="exists already"):
        plan(desk, request_for(desk, folder="elsewhere"))
    assert plan(desk, request_for(desk, name="girl2")).name == "girl2"
    assert plan(desk, request_for(desk, name="girl-v2")).name == "girl-v2"


def test_a_name_behind_a_link_to_another_disk_is_seen(desk: TinyDesk, tmp_path: Path) -> None:
    (tmp_path / "big disk").mkdir()
    (tmp_path / "big disk" / "girl-000003.safetensors").write_bytes(b"")
    (desk.lora_dir() / "more").symlink_to(tmp_path / "big disk")
    (tmp_path / "big disk" / "round").symlink_to(desk.lora_dir())
    with pytest.raises(LoraFileError, match="girl-000003"):
        plan(desk, request_for(desk))


@pytest.mark.parametrize("name", ["", "../girl", "a/b", "girl:1", "NUM", "con", "a,b"])
def test_names_that_no_prompt_or_system_takes_are_refused(desk: TinyDesk, name: str) -> None:
    with pytest.raises(LoraFileError):
        plan(desk, request_for(desk, name=name))


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"kind": "person of old"}, ConfigError, "no preset"),
        ({"epochs": 0}, ConfigError, "epochs is 0"),
        ({"settings": {"rnak": 3}}, ConfigError, "did you mean 'rank'"),
        ({"settings": {"name": "../../evil"}}, ConfigError, "name is no setting"),
        ({"settings": {"rank": {"a": 1}}}, ConfigError, "rank"),
        ({"resume": True}, TrainingError, "no run named girl"),
        ({"project": Path("nowhere")}, DatasetError, "not a project"),
    ],
)
def test_what_can_not_be_planned_is_said(
    desk: TinyDesk, changes: dict[str, Any], kind: type[LoraForgeError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        plan(desk, request_for(desk, **changes))


def test_a_project_without_photos_is_refused(desk: TinyDesk) -> None:
    Project.create(desk.data_root() / "empty")
    with pytest.raises(DatasetError, match="no photos"):
        plan(desk, request_for(desk, project=desk.data_root() / "empty"))


def test_a_run_with_a_state_is_not_begun_again_and_one_that_died_before_may_be(desk: TinyDesk) -> None:
    request = request_for(desk)
    (request.run_dir / "state").mkdir(parents=True)
    plan(desk, request).save(request.run_dir / "config.json")
    assert plan(desk, request).name == "girl"
    (request.run_dir / "state" / "step-00000003.safetensors").write_bytes(b"")
    with pytest.raises(TrainingError, match="has a run named girl"):
        plan(desk, request)


def test_resuming_takes_the_settings_of_the_run_and_what_is_said_now(desk: TinyDesk) -> None:
    request = request_for(desk)
    plan(desk, request).save(_made(request.run_dir) / "config.json")
    (desk.lora_dir() / "girl-000001.safetensors").write_bytes(b"")
    again = plan(desk, request_for(desk, resume=True, kind="style", repeats=None, epochs=5, settings={}))
    assert (again.epochs, again.rank, again.repeats) == (5, SMALL["rank"], 1)


@pytest.mark.parametrize("folder", ["", "people", "people/of 2026", "people\\anna", "小红"])
def test_files_may_go_to_a_folder_inside_the_lora_folder(desk: TinyDesk, folder: str) -> None:
    place = out_dir(desk, request_for(desk, folder=folder))
    assert place == desk.lora_dir().joinpath(*folder.replace("\\", "/").split("/"))


@pytest.mark.parametrize(
    "folder", ["..", "a/../..", "/etc", "\\\\server\\share", "C:\\x", "C:x", "a//b", ".hidden", "a/.", "a\0b", "a<b"]
)
def test_files_may_go_nowhere_else(desk: TinyDesk, folder: str) -> None:
    with pytest.raises(ConfigError, match="can't go to the folder"):
        plan(desk, request_for(desk, folder=folder))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
