from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from lora_forge.dataset.taggers.labels import CHARACTER, RATING, Label
from lora_forge.dataset.taggers.tagger import Thresholds
from lora_forge.evaluate.judges.readers import SayingReader, ScoringReader
from lora_forge.evaluate.judges.tags import LOST, TagJudge, TraitLikeness, VectorLikeness, excludes, shares_of
from lora_forge.evaluate.scores import Asked
from lora_forge.toyworld.subject import TRAIT_TAGS, photos, subject_look
from lora_forge.toyworld.tagger import THRESHOLDS, ToyTagger
from lora_forge.toyworld.world import draw, random_look

BLANK = Image.new("RGB", (8, 8))


class Told:
    """A tagger that sees in every picture what it was told."""

    id, fingerprint, batch_size = "told", "told", 2

    def __init__(self, *seen: tuple[str, str, float]) -> None:
        self.labels: Sequence[Label] = tuple(Label(name, category) for name, category, _ in seen)
        self._scores = [score for _, _, score in seen]
        self.batches: list[int] = []

    def score(self, images: Sequence[Image.Image]) -> npt.NDArray[np.float32]:
        self.batches.append(len(images))
        return np.array([self._scores] * len(images), dtype=np.float32)


@pytest.fixture(scope="module")
def reader() -> ScoringReader:
    return ScoringReader(ToyTagger(), THRESHOLDS)


def test_a_threshold_is_one_half() -> None:
    tagger = Told(
        ("white_hair", "general", 0.35), ("snow", "general", 0.675), ("hat", "general", 0.07),
        ("some_one", CHARACTER, 0.85), ("sensitive", RATING, 0.9), ("dust", "general", 0.01),
    )  # fmt: skip
    reader = ScoringReader(tagger, Thresholds(0.35, 0.85))
    chances = [reader.chances(scored) for scored in reader.read([BLANK] * 5)]
    assert chances == [pytest.approx({"white hair": 0.5, "snow": 0.75, "hat": 0.1, "some one": 0.5})] * 5
    assert tagger.batches == [2, 2, 1]
    assert [reader.knows(tag) for tag in ("White Hair", "snow", "sensitive", "sea")] == [True, True, False, False]


def test_an_interrogator_sees_what_it_lists() -> None:
    class Lists:
        id, name, problem = "host:deepbooru", "DeepDanbooru", ""
        kind = "tags"

        def __call__(self, image: Image.Image) -> str:
            return "1girl, white_hair, 1girl"

    reader = SayingReader(Lists())  # type: ignore[arg-type]
    assert [reader.chances(scored) for scored in reader.read([BLANK])] == [{"1girl": 1.0, "white hair": 1.0}]
    (told,) = TagJudge(reader).score([BLANK], Asked("x", ("white hair", "snow")))
    assert told.shown == {"white hair": 1.0, "snow": 0.0}


def test_traits_by_hand() -> None:
    """The photos show the horns at 0.8; a picture that shows them at 0.4, and the tail not at all."""
    seen = [{"horns": 0.9, "tail": 1.0, "halo": 0.1}, {"horns": 0.7, "tail": 1.0}, {"horns": 0.8, "tail": 1.0}]
    likeness = TraitLikeness(seen, ("horns", "tail", "halo", "wings"))
    assert likeness.shown == pytest.approx({"horns": 0.8, "tail": 1.0})  # the rest this tagger can't see in them
    own = [1.0, (0.7 / 0.8 + 1) / 2, 1.0]
    assert likeness.own == pytest.approx(own)
    assert likeness.usual == pytest.approx(sum(own) / 3)
    assert likeness.likeness({"horns": 0.4}) == pytest.approx(0.25 / (sum(own) / 3))
    assert likeness.likeness({"horns": 1.0, "tail": 1.0}) == 1.0
    assert likeness.likeness({}) == 0.0
    assert TraitLikeness(seen[:2], ("horns",)).likeness({"horns": 0.8}) is None  # of two photos nothing is usual
    assert TraitLikeness(seen, ("wings",)).likeness({"wings": 1.0}) is None


def test_a_trait_that_was_swapped_away_is_not_asked_for() -> None:
    likeness = TraitLikeness([{"pink hair": 1.0, "green eyes": 1.0}] * 3, ("pink hair", "green eyes"))
    assert likeness.likeness({"green eyes": 1.0}) == pytest.approx(0.5)
    assert likeness.likeness({"green eyes": 1.0}, ("white hair",)) == 1.0
    assert likeness.likeness({"green eyes": 1.0}, ("white hair", "blue eyes")) is None


@pytest.mark.parametrize(
    ("one", "other", "is_so"),
    [
        ("white hair", "pink hair", True),
        ("white hair", "white hair", False),
        ("red dress", "blue dress", True),
        ("red dress", "blue shirt", False),
        ("long hair", "pink hair", False),
        ("long hair", "short hair", True),
        ("silver hair", "grey hair", False),
        ("indoors", "outdoors", True),
        ("snow", "beach", False),
    ],
)
def test_what_a_picture_can_not_show_at_once(one: str, other: str, is_so: bool) -> None:
    assert excludes(one, other) == excludes(other, one) == is_so


def test_all_tags_by_hand() -> None:
    """Photos of a and b; a picture of a alone, one with as much of something else."""
    photos = [{"a": 1.0, "b": 1.0, "1girl": 1.0}] * 3
    likeness = VectorLikeness(photos, ["1girl"])
    assert likeness.usual == pytest.approx(1.0)
    assert likeness.likeness({"a": 1.0, "b": 1.0}) == pytest.approx(1.0)
    assert likeness.likeness({"a": 1.0, "1girl": 1.0}) == pytest.approx(0.5**0.5)
    assert likeness.likeness({"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0}) == pytest.approx(0.5**0.5)
    assert likeness.likeness({"1girl": 1.0}) == 0.0
    assert likeness.likeness({"a": 1.0, "snow": 1.0}, ("snow", "b")) == pytest.approx(1.0)
    assert VectorLikeness([], []).likeness({"a": 1.0}) is None


def test_the_subject_is_told_from_others_in_the_toy_world(reader: ScoringReader) -> None:
    seen = [reader.chances(one) for one in reader.read([picture for picture, _ in photos(0)])]
    judge = TagJudge(reader, TraitLikeness(seen, TRAIT_TAGS))
    rng = random.Random(5)
    herself = judge.score([draw(subject_look(rng)) for _ in range(16)], Asked("ohwx"))
    others = judge.score([draw(random_look(rng)) for _ in range(32)], Asked("ohwx"))
    assert np.mean([one.identity or 0.0 for one in herself]) > 0.97
    assert np.mean([one.identity or 0.0 for one in others]) < 0.35
    halves = [replace(subject_look(rng), hair="black", glasses="none") for _ in range(8)]
    assert np.mean([one.identity or 0.0 for one in judge.score([draw(look) for look in halves], Asked("x"))]) < 0.5


def test_swaps_are_told_in_the_toy_world(reader: ScoringReader) -> None:
    rng = random.Random(6)
    asked = Asked("ohwx, red dress, snow, wings", ("red dress", "snow", "wings"))
    obeyed = [draw(replace(subject_look(rng), garment="dress", colour="red", place="snow")) for _ in range(8)]
    for score in TagJudge(reader).score(obeyed, asked):
        assert set(score.shown) == {"red dress", "snow"}  # wings are no tag of this tagger
        assert min(score.shown.values()) > 0.8
        assert (score.identity, score.obedience, score.health) == (None, None, 1.0)
    ignored = [draw(replace(subject_look(rng), garment="shirt", colour="blue", place="beach")) for _ in range(8)]
    assert max(max(score.shown.values()) for score in TagJudge(reader).score(ignored, asked)) < 0.2


@pytest.mark.parametrize(("seen", "health"), [(0.9, 1.0), (0.5, 1.0), (0.25, LOST + (1 - LOST) / 2), (0.0, LOST)])
def test_a_picture_of_nobody_is_unwell_where_somebody_is_due(seen: float, health: float) -> None:
    judge = TagJudge(ScoringReader(Told(("1girl", "general", seen)), Thresholds(0.5, 0.5)), due=["1girl"])
    assert judge.score([BLANK], Asked("x"))[0].health == pytest.approx(health)
    assert judge.score([BLANK], Asked("x", expects_face=False))[0].health == 1.0


def test_shares() -> None:
    assert shares_of([{"b": 0.5, "a": 0.4}, {"b": 1.0}]) == {"a": 0.0, "b": 1.0}
