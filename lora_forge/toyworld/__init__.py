"""A drawn world and a tiny real Stable Diffusion checkpoint that knows it: a place where learning can be measured.

Nothing heavy is imported here; ``world`` and ``subject`` need pillow, ``judge`` and ``build`` need torch.
"""

from pathlib import Path

__all__ = ["checkpoint_path"]


def checkpoint_path() -> Path:
    """The bundled checkpoint: SD1.5 topology, original LDM key layout, fp16, one safetensors file."""
    return Path(__file__).resolve().parent / "toyworld.safetensors"
