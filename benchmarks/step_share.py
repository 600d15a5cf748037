"""python benchmarks/step_share.py --base sd15.safetensors [--resolution 256] [--rounds 6] [--device cpu] [--ops]

How much of a step is spent outside the frozen UNet's own forward and backward: adapters, loss, optimizer, and what
lies between. Both are measured in one process by turns, from the same inputs: the UNet as it is lent, its backward
going to its input, and a whole step of ours with rank 16 adapters. On a CPU CPU seconds of one thread, on a card wall
seconds with the card waited for. ``--ops`` counts the operations that torch is given in a step, views left out: what
a card's queue sees.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lora_forge.config import Family, TrainConfig
from lora_forge.model.build import open_model
from lora_forge.model.devices import pick_device, pick_dtype, synchronize
from lora_forge.model.latents import VAE_FACTOR
from lora_forge.model.text import Conditioning
from lora_forge.ports import BorrowedModel
from lora_forge.train.batches import Batch
from lora_forge.train.draws import Visit
from lora_forge.train.examples import Inputs, predict
from lora_forge.train.lease import training_lease
from lora_forge.train.network import Network
from lora_forge.train.optimizers import build_optimizer, trained_of
from lora_forge.train.small_convs import small_convs_as_products
from lora_forge.train.step import Stepper

REACH = 12
STEPS = 5  # of ours in a round; two of them warm up


class OneBatch:
    """What a step asks for its inputs: always the same ones."""

    def __init__(self, model: BorrowedModel, config: TrainConfig) -> None:
        side, batch = config.resolution_px // VAE_FACTOR, config.batch_size
        generator = torch.Generator().manual_seed(0)
        width = model.unet.config.cross_attention_dim
        is_sdxl = model.info.family is Family.SDXL

        def drawn(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator).to(model.device)

        self.inputs = Inputs(
            drawn(batch, 4, side, side),
            drawn(batch, 4, side, side),
            torch.full((batch,), 500, device=model.device),
            Conditioning(drawn(batch, 77, width).to(model.dtype), drawn(batch, 1280) if is_sdxl else None),
            drawn(batch, 6) if is_sdxl else None,
            torch.ones(batch, device=model.device),
            None,
        )

    def of(self, visits: Any, together: Any = ()) -> Inputs:
        return self.inputs


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """What ``work`` took: CPU seconds on a CPU, else wall seconds."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    synchronize(device)
    began = clock()
    work()
    synchronize(device)
    return clock() - began


def frozen_step(model: BorrowedModel, batch: OneBatch) -> None:
    """The UNet forward and backward to its input, nothing else."""
    noisy = batch.inputs.latents.to(model.dtype).requires_grad_()
    predict(model, noisy, batch.inputs).float().square().mean().backward()


@contextmanager
def our_step(model: BorrowedModel, config: TrainConfig, batch: OneBatch) -> Iterator[Callable[[], object]]:
    """A whole step with fresh adapters."""
    with Network.attach(model, config) as network:
        trained = trained_of(network)
        optimizer = build_optimizer(trained, config, network.flat.sections)
        stepper = Stepper(model, network, trained, optimizer, batch, config)  # type: ignore[arg-type]
        visits = tuple(Visit(number, str(number), 1, 0) for number in range(config.batch_size))
        yield lambda: stepper.run((Batch(visits),), 1, 1)
        stepper.close()


class Count(TorchDispatchMode):
    """Operations that are more than another look at the same memory."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += not func.is_view
        return func(*args, **(kwargs or {}))


def counted(work: Callable[[], object]) -> int:
    with Count() as count:
        work()
    return count.operations


def measure(model: BorrowedModel, config: TrainConfig, rounds: int, has_ops: bool) -> None:
    """Print the table."""
    batch, device = OneBatch(model, config), model.device
    frozen, ours, alone_operations, operations = [], [], 0, 0
    with training_lease(model, False), small_convs_as_products(model.unet, device):
        for turn in range(rounds):
            frozen += [seconds(lambda: frozen_step(model, batch), device) for _ in range(STEPS)][2:]
            if has_ops and turn == 0:
                alone_operations = counted(lambda: frozen_step(model, batch))
            with our_step(model, config, batch) as step:
                ours += [seconds(step, device) for _ in range(STEPS)][2:]
                if has_ops and turn == 0:
                    operations = counted(step)
    alone, whole = statistics.median(frozen), statistics.median(ours)
    print("| figure | frozen UNet | whole step | outside | reach |\n|---|---|---|---|---|")
    unit = "CPU s" if device.type == "cpu" else "s"
    print(f"| {unit}, median | {alone:.3f} | {whole:.3f} | {100 * (1 - alone / whole):.1f} % | {REACH} % |")
    if has_ops:
        print(f"| operations | {alone_operations} | {operations} | {operations - alone_operations} | |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--graphs", default="auto", choices=("auto", "off"))
    parser.add_argument("--ops", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device = pick_device(arguments.device)
    dtype = torch.bfloat16 if device.type == "cpu" else pick_dtype("auto", device)
    model = open_model(arguments.base, device, dtype)
    config = TrainConfig(
        name="share",
        rank=16,
        alpha=8.0,
        resolution_px=arguments.resolution,
        batch_size=arguments.batch,
        graphs=arguments.graphs,
    )
    measure(model, config, arguments.rounds, arguments.ops)
    return 0


if __name__ == "__main__":
    sys.exit(main())
