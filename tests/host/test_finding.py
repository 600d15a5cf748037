"""Which WebUI we are in, by what can be imported; Forge and its kin are found in their own tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lora_forge.host.a1111 import A1111Host
from lora_forge.host.finding import find_host
from tests.host.standin.a1111 import A1111StandIn


def test_outside_of_any_there_is_none() -> None:
    assert find_host() is None


def test_a_folder_called_modules_is_no_webui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "__init__.py").write_text("")
    (tmp_path / "backend.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "modules", raising=False)
    assert find_host() is None
    sys.modules.pop("modules", None)


def test_a1111_is_found(base_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    A1111StandIn(tmp_path, base_path).install(monkeypatch)
    assert isinstance(find_host(), A1111Host)


def test_looking_loads_no_library_of_networks() -> None:
    code = "import sys; from lora_forge.host.finding import find_host; find_host(); import lora_forge.host.webui\n"
    code += "print([name for name in ('torch', 'diffusers', 'transformers', 'peft') if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_forges_class_loads_no_diffusers() -> None:
    code = "import sys; import lora_forge.host.forge, lora_forge.host.comfy\n"
    code += "print([name for name in ('diffusers', 'transformers', 'peft') if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
