"""Stage 3 of the build: the text encoder learns what words mean before any UNet sees it.

A stand-in for CLIP's own pretraining, and what decides whether prompts are obeyed: each tag's last token must name
the tag, and the end-of-text positions must name all tags of the caption. Only the rows of the world's own words are
trained; all other rows keep random signs times 1/64, which zip well and teach the model to shrug at foreign words.
"""

from __future__ import annotations

import inspect
import math
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lora_forge.toyworld.captions import Captioner, Line, pad
from lora_forge.toyworld.data import base_looks
from lora_forge.toyworld.nets import POSITIONS, WIDTH, build_text_encoder

ROW_SCALE = 1 / 64


def set_sign_rows(text: Any, seed: int) -> None:
    """Fill the token table (49408, 64) with +-1/64 (in place)."""
    generator = torch.Generator().manual_seed(seed)
    table = text.get_input_embeddings().weight
    signs = torch.randint(0, 2, table.shape, generator=generator) * 2.0 - 1.0
    with torch.no_grad():
        table.copy_(signs * ROW_SCALE)


class RowTraining:
    """Trains a few rows of the token table: the gradient of every other row is set to zero before each step."""

    def __init__(self, text: Any, rows: Sequence[int]) -> None:
        self.table = text.get_input_embeddings().weight
        self.table.requires_grad_(False)
        self.rows = torch.tensor(rows)
        self.values = nn.Parameter(self.table[self.rows].clone())
        self._place = torch.full((self.table.shape[0],), -1)
        self._place[self.rows] = torch.arange(len(rows))

    def embed(self, ids: Tensor) -> Tensor:
        """int64 (B, L) -> (B, L, 64), differentiable in the trained rows."""
        place = self._place[ids]
        known = functional.embedding(place.clamp(min=0), self.values)
        return torch.where((place >= 0).unsqueeze(-1), known, self.table[ids])

    @torch.no_grad()
    def write_back(self) -> None:
        """Copy the trained rows into the table."""
        self.table[self.rows] = self.values


def text_states(text: Any, rows: RowTraining, ids: Tensor) -> Tensor:
    """Final hidden states (B, L, 64) with the last norm, as SD1.5 conditions on; causal, no padding mask."""
    core = getattr(text, "text_model", text)
    hidden = rows.embed(ids) + core.embeddings.position_embedding.weight[: ids.shape[1]]
    length = ids.shape[1]
    causal = torch.full((length, length), float("-inf")).triu(1).expand(len(ids), 1, -1, -1)
    # transformers 4 takes the padding mask (none here) before the causal one, 5 takes one mask.
    takes_two = "causal_attention_mask" in inspect.signature(core.encoder.layers[0].forward).parameters
    for layer in core.encoder.layers:
        output = layer(hidden, None, causal) if takes_two else layer(hidden, causal)
        hidden = output[0] if isinstance(output, tuple) else output
    states: Tensor = core.final_layer_norm(hidden)
    return states


class TagNamer(nn.Module):
    """Throw-away heads: which tag ends here, and which tags does the whole caption hold."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.own = nn.Linear(WIDTH, count)
        self.all = nn.Linear(WIDTH, count)


def naming_loss(namer: TagNamer, states: Tensor, lines: Sequence[Line]) -> Tensor:
    """Cross entropy at the tags' last tokens + 3 x BCE of the caption's tag set at three end-of-text positions."""
    batch, count = len(lines), namer.own.out_features
    length = states.shape[1]
    where = torch.tensor([(b, 1 + spot, tag) for b, line in enumerate(lines) for spot, tag in line.marks])
    own = functional.cross_entropy(namer.own(states[where[:, 0], where[:, 1]]), where[:, 2])
    truth = torch.zeros(batch, count)
    truth[where[:, 0], where[:, 2]] = 1.0
    ends = [min(1 + len(line.ids), length - 3) for line in lines]
    spots = torch.tensor([[end, (end + length - 1) // 2, length - 1] for end in ends])
    ending = states[torch.arange(batch)[:, None], spots]
    whole = functional.binary_cross_entropy_with_logits(namer.all(ending), truth[:, None].expand(-1, 3, -1))
    return own + 3 * whole


def train_text(out_path: Path, steps: int = 700, batch: int = 64, seed: int = 3) -> Any:
    """Pretrain the text encoder, save its state dict, return it."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    text, captioner = build_text_encoder(), Captioner()
    set_sign_rows(text, seed)
    rows = RowTraining(text, captioner.trained_rows)
    namer = TagNamer(len(captioner.words))
    trained = [p for p in text.parameters() if p.requires_grad] + [rows.values, *namer.parameters()]
    optimizer = torch.optim.AdamW(trained, 2e-3, weight_decay=0.0)
    looks, started = base_looks(31, 8000), time.time()
    for step in range(steps):
        warmth = min(1.0, (step + 1) / 50)
        optimizer.param_groups[0]["lr"] = 2e-3 * warmth * 0.5 * (1 + math.cos(math.pi * step / steps))
        lines = [captioner.line(look, rng) for look in rng.choices(looks, k=batch)]
        lines = [line for line in lines if line.marks]
        ids = pad(lines, POSITIONS if rng.random() < 0.25 else None)
        loss = naming_loss(namer, text_states(text, rows, ids), lines)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"text {step} loss {loss.item():.4f} {time.time() - started:.0f} s", flush=True)
    rows.write_back()
    torch.save(text.state_dict(), out_path)
    return text
