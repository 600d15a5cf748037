"""What a LoRA file says of itself, as rows a person reads, in either language."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from lora_forge.i18n import Said, Several, say, word
from lora_forge.lora_file.facts import LoraFacts, plain
from lora_forge.lora_file.trained_with import settings_of
from lora_forge.progress import size

_MOST_WORDS = 60
_LABELS = {
    "kind": word("Kind of adapter"),
    "family": word("For models"),
    "rank": word("Rank"),
    "alpha": word("Alpha"),
    "layers": word("Adapted layers"),
    "size": word("Size"),
    "base": word("Trained on"),
    "photos": word("Photos"),
    "epoch": word("Epoch"),
    "steps": word("Steps"),
    "trained": word("Trained at"),
    "by": word("Made by"),
    "from": word("Made from"),
    "hash": word("Hash"),
}
_LAYERS = word("{count}, of them {text} of the text encoder and {conv} convolutions")
_UNKNOWN = word("not told")
_NO_WORDS = word("The file tells no words: it was saved without its captions.")
_SHARED = word("{value} ({layers} layers)")
_EPOCH_OF = word("epoch {epoch} of {name} at strength {strength}")
_EPOCH_BAKED = word("epoch {epoch} of {name}, strength {strength} baked in")
_LOWERED = word("{file}, at a lower rank")


def told(facts: LoraFacts, language: str) -> dict[str, Any]:
    """``rows``, ``trigger_words``, ``settings``, ``left``, ``problems``; plain JSON values."""
    brought = settings_of(facts.metadata)
    rows = [{"key": key, "label": say(_LABELS[key], language), "value": value} for key, value in _rows(facts, language)]
    return {
        "file": facts.path.name,
        "rows": rows,
        "trigger_word": facts.trigger_word,
        "trigger_words": [
            {"word": one.word, "count": one.count, "share": one.share} for one in facts.words[:_MOST_WORDS]
        ],
        "no_words": "" if facts.words else say(_NO_WORDS, language),
        "settings": dict(brought.values),
        "left": [{"key": one.key, "value": one.value, "why": one.why.text(language)} for one in brought.left],
        "problems": [one.text(language) for one in facts.problems],
    }


def _rows(facts: LoraFacts, language: str) -> Iterator[tuple[str, str]]:
    data = facts.metadata
    unknown = say(_UNKNOWN, language)
    yield "kind", facts.kind or unknown
    yield "family", say(facts.family_name, language) or unknown
    yield "rank", _numbers(facts.ranks, language) or unknown
    yield "alpha", _numbers(facts.alphas, language) or unknown
    counts = {"count": facts.layers, "text": facts.text_layers, "conv": facts.conv_layers}
    yield "layers", say(_LAYERS, language, **counts)
    yield "size", size(facts.size_bytes)
    yield "base", _clean(data.get("ss_sd_model_name")) or unknown
    photos = _photos(data.get("ss_dataset_dirs"))
    optional = {
        "photos": str(photos or ""),
        "epoch": _clean(data.get("ss_epoch")),
        "steps": _clean(data.get("ss_steps")),
        "trained": _day(data.get("ss_training_finished_at") or data.get("ss_training_started_at")),
        "by": _maker(facts),
        "from": _origin(data.get("lora_forge.made_from"), language),
        "hash": data.get("sshs_model_hash", "")[:12],
    }
    yield from ((key, value) for key, value in optional.items() if value)


def _numbers(counts: tuple[tuple[float, int], ...], language: str) -> str:
    """One value, or the three most common with how many layers have each."""
    if len(counts) == 1:
        return f"{counts[0][0]:g}"
    shown = tuple(Said(_SHARED, {"value": f"{value:g}", "layers": layers}) for value, layers in counts[:3])
    return Several(shown).text(language) + (" …" if len(counts) > 3 else "")


def _photos(said: str | None) -> int:
    folders = plain(said)
    rows = folders.values() if isinstance(folders, dict) else ()
    counts = (row.get("img_count") for row in rows if isinstance(row, dict))
    return sum(count for count in counts if isinstance(count, int))


def _day(said: str | None) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(float(said or "")))
    except (ValueError, OverflowError, OSError):
        return ""


def _maker(facts: LoraFacts) -> str:
    if facts.is_ours:
        return facts.metadata["ss_training_comment"]
    return "sd-scripts" if "ss_network_module" in facts.metadata else ""


def _origin(said: str | None, language: str) -> str:
    """What ``lora_forge.made_from`` tells."""
    try:
        values = json.loads(said or "")
    except ValueError:
        return ""
    if not isinstance(values, dict):
        return ""
    if "epoch" in values:
        template = _EPOCH_BAKED if values.get("baked") else _EPOCH_OF
        shown = {key: str(values.get(key, "?")) for key in ("epoch", "name", "strength")}
        return Said(template, shown).text(language)
    if isinstance(values.get("files"), dict):
        return " + ".join(f"{name} x {strength}" for name, strength in values["files"].items())
    return say(_LOWERED, language, file=str(values.get("file", "?")))


def _clean(said: str | None) -> str:
    return "" if said in (None, "None") else str(said)
