"""AUTOMATIC1111's WebUI (1.10.1): its LDM and sgm modules, lent as diffusers and transformers modules.

Attributes of the host's objects are read where HOSTS.md says they are. ``networks`` is the host's built-in Lora
extension, a top-level module; it may be switched off.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from lora_forge.config import BaseStorage, Family, PredictionType
from lora_forge.errors import CheckpointError
from lora_forge.host.webui import WebUIHost
from lora_forge.i18n import Said, word
from lora_forge.ports import BaseInfo, BorrowedModel

if TYPE_CHECKING:
    import torch

    from lora_forge.model.detect import CheckpointFacts

State = Mapping[str, "torch.Tensor"]

_CHOOSE = "Choose an SD1.x, SD2.x or SDXL checkpoint at the top of the page."
_RELOAD = "Load the checkpoint again (choose another one, then this one), then start anew."
_PREDICTIONS: dict[str, PredictionType] = {"eps": "epsilon", "v": "v_prediction"}


class A1111Host(WebUIHost):
    """The WebUI we were loaded into, when it is AUTOMATIC1111's."""

    rounds_timesteps = False

    def __init__(self) -> None:
        from modules import launch_utils

        super().__init__()
        self.name = f"AUTOMATIC1111 {launch_utils.git_tag()}"  # as its page shows
        self._storage: BaseStorage = "as_lent"

    def info(self) -> BaseInfo:
        """What is in memory now, which may not yet be what the settings name."""
        model = _model_in_memory()
        return _info(model, _facts(model, _plain_state(model)))

    def loaded(self) -> str:
        """Title of the checkpoint in memory; while none is, of the one the settings name."""
        from modules import sd_models

        model = sd_models.model_data.sd_model
        return super().loaded() if model is None else str(model.sd_checkpoint_info.title)

    def switch(self, title: str) -> None:
        """As the page's own dropdown does: load it under the lock, and keep the choice in the settings."""
        from modules import sd_models, shared

        found = self._choosable(title)
        with self._turn():
            before = shared.opts.data.get("sd_model_checkpoint")
            shared.opts.data["sd_model_checkpoint"] = found.title
            try:
                sd_models.reload_model_weights()
            except Exception as cause:
                shared.opts.data["sd_model_checkpoint"] = before
                what = "{title} could not be loaded: {cause}"
                raise CheckpointError(what, "The WebUI's console says more.", title=title, cause=cause) from cause
            shared.opts.save(shared.config_filename)

    def check_loads(self, path: Path) -> tuple[str, ...]:
        """By the host's own loader, which is handed the bare file: no list or cache of it learns the name."""
        from lora_forge.host.traces import kept_torch_generators

        networks = sys.modules.get("networks")
        if networks is None:
            return ()
        with kept_torch_generators():  # the loader makes layers, and throws their random values away
            network = networks.load_network(path.stem, SimpleNamespace(filename=str(path), name=path.stem))
        used = {str(module.network_key).partition(".")[0] for module in network.modules.values()}
        return tuple(key for key in _keys_of(path) if key.partition(".")[0] not in used)

    def unused_loras(self, files: Mapping[str, Path]) -> tuple[str, ...]:
        """And those of which no key fitted a layer."""
        loaded = getattr(sys.modules.get("networks"), "loaded_networks", ())
        empty = {str(network.mentioned_name) for network in loaded if not getattr(network, "modules", True)}
        return (*super().unused_loras(files), *(name for name in files if name in empty))

    @contextlib.contextmanager
    def _lend(self) -> Iterator[BorrowedModel]:
        import torch

        model = _loaded_model()
        lent = model.sd_checkpoint_info
        _refuse_changed_weights(model)
        with torch.no_grad():
            _take_off_loras(model)
        with _on_device(model) as note:
            yield _build(model, note, self._storage)
            _refuse_change_of(lent)

    @contextlib.contextmanager
    def stored_as(self, storage: BaseStorage) -> Iterator[None]:
        """Where a run has a copy of the UNet anyway (--medvram), it is made so; one in the host's memory stays."""
        self._storage = storage
        try:
            yield
        finally:
            self._storage = "as_lent"

    def _networks(self) -> dict[str, tuple[Any, State]]:
        model = _model_in_memory()
        return {
            "UNet": (model.model.diffusion_model, _merged_over(model.model.diffusion_model)),
            "VAE": (model.first_stage_model, {}),
            "text": (model.cond_stage_model, _merged_over(model.cond_stage_model)),
        }


def _model_in_memory() -> Any:
    """The host's model. Its own ``shared.sd_model`` would load one, so it is not asked.

    Raises:
        CheckpointError: there is none, or not yet.
    """
    from modules import call_queue, sd_models

    data = sd_models.model_data
    if data.sd_model is not None:
        return data.sd_model
    is_busy = data.lock.locked() or getattr(call_queue.queue_lock, "_lock", data.lock).locked()
    if is_busy and not data.was_loaded_at_least_once:
        raise CheckpointError("The WebUI is still loading its checkpoint.", "Wait until it is done, then try again.")
    raise CheckpointError("No checkpoint is loaded.", _CHOOSE)


def _loaded_model() -> Any:
    """The same under the lock, when there is time to wait for one that is still loading.

    Raises:
        CheckpointError: it could not be loaded.
    """
    from modules import shared

    if shared.sd_model is None:
        raise CheckpointError("The WebUI could not load its checkpoint.", "Its console says why. " + _CHOOSE)
    return shared.sd_model


def _plain_state(model: Any) -> dict[str, torch.Tensor]:
    """The host's tensors under a checkpoint file's keys; the hijack's ``wrapped`` levels are left out."""
    return {key.replace(".wrapped.", "."): tensor for key, tensor in model.state_dict().items()}


def _facts(model: Any, state: State) -> CheckpointFacts:
    """Family from the tensors' shapes, prediction type from what the host built.

    Raises:
        CheckpointError: it is none of SD1.x, SD2.x, SDXL, or no text-to-image checkpoint.
    """
    from lora_forge.model.detect import describe
    from lora_forge.model.views import shapes_of

    name = str(model.sd_checkpoint_info.name_for_extra)
    _refuse_other_kinds(model, name)
    facts = describe(shapes_of(state), {}, None, Path(model.sd_checkpoint_info.filename).name)
    spelled = str(model.parameterization)
    if spelled not in _PREDICTIONS:
        what = "{name} predicts {spelled!r}; LoRA Forge knows noise (eps) and velocity (v)."
        raise CheckpointError(what, _CHOOSE, name=name, spelled=spelled)
    config = Path(str(getattr(model, "used_config", "") or "")).name
    return dataclasses.replace(
        facts,
        prediction_type=_PREDICTIONS[spelled],
        prediction_source=Said(word("the WebUI, from {name}"), {"name": config}) if config else Said(word("the WebUI")),
        zero_terminal_snr=_PREDICTIONS[spelled] == "v_prediction" and _is_zero_snr(model),
        hint="",
        **_heads(model, facts.family),
    )


def _refuse_other_kinds(model: Any, name: str) -> None:
    if getattr(model, "is_sd3", False):
        what = "{name} is an SD3 checkpoint: LoRA Forge trains SD1.x, SD2.x and SDXL."
        raise CheckpointError(what, _CHOOSE, name=name)
    if getattr(model, "is_ssd", False):
        what = "{name} is an SSD-1B checkpoint, a shortened SDXL: LoRA Forge trains SD1.x, SD2.x and SDXL."
        raise CheckpointError(what, _CHOOSE, name=name)


def _is_zero_snr(model: Any) -> bool:
    """By the host's setting, or by a schedule that an extension or the config brought."""
    from modules import shared

    told = getattr(shared.opts, "sd_noise_schedule", "Default") == "Zero Terminal SNR"
    return bool(told or float(_schedule(model)[-1]) < 1e-6)


def _schedule(model: Any) -> torch.Tensor:
    """The host's alphas_cumprod, float32 (1000,) on the CPU, before its settings bend it for the next picture."""
    import torch

    made = getattr(model, "alphas_cumprod_original", None)
    made = model.alphas_cumprod if made is None else made
    return made.detach().to("cpu", torch.float32).clone()  # type: ignore[no-any-return]


def _heads(model: Any, family: Family) -> dict[str, Any]:
    """Numbers of attention heads, from the live modules; None where the family's rule must do."""
    if family is Family.SDXL:
        first, second = model.conditioner.embedders[:2]
        return {"te_heads": _text_heads(first), "te2_heads": _text_heads(second)}
    heads = {"te_heads": _text_heads(model.cond_stage_model)}
    if family is Family.SD1:
        attentions = (m for name, m in model.model.diffusion_model.named_modules() if name.endswith(".attn2"))
        heads["unet_heads"] = getattr(next(attentions, None), "heads", None)
    return heads


def _text_heads(embedder: Any) -> int | None:
    for module in embedder.modules():
        found = getattr(module, "num_heads", None)  # of CLIPAttention, and of OpenCLIP's MultiheadAttention
        if isinstance(found, int):
            return found
    return None


def _info(model: Any, facts: CheckpointFacts) -> BaseInfo:
    """With the hashes the host has already, none when it was told not to hash (``--no-hashing``)."""
    chosen = model.sd_checkpoint_info
    return BaseInfo(
        name=str(chosen.name_for_extra),
        family=facts.family,
        prediction_type=facts.prediction_type,
        prediction_source=facts.prediction_source,
        zero_terminal_snr=facts.zero_terminal_snr,
        sha256=str(chosen.sha256 or ""),
        legacy_hash=str(chosen.hash or ""),
    )


def _refuse_changed_weights(model: Any) -> None:
    """What the UNet in memory must not be, to be trained on.

    Raises:
        CheckpointError: it is replaced by another engine, or kept in 8 bits that are no plain floats.
    """
    from modules import sd_unet

    from lora_forge.model.recast import FLOATS_IN_8_BITS

    if sd_unet.current_unet is not None:
        label = str(getattr(sd_unet.current_unet_option, "label", "another engine"))
        what = "The WebUI draws with {label} in place of the checkpoint's own UNet."
        raise CheckpointError(
            what, 'Set "SD Unet" to None in the settings, make a picture, then start again.', label=label
        )
    kinds = {p.dtype for p in model.parameters() if p.element_size() == 1}
    small = next((str(kind) for kind in kinds if kind not in FLOATS_IN_8_BITS), None)
    if small is not None:
        raise CheckpointError(
            "The WebUI keeps this checkpoint in 8 bits ({dtype}), which can't be trained on.",
            'Set "FP8 weight" to Disable in the settings, then start again.',
            dtype=small.replace("torch.", ""),
        )


def _take_off_loras(model: Any) -> None:
    """Put back the weights that the last picture's LoRAs are merged into, and let the copies of them go.

    The host does so itself at each layer's next forward, with its own function; the backup is then what the weight
    is, and 3.8 GB for SD1.5 in float32. It makes a new one when the next LoRA comes.

    Raises:
        CheckpointError: a layer holds a LoRA, and no backup.
    """
    networks = sys.modules.get("networks")
    if networks is None:
        return
    networks.load_networks([])
    for layer in getattr(model, "network_layer_mapping", {}).values():
        if getattr(layer, "network_current_names", ()):
            if getattr(layer, "network_weights_backup", None) is None:
                raise CheckpointError("A LoRA is merged into the checkpoint, and can't be taken off.", _RELOAD)
            networks.network_apply_weights(layer)
        if getattr(layer, "network_weights_backup", None) is not None:
            layer.network_weights_backup = layer.network_bias_backup = None


def _merged_over(root: Any) -> State:
    """By name under ``root``: the originals of tensors that hold a LoRA now."""
    originals: dict[str, torch.Tensor] = {}
    for name, layer in root.named_modules():
        if not getattr(layer, "network_current_names", ()):
            continue
        weight: Any = getattr(layer, "network_weights_backup", None)
        bias: Any = getattr(layer, "network_bias_backup", None)
        is_pair = isinstance(weight, tuple)  # of a MultiheadAttention: its fused weight, its projection's
        kept = {"in_proj_weight": weight[0], "out_proj.weight": weight[1]} if is_pair else {"weight": weight}
        kept["out_proj.bias" if is_pair else "bias"] = bias
        originals |= {f"{name}.{leaf}": tensor for leaf, tensor in kept.items() if tensor is not None}
    return originals


@contextlib.contextmanager
def _on_device(model: Any) -> Iterator[str]:
    """The weights where pictures are made; gives a note on what was done, which is undone on leaving."""
    from modules import devices, lowvram, sd_models

    if getattr(model, "lowvram", False):
        lowvram.send_everything_to_cpu()
        yield "--medvram or --lowvram is on: what a step needs is copied to the device for as long as it does"
        return
    weight = next(model.model.diffusion_model.parameters())
    is_away = weight.device.type != devices.device.type  # "Unload SD checkpoint" was pressed
    if is_away:
        sd_models.send_model_to_device(model)
    try:
        yield "unloaded, brought back for the run" if is_away else ""
    finally:
        if is_away:
            sd_models.send_model_to_cpu(model)


def _build(model: Any, note: str, storage: BaseStorage) -> BorrowedModel:
    """On the host's memory; what lies elsewhere is to visit the device where pictures are made (`Residence`), the UNet
    in 8 bits where ``storage`` says so: it would be a copy in any case.

    Raises:
        CheckpointError: a part differs from its family's.
    """
    import torch
    from modules import devices

    from lora_forge.host.casting import compute_as_norms
    from lora_forge.model.recast import store_in_fp8
    from lora_forge.model.residence import settle
    from lora_forge.model.schedule import rescale_zero_terminal_snr
    from lora_forge.model.views import build_text_towers, build_unet, build_vae

    state = _plain_state(model)
    facts = _facts(model, state)
    device = torch.empty(0, device=devices.device).device  # with its number
    unet, vae, towers = build_unet(state, facts), build_vae(state, facts), build_text_towers(state, facts)
    del state
    dtype = compute_as_norms(unet, [tower.module for tower in towers])
    for module in (vae, *(tower.module for tower in towers)):
        settle(module, device)
    if not settle(unet, device) and storage == "fp8":
        store_in_fp8(unet, device)
    if facts.family is Family.SDXL and vae.dtype is torch.float16:
        vae = vae.float()  # a copy of 335 MB: in half precision it overflows on many pictures
    schedule = _schedule(model)
    if facts.zero_terminal_snr:
        schedule = rescale_zero_terminal_snr(schedule.double()).float()
    gc.collect()
    return BorrowedModel(
        info=_info(model, facts),
        unet=unet,
        vae=vae,
        text_towers=towers,
        alphas_cumprod=schedule,
        vae_scale=facts.vae_scale,
        device=device,
        dtype=dtype,
        notes={"memory": note} if note else {},
    )


def _refuse_change_of(lent: Any) -> None:
    """Everything in the WebUI that loads a checkpoint waits for us; an extension of another hand may not.

    Files are compared, not titles: a title gets its hash when someone has it counted.

    Raises:
        CheckpointError: another checkpoint is in memory than when we began.
    """
    from modules import sd_models

    model = sd_models.model_data.sd_model
    now = None if model is None else model.sd_checkpoint_info
    if now is None or now.filename != lent.filename:
        raise CheckpointError(
            "The checkpoint was changed while it was lent, from {before} to {now}.",
            "The files of this run may be of a mixture: delete them, and keep other extensions from loading meanwhile.",
            before=lent.name_for_extra,
            now="none" if now is None else now.name_for_extra,
        )


def _keys_of(path: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        return list(file.keys())
