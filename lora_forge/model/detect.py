"""What a checkpoint is, from names and shapes alone: pure, so that a header or a host's live model will do."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass

from lora_forge.config import Family, PredictionType
from lora_forge.errors import CheckpointError
from lora_forge.i18n import Said, Several, word
from lora_forge.model import keymap, wrong_files
from lora_forge.model.configs import Shapes
from lora_forge.model.prediction import read_prediction

VAE_SCALES = {Family.SD1: 0.18215, Family.SD2: 0.18215, Family.SDXL: 0.13025}

_CONV_IN = keymap.UNET_PREFIX + "input_blocks.0.0.weight"
_CHANNEL_KINDS = {
    9: "{name} is an inpainting checkpoint (9 input channels): LoRA Forge trains on text-to-image checkpoints.",
    8: "{name} is an image editing checkpoint (8 input channels): LoRA Forge trains on text-to-image checkpoints.",
    7: "{name} is an upscaling checkpoint (7 input channels): LoRA Forge trains on text-to-image checkpoints.",
    5: "{name} is a depth checkpoint (5 input channels): LoRA Forge trains on text-to-image checkpoints.",
}
_PLAIN = "Choose the plain checkpoint it was made from."


@dataclass(frozen=True)
class CheckpointFacts:
    """What training needs to know of a checkpoint, and where the prediction type comes from.

    ``vae_scale`` multiplies latents. ``unet_heads``, ``te_heads``, ``te2_heads``: numbers of attention heads when the
    file's metadata states them (``lora_forge.te_heads`` ...), None for the family's rule.
    ``hint``: a sentence worth showing, or empty.
    """

    family: Family
    prediction_type: PredictionType
    prediction_source: Said
    zero_terminal_snr: bool = False
    vae_scale: float = 0.18215
    unet_heads: int | None = None
    te_heads: int | None = None
    te2_heads: int | None = None
    hint: str = ""

    def override(
        self, prediction_type: PredictionType | None = None, zero_terminal_snr: bool | None = None
    ) -> CheckpointFacts:
        """The same facts with what a person set by hand; None leaves a field as read."""
        facts = self
        if prediction_type is not None and prediction_type != self.prediction_type:
            source = Said(word("set by hand"))
            facts = dataclasses.replace(facts, prediction_type=prediction_type, prediction_source=source, hint="")
        if zero_terminal_snr is not None:
            facts = dataclasses.replace(facts, zero_terminal_snr=zero_terminal_snr)
        return facts


def describe(
    shapes: Shapes,
    metadata: Mapping[str, str],
    yaml_text: str | None,
    file_name: str,
    sd2_probe_std: float | None = None,
) -> CheckpointFacts:
    """Recognise an SD1.x, SD2.x or SDXL checkpoint in LDM layout.

    ``shapes`` by full key; ``metadata`` of the safetensors header; ``yaml_text`` of a .yaml beside the file;
    ``sd2_probe_std`` as in :func:`lora_forge.model.prediction.read_prediction`.

    Raises:
        CheckpointError: it is something else, which the message names, or a part is missing.
    """
    if _CONV_IN not in shapes:
        raise wrong_files.refuse(shapes, file_name)
    _refuse_variants(shapes, metadata, file_name)
    family = unet_family(shapes)
    _refuse_missing_parts(shapes, family, file_name)
    prediction = read_prediction(shapes, metadata, yaml_text, family, sd2_probe_std)
    return CheckpointFacts(
        family=family,
        prediction_type=prediction.prediction_type,
        prediction_source=prediction.source,
        zero_terminal_snr=prediction.zero_terminal_snr,
        vae_scale=VAE_SCALES[family],
        unet_heads=_heads(metadata, "unet"),
        te_heads=_heads(metadata, "te"),
        te2_heads=_heads(metadata, "te2"),
        hint=_hint(file_name, prediction.prediction_type),
    )


def unet_family(shapes: Shapes) -> Family:
    """SDXL has a size vector beside the timestep; SD2.x projects with Linear layers, SD1.x with 1x1 convolutions."""
    if keymap.UNET_PREFIX + "label_emb.0.0.weight" in shapes:
        return Family.SDXL
    projections = (shape for key, shape in shapes.items() if key.endswith(".1.proj_in.weight"))
    return Family.SD2 if len(next(projections, (0,) * 4)) == 2 else Family.SD1


def _refuse_variants(shapes: Shapes, metadata: Mapping[str, str], name: str) -> None:
    """Stable Diffusion's relatives that share the layout but not the task or the noise."""
    channels = shapes[_CONV_IN][1]
    if channels != 4:
        what = _CHANNEL_KINDS.get(channels, "{name} takes {channels} input channels, a text-to-image UNet takes 4.")
        raise CheckpointError(what, _PLAIN, name=name, channels=channels)
    if keymap.SD2_TEXT_PREFIXES[1] + "positional_embedding" in shapes and unet_family(shapes) is Family.SDXL:
        raise CheckpointError("{name} is the SDXL refiner: LoRAs are trained on the SDXL base.", _PLAIN, name=name)
    for what, pattern in _VARIANTS:
        if any(map(re.compile(pattern).search, shapes)):
            raise CheckpointError(what, wrong_files.CHOOSE, name=name)
    quantized = next(filter(_QUANTIZED.search, shapes), None)
    if quantized:
        what = "{name} holds quantized weights ({key}), which can't be trained on."
        raise CheckpointError(what, "Choose the fp16, bf16 or fp32 file of this checkpoint.", name=name, key=quantized)


_QUANTIZED = re.compile(r"\.(absmax|quant_map|quant_state|scale_weight|weight_scale)\b|^scaled_fp8$")
_VARIANTS = (
    ("{name} uses EDM noise (Playground v2.5, CosXL), which LoRA Forge doesn't train.", r"^edm_(mean|std|vpred)"),
    ("{name} is a video model: LoRA Forge trains SD1.x, SD2.x and SDXL.", r"\.time_(stack|mixer|pos_embed)\."),
    ("{name} is a UNet with motion modules: LoRA Forge trains SD1.x, SD2.x and SDXL.", r"motion_modules\."),
    ("{name} is a Kolors model: LoRA Forge trains SD1.x, SD2.x and SDXL.", r"encoder_hid_proj"),
    ("{name} is an unCLIP checkpoint, which is led by images.", r"^(embedder\.model|noise_augmentor)\."),
    ("{name} is an AltDiffusion checkpoint: its text encoder is not CLIP.", r"^cond_stage_model\.roberta\."),
    ("{name} is a ControlNet with its base, not a plain checkpoint.", r"^control_model\."),
)  # fmt: skip


def _refuse_missing_parts(shapes: Shapes, family: Family, name: str) -> None:
    text: dict[Family, tuple[tuple[str, ...], ...]] = {
        Family.SD1: ((keymap.SD1_TEXT_PREFIX,),),
        Family.SD2: (keymap.SD2_TEXT_PREFIXES,),
        Family.SDXL: ((keymap.SDXL_TEXT_PREFIX,), (keymap.SDXL_TEXT2_PREFIX,)),
    }
    missing = [] if _has(shapes, keymap.VAE_PREFIX + "decoder.") else [Said("VAE")]
    towers = sum(not any(_has(shapes, prefix) for prefix in prefixes) for prefixes in text[family])
    missing += [Said(word("text encoder"))] * towers
    if missing:
        raise CheckpointError(
            "{name} holds a UNet of {family}, but no {missing}.",
            "Choose a full checkpoint, with text encoder and VAE baked in.",
            name=name,
            family=family.value.upper(),
            missing=Several(tuple(missing), " and no "),
        )


def _has(shapes: Shapes, prefix: str) -> bool:
    return any(key.startswith(prefix) for key in shapes)


def _heads(metadata: Mapping[str, str], part: str) -> int | None:
    value = metadata.get(f"lora_forge.{part}_heads", "")
    return int(value) if value.isdecimal() and int(value) > 0 else None


def _hint(file_name: str, prediction_type: PredictionType) -> str:
    if prediction_type == "epsilon" and re.search(r"v[-_ ]?pred", file_name, re.IGNORECASE):
        return (
            "The file's name speaks of v-prediction, but nothing in it does, and the WebUIs would draw it as epsilon; "
            "set prediction_type if you know better."
        )
    return ""
