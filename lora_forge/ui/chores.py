"""Words of the bar that shows what goes on beside a run, and of the models that can be fetched."""

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

MODEL_WORDS = {
    "downloads_title": word("Models to get"),
    "download": word("Download {size}"),
    "resume_download": word("Go on ({done} of {size})"),
    "accept": word("I accept the licence"),
    "have_file": word("I have the file"),
    "file_path": word("Its path on this machine"),
    "mirror": word("Mirror"),
    "mirror_hint": word("Another address for the downloads; empty: the source itself."),
    "keep": word("Keep"),
    "kept": word("Kept."),
}
