"""Environments of tiny hand-made packages: what a host pins, without its gigabytes and without a network."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pip

ROOT = Path(__file__).resolve().parents[1]
MODULES = {"pillow": "PIL", "opencv-python": "cv2", "pillow-heif": "pillow_heif", "pillow-avif-plugin": "pillow_avif"}
MODULES |= {"lion-pytorch": "lion_pytorch", "onnxruntime-gpu": "onnxruntime"}
# A loopback port that nothing listens on: what a machine without a network looks like to pip.
CLOSED = "http://127.0.0.1:9/simple"
# What diffusers and peft import from each other and what our probe asks them for.
BODIES = {
    "peft": "class LoraConfig: pass\ndef inject_adapter_in_model(): pass\n",
    "diffusers": "import peft\n"
    + "".join(f"class {n}: pass\n" for n in ("AutoencoderKL", "DDPMScheduler", "UNet2DConditionModel")),
}


def pinned(text: str) -> dict[str, str]:
    """``name==version`` words -> name: version."""
    return dict(word.split("==") for word in text.split())


A1111 = pinned(
    "transformers==4.30.2 accelerate==0.21.0 numpy==1.26.2 torch==2.1.2 pillow==9.5.0 safetensors==0.4.2 "
    "protobuf==3.20.0 gradio==3.41.2 pydantic==1.10.27 fastapi==0.94.0 huggingface-hub==0.36.2 "
    "opencv-python==4.11.0.86 pillow-avif-plugin==1.4.3"
)
FORGE = A1111 | pinned(
    "transformers==4.46.1 accelerate==0.31.0 torch==2.3.1 gradio==4.40.0 pydantic==2.8.2 huggingface-hub==0.26.2 "
    "diffusers==0.31.0 peft==0.13.2"
)
REFORGE = A1111 | pinned("transformers==4.48.1 torch==2.9.0 diffusers==0.32.2")
CLASSIC = A1111 | pinned("torch==2.6.0 diffusers==0.31.0")
NEO = pinned(
    "transformers==4.57.6 accelerate==1.12.0 numpy==2.3.5 torch==2.11.0+cu130 pillow==12.3.0 safetensors==0.8.0 "
    "gradio==4.40.0 pydantic==2.10.6 diffusers==0.37.1"
)
NEWEST = NEO | pinned(
    "transformers==5.23.0 accelerate==1.15.0 numpy==2.4.6 torch==2.13.0+cpu diffusers==0.42.1 peft==0.21.2"
)


def module_of(name: str) -> str:
    """The module that the distribution ``name`` brings."""
    return MODULES.get(name, name.replace("-", "_"))


def metadata_of(name: str, version: str) -> str:
    """Its METADATA; every one asks for what would move the host's own packages if anybody listened."""
    wishes = "".join(f"Requires-Dist: {wish}\n" for wish in ("torch>=99", "numpy>=99", "transformers>=99"))
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{wishes}"


class Environment:
    """A virtual environment whose packages are a few lines each; its pip is this Python's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        is_windows = os.name == "nt"
        self.python = folder / ("Scripts/python.exe" if is_windows else "bin/python")
        self.site = folder / "Lib/site-packages" if is_windows else next(folder.glob("lib/python*/site-packages"))
        tools = folder / "tools"
        tools.mkdir()
        source = Path(pip.__file__).parent
        shutil.copytree(source, tools / "pip") if is_windows else (tools / "pip").symlink_to(source)
        (self.site / "zz_tools.pth").write_text(f"{tools}\n", encoding="utf-8")

    def put(self, name: str, version: str, body: str | None = None) -> None:
        """Install a package by hand."""
        folder = self.site / module_of(name)
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").write_text(BODIES.get(name, "") if body is None else body, encoding="utf-8")
        info = self.info(name, version)
        info.mkdir()
        (info / "METADATA").write_text(metadata_of(name, version), encoding="utf-8")
        (info / "RECORD").write_text(f"{folder.name}/__init__.py,,\n{info.name}/METADATA,,\n", encoding="utf-8")
        (info / "INSTALLER").write_text("pip\n", encoding="utf-8")

    def info(self, name: str, version: str) -> Path:
        """Where an installer writes down that it is there."""
        return self.site / f"{name.replace('-', '_')}-{version}.dist-info"

    def take_away(self, name: str, version: str) -> None:
        """Uninstall it by hand."""
        shutil.rmtree(self.site / module_of(name))
        shutil.rmtree(self.info(name, version))

    def freeze(self) -> dict[str, str]:
        """Distribution -> version."""
        pairs = (path.name.removesuffix(".dist-info").rsplit("-", 1) for path in self.site.glob("*.dist-info"))
        return {name.replace("_", "-"): version for name, version in pairs}

    def files(self) -> dict[str, str]:
        """Every installed file -> hash; what is compiled on the way is nobody's."""
        found = (path for path in self.site.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {str(path.relative_to(self.site)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}

    def run(self, *words: str | Path, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        """Its Python, with this machine's own pip settings switched off."""
        ours = ("PIP_", "INDEX_", "TORCH_INDEX", "PYTHONPATH", "COMMANDLINE_ARGS", "VIRTUAL_ENV")
        clean = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        clean |= {"PIP_CONFIG_FILE": os.devnull, "PYTHONNOUSERSITE": "1", "PYTHONIOENCODING": "utf-8", **env}
        command = [str(self.python), *map(str, words)]
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", check=False, cwd=cwd, env=clean, timeout=120
        )


def make_wheel(folder: Path, name: str, version: str) -> Path:
    """A wheel of one module."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    path = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    files = {
        f"{module_of(name)}/__init__.py": BODIES.get(name, ""),
        f"{info}/METADATA": metadata_of(name, version),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{place},,\n" for place in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as wheel:
        for place, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(place, text)
    return path


def make_wheels(folder: Path) -> Path:
    """A package index's worth of wheels, with releases that are too new and an upgrade for what the hosts pin."""
    folder.mkdir()
    offered = {
        "diffusers": ("0.31.0", "0.37.1", "0.42.1"),
        "peft": ("0.13.2", "0.14.0", "0.21.2"),
        "insightface": ("1.0", "2.1"),
        "onnx": ("1.17.0", "1.23.2"),
        "onnxruntime": ("1.23.2", "1.31.1", "1.32.0"),
        **dict.fromkeys(("torch", "numpy", "transformers", "pillow", "gradio", "opencv-python"), ("99.0",)),
    }
    for name, versions in offered.items():
        for version in versions:
            make_wheel(folder, name, version)
    return folder
