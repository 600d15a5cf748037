"""What a resolution costs, as a sentence beside the field where it is chosen."""

from __future__ import annotations

from dataclasses import dataclass

from lora_forge.config import Family, TrainConfig
from lora_forge.i18n import Said, word

_GB = 1e9
_UNKNOWN = word("At {resolution} px: about {more} GB of memory beside the checkpoint's {weights} GB.")
_FITS = word(
    "At {resolution} px: about {more} GB of memory beside the checkpoint's {weights} GB; {device} has {free} GB free."
)
_SHORT = word(
    "At {resolution} px: about {more} GB of memory beside the checkpoint's {weights} GB, but {device} has only {free} "
    "GB free. A lower resolution or gradient_checkpointing=on takes less."
)
_IN_LINE = word("about {more} GB of memory")


@dataclass(frozen=True)
class MemorySentence:
    """``sentence`` to show; ``fits`` is False where the memory is known to be too small. ``short``: within a line."""

    sentence: Said
    fits: bool
    short: Said


def memory_sentence(family: Family, config: TrainConfig) -> MemorySentence:
    """About how much memory a run with ``config`` takes, and what is free for it. Imports torch."""
    from lora_forge.model.memory import training_memory

    found = training_memory(family, config)
    values: dict[str, object] = {
        "resolution": config.resolution_px,
        "more": f"{(found.needed_bytes - found.weights_bytes) / _GB:.1f}",
        "weights": f"{found.weights_bytes / _GB:.1f}",
        "device": found.device,
    }
    short = Said(_IN_LINE, {"more": values["more"]})
    if found.free_bytes is None:
        return MemorySentence(Said(_UNKNOWN, values), True, short)
    values["free"] = f"{found.free_bytes / _GB:.1f}"
    return MemorySentence(Said(_FITS if found.fits else _SHORT, values), found.fits, short)
