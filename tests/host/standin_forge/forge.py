"""Forge: ``backend``, whose weights are inference tensors, and which loads a checkpoint when a picture needs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from lora_forge.config import Family
from lora_forge.host.forge import ForgeHost
from lora_forge.model.detect import VAE_SCALES
from lora_forge.model.read import read_facts
from tests.host.standin.webui import StandIn
from tests.host.standin_forge import parts

CPU = torch.device("cpu")


class FakeInitialModel:
    """What ``shared.sd_model`` is until the first picture."""


class Flux:
    """An engine of another kind, with none of the families' flags."""

    def __init__(self, info: Any) -> None:
        self.sd_checkpoint_info = info
        self.forge_objects_original = SimpleNamespace()


class LoraLoader:
    """Merges into new Parameters, keeps the old ones aside."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.backup: dict[str, nn.Parameter] = {}
        self.loaded_hash = "[]"

    @torch.inference_mode()
    def refresh(self, lora_patches: Mapping[Any, Mapping[str, Any]]) -> None:
        hashes = str(list(lora_patches))
        if hashes == self.loaded_hash:
            return
        for key, weight in self.backup.items():
            layer, leaf = parts.layer_of(self.model, key)
            setattr(layer, leaf, weight)
        self.backup = {}
        for patches in lora_patches.values():
            for key, patch in patches.items():
                layer, leaf = parts.layer_of(self.model, key)
                weight = getattr(layer, leaf)
                self.backup.setdefault(key, weight.to(CPU))
                setattr(layer, leaf, nn.Parameter(parts.merged(weight, patch), requires_grad=False))
        self.loaded_hash = hashes


class ModelPatcher:
    """The holder of a network, and of the LoRAs it should have."""

    def __init__(self, model: Any, load_device: torch.device = CPU) -> None:
        self.model, self.load_device = model, load_device
        self.lora_patches: dict[tuple[str, float, float, bool], Mapping[str, Any]] = {}
        if not hasattr(model, "lora_loader"):
            model.lora_loader = LoraLoader(model)
        self.lora_loader: LoraLoader = model.lora_loader

    def with_lora(self, path: Path, patches: Mapping[str, Any]) -> ModelPatcher:
        """A clone that has one more, if anything of it fits."""
        if not patches:
            return self
        made = ModelPatcher(self.model, self.load_device)
        made.lora_patches = {**self.lora_patches, (str(path), 1.0, 1.0, False): patches}
        return made


class Objects(SimpleNamespace):
    """ForgeObjects."""

    def copy(self) -> Objects:
        return Objects(**vars(self))


class Engine:
    """StableDiffusion, StableDiffusion2, StableDiffusionXL."""

    def __init__(
        self,
        path: Path,
        info: Any,
        text_heads: tuple[int, ...],
        text_dtype: torch.dtype,
        storage: torch.dtype | None = None,
    ) -> None:
        family = read_facts(path).family
        self.is_sd1, self.is_sd2, self.is_sdxl = (family is one for one in (Family.SD1, Family.SD2, Family.SDXL))
        self.is_inpaint, self.sd_checkpoint_info, self.current_lora_hash = False, info, "[]"
        self.model_config = SimpleNamespace(unet_config={"num_heads": 8 if self.is_sd1 else -1}, ztsnr=False)
        states = parts.text_states(path)
        with torch.inference_mode():
            unet, vae = parts.unet_and_vae(load_file(path))
            kernel: Any = nn.Module()
            kernel.diffusion_model, kernel.predictor = unet.to(storage or torch.float32), nn.Module()
            kernel.predictor.register_buffer("alphas_cumprod", parts.schedule())
            kernel.predictor.prediction_type = "epsilon"
            kernel.storage_dtype, kernel.computation_dtype = storage or torch.float32, torch.float32
            text: Any = nn.Module()
            for (name, state), heads in zip(states.items(), text_heads, strict=False):
                text.add_module(name, self._tower(state, heads, text_dtype))
            vae.scaling_factor = VAE_SCALES[family]  # type: ignore[assignment]
        clip = SimpleNamespace(cond_stage_model=text, patcher=ModelPatcher(text))
        shown = SimpleNamespace(first_stage_model=vae, patcher=ModelPatcher(vae))
        self.forge_objects_original = Objects(unet=ModelPatcher(kernel), clip=clip, vae=shown)
        self.forge_objects = self.forge_objects_original.copy()
        self.forge_objects_after_applying_lora = self.forge_objects_original.copy()

    @staticmethod
    def _tower(state: parts.Tensors, heads: int, dtype: torch.dtype) -> nn.Module:
        state = {key: tensor.to(dtype) for key, tensor in state.items()}
        width = state["text_model.final_layer_norm.weight"].shape[0]
        state.setdefault("text_projection.weight", torch.zeros(width, width, dtype=dtype))  # every tower has one
        tower = parts.Tower(state, heads, has_own_name=True)
        embeddings: Any = tower.transformer.text_model.embeddings
        embeddings.to(torch.float32)  # as after the first prompt
        return tower


class ForgeStandIn(StandIn):
    """Forge with one toy checkpoint to choose. ``path``: in LDM layout, float32."""

    def __init__(
        self, root: Path, path: Path, text_heads: tuple[int, ...] = (4,), text_dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__(root, self._pixels)
        self.path, self.file, self._towers = path, load_file(path), (text_heads, text_dtype)
        self.checkpoint = SimpleNamespace(
            title=f"{path.name} [0123456789]", filename=str(path), sha256="ab" * 32, hash="deadbeef"
        )
        self.wanted: dict[str, Any] = {"checkpoint_info": path.name, "additional_modules": []}
        self.data = SimpleNamespace(sd_model=FakeInitialModel(), forge_loading_parameters=self.wanted, forge_hash="")
        self.loads = 0
        self.load_error: Exception | None = None
        self.add(
            "modules.sd_models",
            model_data=self.data,
            checkpoints_list={self.checkpoint.title: self.checkpoint},
            get_closet_checkpoint_match=lambda text: (
                self.checkpoint if text and text in self.checkpoint.title else None
            ),
            forge_model_reload=self.reload,
        )
        self.options.sd_model_checkpoint = path.name
        self.loaded: list[ModelPatcher] = []
        self.emptied = 0
        self.chosen: list[str] = []
        self.add("modules_forge")
        self.add("modules_forge.forge_version", version="2.0.1v1.10.1")
        self.add("modules_forge.main_entry", checkpoint_change=self.chosen.append)
        self.add("backend")
        self.add("backend.memory_management", load_models_gpu=self.load_models, soft_empty_cache=self._empty)
        self.add("backend.patcher")
        self.add(
            "backend.patcher.lora",
            load_lora=parts.read_lora,
            model_lora_keys_unet=lambda _, key_map: key_map | self._places("diffusion_model."),
            model_lora_keys_clip=lambda _, key_map: key_map | self._places("clip_"),
        )
        self.places: dict[str, str] = {}

    @property
    def engine(self) -> Any:
        """The loaded one."""
        return self.data.sd_model

    def host(self) -> ForgeHost:
        """Ours; the modules must be installed."""
        return ForgeHost()

    @torch.inference_mode()
    def reload(self) -> tuple[Any, bool]:
        """``forge_model_reload``."""
        if self.data.forge_hash == str(self.wanted):
            return self.data.sd_model, False
        self.data.sd_model = None
        if self.load_error is not None:
            raise self.load_error
        torch.rand(3)
        self.loads += 1
        storage = self.wanted.get("unet_storage_dtype")
        self.data.sd_model = Engine(self.path, self.checkpoint, *self._towers, storage)
        self.places = parts.places(self.file, parts.text_states(self.path))
        self.data.forge_hash = str(self.wanted)
        return self.data.sd_model, True

    def load_models(self, patchers: list[ModelPatcher]) -> None:
        """``load_models_gpu``: a patcher that is loaded already is not looked at again."""
        assert torch.is_inference_mode_enabled()
        for patcher in patchers:
            if patcher not in self.loaded:
                self.loaded = [other for other in self.loaded if other.model is not patcher.model]
                patcher.lora_loader.refresh(patcher.lora_patches)
                self.loaded.append(patcher)

    def tensors(self) -> parts.Tensors:
        """UNet and VAE in memory by the file's keys."""
        originals = self.engine.forge_objects_original
        unet, vae = originals.unet.model.diffusion_model.state_dict(), originals.vae.first_stage_model.state_dict()
        named = {f"model.diffusion_model.{key}": tensor for key, tensor in unet.items()}
        return named | {f"first_stage_model.{key}": tensor for key, tensor in vae.items()}

    def texts(self) -> parts.Tensors:
        """Text encoders in memory by the host's keys, each tensor once."""
        state = self.engine.forge_objects_original.clip.cond_stage_model.state_dict()
        return {key: tensor for key, tensor in state.items() if not key.endswith((".wrapped.weight", "logit_scale"))}

    def _places(self, beginning: str) -> dict[str, str]:
        return {name: place for name, place in self.places.items() if place.startswith(beginning)}

    def _empty(self) -> None:
        self.emptied += 1

    def _load_networks(self, names: list[str]) -> None:
        engine, wanted = self.engine, str(names)
        if engine.current_lora_hash == wanted:  # the trap: what was restored by hand is not merged again
            return
        engine.current_lora_hash = wanted
        originals = engine.forge_objects_original
        unet, clip = originals.unet, originals.clip.patcher
        for path in self.lists.note(names).values():
            patches, rest = parts.read_lora(load_file(path), self._places("diffusion_model."))
            unet = unet.with_lora(path, patches)
            clip = clip.with_lora(path, parts.read_lora(rest, self._places("clip_"))[0])
        shown = SimpleNamespace(cond_stage_model=originals.clip.cond_stage_model, patcher=clip)
        engine.forge_objects = Objects(unet=unet, clip=shown, vae=originals.vae)
        engine.forge_objects_after_applying_lora = engine.forge_objects.copy()

    def _pixels(self, seed: int, prompt: str) -> bytes:
        self.reload()
        self._load_networks([part.split(":")[1] for part in prompt.split("<")[1:]])
        shown = self.engine.forge_objects
        with torch.inference_mode():
            for patcher in (shown.clip.patcher, shown.unet, shown.vae.patcher):
                self.load_models([patcher])
            words = parts.bytes_of(shown.clip.cond_stage_model, shown.unet.model, shown.vae.first_stage_model)
        return f"{seed} {prompt}".encode() + words
