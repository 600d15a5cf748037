"""AUTOMATIC1111 1.10.1: LDM and sgm module trees with the hijack's wrappers, and the built-in Lora extension."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from lora_forge.host.a1111 import A1111Host
from lora_forge.lora_file.writer import load_lora
from lora_forge.model import keymap
from lora_forge.model.schedule import alphas_cumprod
from tests.host.standin.networks import Lists
from tests.host.standin.trees import grow, under
from tests.host.standin.webui import StandIn


class EmbeddingsWithFixes(nn.Module):
    """The hijack's token embedding, which textual inversions reach into."""

    def __init__(self, wrapped: nn.Module) -> None:
        super().__init__()
        self.wrapped = wrapped

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        raise AssertionError("a run must not use the host's own embedding: inversions would reach into it")


class WithCustomWords(nn.Module):
    """The hijack around a text encoder."""

    def __init__(self, wrapped: nn.Module) -> None:
        super().__init__()
        self.wrapped = wrapped


class Model(nn.Module):
    """LatentDiffusion, or sgm's DiffusionEngine when the state has a ``conditioner``."""

    def __init__(self, state: Mapping[str, torch.Tensor], path: Path, text_heads: tuple[int, ...]) -> None:
        super().__init__()
        self.model = nn.Module()
        self.model.diffusion_model = grow(under(state, keymap.UNET_PREFIX))
        self.first_stage_model = grow(under(state, keymap.VAE_PREFIX))
        self.is_sdxl = any(key.startswith("conditioner.") for key in state)
        self.is_sd1 = any(key.startswith(keymap.SD1_TEXT_PREFIX) for key in state)
        self.is_sd2 = not self.is_sd1 and not self.is_sdxl
        self.is_sd3 = self.is_ssd = self.lowvram = False
        if self.is_sdxl:
            self.conditioner = grow(under(state, "conditioner."))
            embedders = [self.conditioner.embedders.get_submodule(n) for n in ("0", "1")]
            self.conditioner.embedders = nn.ModuleList([_hijacked(e) for e in embedders])
            self.cond_stage_model: nn.Module = self.conditioner
        else:
            self.cond_stage_model = _hijacked(grow(under(state, "cond_stage_model.")))
        _set_heads(self, text_heads)
        self.parameterization, self.used_config = "eps", "configs/v1-inference.yaml"
        self.alphas_cumprod_original = alphas_cumprod()
        self.register_buffer("alphas_cumprod", alphas_cumprod())
        self.sd_checkpoint_info = SimpleNamespace(
            title=f"{path.name} [0123456789]",
            name_for_extra=path.stem,
            filename=str(path),
            sha256="ab" * 32,
            hash="deadbeef",
        )
        self.network_layer_mapping = dict(self._layers())
        self.eval()

    def _layers(self) -> Iterator[tuple[str, nn.Module]]:
        for name, module in self.named_modules():
            if isinstance(module, (nn.Linear, nn.Conv2d, nn.MultiheadAttention, nn.LayerNorm)):
                yield name.replace(".wrapped", ""), module


def _hijacked(embedder: nn.Module) -> nn.Module:
    for name, module in list(embedder.named_modules()):
        if name.endswith("token_embedding"):
            parent = embedder.get_submodule(name.rpartition(".")[0])
            parent.token_embedding = EmbeddingsWithFixes(module)
    return WithCustomWords(embedder)


def _set_heads(model: nn.Module, text_heads: tuple[int, ...]) -> None:
    is_text = ("cond_stage_model.", "conditioner.")
    for name, module in model.named_modules():
        if name.startswith(is_text) and name.endswith(".self_attn"):
            module.num_heads = text_heads[0]
        elif name.startswith(is_text) and isinstance(module, nn.MultiheadAttention):
            module.num_heads = text_heads[-1]
        elif name.endswith((".attn1", ".attn2")):
            module.heads = 8


class Networks(Lists):
    """The built-in Lora extension: merges into the weights, keeps a backup, and leaves it so."""

    def __init__(self, world: A1111StandIn) -> None:
        super().__init__(world.modules["modules.shared"])
        self.world = world
        self.loads: list[str] = []

    def load_networks(self, names: list[str]) -> None:
        self.loads += names
        files = self.note(names)
        for network in self.loaded_networks:
            network.modules = self.world.deltas(files[network.name])

    def network_apply_weights(self, layer: Any) -> None:
        wanted = tuple(network.name for network in self.loaded_networks)
        if getattr(layer, "network_current_names", ()) == wanted:
            return
        if getattr(layer, "network_weights_backup", None) is None and wanted:
            layer.network_weights_backup = _weights_of(layer)
            bias = getattr(layer, "bias", None)
            layer.network_bias_backup = None if bias is None else bias.detach().clone()
        _put_back(layer)
        for deltas in [network.modules for network in self.loaded_networks]:
            for name, tensor in layer.named_parameters():
                if (delta := deltas.get(f"{layer.network_layer_name}.{name}")) is not None:
                    tensor.copy_(tensor.float() + delta)
        layer.network_current_names = wanted

    def load_network(self, name: str, on_disk: Any) -> Any:
        torch.rand(3)  # the real one makes layers, whose first values are drawn
        used = self.world.deltas(Path(on_disk.filename), is_strict=False)
        modules = {key: SimpleNamespace(network_key=self.world.key_of[key]) for key in used}
        return SimpleNamespace(name=name, modules=modules)


def _weights_of(layer: nn.Module) -> Any:
    if isinstance(layer, nn.MultiheadAttention):
        return (layer.in_proj_weight.detach().clone(), layer.out_proj.weight.detach().clone())
    return layer.weight.detach().clone()  # type: ignore[operator,union-attr]


def _put_back(layer: Any) -> None:
    kept = getattr(layer, "network_weights_backup", None)
    if isinstance(kept, tuple):
        layer.in_proj_weight.copy_(kept[0])
        layer.out_proj.weight.copy_(kept[1])
    elif kept is not None:
        layer.weight.copy_(kept)
        if layer.network_bias_backup is None:
            layer.bias = None
        else:
            layer.bias.copy_(layer.network_bias_backup)


class A1111StandIn(StandIn):
    """The program with a checkpoint in memory. ``path``: a toy in LDM layout, float32."""

    def __init__(self, root: Path, path: Path, text_heads: tuple[int, ...] = (4,)) -> None:
        super().__init__(root, self._pixels)
        self.file = load_file(path)
        self.model: Any = Model(self.file, path, text_heads)
        self.key_of: dict[str, str] = {}
        for name, layer in self.model.network_layer_mapping.items():
            layer.network_layer_name = name
        self.networks = self.modules["networks"] = Networks(self)
        data = SimpleNamespace(sd_model=self.model, lock=threading.Lock(), was_loaded_at_least_once=True)
        info = self.model.sd_checkpoint_info
        self.add(
            "modules.sd_models",
            model_data=data,
            checkpoints_list={info.title: info},
            get_closet_checkpoint_match=lambda text: info if text and text in info.title else None,
            reload_model_weights=lambda: None,
            send_model_to_device=lambda _: None,
            send_model_to_cpu=lambda _: None,
        )
        self.add("modules.sd_unet", current_unet=None, current_unet_option=None)
        self.add("modules.lowvram", send_everything_to_cpu=lambda: None)
        self.modules["modules.shared"].sd_model = self.model

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().install(monkeypatch)
        monkeypatch.setattr(nn.Linear, "forward", nn.Linear.forward)  # the extension patches it for the whole program

    def store_in(self, kind: torch.dtype) -> None:
        """The setting "FP8 weight": Linear and Conv2d of all but the VAE; ``file`` gets the values that are left."""
        theirs = self.model.first_stage_model
        self.model.first_stage_model = None
        for module in self.model.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.to(kind)
        self.model.first_stage_model = theirs
        live = self.tensors()
        self.file = {key: live[key].detach().to(tensor.dtype) for key, tensor in self.file.items()}

    def host(self) -> A1111Host:
        """Ours; the modules must be installed."""
        return A1111Host()

    def tensors(self) -> dict[str, torch.Tensor]:
        """Tensors in memory by the file's keys."""
        return {key.replace(".wrapped.", "."): t for key, t in self.model.state_dict().items()}

    def _pixels(self, seed: int, prompt: str) -> bytes:
        self.networks.load_networks([part.split(":")[1] for part in prompt.split("<")[1:]])
        with torch.no_grad():
            for layer in self.model.network_layer_mapping.values():  # as each layer's forward does
                self.networks.network_apply_weights(layer)
        words = [f"{seed} {prompt}".encode()]
        words += [t.detach().float().numpy().tobytes() for key, t in sorted(self.model.state_dict().items())]
        return b"".join(words)

    def deltas(self, path: Path, is_strict: bool = True) -> dict[str, torch.Tensor]:
        """What a LoRA file adds, by layer and parameter name."""
        names = _layer_names(self.file)
        found: dict[str, torch.Tensor] = {}
        for name, module in load_lora(path).weights.items():
            if name not in names:
                assert not is_strict, name
                continue
            key, shape = names[name]
            found[key] = module.delta().reshape(shape)
            self.key_of[key] = f"{name}.alpha"
        return found


def _layer_names(file: Mapping[str, torch.Tensor]) -> dict[str, tuple[str, torch.Size]]:
    """kohya's name of each layer -> (the live parameter, its shape); fused OpenCLIP attention is left out."""
    found = {}
    for key, tensor in file.items():
        unet = keymap.unet_name(key[len(keymap.UNET_PREFIX) :], 2) if key.startswith(keymap.UNET_PREFIX) else None
        if unet is not None and key.endswith(".weight"):
            for spelled in (unet, key[len(keymap.UNET_PREFIX) :]):  # diffusers' way and, for SDXL, LDM's
                found["lora_unet_" + spelled.removesuffix(".weight").replace(".", "_")] = (key, tensor.shape)
        for prefix, short in ((keymap.SD1_TEXT_PREFIX, "lora_te_"), (keymap.SDXL_TEXT_PREFIX, "lora_te1_")):
            if key.startswith(prefix) and key.endswith(".weight"):
                inner = key.removeprefix(prefix).removesuffix(".weight")
                found[short + inner.replace(".", "_")] = (key, tensor.shape)
    return found
