"""Whatever ended a job, in words: what happened and what to do."""

from __future__ import annotations

import contextlib
import sys
import traceback

from lora_forge.errors import LoraForgeError
from lora_forge.events import kept
from lora_forge.jobs.sentences import Sentence

_FULL = ("out of memory", "can't allocate memory", "not enough memory")
_MEMORY_REMEDY = (
    "Turn on gradient_checkpointing, lower batch_size or resolution_px, or close other programs; then resume the run."
)


class JobError(LoraForgeError):
    """A job can't be started or told something now."""


def explain(cause: BaseException, *, is_traced: bool = True) -> tuple[Sentence, Sentence]:
    """What happened, and the remedy (which may be empty). Never raises.

    An error that nobody raised on purpose also leaves its trace on standard error, for a report, with ``is_traced``.
    """
    with contextlib.suppress(Exception):  # a __str__ that fails, a template without its value
        return _explain(cause, is_traced)
    return _error("The job ended by {kind}.", kind=type(cause).__name__), Sentence("")


def _explain(cause: BaseException, is_traced: bool) -> tuple[Sentence, Sentence]:
    if isinstance(cause, LoraForgeError):
        values = {name: kept(value) for name, value in cause.values.items()}
        what, remedy = _error(cause.what, **values), Sentence(cause.remedy, values)
        what.text(), remedy.text()
        return what, remedy
    if isinstance(cause, MemoryError) or (isinstance(cause, RuntimeError) and _says_full(cause)):
        first = (str(cause).splitlines() or ["MemoryError"])[0]
        return _error("The memory is full ({cause}).", cause=first), Sentence(_MEMORY_REMEDY)
    if not isinstance(cause, Exception):
        what = _error("The job was ended from outside ({kind}).", kind=type(cause).__name__)
        return what, Sentence("What was saved before stays good: resume the run.")
    if is_traced:
        print("".join(traceback.format_exception(type(cause), cause, cause.__traceback__)), file=sys.stderr, flush=True)
    what = _error("Something unexpected happened: {kind}: {cause}.", kind=type(cause).__name__, cause=str(cause))
    return what, Sentence("The console has the details; what was saved before stays good.")


def lost() -> tuple[Sentence, Sentence]:
    """For a thread that is gone and could say nothing."""
    what = _error("The job's thread ended without a word.")
    return what, Sentence("What was saved before stays good: resume the run.")


def _says_full(cause: BaseException) -> bool:
    return any(words in str(cause).lower() for words in _FULL)


def _error(template: str, **values: object) -> Sentence:
    return Sentence(template, values, "error")
