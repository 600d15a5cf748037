"""Stage 1 of the build: the judge, on drawings of its own (seeds apart from the checkpoint's).

Every attribute is drawn independently, the subject's marks included, and pictures are blurred, shifted in brightness,
noised and reduced to the VAE's sharpness at random, so that the judge reads generated pictures as well as drawn ones.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from lora_forge.toyworld.data import draw_all, mixed_looks
from lora_forge.toyworld.judge import ATTRIBUTES, Judge, JudgeNet, labels_of
from lora_forge.toyworld.world import Look

JUDGE_SEED = 7_000_001
FRESH_SEED = 7_000_002


def label_rows(looks: Sequence[Look]) -> Tensor:
    """int64 (N, attributes): the index of the true label of every attribute."""
    rows = []
    for look in looks:
        truth = labels_of(look)
        rows.append([labels.index(truth[name]) for name, labels in ATTRIBUTES.items()])
    return torch.tensor(rows)


def augment(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Random brightness, contrast, blur and noise per picture; (B, 3, 64, 64) in [-1, 1], same out."""
    count = len(pictures)

    def draw_uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, 1, 1, 1, generator=generator) * (high - low) + low

    tint = (torch.rand(count, 3, 1, 1, generator=generator) - 0.5) * 0.12
    changed = pictures * draw_uniform(0.85, 1.1) + draw_uniform(-0.1, 0.1) + tint
    soft = functional.avg_pool2d(functional.pad(changed, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
    share = draw_uniform(-0.4, 0.8).clamp(min=0)
    changed = changed * (1 - share) + soft * share
    grain = torch.randn(count, 3, 16, 16, generator=generator)
    coarse = functional.interpolate(grain, size=64, mode="bilinear") * draw_uniform(0, 0.12)
    fine = torch.randn(pictures.shape, generator=generator) * draw_uniform(0, 0.15)
    return (changed + coarse + fine).clamp(-1, 1)


def judge_loss(scores: Tensor, truth: Tensor) -> Tensor:
    """Mean over the attributes of the cross entropy; scores (B, 32), truth (B, attributes)."""
    parts = torch.split(scores, [len(labels) for labels in ATTRIBUTES.values()], dim=1)
    losses = [functional.cross_entropy(part, truth[:, k], label_smoothing=0.02) for k, part in enumerate(parts)]
    return torch.stack(losses).mean()


def train_judge(out_path: Path, pictures: int = 12_000, steps: int = 1200, batch: int = 64) -> Judge:
    """Train, save fp16 weights at ``out_path``, return the judge."""
    torch.manual_seed(JUDGE_SEED)
    generator = torch.Generator().manual_seed(JUDGE_SEED)
    looks = mixed_looks(JUDGE_SEED, pictures, allow_pair=True)
    images, truth = draw_all(looks), label_rows(looks)
    net, started = JudgeNet(), time.time()
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-2)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 2e-3 * 0.5 * (1 + math.cos(math.pi * step / steps)) + 1e-6
        rows = torch.randint(len(images), (batch,), generator=generator)
        loss = judge_loss(net(augment(images[rows].float() / 127.5 - 1, generator)), truth[rows])
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"judge {step} loss {loss.item():.4f} {time.time() - started:.0f} s", flush=True)
    save_file({name: value.half().contiguous() for name, value in net.state_dict().items()}, str(out_path))
    return Judge(net)
