"""Captions as token ids, made fast: every tag is tokenised once, captions are put together from the pieces."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lora_forge.toyworld.nets import POSITIONS, load_tokenizer
from lora_forge.toyworld.world import Look, tags, vocabulary

BOS, EOS, COMMA = 49406, 49407, 267


@dataclass
class Line:
    """One caption: token ids without BOS and EOS, and per known tag (index of its last token, index of the tag)."""

    ids: list[int] = field(default_factory=list)
    marks: list[tuple[int, int]] = field(default_factory=list)

    def add(self, pieces: Sequence[int], tag: int | None) -> None:
        """Append a tag (or a foreign word when ``tag`` is None), with a comma before it unless it is the first."""
        if self.ids:
            self.ids.append(COMMA)
        self.ids.extend(pieces)
        if tag is not None:
            self.marks.append((len(self.ids) - 1, tag))


class Captioner:
    """Makes training captions: shuffled, with tags dropped and foreign words mixed in at random."""

    def __init__(self, tokenizer: Any = None) -> None:
        tokenizer = tokenizer or load_tokenizer()
        self.words = vocabulary()
        self._index = {word: k for k, word in enumerate(self.words)}
        self._pieces = [list(tokenizer(word, add_special_tokens=False).input_ids) for word in self.words]
        known = {piece for pieces in self._pieces for piece in pieces}
        self.trained_rows = sorted(known | {BOS, EOS, COMMA})
        """Rows of the embedding table that training may change."""
        self._known = known | {COMMA}

    def line(self, look: Look, rng: random.Random, tag_dropout: float = 0.1, foreign: float = 0.3) -> Line:
        """The caption of a look: "1girl" mostly first, the rest shuffled, 1-3 foreign words in some captions.

        One caption in ten drops half of its tags, so that whatever a prompt leaves open stays open.
        """
        found = list(tags(look))
        dropout = 0.5 if rng.random() < 0.1 else tag_dropout
        rest = [word for word in found[1:] if rng.random() >= dropout]
        rng.shuffle(rest)
        entries: list[int | None] = [self._index[word] for word in rest]
        if rng.random() < 0.95:
            entries.insert(0, 0)
        if rng.random() < foreign:
            for _ in range(rng.randint(1, 3)):
                entries.insert(0 if rng.random() < 0.4 else rng.randint(0, len(entries)), None)
        line = Line()
        for entry in entries:
            line.add(self._foreign(rng) if entry is None else self._pieces[entry], entry)
        return line

    def _foreign(self, rng: random.Random) -> list[int]:
        word: list[int] = []
        while len(word) < (1 if rng.random() < 0.7 else 2):
            token = rng.randrange(BOS)
            if token not in self._known:
                word.append(token)
        return word


def pad(lines: Sequence[Line], length: int | None = None) -> Tensor:
    """int64 (B, L): BOS, ids, then EOS to the end, as CLIP's tokenizer pads; L is ``length`` or just enough."""
    length = length or min(POSITIONS, max(len(line.ids) for line in lines) + 4)
    rows = [([BOS, *line.ids][: length - 1] + [EOS] * length)[:length] for line in lines]
    return torch.tensor(rows)
