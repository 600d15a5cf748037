"""The style sheet and the scripts: a WebUI serves them itself from the extension, our own page carries them.

They lie beside the package in a checkout, and in ``page_files`` within it where a wheel was installed (``setup.py``).
"""

from __future__ import annotations

from pathlib import Path

_PACKED = Path(__file__).resolve().parent / "page_files"
ROOT = _PACKED if _PACKED.is_dir() else _PACKED.parents[2]


def style() -> str:
    """``style.css``; empty where it is not there."""
    return _read(ROOT / "style.css")


def script() -> str:
    """All of ``javascript/``, in the order of their names, as WebUIs load them; empty where the folder is not there."""
    return "\n".join(_read(path) for path in sorted((ROOT / "javascript").glob("*.js"), key=lambda path: path.name))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
