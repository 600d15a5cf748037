"""POST command: what a page may tell a run."""

from __future__ import annotations

from typing import Any

import pytest

from lora_forge.events import Command, CommandBox, Emit, NewPrompts
from lora_forge.i18n import say
from lora_forge.web.answers import RefusedError
from lora_forge.web.commands import MOST_LETTERS, MOST_PROMPTS, command_of

from .conftest import Served

URL = "/lora_forge/command"
LONG_S = 60.0


@pytest.mark.parametrize("command", Command)
def test_every_command_is_known_by_its_value(command: Command) -> None:
    assert command_of({"command": command.value}) is command


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([], ()),
        (["TRIGGER"], ("TRIGGER",)),
        (["  a\nb ", "", "\t", "c"], ("a b", "c")),
        (["雪"] * MOST_PROMPTS, ("雪",) * MOST_PROMPTS),
        (["x" * MOST_LETTERS], ("x" * MOST_LETTERS,)),
    ],
)
def test_prompts_are_lines_of_their_own(given: list[str], kept: tuple[str, ...]) -> None:
    assert command_of({"command": "preview_prompts", "prompts": given}) == NewPrompts(kept)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"command": "fly"}, "no command 'fly'"),
        ({"command": "preview_prompts"}, "prompts is missing"),
        ({"command": "preview_prompts", "prompts": "TRIGGER"}, "prompts must be a list"),
        ({"command": "preview_prompts", "prompts": [3]}, "a text of at most 2000 letters"),
        ({"command": "preview_prompts", "prompts": ["x" * (MOST_LETTERS + 1)]}, "a text of at most 2000 letters"),
        ({"command": "preview_prompts", "prompts": ["x"] * (MOST_PROMPTS + 1)}, "9 preview prompts are too many"),
    ],
)
def test_what_is_no_command_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(RefusedError, match=words) as caught:
        command_of(values)
    assert caught.value.status == 400


def test_a_run_is_told_its_new_prompts(open_server: Served) -> None:
    taken: list[Any] = []

    def work(_: Emit, commands: CommandBox) -> str:
        taken.append(commands.take(LONG_S))
        return "done"

    open_server.board.start("girl", work)
    told = {"command": "preview_prompts", "prompts": ["TRIGGER, red dress"]}
    assert open_server.post(URL, told).json["state"] == "running"
    open_server.board.join(LONG_S)
    assert taken == [NewPrompts(("TRIGGER, red dress",))]
    refused = open_server.post(URL, {**told, "language": "zh"})
    assert (refused.status, refused.json["error"]["what"]) == (409, say("Nothing is running.", "zh"))
