"""Texts that may be shown to strangers: without the places and names of the person's machine."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Iterable
from pathlib import Path

# An absolute path's folders, blanks inside their names included; what stays is the name at its end. A drive or share of
# Windows with either slash, or a path of another system: a slash behind a letter or a blank before one is none.
_WINDOWS = re.compile(
    r"""(?<!\w)(?:[A-Za-z]:[\\/]+|\\\\+[^\\/\s"']+[\\/]+)(?:[^\\/:*?"'<>|\s]+(?: [^\\/:*?"'<>|\s]+)*[\\/]+)*"""
)
_POSIX = re.compile(r"""(?<![\w.:/\\~-])~?/(?=[\w.~-])(?:[^/\s"'<>|:;,()\[\]{}]+(?: [^/\s"'<>|:;,()\[\]{}]+)*/+)*""")
_SHORTEST_NAME = 3


class Scrubber:
    """Call it with a text: of every absolute path the last name is left, of a known folder (``roots``, ``home``) ``~``.

    Known ones are found however many blanks they hold, and whether or not they are spelled in capitals.
    """

    def __init__(self, roots: Iterable[Path] = (), home: Path | None = None, user: str | None = None) -> None:
        known = [*roots, *([home] if home is not None else _home())]
        places = sorted({text for place in known for text in _spellings(place)}, key=len, reverse=True)
        self._places = [re.compile(re.escape(text) + r"(?![\w-])", re.IGNORECASE) for text in places]
        name = _user() if user is None else user
        is_told = len(name) >= _SHORTEST_NAME and name.lower() not in ("root", "user", "admin")
        self._user = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE) if is_told else None

    def __call__(self, text: str) -> str:
        for place in self._places:
            text = place.sub(lambda found: r"Z:\~" if "\\" in found[0] else "/~", text)
        text = _POSIX.sub("", _WINDOWS.sub("", text))
        return self._user.sub("***", text) if self._user is not None else text


def _home() -> list[Path]:
    try:
        return [Path.home()]
    except RuntimeError:
        return []


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user in a container; no pwd module on Windows
        return ""


def _spellings(place: Path) -> set[str]:
    """The folder as it may be written, with either slash and through links; the root of a disk is none."""
    texts = {str(place), os.path.abspath(place), os.path.realpath(place)}
    found = {text.rstrip("\\/") for text in texts}
    long_enough = {text for text in found if len(text) > 3}
    return long_enough | {text.replace("\\", "/") for text in long_enough}
