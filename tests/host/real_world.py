"""The contract's world inside a real WebUI: runs in its process, with its Python; no pytest here."""

from __future__ import annotations

import base64
import dataclasses
import io
import itertools
import json
import os
import tempfile
import threading
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from lora_forge.config import TrainConfig
from lora_forge.dataset.prepare import PrepareSettings, prepare
from lora_forge.dataset.prepared import PreparedSet
from lora_forge.dataset.project import Project
from lora_forge.errors import CheckpointError
from lora_forge.evaluate.xyz import SAMPLERS
from lora_forge.host.webui import WebUIHost
from lora_forge.lora_file.weights import LoraModule
from lora_forge.lora_file.writer import save_lora
from lora_forge.ports import BorrowedModel, PictureRequest
from lora_forge.train.network import Network
from tests.host.contract import Tensors, sum_of

LORA_NAME = "contract-style"
_PREFIXES = {
    "unet": ("model.diffusion_model.",),
    "vae": ("first_stage_model.",),
    "text": ("cond_stage_model.", "conditioner."),
}


class FileTensors(Mapping[str, torch.Tensor]):
    """Some tensors of a checkpoint file, read when they are looked at."""

    def __init__(self, path: Path, dtypes: Mapping[str, torch.dtype]) -> None:
        from safetensors import safe_open

        self._file = safe_open(str(path), framework="pt")
        self._dtypes = dtypes

    def __getitem__(self, key: str) -> torch.Tensor:
        return self._file.get_tensor(key).to(self._dtypes[key])  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[str]:
        return iter(self._dtypes)

    def __len__(self) -> int:
        return len(self._dtypes)


class RealWorld(ABC):
    """:class:`tests.host.contract.World` in a real program, driven through its own API."""

    tolerance = 2e-5
    levels = 1.0

    def __init__(self, host: WebUIHost) -> None:
        self.host = host
        self._root = Path(tempfile.mkdtemp(prefix="contract-"))
        self._count = itertools.count()
        self._prepared: PreparedSet | None = None

    @property
    def prepared(self) -> PreparedSet:
        if self._prepared is None:
            self._prepared = draw_project(self._root / "project")
        return self._prepared

    @abstractmethod
    def outputs(self, model: BorrowedModel) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
        """(what, from the lent module, from the host's own)."""

    @abstractmethod
    def _state(self) -> Tensors:
        """The host's tensors by the checkpoint file's keys, and perhaps more."""

    def live(self, part: str) -> Tensors:
        state, known = self._state(), FileTensors(self._file(), {})._file.keys()
        return {key: state[key] for key in known if key in state and key.startswith(_PREFIXES[part])}

    def as_loaded(self, part: str) -> Tensors:
        return FileTensors(self._file(), {key: t.dtype for key, t in self.live(part).items()})

    def draw(self, lora: str = "") -> bytes:
        return self._txt2img({
            "prompt": f"a photo of a red house {lora}", "steps": 2, "sampler_name": "Euler", "width": 64, "height": 64,
            "seed": 7, "subseed": 7, "cfg_scale": 5,
        }).tobytes()  # fmt: skip

    def picture(self, asked: PictureRequest) -> Image.Image:
        return self._txt2img({
            "prompt": asked.prompt, "negative_prompt": "", "steps": asked.steps, "cfg_scale": asked.guidance,
            "sampler_name": "DPM++ 2M", "scheduler": "Automatic", "width": asked.width, "height": asked.height,
            "seed": asked.seed, "subseed": asked.seed,
            "override_settings": {"CLIP_stop_at_last_layers": asked.clip_skip},
        })  # fmt: skip

    def by_hand(self, asked: PictureRequest) -> Image.Image:
        return self._txt2img({
            "prompt": asked.prompt, "negative_prompt": asked.negative_prompt, "steps": asked.steps,
            "cfg_scale": asked.guidance, "sampler_name": SAMPLERS[asked.sampler], "width": asked.width,
            "height": asked.height, "seed": asked.seed,
            "override_settings": {"CLIP_stop_at_last_layers": asked.clip_skip},
        })  # fmt: skip

    def _txt2img(self, body: Mapping[str, Any]) -> Image.Image:
        answer = self.call("/sdapi/v1/txt2img", body)
        with Image.open(io.BytesIO(base64.b64decode(answer["images"][0]))) as picture:
            return picture.convert("RGB")

    def lora_tag(self) -> str:
        path = self.host.lora_dir() / f"{LORA_NAME}.safetensors"
        if not path.exists():
            with self.host.borrow() as model:
                write_lora(model, path)
        return f"<lora:{LORA_NAME}:1>"

    def folder(self) -> Path:
        made = self._root / f"work{next(self._count)}"
        made.mkdir()
        return made

    def waiting(self) -> int:
        from modules import progress

        return len(progress.pending_tasks)

    def call(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The program's own API, from within."""
        from modules import shared

        url = f"http://127.0.0.1:{shared.cmd_opts.port}{path}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=900) as answer:
            return json.loads(answer.read() or "null")

    def _model(self) -> Any:
        from modules import sd_models

        return sd_models.model_data.sd_model

    def _file(self) -> Path:
        return Path(self._model().sd_checkpoint_info.filename)


class A1111World(RealWorld):
    """AUTOMATIC1111."""

    def outputs(self, model: BorrowedModel) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
        theirs = self._model()
        noise, context, when, picture, latent, ids = some_inputs(model)
        yield (
            "UNet",
            model.unet(noise, when, context).sample,
            theirs.model.diffusion_model(noise, when, context=context),
        )
        yield "encoder", model.vae.encode(picture).latent_dist.mean, theirs.first_stage_model.encode(picture).mean
        yield "decoder", model.vae.decode(latent).sample, theirs.first_stage_model.decode(latent)
        text = theirs.cond_stage_model.wrapped.transformer(input_ids=ids)
        yield "text", model.text_towers[0].module(ids)[0], text.last_hidden_state
        yield "schedule", model.alphas_cumprod, theirs.alphas_cumprod.float().cpu()

    def _state(self) -> Tensors:
        return {key.replace(".wrapped.", "."): t for key, t in self._model().state_dict().items()}


class ForgeWorld(RealWorld):
    """Forge. It loads nothing by itself: what the rules look at before they borrow is there after a first picture."""

    def __init__(self, host: WebUIHost) -> None:
        super().__init__(host)
        self.draw()

    def outputs(self, model: BorrowedModel) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
        theirs = self._model().forge_objects_original
        unet, vae, clip = theirs.unet.model, theirs.vae.first_stage_model, theirs.clip.cond_stage_model
        noise, context, when, picture, latent, ids = some_inputs(model)
        output = unet.diffusion_model(noise, when, context=context, transformer_options={})
        yield "UNet", model.unet(noise, when, context).sample, output
        mean = vae.encode(picture, regulation=lambda found: found.mean)
        yield "encoder", model.vae.encode(picture).latent_dist.mean, mean
        yield "decoder", model.vae.decode(latent).sample, vae.decode(latent)
        text = clip.clip_l.transformer(input_ids=ids)
        yield "text", model.text_towers[0].module(ids)[0], text.last_hidden_state
        yield "schedule", model.alphas_cumprod, unet.predictor.alphas_cumprod.float().cpu()

    def _state(self) -> Tensors:
        theirs = self._model().forge_objects_original
        parts = {
            "model.diffusion_model.": theirs.unet.model.diffusion_model,
            "first_stage_model.": theirs.vae.first_stage_model,
            "cond_stage_model.transformer.": theirs.clip.cond_stage_model.clip_l.transformer,
        }
        return {
            prefix + key.replace(".wrapped.", "."): tensor
            for prefix, module in parts.items()
            for key, tensor in module.state_dict().items()
        }


def some_inputs(model: BorrowedModel) -> tuple[torch.Tensor, ...]:
    """Noise (1, 4, 16, 16), context (1, 77, width), timestep, picture (1, 3, 64, 64), latent, tokens."""
    draw = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 4, 16, 16, generator=draw).to(model.device, model.dtype)
    context = torch.randn(1, 77, model.unet.config.cross_attention_dim, generator=draw).to(noise)
    when = torch.tensor([500], device=model.device)
    picture = noise[:, :3].repeat_interleave(4, 2).repeat_interleave(4, 3).clamp(-1, 1).to(model.vae.dtype)
    ids = torch.tensor([[49406, 320, 1125, *[49407] * 74]], device=model.device)
    return noise, context, when, picture, noise.to(model.vae.dtype), ids


def a_change_of_checkpoint_waits(world: Any) -> None:
    """The page's dropdown, and the API, change it after we are done; our own switch is refused meanwhile."""
    host = world.host
    first, second = host.loaded(), next(title for title in host.checkpoints() if title != host.loaded())
    names = [title.split(" [")[0] for title in (first, second)]  # a title gets its hash at the first load
    body = {"sd_model_checkpoint": second}
    changing = threading.Thread(target=lambda: world.call("/sdapi/v1/options", body), daemon=True)
    with host.borrow() as model:
        before = [parameter.data_ptr() for parameter in model.unet.parameters()]
        value = model.unet.conv_in.weight.clone()
        changing.start()
        changing.join(3)
        assert changing.is_alive()
        assert host.loaded().startswith(names[0])
        told = ""
        try:
            host.switch(second)
        except CheckpointError as error:
            told = str(error)
        assert "A run holds" in told
        assert torch.equal(model.unet.conv_in.weight, value)
        assert before == [parameter.data_ptr() for parameter in model.unet.parameters()]
    changing.join(120)
    assert host.loaded().startswith(names[1])
    host.switch(first)
    assert host.loaded().startswith(names[0])
    assert host.info().name == Path(names[0]).stem


def a_change_of_checkpoint_comes_afterwards(world: Any) -> None:
    """Forge only notes the choice: what is lent stays, the next picture and the next borrower get the other."""
    host = world.host
    first, second = host.loaded(), next(title for title in host.checkpoints() if title != host.loaded())
    names = [Path(title.split(" [")[0]).stem for title in (first, second)]  # a title gets its hash at the first load
    before, made = world.draw(), []
    drawing = threading.Thread(target=lambda: made.append(world.draw()), daemon=True)
    with host.borrow() as model:
        assert model.info.name == names[0]
        places = [parameter.data_ptr() for parameter in model.unet.parameters()]
        weights = sum_of(model.unet.parameters())
        told = ""
        try:
            host.switch(second)
        except CheckpointError as error:
            told = str(error)
        assert "A run holds" in told
        world.call("/sdapi/v1/options", {"sd_model_checkpoint": second})
        assert host.loaded().startswith(names[1])
        drawing.start()
        drawing.join(3)
        assert drawing.is_alive()
        assert sum_of(model.unet.parameters()) == weights
        assert places == [parameter.data_ptr() for parameter in model.unet.parameters()]
    drawing.join(240)
    assert len(made) == 1
    assert made != [before]
    with host.borrow() as model:
        assert model.info.name == host.info().name == names[1]
    host.switch(names[0])
    with host.borrow() as model:
        assert model.info.name == host.info().name == names[0]
        assert sum_of(model.unet.parameters()) == weights
    assert world.draw() == before


BAKED_STRENGTH = 0.7


def a_baked_file_draws_what_its_strength_drew(world: Any) -> None:
    """The host's own picture of the kept file at 1, to 1/255 of the picture of the other at its strength."""
    from lora_forge.lora_file.algebra import dtype_of
    from lora_forge.lora_file.baking import bake
    from lora_forge.lora_file.writer import load_lora

    tag, folder = world.lora_tag(), world.host.lora_dir()
    lora = load_lora(folder / f"{LORA_NAME}.safetensors")
    name = f"baked-{os.getpid()}-{time.monotonic_ns()}"
    path = folder / f"{name}.safetensors"
    save_lora(path, bake(lora.weights, BAKED_STRENGTH), lora.metadata, dtype_of(lora.weights))
    asked = PictureRequest("a photo of a red house", "", 64, 64, steps=4, guidance=5.0, seed=21)
    prompts = ("", tag.replace(":1>", f":{BAKED_STRENGTH}>"), f"<lora:{name}:1>")
    wishes = [dataclasses.replace(asked, prompt=f"{asked.prompt} {words}") for words in prompts]
    try:
        plain, wanted, baked = (np.asarray(one, float) for one in world.host.draw(wishes, [folder]))
    finally:
        path.unlink()
    off, effect = float(np.abs(baked - wanted).max()), float(np.abs(wanted - plain).mean())
    print(f"baked: {off:.0f} of 255 at most; the LoRA changes {effect:.1f} on the average")
    assert effect > 5
    assert off <= 1


def draw_project(root: Path) -> PreparedSet:
    """Two photos of noise at 64 px."""
    project = Project.create(root)
    folder = root / "images" / "subject"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(2):
        values = np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(values).save(folder / f"photo{number}.png")
        (folder / f"photo{number}.txt").write_text(f"ohwx, tag{number}, hair", encoding="utf-8")
    return prepare(Project.load(project.root), PrepareSettings(64, True, 16, 32, 128), lambda _: None)


def write_lora(model: BorrowedModel, path: Path) -> None:
    """A LoRA of random values, large enough to change pictures."""
    config = TrainConfig(name="x", rank=2, alpha=2.0, te_learning_rate=1e-4)
    draw = torch.Generator().manual_seed(1)
    with Network.attach(model, config) as network:
        found = network.weights()
    save_lora(path, {
        name: LoraModule(module.down, torch.randn(module.up.shape, generator=draw) * 0.1, module.alpha)
        for name, module in found.items()
    }, {})  # fmt: skip


def world_of(host: WebUIHost) -> Any:
    """The world of the program we are in."""
    from lora_forge.host.a1111 import A1111Host

    return A1111World(host) if isinstance(host, A1111Host) else ForgeWorld(host)
