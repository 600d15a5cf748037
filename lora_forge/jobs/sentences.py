"""Events as sentences in a log that a person reads; kept as templates, so that they can be translated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import singledispatch

from lora_forge import events
from lora_forge.i18n import Said, word
from lora_forge.progress import size

WAIT_STAGE = "wait"

_STAGES = {
    "import": word("Importing {total} photos."),
    "prepare": word("Preparing {total} photos."),
    "faces": word("Looking for faces in {total} photos."),
    "face_set": word("Cutting the faces of {total} photos."),
    "tag": word("Tagging {total} photos."),
    "checkup": word("Checking {total} photos."),
    "download": word("Downloading."),
    WAIT_STAGE: word("Waiting until the checkpoint is free: pictures that are being made come first."),
    "encode": word("Encoding {total} {unit}."),
    "train": word("Training: {total} steps."),
    "trial": word("Test firing: two steps, and a preview where there are any."),
    "prove": word("Looking whether the host is as it was."),
    "grid": word("Drawing {total} cells."),
    "score": word("Scoring {total} cells."),
    "album": word("Drawing {total} pictures."),
    "resize": word("Bringing {total} layers to a lower rank."),
    "merge": word("Merging {total} layers."),
}
_UNITS = (word("images"), word("steps"), word("photos"), word("cells"))
_RUN = word(
    "{name}: {photos} photos, {steps} steps an epoch, {total} in all; "
    "base {base}, {prediction} ({source}), on {device} in {precision}."
)
_RUN_ON = word(
    "{name} goes on at step {first} of {total}: {photos} photos, {steps} steps an epoch; "
    "base {base}, {prediction} ({source}), on {device} in {precision}."
)


@dataclass(frozen=True)
class Sentence(Said):
    """``template`` with ``{named}`` places for ``values``. ``level``: ``info``, ``warning`` or ``error``."""

    level: str = "info"


def _kept(template: str, values: Mapping[str, object], level: str = "info") -> Sentence:
    return Sentence(template, {name: events.kept(value) for name, value in values.items()}, level)


@singledispatch
def sentence_of(event: events.Event) -> Sentence | None:
    """The sentence for ``event``; None for one that only moves the bar."""
    return None


@sentence_of.register
def _(event: events.StageStarted) -> Sentence:
    template = _STAGES.get(event.stage, "{stage}: {total} {unit}." if event.total else "{stage} ...")
    return Sentence(template, {"stage": Said(event.stage), "total": event.total, "unit": Said(event.unit)})


@sentence_of.register
def _(event: events.StageDone) -> Sentence | None:
    return _kept(event.template, event.values) if event.template else None


@sentence_of.register
def _(event: events.Warned) -> Sentence:
    return _kept(event.template, event.values, "warning")


@sentence_of.register
def _(event: events.RunStarted) -> Sentence:
    values = {
        "name": event.name,
        "photos": event.photos,
        "steps": event.steps_per_epoch,
        "total": event.total_steps,
        "base": event.family,
        "prediction": event.prediction_type,
        "source": events.kept(event.prediction_source),
        "device": event.device,
        "precision": event.precision,
        "first": event.first_step,
    }
    return Sentence(_RUN_ON if event.first_step > 1 else _RUN, values)


@sentence_of.register
def _(event: events.EpochEnded) -> Sentence:
    values = {"epoch": event.epoch, "loss": f"{event.window_mse:.4f}"}
    if event.validation_loss is None:
        return Sentence("Epoch {epoch}: mean loss {loss}.", values)
    values["validation"] = f"{event.validation_loss:.4f}"
    return Sentence("Epoch {epoch}: mean loss {loss}, validation {validation}.", values)


@sentence_of.register
def _(event: events.LoraSaved) -> Sentence:
    values = {"file": event.path.name, "keys": event.keys, "size": size(event.size_bytes)}
    return Sentence("Saved {file} ({keys} keys, {size}).", values)


@sentence_of.register
def _(event: events.PreviewMade) -> Sentence:
    return Sentence("Preview at step {step}: {file}", {"step": event.step, "file": event.path.name})


@sentence_of.register
def _(event: events.Paused) -> Sentence:
    return Sentence("Paused after step {step}; the state is saved.", {"step": event.step})


@sentence_of.register
def _(event: events.Resumed) -> Sentence:
    return Sentence("Going on after step {step}.", {"step": event.step})


@sentence_of.register
def _(event: events.GridSaved) -> Sentence:
    values = {"columns": event.columns, "rows": event.rows, "file": event.path.name}
    return Sentence("Grid of {columns} x {rows}: {file}", values)


@sentence_of.register
def _(event: events.Recommended) -> Sentence:
    return _kept(event.sentence.template, event.sentence.values)


@sentence_of.register
def _(event: events.RunEnded) -> Sentence | None:
    values = {"step": event.step, "total": event.total_steps, "files": len(event.files)}
    if event.outcome == "done":
        return Sentence("Done at step {step} of {total}; {files} files.", values)
    if event.outcome == "stopped":
        return Sentence("Stopped at step {step} of {total}; {files} files.", values)
    return None  # what failed is said by the error itself
