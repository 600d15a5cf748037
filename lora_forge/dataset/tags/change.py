"""What an edit, or the time since a revision, has changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lora_forge.dataset.tags.errors import TagError
from lora_forge.dataset.tags.journal import Label


@dataclass(frozen=True)
class PhotoTags:
    """One photo's caption. ``text``: all of it, where it is not plain tags on one line."""

    tags: tuple[str, ...]
    tokens: int
    text: str | None = None


@dataclass(frozen=True)
class Change:
    """What an edit, or the time since a revision, has changed. ``gone``: photos that are not there any more.
    ``left_out``: templates and values saying what was not edited and why. ``undo``, ``redo``: what they would do."""

    revision: int
    changed: Mapping[str, PhotoTags]
    gone: tuple[str, ...] = ()
    label: Label = ("", {})
    left_out: tuple[Label, ...] = ()
    undo: Label = ("", {})
    redo: Label = ("", {})


class ConflictError(TagError):
    """Somebody else has changed captions since; ``change`` is what they say now."""

    def __init__(self, change: Change, names: Sequence[str]) -> None:
        super().__init__(
            "{names} changed meanwhile, in another page or by another program.",
            "Look at what is there now, and do it again.",
            names=", ".join(names[:3]) + (" …" if len(names) > 3 else ""),
        )
        self.change = change
