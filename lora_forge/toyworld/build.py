"""Rebuild the judge and the checkpoint from nothing: ``python -m lora_forge.toyworld.build --out DIR``.

Stages, each skipped when its file is already in DIR, so a stopped build goes on where it was:
judge.safetensors, vae.pt, text.pt, unet.pt (saved every two minutes), toyworld.safetensors, then the scores.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch

from lora_forge.toyworld.build_judge import train_judge
from lora_forge.toyworld.build_text import train_text
from lora_forge.toyworld.build_unet import UnetPlan, UnetStage, cache_latents, train_unet
from lora_forge.toyworld.build_vae import train_vae, unfold_outer_level
from lora_forge.toyworld.data import base_looks, draw_all, mixed_looks
from lora_forge.toyworld.layout import save_checkpoint
from lora_forge.toyworld.nets import build_vae, load_tokenizer
from lora_forge.toyworld.score import score_checkpoint, score_pair

VAE_SEED, UNET_SEED = 11, 41


def vae_stage(path: Path) -> Any:
    """The VAE, trained if ``path`` does not hold it: 6000 base pictures and 4000 with the subject's marks mixed in.

    A VAE that never saw a star could not paint one; pink hair with green eyes is not among the pictures.
    """
    vae = build_vae()
    if not path.exists():
        looks = base_looks(VAE_SEED, 6000) + mixed_looks(VAE_SEED + 1, 4000, allow_pair=False)
        pictures = draw_all(looks)
        order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))
        train_vae(pictures[order], path)
    vae.load_state_dict(torch.load(path, weights_only=True))
    return vae.eval()


def text_stage(path: Path) -> dict[str, Any]:
    """The pretrained text encoder's state dict."""
    if not path.exists():
        train_text(path)
    weights: dict[str, Any] = torch.load(path, weights_only=True)
    return weights


def unet_stage(path: Path, vae: Any, text_weights: dict[str, Any], plan: UnetPlan, pictures: int) -> UnetStage:
    """Train (or go on with) the UNet on ``pictures`` captioned drawings of the base world."""
    stage = UnetStage(text_weights, plan, path)
    if stage.step < plan.steps:
        looks = base_looks(UNET_SEED, pictures)
        latents = cache_latents(unfold_outer_level(vae), draw_all(looks))
        train_unet(latents, looks, stage)
    return stage


def build(out_dir: Path, plan: UnetPlan, pictures: int = 20_000) -> None:
    """All stages; prints what each took and, last, how well the checkpoint obeys."""
    out_dir.mkdir(parents=True, exist_ok=True)
    started = time.process_time()

    def say(what: str) -> None:
        print(f"{what} after {time.process_time() - started:.0f} CPU seconds", flush=True)

    if not (out_dir / "judge.safetensors").exists():
        train_judge(out_dir / "judge.safetensors")
        say("judge")
    vae = vae_stage(out_dir / "vae.pt")
    say("vae")
    text_weights = text_stage(out_dir / "text.pt")
    say("text")
    stage = unet_stage(out_dir / "unet.pt", vae, text_weights, plan, pictures)
    say("unet")
    unet, text = stage.averaged_models()
    save_checkpoint(out_dir / "toyworld.safetensors", unet.state_dict(), text.state_dict(), vae.state_dict())
    tokenizer = load_tokenizer()
    print("obeys, 8 steps, guidance 4:", score_checkpoint(unet, text, vae, tokenizer))
    print("pair never seen:", score_pair(unet, text, vae, tokenizer))
    say("scores")


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the stages and the finished files")
    parser.add_argument("--steps", type=int, default=UnetPlan().steps, help="UNet steps (default %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default 1: best on a busy machine)")
    choices = parser.parse_args()
    torch.set_num_threads(choices.threads)
    build(choices.out, UnetPlan(steps=choices.steps))


if __name__ == "__main__":
    main()
