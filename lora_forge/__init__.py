"""LoRA Forge: from a folder of photos to a tested LoRA, on the checkpoint that is already loaded."""

__version__ = "0.1.0"
