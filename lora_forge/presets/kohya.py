"""Settings of kohya's trainers as ours, where the meaning is the same: sd-scripts' TOML (a run's or a data set's), the
kohya_ss GUI's JSON, and lora-scripts' TOML. They share their names; sections are only for reading.

Read from sd-scripts 48d368fa (``library/train_util.py``, ``networks/lora.py``, ``train_network.py``), kohya_ss 26
(``lora_gui.py``) and lora-scripts (``config/default.toml``). What means something else is listed, never guessed; what
asks for nothing (off, empty, zero) is passed over.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lora_forge.i18n import Said
from lora_forge.presets import kohya_words as words

_PLAIN_NETWORKS = ("networks.lora", "networks.lora_sdxl")
_PLAIN_TYPES = ("Standard", "Kohya LoCon")
_POLYNOMIAL_POWER = 2.0  # as train/schedules.py has it


@dataclass
class Translated:
    """``values``: ours by name, not yet checked. ``taken``: (theirs, ours). ``left``: (theirs, value, why)."""

    values: dict[str, Any] = field(default_factory=dict)
    taken: list[tuple[str, str]] = field(default_factory=list)
    left: list[tuple[str, Any, Said]] = field(default_factory=list)

    def take(self, theirs: str, ours: str, value: Any) -> None:
        self.values[ours] = value
        self.taken.append((theirs, ours))

    def leave(self, theirs: str, value: Any, why: str, **facts: object) -> None:
        self.left.append((theirs, value, Said(why, facts)))


def translated(plain: Mapping[str, Any]) -> Translated:
    """What of another trainer's settings means the same here."""
    found = Translated()
    flat = _flat(plain, found)
    if str(flat.get("model_train_type", "")).partition("-")[0] not in ("", "sd", "sdxl"):
        found.leave("model_train_type", flat["model_train_type"], words.NOT_SD)
        return found
    for part in (_rates, _network, _optimizer, _schedule, _length, _previews):
        part(flat, found)
    for key, value in flat.items():
        _single(key, value, found)
    return found


def _flat(plain: Mapping[str, Any], found: Translated) -> dict[str, Any]:
    """All sections as one, as sd-scripts itself reads them; of a data set's lists the first entry, if it is alone."""
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        if key in words.QUIET:
            continue
        if isinstance(value, Mapping):
            flat.update(_flat(value, found))
        elif key in ("datasets", "subsets") and isinstance(value, list):
            if len(value) == 1 and isinstance(value[0], Mapping):
                flat.update(_flat(value[0], found))
            elif value:
                found.leave(key, len(value), words.SEVERAL_SETS)
        else:
            flat[key] = value
    return flat


def _single(key: str, value: Any, found: Translated) -> None:
    """One setting that needs no other to be understood."""
    if value is None or value == "":
        return
    if key in ("resolution", "max_resolution"):
        sides = _numbers(value)
        if len(set(sides)) == 1:
            found.take(key, "resolution_px", sides[0])
        else:
            found.leave(key, value, words.NOT_SQUARE)
    elif key in words.SAME:
        found.take(key, words.SAME[key], value)
    elif key == "mixed_precision":
        found.take(key, "precision", "fp32" if value == "no" else value)
    elif key == "seed":
        if _number(value):  # 0 is "any" there
            found.take(key, key, value)
    elif key in ("fp8_base", "fp8_base_unet"):
        if _is_on(value):
            found.take(key, "base_storage", "fp8")
    elif key == "zero_terminal_snr":
        if _is_on(value):
            found.take(key, key, "on")
    elif _is_on(value) and not _is_usual(key, value):
        found.leave(key, value, words.LEFT.get(key, words.NO_MEANING))


def _network(flat: dict[str, Any], found: Translated) -> None:
    module, kind = flat.pop("network_module", "networks.lora"), flat.pop("LoRA_type", "Standard")
    args = _pairs(flat.pop("network_args", None))
    rank, alpha = flat.pop("network_dim", None), flat.pop("network_alpha", None)
    conv = {key: flat.pop(key, None) for key in ("conv_dim", "conv_alpha")}
    if module not in _PLAIN_NETWORKS or kind not in _PLAIN_TYPES:
        where, network = ("LoRA_type", kind) if kind not in _PLAIN_TYPES else ("network_module", module)
        said = {"network_dim": rank, "network_alpha": alpha, "network_args": args, where: network}
        for key, value in said.items():
            if _is_on(value):
                found.leave(key, value, words.OTHER_KIND, network=network)
        return
    if _number(rank):
        found.take("network_dim", "rank", rank)
        found.take("network_alpha", "alpha", 1.0 if _number(alpha) is None else alpha)  # theirs where nothing is said
    if kind == "Kohya LoCon":  # the GUI writes both for a plain LoRA too, and does not use them there
        args = {**conv, **args}
    _convolutions(args, found)
    for key, ours in (("rank_dropout", "rank_dropout"), ("loraplus_lr_ratio", "lora_plus_ratio")):
        value = args.pop(key, None) or flat.pop(key, None)
        if _number(value):
            found.take(key, ours, value)
    for key, value in args.items():
        if _is_on(value):
            found.leave(key, value, words.BOTH_PARTS if key.startswith("loraplus") else words.NO_MEANING)


def _convolutions(args: dict[str, Any], found: Translated) -> None:
    rank, alpha = args.pop("conv_dim", None), args.pop("conv_alpha", None)
    if _number(rank):
        found.take("conv_dim", "conv_rank", rank)
        found.take("conv_alpha", "conv_alpha", 1.0 if _number(alpha) is None else alpha)


def _rates(flat: dict[str, Any], found: Translated) -> None:
    """One rate stands for both parts unless they have their own; the GUI writes 0 for "as the other"."""
    is_gui = "LoRA_type" in flat or "max_resolution" in flat
    both, unet, said = (flat.pop(key, None) for key in ("learning_rate", "unet_lr", "text_encoder_lr"))
    texts = _numbers(said)
    only_unet, only_text = (
        flat.pop("network_train_unet_only", False),
        flat.pop("network_train_text_encoder_only", False),
    )
    own = _number(unet)
    key, rate = ("learning_rate", both) if own is None or (is_gui and own == 0) else ("unet_lr", unet)
    if _number(rate) is not None:
        found.take(key, "learning_rate", 0.0 if _is_on(only_text) else rate)
    if _is_on(only_unet):
        found.take("network_train_unet_only", "te_learning_rate", 0.0)
    elif len(set(texts)) > 1:
        found.leave("text_encoder_lr", said, words.OWN_RATES)
    elif texts:
        found.take("text_encoder_lr", "te_learning_rate", texts[0])
    elif _number(both) is not None:
        found.take("learning_rate", "te_learning_rate", both)


def _optimizer(flat: dict[str, Any], found: Translated) -> None:
    key = "optimizer_type" if "optimizer_type" in flat else "optimizer"
    name, args = flat.pop(key, ""), _pairs(flat.pop("optimizer_args", None))
    if flat.pop("use_8bit_adam", False):
        name = "AdamW8bit"
    if not name:
        return
    ours, implied = words.OPTIMIZERS.get(str(name).lower(), ("", {}))
    if not ours or (ours == "adafactor" and args.get("relative_step") is not False):
        found.leave(key, name, words.MOVES_ALONE if ours else words.NO_OPTIMIZER)
        for one, value in args.items():
            found.leave(one, value, words.NO_OPTIMIZER if not ours else words.MOVES_ALONE)
        return
    found.take(key, "optimizer", ours)
    values = {"weight_decay": args.pop("weight_decay", implied.get("weight_decay"))}
    betas = _numbers(args.pop("betas", None))
    values["beta1"] = betas[0] if len(betas) > 1 else None
    values["beta2"] = betas[1] if len(betas) > 1 else implied.get("beta2")
    for mine, value in values.items():
        if value is not None:
            found.take("optimizer_args", mine, value)
    _other_arguments(ours, args, found)


_AS_HERE: Mapping[str, Mapping[str, Any]] = {
    "prodigy": {"safeguard_warmup": True, "use_bias_correction": True, "decouple": True, "d_coef": 1.0},
    "adafactor": {"relative_step": False, "scale_parameter": False, "warmup_init": False},
}


def _other_arguments(optimizer: str, args: Mapping[str, Any], found: Translated) -> None:
    fixed = _AS_HERE.get(optimizer, {})
    for key, value in args.items():
        if not (key in fixed and value == fixed[key]) and not (key == "eps" and value == 1e-8):
            found.leave(key, value, words.FIXED_PRODIGY if optimizer == "prodigy" else words.NO_MEANING)


def _schedule(flat: dict[str, Any], found: Translated) -> None:
    name, power = flat.pop("lr_scheduler", ""), _number(flat.pop("lr_scheduler_power", None))
    share, steps = flat.pop("lr_warmup", None), flat.pop("lr_warmup_steps", None)
    is_other_power = name == "polynomial" and power != _POLYNOMIAL_POWER
    if name and (name not in words.SCHEDULES or is_other_power):
        found.leave("lr_scheduler", name, words.NO_SCHEDULE)
    elif name:
        found.take("lr_scheduler", "schedule", words.SCHEDULES[name])
    count = _number(steps)
    if count is not None and (count >= 1 or not _number(share)):
        if count >= 1 or count == 0:
            found.take("lr_warmup_steps", "warmup_steps", count)
        else:
            found.leave("lr_warmup_steps", steps, words.BY_SHARE)
    elif _number(share):
        found.leave("lr_warmup", share, words.BY_SHARE)


def _length(flat: dict[str, Any], found: Translated) -> None:
    epochs, gui_epochs = flat.pop("max_train_epochs", None), flat.pop("epoch", None)
    steps = flat.pop("max_train_steps", None)
    key, count = ("max_train_epochs", epochs) if _number(epochs) else ("epoch", gui_epochs)
    if _number(count):
        found.take(key, "epochs", count)
    if _number(steps):
        found.leave("max_train_steps", steps, words.FROM_EPOCHS if _number(epochs) else words.BY_STEPS)


def _previews(flat: dict[str, Any], found: Translated) -> None:
    """lora-scripts says one prompt in the settings; the others name a file of them."""
    prompt, is_wanted = flat.pop("positive_prompts", ""), flat.pop("enable_preview", True)
    if prompt and isinstance(prompt, str) and _is_on(is_wanted):
        found.take("positive_prompts", "preview_prompts", [prompt])


def _pairs(args: Any) -> dict[str, Any]:
    """``["a=1", "b=(0.9,0.99)"]``, or the same in one text as the GUI has it, by name."""
    parts: Iterable[Any] = args.split() if isinstance(args, str) else args if isinstance(args, list) else ()
    split = (part.partition("=") for part in parts if isinstance(part, str) and "=" in part)
    return {key.strip(): _literal(value.strip()) for key, _, value in split}


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text


def _number(value: Any) -> float | None:
    found = _numbers(value)
    return found[0] if len(found) == 1 else None


def _numbers(value: Any) -> list[float]:
    """Numbers in ``512``, ``"512,512"`` or ``[512, 512]``; none where anything else stands."""
    parts = value.strip("()[]").split(",") if isinstance(value, str) else value
    if isinstance(parts, (int, float)) and not isinstance(parts, bool):
        return [parts]
    if not isinstance(parts, (list, tuple)):
        return []
    try:
        return [float(part) for part in parts if str(part).strip()]
    except (TypeError, ValueError):
        return []


def _is_on(value: Any) -> bool:
    """Whether it asks for anything."""
    if isinstance(value, str):
        return value.strip().lower() not in ("", "0", "0.0", "false", "none", "no", "off", "[]", "{}")
    return bool(value)


# What they write for "as usual".
_USUAL: Mapping[str, Any] = {
    "caption_separator": ",",
    "loss_type": "l2",
    "max_timestep": 1000,
    "caption_extension": ".txt",
    "multires_noise_discount": None,
    "noise_offset_type": "Original",
    "huber_schedule": None,
    "huber_c": None,
    "unit": None,
    "factor": None,
    "lr_scheduler_args": None,
}


def _is_usual(key: str, value: Any) -> bool:
    return key in _USUAL and (_USUAL[key] is None or value == _USUAL[key])
