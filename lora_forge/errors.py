"""Errors a person can act on: what happened, to which value, and what to do about it."""

from __future__ import annotations


class LoraForgeError(Exception):
    """Base of every error we raise on purpose.

    ``what`` and ``remedy`` are English templates with ``{named}`` places, filled from ``values``;
    templates, not finished sentences, so that a catalogue can translate them.
    """

    def __init__(self, what: str, remedy: str = "", **values: object) -> None:
        self.what = what
        self.remedy = remedy
        self.values = values
        super().__init__(self.message())

    def message(self) -> str:
        """Both sentences, filled in, on one line."""
        return " ".join(part.format(**self.values) for part in (self.what, self.remedy) if part)


class ConfigError(LoraForgeError):
    """A setting is unknown, of the wrong kind, or out of range."""


class CheckpointError(LoraForgeError):
    """A base checkpoint can't be used; the message names what the file is."""


class DatasetError(LoraForgeError):
    """A project, photo, caption or archive can't be used."""


class LoraFileError(LoraForgeError):
    """A LoRA file can't be written, read back or matched."""


class TrainingError(LoraForgeError):
    """A run can't start or go on; what was saved before stays good."""


class MissingPartError(LoraForgeError):
    """An optional library or file is absent; ``remedy`` says how to get it."""
