"""The trait assistant: what it proposes, what it does to the captions, and what it finds odd."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from lora_forge.dataset.project import Project
from lora_forge.dataset.tags import ConflictError, TagError, book_of
from lora_forge.dataset.trait_checks import Contradiction, contradictions
from lora_forge.dataset.traits import Traits, answer, survey
from lora_forge.dataset.words import Words
from tests.dataset.tags.conftest import put

WORDS = Words.load()


def make(root: Path, captions: list[str]) -> Project:
    project = Project.create(root / "anna", "ohwx")
    put(project, {f"photos/{number}.png": f"ohwx, {text}" if text else "ohwx" for number, text in enumerate(captions)})
    return project


def shown(project: Project) -> list[str]:
    return [", ".join(photo.tags[1:]) for photo in book_of(project).captions().values()]


def proposals(project: Project, kind: str) -> Mapping[str, str]:
    return {trait.tag: trait.proposal for trait in survey(project, kind, WORDS).traits}


def doubts(project: Project, kind: str = "person") -> dict[str, Contradiction]:
    found = contradictions(project, kind, survey(project, kind, WORDS))
    return {one.id: one for one in found}


SET = ["1girl, pink hair, green eyes, pink shirt, smile, park"] * 6 + ["1girl, pink hair, green eyes, hat, indoors"] * 4


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("person", {"pink hair", "green eyes"}),
        ("anime", {"pink hair", "green eyes"}),
        ("style", set()),
        ("object", {"pink shirt"}),
        ("concept", set()),
    ],
)
def test_proposals_go_by_type_category_and_frequency(tmp_path: Path, kind: str, parts: set[str]) -> None:
    found = proposals(make(tmp_path, SET), kind)
    assert {tag for tag, one in found.items() if one == "part"} == parts
    assert found["1girl"] == "leave"
    assert found["park"] == "changeable"


def test_an_anime_characters_usual_clothes_are_hers_and_rare_traits_are_left(tmp_path: Path) -> None:
    project = make(tmp_path, ["school uniform, smile"] * 19 + ["red dress"])
    assert proposals(project, "anime") == {"school uniform": "part", "smile": "changeable", "red dress": "leave"}
    assert proposals(project, "person")["school uniform"] == "changeable"


def test_the_rule_is_said_in_one_sentence_with_two_prompts(tmp_path: Path) -> None:
    seen = survey(make(tmp_path, SET), "person", WORDS)
    said = seen.sentence.text()
    assert "pink hair, green eyes will always come with ohwx" in said
    assert said.startswith("Deleted from the captions")
    assert "whatever the prompt says" in said
    assert "删掉" in seen.sentence.text("zh")
    assert seen.examples[0].startswith("ohwx, ")
    assert seen.examples[1] == "ohwx, red shirt"
    assert seen.notes[1].text() == "red shirt instead of pink shirt: the LoRA obeys, as the tag was kept."


def test_part_deletes_everywhere_changeable_keeps_and_both_are_one_step(tmp_path: Path) -> None:
    project = make(tmp_path, SET)
    book = book_of(project)
    done = answer(book, {"pink hair": "part", "green eyes": "part", "pink shirt": "changeable"}, kind="person")
    assert len(done.changed) == 10
    assert set(shown(project)) == {"1girl, pink shirt, smile, park", "1girl, hat, indoors"}
    traits = Traits.load(project)
    assert (traits.changeable, traits.parts, traits.kind) == (("pink shirt",), ("green eyes", "pink hair"), "person")
    seen = {trait.tag: (trait.count, trait.answer) for trait in survey(project, "person", WORDS).traits}
    assert seen["pink hair"] == (10, "part")  # still in the list, to be brought back
    book.undo()
    assert shown(project) == SET
    assert Traits.load(project).answers == {}
    book.redo()
    assert Traits.load(project).parts == ("green eyes", "pink hair")


def test_a_change_of_mind_brings_a_tag_back_where_it_was(tmp_path: Path) -> None:
    project = make(tmp_path, ["hat, red hair", "park, red hair", "sea"])
    book = book_of(project)
    answer(book, {"red hair": "part"})
    answer(book, {"red hair": "changeable"})
    assert shown(project) == ["hat, red hair", "park, red hair", "sea"]
    assert Traits.load(project).removed == {}
    answer(book, {"Red_Hair": "part"})
    assert shown(project) == ["hat", "park", "sea"]
    assert Traits.load(project).answers == {"Red_Hair": "part"}


def test_missing_ones_are_completed_on_request_but_not_in_sentences(tmp_path: Path) -> None:
    project = make(tmp_path, ["hat", "glasses", "a woman is standing in the old park."])
    answer(book_of(project), {}, ["glasses"])
    assert shown(project) == ["hat, glasses", "glasses", "a woman is standing in the old park."]


def test_answers_conflict_with_another_pages_edit(tmp_path: Path) -> None:
    project = make(tmp_path, SET)
    book = book_of(project)
    base = book.changes(0).revision
    book.apply({"kind": "add", "tags": ["x"]}, ["photos/0.png"], base, "other")
    with pytest.raises(ConflictError):
        answer(book, {"pink hair": "part"}, base=base, client="me")
    assert Traits.load(project).answers == {}
    assert not (project.root / "traits.json").exists()


def test_two_hair_colours_on_one_photo(tmp_path: Path) -> None:
    project = make(
        tmp_path, ["red hair"] * 5 + ["red hair, blue hair", "red hair, blue hair, 2girls", "blue hair, heterochromia"]
    )
    doubt = doubts(project)["two:red hair|blue hair"]
    assert doubt.photos == ("photos/5.png",)
    assert "can't both be true" in doubt.sentence.text()
    fix = next(fix for fix in doubt.fixes if fix.id == "keep:red hair")
    assert fix.operation is not None
    book_of(project).apply(fix.operation, fix.keys)
    assert shown(project)[5:] == ["red hair", "red hair, blue hair, 2girls", "blue hair, heterochromia"]
    assert "two:red hair|blue hair" not in doubts(project)


def test_one_colour_on_some_photos_and_another_on_others(tmp_path: Path) -> None:
    project = make(tmp_path, ["red hair"] * 6 + ["brown hair"] * 4)
    found = doubts(project)
    assert list(found) == ["differ:red hair|brown hair"]  # and not "on 60 % only" besides
    doubt = found["differ:red hair|brown hair"]
    assert len(doubt.photos) == 4
    answer(book_of(project), doubt.fixes[1].answers)
    assert doubts(project) == {}
    book_of(project).undo()
    assert doubt.fixes[0].operation is not None
    book_of(project).apply(doubt.fixes[0].operation, doubt.fixes[0].keys)
    assert shown(project) == ["red hair"] * 10


def test_a_trait_on_forty_percent_of_the_photos(tmp_path: Path) -> None:
    project = make(tmp_path, ["freckles, smile"] * 4 + ["smile"] * 6)
    doubt = doubts(project)["some:freckles"]
    assert doubt.sentence.text() == "freckles is on 40 % of the photos only, 4 of 10."
    assert "40%" in doubt.sentence.text("zh")
    complete, part, leave = doubt.fixes
    assert (part.answers, leave.answers) == ({"freckles": "part"}, {"freckles": "changeable"})
    assert complete.operation is not None
    book_of(project).apply(complete.operation, complete.keys)
    assert shown(project)[9] == "smile, freckles"
    assert doubts(project) == {}


def test_a_deleted_trait_that_is_there_again(tmp_path: Path) -> None:
    project = make(tmp_path, ["red hair, hat"] * 3)
    book = book_of(project)
    answer(book, {"red hair": "part"})
    book.apply({"kind": "add", "tags": ["red hair"]}, ["photos/1.png"])
    doubt = doubts(project)["again:red hair"]
    assert doubt.photos == ("photos/1.png",)
    answer(book, doubt.fixes[0].answers)
    assert shown(project) == ["hat", "hat", "hat"]
    assert Traits.load(project).removed["red hair"] == ("photos/0.png", "photos/1.png", "photos/2.png")


@pytest.mark.parametrize("content", ["{", "[]", '{"answers": 3}'])
def test_a_damaged_file_of_answers_is_said_and_not_overwritten(tmp_path: Path, content: str) -> None:
    project = make(tmp_path, ["red hair"])
    (project.root / "traits.json").write_text(content, encoding="utf-8")
    with pytest.raises(TagError, match=r"traits\.json can't be read"):
        answer(book_of(project), {"red hair": "part"})
    assert (project.root / "traits.json").read_text(encoding="utf-8") == content
    assert shown(project) == ["red hair"]


def test_clothes_that_are_worn_in_turn_are_no_contradiction(tmp_path: Path) -> None:
    """Half in white, half in blue is a change of clothes; nothing at all on four photos may be forgotten."""
    white, blue, none = ["1girl, white shirt"] * 5, ["1girl, blue dress"] * 5, ["1girl, smile"] * 4
    assert doubts(make(tmp_path / "turn", white + blue), "anime") == {}
    found = doubts(make(tmp_path / "gap", white + blue + none), "anime")
    assert set(found) == {"some:white shirt", "some:blue dress"}
    assert len(found["some:white shirt"].photos) == 4


def test_swaps_ask_for_what_no_photo_shows_and_can_be_drawn_together() -> None:
    """A shirt and a dress are not worn at once, and a colour that photos show is no change."""
    answers = dict.fromkeys(("white shirt", "black shirt", "yellow dress", "brown hair", "blue hat"), "changeable")
    assert Traits(answers).swaps() == ("red shirt", "white hair", "red hat")
    assert Traits({**answers, "red shirt": "leave", "pink hair": "part"}).swaps(2) == ("blue shirt", "white hair")
    assert Traits({"smile": "changeable"}).swaps() == ()
