"""The worlds of the contract that need no WebUI: a stand-in, photos, a LoRA file."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from lora_forge.dataset.prepared import PreparedSet
from lora_forge.host.standalone import StandaloneHost
from lora_forge.host.webui import WebUIHost
from lora_forge.model.keymap import SD1_TEXT_PREFIX
from lora_forge.ports import BorrowedModel, PictureRequest
from tests.host.contract import Tensors
from tests.host.standin.trees import under
from tests.host.standin.txt2img import txt2img

_PREFIXES = {
    "unet": ("model.diffusion_model.",),
    "vae": ("first_stage_model.",),
    "text": ("cond_stage_model.", "conditioner."),
}


@dataclass
class ToyWorld:
    """:class:`tests.host.contract.World` around a stand-in (``program``) of a WebUI.

    ``program`` has ``draw(prompt)``, ``tensors()`` (live tensors by the file's keys) and ``file`` (the file's tensors).
    The host's own outputs are those of the same file, read by ourselves: a toy has no program of its own to run it.
    """

    host: WebUIHost
    program: Any
    path: Path
    prepared: PreparedSet
    root: Path
    lora_name: str
    tolerance: float = 1e-5
    levels: float = 0.05
    _count: Iterator[int] = field(default_factory=lambda: itertools.count())

    def live(self, part: str) -> Tensors:
        return self._part(self.program.tensors(), part)

    def as_loaded(self, part: str) -> Tensors:
        return self._part(self.program.file, part)

    def outputs(self, model: BorrowedModel) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
        with StandaloneHost(self.path, device="cpu").borrow() as own:
            yield "schedule", model.alphas_cumprod, own.alphas_cumprod
            yield from zip(("UNet", "encoder", "decoder"), _outputs(model), _outputs(own), strict=True)
            for ours, theirs in zip(model.text_towers, own.text_towers, strict=True):
                ids = torch.tensor([[49406, 320, 1125, *[49407] * 74]])
                yield ours.prefix, ours.module(ids)[0], theirs.module(ids)[0]

    def draw(self, lora: str = "") -> bytes:
        return bytes(self.program.draw(f"a house {lora}"))

    def picture(self, asked: PictureRequest) -> Image.Image:
        """The weights are those the program has merged the LoRA into; what it does with them is in ``txt2img``."""
        self.program.draw(asked.prompt)
        path = self.folder() / "as-drawn.safetensors"
        with safe_open(str(self.path), framework="pt") as file:
            metadata = file.metadata()
        # In float32, whatever the program stores: there is no reading eight bits and computing in more.
        drawn = {key: t.detach().to(self.program.file[key].dtype, copy=True) for key, t in self._as_drawn().items()}
        save_file(drawn, path, metadata)
        with StandaloneHost(path, device="cpu").borrow() as own:
            words = asked.prompt.partition("<lora:")[0]
            return txt2img(own, dataclasses.replace(asked, prompt=words), self.host.rounds_timesteps)

    def by_hand(self, asked: PictureRequest) -> Image.Image:
        return self.program.api(asked)  # type: ignore[no-any-return]

    def _as_drawn(self) -> Tensors:
        """All tensors by the file's keys, with what is merged into them now."""
        program, found = self.program, dict(self.program.file)
        live = dict(program.tensors())
        if hasattr(program, "texts"):  # Forge and its kin, by their own names; the fused ones of OpenCLIP are left
            places = {f"clip_l.transformer.{key}": SD1_TEXT_PREFIX + key for key in under(found, SD1_TEXT_PREFIX)}
            live |= {places[key]: tensor for key, tensor in program.texts().items() if key in places}
        return found | {key: tensor for key, tensor in live.items() if key in found}

    def lora_tag(self) -> str:
        return f"<lora:{self.lora_name}:1>"

    def folder(self) -> Path:
        made = self.root / f"work{next(self._count)}"
        made.mkdir()
        return made

    def waiting(self) -> int:
        return len(self.program.modules["modules.progress"].pending_tasks)

    def _part(self, state: Tensors, part: str) -> Tensors:
        known = self.program.file.keys()
        return {key: t for key, t in state.items() if key in known and key.startswith(_PREFIXES[part])}


def _outputs(model: BorrowedModel) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 4, 8, 8, generator=generator)
    context = torch.randn(1, 77, model.unet.config.cross_attention_dim, generator=generator)
    added = model.unet.config.projection_class_embeddings_input_dim
    pooled = added - 6 * model.unet.config.addition_time_embed_dim if added else 0
    told = {"text_embeds": torch.ones(1, pooled), "time_ids": torch.ones(1, 6)} if added else None
    out = model.unet(noise, torch.tensor([500]), context, added_cond_kwargs=told).sample
    picture = noise[:, :3].repeat_interleave(8, 2).repeat_interleave(8, 3)
    return out, model.vae.encode(picture).latent_dist.mean, model.vae.decode(noise).sample
