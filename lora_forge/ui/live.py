"""The panel that the script draws from ``GET /lora_forge/status``: its frame, and its words."""

from __future__ import annotations

from lora_forge.i18n import say, word
from lora_forge.ui import markup
from lora_forge.ui.chart_words import CHART_WORDS, PREVIEW_WORDS

RUN_STATES = {
    "queued": word("In the queue"),
    "interrupted": word("Interrupted"),
    "waiting": word("Waiting for the checkpoint"),
    "running": word("Running"),
    "stopping": word("Stopping"),
    "paused": word("Paused"),
    "done": word("Done"),
    "stopped": word("Stopped"),
    "failed": word("Failed"),
}

WORDS = {
    **CHART_WORDS,
    **PREVIEW_WORDS,
    **RUN_STATES,
    "idle": word("Nothing is running."),
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
    "pause": word("Pause"),
    "pause_hint": word("After this step; the state is saved first. The checkpoint stays with us meanwhile."),
    "go_on": word("Go on"),
    "go_on_hint": word("Goes on where it paused."),
    "stop_and_save": word("Stop and save"),
    "stop_and_save_hint": word("Writes a LoRA file of this very step; the run can be gone on with later."),
    "stop_without": word("Stop"),
    "stop_without_hint": word("Without saving; the run can be gone on with from its last saved state."),
    "save_now": word("Save now"),
    "save_now_hint": word("A LoRA file of this step; the run goes on."),
    "preview_now": word("Preview now"),
    "preview_now_hint": word("Draws the previews after this step; the run goes on."),
    "told_save": word("Saving after this step."),
    "told_preview": word("Drawing after this step."),
    "told_pause": word("Pausing after this step."),
    "preview_prompts": word("Preview prompts"),
    "prompts_hint": word("One a line, for the next previews; TRIGGER stands for the trigger word."),
    "use_prompts": word("Use them from the next preview on"),
    "prompts_taken": word("The next previews use these prompts."),
    "notify": word("Tell me when it is done"),
    "notify_hint": word("A notification of the browser, and the window's title."),
    "notify_title_only": word("The browser gives no notifications here; the window's title will tell."),
    "resume_run": word("Go on with it"),
    "resume_hint": word("From its last saved state, to the same result as without the interruption."),
    "take_settings": word("Use its settings"),
    "report": word("Report"),
    "report_copied": word(
        "The report is copied: versions, device, settings and the last lines, without personal paths."
    ),
    "report_shown": word("The report is below, ready to copy: no personal paths in it."),
    "pasting": word("Filling in txt2img ..."),
    "pasted": word("txt2img is filled in."),
    "pressed": word("txt2img draws the grid."),
    "refused": word("txt2img did not take the settings: look there, and press Generate yourself."),
}


def panel(language: str) -> str:
    """The panel's frame with its words in ``language``."""
    return markup.frame("lf-live", {name: say(text, language) for name, text in WORDS.items()}, language)
