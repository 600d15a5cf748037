"""Rounds and advice as a page or a program is told of them, ready for JSON."""

from __future__ import annotations

from typing import Any

from lora_forge.dataset.project import Project
from lora_forge.evaluate.advice import TARGET, Advice, Choice
from lora_forge.evaluate.choices import ADD_EPOCHS
from lora_forge.i18n import Said, word
from lora_forge.presets.fields import label_of
from lora_forge.progress import size
from lora_forge.work.rounds import Round, advice_of, differing, find_test, rounds_of, state_bytes
from lora_forge.work.testing import KeptTest
from lora_forge.work.testing.told import cell_scores, row

MOST_ROUNDS = 8
_DISK = word("The state that this goes on from takes {size}, for as long as the run is kept.")


def told(project: Project, test: str, language: str) -> dict[str, Any]:
    """The newest rounds, oldest first, and the advice that follows from ``test`` (empty: the newest that tells a cell).

    Raises:
        ConfigError: there is no such test.
    """
    rounds = rounds_of(project)[:MOST_ROUNDS][::-1]
    looked_at = find_test(project, test)
    advice = None if looked_at is None else advice_of(project, looked_at)
    keys = differing(rounds)
    return {
        "rounds": [_round(one, keys, language) for one in rounds],
        "settings": [{"key": key, "label": label_of(key, language)} for key in keys],
        "target": TARGET,
        "test": "" if looked_at is None else looked_at.id,
        "name": "" if looked_at is None else looked_at.request.name,
        "advice": None if advice is None else _advice(advice, _state_bytes(rounds, looked_at), language),
    }


def _round(one: Round, keys: list[str], language: str) -> dict[str, Any]:
    run, config, test = one.run, one.config, one.test
    made = config.to_dict() if config is not None else {}
    shown = row(test) if test is not None else {}
    best = test.recommendation if test is not None else None
    diagnosis = test.diagnosis if test is not None else None
    scores = test.surface.get((best.epoch, best.strength)) if test is not None and best is not None else None
    return {
        "run": run.name,
        "name": run.name,
        "state": run.state,
        "repeats": made.get("repeats"),
        "epochs": made.get("epochs"),
        "learning_rate": made.get("learning_rate"),
        "steps": run.journal.step,
        "values": {key: made.get(key) for key in keys},
        "test": shown.get("id", ""),
        "epoch": shown.get("epoch"),
        "strength": shown.get("strength"),
        "quality": shown.get("quality"),
        "picture": shown.get("picture", ""),
        "scores": {} if scores is None else {name: one["mean"] for name, one in cell_scores(scores).items()},
        "made_at": shown.get("made_at") or run.began_at,
        "diagnosis": "" if diagnosis is None else diagnosis.sentence.text(language),
    }


def _advice(advice: Advice, kept_bytes: int, language: str) -> dict[str, Any]:
    return {
        "sentence": advice.sentence.text(language),
        "evidence": [one.text(language) for one in advice.evidence],
        "choices": [_choice(one, kept_bytes, language) for one in advice.choices],
    }


def _choice(choice: Choice, kept_bytes: int, language: str) -> dict[str, Any]:
    note = Said(_DISK, {"size": size(kept_bytes)}) if choice.id == ADD_EPOCHS else None
    return {
        "id": choice.id,
        "label": choice.label.text(language),
        "sentence": choice.sentence.text(language),
        "note": note.text(language) if note is not None else "",
        "changes": dict(choice.changes),
        "photos": [photo.key for photo in choice.photos],
        "reasons": {photo.key: photo.why.text(language) for photo in choice.photos},
        "is_advised": choice.is_advised,
    }


def _state_bytes(rounds: list[Round], test: KeptTest | None) -> int:
    return next((state_bytes(one.run) for one in rounds if test is not None and one.run.name == test.request.name), 0)
