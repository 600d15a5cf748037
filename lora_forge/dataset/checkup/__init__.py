"""The dataset doctor (体检): findings with a traffic light, the photos they name, why they matter, and remedies."""

from __future__ import annotations

from lora_forge.dataset.checkup.finding import ACTING, Finding
from lora_forge.dataset.checkup.remedies import Done, apply, undo
from lora_forge.dataset.checkup.report import Report
from lora_forge.dataset.checkup.running import run

__all__ = ["ACTING", "Done", "Finding", "Report", "apply", "run", "undo"]
