"""python benchmarks/extra_copy.py --base sd15.safetensors [--device cuda] [--precision bf16]

The bytes of base weights that a run holds twice. The checkpoint's tensors lie on the device, as a WebUI's do; networks
are built around them, wear adapters of rank 16 and take a training lease. Then every parameter of UNet, VAE and text
encoders on the device is looked at: what is neither an adapter's nor in the checkpoint's own memory counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import torch

from lora_forge.config import TrainConfig
from lora_forge.model.build import build_model
from lora_forge.model.devices import pick_dtype
from lora_forge.model.read import read_checkpoint
from lora_forge.ports import BorrowedModel
from lora_forge.train.lease import training_lease
from lora_forge.train.network import Network


def places(tensors: Iterable[torch.Tensor]) -> dict[int, int]:
    """Where the memory of these tensors begins -> its bytes, each memory once."""
    return {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}


def base_weights(model: BorrowedModel) -> list[torch.Tensor]:
    """Every parameter on the model's device that is no adapter's."""
    modules = [model.unet, model.vae, *(tower.module for tower in model.text_towers)]
    named = [pair for module in modules for pair in module.named_parameters()]
    return [tensor for name, tensor in named if ".lora_" not in name and tensor.device == model.device]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="bf16")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    checkpoint = read_checkpoint(arguments.base, pick_dtype(arguments.precision, device))
    checkpoint.tensors = {key: tensor.to(device) for key, tensor in checkpoint.tensors.items()}
    lent = places(checkpoint.tensors.values())
    model = build_model(checkpoint, device)
    config = TrainConfig(rank=16, alpha=8, device=arguments.device, precision=arguments.precision)
    with training_lease(model, config.gradient_checkpointing), Network.attach(model, config):
        extra = {place: size for place, size in places(base_weights(model)).items() if place not in lent}
    print(f"| base weights | {sum(lent.values()) / 2**30:.2f} GiB |\n|---|---|")
    print(f"| beside them, in networks | {sum(extra.values())} bytes |")


if __name__ == "__main__":
    main()
