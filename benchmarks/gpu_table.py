"""What ``gpu.py`` measured, as tables: the figures of issue 7 with their reach, the loss curves, the switches."""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from losses import compare, largest_difference
from meter import Mark, Measured

from lora_forge.atomic import write_json

WARM_UP_STEPS = 20
TITLES = {
    "sd15_b1": "SD1.5 512 px, batch 1",
    "sd15_b4": "SD1.5 512 px, batch 4",
    "sd15_b1_lean": "SD1.5 512 px, batch 1, checkpointing",
    "sdxl_b1": "SDXL 1024 px, batch 1",
    "sdxl_b1_lean": "SDXL 1024 px, batch 1, checkpointing",
    "sdxl_b1_fp8": "SDXL 1024 px, batch 1, checkpointing, fp8-stored weights",
}
SPEED_REACH = {"sd15_b1": 2.0, "sd15_b4": 1.3, "sdxl_b1": 1.3}
MEMORY_REACH_GIB = {"sd15_b1_lean": 3.2, "sdxl_b1_lean": 7.5, "sdxl_b1_fp8": 5.0}
PREVIEW_REACH = 0.10
CARD = "card"


@dataclass
class Result:
    """One run. ``used``: the most bytes of the card; ``tensors``: of them what torch counts (ours says it);
    ``previews``: share of the run's time that its previews took, None where it drew none."""

    run: Measured
    used: int
    tensors: int = 0
    previews: float | None = None

    @staticmethod
    def of(run: Measured, used: int, journal: Path | None) -> Result:
        """``journal``: that of our own run."""
        lines = journal.read_text(encoding="utf-8").splitlines() if journal and journal.is_file() else []
        events = [json.loads(line) for line in lines]
        tensors = max((event.get("memory_bytes") or 0 for event in events), default=0)
        return Result(run, used, tensors, preview_share(events))

    @staticmethod
    def load(path: Path, asked: Mapping[str, Any]) -> Result | None:
        """A finished run of exactly this task, if there is one."""
        if not path.is_file():
            return None
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("task") != asked or values["run"]["exit_code"] != 0:
            return None
        marks = [Mark(**mark) for mark in values["run"].pop("steps")]
        return Result(**{**values, "run": Measured(**values["run"], steps=marks)})

    def save(self, path: Path, asked: Mapping[str, Any]) -> None:
        """Whole or not at all."""
        write_json(path, {"task": dict(asked), **asdict(self)})

    @property
    def steps_per_s(self) -> float:
        return self.run.steps_per_s(min(WARM_UP_STEPS, max(1, len(self.run.steps) // 3)))

    @property
    def has_failed(self) -> bool:
        return self.run.exit_code != 0 or len(self.run.steps) < 2

    def said(self) -> str:
        """In a line."""
        if self.has_failed:
            last = [line for line in self.run.tail.splitlines() if line.strip()] or ["no output"]
            return f"failed: {last[-1].strip()[:160]}".replace("|", "/")
        return f"{self.steps_per_s:.2f} steps a second, {self.used / 2**30:.2f} GiB"


def preview_share(events: Sequence[Mapping[str, Any]]) -> float | None:
    """Share of the time from the run's start to its end that lies between a preview and the event before it."""
    names = [event["event"] for event in events]
    if "PreviewMade" not in names or "RunStarted" not in names:
        return None
    start = events[names.index("RunStarted")]["time"]
    drawing = sum(b["time"] - a["time"] for a, b in itertools.pairwise(events) if b["event"] == "PreviewMade")
    return float(drawing / max(events[-1]["time"] - start, 1e-9))


def line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def mark(is_reached: bool) -> str:
    return "ok" if is_reached else "**MISSED**"


def figure(result: Result | None, of: Callable[[Result], float], form: str) -> str:
    """A cell: the figure, why there is none, or nothing."""
    if result is None:
        return ""
    return "failed" if result.has_failed else form.format(of(result))


def row(
    what: str, ours: Result, theirs: Result | None, of: Callable[[Result], float], form: str, reach: str, least: float
) -> str:
    """A figure of both. ``least``: the ratio ours / kohya that is reached, 0 for none."""
    cells = [what, figure(ours, of, form), figure(theirs, of, form)]
    if theirs is None or ours.has_failed or theirs.has_failed:
        return line(*cells, "", reach, "")
    ratio = of(ours) / of(theirs)
    return line(*cells, f"{ratio:.2f}", reach, mark(ratio >= least) if least else "")


def memory_row(name: str, ours: Result, theirs: Result | None, place: str) -> str:
    """Peak memory, held against GiB."""
    of: Callable[[Result], float] = lambda result: result.used / 2**30  # noqa: E731
    mine = figure(ours, of, "{:.2f} GiB")
    if ours.tensors and not ours.has_failed and place == CARD:
        mine += f" ({ours.tensors / 2**30:.2f} of them torch's)"
    both = theirs is not None and not theirs.has_failed and not ours.has_failed
    ratio = f"{of(ours) / of(theirs):.2f}" if theirs is not None and both else ""
    most = MEMORY_REACH_GIB.get(name, 0.0)
    reached = mark(of(ours) <= most) if most and not ours.has_failed else ""
    reach = f"≤ {most} GiB" if most else ""
    return line(
        f"peak memory of the {place}: {TITLES[name]}", mine, figure(theirs, of, "{:.2f} GiB"), ratio, reach, reached
    )


def main_table(ours: Mapping[str, Result], theirs: Mapping[str, Result], place: str) -> list[str]:
    """The rows that are measured beside kohya, and the previews."""
    lines = ["| figure | LoRA Forge | kohya sd-scripts | ours / kohya | reach | |", "|---|---|---|---|---|---|"]
    named = {name: title for name, title in TITLES.items() if name in ours}
    for name, title in named.items():
        least = SPEED_REACH.get(name, 0.0)
        reach = f"≥ {least}x" if least else ""
        speed: Callable[[Result], float] = lambda result: result.steps_per_s  # noqa: E731
        lines.append(row(f"steps a second: {title}", ours[name], theirs.get(name), speed, "{:.2f}", reach, least))
    for name in named:
        lines.append(memory_row(name, ours[name], theirs.get(name), place))
    for name, title in named.items():
        start: Callable[[Result], float] = lambda result: result.run.steps[0].wall_s  # noqa: E731
        what = f"s from the command to the first step done: {title}"
        lines.append(row(what, ours[name], theirs.get(name), start, "{:.1f}", "", 0.0))
    for name, result in ours.items():
        if result.previews is not None:
            share, reached = f"{100 * result.previews:.1f} %", mark(result.previews <= PREVIEW_REACH)
            lines.append(line(f"previews' share of {name}", share, "", "", f"≤ {100 * PREVIEW_REACH:.0f} %", reached))
    return lines


def curve_lines(ours: Mapping[str, Result], theirs: Mapping[str, Result]) -> list[str]:
    """One sentence a row that both trained."""
    both = [(name, ours[name].run.losses, theirs[name].run.losses) for name in ours if name in theirs]
    return [
        f"- {TITLES[name]}: {compare(mine, other)}"
        if min(len(mine), len(other)) > 1
        else f"- {TITLES[name]}: no losses"
        for name, mine, other in both
    ]


def switch_table(ours: Mapping[str, Result], separator: str, place: str) -> list[str]:
    """Each switch beside the run without it: same seed, so the losses are compared step by step."""
    lines = [
        f"| run | switch | steps a second | against without | peak memory of the {place} | losses differ by at most |",
        "|---|---|---|---|---|---|",
    ]
    for name, result in ours.items():
        plain_name, _, switch = name.partition(separator)
        plain = ours.get(plain_name)
        if not switch or plain is None or "=" not in switch:
            continue
        if result.has_failed or plain.has_failed:
            lines.append(line(TITLES[plain_name], switch, "failed" if result.has_failed else "", "", "", ""))
            continue
        apart = largest_difference(result.run.losses, plain.run.losses)
        memory = f"{result.used / 2**30:.2f} GiB (without {plain.used / 2**30:.2f})"
        speed, ratio = f"{result.steps_per_s:.2f}", f"{result.steps_per_s / plain.steps_per_s:.2f}"
        lines.append(line(TITLES[plain_name], switch, speed, ratio, memory, f"{100 * apart:.3f} %"))
    return lines


def tables(
    ours: Mapping[str, Result], theirs: Mapping[str, Result], more: Sequence[str], separator: str, place: str
) -> str:
    """All of it as markdown. ``more``: lines of other benchmarks; ``separator``: in a run's name, before a switch;
    ``place``: whose memory it is."""
    steps = [len(result.run.steps) for result in ours.values() if not result.has_failed]
    failed = [
        f"- {name}, {program}: {result.said()}"
        for program, results in (("LoRA Forge", ours), ("kohya", theirs))
        for name, result in results.items()
        if result.has_failed
    ]
    switches = switch_table(ours, separator, place)
    parts = [
        "\n".join([*main_table(ours, theirs, place), *more]),
        "Loss curves, LoRA Forge and kohya:\n\n" + "\n".join(curve_lines(ours, theirs)) if theirs else "",
        "Switches of ours:\n\n" + "\n".join(switches) if len(switches) > 2 else "",
        "Runs that failed:\n\n" + "\n".join(failed) if failed else "",
        f"{statistics.median(steps):.0f} steps a run." if steps else "",
    ]
    return "\n\n".join(part for part in parts if part)
