"""The pictures drawn during a run, by step and column, as its journal names them."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

WITHOUT_LORA = 0
_NAME = re.compile(r"step-\d+-(\d+)\.\w+")


@dataclass(frozen=True)
class Picture:
    """``name``: the file in the run's previews folder. ``stamp``: when it was drawn, in Unix seconds."""

    name: str
    prompt: str
    stamp: float


@dataclass
class PreviewList:
    """Pictures by step, then by column: 0 is without the LoRA, 1 the trigger word alone, from 2 on other traits."""

    _pictures: dict[int, dict[int, Picture]] = field(default_factory=dict)

    def add(self, step: int, name: str, prompt: str, column: int | None, stamp: float) -> None:
        """A picture was drawn. Without ``column``, as in old journals, the file's name says it."""
        place = column_of(name) if column is None else column
        self._pictures.setdefault(step, {})[place] = Picture(name, prompt, stamp)

    def wind_back(self, first: int) -> None:
        """Forget the pictures of step ``first`` and later ones: they are drawn again."""
        self._pictures = {step: row for step, row in self._pictures.items() if step < first}

    def copy(self) -> PreviewList:
        """Another one, which does not change with this one."""
        return PreviewList({step: dict(row) for step, row in self._pictures.items()})

    def told(self, folder: str, there: Collection[str]) -> dict[str, Any]:
        """Plain JSON values: the columns with their newest prompts, and the steps, newest first.

        ``folder`` (with a slash behind it) goes in front of each name; names that are not ``there`` are left out. The
        picture without the LoRA is drawn once for its prompt: it stands at every step until there is another one.
        """
        prompts: dict[int, str] = {}
        steps = []
        base = self._first_base(there)
        for step in sorted(self._pictures):
            row = {column: one for column, one in self._pictures[step].items() if one.name in there}
            base = row.get(WITHOUT_LORA, base)
            if not row:
                continue
            if base is not None:
                row[WITHOUT_LORA] = base
            prompts.update((column, one.prompt) for column, one in row.items())
            shown = sorted(row.items())
            steps.append(
                {
                    "step": step,
                    "pictures": {str(column): folder + one.name for column, one in shown},
                    "prompts": {str(column): one.prompt for column, one in shown},
                    "stamps": {str(column): round(one.stamp) for column, one in shown},
                }
            )
        columns = [{"column": column, "prompt": prompt} for column, prompt in sorted(prompts.items())]
        return {"columns": columns, "steps": steps[::-1]}

    def _first_base(self, there: Collection[str]) -> Picture | None:
        every = (self._pictures[step].get(WITHOUT_LORA) for step in sorted(self._pictures))
        return next((one for one in every if one is not None and one.name in there), None)


def column_of(name: str) -> int:
    """The column of a file that an older run named: ``step-00000050-2.png`` is of column 2, a base picture of 0."""
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else WITHOUT_LORA
