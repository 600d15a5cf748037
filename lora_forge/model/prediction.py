"""What a checkpoint's UNet predicts, as the file and the ecosystem's conventions say.

Nothing in a UNet's shapes tells noise from velocity, so several habits grew: marker keys in the state dict
(``v_pred``, ``ztsnr``: read by ComfyUI, Forge and A1111), a ``.yaml`` of the same name beside the file (LDM and sgm
configs, read by A1111), metadata (modelspec and kohya keys), and for SD2.x a statistic of one bias.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass

from lora_forge.config import Family, PredictionType
from lora_forge.errors import CheckpointError
from lora_forge.i18n import Said, word

# ComfyUI's and Forge's test for the 768 px velocity models of SD2.x: the spread of this bias.
SD2_PROBE = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
SD2_PROBE_LIMIT = 0.09

_SPELLINGS: dict[str, PredictionType] = {
    "v": "v_prediction",
    "v_pred": "v_prediction",
    "vpred": "v_prediction",
    "v-prediction": "v_prediction",
    "v_prediction": "v_prediction",
    "velocity": "v_prediction",
    "vscaling": "v_prediction",
    "eps": "epsilon",
    "epsilon": "epsilon",
    "epsscaling": "epsilon",
}
_METADATA_KEYS = ("modelspec.prediction_type", "modelspec.predict_key", "prediction_type", "predict_key")
_TRUE = ("true", "1", "yes", "on")
_METADATA = word("the file's metadata ({key})")
_ABOVE = word("SD2.x weight statistic {spread}, above {limit} (ComfyUI's and Forge's rule)")
_NOT_ABOVE = word("SD2.x weight statistic {spread}, not above {limit} (ComfyUI's and Forge's rule)")


@dataclass(frozen=True)
class Prediction:
    """The answer, and where it comes from in words a person can check."""

    prediction_type: PredictionType
    source: Said
    zero_terminal_snr: bool = False


def read_prediction(
    names: Container[str],
    metadata: Mapping[str, str],
    yaml_text: str | None,
    family: Family,
    sd2_probe_std: float | None = None,
) -> Prediction:
    """Ask, in the order in which the hosts do: the .yaml, marker keys, metadata, the SD2.x statistic, the habit.

    ``names``: of the file's tensors. ``sd2_probe_std``: population standard deviation of ``SD2_PROBE``, if at hand.

    Raises:
        CheckpointError: a source names something that is neither noise nor velocity.
    """
    told = _from_yaml(yaml_text) or _from_keys(names) or _from_metadata(metadata)
    kind, source = told or _from_habit(family, sd2_probe_std)
    zero_snr = kind == "v_prediction" and _says_zero_snr(names, metadata, yaml_text)
    return Prediction(kind, source, zero_snr)


def _from_yaml(text: str | None) -> tuple[PredictionType, Said] | None:
    lines = re.sub(r"#.*", "", text or "")
    named = re.search(r"\bparameterization:\s*[\"']?([\w-]+)", lines) or re.search(r"denoiser_scaling\.(\w+)", lines)
    return (_parse(named[1]), Said(word("the .yaml beside the file"))) if named else None


def _from_keys(names: Container[str]) -> tuple[PredictionType, Said] | None:
    return ("v_prediction", Said(word("the file's v_pred key"))) if "v_pred" in names else None


def _from_metadata(metadata: Mapping[str, str]) -> tuple[PredictionType, Said] | None:
    for key in _METADATA_KEYS:
        if metadata.get(key):
            return _parse(metadata[key]), Said(_METADATA, {"key": key})
    flag = metadata.get("ss_v_parameterization", "").lower()
    if flag in ("true", "false"):
        kind: PredictionType = "v_prediction" if flag == "true" else "epsilon"
        return kind, Said(_METADATA, {"key": "ss_v_parameterization"})
    if metadata.get("modelspec.architecture", "").startswith("stable-diffusion-v2-768-v"):
        return "v_prediction", Said(_METADATA, {"key": "modelspec.architecture"})
    return None


def _from_habit(family: Family, sd2_probe_std: float | None) -> tuple[PredictionType, Said]:
    if family is not Family.SD2 or sd2_probe_std is None:
        return "epsilon", Said(word("the convention for {name}"), {"name": _FAMILY_NAMES[family]})
    figures = {"spread": f"{sd2_probe_std:.3f}", "limit": SD2_PROBE_LIMIT}
    if sd2_probe_std > SD2_PROBE_LIMIT:
        return "v_prediction", Said(_ABOVE, figures)
    return "epsilon", Said(_NOT_ABOVE, figures)


_FAMILY_NAMES = {Family.SD1: "SD1.x", Family.SD2: "SD2.x", Family.SDXL: "SDXL"}


def _says_zero_snr(names: Container[str], metadata: Mapping[str, str], yaml_text: str | None) -> bool:
    words = re.search(r"\b(?:zero_terminal_snr|rescale_betas_zero_snr|zsnr|ztsnr)\s*:\s*[\"']?(\w+)", yaml_text or "")
    told = (words[1] if words else "", metadata.get("ss_zero_terminal_snr", ""), metadata.get("ztsnr", ""))
    return "ztsnr" in names or any(word.lower() in _TRUE for word in told)


def _parse(word: str) -> PredictionType:
    kind = _SPELLINGS.get(word.strip().lower())
    if kind is None:
        raise CheckpointError(
            "This checkpoint says it predicts {word!r}; LoRA Forge knows noise (epsilon) and velocity (v_prediction).",
            "Choose another base, or set prediction_type yourself if you know better.",
            word=word,
        )
    return kind
