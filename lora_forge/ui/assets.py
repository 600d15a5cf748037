"""The style sheet and the script: a WebUI serves them itself from the extension, our own page carries them."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def style() -> str:
    """``style.css``; empty in an installation without the extension's folder."""
    return _read(ROOT / "style.css")


def script() -> str:
    """All of ``javascript/``, in the order of their names, as WebUIs load them; empty where the folder is not there."""
    return "\n".join(_read(path) for path in sorted((ROOT / "javascript").glob("*.js"), key=lambda path: path.name))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
