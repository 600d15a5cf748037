"""Whether a LoRA passes the generalisation test: ticks for each picture, and one verdict with its numbers.

The rule, all of it:

* A picture is **alike** from 0.7 on: of 1, which is as alike as the photos are to each other.
* Something asked for **is there** from a chance of 0.5 on, or of half the chance it has without the LoRA, at the same
  noise. What the checkpoint can't draw itself (a chance below 0.5) is no fault of the LoRA, nor is what its subject
  excludes (white hair of one whose pink hair was made a part of her): it gets no tick and does not count.
* A picture is **broken** below a health of 0.5, and **a photo again** from a copying of 0.5 on.
* **Pass**: three quarters of the pictures are alike, three quarters of what was asked for is there, and at most one
  picture in nine is broken or a photo again. Each of the two needs a judge, and at least three things to tell it by.
* What fails by what could be told has not passed yet, whatever else could not be told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lora_forge.evaluate.scores import BASE_SHOWS, PictureScore
from lora_forge.i18n import Said, Several, Text, word

ALIKE_FROM = 0.7
SHOWN_FROM = 0.5
HEALTHY_FROM = 0.5
COPIED_FROM = 0.5
NEEDED_SHARE = 0.75
SPOILT_SHARE = 1 / 9
LEAST_TOLD = 3

_PASS = word("Pass: {what}.")
_NOT_YET = word("Not yet: {what}.")
_CANT_TELL = word("Can't be told: {what}.")
_ALIKE = word("{count} of {total} pictures are alike enough")
_UNLIKE = word("{count} of {total} pictures are alike enough, and {needed} are needed")
_LIKENESS_UNTOLD = word("nothing here can judge likeness")
_OBEYED = word("{count} of {total} things asked for are there")
_DISOBEYED = word("{count} of {total} things asked for are there, and {needed} are needed")
_OBEDIENCE_UNTOLD = word("nothing here can judge whether the prompt is obeyed")
_TOO_FEW_PICTURES = word("likeness takes {least} pictures at the least, not {total}")
_TOO_FEW_ASKED = word("obedience takes {least} things asked for at the least, not {total}")
_BROKEN = word("{count} pictures are broken")
_COPIED = word("{count} pictures are a photo of the set again")
_MORE = word("A later epoch or a higher strength brings likeness.")
_LESS = word("An earlier epoch or a lower strength obeys the prompt better.")
_NEITHER = word("No strength mends both at once: another epoch may, or the next round with better photos.")


@dataclass(frozen=True)
class Ask:
    """One thing asked for. ``chance`` with the LoRA and ``base`` without it, 0 to 1; None: not told, or not drawn.
    ``is_ok``: None where it can't be told, or the checkpoint itself can't draw it."""

    tag: str
    chance: float | None
    base: float | None
    is_ok: bool | None


@dataclass(frozen=True)
class Ticks:
    """What a picture shows. ``is_ok``: every tick that could be given is one; None where none could."""

    identity: float | None
    is_alike: bool | None
    asks: tuple[Ask, ...]
    is_broken: bool
    is_copied: bool

    @property
    def is_ok(self) -> bool | None:
        if self.is_broken or self.is_copied:
            return False
        told = [tick for tick in (self.is_alike, *(ask.is_ok for ask in self.asks)) if tick is not None]
        return all(told) if told else None


@dataclass(frozen=True)
class Verdict:
    """``is_pass``: None where it can't be told. ``clauses``: the ``sentence`` without its first word, which a stamp
    says already. ``advice``: what to try next, where it has not passed."""

    is_pass: bool | None
    clauses: Text
    advice: Said | None = None

    @property
    def sentence(self) -> Said:
        head = _CANT_TELL if self.is_pass is None else _PASS if self.is_pass else _NOT_YET
        return Said(head, {"what": self.clauses})


def needs_base(score: PictureScore, asks: Sequence[str]) -> bool:
    """Whether the picture without the LoRA has to be seen: something that could be told is not there."""
    return any(score.shown.get(tag, SHOWN_FROM) < SHOWN_FROM for tag in asks)


def ticks_of(
    score: PictureScore, asks: Sequence[str], base: PictureScore | None = None, *, is_excluded: bool = False
) -> Ticks:
    """The ticks of one picture. ``base``: the same without the LoRA, where it was drawn. ``is_excluded``: a trait of
    the subject itself speaks against what is asked for."""
    return Ticks(
        identity=score.identity,
        is_alike=None if score.identity is None else score.identity >= ALIKE_FROM,
        asks=tuple(_ask(tag, score, None if is_excluded else base) for tag in asks),
        is_broken=score.health < HEALTHY_FROM,
        is_copied=(score.copying or 0.0) >= COPIED_FROM,
    )


def _ask(tag: str, score: PictureScore, base: PictureScore | None) -> Ask:
    chance = score.shown.get(tag)
    without = None if base is None else base.shown.get(tag)
    if chance is None:
        return Ask(tag, None, without, None)
    if chance >= SHOWN_FROM:
        return Ask(tag, chance, without, True)
    if without is None or without < BASE_SHOWS:
        return Ask(tag, chance, without, None)
    return Ask(tag, chance, without, chance >= without / 2)


def verdict_of(pictures: Sequence[Ticks]) -> Verdict:
    """The rule of this module on the pictures there are."""
    alike = _Share.of([one.is_alike for one in pictures])
    obeyed = _Share.of([ask.is_ok for one in pictures for ask in one.asks])
    broken, copied = (sum(one.is_broken for one in pictures), sum(one.is_copied for one in pictures))
    is_spoilt = sum(one.is_broken or one.is_copied for one in pictures) > SPOILT_SHARE * len(pictures)
    clauses = [
        alike.said(_ALIKE, _UNLIKE, _TOO_FEW_PICTURES, _LIKENESS_UNTOLD),
        obeyed.said(_OBEYED, _DISOBEYED, _TOO_FEW_ASKED, _OBEDIENCE_UNTOLD),
        *([Said(_BROKEN, {"count": broken})] if broken else []),
        *([Said(_COPIED, {"count": copied})] if copied else []),
    ]
    what = Several(tuple(clauses), "; ")
    if is_spoilt or alike.is_met is False or obeyed.is_met is False:
        return Verdict(False, what, _advice(alike, obeyed, is_spoilt))
    if alike.is_met is None or obeyed.is_met is None:
        return Verdict(None, what)
    return Verdict(True, what)


def _advice(alike: _Share, obeyed: _Share, is_spoilt: bool) -> Said:
    is_weak, is_strong = alike.is_met is False, is_spoilt or obeyed.is_met is False
    return Said(_NEITHER if is_weak and is_strong else _MORE if is_weak else _LESS)


@dataclass(frozen=True)
class _Share:
    """``count`` of ``total`` that could be told."""

    count: int
    total: int

    @classmethod
    def of(cls, ticks: Sequence[bool | None]) -> _Share:
        told = [tick for tick in ticks if tick is not None]
        return cls(sum(told), len(told))

    @property
    def needed(self) -> int:
        return math.ceil(NEEDED_SHARE * self.total)

    @property
    def is_met(self) -> bool | None:
        """None where it can't be told, or by too few."""
        return self.count >= self.needed if self.total >= LEAST_TOLD else None

    def said(self, met: str, unmet: str, too_few: str, untold: str) -> Said:
        if not self.total:
            return Said(untold)
        if self.is_met is None:
            return Said(too_few, {"total": self.total, "least": LEAST_TOLD})
        values = {"count": self.count, "total": self.total}
        return Said(met, values) if self.is_met else Said(unmet, {**values, "needed": self.needed})
