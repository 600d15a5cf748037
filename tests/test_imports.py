"""Every module imports alone, and none does heavy work for that."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import lora_forge

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(lora_forge.__path__, "lora_forge.")
    if not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_module_imports(name: str) -> None:
    if name == "lora_forge.ui.page":
        pytest.importorskip("gradio")
    if name.startswith("lora_forge.web"):
        pytest.importorskip("starlette")
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} does not say what it is for"
