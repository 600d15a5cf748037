"""The panel that the script draws from ``GET /lora_forge/status``: its frame, and its words."""

from __future__ import annotations

from lora_forge.i18n import say, word
from lora_forge.ui import markup

WORDS = {
    "idle": word("Nothing is running."),
    "waiting": word("Waiting for the checkpoint"),
    "running": word("Running"),
    "stopping": word("Stopping"),
    "done": word("Done"),
    "stopped": word("Stopped"),
    "failed": word("Failed"),
    "paused": word("Paused"),
    "step": word("step"),
    "epoch": word("epoch"),
    "loss": word("loss"),
    "window_mse": word("mean of the last epoch"),
    "left": word("left"),
    "speed": word("images/s"),
    "files": word("Files"),
    "log": word("Log"),
    "lost": word("No answer from the program; asking again."),
    "login": word("Please log in again: reload the page."),
    "import": word("importing"),
    "prepare": word("preparing"),
    "wait": word("waiting"),
    "encode": word("encoding"),
    "train": word("training"),
    "prove": word("comparing"),
    "pasting": word("Filling in txt2img ..."),
    "pasted": word("txt2img is filled in."),
    "pressed": word("txt2img draws the grid."),
    "refused": word("txt2img did not take the settings: look there, and press Generate yourself."),
}


def panel(language: str) -> str:
    """The panel's frame with its words in ``language``."""
    return markup.frame("lf-live", {name: say(text, language) for name, text in WORDS.items()}, language)
