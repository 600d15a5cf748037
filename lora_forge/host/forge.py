"""Forge (lllyasviel) and what kept its ``backend`` package (reForge newmain_newforge, Neo)."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lora_forge.config import Family, PredictionType
from lora_forge.errors import CheckpointError
from lora_forge.host.webui import WebUIHost
from lora_forge.i18n import Said, word
from lora_forge.model.detect import VAE_SCALES, CheckpointFacts
from lora_forge.model.read import read_facts
from lora_forge.model.recast import FLOATS_IN_8_BITS
from lora_forge.ports import BaseInfo, BorrowedModel, Traces

if TYPE_CHECKING:
    from lora_forge.host.live_parts import LiveParts

_PLAIN = (torch.float32, torch.float16, torch.bfloat16, *FLOATS_IN_8_BITS)
_SCALES = (".scale_weight", ".weight_scale")
_TEXT_NAMES = {Family.SD1: ("clip_l",), Family.SD2: ("clip_h",), Family.SDXL: ("clip_l", "clip_g")}
_PREDICTIONS: tuple[PredictionType, ...] = ("epsilon", "v_prediction")
_FIRST_PICTURE = "Make one picture with it in txt2img, so that Forge loads it; then come back."


class ForgeHost(WebUIHost):
    """Forge around us.

    A checkpoint chosen in the page is loaded by the next picture, or by the next borrower, whoever comes first; until
    then its file's header says what it is. Choosing one while we hold the present one changes nothing for us.
    """

    def __init__(self) -> None:
        super().__init__()
        self.name = f"Forge {_version()}".strip()

    def info(self) -> BaseInfo:
        """What is chosen: of the loaded networks if they are that, else of the file's header."""
        engine = _loaded_engine()
        return _info_of_file(self._required()) if engine is None else _live_info(engine)

    def switch(self, title: str) -> None:
        """Choose a checkpoint as the page's dropdown does: it is loaded when it is next needed."""
        from modules_forge import main_entry

        main_entry.checkpoint_change(self._choosable(title).title)

    def check_loads(self, path: Path) -> tuple[str, ...]:
        """Keys of a LoRA file that Forge's loader would leave unused.

        Raises:
            CheckpointError: no checkpoint is loaded to match it with.
            LoraFileError: the file can't be read.
        """
        from backend.patcher import lora

        from lora_forge.host.lora_keys import read_tensors

        engine = _loaded_engine()
        if engine is None:
            raise CheckpointError("No checkpoint is loaded.", _FIRST_PICTURE)
        originals = engine.forge_objects_original
        unet, clip = originals.unet.model, originals.clip.cond_stage_model
        # Key maps of their own: the host's functions have one mutable default between them.
        unet_patches, rest = lora.load_lora(read_tensors(path), lora.model_lora_keys_unet(unet, {}))
        clip_patches, rest = lora.load_lora(rest, lora.model_lora_keys_clip(clip, {}))
        unused = set(rest)
        for module, patches in ((unet, unet_patches), (clip, clip_patches)):
            known = {name for name, _ in module.named_parameters()}
            unused |= {key if isinstance(key, str) else key[0] for key in patches} - known
        return tuple(sorted(unused))

    def unused_loras(self, files: Mapping[str, Path]) -> tuple[str, ...]:
        """Those of which no patch is on the UNet or the text encoder: Forge skips a file that fits badly."""
        drawn = getattr(_loaded_engine(), "forge_objects_after_applying_lora", None)
        patchers = () if drawn is None else (drawn.unet, drawn.clip.patcher)
        if not patchers or not all(hasattr(patcher, "lora_patches") for patcher in patchers):
            return super().unused_loras(files)  # Neo keeps its own record
        patched = {Path(file).stem for patcher in patchers for file, *_ in patcher.lora_patches}
        return tuple(name for name in files if name not in patched)

    def traces(self, with_picture: bool = False) -> Traces:
        """As everywhere, but for the networks' devices: Forge moves them from one picture to the next."""
        return without_devices(super().traces(with_picture))

    def _networks(self) -> Mapping[str, tuple[Any, Mapping[str, torch.Tensor]]]:
        engine = _loaded_engine()
        if engine is None:
            return {}
        return {part: (patcher.model, patcher.lora_loader.backup) for part, patcher in _patchers(engine).items()}

    @contextlib.contextmanager
    def _lend(self) -> Iterator[BorrowedModel]:
        from backend import memory_management

        from lora_forge.host.live_parts import lend

        engine = self._load()
        _refuse_engine(engine, self._required().title)
        _restore(_patchers(engine))
        try:
            yield lend(_live_parts(engine))
        finally:
            memory_management.soft_empty_cache()

    def _load(self) -> Any:
        """The engine of the chosen checkpoint; loads it if the next picture would."""
        from modules import sd_models

        engine = _loaded_engine()
        if engine is not None:
            return engine
        chosen = self._required()
        _refuse_low_bits(sd_models.model_data.forge_loading_parameters.get("unet_storage_dtype"), chosen.title)
        try:
            engine, _ = sd_models.forge_model_reload()
        except Exception as cause:  # anything may go wrong in a host
            raise CheckpointError(
                "Forge could not load {name}: {cause}.",
                "Forge's console says more; choose another checkpoint if the file is damaged.",
                name=chosen.title,
                cause=str(cause) or type(cause).__name__,
            ) from cause
        return engine

    def _required(self) -> Any:
        found = self._chosen()
        if found is None:
            raise CheckpointError("No checkpoint is chosen.", "Choose one at the top of the page.")
        return found


def _version() -> str:
    try:
        from modules_forge import forge_version
    except ImportError:
        return ""
    return str(forge_version.version)


def _loaded_engine() -> Any:
    """The engine in memory, or None: nothing is, or another one than what is chosen, or one is being loaded now."""
    from modules import sd_models

    data = sd_models.model_data
    engine = data.sd_model
    is_real = getattr(engine, "forge_objects_original", None) is not None
    return engine if is_real and data.forge_hash == str(data.forge_loading_parameters) else None


def _info_of_file(chosen: Any) -> BaseInfo:
    from modules import sd_models

    path = Path(chosen.filename)
    _refuse_low_bits(sd_models.model_data.forge_loading_parameters.get("unet_storage_dtype"), chosen.title)
    if path.suffix.lower() != ".safetensors":
        raise CheckpointError("{name} is not loaded yet.", _FIRST_PICTURE, name=chosen.title)
    facts = _file_facts(path, path.stat().st_mtime_ns if path.exists() else 0)
    return BaseInfo(
        name=path.stem,
        family=facts.family,
        prediction_type=facts.prediction_type,
        prediction_source=facts.prediction_source,
        zero_terminal_snr=facts.zero_terminal_snr,
        sha256=str(chosen.sha256 or ""),
        legacy_hash=str(chosen.hash or ""),
    )


@functools.lru_cache(maxsize=4)
def _file_facts(path: Path, stamp_ns: int) -> CheckpointFacts:
    """The page asks often; a file is read anew when it was changed (``stamp_ns``)."""
    return read_facts(path)


def _refuse_engine(engine: Any, title: str) -> None:
    """What can't be trained on, in one sentence."""
    plain = "Choose a plain SD1.x, SD2.x or SDXL checkpoint."
    family = _family(engine)
    if family is None:
        what = "{title} is a {kind} model: LoRA Forge trains SD1.x, SD2.x and SDXL."
        raise CheckpointError(what, plain, title=title, kind=type(engine).__name__)
    unet = engine.forge_objects_original.unet.model
    state, storage = unet.diffusion_model.state_dict(), unet.storage_dtype
    if engine.is_inpaint or state["input_blocks.0.0.weight"].shape[1] != 4:
        raise CheckpointError("{title} is an inpainting or editing checkpoint.", plain, title=title)
    if not all(hasattr(engine.forge_objects_original.clip.cond_stage_model, name) for name in _TEXT_NAMES[family]):
        raise CheckpointError("{title} is a refiner: LoRAs are trained on the base.", plain, title=title)
    _refuse_low_bits(f"scaled {storage}" if any(key.endswith(_SCALES) for key in state) else storage, title)
    prediction = unet.predictor.prediction_type
    if prediction not in _PREDICTIONS:
        what = "{title} predicts {prediction!r}; LoRA Forge knows noise (epsilon) and velocity (v_prediction)."
        raise CheckpointError(what, plain, title=title, prediction=prediction)


def _refuse_low_bits(storage: Any, title: str) -> None:
    """``storage``: a dtype, or the name of a quantization; None is Forge's own choice, which is a plain one.

    Plain floats of eight bits have no scales: Forge draws with what they say, and so do we.
    """
    if storage is not None and storage not in _PLAIN:
        raise CheckpointError(
            "{title} is held in low bits ({storage}), which can't be trained on.",
            "Set 'Diffusion in Low Bits' to Automatic, or choose the fp16, bf16 or fp32 form of this file.",
            title=title,
            storage=str(storage).replace("torch.", ""),
        )


def _family(engine: Any) -> Family | None:
    flags = {Family.SD1: "is_sd1", Family.SD2: "is_sd2", Family.SDXL: "is_sdxl"}
    return next((family for family, flag in flags.items() if getattr(engine, flag, False)), None)


def _live_info(engine: Any) -> BaseInfo:
    """What the loaded engine is."""
    from modules import shared

    chosen = engine.sd_checkpoint_info
    _refuse_engine(engine, chosen.title)
    prediction = engine.forge_objects_original.unet.model.predictor.prediction_type
    asks_zero = shared.opts.sd_noise_schedule == "Zero Terminal SNR" or getattr(engine.model_config, "ztsnr", False)
    family = _family(engine)
    assert family is not None  # _refuse_engine
    return BaseInfo(
        name=Path(chosen.filename).stem,
        family=family,
        prediction_type=prediction,
        prediction_source=Said(word("what Forge draws with")),
        zero_terminal_snr=prediction == "v_prediction" and bool(asks_zero),
        sha256=str(chosen.sha256 or ""),
        legacy_hash=str(chosen.hash or ""),
    )


def _patchers(engine: Any) -> dict[str, Any]:
    """Forge's holders of the networks, without any LoRA; ``model`` of each is the module."""
    originals = engine.forge_objects_original
    return {"UNet": originals.unet, "text encoder": originals.clip.patcher, "VAE": originals.vae.patcher}


def _restore(patchers: Mapping[str, Any]) -> None:
    """Put back the weights that LoRAs of the last picture were merged into, and bring all to the card that has room.

    Through Forge's own loading, so that its record of what is loaded is right and the next picture merges anew.

    Raises:
        CheckpointError: the card has no room for the whole UNet.
    """
    from backend import memory_management

    try:
        with torch.inference_mode():
            memory_management.load_models_gpu([patchers["text encoder"], patchers["VAE"]])
            memory_management.load_models_gpu([patchers["UNet"]])  # all of it: where room is short the others make it
    except BaseException:
        for patcher in patchers.values():  # half restored, perhaps: no record fits, so the next picture restores anew
            patcher.lora_loader.loaded_hash = "interrupted"
        raise
    refuse_partly_away(
        patchers["UNet"], "Raise 'GPU Weights' at the top of the page, or close other programs that use the card."
    )


def refuse_partly_away(unet: Any, remedy: str) -> None:
    """A patcher whose UNet the host could not bring to its device whole.

    Raises:
        CheckpointError: part of it is elsewhere.
    """
    sizes = [(p.numel() * p.element_size(), p.device == unet.load_device) for p in unet.model.parameters()]
    if not all(is_there for _, is_there in sizes):
        raise CheckpointError(
            "The WebUI keeps {away} of the UNet's {total} MB in main memory: training needs all of it on {device}.",
            remedy,
            away=sum(size for size, is_there in sizes if not is_there) >> 20,
            total=sum(size for size, _ in sizes) >> 20,
            device=unet.load_device,
        )


def without_devices(traces: Traces) -> Traces:
    """Less what a host with a memory manager changes at will."""
    return Traces({name: mark for name, mark in traces.marks.items() if not name.endswith(": devices")})


def _live_parts(engine: Any) -> LiveParts:
    from lora_forge.host.live_parts import LiveParts, heads_of

    originals, info = engine.forge_objects_original, _live_info(engine)
    unet, text = originals.unet.model, originals.clip.cond_stage_model
    transformers = [getattr(text, name).transformer for name in _TEXT_NAMES[info.family]]
    config = getattr(engine.model_config, "unet_config", {})
    heads = config.get("num_heads", -1)
    facts = CheckpointFacts(
        family=info.family,
        prediction_type=info.prediction_type,
        prediction_source=info.prediction_source,
        zero_terminal_snr=info.zero_terminal_snr,
        vae_scale=float(getattr(originals.vae.first_stage_model, "scaling_factor", VAE_SCALES[info.family])),
        unet_heads=heads if heads > 0 else None,
        te_heads=heads_of(transformers[0]),
        te2_heads=heads_of(transformers[-1]),
    )
    stored, computed = unet.storage_dtype, unet.computation_dtype
    notes = {"precision": f"stored in {stored}, computed in {computed}"} if stored is not computed else {}
    return LiveParts(
        info=info,
        facts=facts,
        unet=unet.diffusion_model.state_dict(),
        vae=originals.vae.first_stage_model.state_dict(),
        text=tuple(transformer.state_dict() for transformer in transformers),
        alphas_cumprod=unet.predictor.alphas_cumprod,
        device=originals.unet.load_device,
        dtype=computed,
        text_dtype=torch.float32,  # Forge widens the embeddings, and everything after follows them
        notes=notes,
    )
