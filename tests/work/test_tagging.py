"""What is on offer, and tags written through the book of tags: one step that can be undone."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_forge.dataset.project import Project
from lora_forge.dataset.taggers import PickOptions, RunOptions, TaggerError, Thresholds
from lora_forge.dataset.tags import book_of
from lora_forge.downloads import ITEMS
from lora_forge.events import CommandBox
from lora_forge.toyworld.world import Look, draw, tags
from lora_forge.work.tagging import TOY_ID, room_in, room_of, shelf_in, tag, would_be
from tests.dataset.taggers.conftest import make_tagger
from tests.work.desk import TinyDesk

LOOKS = [Look(hair="red", style="long"), Look(hair="blue", smile=True, place="beach")]
OPTIONS = RunOptions(PickOptions(general=0.5, drop_overlaps=False))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project.create(tmp_path / "anna", "ohwx")
    for number, look in enumerate(LOOKS):
        draw(look).resize((256, 256), 0).save(made.images_dir / "photos" / f"{number}.png")
    (made.images_dir / "photos" / "0.txt").write_text("mine\n")
    return made


def captions(project: Project) -> list[str]:
    return [photo.caption for photo in project.photos()]


def test_the_toy_tagger_writes_captions_and_one_undo_takes_them_back(project: Project) -> None:
    assert tag(project, room_in([]), TOY_ID, OPTIONS, None, lambda event: None, CommandBox()) == "done"
    for caption, look in zip(captions(project), LOOKS, strict=True):
        assert caption.startswith("ohwx, 1girl")
        assert set(caption.split(", ")) == {"ohwx", *tags(look)}
    book_of(project).undo()
    assert captions(project) == ["mine", ""]


def test_a_preview_says_what_a_run_writes(project: Project) -> None:
    room = room_in([])
    assert would_be(project, room, TOY_ID, OPTIONS, None).missing == ("photos/0.png", "photos/1.png")
    tag(project, room, TOY_ID, OPTIONS, None, lambda event: None, CommandBox())
    found = would_be(project, room, TOY_ID, OPTIONS, None)
    assert {key: ", ".join(words) for key, words in found.tags.items()} == {
        project.key(photo.path): photo.caption for photo in project.photos()
    }


def test_offers_are_the_known_ones_what_was_dropped_in_and_the_toy(tmp_path: Path) -> None:
    make_tagger(tmp_path / "taggers" / "wd-swinv2-tagger-v3", "wd")
    make_tagger(tmp_path / "taggers" / "Mein Tagger", "cl")
    torn = make_tagger(tmp_path / "taggers" / "torn", "wd")
    (torn / "selected_tags.csv").write_text("nothing\nmuch\n")
    offers = {offer.id: offer for offer in room_in([tmp_path]).offers()}
    assert list(offers)[:7] == [item.id for item in ITEMS if item.kind == "tagger"]
    assert list(offers)[7:] == ["Mein Tagger", "torn", TOY_ID]
    known = offers["wd-swinv2-tagger-v3"]
    assert (known.state, known.licence, known.source) == (
        "ready", "Apache-2.0", "https://huggingface.co/SmilingWolf/wd-swinv2-tagger-v3",
    )  # fmt: skip
    assert offers["wd-vit-tagger-v3"].state == "missing"
    assert offers["wd-vit-tagger-v3"].size_bytes > 378_000_000
    assert offers["pixai-tagger-v0.9-onnx"].thresholds == Thresholds(0.3, 0.85)
    assert offers["torn"].state == "broken"
    assert "is no list of tags" in offers["torn"].sentence.text()


def test_what_is_not_there_is_said_with_the_place_to_put_it(project: Project, tmp_path: Path) -> None:
    with pytest.raises(TaggerError, match="The tagger wd-vit-tagger-v3 is not on this machine") as raised:
        tag(project, room_in([tmp_path]), "wd-vit-tagger-v3", OPTIONS, None, lambda event: None, CommandBox())
    assert str(tmp_path / "taggers") in raised.value.message()
    assert captions(project) == ["mine", ""]


class Speaker:
    id, name, kind = "host:x", "X", "sentence"

    def __init__(self, problem: str = "") -> None:
        self.problem = problem

    def __call__(self, image: object) -> str:
        return "a girl on a beach."


class SpeakingDesk(TinyDesk):
    def interrogators(self) -> tuple[Speaker, ...]:
        return (Speaker(),)


def test_a_desks_own_interrogators_are_offered_and_write_sentences(project: Project, tmp_path: Path) -> None:
    assert not any(offer.id == "host:x" for offer in room_of(TinyDesk(tmp_path)).offers())
    room = room_of(SpeakingDesk(tmp_path))
    offer = next(offer for offer in room.offers() if offer.id == "host:x")
    assert (offer.kind, offer.state) == ("sentence", "ready")
    tag(project, room, "host:x", OPTIONS, ["photos/1.png"], lambda event: None, CommandBox())
    assert captions(project) == ["mine", "ohwx, a girl on a beach"]
    with pytest.raises(TaggerError, match="gives no scores"):
        would_be(project, room, "host:x", OPTIONS, None)


def test_downloads_go_where_taggers_are_looked_for(tmp_path: Path) -> None:
    desk = TinyDesk(tmp_path)
    shelf = shelf_in(desk.data_root())
    for item in ITEMS:
        root = desk.model_dirs()["taggers" if item.kind == "tagger" else "insightface"][0]
        assert root in shelf.folder(item).parents
