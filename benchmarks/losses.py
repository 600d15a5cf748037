"""The losses of two trainers, and whether their curves agree.

Both print or write the plain mean squared error of every step. Their random draws (noise, timesteps, order of the
photos) differ, the distributions they are drawn from do not: so means over many steps are compared, not steps. The
statistic is z = difference of the two means / its standard error, where the error of a mean is its standard deviation
over the steps divided by the root of their number. It is taken over the whole run and over up to four parts of it, of
at least 20 steps each, so that a curve that falls otherwise is seen too. The curves agree when every |z| is under 3.
How small a difference such a run can see at all is the error in percent that stands beside it.
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PARTS = 4
PART_STEPS = 20
MOST_Z = 3.0
LOSS_TAG = "loss/current"


@dataclass(frozen=True)
class Mean:
    """A mean over steps and its standard error."""

    value: float
    error: float

    @staticmethod
    def of(values: Sequence[float]) -> Mean:
        """Of at least two values."""
        return Mean(statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values)))

    def __str__(self) -> str:
        return f"{self.value:.4f} ± {self.error:.4f}"


@dataclass(frozen=True)
class Agreement:
    """Two curves beside each other. ``parts``: z of each part, in order."""

    ours: Mean
    theirs: Mean
    parts: tuple[float, ...]
    steps: int

    @property
    def difference(self) -> Mean:
        """Ours less theirs."""
        return Mean(self.ours.value - self.theirs.value, math.hypot(self.ours.error, self.theirs.error))

    @property
    def z(self) -> float:
        """The difference in standard errors."""
        return self.difference.value / max(self.difference.error, 1e-12)

    @property
    def is_agreed(self) -> bool:
        """No |z| reaches 3."""
        return all(abs(z) < MOST_Z for z in (self.z, *self.parts))

    def __str__(self) -> str:
        word = "agree" if self.is_agreed else "DISAGREE"
        parts = f"; parts {', '.join(f'{z:+.1f}' for z in self.parts)}" if len(self.parts) > 1 else ""
        gap, share = self.difference, 100 / self.theirs.value
        return (
            f"{word}: mean of {self.steps} steps {self.ours} and {self.theirs}, difference {gap} "
            f"({share * gap.value:+.1f} ± {share * gap.error:.1f} %), z {self.z:+.1f}{parts}"
        )


def compare(ours: Sequence[float], theirs: Sequence[float]) -> Agreement:
    """The two curves over the steps that both have (at least two)."""
    steps = min(len(ours), len(theirs))
    ours, theirs = ours[:steps], theirs[:steps]
    count = max(1, min(PARTS, steps // PART_STEPS))
    edges = [round(part * steps / count) for part in range(count + 1)]
    pairs = [(Mean.of(ours[a:b]), Mean.of(theirs[a:b])) for a, b in itertools.pairwise(edges)]
    z = tuple((a.value - b.value) / max(math.hypot(a.error, b.error), 1e-12) for a, b in pairs)
    return Agreement(Mean.of(ours), Mean.of(theirs), z, steps)


def largest_difference(one: Sequence[float], other: Sequence[float]) -> float:
    """Of two runs with the same draws: the largest difference at a step, as a share of the loss there."""
    return max(abs(a - b) / abs(b) for a, b in zip(one, other, strict=False))


def losses_of_ours(log: Path) -> list[float]:
    """The plain error of each step in the output of ``lora-forge train --json``; a skipped step has none."""
    found = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("{") and '"StepDone"' in line:
            event = json.loads(line)
            if event["mse"] is not None and not event["is_skipped"]:
                found.append(float(event["mse"]))
    return found


def losses_of_kohya(folder: Path) -> list[float]:
    """``loss/current`` of each step from the TensorBoard files that kohya wrote below ``--logging_dir``."""
    found: dict[int, float] = {}
    for path in sorted(folder.rglob("*tfevents*")):
        for record in _records(path.read_bytes()):
            step, values = _event(record)
            if LOSS_TAG in values:
                found[step] = values[LOSS_TAG]
    return [found[step] for step in sorted(found)]


def _records(data: bytes) -> Iterator[bytes]:
    """TFRecord: length (uint64), its checksum (4 bytes), the record, its checksum (4 bytes)."""
    place = 0
    while place + 12 <= len(data):
        length = struct.unpack_from("<Q", data, place)[0]
        yield data[place + 12 : place + 12 + length]
        place += length + 16


def _event(record: bytes) -> tuple[int, dict[str, float]]:
    """Step and scalars of a TensorBoard ``Event``: field 2 the step, 5 the summary; in it 1 a value, in that 1 the
    tag and 2 a plain float (``tensorflow/core/util/event.proto``, ``summary.proto``)."""
    fields = dict(_fields(record))
    values: dict[str, float] = {}
    summary = fields.get(5, b"")
    for number, value in _fields(summary if isinstance(summary, bytes) else b""):
        if number == 1 and isinstance(value, bytes):
            inner = dict(_fields(value))
            tag, scalar = inner.get(1), inner.get(2)
            if isinstance(tag, bytes) and isinstance(scalar, bytes) and len(scalar) == 4:
                values[tag.decode()] = struct.unpack("<f", scalar)[0]
    step = fields.get(2, 0)
    return (step if isinstance(step, int) else 0), values


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of a protobuf message: varints as int, all else as its bytes."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == 0:
            value, place = _varint(message, place)
            yield key >> 3, value
            continue
        length = {1: 8, 5: 4}.get(kind)
        if length is None:
            length, place = _varint(message, place)
        yield key >> 3, message[place : place + length]
        place += length


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
