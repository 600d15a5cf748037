"""A project tagged by real models: scores kept by content, captions written in one go, previews without a model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from lora_forge.dataset.project import Group, Project
from lora_forge.dataset.taggers import (
    OnnxTagger,
    PickOptions,
    RunOptions,
    TaggerError,
    preview,
    run,
    tagger_in,
)
from lora_forge.dataset.taggers.scores import Contents, ScoreCache, scores_dir
from lora_forge.events import Command, CommandBox, Event, Progress, StageDone, Warned
from tests.dataset.taggers.conftest import make_tagger, photo

pytest.importorskip("onnxruntime")
NAMES = (("blue_part", 0), ("green_part", 0), ("red_part", 4))


class Tagging:
    """A WD model whose first three outputs are one pixel's blue, green and red; counts what the model is given."""

    def __init__(self, project: Project, folder: Path) -> None:
        self.project = project
        found = tagger_in(make_tagger(folder, "wd", NAMES))
        assert found is not None
        self.tagger = OnnxTagger(found)
        self.looked = 0
        self.written: list[Mapping[str, list[str]]] = []
        self.events: list[Event] = []
        self.commands = CommandBox()
        self.stops_after = 10**9
        score = self.tagger.score

        def counted(images: Sequence[Image.Image]) -> npt.NDArray[np.float32]:
            self.looked += len(images)
            return score(images)

        self.tagger.score = counted  # type: ignore[method-assign]

    def emit(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Progress) and event.done >= self.stops_after:
            self.commands.send(Command.STOP)

    def run(self, options: RunOptions | None = None, keys: Sequence[str] | None = None) -> str:
        chosen = options or RunOptions(only(3))
        return run(self.project, self.tagger, chosen, keys, self.emit, self.commands, self.written.append)


def only(limit: int, **more: float) -> PickOptions:
    return PickOptions(exclude=("tag *",), limit=limit, **more)  # type: ignore[arg-type]


@pytest.fixture
def tagging(project: Project, tmp_path: Path) -> Tagging:
    photo(project, "photos/blue.png", (0, 0, 255), size=(64, 64))
    photo(project, "photos/green.png", (0, 128, 0), "old tag", size=(64, 64))
    photo(project, "photos/red.png", (255, 10, 20), "ohwx, red part", size=(64, 64))
    return Tagging(project, tmp_path / "models" / "mine")


def test_all_photos_are_tagged_and_written_as_one_step(tagging: Tagging) -> None:
    assert tagging.run() == "done"
    assert tagging.written == [
        {"photos/blue.png": ["ohwx", "blue part"], "photos/green.png": ["ohwx", "green part"]}
    ]  # red.png says what it said before
    assert [(event.done, event.total) for event in tagging.events if isinstance(event, Progress)] == [
        (1, 3),
        (2, 3),
        (3, 3),
    ]
    assert isinstance(tagging.events[-1], StageDone)
    assert tagging.events[-1].summary == "3 photos tagged, 2 captions changed."


def test_a_photo_is_looked_at_once_whatever_it_is_called_later(tagging: Tagging) -> None:
    tagging.run()
    assert tagging.looked == 3
    images = tagging.project.images_dir / "photos"
    (images / "blue.png").rename(images / "renamed.png")
    photo(tagging.project, "photos/new.png", (9, 200, 9), size=(64, 64))
    tagging.run()
    assert tagging.looked == 4
    photo(tagging.project, "photos/red.png", (250, 10, 20), size=(64, 64))
    tagging.run()
    assert tagging.looked == 5


def test_another_model_or_another_list_looks_again(tagging: Tagging, tmp_path: Path) -> None:
    tagging.run()
    other = Tagging(tagging.project, tmp_path / "models" / "same")
    other.run()
    assert other.looked == 0
    make_tagger(tmp_path / "models" / "same", "wd", NAMES, scale=1 / 300)
    found = tagger_in(tmp_path / "models" / "same")
    assert found is not None
    assert preview(tagging.project, found.fingerprint, RunOptions(only(3)), None).missing == (
        "photos/blue.png",
        "photos/green.png",
        "photos/red.png",
    )


def test_sliders_move_what_would_be_written_without_the_model(tagging: Tagging) -> None:
    fingerprint = tagging.tagger.fingerprint
    tagging.run()
    key = "photos/green.png"  # 128 / 255 = 0.502
    assert preview(tagging.project, fingerprint, RunOptions(only(1, general=0.5)), [key]).tags == {
        key: ["ohwx", "green part"]
    }
    assert preview(tagging.project, fingerprint, RunOptions(only(1, general=0.51)), [key]).tags == {key: ["ohwx"]}
    appended = preview(tagging.project, fingerprint, RunOptions(only(1), "append"), [key]).tags
    assert appended == {key: ["ohwx", "old tag", "green part"]}
    assert tagging.looked == 3
    assert len(tagging.written) == 1


def test_low_scores_are_not_kept_and_the_file_is_plain(tagging: Tagging) -> None:
    tagging.run()
    content = Contents(tagging.project).of("photos/red.png")
    kept = json.loads((scores_dir(tagging.project) / tagging.tagger.fingerprint / f"{content}.json").read_text())
    assert kept[0] == ["red_part", "character", 1.0]
    assert ["blue_part", "general", 0.0784] in kept
    assert not any(name == "green_part" for name, _, _ in kept), "10 / 255 is below 0.05"


def test_torn_scores_are_made_again(tagging: Tagging) -> None:
    tagging.run()
    for path in scores_dir(tagging.project).rglob("*.json"):
        path.write_text('[["a"')
    tagging.run()
    assert tagging.looked == 6


def test_a_stop_writes_nothing_and_keeps_the_scores(tagging: Tagging) -> None:
    tagging.tagger.batch_size = 1
    tagging.stops_after = 2
    assert tagging.run() == "stopped"
    assert tagging.written == []
    assert isinstance(tagging.events[-1], StageDone)
    assert tagging.events[-1].summary == "Stopped after 2 of 3 photos; no caption was changed."
    tagging.commands, tagging.stops_after, tagging.looked = CommandBox(), 10**9, 0
    assert tagging.run() == "done"
    assert tagging.looked == 1


def test_a_damaged_photo_is_left_out_by_name(tagging: Tagging) -> None:
    (tagging.project.images_dir / "photos" / "blue.png").write_bytes(b"\x89PNG broken")
    assert tagging.run() == "done"
    said = [event.message for event in tagging.events if isinstance(event, Warned)]
    assert len(said) == 1
    assert said[0].startswith("photos/blue.png is left out: ")
    assert list(tagging.written[0]) == ["photos/green.png"]


def test_prior_photos_get_no_trigger_word(tagging: Tagging) -> None:
    tagging.project.set_group(Group("others", None, is_prior=True))
    photo(tagging.project, "others/blue.png", (0, 0, 255), size=(64, 64))
    tagging.run(keys=["others/blue.png"])
    assert tagging.written == [{"others/blue.png": ["blue part"]}]


@pytest.mark.parametrize("key", ["photos/none.png", "../project.json", "photos/green.txt", "/etc/passwd"])
def test_what_is_no_photo_of_the_project_is_refused(tagging: Tagging, key: str) -> None:
    with pytest.raises(TaggerError, match="There is no photo"):
        tagging.run(keys=[key])


def test_wrong_lists_and_modes_are_said_before_anything_begins(tagging: Tagging) -> None:
    with pytest.raises(TaggerError, match="pattern"):
        tagging.run(RunOptions(PickOptions(exclude=("/[/",))))
    assert tagging.events == []
    with pytest.raises(TaggerError, match="'add' is no mode"):
        RunOptions(mode="add")  # type: ignore[arg-type]


class Speaking:
    """An interrogator that says the size of the picture."""

    id, name, problem = "speaking", "Speaking", ""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, image: Image.Image) -> str:
        return {"tags": f"{image.width}px, long_hair, Smile", "sentence": f"a picture, {image.width} wide."}[self.kind]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("tags", ["ohwx", "art", "64px", "long hair"]), ("sentence", ["ohwx", "art", "a picture", "64 wide"])],
)
def test_interrogators_write_captions_the_same_way(tagging: Tagging, kind: str, expected: list[str]) -> None:
    options = RunOptions(PickOptions(general=1.0, exclude=("smile",), add=("art",)))
    key = "photos/blue.png"
    outcome = run(
        tagging.project, Speaking(kind), options, [key], tagging.emit, tagging.commands, tagging.written.append
    )  # type: ignore[arg-type]
    assert outcome == "done"
    assert tagging.written == [{key: expected}]


def test_a_full_disk_comes_through_as_what_it_is(tagging: Tagging) -> None:
    scores_dir(tagging.project).parent.mkdir(parents=True)
    scores_dir(tagging.project).write_text("in the way")
    with pytest.raises(OSError):
        tagging.run()
    assert tagging.written == []


def test_contents_are_kept_by_size_and_time(tagging: Tagging) -> None:
    contents = Contents(tagging.project)
    first = contents.of("photos/blue.png")
    contents.save()
    kept = json.loads((scores_dir(tagging.project) / "photos.json").read_text())
    assert kept["photos/blue.png"][2] == first
    assert ScoreCache(tagging.project, "none").get(first) is None
