"""Fingerprints of what a run must leave alone: weights bit for bit, modes, hooks, torch's global flags, generators.

The same functions serve every host. A mark is a short hex digest or a plain value; equal marks mean "as before".
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from lora_forge.model import devices

_CHUNK_BYTES = 1 << 26
_PATCHED_CLASSES = (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm, nn.MultiheadAttention, nn.Embedding, nn.Module)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")


def module_marks(part: str, module: nn.Module, originals: Mapping[str, torch.Tensor] | None = None) -> dict[str, str]:
    """Marks of one network, by ``part`` and what was looked at.

    ``originals``: values to look at in place of the tensor of that name, where the host has something merged for now
    and keeps the original aside.
    """
    tensors = dict(_tensors_of(module))
    aside = {name: kept for name, kept in (originals or {}).items() if isinstance(kept, nn.Parameter)}
    parameters = {**dict(module.named_parameters()), **aside}
    return {
        f"{part}: weights": weights_mark({**tensors, **(originals or {})}),
        f"{part}: dtypes": digest((n, str(t.dtype), list(t.shape)) for n, t in tensors.items()),
        f"{part}: devices": digest((n, str(t.device)) for n, t in tensors.items()),
        f"{part}: modes": digest((n, type(m).__qualname__, m.training) for n, m in module.named_modules()),
        f"{part}: gradients": digest((n, p.requires_grad, p.grad is None) for n, p in parameters.items()),
        f"{part}: hooks": digest((n, *(len(vars(m).get(h) or ()) for h in _HOOKS)) for n, m in module.named_modules()),
        f"{part}: forwards": digest(n for n, m in module.named_modules() if "forward" in vars(m)),
    }


def _tensors_of(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def weights_mark(tensors: Mapping[str, torch.Tensor]) -> str:
    """Digest of names, dtypes, shapes and every byte; 64 MB at a time leave the device."""
    hasher = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        hasher.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        for chunk in _bytes_of(tensor):
            hasher.update(chunk.numpy().data)
    return hasher.hexdigest()


def _bytes_of(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    if not tensor.numel() or tensor.device.type == "meta":
        return
    with torch.inference_mode():  # views of Forge's inference tensors are made in no other mode
        flat = tensor.contiguous().reshape(-1).view(torch.uint8)
        for start in range(0, len(flat), _CHUNK_BYTES):
            yield flat[start : start + _CHUNK_BYTES].cpu()


def digest(rows: Iterable[Any]) -> str:
    """Of plain values, in order."""
    return hashlib.blake2b(json.dumps(list(rows)).encode(), digest_size=16).hexdigest()


def flag_marks() -> dict[str, str]:
    """torch's global flags, this thread's modes, and which function each common layer's ``forward`` is."""
    marks = {f"torch: {name}": str(read()) for name, (read, _) in devices.GLOBAL_FLAGS.items()}
    marks["torch: gradients"] = f"{torch.is_grad_enabled()} {torch.is_inference_mode_enabled()}"
    marks["torch: autocast"] = f"{torch.is_autocast_enabled()} {_is_autocast_on_cpu()}"
    marks["torch: layers' forward"] = digest(_name_of(vars(kind).get("forward")) for kind in _PATCHED_CLASSES)
    marks["torch: attention"] = _name_of(nn.functional.scaled_dot_product_attention)
    return marks


def _is_autocast_on_cpu() -> bool:
    try:
        return bool(torch.is_autocast_enabled("cpu"))
    except TypeError:  # torch before 2.4 asks so
        return bool(torch.is_autocast_cpu_enabled())


def _name_of(function: Any) -> str:
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')} {id(function):x}"


def generator_marks() -> dict[str, str]:
    """States of the global random generators. A picture that someone makes in between moves them too."""
    drawn = devices.generator_states().items()
    return {
        **{f"random: {kind}": digest(_hex(state) for state in states) for kind, states in drawn},
        "random: numpy": digest([str(part) for part in _numpy_state()]),
        "random: python": digest([random.getstate()]),
    }


def _numpy_state() -> tuple[Any, ...]:
    name, keys, *rest = np.random.get_state(legacy=True)  # numpy's stubs allow a dict here
    return (name, np.asarray(keys).tobytes().hex(), *rest)


def _hex(state: torch.Tensor) -> str:
    return state.numpy().tobytes().hex()


@contextlib.contextmanager
def kept_flags() -> Iterator[None]:
    """On leaving, torch's global flags and generators are as on entering.

    Python's and numpy's generators are not put back: others draw from them meanwhile (the host numbers its tasks so),
    and would be given the same numbers again. Nothing of ours draws from any of them.
    """
    flags = {name: read() for name, (read, _) in devices.GLOBAL_FLAGS.items()}
    with kept_torch_generators():
        try:
            yield
        finally:
            for name, (read, write) in devices.GLOBAL_FLAGS.items():
                if read() != flags[name]:
                    write(flags[name])


@contextlib.contextmanager
def kept_torch_generators() -> Iterator[None]:
    """On leaving, torch's global generators (of the CPU and of each card) are as on entering."""
    states = devices.generator_states()
    try:
        yield
    finally:
        devices.set_generator_states(states)
