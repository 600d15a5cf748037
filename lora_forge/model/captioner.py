"""Sentences by a BLIP model of transformers that lies in a folder; nothing is ever fetched."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from lora_forge.errors import MissingPartError, TrainingError

MOST_TOKENS = 75
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


class BlipCaptioner:
    """A folder as transformers saves it: ``config.json`` of the type ``blip``, a processor, the weights."""

    kind: Literal["tags", "sentence"] = "sentence"
    problem = ""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.folder, self._device = folder, device
        self.id, self.name = f"blip:{folder.name}", f"BLIP ({folder.name})"

    def __call__(self, image: Image.Image) -> str:
        """One sentence on an RGB image.

        Raises:
            MissingPartError: transformers or torch is not there, or does not know BLIP.
            TrainingError: the folder can't be loaded.
        """
        import torch

        with torch.random.fork_rng(devices=[]):  # older transformers draw weights first, then read the file
            processor, model = self._loaded
        with torch.inference_mode():
            given = processor(images=image, return_tensors="pt").to(self._device)
            tokens = model.generate(**given, max_new_tokens=MOST_TOKENS, num_beams=3, do_sample=False)
        return str(processor.decode(tokens[0], skip_special_tokens=True)).strip()

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        try:
            from transformers import BlipForConditionalGeneration, BlipProcessor
        except ImportError as cause:
            raise MissingPartError(
                "Sentences need transformers with BLIP: {cause}.", "Install transformers.", cause=cause
            ) from cause
        try:
            processor = BlipProcessor.from_pretrained(str(self.folder), local_files_only=True)
            model: Any = BlipForConditionalGeneration.from_pretrained(str(self.folder), local_files_only=True)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as cause:
            raise TrainingError(
                "{folder} can't be loaded as a BLIP model: {cause}.",
                "It needs config.json, the processor's files and the weights, as transformers saves them.",
                folder=self.folder,
                cause=str(cause).strip().splitlines()[0],
            ) from cause
        return processor, model.to(self._device).eval()


def find_captioners(roots: Sequence[Path]) -> list[BlipCaptioner]:
    """BLIP models in ``roots`` and one level below."""
    found: dict[str, BlipCaptioner] = {}
    for root in roots:
        for folder in (root, *_folders(root)):
            if _is_blip(folder):
                found.setdefault(folder.name, BlipCaptioner(folder))
    return [found[name] for name in sorted(found)]


def _is_blip(folder: Path) -> bool:
    if not any((folder / name).is_file() for name in _WEIGHTS):
        return False
    try:
        return bool(json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type") == "blip")
    except (OSError, ValueError, AttributeError):
        return False


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []
