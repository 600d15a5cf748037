"""Where a command's words go: progress and errors to standard error, results or JSON objects to standard output."""

from __future__ import annotations

import json
from typing import Any, TextIO

from lora_forge.events import Event, to_json
from lora_forge.progress import ProgressPrinter


class Console:
    """An ``Emit``. With ``is_json`` every event is a JSON object on a line of ``out``, else ``err`` shows progress."""

    def __init__(self, out: TextIO, err: TextIO, is_json: bool) -> None:
        self._out = out
        self._err = err
        self.is_json = is_json
        self._printer = ProgressPrinter(err)

    def __call__(self, event: Event) -> None:
        if self.is_json:
            self.object(to_json(event))
        else:
            self._printer(event)

    def object(self, values: dict[str, Any]) -> None:
        """One JSON object on standard output; escapes keep it readable in any console encoding."""
        self._out.write(json.dumps(values, allow_nan=False) + "\n")
        self._out.flush()

    def say(self, text: str) -> None:
        """A line for the person, not part of the result."""
        if not self.is_json:
            self._printer.line(text)

    def result(self, text: str) -> None:
        """A line of the result itself."""
        if not self.is_json:
            self._printer.close()
            self._out.write(text + "\n")
            self._out.flush()

    def error(self, message: str) -> None:
        """Why the command failed, on standard error in any mode."""
        self._printer.close()
        self._err.write(f"error: {message}\n")
        self._err.flush()
        if self.is_json:
            self.object({"event": "Failed", "message": message})

    def close(self) -> None:
        """End a live line."""
        self._printer.close()
