"""Words of the next round: advice, and rounds side by side."""

from __future__ import annotations

from lora_forge.i18n import word

ROUNDS_WORDS = {
    "title": word("Next round"),
    "next": word("What to do next"),
    "none": word("No test of this project has told a cell yet: test a LoRA above, and the advice comes here."),
    "advised": word("Advised"),
    "begin": word("Begin"),
    "look": word("Look at them"),
    "keep": word("Keep it"),
    "side_by_side": word("Rounds side by side"),
    "picture": word("Picture"),
    "steps": word("Steps"),
    "best": word("Best"),
    "score": word("Score"),
    "target": word("target {target}"),
    "cell": word("epoch {epoch} at strength {strength}"),
    "diagnosis": word("Diagnosis"),
    "identity": word("Likeness"),
    "obedience": word("Obedience"),
    "copying": word("Copying"),
    "health": word("Health"),
    "untested": word("Not tested yet"),
    "test_it": word("Test it"),
    "started": word("{name} has begun: its steps are shown in Train."),
    "queued": word("{name} waits in the queue: it begins when the present job is done."),
}
