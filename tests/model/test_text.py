from __future__ import annotations

import json
import re
import socket
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lora_forge.model.sdxl import added_conditions, time_ids
from lora_forge.model.text import Conditioning, chunk_ids, encode, split_tokens, token_chunks
from lora_forge.model.tokenizer_files import TOKENIZER_DIR, load_tokenizer
from lora_forge.ports import BorrowedModel, TextTower

from .conftest import BuildToy

COMMA = 267
TOWER = TextTower(None, load_tokenizer(), 49407, "lora_te")


def bpe(text: str) -> list[int]:
    """CLIP's tokenizer as its paper's code does it, from the same vocabulary: an independent check of transformers'."""
    regex = pytest.importorskip("regex")
    vocabulary = json.loads((TOKENIZER_DIR / "vocab.json").read_text(encoding="utf-8"))
    lines = (TOKENIZER_DIR / "merges.txt").read_text(encoding="utf-8").split("\n")[1:]
    ranks = {tuple(line.split()): rank for rank, line in enumerate(lines) if line}
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in printable}
    letters |= {byte: chr(256 + count) for count, byte in enumerate(b for b in range(256) if b not in letters)}
    pattern = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", regex.IGNORECASE)
    ids = []
    for word in pattern.findall(re.sub(r"\s+", " ", text).strip().lower()):
        parts = [letters[byte] for byte in word.encode()]
        parts[-1] += "</w>"
        while pairs := [pair for pair in pairwise(parts) if pair in ranks]:
            best = min(pairs, key=ranks.__getitem__)
            merged, index = [], 0
            while index < len(parts):
                step = 2 if tuple(parts[index : index + 2]) == best else 1
                merged.append("".join(parts[index : index + step]))
                index += step
            parts = merged
        ids += [vocabulary[part] for part in parts]
    return ids


@pytest.mark.parametrize(
    "caption",
    [
        "",
        "ohwx",
        "ohwx, 1girl, Red  Hair",
        "红发 女孩, 1girl",
        "emoji 😀!",
        "it's (tag:1.2) [x] <lora:a:1> ^_^",
        "café ｆｕｌｌ",
        "a\nb\tc",
        "日本語 мир",
    ],
)
def test_ids_are_clips(caption: str) -> None:
    assert TOWER.tokenizer(caption, add_special_tokens=False, verbose=False).input_ids == bpe(caption)


def test_known_ids() -> None:
    assert TOWER.tokenizer("ohwx", add_special_tokens=False).input_ids == [47993]
    assert TOWER.tokenizer.convert_tokens_to_ids(",</w>") == COMMA
    assert token_chunks(TOWER, "") == [[49406, *[49407] * 76]]
    assert token_chunks(TextTower(None, TOWER.tokenizer, 0, "lora_te2"), "ohwx") == [[49406, 47993, 49407, *[0] * 74]]


@given(tokens=st.lists(st.sampled_from([COMMA, 5, 6, 7]), max_size=400))
def test_splitting_loses_nothing_and_overfills_nothing(tokens: list[int]) -> None:
    chunks = split_tokens(tokens, COMMA)
    assert [token for chunk in chunks for token in chunk] == tokens
    assert all(len(chunk) <= 75 for chunk in chunks)
    assert len(chunks) >= 1
    assert all(len(chunk) >= 55 for chunk in chunks[:-1])  # a chunk gives up at most its last 20 places


@pytest.mark.parametrize(
    ("tokens", "lengths"),
    [
        ([7] * 75, [75]),
        ([7] * 76, [75, 1]),
        ([7] * 70 + [COMMA] + [7] * 4, [75]),
        ([7] * 70 + [COMMA] + [7] * 5, [71, 5]),
        ([7] * 55 + [COMMA] + [7] * 20, [56, 20]),
        ([7] * 54 + [COMMA] + [7] * 21, [75, 1]),
        ([7] * 75 + [COMMA], [75, 1]),
        ([7] * 74 + [COMMA] + [7], [75, 1]),
        ([], [0]),
    ],
)
def test_commas_near_the_end_take_their_tag_along(tokens: list[int], lengths: list[int]) -> None:
    assert [len(chunk) for chunk in split_tokens(tokens, COMMA)] == lengths


def test_a_batch_is_filled_up_with_empty_chunks() -> None:
    ids = chunk_ids(TOWER, ["ohwx", ", ".join(["long"] * 60)])
    assert ids.shape == (2, 2, 77)
    assert ids.dtype is torch.int64
    assert ids[0, 1].tolist() == token_chunks(TOWER, "")[0]


@torch.no_grad()
def test_sd1_layout_and_clip_skip(toys: dict[str, BorrowedModel]) -> None:
    model = toys["sd1"]
    caption = ", ".join(["long"] * 60)
    module = model.text_towers[0].module
    chunks = chunk_ids(model.text_towers[0], [caption])[0]
    plain = module(input_ids=chunks, output_hidden_states=True)
    norm = getattr(module, "text_model", module).final_layer_norm
    assert torch.equal(encode(model, [caption], 1).hidden[0], plain.last_hidden_state.flatten(0, 1))
    assert torch.equal(encode(model, [caption], 2).hidden[0], norm(plain.hidden_states[-2]).flatten(0, 1))
    assert encode(model, [caption]).hidden.shape == (1, 154, 64)
    assert encode(model, [caption]).pooled is None


@torch.no_grad()
def test_sdxl_layout(toys: dict[str, BorrowedModel]) -> None:
    model = toys["sdxl"]
    captions = ["ohwx", ", ".join(["long"] * 60)]
    told = encode(model, captions, 1)
    first, second = model.text_towers
    states = [
        tower.module(input_ids=chunk_ids(tower, captions).flatten(0, 1), output_hidden_states=True)
        for tower in (first, second)
    ]
    joined = torch.cat([state.hidden_states[-2] for state in states], dim=-1)
    assert torch.equal(told.hidden, joined.reshape(2, 154, 128))
    assert told.pooled is not None
    assert torch.equal(told.pooled, states[1].text_embeds[[0, 2]])
    assert torch.equal(encode(model, captions, 3).hidden, told.hidden)  # SDXL knows no clip skip


def test_gradients_reach_the_text_encoder(build_toy: BuildToy) -> None:
    for name in ("sd1", "sdxl"):
        model = build_toy(name)
        for tower in model.text_towers:
            tower.module.requires_grad_(True)
        told = encode(model, ["ohwx"], 2)
        (told.hidden.square().mean() + (told.pooled.square().mean() if told.pooled is not None else 0)).backward()
        for tower in model.text_towers:
            layer = getattr(tower.module, "text_model", tower.module).encoder.layers[0]
            assert layer.self_attn.q_proj.weight.grad.abs().sum() > 0


def test_a_hosts_own_encoder_is_asked_first(toys: dict[str, BorrowedModel]) -> None:
    import dataclasses

    asked: list[Any] = []

    def host_encode(captions: Any, clip_skip: int) -> tuple[torch.Tensor, None]:
        asked.append((captions, clip_skip))
        return torch.ones(1, 77, 3), None

    told = encode(dataclasses.replace(toys["sd1"], host_encode=host_encode), ["x"], 2)
    assert asked == [(["x"], 2)]
    assert torch.equal(told.hidden, torch.ones(1, 77, 3))


def test_no_network_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    load_tokenizer.cache_clear()
    assert load_tokenizer()("ohwx", add_special_tokens=False).input_ids == [47993]


def test_sdxl_sizes_are_height_first() -> None:
    sizes = time_ids(original=(1600, 1200), crop=(8, 16), target=(1024, 768))
    assert sizes.tolist() == [1200, 1600, 16, 8, 768, 1024]
    assert sizes.dtype is torch.float32
    added = added_conditions(Conditioning(torch.zeros(2, 77, 4), torch.zeros(2, 5, dtype=torch.float16)), sizes)
    assert added is not None
    assert added["time_ids"].shape == (2, 6)
    assert added["time_ids"].dtype is torch.float32
    assert added_conditions(Conditioning(torch.zeros(2, 77, 4)), sizes) is None
