"""What every test gets: no hub, as many threads as a shared two-core machine bears, and a quick garbage collector."""

from __future__ import annotations

import gc
import os
import sys

import pytest

# Before torch and transformers are imported anywhere.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

MANY = 100
"""Modules: a library has come in."""
_frozen = 0


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Hide what the libraries made at import from the collector: our runs collect, and each time walked all of it.

    700,000 objects are 0.4 s. Only what lives between two tests is hidden, and counting references still frees it.
    """
    global _frozen
    if len(sys.modules) >= _frozen + MANY:
        gc.collect()
        gc.freeze()
        _frozen = len(sys.modules)
