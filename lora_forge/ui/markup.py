"""Small pieces of HTML; whatever comes from a person or a file is escaped here."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping


def note(text: str, kind: str = "info") -> str:
    """A line with a coloured edge; ``kind``: info, good, warning or error. Empty for no text."""
    role = "alert" if kind in ("warning", "error") else "status"
    return f'<div class="lf-note lf-{kind}" role="{role}">{html.escape(text)}</div>' if text else ""


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Name and value, line by line."""
    cells = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in rows)
    return f'<dl class="lf-facts">{cells}</dl>'


def listing(title: str, rows: Iterable[tuple[str, str]], is_open: bool = False) -> str:
    """A fold with a line for each (name, reason); empty without any."""
    items = "".join(f"<li><b>{html.escape(name)}</b> {html.escape(reason)}</li>" for name, reason in rows)
    opened = " open" if is_open else ""
    return f'<details class="lf-list"{opened}><summary>{html.escape(title)}</summary><ul>{items}</ul></details>'


def code(text: str) -> str:
    """A command to copy."""
    return f"<pre>{html.escape(text)}</pre>"


def frame(name: str, words: Mapping[str, str], language: str) -> str:
    """What the script fills: ``name`` is its class, ``words`` its vocabulary."""
    data = html.escape(json.dumps(dict(words), ensure_ascii=False), quote=True)
    return f'<div class="{name}" data-language="{html.escape(language)}" data-words="{data}"></div>'
