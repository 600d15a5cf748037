"""reForge and Forge Classic: ``ldm_patched``, whose patchers merge LoRAs in place or not, behind A1111's loading."""

from __future__ import annotations

import collections
import threading
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from lora_forge.config import Family
from lora_forge.host.comfy import ComfyHost
from lora_forge.model.detect import VAE_SCALES
from lora_forge.model.read import read_facts
from tests.host.standin.webui import StandIn
from tests.host.standin_forge import parts

CPU = torch.device("cpu")
Kept = collections.namedtuple("Kept", ["weight", "inplace_update"])


class EPS:
    """ComfyUI's mixins of a sampling, told apart by name."""


class V_PREDICTION(EPS):  # noqa: N801  its name there
    pass


class EDM(V_PREDICTION):
    pass


class ModelSamplingDiscrete(nn.Module):
    """Keeps sigmas alone."""


class Epsilon(ModelSamplingDiscrete, EPS):
    pass


class Velocity(ModelSamplingDiscrete, V_PREDICTION):
    pass


class Karras(ModelSamplingDiscrete, EDM):
    pass


class ModelPatcher:
    """``is_classic``: every clone keeps its own backup, bare; reForge's share one and note how each was merged."""

    def __init__(self, model: Any, is_classic: bool, is_in_place: bool) -> None:
        self.model, self.load_device = model, CPU
        self.is_classic, self.is_in_place = is_classic, is_in_place
        self.patches: dict[str, list[Any]] = {}
        self.backup: dict[str, Any] = {}

    def with_lora(self, patches: Mapping[str, Any]) -> ModelPatcher:
        """A clone that has one more."""
        made = ModelPatcher(self.model, self.is_classic, self.is_in_place)
        made.patches = {key: list(held) for key, held in self.patches.items()}
        made.backup = {} if self.is_classic else self.backup
        for key, patch in patches.items():
            made.patches.setdefault(key, []).append(patch)
        return made

    def patch_model(self) -> None:
        for key, patches in self.patches.items():
            weight = self.model.get_parameter(key)
            if key not in self.backup:
                kept = weight.to(CPU, copy=self.is_in_place)
                self.backup[key] = kept if self.is_classic else Kept(kept, self.is_in_place)
            out: torch.Tensor = weight
            for patch in patches:
                out = parts.merged(out, patch)
            self._put(key, out)

    def unpatch_model(self) -> None:
        for key, kept in self.backup.items():
            self._put(key, kept if self.is_classic else kept.weight)
        self.backup.clear()

    def _put(self, key: str, weight: torch.Tensor) -> None:
        layer, leaf = parts.layer_of(self.model, key)
        if self.is_in_place:
            getattr(layer, leaf).copy_(weight)
        else:
            setattr(layer, leaf, nn.Parameter(weight, requires_grad=False))


class Objects(SimpleNamespace):
    """ForgeObjects, or ForgeSD."""


class ComfyStandIn(StandIn):
    """A checkpoint in memory, loaded under no_grad. ``path``: a toy in LDM layout, float32."""

    def __init__(
        self, root: Path, path: Path, text_heads: tuple[int, ...], is_classic: bool = True, is_in_place: bool = False
    ) -> None:
        super().__init__(root, self._pixels)
        self.path, self.file, self.is_classic, self.is_in_place = path, load_file(path), is_classic, is_in_place
        self.checkpoint = SimpleNamespace(
            title=f"{path.name} [0123456789]", filename=str(path), sha256="ab" * 32, hash="deadbeef"
        )
        self.texts_by_name = parts.text_states(path)
        self.places = parts.places(self.file, self.texts_by_name)
        with torch.no_grad():
            self.model = self._load(text_heads)
        data = SimpleNamespace(sd_model=self.model, lock=threading.Lock(), was_loaded_at_least_once=True)
        self.add(
            "modules.sd_models",
            model_data=data,
            checkpoints_list={self.checkpoint.title: self.checkpoint},
            get_closet_checkpoint_match=lambda text: (
                self.checkpoint if text and text in self.checkpoint.title else None
            ),
            reload_model_weights=lambda: self.model,
        )
        self.options.sd_model_checkpoint = path.name
        self.modules["modules.shared"].sd_model = self.model
        self.loaded: list[Any] = []
        self.add("modules_forge")
        self.add("modules_forge.forge_version", version="classic" if is_classic else "1.0.0v2-v1.10.1RC")
        self.add("ldm_patched")
        self.add("ldm_patched.modules")
        self.add(
            "ldm_patched.modules.model_management",
            current_loaded_models=self.loaded,
            load_models_gpu=self.load_models,
            unload_all_models=self.unload_all,
            soft_empty_cache=lambda: None,
        )
        self.add(
            "ldm_patched.modules.lora",
            load_lora=parts.read_lora if is_classic else lambda lora, places: parts.read_lora(lora, places)[0],
            model_lora_keys_unet=lambda _, key_map: key_map | self._places("diffusion_model."),
            model_lora_keys_clip=lambda _, key_map: key_map | self._places("clip_"),
        )

    def host(self) -> ComfyHost:
        """Ours; the modules must be installed."""
        return ComfyHost()

    def _load(self, text_heads: tuple[int, ...]) -> Any:
        family = read_facts(self.path).family
        unet, vae = parts.unet_and_vae(self.file)
        kernel: Any = nn.Module()
        kernel.diffusion_model, kernel.model_sampling = unet, Epsilon()
        kernel.model_config = SimpleNamespace(unet_config={"num_heads": 8 if family is Family.SD1 else -1})
        kernel.latent_format = SimpleNamespace(scale_factor=VAE_SCALES[family])
        kernel.manual_cast_dtype = None
        text: Any = nn.Module()
        for (name, state), heads in zip(self.texts_by_name.items(), text_heads, strict=False):
            text.add_module(name, self._tower(state, heads))
        patchers = [ModelPatcher(module, self.is_classic, self.is_in_place) for module in (kernel, text, vae)]
        clip = SimpleNamespace(cond_stage_model=text, patcher=patchers[1])
        shown = SimpleNamespace(first_stage_model=vae, patcher=patchers[2])
        originals = Objects(unet=patchers[0], clip=clip, vae=shown)
        return SimpleNamespace(
            forge_objects_original=originals,
            forge_objects=originals,
            current_lora_hash="[]",
            sd_checkpoint_info=self.checkpoint,
            ztsnr=False,
        )

    @staticmethod
    def _tower(state: parts.Tensors, heads: int) -> nn.Module:
        width = state["text_model.final_layer_norm.weight"].shape[0]
        projection = state.get("text_projection.weight", torch.eye(width)).t().contiguous()  # the other side's
        inner = {key: tensor for key, tensor in state.items() if not key.startswith("text_projection")}
        tower: Any = parts.Tower(inner, heads, has_own_name=False)
        tower.text_projection = nn.Parameter(projection)
        return tower  # type: ignore[no-any-return]

    def load_models(self, patchers: list[ModelPatcher]) -> None:
        """``load_models_gpu``."""
        for patcher in patchers:
            if not any(entry.model is patcher for entry in self.loaded):
                for entry in [entry for entry in self.loaded if entry.model.model is patcher.model]:
                    entry.model.unpatch_model()
                    self.loaded.remove(entry)
                patcher.patch_model()
                self.loaded.append(SimpleNamespace(model=patcher))

    def unload_all(self) -> None:
        """``unload_all_models``: what lies on the card."""
        for entry in self.loaded:
            entry.model.unpatch_model()
        self.loaded.clear()

    def tensors(self) -> parts.Tensors:
        """UNet and VAE in memory by the file's keys."""
        originals = self.model.forge_objects_original
        unet, vae = originals.unet.model.diffusion_model.state_dict(), originals.vae.first_stage_model.state_dict()
        named = {f"model.diffusion_model.{key}": tensor for key, tensor in unet.items()}
        return named | {f"first_stage_model.{key}": tensor for key, tensor in vae.items()}

    def texts(self) -> parts.Tensors:
        """Text encoders in memory by the host's keys, less the hijack's level; a projection as transformers has it."""
        state = self.model.forge_objects_original.clip.cond_stage_model.state_dict()
        named = {key.replace(".wrapped.", "."): t for key, t in state.items() if not key.endswith("logit_scale")}
        towers = [key.partition(".")[0] for key in named if key.endswith(".text_projection")]
        for tower in towers:
            named[f"{tower}.transformer.text_projection.weight"] = named.pop(f"{tower}.text_projection").t()
        return named

    def _places(self, beginning: str) -> dict[str, str]:
        return {name: place for name, place in self.places.items() if place.startswith(beginning)}

    def _load_networks(self, names: list[str]) -> None:
        wanted, originals = str(names), self.model.forge_objects_original
        if self.model.current_lora_hash == wanted:
            return
        self.model.current_lora_hash = wanted
        unet, clip = originals.unet, originals.clip.patcher
        for path in self.lists.note(names).values():
            patches, rest = parts.read_lora(load_file(path), self._places("diffusion_model."))
            unet = unet.with_lora(patches)
            clip = clip.with_lora(parts.read_lora(rest, self._places("clip_"))[0])
        shown = SimpleNamespace(cond_stage_model=originals.clip.cond_stage_model, patcher=clip)
        self.model.forge_objects = Objects(unet=unet, clip=shown, vae=originals.vae)

    def _pixels(self, seed: int, prompt: str) -> bytes:
        self._load_networks([part.split(":")[1] for part in prompt.split("<")[1:]])
        shown = self.model.forge_objects
        with torch.inference_mode():
            for patcher in (shown.clip.patcher, shown.unet, shown.vae.patcher):
                self.load_models([patcher])
            words = parts.bytes_of(shown.clip.cond_stage_model, shown.unet.model, shown.vae.first_stage_model)
        return f"{seed} {prompt}".encode() + words
