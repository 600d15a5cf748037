"""Tags that say less than another one that is there too: "long hair" beside "very long hair". A small table of our own
and one rule: a tag that is the end of another one ("shirt", "white shirt") says nothing more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

_NOT_THE_THING = frozenset(
    ["no", "without", "fake", "missing", "removed", "unworn", "imaginary", "toy", "stuffed", "hot", "ex"]
)
"""First words after which the end of a tag does not hold: no shoes are no shoes."""

_TABLE = """
absurdly long hair: very long hair, long hair
very long hair: long hair
very short hair: short hair
bob cut: short hair
pixie cut: short hair
hime cut: long hair
short twintails: twintails
low twintails: twintails
high ponytail: ponytail
side ponytail: ponytail
low ponytail: ponytail
braided ponytail: ponytail, braid
twin braids: braid
single braid: braid
french braid: braid
side braid: braid
double bun: hair bun
single hair bun: hair bun
two-tone hair: multicolored hair
gradient hair: multicolored hair
streaked hair: multicolored hair
split-color hair: multicolored hair
heterochromia: multicolored eyes
blunt bangs: bangs
parted bangs: bangs
swept bangs: bangs
cat ears: animal ears
dog ears: animal ears
fox ears: animal ears
rabbit ears: animal ears
wolf ears: animal ears
cat tail: tail
fox tail: tail
large breasts: breasts
medium breasts: breasts
small breasts: breasts
huge breasts: large breasts, breasts
black-framed eyewear: glasses
round eyewear: glasses
semi-rimless eyewear: glasses
under-rim eyewear: glasses
serafuku: school uniform
gakuran: school uniform
gym uniform: uniform
thigh boots: boots
thighhighs: socks
over-kneehighs: socks
kneehighs: socks
miniskirt: skirt
pleated skirt: skirt
microskirt: miniskirt, skirt
sundress: dress
sneakers: shoes
high heels: shoes
loafers: shoes
baseball cap: hat
beret: hat
straw hat: hat
sun hat: hat
witch hat: hat
grin: smile
light smile: smile
smirk: smile
evil smile: smile
parted lips: lips
clenched teeth: teeth
upper teeth only: teeth
full-face blush: blush
nose blush: blush
one eye closed: wink
cowboy shot: upper body
portrait: upper body
close-up: portrait, upper body
gradient background: simple background
grey background: simple background
white background: simple background
black background: simple background
blue sky: sky
night sky: sky, night
starry sky: night sky, sky, night
"""


def _read(table: str) -> Mapping[str, tuple[str, ...]]:
    lines = (line.partition(":") for line in table.strip().splitlines())
    return MappingProxyType({more: tuple(part.strip() for part in less.split(",")) for more, _, less in lines})


WEAKER = _read(_TABLE)
"""Tag -> tags that need not be said beside it."""


def without_overlaps(tags: Sequence[str]) -> list[str]:
    """``tags`` (with spaces) in their order, less those that another one of them says already."""
    folded = [" ".join(tag.casefold().split()) for tag in tags]
    said = {less for tag in folded for less in _less(tag)}
    return [tag for tag, key in zip(tags, folded, strict=True) if key not in said]


@lru_cache(maxsize=1 << 15)
def _less(tag: str) -> tuple[str, ...]:
    words = tag.split(" ")
    ends = () if words[0] in _NOT_THE_THING else tuple(" ".join(words[start:]) for start in range(1, len(words)))
    return (*WEAKER.get(tag, ()), *ends)
