"""python benchmarks/memory.py [--check] [--only sd1,sdxl]

The most memory that one step of training takes at real sizes, counted without a card: every tensor that the step makes
is made without values (torch's meta device), and the bytes that live at once are added up. The step is the trainer's
own: UNet, adapters, loss, gradient checkpointing, eight-bit weights, the flat buffer of adapters, AdamW's state.

Counted: the UNet's weights; the text encoders and the VAE where they stay; adapters, their gradients, their copies in
half precision and AdamW's two means; all activations and whatever an operation makes and gives back; the same for the
VAE while it encodes a photograph and while it decodes a preview. Attention is counted in its fused form, which keeps no
table of everything with everything; it is what torch takes on every card since 2.0.

Not counted: the driver's own context (300 to 500 MiB on NVIDIA), workspaces of cuDNN and cuBLAS (some 10 to 100 MiB),
what torch's allocator loses to rounding and fragments, and the desktop. ``--check`` runs small networks for real on
the CPU and prints what the same count gives for them without values, and what torch's own profiler saw.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

sys.path.insert(0, str(Path(__file__).parent))
from full_size import BIG_G, CLIP_L, SD1_UNET, SDXL_UNET, VAE

from lora_forge.config import Family, TrainConfig
from lora_forge.model.recast import store_in_fp8
from lora_forge.model.schedule import alphas_cumprod
from lora_forge.model.text import Conditioning
from lora_forge.ports import BaseInfo, BorrowedModel
from lora_forge.train import objective
from lora_forge.train.examples import Inputs, predict
from lora_forge.train.lease import training_lease
from lora_forge.train.network import Network
from lora_forge.train.objective import Objective
from lora_forge.train.optimizers import build_optimizer, trained_of

GIB = 2**30
HEAD = (
    *("run", "UNet", "text", "VAE", "adapters, AdamW", "step", "training", "with text encoders"),
    *("encoding a photo", "decoding a preview", "reach"),
)


@dataclass(frozen=True)
class Case:
    """One row. ``reach``: GiB by the issue, None where it names none."""

    family: Family
    px: int
    dtype: torch.dtype = torch.float16
    batch: int = 1
    is_checkpointed: bool = False
    storage: str = "as_lent"
    rank: int = 16
    reach: float | None = None

    @property
    def name(self) -> str:
        kind = {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float32: "fp32"}[self.dtype]
        stored = "fp8 weights" if self.storage == "fp8" else kind
        more = ", checkpointing" if self.is_checkpointed else ""
        return f"{self.family.value.upper()} {self.px} px, batch {self.batch}, {stored}{more}"


@dataclass(frozen=True)
class Count:
    """Bytes. ``step``: the peak beside the weights that lie there. ``encode``, ``decode``: the VAE's at work."""

    unet: int
    text: int
    vae: int
    trained: int
    step: int
    encode: int
    decode: int


class Live(TorchDispatchMode):
    """Adds up the bytes of every storage made inside, until it is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.peak = 0, 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(one, Tensor) and one.layout is torch.strided:
                self._look(one.untyped_storage())
        return made

    def _look(self, storage: Any) -> None:
        key = storage._cdata
        if key in self._known:
            return
        self._known.add(key)
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size

    def knows(self, tensors: Iterator[Tensor]) -> None:
        """These are there already and are not to be counted when they are seen."""
        self._known |= {tensor.untyped_storage()._cdata for tensor in tensors}


@contextlib.contextmanager
def fused_attention() -> Iterator[None]:
    """Attention as a card computes it, where torch would write out the table for want of a device."""
    before = functional.scaled_dot_product_attention

    def fused(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
        answer: Tensor = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value)[0]
        return answer

    functional.scaled_dot_product_attention = fused
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = before


def main() -> int:
    parser = argparse.ArgumentParser(description="Counted memory of a training step.")
    parser.add_argument("--check", action="store_true", help="small networks, counted and run for real")
    parser.add_argument("--only", default="sd1,sdxl", help="families")
    args = parser.parse_args()
    if args.check:
        return check()
    print(f"| {' | '.join(HEAD)} |")
    print("|---" * len(HEAD) + "|")
    for case in cases():
        if case.family.value in args.only.split(","):
            print(row(case, count(case)), flush=True)
    print("\nGiB. Not counted: the driver's context, cuDNN's and cuBLAS' workspaces, fragments.")
    return 0


def cases() -> tuple[Case, ...]:
    """The rows of the issue, and what each switch does to them."""
    sd1, sdxl = Family.SD1, Family.SDXL
    return (
        Case(sd1, 512, reach=3.2),
        Case(sd1, 512, is_checkpointed=True),
        Case(sd1, 512, batch=4),
        Case(sdxl, 1024, is_checkpointed=True, reach=7.5),
        Case(sdxl, 1024),
        Case(sdxl, 1024, storage="fp8", is_checkpointed=True, reach=5.0),
        Case(sdxl, 1024, storage="fp8"),
    )


def row(case: Case, found: Count) -> str:
    """One line of the table.

    ``training``: as `model/residence.py` has it, with captions encoded before: text encoders and VAE are away. While
    photographs are encoded SDXL's other networks are away; while a preview is decoded those are that have no room.
    """
    training = found.unet + found.trained + found.step
    lying = 0 if case.family is Family.SDXL else found.text + found.unet
    encoding, decoding = lying + found.vae + found.encode, found.trained + found.vae + found.decode
    parts = (found.unet, found.text, found.vae, found.trained, found.step, training, training + found.text)
    figures = " | ".join(f"{part / GIB:.2f}" for part in (*parts, encoding, decoding))
    return f"| {case.name} | {figures} | {'' if case.reach is None else f'{case.reach:.1f}'} |"


def count(case: Case) -> Count:
    """What ``case`` takes, without a value being computed."""
    with torch.device("meta"), fused_attention():
        model, text = built(case, torch.device("meta"))
        vae, vae_dtype = model.vae, model.vae.dtype
        trained, step = counted_step(model, case)
        return Count(
            unet=size_of(model.unet),
            text=text,
            vae=size_of(vae),
            trained=trained,
            step=step,
            encode=peak_of(vae, lambda: vae.encode(torch.zeros((1, 3, case.px, case.px), dtype=vae_dtype))),
            decode=peak_of(vae, lambda: vae.decode(torch.zeros((1, 4, case.px // 8, case.px // 8), dtype=vae_dtype))),
        )


def built(case: Case, device: torch.device) -> tuple[BorrowedModel, int]:
    """The networks of ``case``, and the text encoders' bytes."""
    is_xl = case.family is Family.SDXL
    unet = UNet2DConditionModel(**(SDXL_UNET if is_xl else SD1_UNET)).requires_grad_(False).eval().to(case.dtype)
    if case.storage == "fp8":
        store_in_fp8(unet, device)
    towers = [CLIPTextModel(CLIPTextConfig(**CLIP_L))]
    if is_xl:
        towers.append(CLIPTextModelWithProjection(CLIPTextConfig(**BIG_G)))
    text = sum(size_of(tower.to(case.dtype)) for tower in towers)
    vae = AutoencoderKL(**VAE).requires_grad_(False).eval().to(torch.float32 if is_xl else case.dtype)
    info = BaseInfo("full size", case.family, "epsilon", "made so")
    return BorrowedModel(info, unet, vae, (), alphas_cumprod().to(device), 0.18215, device, case.dtype), text


def size_of(module: nn.Module) -> int:
    """Bytes of its parameters and buffers."""
    return sum(tensor.numel() * tensor.element_size() for tensor in (*module.parameters(), *module.buffers()))


def peak_of(module: nn.Module, work: Callable[[], object]) -> int:
    """Bytes at the peak of ``work``, beside the weights."""
    live = Live()
    live.knows(iter([*module.parameters(), *module.buffers()]))
    with torch.no_grad(), live:
        work()
    return live.peak


def counted_step(model: BorrowedModel, case: Case) -> tuple[int, int]:
    """Bytes of what is trained, as it lies between two steps; and of a step's peak beside it and the weights."""
    config = TrainConfig(
        name="count", rank=case.rank, alpha=case.rank / 2, batch_size=case.batch, resolution_px=case.px
    )
    live = Live()
    live.knows(iter([*model.unet.parameters(), *model.unet.buffers()]))
    with training_lease(model, case.is_checkpointed), live, Network.attach(model, config) as network:
        optimizer = build_optimizer(trained_of(network), config, network.flat.sections)
        taken = step_of(model, network, optimizer, config, case)
        taken()  # the optimizer's state and the working copies are made by the first one
        lying = live.now
        live.peak = live.now
        taken()
        return lying, live.peak - lying


def step_of(
    model: BorrowedModel, network: Network, optimizer: torch.optim.Optimizer, config: TrainConfig, case: Case
) -> Callable[[], None]:
    """One step as :class:`lora_forge.train.step.Stepper` takes it, but for what needs values to look at."""
    aim, acp, scale = Objective.of(config, "epsilon"), model.alphas_cumprod, torch.ones(())

    def taken() -> None:
        inputs = inputs_of(case)
        noisy = objective.add_noise(inputs.latents, inputs.noise, inputs.timesteps, acp)
        wanted = objective.target("epsilon", inputs.latents, inputs.noise, inputs.timesteps, acp)
        with network.flat.working(model.dtype):
            losses = aim.losses(predict(model, noisy, inputs), wanted, inputs.timesteps, acp, inputs.weights, None)
            (losses.objective.sum() * scale).backward()
        network.flat.gradient.mul_(torch.linalg.vector_norm(network.flat.gradient))
        optimizer.step()
        network.flat.gradient.zero_()

    return taken


def inputs_of(case: Case) -> Inputs:
    """A batch without values."""
    side, is_xl = case.px // 8, case.family is Family.SDXL
    hidden = torch.zeros((case.batch, 77, 2048 if is_xl else 768))
    return Inputs(
        latents=torch.zeros((case.batch, 4, side, side)),
        noise=torch.zeros((case.batch, 4, side, side)),
        timesteps=torch.zeros((case.batch,), dtype=torch.int64),
        text=Conditioning(hidden, torch.zeros((case.batch, 1280)) if is_xl else None),
        time_ids=torch.zeros((case.batch, 6)) if is_xl else None,
        weights=torch.ones((case.batch,)),
        masks=None,
    )


def check() -> int:
    """A small UNet: the same count with values and without, and the profiler's own."""
    print("| small network | without values | with values | torch's profiler |")
    print("|---|---|---|---|")
    for dtype in (torch.float32, torch.bfloat16):
        for storage in ("as_lent", "fp8"):
            for is_on in (False, True):
                case = Case(Family.SD1, 128, dtype, 2, is_on, storage, rank=4)
                with torch.device("meta"), fused_attention():
                    counted = sum(counted_step(small(case, torch.device("meta")), case))
                with fused_attention():
                    real = sum(counted_step(small(case, torch.device("cpu")), case))
                    seen = profiled(case)
                print(f"| {case.name} | {counted / 2**20:.3f} | {real / 2**20:.3f} | {seen / 2**20:.3f} |")
    print("\nMiB, adapters and the step's peak together.")
    return 0


def small(case: Case, device: torch.device) -> BorrowedModel:
    """SD1.x's UNet at a tenth of its width."""
    torch.manual_seed(0)
    config = {**SD1_UNET, "block_out_channels": (32, 64, 128, 128), "attention_head_dim": 4}
    unet = UNet2DConditionModel(**config).requires_grad_(False).eval().to(case.dtype)
    if case.storage == "fp8":
        store_in_fp8(unet, device)
    info = BaseInfo("small", case.family, "epsilon", "made so")
    return BorrowedModel(info, unet, nn.Identity(), (), alphas_cumprod().to(device), 0.18215, device, case.dtype)


def profiled(case: Case) -> int:
    """Bytes at the peak of the second step, adapters included, by the allocations that torch's profiler saw."""
    model = small(case, torch.device("cpu"))
    values = {"rank": case.rank, "alpha": case.rank / 2, "batch_size": case.batch, "resolution_px": case.px}
    config = TrainConfig(name="count", **values)
    activities = [torch.profiler.ProfilerActivity.CPU]
    with (
        training_lease(model, case.is_checkpointed),
        torch.profiler.profile(activities=activities, profile_memory=True) as seen,
        Network.attach(model, config) as network,
    ):
        optimizer = build_optimizer(trained_of(network), config, network.flat.sections)
        taken = step_of(model, network, optimizer, config, case)
        taken()
        taken()
    changes = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    now, peak = 0, 0
    for event in sorted(changes, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


if __name__ == "__main__":
    sys.exit(main())
