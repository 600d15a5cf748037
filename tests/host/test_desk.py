"""The desk of our own page."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lora_forge.errors import CheckpointError
from lora_forge.host.desk import TOYWORLD, StandaloneDesk


@pytest.fixture
def desk(tmp_path: Path, base_path: Path) -> StandaloneDesk:
    """Two checkpoints in a folder with a subfolder, and a file that is none."""
    folder = tmp_path / "checkpoints"
    (folder / "sub").mkdir(parents=True)
    for place in ("one.safetensors", "sub/two.safetensors"):
        (folder / place).write_bytes(base_path.read_bytes())
    (folder / "broken.safetensors").write_bytes(b"no checkpoint")
    return StandaloneDesk(tmp_path / "data", tmp_path / "loras", folder, device="cpu")


def test_checkpoints_are_the_files_of_the_folder(desk: StandaloneDesk) -> None:
    assert desk.checkpoints() == ("broken.safetensors", "one.safetensors", "sub/two.safetensors", TOYWORLD)
    assert desk.loaded() == ""
    with pytest.raises(CheckpointError, match=r"No checkpoint is chosen\."):
        desk.info()
    desk.switch("sub/two.safetensors")
    assert (desk.loaded(), desk.info().name) == ("sub/two.safetensors", "two")
    desk.switch(TOYWORLD)
    assert desk.info().name == "toyworld"


def test_what_is_no_checkpoint_is_refused_and_the_present_one_stays(desk: StandaloneDesk) -> None:
    desk.switch("one.safetensors")
    for title in ("broken.safetensors", "nothing.safetensors", "../one.safetensors"):
        with pytest.raises(CheckpointError):
            desk.switch(title)
    assert desk.loaded() == "one.safetensors"


def test_nothing_is_switched_while_a_run_holds_the_checkpoint(desk: StandaloneDesk) -> None:
    desk.switch("one.safetensors")
    lent, done = threading.Event(), threading.Event()

    def hold() -> None:
        with desk.borrow():
            lent.set()
            done.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    assert lent.wait(60)
    with pytest.raises(CheckpointError, match="A run holds the checkpoint"):
        desk.switch("sub/two.safetensors")
    done.set()
    holder.join()
    desk.switch("sub/two.safetensors")


def test_folders_are_made_when_asked_for(desk: StandaloneDesk, tmp_path: Path) -> None:
    assert not (tmp_path / "data").exists()
    assert desk.data_root().is_dir()
    assert desk.model_dirs()["insightface"] == (desk.data_root() / "models" / "insightface",)
    assert desk.lora_dir().is_dir()


def test_traces_of_an_untouched_desk_are_equal(desk: StandaloneDesk) -> None:
    desk.switch("one.safetensors")
    before = desk.traces(with_picture=True)
    assert {"unet: weights", "vae: weights", "text encoder 1: weights", "picture", "random: torch"} <= set(before.marks)
    assert before.differences(desk.traces(with_picture=True)) == ()
    with desk.borrow() as model:
        next(model.unet.parameters()).data.add_(1)
    assert before.differences(desk.traces()) == ("unet: weights",)


def test_the_language_is_the_machines(desk: StandaloneDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    for spoken, language in (("zh_CN.UTF-8", "zh"), ("en_US.UTF-8", "en"), ("C", "en")):
        monkeypatch.setenv("LC_ALL", spoken)
        assert desk.language() == language
