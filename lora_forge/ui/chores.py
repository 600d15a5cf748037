"""Words of the bar that shows what goes on beside a run."""

from __future__ import annotations

from lora_forge.i18n import word

CHORE_WORDS = {
    "stop": word("Stop"),
    "left": word("left"),
    "idle": word("Nothing is running."),
    "waiting": word("waiting"),
    "running": word("Running"),
    "stopping": word("Stopping"),
    "done": word("Done"),
    "stopped": word("Stopped"),
    "failed": word("Failed"),
}
