"""Done is said only of what can be read from the disk once more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lora_forge.dataset.prepared import PreparedSet
from lora_forge.errors import TrainingError
from lora_forge.events import EpochEnded, RunEnded, Warned
from lora_forge.ports import BorrowedModel
from lora_forge.train.journal import read_journal
from lora_forge.train.read_back import is_good
from tests.train import tiny


def spoil(path: Path) -> None:
    """One bit of the last byte: the size and the header stay as they are."""
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def after_epoch(number: int, act: Any) -> Any:
    def watch(event: object) -> None:
        if isinstance(event, EpochEnded) and event.epoch == number:
            act()

    return watch


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_file_that_came_back_other_than_it_was_written_is_no_done(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel, epoch: int
) -> None:
    path = tmp_path / "out" / f"tiny-{epoch:06d}.safetensors"
    said = tiny.Recorder(after_epoch(epoch, lambda: spoil(path)))
    with pytest.raises(TrainingError, match=rf"1 of its files came back from the disk damaged: {path.name}\."):
        tiny.run(tmp_path, tiny.config(), prepared, model, said)
    assert [event.outcome for event in said.of(RunEnded)] == ["failed"]
    assert read_journal(tmp_path / "run")[-1]["outcome"] == "failed"


def test_a_file_of_an_earlier_part_of_the_run_is_read_back_too(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    tiny.run(tmp_path, tiny.config(epochs=1), prepared, model)
    spoil(tmp_path / "out" / "tiny-000001.safetensors")
    with pytest.raises(TrainingError, match=r"tiny-000001\.safetensors"):
        tiny.run(tmp_path, tiny.config(epochs=2), prepared, model, resume=True)


def test_what_a_person_took_away_is_a_warning_unless_it_is_the_last(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    first, last = (tmp_path / "out" / f"tiny-{number:06d}.safetensors" for number in (1, 2))
    said = tiny.Recorder(after_epoch(2, first.unlink))
    assert tiny.run(tmp_path, tiny.config(), prepared, model, said).outcome == "done"
    gone = [event.message for event in said.of(Warned) if "not there any more" in event.message]
    assert gone == ["1 files of this run were saved and are not there any more: tiny-000001.safetensors."]
    with pytest.raises(TrainingError, match=r"last file other-000002\.safetensors is not there any more"):
        tiny.run(
            tmp_path / "again", tiny.config(name="other"), prepared, model,
            after_epoch(2, (tmp_path / "again" / "out" / "other-000002.safetensors").unlink),
        )  # fmt: skip
    assert is_good(last)
    spoil(last)
    assert not is_good(last)
    last.write_bytes(b"no safetensors")
    assert not is_good(last)
