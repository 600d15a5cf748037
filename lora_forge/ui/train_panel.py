"""The Train step that the script fills from our routes: its frame, and its words."""

from __future__ import annotations

from lora_forge.i18n import say, word
from lora_forge.ui import markup
from lora_forge.ui.live import RUN_STATES

WORDS = {
    **RUN_STATES,
    "name": word("LoRA name"),
    "name_hint": word("The files are NAME-000001, NAME-000002 and so on."),
    "trigger": word("Trigger word"),
    "trigger_hint": word("The word in a prompt that calls what is learned."),
    "start": word("Start"),
    "started": word("{name} has started."),
    "queued": word("{name} waits in the queue: it starts when the runs before it are over."),
    "more_settings": word("More settings"),
    "search_settings": word("Search the settings"),
    "only_changed": word("only what I changed"),
    "all_default": word("All as the type proposes"),
    "no_setting": word("No setting has these words."),
    "back_to_default": word("Back to the default"),
    "default_is": word("default: {value}"),
    "changed_count": word("{count} changed"),
    "why_default": word("Why this default:"),
    "effect_quality": word("Quality:"),
    "effect_time": word("Time:"),
    "effect_memory": word("Memory:"),
    "yes": word("on"),
    "no": word("off"),
    "nothing": word("nothing"),
    "own_presets": word("My presets"),
    "choose_preset": word("Choose one"),
    "no_preset": word("none yet"),
    "preset_line": word("{name} ({count} changed)"),
    "preset_name": word("Name of the preset"),
    "preset_take": word("Take it"),
    "preset_taken": word("The settings are those of {name}."),
    "preset_share": word("Share as a file"),
    "preset_share_hint": word("A small text file; others bring it in with the button beside."),
    "preset_remove": word("Move to the trash"),
    "preset_removed": word("{name} is in the trash."),
    "preset_keep": word("Keep these settings"),
    "preset_keep_hint": word("The type and everything you changed, under this name."),
    "preset_kept": word("{name} is kept."),
    "bring_settings": word("Bring in a file"),
    "bring_settings_hint": word("A shared preset, or settings of kohya's scripts and their pages (.toml, .json)."),
    "settings_brought": word("{count} settings taken from {name}."),
    "settings_left": word("{count} settings were left out"),
    "settings_of": word("The settings are those of {name}."),
    "trial": word("Test firing"),
    "trial_hint": word("Two real steps and one preview: measures memory and speed before the run, and saves nothing."),
    "trial_started": word("The test firing has started: two steps and one preview."),
    "trial_stale": word("(Settings have changed since.)"),
    "ladder": word("What takes less memory, the gentlest first:"),
    "apply": word("Apply"),
    "applied": word("Applied: {sentence}"),
    "sweep": word("Try several values"),
    "sweep_hint": word("Queue a few runs that differ in one setting, and compare them."),
    "sweep_title": word("Several runs that differ in one setting"),
    "sweep_key": word("Setting"),
    "sweep_values": word("Values, with commas between"),
    "sweep_add": word("Put them in the queue"),
    "sweep_added": word("{count} runs are in the queue."),
    "prove": word("Prove that the host is left as it was"),
    "prove_hint": word("Compares before and after. A picture takes as long as one in txt2img, twice."),
    "prove_off": word("Off"),
    "prove_weights": word("Weights"),
    "prove_picture": word("Weights and a picture"),
    "folder": word("Folder inside the Lora folder"),
    "folder_hint": word("Empty: the Lora folder itself."),
    "folder_example": word("for example people/anna"),
    "runs_title": word("Runs"),
    "all_projects": word("of all projects"),
    "no_runs": word("No run yet."),
    "show_run": word("Show its chart and previews"),
    "run_steps": word("step {step} of {total}"),
    "run_files": word("{count} files"),
    "run_loss": word("loss {loss}"),
    "resume_run": word("Go on with it"),
    "run_remove_hint": word("Move the run to the trash; its LoRA files stay."),
    "run_removed": word("{name} is in the project's trash; its LoRA files stay."),
    "queue_title": word("Queue: {count}"),
    "queue_hold": word("Hold"),
    "queue_hold_hint": word("The run at work goes on; the next one waits until you press Go."),
    "queue_go": word("Go"),
    "held": word("The queue is held: nothing starts by itself."),
    "queue_up": word("Earlier"),
    "queue_down": word("Later"),
    "queue_edit": word("Change"),
    "queue_edit_hint": word("Take its settings into the form above."),
    "queue_duplicate": word("Copy"),
    "queue_duplicate_hint": word("The same once more, under a new name."),
    "queue_remove": word("Remove"),
    "queue_remove_hint": word("Take it out of the queue."),
    "editing": word("The form holds the settings of {name}, which waits. Change them and keep them."),
    "edit_keep": word("Keep the changes"),
    "edit_cancel": word("Cancel"),
    "edit_kept": word("{name} waits with the new settings."),
    "close": word("Close"),
}


def panel(language: str) -> str:
    """The step's frame with its words in ``language``."""
    return _frame("lf-train", language)


def history(language: str) -> str:
    """The frame of the queue and of the list of runs, with the step's own words."""
    return _frame("lf-history", language)


def _frame(name: str, language: str) -> str:
    return markup.frame(name, {key: say(text, language) for key, text in WORDS.items()}, language)
