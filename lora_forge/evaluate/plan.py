"""What a grid asks for: a prompt with places for the epoch and the strength, and the values to put there."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from lora_forge.errors import ConfigError
from lora_forge.evaluate.lora_tags import split_prompt
from lora_forge.i18n import Said, Several, word
from lora_forge.ports import PictureRequest

if TYPE_CHECKING:
    from lora_forge.evaluate.scores import Asked

NO_EPOCH = 0
"""The epoch of the baseline: strength 0 has no file, so all epochs share it."""

_PLACE = re.compile(r"<lora:([^:<>]+)-NUM:STRENGTH>")
_NO_PLACE = word("the prompt {prompt!r} has no <lora:NAME-NUM:STRENGTH>: NUM and STRENGTH are where the axes go")
_SEVERAL_LORAS = word("the prompt asks for several LoRAs ({names}): a grid compares the epochs of one")
_OTHER_LORA = word("the swapped prompt {prompt!r} has not the LoRA of the other one")
_TWICE = (word("epochs holds a value twice"), word("strengths holds a value twice"), word("seeds holds a value twice"))
_SIDES = word("{width}x{height} pixels can't be drawn: sides are multiples of 8, at least 64")
_SPAN = re.compile(r"\d+(?:\.\d+)?-\d+(?:\.\d+)?")


def parse_range(text: str) -> tuple[int, ...]:
    """Epoch numbers: ``"1-10"``, ``"1,3,5-7"``; sorted, each once.

    Raises:
        ConfigError: something is not a whole number of at least 1, or a span runs backwards.
    """
    numbers: set[int] = set()
    for part in _parts(text, "epochs", "1-10 or 1,3,5-7"):
        first, dash, last = part.partition("-")
        try:
            least, most = int(first), int(last if dash else first)
        except ValueError:
            least, most = 1, 0
        if not 1 <= least <= most <= 999_999:
            raise ConfigError("epochs can't be {text!r}.", "Write them as 1-10 or 1,3,5-7.", text=text)
        numbers.update(range(least, most + 1))
    return tuple(sorted(numbers))


def parse_strengths(text: str) -> tuple[float, ...]:
    """Strengths: ``"0,0.2,0.5"``; ``"0.1-1.0"`` counts in steps of 0.1, the end included; sorted, each once.

    Raises:
        ConfigError: something is not a number of 0 to 10, or a span runs backwards.
    """
    values: set[Decimal] = set()
    step = Decimal("0.1")
    for part in _parts(text, "strengths", "0.1-1.0 or 0,0.5,1"):
        first, _, last = part.partition("-") if _SPAN.fullmatch(part) else (part, "", part)
        try:
            least, most = Decimal(first), Decimal(last)
        except ArithmeticError:
            least, most = Decimal(1), Decimal(0)
        if not (least.is_finite() and most.is_finite() and 0 <= least <= most <= 10):
            raise ConfigError(
                "strengths can't be {text!r}.", "Write them as 0.1-1.0 or 0,0.5,1, each 0 to 10.", text=text
            )
        values.update(least + step * count for count in range(int((most - least) / step) + 1))
    return tuple(float(value) for value in sorted(values))


def _parts(text: str, axis: str, example: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise ConfigError("{axis} can't be {text!r}.", "Write {example}.", axis=axis, text=text, example=example)
    return parts


@dataclass(frozen=True)
class GridPlan:
    """A grid of pictures: epochs across, strengths down, ``seeds`` in every cell.

    ``prompt`` holds ``<lora:NAME-NUM:STRENGTH>``, where NUM and STRENGTH are meant literally and NAME is the LoRA's
    name (or literally NAME, see :meth:`named`). ``width`` and ``height`` are in pixels. ``swap_prompt`` may be a second
    one, with the same place: each cell then has a picture of it for every seed too, after those of ``prompt``.
    ``swaps``: what it asks for that no photo shows, as tags ("white hair", "snow").

    Raises:
        ConfigError: a place is missing, an axis is empty or out of range; all problems at once.
    """

    prompt: str
    negative_prompt: str = ""
    epochs: tuple[int, ...] = tuple(range(1, 11))
    strengths: tuple[float, ...] = tuple(round(count / 10, 1) for count in range(1, 11))
    seeds: tuple[int, ...] = (0,)
    width: int = 512
    height: int = 512
    steps: int = 20
    guidance: float = 7.0
    sampler: str = "dpmpp_2m"
    clip_skip: int = 1
    swap_prompt: str = ""
    swaps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise ConfigError("{problems}", problems=Several(tuple(problems), "; "))

    @property
    def name(self) -> str:
        """The LoRA's name as the prompt has it."""
        return str(_PLACE.findall(self.prompt)[0])

    def named(self, name: str) -> GridPlan:
        """The plan for one LoRA: a literal ``NAME`` in the prompt's tag becomes ``name``.

        Raises:
            ConfigError: the prompt asks for another LoRA.
        """
        prompt, swap_prompt = (
            text.replace("<lora:NAME-NUM:", f"<lora:{name}-NUM:") for text in (self.prompt, self.swap_prompt)
        )
        plan = dataclasses.replace(self, prompt=prompt, swap_prompt=swap_prompt)
        if plan.name != name:
            raise ConfigError(
                "The prompt asks for the LoRA {other!r}, but the grid is of {name!r}.",
                "Write <lora:{name}-NUM:STRENGTH>, or leave the word NAME there.",
                other=plan.name,
                name=name,
            )
        return plan

    def cells(self) -> tuple[tuple[int, float], ...]:
        """(epoch, strength) of every cell in drawing order: the baseline first, then file by file."""
        baseline = [(NO_EPOCH, 0.0)] if 0.0 in self.strengths else []
        return (*baseline, *((epoch, strength) for epoch in self.epochs for strength in self.strengths if strength))

    def prompts(self) -> tuple[str, ...]:
        """The plain prompt, and the swapped one where there is one."""
        return (self.prompt, self.swap_prompt) if self.swap_prompt else (self.prompt,)

    def prompt_of(self, epoch: int, strength: float) -> str:
        """The prompt of one cell; without any LoRA tag for the baseline."""
        return _of_cell(self.prompt, epoch, strength)

    def requests(self, epoch: int, strength: float) -> tuple[PictureRequest, ...]:
        """One request a seed, of the plain prompt; then as many of the swapped one."""
        return tuple(
            PictureRequest(
                prompt=_of_cell(prompt, epoch, strength),
                negative_prompt=self.negative_prompt,
                width=self.width,
                height=self.height,
                steps=self.steps,
                guidance=self.guidance,
                seed=seed,
                sampler=self.sampler,
                clip_skip=self.clip_skip,
            )
            for prompt in self.prompts()
            for seed in self.seeds
        )

    def asked(self) -> tuple[Asked, ...]:
        """What the pictures of any cell were asked for, in the order of :meth:`requests`."""
        from lora_forge.evaluate.scores import Asked  # scores know grids, and those plans

        words = [split_prompt(_of_cell(prompt, NO_EPOCH, 0.0))[0] for prompt in self.prompts()]
        asked = [Asked(one, self.swaps if number else ()) for number, one in enumerate(words)]
        return tuple(one for one in asked for _ in self.seeds)

    @property
    def pictures_a_cell(self) -> int:
        """How many pictures a cell has."""
        return len(self.prompts()) * len(self.seeds)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> GridPlan:
        """What :meth:`to_dict` gave; unknown names are left out.

        Raises:
            ConfigError: it is no grid.
            TypeError: there is no prompt.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        lists: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in values.items() if name in known
        }
        return cls(**lists)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; tuples become lists."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}


def _of_cell(prompt: str, epoch: int, strength: float) -> str:
    if epoch == NO_EPOCH or strength == 0:
        return re.sub(r"\s*,?\s*" + _PLACE.pattern, "", prompt).strip()
    return _PLACE.sub(lambda place: f"<lora:{file_stem(place.group(1), epoch)}:{strength:g}>", prompt)


def file_stem(name: str, epoch: int) -> str:
    """``NAME-000001``, as the epoch's file is called."""
    return f"{name}-{epoch:06d}"


def _problems(plan: GridPlan) -> Iterator[Said]:
    names = set(_PLACE.findall(plan.prompt))
    if not names:
        yield Said(_NO_PLACE, {"prompt": plan.prompt})
    elif len(names) > 1:
        yield Said(_SEVERAL_LORAS, {"names": ", ".join(sorted(names))})
    if plan.swap_prompt and set(_PLACE.findall(plan.swap_prompt)) != names:
        yield Said(_OTHER_LORA, {"prompt": plan.swap_prompt})
    if not plan.epochs or not plan.strengths or not plan.seeds:
        yield Said(word("a grid needs at least one epoch, one strength and one seed"))
    if any(epoch < 1 for epoch in plan.epochs):
        yield Said(word("epochs count from 1, not {least}"), {"least": min(plan.epochs)})
    if any(not (math.isfinite(strength) and 0 <= strength <= 10) for strength in plan.strengths):
        yield Said(word("strengths are 0 to 10"))
    for sentence, values in zip(_TWICE, (plan.epochs, plan.strengths, plan.seeds), strict=True):
        if len(set(values)) < len(values):
            yield Said(sentence)
    if plan.width % 8 or plan.height % 8 or plan.width < 64 or plan.height < 64:
        yield Said(_SIDES, {"width": plan.width, "height": plan.height})
    if plan.steps < 1:
        yield Said(word("steps is {steps}, it must be at least 1"), {"steps": plan.steps})
