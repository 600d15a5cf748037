"""Faces in photos: where they are, who it is, how the head is turned; by the best detector that is present."""

from __future__ import annotations

from lora_forge.dataset.faces.face import Detector, Face
from lora_forge.dataset.faces.finding import NoDetector, find_detector
from lora_forge.dataset.faces.memory import FaceMemory

__all__ = ["Detector", "Face", "FaceMemory", "NoDetector", "find_detector"]
