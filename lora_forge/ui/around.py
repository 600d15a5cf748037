"""What the page needs of its surroundings besides the desk. Whoever composes the program hands it in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class Txt2Img(Protocol):
    """The host's own txt2img page, where it has one."""

    def bind(self, button: Any, textbox: Any) -> None:
        """Pressing ``button`` shall paste ``textbox``'s infotext into txt2img and go there."""
        ...

    def completed(self, infotext: str) -> str:
        """``infotext`` with those of the person's own settings that pasting it would otherwise override."""
        ...


@dataclass(frozen=True)
class Around:
    """``warning``: a sentence while strangers can reach the page, else empty. ``reads_folders``: whether a person may
    name any folder of the machine."""

    txt2img: Txt2Img | None = None
    warning: Callable[[], str] = lambda: ""
    reads_folders: Callable[[], bool] = lambda: True
