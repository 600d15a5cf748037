"""One operation as a page or a command line asks for it, checked; and what it is called in an undo list."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lora_forge.dataset.captions import split_tags
from lora_forge.dataset.tags.errors import TagError
from lora_forge.i18n import word

KINDS = {
    "add": word("Add {tags}"),
    "clean": word("Clean up tags"),
    "dedupe": word("Remove duplicate tags"),
    "front": word("Move {tags} to the front"),
    "move": word("Move {tags}"),
    "paste": word("Paste {tags}"),
    "remove": word("Remove {tags}"),
    "replace": word("Replace {find} by {to}"),
    "set": word("Edit a caption"),
    "sort": word("Sort tags"),
    "trigger": word("Put the trigger word in front"),
    "truncate": word("Shorten to {limit} tokens"),
}
_POSITIONS, _SORTS = ("front", "end"), ("alpha", "count", "length", "dictionary")
_REPLACES, _PASTES = ("tag", "text", "regex"), ("replace", "append", "prepend")
_MOST_TAGS, _MOST_PATTERN = 1000, 500
_SHOWN = 3


@dataclass(frozen=True)
class Operation:
    """See :mod:`lora_forge.dataset.tags.edits` for what each kind does with which fields."""

    kind: str
    tags: tuple[str, ...] = ()
    position: str | int = "end"
    find: str = ""
    to: str = ""
    mode: str = ""
    by: str = "alpha"
    text: str | None = None
    ignore_case: bool = True
    whole: bool = False
    reverse: bool = False
    underscores: bool = True
    limit: int = 75

    @property
    def label(self) -> tuple[str, dict[str, object]]:
        """A template and its values."""
        more = "" if len(self.tags) <= _SHOWN else " …"
        values = {"tags": ", ".join(self.tags[:_SHOWN]) + more, "find": self.find, "to": self.to, "limit": self.limit}
        template = KINDS[self.kind]
        return template, {name: value for name, value in values.items() if "{" + name + "}" in template}


def parse_operation(plain: Mapping[str, Any]) -> Operation:
    """The operation in a JSON object.

    Raises:
        TagError: there is no such operation, a field is missing or of the wrong kind, or the pattern is none.
    """
    kind = plain.get("kind")
    if kind not in KINDS:
        raise TagError("There is no operation {kind!r}.", "Known are {known}.", kind=kind, known=", ".join(KINDS))
    tags = _tags(plain, is_needed=kind in ("add", "remove", "front", "paste"))
    if kind == "move":
        tags = _tags({"tags": [plain.get("tag")]}, is_needed=True)
    mode = str(plain.get("mode", {"replace": "tag", "paste": "append"}.get(str(kind), "")))
    operation = Operation(
        kind=str(kind),
        tags=tags,
        position=_position(plain.get("to" if kind == "move" else "position", "end")),
        find=_text(plain, "find", is_needed=kind == "replace"),
        to=_text(plain, "to", is_needed=False) if kind == "replace" else "",
        mode=mode,
        by=str(plain.get("by", "alpha")),
        text=_text(plain, "text", is_needed=True) if "text" in plain else None,
        ignore_case=bool(plain.get("ignore_case", mode == "tag")),
        whole=bool(plain.get("whole", False)),
        reverse=bool(plain.get("reverse", False)),
        underscores=bool(plain.get("underscores", True)),
        limit=_limit(plain.get("limit", 75)),
    )
    _check(operation)
    return operation


def _check(operation: Operation) -> None:
    known: dict[str, tuple[str, tuple[str, ...]]] = {
        "replace": (operation.mode, _REPLACES),
        "paste": (operation.mode, _PASTES),
        "sort": (operation.by, _SORTS),
    }
    value, allowed = known.get(operation.kind, ("", ("",)))
    if value not in allowed:
        raise TagError("{value!r} is not known here.", "Say one of {known}.", value=value, known=", ".join(allowed))
    if operation.kind == "replace" and operation.mode == "regex":
        check_pattern(operation.find, operation.to)


def check_pattern(pattern: str, to: str = "") -> None:
    """Refuse a regular expression that is none, or that could take for ever.

    Raises:
        TagError: as said.
    """
    if len(pattern) > _MOST_PATTERN:
        raise TagError("The pattern is longer than {most} characters.", most=_MOST_PATTERN)
    try:
        re.compile(pattern).sub(to, "")
    except (re.error, OverflowError, RecursionError, IndexError) as cause:
        raise TagError("{pattern} is no regular expression: {cause}.", pattern=pattern, cause=cause) from cause
    if _has_nested_repeats(pattern):
        raise TagError(
            "{pattern} repeats a repeat, which can take for ever.", "Write it with one + or *.", pattern=pattern
        )


def _has_nested_repeats(pattern: str) -> bool:
    """Whether a repeat without an end holds another: (a+)+ takes twice as long for every letter more."""
    try:
        parser: Any = importlib.import_module("re._parser")
    except ImportError:  # Python 3.10
        parser = importlib.import_module("sre_parse")
    return _nests(parser.parse(pattern), parser, False)


def _nests(parts: Any, parser: Any, is_inside: bool) -> bool:
    for name, value in parts:
        is_repeat = str(name) in ("MAX_REPEAT", "MIN_REPEAT") and value[1] >= parser.MAXREPEAT
        if is_repeat and is_inside:
            return True
        if any(_nests(inner, parser, is_inside or is_repeat) for inner in _inner(value, parser)):
            return True
    return False


def _inner(value: Any, parser: Any) -> list[Any]:
    """The patterns within one part of a pattern."""
    if isinstance(value, parser.SubPattern):
        return [value]
    if isinstance(value, (list, tuple)):
        return [pattern for item in value for pattern in _inner(item, parser)]
    return []


def _tags(plain: Mapping[str, Any], is_needed: bool) -> tuple[str, ...]:
    found = plain.get("tags", ())
    found = [found] if isinstance(found, str) else found
    if not isinstance(found, (list, tuple)) or not all(isinstance(tag, str) for tag in found):
        raise TagError("{name} must be a list of texts.", name="tags")
    if len(found) > _MOST_TAGS:
        raise TagError("More than {most} tags at once.", most=_MOST_TAGS)
    tags = tuple(tag for text in found for tag in split_tags(text.replace("\n", " ")))
    if is_needed and not tags:
        raise TagError("There is no tag to work with.", "Type or choose one.")
    return tags


def _text(plain: Mapping[str, Any], name: str, is_needed: bool) -> str:
    value = plain.get(name, "")
    if not isinstance(value, str):
        raise TagError("{name} must be text.", name=name)
    if is_needed and name == "find" and not value:
        raise TagError("There is nothing to look for.", "Type what is to be replaced.")
    return value.replace("\r\n", "\n").replace("\0", "").strip() if name == "text" else value


def _position(value: Any) -> str | int:
    if value in _POSITIONS:
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lstrip("-").isdecimal() and len(value) < 9:
        return int(value)
    raise TagError("{value!r} is not known here.", "Say one of {known}.", value=value, known="front, end, 3")


def _limit(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise TagError("{name} must be a whole number above 0.", name="limit")
    return int(value)
