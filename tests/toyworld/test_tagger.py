"""The toy tagger on drawn photos: it says what their own captions say."""

from __future__ import annotations

import random

import numpy as np

from lora_forge.dataset.taggers import PickOptions, Scored, pick
from lora_forge.toyworld.tagger import THRESHOLDS, ToyTagger
from lora_forge.toyworld.world import Look, draw, random_look, tags, vocabulary

PICKS = PickOptions(THRESHOLDS.general, THRESHOLDS.character, drop_overlaps=False)


def said(tagger: ToyTagger, looks: list[Look]) -> list[set[str]]:
    scores = tagger.score([draw(look) for look in looks])
    return [
        set(pick([Scored(label, float(x)) for label, x in zip(tagger.labels, row, strict=True)], PICKS))
        for row in scores
    ]


def test_it_names_what_was_drawn() -> None:
    tagger, rng = ToyTagger(), random.Random(3)
    looks = [random_look(rng) for _ in range(60)]
    right = sum(found == set(tags(look)) for found, look in zip(said(tagger, looks), looks, strict=True))
    assert right >= 54, f"{right} of 60 exactly right"


def test_its_labels_are_the_world_and_its_scores_lie_between_0_and_1() -> None:
    tagger = ToyTagger()
    assert tuple(label.name for label in tagger.labels) == vocabulary()
    scores = tagger.score([draw(Look())])
    assert scores.shape == (1, len(vocabulary()))
    assert scores.dtype == np.float32
    assert 0 <= scores.min() <= scores.max() <= 1
