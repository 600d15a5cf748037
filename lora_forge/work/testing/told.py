"""A test as a page is told of it, ready for JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lora_forge.evaluate.diagnose import Diagnosis
from lora_forge.evaluate.plan import NO_EPOCH
from lora_forge.evaluate.recommend import Recommendation
from lora_forge.evaluate.scores import SCORES, Cell, CellScore
from lora_forge.i18n import say
from lora_forge.work.packing import text_of_packed
from lora_forge.work.testing.store import KeptTest

MOST_PHOTOS = 12


def row(test: KeptTest) -> dict[str, Any]:
    """One line of a list. ``picture``: the recommended cell's, relative to the data root; empty before there is one."""
    best = test.recommendation
    shown = None if best is None else test.picture(best.epoch, best.strength)
    return {
        "id": test.id,
        "name": test.request.name,
        "mode": test.request.mode,
        "state": test.state,
        "made_at": test.made_at,
        "done": len(test.cells),
        "total": test.total,
        "epoch": None if best is None else best.epoch,
        "strength": None if best is None else best.strength,
        "quality": None if best is None else best.quality,
        "picture": _relative(test, shown) if shown else "",
    }


def state(test: KeptTest, language: str, since: int = 0) -> dict[str, Any]:
    """Everything of one test; of its cells those that changed after the revision ``since``."""
    plan = test.plan
    prompts = zip(("plain", "swaps"), plan.prompts(), strict=False)
    return {
        **row(test),
        "revision": test.revision,
        "kind": test.request.kind,
        "base": test.base,
        "is_complete": test.is_complete,
        "epochs": list(plan.epochs),
        "strengths": list(plan.strengths),
        "prompts": [{"id": id, "prompt": prompt} for id, prompt in prompts],
        "swaps": list(plan.swaps),
        "seeds": list(plan.seeds),
        "cells": _cells(test, since),
        "scores": scores(language),
        "recommendation": recommended(test.recommendation, language),
        "diagnosis": diagnosed(test.diagnosis, language),
        "judges": [one.to_json(language) for one in test.used],
        "missing": [one.to_json(language) for one in test.missing],
        "request": test.request.form(),
        "photos": list(test.photos.keys[:MOST_PHOTOS]) if test.photos else [],
        "error": "" if test.error is None else text_of_packed(test.error, language),
    }


def scores(language: str) -> list[dict[str, Any]]:
    """What each score means; values in cells are shares, 0 to 1."""
    return [
        {
            "id": id,
            "title": say(facts.title, language),
            "unit": facts.unit,
            "range": list(facts.range),
            "sentence": facts.sentence.text(language),
            "is_better_high": facts.is_better_high,
        }
        for id, facts in SCORES.items()
    ]


def cell_scores(score: CellScore) -> dict[str, dict[str, float]]:
    """Mean and standard error of each score that could be told, 0 to 1."""
    return {name: {"mean": one.mean, "error": one.standard_error} for name, one in score.measures().items()}


def recommended(best: Recommendation | None, language: str) -> dict[str, Any] | None:
    """The cell to keep; None before one was scored."""
    if best is None:
        return None
    other = best.runner_up
    return {
        "epoch": best.epoch,
        "strength": best.strength,
        "quality": best.quality,
        "runner_up": {"epoch": other[0], "strength": other[1]} if other else None,
        "is_too_close": best.is_too_close,
        "is_usable": best.is_usable,
        "sentence": best.sentence.text(language),
    }


def diagnosed(found: Diagnosis | None, language: str) -> dict[str, Any] | None:
    """What is right or wrong with the run; None before a cell was scored."""
    if found is None:
        return None
    evidence = [one.text(language) for one in found.evidence]
    return {"kind": found.kind, "sentence": found.sentence.text(language), "evidence": evidence}


def _cells(test: KeptTest, since: int) -> list[dict[str, Any]]:
    """Obedience is told beside the baseline: when that is scored, all cells are new."""
    base = test.notes.get((NO_EPOCH, 0.0))
    is_new: Callable[[Cell], bool] = (
        (lambda _: True)
        if base is not None and base.revision > since
        else (lambda cell: test.notes[cell].revision > since)
    )
    return [_cell(test, cell, paths) for cell, paths in test.cells.items() if is_new(cell)]


def _cell(test: KeptTest, cell: Cell, paths: Iterable[Path]) -> dict[str, Any]:
    score = test.surface.get(cell)
    return {
        "epoch": cell[0],
        "strength": cell[1],
        "pictures": [_relative(test, path) for path in paths],
        "scores": None if score is None else cell_scores(score),
    }


def _relative(test: KeptTest, path: Path) -> str:
    """As GET picture takes it: beneath the data root."""
    return path.relative_to(test.project.root.parent).as_posix()
