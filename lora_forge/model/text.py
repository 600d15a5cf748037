"""Captions to conditioning, laid out as the WebUIs do: whole 77-token chunks, one after another.

Captions are plain text: brackets, BREAK and ``<lora:...>`` have no meaning here (a host's escapes are not needed).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lora_forge.config import Family
from lora_forge.model.configs import BOS_ID, EOS_ID
from lora_forge.model.devices import put
from lora_forge.ports import BorrowedModel, TextTower

ROWS = 16  # chunks that a card encodes at a time: enough to be worth its launches, few enough for a small one
CHUNK = 75  # tokens between BOS and EOS
TOKENS = CHUNK + 2
COMMA_BACKTRACK = 20  # the hosts' default: a tag cut by a chunk's end moves whole if its comma is that near
_COMMA = ",</w>"


@dataclass(frozen=True)
class Conditioning:
    """What the UNet is told. ``hidden``: (B, 77n, D). ``pooled``: (B, P), SDXL only."""

    hidden: torch.Tensor
    pooled: torch.Tensor | None = None


def encode(model: BorrowedModel, captions: Sequence[str], clip_skip: int = 1, least_chunks: int = 1) -> Conditioning:
    """Encode captions with the model's text encoders, in their dtype and on their device.

    Captions of one call are filled up with empty chunks to the longest and to ``least_chunks`` (a host that encodes by
    itself knows only the first), as the hosts do within a batch; encode alone what must not depend on its neighbours.
    Differentiable when gradients are enabled. ``clip_skip`` counts layers
    from the end, 1 is the last; SDXL always takes the last but one of both towers, as its hosts do.
    """
    if model.host_encode is not None:
        return Conditioning(*model.host_encode(captions, clip_skip))
    ids = [chunk_ids(tower, captions, least_chunks) for tower in model.text_towers]
    rows = _encode_ids(model, [each.flatten(0, 1) for each in ids], clip_skip)
    hidden = rows.hidden.reshape(len(captions), -1, rows.hidden.shape[-1])
    return Conditioning(hidden, None if rows.pooled is None else rows.pooled[:: ids[0].shape[1]])


def caption_ids(model: BorrowedModel, caption: str) -> tuple[torch.Tensor, ...]:
    """A caption's token ids for each text encoder: (n, 77) int64, on the CPU."""
    return tuple(chunk_ids(tower, [caption])[0] for tower in model.text_towers)


def encode_rows(model: BorrowedModel, captions: Sequence[tuple[torch.Tensor, ...]], clip_skip: int) -> Conditioning:
    """Chunks of several captions, given as :func:`caption_ids`, one after another.

    hidden (R, 77, D), pooled (R, P) or None, R the captions' chunks in all. The text encoders are always given ``ROWS``
    chunks at a time, filled up with empty ones: libraries choose their way to compute by the shape of a batch, so
    with one shape no caption's embedding depends on how many others came with it.
    """
    towers = [torch.cat(each) for each in zip(*captions, strict=True)]
    count = len(towers[0])
    filled = [_filled(ids, tower.pad_token_id) for ids, tower in zip(towers, model.text_towers, strict=True)]
    in_blocks = zip(*(ids.split(ROWS) for ids in filled), strict=True)
    blocks = [_encode_ids(model, block, clip_skip) for block in in_blocks]
    hidden = torch.cat([block.hidden for block in blocks]) if len(blocks) > 1 else blocks[0].hidden
    pooled = [block.pooled for block in blocks if block.pooled is not None]
    return Conditioning(hidden[:count], torch.cat(pooled)[:count] if pooled else None)


def _filled(ids: torch.Tensor, pad: int) -> torch.Tensor:
    """Ids (R, 77) and empty chunks up to a whole number of blocks."""
    empty = torch.tensor([_close([], pad)], dtype=torch.int64)
    return torch.cat([ids, empty.expand(-len(ids) % ROWS, -1)])


def _encode_ids(model: BorrowedModel, ids: Sequence[torch.Tensor], clip_skip: int) -> Conditioning:
    """hidden (R, 77, D) and pooled (R, P) of ids (R, 77), one tensor for each text encoder."""
    is_sdxl = model.info.family is Family.SDXL
    hidden: list[torch.Tensor] = []
    pooled: torch.Tensor | None = None
    for tower, rows in zip(model.text_towers, ids, strict=True):
        states, projected = _run(tower.module, put(rows, model.device), clip_skip, is_sdxl)
        hidden.append(states)
        pooled = projected if is_sdxl and projected is not None else pooled
    return Conditioning(torch.cat(hidden, dim=-1) if len(hidden) > 1 else hidden[0], pooled)


def _run(module: Any, ids: torch.Tensor, clip_skip: int, is_sdxl: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Hidden states (N, 77, D) of ids (N, 77), and the projected EOS state (N, P) when the tower has a projection."""
    is_last = clip_skip == 1 and not is_sdxl
    output = module(input_ids=ids, output_hidden_states=not is_last)
    projected: torch.Tensor | None = getattr(output, "text_embeds", None)
    if is_last:
        return output.last_hidden_state, projected
    if is_sdxl:
        return output.hidden_states[-2], projected
    return getattr(module, "text_model", module).final_layer_norm(output.hidden_states[-clip_skip]), projected


def count_chunks(model: BorrowedModel, caption: str) -> int:
    """How many chunks ``caption`` fills, at least one; 1 where only the host could tell."""
    return len(token_chunks(model.text_towers[0], caption)) if model.text_towers else 1


def chunk_ids(tower: TextTower, captions: Sequence[str], least_chunks: int = 1) -> torch.Tensor:
    """Token ids (B, n, 77) int64; n is the longest caption's number of chunks, or ``least_chunks`` if that is more."""
    chunked = [token_chunks(tower, caption) for caption in captions]
    count = max(least_chunks, *(len(chunks) for chunks in chunked))
    empty = _close([], tower.pad_token_id)
    return torch.tensor([chunks + [empty] * (count - len(chunks)) for chunks in chunked], dtype=torch.int64)


def token_chunks(tower: TextTower, caption: str) -> list[list[int]]:
    """A caption's ids in chunks of 77: BOS, up to 75 tokens, EOS, padding; an empty caption is one empty chunk."""
    tokens = tower.tokenizer(caption, add_special_tokens=False, verbose=False).input_ids
    comma = tower.tokenizer.convert_tokens_to_ids(_COMMA)
    return [_close(chunk, tower.pad_token_id) for chunk in split_tokens(tokens, comma)]


def split_tokens(tokens: Sequence[int], comma: int) -> list[list[int]]:
    """Cut ids into chunks of at most 75, behind the last comma if that lies in the chunk's last 20 places.

    The rule of A1111's and Forge's prompt parser; a comma that itself overflows starts the next chunk.
    """
    chunks: list[list[int]] = []
    current: list[int] = []
    last_comma = -1
    for token in tokens:
        if token == comma:
            last_comma = len(current)
        elif len(current) == CHUNK and last_comma != -1 and CHUNK - last_comma <= COMMA_BACKTRACK:
            chunks.append(current[: last_comma + 1])
            current, last_comma = current[last_comma + 1 :], -1
        if len(current) == CHUNK:
            chunks.append(current)
            current, last_comma = [], -1
        current.append(token)
    return [*chunks, current] if current or not chunks else chunks


def _close(tokens: Sequence[int], pad: int) -> list[int]:
    return [BOS_ID, *tokens, EOS_ID, *[pad] * (CHUNK - len(tokens))]
