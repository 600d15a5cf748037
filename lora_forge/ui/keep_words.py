"""Words of the Keep step, and of the tools on kept files."""

from __future__ import annotations

from lora_forge.i18n import word
from lora_forge.ui.chores import CHORE_WORDS

KEEP_WORDS = {
    "nothing": word("Nothing to keep yet: train a LoRA, test it, and choose a cell there."),
    "lora": word("LoRA"),
    "epoch": word("Epoch"),
    "strength": word("Strength"),
    "recommended": word("The test recommends epoch {epoch} at strength {strength}."),
    "take_recommended": word("Take it"),
    "new_name": word("Name of the kept file"),
    "new_name_hint": word("A new name: WebUIs go on showing the old weights of a file that was overwritten."),
    "bake": word("Bake the strength in"),
    "bake_hint": word("The file is scaled so that strength 1 draws what {strength} draws now. Nothing else changes."),
    "bake_one": word("At strength 1 there is nothing to bake in."),
    "picture": word("Picture of the card"),
    "picture_none": word("No picture"),
    "picture_number": word("Picture {number}"),
    "activation": word("Activation text"),
    "activation_hint": word("What the card puts into the prompt: the trigger word, and what every photo had."),
    "weight": word("Preferred weight"),
    "weight_hint": word("The strength that the card puts into the prompt."),
    "more": word("Negative prompt and notes of the card"),
    "negative": word("Negative prompt"),
    "notes": word("Notes"),
    "away": word(
        "Its numbered files with their cards and pictures go to the archive: {count} files, {megabytes} MB. "
        "One press brings them back."
    ),
    "away_list": word("What goes to the archive"),
    "keep": word("Keep this one"),
    "undo": word("Undo: bring all back"),
    "go_on": word("Finish it"),
    "unfinished": word("cut off in the middle"),
    "archive": word("Archive ({count})"),
    "archive_line": word("{file}, kept on {date}"),
}

LORAS_WORDS = {
    **CHORE_WORDS,
    "title": word("Tools for LoRA files"),
    "search": word("Search by name, word or model"),
    "count": word("{shown} of {count} files"),
    "none": word("There are no LoRA files in the Lora folder."),
    "rank": word("rank {rank}"),
    "unreadable": word("can't be read"),
    "more": word("{count} more: search for them."),
    "facts": word("What it says"),
    "resize": word("Lower rank"),
    "merge": word("Merge"),
    "close": word("Close"),
    "words": word("Words of its captions"),
    "words_hint": word("Most frequent first; click to copy."),
    "copied": word("{word} is copied."),
    "settings": word("Settings it was trained with"),
    "settings_none": word("The file does not tell how it was trained."),
    "take_settings": word("Take these settings"),
    "taken": word("{count} settings are in the Train form."),
    "left": word("Not taken ({count})"),
    "by_rank": word("To rank"),
    "by_share": word("As low as keeps this share of it, in percent"),
    "resize_hint": word("A smaller file of nearly the same effect. How far it is off is said afterwards."),
    "with": word("With"),
    "strength": word("Strength"),
    "first_strength": word("Strength of {name}"),
    "merge_rank": word("Bring the sum to rank (empty: exact, the ranks lie side by side)"),
    "merge_hint": word("One file that draws what both together drew."),
    "new_name": word("Name of the new file"),
    "new_name_empty": word("empty: a free name is found"),
    "start": word("Start"),
    "kind_other": word("Only LoRA and LoCon files can be changed; what this one says can be read."),
}
