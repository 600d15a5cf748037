"""What a person asks of a test: a grid of one LoRA's epochs and strengths, as a page or the command line says it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from lora_forge.errors import ConfigError, LoraForgeError
from lora_forge.evaluate.plan import GridPlan, parse_range, parse_strengths
from lora_forge.evaluate.swapping import swapped_prompt
from lora_forge.evaluate.xyz import SAMPLERS, range_text
from lora_forge.events import text_of
from lora_forge.i18n import Said, Text, word

T = TypeVar("T")

MODES = ("smart", "full", "xyz")
"""``smart``: coarse first, then around the best. ``full``: every cell. ``xyz``: pictures that the host drew itself."""
MOST_SEEDS, MOST_CELLS, MOST_PX, MOST_STEPS = 16, 2000, 2048, 150


@dataclass(frozen=True)
class TestRequest:
    """One test. ``project``: the project's folder. ``name``: of the LoRA. ``strengths``: without the baseline, which
    every test has. ``prompt``: with the place of a :class:`GridPlan`. ``swaps``: tags of what no photo shows, for the
    second prompt; none, and there is no second one. Sides are in pixels."""

    __test__: ClassVar[bool] = False  # not for pytest

    project: Path
    name: str
    kind: str = "person"
    mode: str = "smart"
    epochs: tuple[int, ...] = tuple(range(1, 11))
    strengths: tuple[float, ...] = tuple(round(count / 10, 1) for count in range(1, 11))
    prompt: str = ""
    swaps: tuple[str, ...] = ()
    negative: str = ""
    width: int = 512
    height: int = 512
    steps: int = 20
    guidance: float = 7.0
    sampler: str = "dpmpp_2m"
    clip_skip: int = 1
    seeds: tuple[int, ...] = (0,)

    def plan(self) -> GridPlan:
        """The grid with its baseline, and with the second prompt where something is swapped.

        Raises:
            ConfigError: it is no grid; all problems at once.
        """
        prompt = with_place(self.prompt, self.name)
        strengths = self.strengths if self.mode == "xyz" else tuple(sorted({0.0, *self.strengths}))
        return GridPlan(
            prompt=prompt,
            negative_prompt=self.negative,
            epochs=self.epochs,
            strengths=strengths,
            seeds=self.seeds,
            width=self.width,
            height=self.height,
            steps=self.steps,
            guidance=self.guidance,
            sampler=self.sampler,
            clip_skip=self.clip_skip,
            swap_prompt=swapped_prompt(prompt, self.swaps) if self.swaps else "",
            swaps=self.swaps,
        ).named(self.name)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; of the project's folder its name alone."""
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}
        return {**plain, "project": self.project.name}

    @classmethod
    def from_dict(cls, project: Path, plain: Mapping[str, Any]) -> TestRequest:
        """What :meth:`to_dict` gave; unknown names are left out.

        Raises:
            TypeError: there is no name.
        """
        known = {one.name for one in dataclasses.fields(cls)}
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items() if k in known}
        return cls(**{**values, "project": project})

    def form(self) -> dict[str, Any]:
        """As :func:`read_form` takes it."""
        plain = self.to_dict()
        return {
            **plain,
            "sampler": SAMPLERS.get(self.sampler, self.sampler),
            "epochs": range_text(self.epochs),
            "strengths": strengths_text(self.strengths),
            "seed": self.seeds[0],
            "seeds": len(self.seeds),
        }


@dataclass(frozen=True)
class Problem:
    """What is wrong with a form. ``key``: the field, or empty where it is the whole."""

    key: str
    sentence: Text


@dataclass
class ReadForm:
    """``request`` is None where there are problems with single fields."""

    request: TestRequest | None = None
    problems: list[Problem] = field(default_factory=list)


def with_place(prompt: str, name: str) -> str:
    """``prompt`` with ``<lora:NAME-NUM:STRENGTH>`` at its end where it has none."""
    if "<lora:" in prompt and "-NUM:STRENGTH>" in prompt:
        return prompt
    return ", ".join(part for part in (prompt.strip().rstrip(","), f"<lora:{name}-NUM:STRENGTH>") if part)


def strengths_text(strengths: Sequence[float]) -> str:
    """``(0.1, 0.2, 0.3)`` as ``"0.1-0.3"``, which ``plan.parse_strengths`` reads."""
    spans: list[list[float]] = []
    for strength in sorted(strengths):
        if spans and round(strength - spans[-1][-1], 6) == 0.1:
            spans[-1][1:] = [strength]
        else:
            spans.append([strength])
    return ",".join("-".join(f"{one:.1f}" if len(span) > 1 else f"{one:g}" for one in span) for span in spans)


def read_form(project: Path, values: Mapping[str, Any]) -> ReadForm:
    """A page's form as a request, with everything that is wrong with it, each by its field."""
    read = ReadForm()
    got: dict[str, Any] = {}
    for key, reader in _READERS.items():
        if values.get(key) is not None:
            try:
                got[key] = reader(key, values[key])
            except LoraForgeError as problem:
                read.problems.append(Problem(key, text_of(problem)))
    seed, count = got.pop("seed", 0), got.pop("seeds", 1)
    if read.problems:
        return read
    request = TestRequest(project=project, seeds=tuple(range(seed, seed + count)), **got)
    if not request.name:
        read.problems.append(Problem("name", Said(word("No LoRA is chosen."))))
        return read
    read.problems += _problems(request)
    read.request = None if read.problems else request
    return read


def _problems(request: TestRequest) -> Iterator[Problem]:
    cells = len(request.epochs) * len(request.strengths)
    if cells > MOST_CELLS:
        template = word("{cells} cells are too many: at most {most} can be drawn in one test.")
        yield Problem("epochs", Said(template, {"cells": cells, "most": MOST_CELLS}))
    try:
        request.plan()
    except ConfigError as problem:
        yield Problem("prompt", text_of(problem))


# ---------------------------------------------------------------- one field each


def _wrong(value: object, wants: str) -> ConfigError:
    return ConfigError("This can't be {value!r}.", wants, value=value)


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > 4000:
        raise _wrong(value, word("Write a text."))
    return " ".join(value.split()) if key != "name" else value.strip()


def _number(least: float, most: float) -> Callable[[str, Any], float]:
    def read(key: str, value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = float("nan")
        if isinstance(value, bool) or not least <= number <= most:
            raise ConfigError(
                "This can't be {value!r}.",
                "Write a number from {least} to {most}.",
                value=value, least=f"{least:g}", most=f"{most:g}",
            )  # fmt: skip
        return number

    return read


def _whole(least: int, most: int, of: int = 1) -> Callable[[str, Any], int]:
    reader = _number(least, most)

    def read(key: str, value: Any) -> int:
        number = reader(key, value)
        if number != int(number) or int(number) % of:
            raise ConfigError("This can't be {value!r}.", "Write a multiple of {of}.", value=value, of=of)
        return int(number)

    return read


def _one_of(known: Sequence[str]) -> Callable[[str, Any], str]:
    def read(key: str, value: Any) -> str:
        if value not in known:
            raise ConfigError("This can't be {value!r}.", "Choose one of {known}.", value=value, known=", ".join(known))
        return str(value)

    return read


def _tags(key: str, value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or len(parts) > 12 or not all(isinstance(one, str) for one in parts):
        raise _wrong(value, word("Write at most twelve tags with commas between."))
    return tuple(dict.fromkeys(" ".join(one.split()) for part in parts for one in part.split(",") if one.strip()))


def _sampler(_: str, value: Any) -> str:
    """By our name, or by the hosts' own, which a page shows."""
    ours = {label: name for name, label in SAMPLERS.items()}
    return _one_of(tuple(SAMPLERS))("sampler", ours.get(value, value) if isinstance(value, str) else value)


_READERS: Mapping[str, Callable[[str, Any], Any]] = {
    "name": _text,
    "kind": _text,
    "mode": _one_of(("smart", "full")),
    "epochs": lambda _, value: parse_range(str(value)),
    "strengths": lambda _, value: tuple(one for one in parse_strengths(str(value)) if one) or (1.0,),
    "prompt": _text,
    "swaps": _tags,
    "negative": _text,
    "width": _whole(64, MOST_PX, 8),
    "height": _whole(64, MOST_PX, 8),
    "steps": _whole(1, MOST_STEPS),
    "guidance": _number(0, 50),
    "sampler": _sampler,
    "clip_skip": _whole(1, 12),
    "seed": _whole(0, 2**32 - 1 - MOST_SEEDS),
    "seeds": _whole(1, MOST_SEEDS),
}
