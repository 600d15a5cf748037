"""Two LoRAs as one, each at its strength: side by side, exactly, or brought to a rank with the error stated."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from lora_forge.errors import LoraFileError
from lora_forge.lora_file.algebra import Loss, dtype_of, loss_between, rounded
from lora_forge.lora_file.facts import LoraFacts, plain
from lora_forge.lora_file.resizing import resize
from lora_forge.lora_file.weights import LoraWeights, combine
from lora_forge.lora_file.writer import LoraFile

# Of what was trained, these say for which models the file is; the rest is no longer true of two.
_OF_THE_MODEL = (
    *("ss_base_model_version", "ss_v2", "ss_sd_model_name", "ss_sd_model_hash", "ss_new_sd_model_hash"),
    *("ss_clip_skip", "ss_network_module"),
    *("modelspec.sai_model_spec", "modelspec.architecture", "modelspec.implementation", "modelspec.prediction_type"),
)


@dataclass(frozen=True, eq=False)
class Merged:
    """``loss``: against the exact sum, rounding to the file's dtype included. ``ranks``: least and most of a layer."""

    weights: LoraWeights
    loss: Loss
    ranks: tuple[int, int]
    dtype: torch.dtype


def check_alike(first: LoraFacts, second: LoraFacts) -> None:
    """Nothing, if both are for one family.

    Raises:
        LoraFileError: they are not; it says which is which.
    """
    names = first.family_name, second.family_name
    if all(names) and names[0] != names[1]:
        raise LoraFileError(
            "{first} is for {first_family} and {second} for {second_family}: they can't be one file.",
            "Choose two of one family.",
            first=first.path.name,
            first_family=names[0],
            second=second.path.name,
            second_family=names[1],
        )


def merge(
    first: LoraFile,
    first_strength: float,
    second: LoraFile,
    second_strength: float,
    rank: int | None,
    each: Callable[[int, int], None] = lambda done, total: None,
) -> Merged:
    """``first_strength`` of the first and ``second_strength`` of the second; a ``rank`` is the most of a layer.

    Raises:
        LoraFileError: both strengths are 0, or the rank is out of range.
    """
    parts = [(first.weights, first_strength), (second.weights, second_strength)]
    wanted = [(weights, strength) for weights, strength in parts if strength]
    if not wanted:
        raise LoraFileError("Both strengths are 0: nothing would be left.", "Choose a strength for at least one.")
    kinds = {dtype_of(weights) for weights, _ in wanted}
    dtype = kinds.pop() if len(kinds) == 1 else torch.float32
    exact = combine(wanted)
    if rank is not None:
        made = resize(exact, rank, None, dtype, each)
        return Merged(made.weights, made.loss, made.ranks, dtype)
    saved = rounded(exact, dtype)
    ranks = [module.rank for module in saved.values()]
    return Merged(saved, loss_between(exact, saved), (min(ranks), max(ranks)), dtype)


def merged_metadata(first: Mapping[str, str], second: Mapping[str, str], origin: Mapping[str, Any]) -> dict[str, str]:
    """What is still true of both, their words counted together, and under ``lora_forge.made_from`` where it is from."""
    kept = {key: first.get(key) or second.get(key, "") for key in _OF_THE_MODEL}
    made = {key: value for key, value in kept.items() if value}
    words = [one.get("modelspec.trigger_phrase", "") for one in (first, second)]
    if any(words):
        made["modelspec.trigger_phrase"] = ", ".join(dict.fromkeys(word for word in words if word))
    for key in ("ss_tag_frequency", "ss_dataset_dirs"):
        both = _both(plain(first.get(key)), plain(second.get(key)))
        if both:
            made[key] = json.dumps(both, ensure_ascii=False)
    return {**made, "lora_forge.made_from": json.dumps(origin, ensure_ascii=False)}


def _both(first: Any, second: Any) -> dict[str, Any]:
    """Entries of both; folders of one name are counted together."""
    found: dict[str, Any] = {}
    for part in (first, second):
        for name, entry in part.items() if isinstance(part, dict) else ():
            if isinstance(entry, dict):
                before = found.get(name, {})
                found[name] = dict(Counter(before) + Counter({k: v for k, v in entry.items() if isinstance(v, int)}))
    return found
