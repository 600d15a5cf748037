"""The page has its style and its scripts, in a checkout and where a wheel of it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from lora_forge.ui import assets

ROOT = Path(__file__).parents[2]
SOURCES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "NOTICE", "style.css")
ASK = "import sys; from lora_forge.ui import assets as a; sys.stdout.buffer.write((a.style() + a.script()).encode())"


def test_a_checkout_has_its_style_and_scripts() -> None:
    assert assets.style() == (ROOT / "style.css").read_text(encoding="utf-8")
    assert assets.script().count("\n") > 100


@pytest.mark.slow
def test_an_installed_wheel_has_them_too(tmp_path: Path) -> None:
    # not imported here: it minds which distutils other tests have loaded
    if int(version("setuptools").split(".")[0]) < 77:
        pytest.skip("setuptools is older than pyproject.toml asks for")
    source, site = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    for name in (*SOURCES, *(path.name for path in ROOT.glob("requirements-*.txt"))):
        shutil.copy(ROOT / name, source)
    for name in ("lora_forge", "javascript"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = "from setuptools import build_meta; build_meta.build_wheel('dist')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    asked = subprocess.run([sys.executable, "-c", ASK], cwd=site, env=outside, check=True, capture_output=True)
    assert asked.stdout.decode() == assets.style() + assets.script()
    assert (site / "lora_forge" / "i18n" / "zh" / "events.json").is_file()
