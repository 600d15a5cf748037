"""The Test step's work: a grid of one LoRA drawn, scored, kept, and what follows from it."""

from __future__ import annotations

from lora_forge.work.testing.request import TestRequest
from lora_forge.work.testing.run import keep_cell, new_test, run_test
from lora_forge.work.testing.store import KeptTest, create, list_tests, load_test, remove_test

__all__ = [
    "KeptTest",
    "TestRequest",
    "create",
    "keep_cell",
    "list_tests",
    "load_test",
    "new_test",
    "remove_test",
    "run_test",
]
