"""What a person can meet in words, found in the source: marked texts, sentences of the log, errors and remedies."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "lora_forge"
ELSEWHERE = ("cli", "demo.py", "doctor.py", "toyworld", "__main__.py")  # met in a terminal, in English


_READS_ON = re.compile(r"[A-Za-z]{2,} [a-z].*[.}]\s*$", re.DOTALL)


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


def texts_of(node: ast.AST) -> Iterator[str]:
    """A string constant's value, or both of a choice between two."""
    if isinstance(node, ast.IfExp):
        yield from texts_of(node.body)
        yield from texts_of(node.orelse)
    elif (text := text_of(node)) is not None:
        yield text


def modules() -> Iterator[ast.Module]:
    """Every module whose words a page can meet."""
    for path, tree in trees():
        if path.relative_to(PACKAGE).parts[0] not in ELSEWHERE:
            yield tree


def marked() -> set[str]:
    """Arguments of ``word("...")`` and ``say("...", language)`` everywhere."""
    every = (call for tree in modules() for name, call in calls(tree) if name in ("word", "say") and call.args)
    return {text for call in every for text in texts_of(call.args[0])}


def _templates(name: str, call: ast.Call) -> list[ast.expr]:
    """Which of a call's arguments a person is told."""
    if name in ("Sentence", "Said", "Warned", "finish"):
        return call.args[:1]
    if name == "StageDone":
        return call.args[1:2]
    if name == "UnreadableImageError":
        return call.args[1:3]
    return call.args[:2] if name == "_error" or name.endswith("Error") else []


def said() -> set[str]:
    """Templates of the job's log and of what it is made of, and what errors say and advise, where the page can meet
    them. What is nothing but places (``{name}: {reason}``) needs no words."""
    every = (arg for tree in modules() for name, call in calls(tree) for arg in _templates(name, call))
    found = {text for arg in every for text in texts_of(arg) if " " in text.strip()}
    return {text for text in found if re.search(r"[A-Za-z]{2}", re.sub(r"{[^}]*}", "", text))}


def sentences() -> set[str]:
    """Strings anywhere that read like a sentence with places: templates that reach their error or event in a variable,
    a table or a function of the module's own."""
    found = set()
    for tree in modules():
        glued_parts = (part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values)
        documents = (node.value for node in ast.walk(tree) if isinstance(node, ast.Expr))
        others = {id(node) for node in (*glued_parts, *documents)}
        texts = {text for node in ast.walk(tree) if id(node) not in others and (text := text_of(node))}
        found |= {text for text in texts if _READS_ON.search(text) and re.search(r"\{\w+(![rs])?\}", text)}
    return found


def glued() -> list[str]:
    """Templates of the job's log that are made on the spot, so that no catalogue can know them."""
    names = ("Sentence", "Said", "Warned", "StageDone", "finish")
    every = (arg for tree in modules() for name, call in calls(tree) if name in names for arg in _templates(name, call))
    return [ast.unparse(arg) for arg in every if isinstance(arg, (ast.JoinedStr, ast.BinOp)) or _is_glue(arg)]


def _is_glue(node: ast.expr) -> bool:
    """``"...".format(...)`` or ``"...".join(...)``."""
    return isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("format", "join")


def unfilled() -> list[str]:
    """Log templates whose literal values are not those of their places: they would fail when they are said."""
    found = []
    for tree in modules():
        constants = {
            target.id: text
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name) and (text := _constant(node.value)) is not None
        }
        for name, call in calls(tree):
            given = call.args[2 if name == "StageDone" else 1 :][:1]
            if (
                name not in ("Sentence", "Said", "Warned", "StageDone")
                or not given
                or not isinstance(given[0], ast.Dict)
            ):
                continue
            keys = {text_of(key) for key in given[0].keys if key is not None}
            for arg in _templates(name, call):
                for text in [constants.get(arg.id, "")] if isinstance(arg, ast.Name) else texts_of(arg):
                    wanted = {place for _, place, _, _ in string.Formatter().parse(text) if place}
                    if wanted - keys and None not in (given[0].keys):
                        found.append(f"{text}: {sorted(wanted)}")
    return found


def _constant(node: ast.expr) -> str | None:
    """``"..."`` or ``word("...")``."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "word" and node.args:
        return text_of(node.args[0])
    return text_of(node)
