"""Modules come back as they were lent."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn


@contextlib.contextmanager
def restored(modules: Sequence[nn.Module]) -> Iterator[None]:
    """On leaving, whatever happened: the same submodules as on entering, no attribute more, frozen, in eval mode.

    A borrower takes its own adapters off; this is for the one that died before it could. Weights that were written to
    are not noticed.
    """
    # A module that is its own attribute's holder keeps children in `_modules`, so vars() holds attributes alone.
    children = [(parent, dict(parent._modules)) for module in modules for parent in module.modules()]
    attributes: list[tuple[nn.Module, dict[str, Any]]] = [
        (child, dict(vars(child))) for module in modules for child in module.modules()
    ]
    try:
        yield
    finally:
        for parent, known in children:
            if parent._modules != known:
                parent._modules.clear()
                parent._modules.update(known)
        for module, had in attributes:
            for name in vars(module).keys() - had.keys():
                delattr(module, name)
            for name in ("forward", "gradient_checkpointing"):
                if name in had:
                    setattr(module, name, had[name])
        for module in modules:
            for parameter in module.parameters():
                parameter.requires_grad_(False)
                parameter.grad = None
            module.eval()
