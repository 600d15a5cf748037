"""One adapted layer: where it is, how it starts, and its forward pass.

peft's ``inject_adapter_in_model`` puts its layers into the model; their parameters and their forward are ours: the
parameters are float32 whatever the base is and start from a seed of their own, and the forward casts only the two
small matrices, where peft casts activations.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from lora_forge.lora_file.weights import LoraModule
from lora_forge.seeds import stable_seed
from lora_forge.train.sites import Site

ADAPTER_NAME = "lora_forge"


@dataclass
class Dropout:
    """Rank dropout of one network, shared by its adapters; ``step`` None: off.

    The draw is a function of (seed, step, micro, layer, row), so a checkpointed layer that runs twice in a step
    meets the same mask twice. ``rows``: which of the batch's rows are computed here, where others compute the rest.
    """

    seed: int
    chance: float
    step: int | None = None
    micro: int = 0
    rows: tuple[int, ...] = ()

    def computed(self, count: int) -> list[int]:
        """The numbers of a layer's ``count`` rows among those of the whole batch. A text encoder has several for each
        of the batch's: the chunks of its caption, of which all captions have as many."""
        chunks = count // len(self.rows) if self.rows else 0
        if chunks * len(self.rows) != count:
            return list(range(count))
        return [row * chunks + chunk for row in self.rows for chunk in range(chunks)]


@dataclass(eq=False)
class Adapter:
    """The adapter of one layer; calling it is the layer's forward.

    ``down``: float32 (rank, in) or (rank, in, kh, kw). ``up``: float32 (out, rank) or (out, rank, 1, 1).
    ``strength`` multiplies alpha / rank; at 0 the base layer runs alone, bit for bit. ``working``: copies of
    (scale * down, up) in the type of the activations, where somebody made them for all adapters at once.
    """

    site: Site
    layer: Any
    base: nn.Linear | nn.Conv2d
    down: nn.Parameter
    up: nn.Parameter
    dropout: Dropout
    alpha: float
    strength: float = 1.0
    working: tuple[torch.Tensor, torch.Tensor] | None = None
    _mask: torch.Tensor | None = None
    _mask_key: tuple[int, int, tuple[int, ...]] | None = None
    _conv: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.base, nn.Conv2d):
            self._conv = {key: getattr(self.base, key) for key in ("stride", "padding", "dilation")}

    @property
    def rank(self) -> int:
        return int(self.down.shape[0])

    def __call__(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """``base(x) + strength * alpha / rank * up(down(x))``; ``x``: (B, N, in), (B, in) or (B, in, H, W)."""
        result: torch.Tensor = self.base(x, *args, **kwargs)
        if self.scale == 0.0:
            return result
        down, up = self._matrices(x.dtype)
        if not self._conv:
            hidden = F.linear(x, down)
            return result + F.linear(self._drop(hidden, hidden.dim() - 1), up)
        hidden = F.conv2d(x, down, **self._conv)
        return result + F.conv2d(self._drop(hidden, 1), up)

    @property
    def scale(self) -> float:
        """What the adapter's output is multiplied with."""
        return self.strength * self.alpha / self.rank

    def _matrices(self, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """(scale * down, up) in ``dtype``."""
        if self.working is not None and self.working[0].dtype is dtype:
            return self.working
        # The scale goes into the smaller matrix before the cast: nothing of the activations' size is touched.
        down = self.down if self.scale == 1.0 else self.down * self.scale
        return down.to(dtype), self.up.to(dtype)

    def _drop(self, hidden: torch.Tensor, rank_axis: int) -> torch.Tensor:
        """Silence some ranks of each row of the batch and scale up the rest (kohya's rank dropout)."""
        dropout = self.dropout
        if dropout.step is None or dropout.chance == 0.0:
            return hidden
        key = (dropout.step, dropout.micro, (hidden.shape[0], *dropout.rows))
        if self._mask is None or self._mask_key != key:
            seed = stable_seed(dropout.seed, "rank_dropout", dropout.step, dropout.micro, self.site.name)
            generator = torch.Generator().manual_seed(seed)
            rows = dropout.computed(hidden.shape[0])
            keep = torch.rand((rows[-1] + 1, self.rank), generator=generator)[rows] >= dropout.chance
            self._mask = (keep.float() / (1.0 - dropout.chance)).to(hidden.device, hidden.dtype)
            self._mask_key = key
        shape = [1] * hidden.dim()
        shape[0], shape[rank_axis] = hidden.shape[0], self.rank
        return hidden * self._mask.reshape(shape)

    def norm(self) -> torch.Tensor:
        """Frobenius norm of the weight this adds at strength 1, 0-dim float32; only rank x rank is ever built."""
        down, up = self.down.detach().flatten(1), self.up.detach().flatten(1)
        square = ((down @ down.T) * (up.T @ up)).sum().clamp(min=0.0)
        return square.sqrt() * abs(self.alpha / self.rank)

    def export(self) -> LoraModule:
        """A float32 copy on the CPU, free of the graph."""
        down, up = (p.detach().to("cpu", torch.float32, copy=True) for p in (self.down, self.up))
        return LoraModule(down, up, self.alpha)


def inject(
    model: nn.Module, sites: list[Site], dropout: Dropout, device: torch.device, is_trained: bool
) -> list[Adapter]:
    """Put an adapter on each site; ``down`` and ``up`` are uninitialised float32 tensors on ``device``."""
    pattern = "|".join(re.escape(site.path) for site in sites)
    # Rank 1 on the meta device: peft's own tensors are never made, ours take their place.
    config = LoraConfig(r=1, lora_alpha=1, target_modules=f"(?:{pattern})", bias="none", init_lora_weights=False)
    inject_adapter_in_model(config, model, adapter_name=ADAPTER_NAME, low_cpu_mem_usage=True)
    layers = dict(model.named_modules())
    return [_fill(layers[site.path], site, dropout, device, is_trained) for site in sites]


def initialise(adapter: Adapter, seed: int) -> None:
    """``down`` uniform in +-1/sqrt(fan_in) (kaiming with a = sqrt 5, as kohya and torch), ``up`` zero.

    Each layer draws from a generator of its own name, so a layer's start does not depend on which others there are.
    """
    bound = 1.0 / math.sqrt(adapter.down[0].numel())
    generator = torch.Generator().manual_seed(stable_seed(seed, "init", adapter.site.name))
    with torch.no_grad():
        if adapter.down.device.type != "meta":
            start = torch.empty(adapter.down.shape).uniform_(-bound, bound, generator=generator)
            adapter.down.copy_(start)
        adapter.up.zero_()


def _fill(layer: Any, site: Site, dropout: Dropout, device: torch.device, is_trained: bool) -> Adapter:
    base = layer.get_base_layer()
    if isinstance(base, nn.Conv2d):
        shapes: Any = ((site.rank, base.in_channels, *base.kernel_size), (base.out_channels, site.rank, 1, 1))
    else:
        shapes = ((site.rank, base.in_features), (base.out_features, site.rank))
    down, up = (
        nn.Parameter(torch.empty(shape, dtype=torch.float32, device=device), requires_grad=is_trained)
        for shape in shapes
    )
    layer.lora_A[ADAPTER_NAME].weight, layer.lora_B[ADAPTER_NAME].weight = down, up
    layer.r[ADAPTER_NAME], layer.lora_alpha[ADAPTER_NAME] = site.rank, site.alpha
    layer.scaling[ADAPTER_NAME] = site.alpha / site.rank
    adapter = Adapter(site, layer, base, down, up, dropout, site.alpha)
    layer.forward = adapter
    return adapter
