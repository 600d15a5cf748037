"""reForge and Forge Classic: A1111's way of loading, ComfyUI's networks and patchers (``ldm_patched``).

Written by their code, not tried in them: reForge main of March 2026, Forge Classic of February 2025.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lora_forge.config import Family, PredictionType
from lora_forge.errors import CheckpointError
from lora_forge.host.a1111 import A1111Host
from lora_forge.host.forge import refuse_partly_away, without_devices
from lora_forge.host.webui import WebUIHost
from lora_forge.i18n import Said, word
from lora_forge.model import keymap
from lora_forge.model.detect import VAE_SCALES, CheckpointFacts, unet_family
from lora_forge.model.recast import FLOATS_IN_8_BITS
from lora_forge.ports import BaseInfo, BorrowedModel, Traces

if TYPE_CHECKING:
    from lora_forge.host.live_parts import LiveParts

_PLAIN = "Choose a plain SD1.x, SD2.x or SDXL checkpoint."
_CHOOSE = "Choose one at the top of the page."
_TEXT_NAMES = {Family.SD1: ("clip_l",), Family.SD2: ("clip_h",), Family.SDXL: ("clip_l", "clip_g")}


class ComfyHost(A1111Host):
    """reForge or Forge Classic around us. Choosing a checkpoint loads it at once, as in A1111."""

    rounds_timesteps = True

    def __init__(self) -> None:
        from modules_forge import forge_version

        super().__init__()
        version = str(forge_version.version)
        self.name = "Forge Classic" if "classic" in version.lower() else f"reForge {version}"

    def info(self) -> BaseInfo:
        """What is in memory."""
        from modules import sd_models

        return _info(_required(sd_models.model_data.sd_model))

    def check_loads(self, path: Path) -> tuple[str, ...]:
        """Keys of a LoRA file that the host's own key map has no place for.

        Raises:
            CheckpointError: no checkpoint is loaded to match it with.
            LoraFileError: the file can't be read.
        """
        from ldm_patched.modules import lora
        from modules import sd_models

        from lora_forge.host.lora_keys import read_tensors

        originals = _required(sd_models.model_data.sd_model).forge_objects_original
        unet, clip = originals.unet.model, originals.clip.cond_stage_model
        places = lora.model_lora_keys_clip(clip, lora.model_lora_keys_unet(unet, {}))
        tensors = read_tensors(path)
        found = lora.load_lora(tensors, places)
        patches = found[0] if isinstance(found, tuple) else found  # Classic gives the rest too
        known = unet.state_dict().keys() | clip.state_dict().keys()
        used = {name for name, place in places.items() if place in patches and _key(place) in known}
        return tuple(sorted(key for key in tensors if key.partition(".")[0] not in used))

    def unused_loras(self, files: Mapping[str, Path]) -> tuple[str, ...]:
        """Their networks hold no layers, so nothing is to be seen there."""
        return WebUIHost.unused_loras(self, files)

    def traces(self, with_picture: bool = False) -> Traces:
        """As everywhere, but for the networks' devices: the host moves them from one picture to the next."""
        return without_devices(super().traces(with_picture))

    def _networks(self) -> dict[str, tuple[Any, Mapping[str, torch.Tensor]]]:
        from modules import sd_models

        patchers = _patchers(_required(sd_models.model_data.sd_model))
        return {part: (patcher.model, _originals_aside(patcher)) for part, patcher in patchers.items()}

    @contextlib.contextmanager
    def _lend(self) -> Iterator[BorrowedModel]:
        from ldm_patched.modules import model_management
        from modules import shared

        from lora_forge.host.live_parts import lend

        model = _required(shared.sd_model)  # loads one when none is there yet
        _info(model)
        _restore(_patchers(model))
        try:
            yield lend(_live_parts(model))
        finally:
            model_management.soft_empty_cache()


def _key(place: Any) -> str:
    """A place is a tensor's name, or that and a part of it."""
    return place if isinstance(place, str) else str(place[0])


def _required(model: Any) -> Any:
    if getattr(model, "forge_objects_original", None) is None:
        raise CheckpointError("No checkpoint is loaded.", _CHOOSE)
    return model


def _patchers(model: Any) -> dict[str, Any]:
    """ComfyUI's holders of the networks, without any LoRA; ``model`` of each is the module."""
    originals = model.forge_objects_original
    return {"UNet": originals.unet, "text encoder": originals.clip.patcher, "VAE": originals.vae.patcher}


def _originals_aside(patcher: Any) -> dict[str, torch.Tensor]:
    """Originals of the weights that a LoRA is merged into now; a clone that did the merging keeps them."""
    from ldm_patched.modules import model_management

    loaded = [entry.model for entry in model_management.current_loaded_models]
    aside: dict[str, torch.Tensor] = {}
    for one in (patcher, *(other for other in loaded if other is not None and other.model is patcher.model)):
        # reForge notes beside each whether it was merged in place
        aside |= {key: getattr(kept, "weight", kept) for key, kept in one.backup.items()}
    return aside


def _restore(patchers: Mapping[str, Any]) -> None:
    """Take off the last picture's LoRAs and bring all to the card that has room, in the host's own mode.

    Raises:
        CheckpointError: the card has no room for the whole UNet.
    """
    from ldm_patched.modules import model_management

    with torch.inference_mode():
        model_management.unload_all_models()
        model_management.load_models_gpu([patchers["text encoder"], patchers["VAE"]])
        model_management.load_models_gpu([patchers["UNet"]])  # all of it: where room is short the others make it
    refuse_partly_away(patchers["UNet"], "Close other programs that use the card.")


def _info(model: Any) -> BaseInfo:
    """What the loaded checkpoint is.

    Raises:
        CheckpointError: it is none that can be trained on; the sentence says why.
    """
    from modules import shared

    chosen = model.sd_checkpoint_info
    family = _family(model, chosen.title)
    prediction = _prediction(model, chosen.title)
    is_zero = shared.opts.sd_noise_schedule == "Zero Terminal SNR" or bool(getattr(model, "ztsnr", False))
    return BaseInfo(
        name=Path(chosen.filename).stem,
        family=family,
        prediction_type=prediction,
        prediction_source=Said(word("what the WebUI draws with")),
        zero_terminal_snr=prediction == "v_prediction" and is_zero,
        sha256=str(chosen.sha256 or ""),
        legacy_hash=str(chosen.hash or ""),
    )


def _family(model: Any, title: str) -> Family:
    originals = model.forge_objects_original
    state = originals.unet.model.diffusion_model.state_dict()
    first = state.get("input_blocks.0.0.weight")
    if first is None:
        kind = type(originals.unet.model).__name__
        what = "{title} is a {kind} model: LoRA Forge trains SD1.x, SD2.x and SDXL."
        raise CheckpointError(what, _PLAIN, title=title, kind=kind)
    if first.shape[1] != 4:
        raise CheckpointError("{title} is an inpainting or editing checkpoint.", _PLAIN, title=title)
    family = unet_family({keymap.UNET_PREFIX + key: tuple(tensor.shape) for key, tensor in state.items()})
    if not all(hasattr(originals.clip.cond_stage_model, name) for name in _TEXT_NAMES[family]):
        raise CheckpointError("{title} is a refiner: LoRAs are trained on the base.", _PLAIN, title=title)
    small = next((str(t.dtype) for t in state.values() if t.is_floating_point() and t.element_size() == 1), None)
    if small is not None and not _is_widened(originals.unet.model, state):
        raise CheckpointError(
            "{title} is held in 8 bits ({dtype}), which can't be trained on.",
            "Turn FP8 off in the settings, and choose the fp16, bf16 or fp32 form of this file.",
            title=title,
            dtype=small.removeprefix("torch."),
        )
    return family


def _is_widened(unet: Any, state: Mapping[str, torch.Tensor]) -> bool:
    """Plain floats of eight bits, which the host says in what type it computes with."""
    kinds = {t.dtype for t in state.values() if t.is_floating_point() and t.element_size() == 1}
    has_scales = any(key.endswith(("scale_weight", "weight_scale", "scaled_fp8")) for key in state)
    is_told = getattr(unet, "manual_cast_dtype", None) is not None
    return is_told and not has_scales and kinds <= {*FLOATS_IN_8_BITS}


def _prediction(model: Any, title: str) -> PredictionType:
    """By the classes that the host's sampling is mixed from; each is named as in ComfyUI."""
    sampling = type(model.forge_objects_original.unet.model.model_sampling)
    names = {kind.__name__ for kind in sampling.__mro__}
    if "ModelSamplingDiscrete" not in names or names & {"EDM", "X0", "CONST", "StableCascadeSampling"}:
        what = "{title} predicts neither noise nor velocity ({kinds})."
        raise CheckpointError(what, _PLAIN, title=title, kinds=", ".join(sorted(names - {"object", "Module"})))
    return "v_prediction" if "V_PREDICTION" in names else "epsilon"


def _live_parts(model: Any) -> LiveParts:
    from lora_forge.host.live_parts import LiveParts, heads_of
    from lora_forge.model.schedule import alphas_cumprod

    originals, info = model.forge_objects_original, _info(model)
    unet = originals.unet.model
    encoders = [getattr(originals.clip.cond_stage_model, name) for name in _TEXT_NAMES[info.family]]
    heads = getattr(unet.model_config, "unet_config", {}).get("num_heads", -1)
    stored = next(unet.diffusion_model.parameters()).dtype
    facts = CheckpointFacts(
        family=info.family,
        prediction_type=info.prediction_type,
        prediction_source=info.prediction_source,
        zero_terminal_snr=info.zero_terminal_snr,
        vae_scale=float(getattr(unet.latent_format, "scale_factor", VAE_SCALES[info.family])),
        unet_heads=heads if isinstance(heads, int) and heads > 0 else None,
        te_heads=heads_of(encoders[0].transformer),
        te2_heads=heads_of(encoders[-1].transformer),
    )
    return LiveParts(
        info=info,
        facts=facts,
        unet=unet.diffusion_model.state_dict(),
        vae=originals.vae.first_stage_model.state_dict(),
        text=tuple(_text_state(encoder) for encoder in encoders),
        alphas_cumprod=alphas_cumprod(),  # theirs keeps sigmas alone, which settings bend for a picture
        device=originals.unet.load_device,
        dtype=getattr(unet, "manual_cast_dtype", None) or stored,
        text_dtype=torch.float32,  # their embeddings are float32, and everything after follows them
    )


def _text_state(encoder: Any) -> dict[str, torch.Tensor]:
    """With the projection where transformers has it: ComfyUI's multiplies from the other side."""
    state: dict[str, torch.Tensor] = dict(encoder.transformer.state_dict())
    if "text_projection.weight" not in state and isinstance(encoder.text_projection, torch.Tensor):
        state["text_projection.weight"] = encoder.text_projection.detach().t()
    return state
