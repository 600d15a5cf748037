"""What a person can meet in words, found in the source: marked texts, sentences of the log, errors and remedies."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "lora_forge"
ELSEWHERE = ("cli", "demo.py", "doctor.py", "toyworld", "__main__.py")  # met in a terminal, in English


def trees(*parts: str) -> Iterator[tuple[Path, ast.Module]]:
    """Every module below ``parts`` of the package, or all of it."""
    for part in parts or ("",):
        found = PACKAGE / part
        for path in [found] if found.is_file() else sorted(found.rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Calls of a plain or dotted name, by its last part."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            yield name, node


def text_of(node: ast.AST) -> str | None:
    """A string constant's value."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def marked() -> set[str]:
    """Arguments of ``word("...")`` and ``say("...", language)`` everywhere."""
    found = set()
    for path, tree in trees():
        if path.relative_to(PACKAGE).parts[0] in ELSEWHERE:
            continue
        for name, call in calls(tree):
            if name in ("word", "say") and call.args:
                text = text_of(call.args[0])
                if text is not None:
                    found.add(text)
    return found


def said() -> set[str]:
    """Templates of the job's log, and what errors say and advise, where the page can meet them."""
    found = set()
    for path, tree in trees():
        if path.relative_to(PACKAGE).parts[0] in ELSEWHERE:
            continue
        for name, call in calls(tree):
            if name in ("Sentence", "_error") or name.endswith("Error"):
                found |= {text for arg in call.args[:2] if (text := text_of(arg)) and " " in text.strip()}
    return found
