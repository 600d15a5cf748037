"""The one contract everything rests on: a host lends its checkpoint, and draws pictures with it.

Torch is named for the type checker alone: importing this module costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from lora_forge.config import BaseStorage, Family, PredictionType
from lora_forge.i18n import Said

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


@dataclass(frozen=True)
class BaseInfo:
    """What is known of a base checkpoint without its weights.

    ``prediction_source`` says where the prediction type comes from, in words a person can check ("the file's
    v_pred key", "a .yaml beside it", "SD1.x convention"). ``sha256`` is of the whole file in lower-case hex,
    ``legacy_hash`` the hosts' old 8 hex digits; both may be empty when not (yet) known.
    """

    name: str
    family: Family
    prediction_type: PredictionType
    prediction_source: Said
    zero_terminal_snr: bool = False
    clip_skip: int = 1
    sha256: str = ""
    legacy_hash: str = ""


@dataclass(frozen=True)
class TextTower:
    """One text encoder.

    ``module``: a transformers CLIPTextModel or CLIPTextModelWithProjection on the lent memory. ``tokenizer``: a
    transformers CLIPTokenizer. ``pad_token_id``: 49407 (EOS) for CLIP-L, 0 for OpenCLIP towers. ``prefix``: the
    kohya key prefix, ``lora_te`` (SD1/SD2), ``lora_te1`` or ``lora_te2`` (SDXL).
    """

    module: Any
    tokenizer: Any
    pad_token_id: int
    prefix: str


@dataclass(frozen=True)
class DrawingWay:
    """How a WebUI draws by its options, beyond what a request names; the defaults are AUTOMATIC1111's.

    ``noise_source``: ``GPU`` (the device's own generator), ``CPU``, or ``NV`` (an NVIDIA card's numbers, made on the
    CPU). ``whole_timesteps``: the UNet is told the nearest trained timestep, as in Forge, else what lies between two.
    ``sigma_min``, ``sigma_max``, ``rho``: of Karras' schedule, 0 for the checkpoint's own and 7.
    ``drops_penultimate``: the schedule is one longer, without its last but one. ``has_whole_noise``: the first noise
    is scaled by sqrt(1 + sigma^2), not by sigma.
    """

    noise_source: str = "GPU"
    whole_timesteps: bool = False
    sigma_min: float = 0.0
    sigma_max: float = 0.0
    rho: float = 0.0
    drops_penultimate: bool = False
    has_whole_noise: bool = False


@dataclass
class BorrowedModel:
    """A checkpoint while we hold it: diffusers and transformers modules on the host's own memory, all frozen.

    ``alphas_cumprod``: float32 (1000,), rescaled already when ``info.zero_terminal_snr``. ``vae_scale``: 0.18215 or
    0.13025. ``dtype``: what the UNet computes in, whatever its weights lie in. ``host_encode``: when a host must encode
    text itself; takes captions and clip skip and gives (hidden (B, 77n, D), pooled (B, P) or None). ``drawing``: what
    previews are drawn by.
    ``may_leave``: nobody else uses the networks, so they may lie elsewhere while they have nothing to do; where they
    are during a run ``residence`` knows (`model.residence.Residence`, None: where they are lent).
    """

    info: BaseInfo
    unet: Any
    vae: Any
    text_towers: tuple[TextTower, ...]
    alphas_cumprod: torch.Tensor
    vae_scale: float
    device: torch.device
    dtype: torch.dtype
    host_encode: Callable[[Sequence[str], int], tuple[torch.Tensor, torch.Tensor | None]] | None = None
    notes: dict[str, str] = field(default_factory=dict)
    drawing: DrawingWay = DrawingWay()
    may_leave: bool = False
    residence: Any = None


@dataclass(frozen=True)
class PictureRequest:
    """One picture, as a person would ask for it in txt2img; ``prompt`` may hold ``<lora:NAME:STRENGTH>``."""

    prompt: str
    negative_prompt: str = ""
    width: int = 512
    height: int = 512
    steps: int = 20
    guidance: float = 7.0
    seed: int = 0
    sampler: str = "dpmpp_2m"
    clip_skip: int = 1


HELPER_MODELS = ("insightface", "taggers", "captioners")
"""Kinds of models beside the checkpoint; each has a folder of its name in a folder of models."""


def helper_model_dirs(*roots: Path) -> Mapping[str, tuple[Path, ...]]:
    """For :meth:`Desk.model_dirs`: the folder of each kind in every one of ``roots``."""
    return {kind: tuple(root / kind for root in roots) for kind in HELPER_MODELS}


@dataclass(frozen=True)
class Traces:
    """Fingerprints of what a run must leave alone, by name: weights, flags, generators, hooks, a picture."""

    marks: dict[str, str]

    def differences(self, later: Traces) -> tuple[str, ...]:
        """Names of what changed between this and ``later``; what only one of them looked at is left out."""
        return tuple(name for name in self.marks if name in later.marks and self.marks[name] != later.marks[name])


class GaveUpError(Exception):
    """A stop was asked for while somebody else held the checkpoint."""


def never() -> bool:
    """For ``should_stop``."""
    return False


class Host(Protocol):
    """Where the base checkpoint lives: a WebUI, or our own standalone reader."""

    def info(self) -> BaseInfo:
        """What is loaded, without touching its weights."""
        ...

    def borrow(
        self, label: str = "LoRA Forge", should_stop: Callable[[], bool] = never
    ) -> AbstractContextManager[BorrowedModel]:
        """Lend the loaded checkpoint; on leaving, whatever happened, it is as it was.

        ``label`` is what the host's own progress bar calls the work, where it has one. ``should_stop`` is asked a few
        times a second while others hold the checkpoint; the place in the queue is then given up.

        Raises:
            GaveUpError: ``should_stop`` said so before it was lent.
        """
        ...

    def draw(
        self,
        requests: Sequence[PictureRequest],
        lora_dirs: Sequence[Path],
        should_stop: Callable[[], bool] = never,
    ) -> Iterator[Image]:
        """Draw each request in order with the host's own pipeline; LoRAs are found by file stem in ``lora_dirs``.

        ``should_stop`` is asked while others hold the checkpoint; the iterator then raises :class:`GaveUpError`.
        """
        ...


@runtime_checkable
class StoresBase(Protocol):
    """A host whose loans, or some of them, are copies of its own making, and so can lie in memory as one likes."""

    def stored_as(self, storage: BaseStorage) -> AbstractContextManager[None]:
        """Lend the checkpoint with its UNet stored so while this is open."""
        ...


def stored_as(host: object, storage: BaseStorage) -> AbstractContextManager[None]:
    """Lend so what ``host`` can lend so, while this is open; any other host lends as ever."""
    return host.stored_as(storage) if isinstance(host, StoresBase) else nullcontext()


class Desk(Host, Protocol):
    """A host with a page in front: what the tab needs to know of it, and may ask of it.

    A WebUI (:mod:`lora_forge.host.webui`) or our own server (:mod:`lora_forge.host.desk`).
    """

    name: str
    """What to call it: ``AUTOMATIC1111 v1.10.1``."""

    def language(self) -> str:
        """``zh`` when the host's page is in Chinese, else ``en``."""
        ...

    def checkpoints(self) -> tuple[str, ...]:
        """Titles of the checkpoints that could be loaded, as the host lists them."""
        ...

    def loaded(self) -> str:
        """Title of the checkpoint that is chosen; empty when there is none. Loads nothing."""
        ...

    def switch(self, title: str) -> None:
        """Load another checkpoint the host's own way.

        Raises:
            CheckpointError: there is none of that title, it can't be loaded, or a run holds the present one.
        """
        ...

    def data_root(self) -> Path:
        """Where projects live; made when first asked for."""
        ...

    def lora_dir(self) -> Path:
        """Where the host looks for LoRA files; made when first asked for."""
        ...

    def grids_dir(self) -> Path | None:
        """Where the host keeps the grids of its own X/Y/Z plot; None where it has no such script."""
        ...

    def model_dirs(self) -> Mapping[str, tuple[Path, ...]]:
        """Where helper models may lie by what they do (``insightface``, ``taggers``, ``captioners``), ours first.

        A folder need not be there; ours is where downloads go.
        """
        ...

    def check_loads(self, path: Path) -> tuple[str, ...]:
        """Keys of a LoRA file that the host's own loader would leave unused; empty is good."""
        ...

    def report(self, step: int, total: int, text: str) -> None:
        """Show progress in the host's own bar, while we hold its checkpoint. Never raises."""
        ...

    def traces(self, with_picture: bool = False) -> Traces:
        """What the host is like now: compare one from before a run with one from after it.

        Raises:
            CheckpointError: a picture was asked for and the host could not make it.
        """
        ...
