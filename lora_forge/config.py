"""Every setting of a run in one typed, versioned place.

``SCHEMA_VERSION`` goes up when a field changes meaning; ``from_dict`` brings older dicts forward and
refuses keys it does not know. Each field carries ``help`` (effect, cost, a good value) for ``--help`` and for the tab.
"""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from lora_forge.errors import ConfigError
from lora_forge.i18n import Said, Several, word

SCHEMA_VERSION = 1


class Family(str, Enum):
    """Base model families, each with one UNet shape and one set of file conventions."""

    SD1 = "sd1"
    SD2 = "sd2"
    SDXL = "sdxl"


PredictionType = Literal["epsilon", "v_prediction"]
Optimizer = Literal["adamw", "adamw8bit", "adafactor", "lion", "prodigy", "schedule_free"]
Schedule = Literal["constant", "linear", "cosine", "cosine_with_restarts", "polynomial"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Target = Literal["attention", "feed_forward", "projection"]
BaseStorage = Literal["as_lent", "fp8"]


def setting(default: Any, help: str, least: float = -math.inf, most: float = math.inf) -> Any:
    """A dataclass field with its sentence and its range (both ends allowed)."""
    return dataclasses.field(default=default, metadata={"help": help, "least": least, "most": most})


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training run. Lengths in pixels end in ``_px``; a strength of 0 or an empty value means off."""

    schema_version: int = setting(SCHEMA_VERSION, "Version of this list of settings; written by the program.")
    name: str = setting("", "Name of the LoRA; files are NAME-000001.safetensors and so on.")
    trigger_word: str = setting("", "The word that calls the subject; kept first in every caption. Empty: none.")
    seed: int = setting(
        0, "Every random draw follows from it: the same seed and settings give the same files.", 0, 2**53
    )

    epochs: int = setting(
        10, "How many times all photos are gone through; each time ends in a numbered file.", 1, 10000
    )
    repeats: int = setting(
        10, "How often each photo is seen in an epoch, unless its group says otherwise: the main knob.", 1, 10000
    )
    max_steps: int = setting(0, "Stop after so many steps, wherever that is; 0 lets every epoch finish.", 0)
    batch_size: int = setting(1, "How many pictures are learned from in one step.", 1, 1024)
    gradient_accumulation: int = setting(
        1, "So many batches are summed into one step: a larger batch for no memory.", 1, 1024
    )

    resolution_px: int = setting(
        512, "Size at which the photos are learned, in pixels; 512 suits SD1.x, 768 SD2.x, 1024 SDXL.", 64, 4096
    )
    use_buckets: bool = setting(True, "Keep each photo's shape; off cuts every photo to a square.")
    bucket_step_px: int = setting(
        64, "Sides are rounded to multiples of this many pixels; 64 suits every model.", 8, 512
    )
    bucket_min_px: int = setting(256, "Shortest side a photo may be given, in pixels.", 64, 4096)
    bucket_max_px: int = setting(1024, "Longest side a photo may be given, in pixels.", 64, 8192)
    flip: bool = setting(
        False, "Also learn from mirror images; not for faces, text, logos or anything with a left and a right."
    )

    keep_tokens: int = setting(
        1, "So many first tags stay in front when tags are shuffled; the trigger word is the first.", 0, 1000
    )
    shuffle_tags: bool = setting(True, "Put tags in another order each time, so that their order is not learned.")
    tag_dropout: float = setting(0.0, "Chance to leave out each tag, the kept ones never.", 0.0, 1.0)
    caption_dropout: float = setting(0.0, "Chance to learn a picture without any words.", 0.0, 1.0)
    clip_skip: int = setting(
        1, "Which text layer is read, counted from the end; 2 for most anime SD1.x checkpoints.", 1, 12
    )

    rank: int = setting(32, "How much detail the LoRA can hold; the file grows with it.", 1, 1024)
    alpha: float = setting(
        16.0,
        "The LoRA learns with alpha / rank as its scale: less acts like a lower learning rate; 0 takes rank.",
        0.0,
        4096.0,
    )
    targets: tuple[Target, ...] = setting(
        ("attention", "feed_forward", "projection"), "Which layers of the model the LoRA changes."
    )
    conv_rank: int = setting(
        0, "Rank of adapters on convolutions too (LoCon), which carry texture; 0 leaves them out.", 0, 1024
    )
    conv_alpha: float = setting(0.0, "Alpha of the convolution adapters; 0 takes half of their rank.", 0.0, 4096.0)
    rank_dropout: float = setting(
        0.0, "Chance to silence each rank for a step, against learning photos by heart.", 0.0, 0.95
    )
    max_norm: float = setting(
        0.0, "Adapters whose weights grow beyond this are scaled down; 0 is off, 1 is common.", 0.0
    )
    ema_decay: float = setting(
        0.0, "Save an average over the steps instead of the last step; 0 is off, 0.99 is common.", 0.0, 0.99999
    )

    optimizer: Optimizer = setting(
        "adamw", "The rule that turns what was wrong into a change; all but AdamW and Adafactor need their own library."
    )
    learning_rate: float = setting(
        1e-4,
        "How far the image part moves in a step; too high breaks pictures, too low learns nothing. Prodigy wants 1.",
        0.0,
        100.0,
    )
    te_learning_rate: float = setting(0.0, "How far the text part moves in a step; 0 leaves it as it is.", 0.0, 100.0)
    lora_plus_ratio: float = setting(
        1.0, "LoRA+: one half of each adapter learns so many times faster; 1 is off.", 1.0, 64.0
    )
    weight_decay: float = setting(0.01, "Pulls weights back towards zero, a little at each step.", 0.0, 10.0)
    beta1: float = setting(0.9, "How long the optimizer remembers the direction it went.", 0.0, 0.9999)
    beta2: float = setting(0.999, "How long the optimizer remembers how large the changes were.", 0.0, 0.999999)
    schedule: Schedule = setting("cosine", "How the learning rate falls over the run.")
    schedule_cycles: int = setting(1, "How many times a cosine with restarts begins again.", 1, 1000)
    warmup_steps: int = setting(0, "Over so many first steps the learning rate climbs from zero.", 0)
    max_grad_norm: float = setting(1.0, "A step that would change too much is cut to this length; 0 is off.", 0.0)

    prediction_type: Literal["auto", "epsilon", "v_prediction"] = setting(
        "auto", "What the checkpoint predicts; automatic reads it from the checkpoint."
    )
    zero_terminal_snr: Literal["auto", "on", "off"] = setting(
        "auto", "Rescale the noise so that its last step is pure noise; automatic reads it from the checkpoint."
    )
    min_snr_gamma: float = setting(
        0.0,
        "Min-SNR weighting (arXiv 2303.09556) lets all noise levels count evenly; 0 is off, 5 is usual.",
        0.0,
        100.0,
    )
    debiased: bool = setting(
        False, "Debiased estimation, another weighting of the noise levels; not together with Min-SNR."
    )
    noise_offset: float = setting(
        0.0,
        "Shifts the noise a little, so that darker and brighter pictures can be learned; 0.03 to 0.1 where wanted.",
        0.0,
        1.0,
    )
    prior_weight: float = setting(1.0, "How much prior preservation pictures count.", 0.0, 100.0)
    masked_loss: bool = setting(False, "Learn mostly what each photo's mask, or else its face box, shows.")
    outside_weight: float = setting(0.1, "How much counts what lies outside the mask or face box.", 0.0, 1.0)

    device: str = setting("auto", "Where to compute, as torch names it: auto, cpu, cuda, cuda:1, mps, xpu.")
    precision: Precision = setting(
        "auto", "How exact the numbers are; automatic takes what the device does well, fp32 is slow and safe."
    )
    gradient_checkpointing: Literal["auto", "on", "off"] = setting(
        "auto",
        "Compute parts of a step twice instead of keeping them: about a third slower, much less memory, the same "
        "result; automatic: where the free memory would not do without.",
    )
    base_storage: BaseStorage = setting(
        "as_lent",
        "How the frozen base lies in memory while learning: as it was loaded, or in 8 bits, half of fp16; its numbers "
        "get coarser by about 3 %. A WebUI's checkpoint stays as it is on the card; with --medvram the copy for the "
        "run follows this.",
    )
    graphs: Literal["auto", "off"] = setting(
        "auto",
        "On an NVIDIA card, record a step and replay it: the same numbers, much faster at batch 1; off if that fails.",
    )
    encode_ahead: Literal["auto", "on", "off"] = setting(
        "auto", "Encode all photos before the first step, or each when it is first met; automatic: off on a CPU."
    )

    save_every_epochs: int = setting(
        1, "Save a numbered file every so many epochs; the last is always saved.", 1, 10000
    )
    state_every_steps: int = setting(
        50, "Save where the run is every so many steps, to go on from after a crash; 0 only at epochs.", 0
    )
    validation_photos: int = setting(
        4,
        "On so many photos the same fixed question is asked at each epoch, for a loss that can be compared; 0 is off.",
        0,
        1000,
    )
    preview_every_steps: int = setting(0, "Draw previews every so many steps; 0 draws none.", 0)
    preview_share: float = setting(
        0.0,
        "Previews take at most this share of the run's time, those that would take more are left out; 0.1 is a tenth, "
        "0 draws every one. The first and the last are always drawn.",
        0.0,
        0.9,
    )
    preview_prompts: tuple[str, ...] = setting(
        (), "What the previews show, a prompt a line; TRIGGER stands for the trigger word."
    )
    preview_steps: int = setting(20, "Sampler steps of a preview.", 1, 200)
    preview_guidance: float = setting(7.0, "How closely a preview follows its prompt (CFG).", 0.0, 30.0)

    def __post_init__(self) -> None:
        if isinstance(self.gradient_checkpointing, bool):  # what it was once, and still is in older code
            object.__setattr__(self, "gradient_checkpointing", "on" if self.gradient_checkpointing else "off")
        problems = [*_range_problems(self), *_cross_problems(self)]
        if problems:
            raise ConfigError("{problems}", problems=Several(tuple(problems), "; "))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; tuples become lists."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    def save(self, path: Path) -> None:
        """Write as JSON, UTF-8."""
        path.write_text(json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def replace(self, **changes: Any) -> TrainConfig:
        """A checked copy with some fields changed."""
        return from_dict({**self.to_dict(), **changes})


def from_dict(values: Mapping[str, Any]) -> TrainConfig:
    """Build a config from plain values.

    Raises:
        ConfigError: unknown keys, wrong kinds, values out of range or a newer schema; all problems at once.
    """
    known = {field.name: field for field in dataclasses.fields(TrainConfig)}
    version = values.get("schema_version", SCHEMA_VERSION)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ConfigError(
            "These settings are of version {version}, this program knows {known}.",
            "Update LoRA Forge.",
            version=version,
            known=SCHEMA_VERSION,
        )
    problems = [_unknown(key, known) for key in values if key not in known]
    hints = typing.get_type_hints(TrainConfig)
    clean: dict[str, Any] = {}
    for key, value in values.items():
        if key in known:
            try:
                clean[key] = _coerce(value, hints[key])
            except (TypeError, ValueError):
                facts = {"key": key, "value": repr(value), "kind": _kind(hints[key])}
                problems.append(Said("{key} can't be {value}: it wants {kind}", facts))
    if problems:
        raise ConfigError("{problems}", problems=Several(tuple(problems), "; "))
    return TrainConfig(**clean)


def load(path: Path) -> TrainConfig:
    """Read a config saved by :meth:`TrainConfig.save`.

    Raises:
        ConfigError: the file is missing, not JSON, or holds settings that :func:`from_dict` refuses.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as cause:
        raise ConfigError(
            "{path} can't be read as settings: {cause}.",
            "Give the config.json written beside a run.",
            path=path,
            cause=cause,
        ) from cause
    if not isinstance(values, dict):
        raise ConfigError(
            "{path} holds no settings: it is {kind}, not an object.", path=path, kind=type(values).__name__
        )
    return from_dict(values)


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """``["rank=8", "flip=true", "targets=attention,projection"]`` as plain values for :func:`from_dict`.

    Raises:
        ConfigError: an entry has no ``=``.
    """
    values: dict[str, Any] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError("{text!r} is not a setting.", "Write it as key=value.", text=text)
        values[key.strip()] = value.strip()
    return values


def _coerce(value: Any, hint: Any) -> Any:
    """``value`` as ``hint`` wants it; text (from a command line) is read, other kinds must already fit."""
    origin = typing.get_origin(hint)
    if origin is Literal:
        choices = typing.get_args(hint)
        if value not in choices and {"on", "off"} <= set(choices):
            return "on" if _coerce_bool(value) else "off"
        if value not in choices:
            raise ValueError(value)
        return value
    if origin is tuple:
        parts = _split(value) if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)):
            raise TypeError(value)
        return tuple(_coerce(part, typing.get_args(hint)[0]) for part in parts)
    if hint is bool:
        return _coerce_bool(value)
    if hint is int:
        return _coerce_int(value)
    if hint is float:
        return _coerce_float(value)
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _split(text: str) -> list[str]:
    return [str(part) for part in json.loads(text)] if text.startswith("[") else [p for p in text.split(",") if p]


def _coerce_bool(value: Any) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise TypeError(value)


def _coerce_int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError(value)
    number = float(value) if isinstance(value, (str, float)) else value
    if number != int(number):
        raise ValueError(value)
    return int(value) if isinstance(value, int) else int(number)


def _coerce_float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _kind(hint: Any) -> Said:
    origin = typing.get_origin(hint)
    if origin is Literal:
        return Said("one of {choices}", {"choices": Several(typing.get_args(hint))})
    if origin is tuple:
        return Said("a list, each {kind}", {"kind": _kind(typing.get_args(hint)[0])})
    names = {bool: word("true or false"), int: word("a whole number"), float: word("a number"), str: word("text")}
    return Said(names[hint])


def _unknown(key: str, known: Mapping[str, object]) -> Said:
    import difflib

    close = difflib.get_close_matches(key, known, n=1)
    if not close:
        return Said("unknown setting {key!r}", {"key": key})
    return Said("unknown setting {key!r} (did you mean {close!r}?)", {"key": key, "close": close[0]})


def _range_problems(config: TrainConfig) -> list[Said]:
    problems = []
    for field in dataclasses.fields(config):
        value, least, most = getattr(config, field.name), field.metadata["least"], field.metadata["most"]
        if isinstance(value, (int, float)) and not isinstance(value, bool) and not least <= value <= most:
            facts = {"key": field.name, "value": f"{value:g}", "least": f"{least:g}", "most": f"{most:g}"}
            is_open = most == math.inf
            problems.append(Said(_TOO_LOW if is_open else "{key} is {value}, it must be {least} to {most}", facts))
    return problems


def _cross_problems(config: TrainConfig) -> list[Said]:
    problems = []
    if config.min_snr_gamma and config.debiased:
        problems.append(Said("min_snr_gamma and debiased are two weightings of one loss: choose one"))
    if config.bucket_min_px > config.bucket_max_px:
        edges = {"least": config.bucket_min_px, "most": config.bucket_max_px}
        problems.append(Said("bucket_min_px {least} is above bucket_max_px {most}", edges))
    for key in ("bucket_step_px", "resolution_px"):
        if getattr(config, key) % 8:
            facts = {"key": key, "value": getattr(config, key)}
            problems.append(Said("{key} {value} must be a multiple of 8, the VAE's factor", facts))
    if not config.targets and not config.conv_rank:
        problems.append(Said("nothing would be trained: targets is empty and conv_rank is 0"))
    if config.learning_rate == 0 and config.te_learning_rate == 0:
        problems.append(Said("nothing would be trained: learning_rate and te_learning_rate are both 0"))
    return problems


_TOO_LOW = word("{key} is {value}, it must be at least {least}")
