"""The trainer's libraries, imported while a person still reads the form.

diffusers and peft take a second to import, off a cold disk many: whoever presses Start then finds them there.
"""

from __future__ import annotations

import contextlib
import functools
import threading


@functools.cache
def warm() -> threading.Thread:
    """Begin to import the trainer beside everything else, once a program; gives the thread that does it."""
    thread = threading.Thread(target=_import_trainer, name="lora-forge-warm")
    thread.start()
    return thread


def _import_trainer() -> None:
    with contextlib.suppress(Exception):  # what is missing or broken is said to whoever starts a run
        import lora_forge.train.run  # noqa: F401
