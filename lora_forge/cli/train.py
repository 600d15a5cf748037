"""``lora-forge train``."""

from __future__ import annotations

import shlex
import signal
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lora_forge.cli.base import is_toyworld
from lora_forge.cli.console import Console
from lora_forge.cli.settings import resolve, resolve_resumed
from lora_forge.config import TrainConfig
from lora_forge.dataset.manifest import PrepareSettings
from lora_forge.dataset.prepare import prepare
from lora_forge.dataset.project import Project
from lora_forge.events import Command, CommandBox, Emit, Event, StepDone
from lora_forge.host.standalone import StandaloneHost
from lora_forge.model.read import read_facts
from lora_forge.train.ranks import Ranks, joined
from lora_forge.train.run import RunResult, train
from lora_forge.work.again import preparing_again
from lora_forge.work.settings import count_photos, project_settings


def run(args: Namespace, console: Console) -> int:
    """Prepare what is not, train, and say how to go on. 130 when stopped with the state saved.

    Of several processes that a launcher started only the writer speaks, and 130 is its alone: a launcher takes it for
    a failure and ends the others.
    """
    project = Project.load(args.project)
    run_dir = project.runs_dir / args.name
    config = _config(args, project, run_dir)
    with joined(config.device) as ranks:
        result = _train(args, project, config, console, ranks)
    if not ranks.is_writer:
        return 0
    if result.outcome == "stopped":
        console.say(f"to go on: {_resume_command() if ranks.count == 1 else 'the same command with --resume'}")
        return 130
    if result.outcome != "done":
        return 1
    _tell(args, config, result, console)
    return 0


def _train(args: Namespace, project: Project, config: TrainConfig, console: Console, ranks: Ranks) -> RunResult:
    emit: Emit = console if ranks.is_writer else lambda _: None
    with ranks.writer_first():
        prepared = prepare(project, PrepareSettings.from_config(config), emit)
    host = host_of(args.base, config, ranks.device_name(config.device))
    commands = CommandBox()
    with _stop_on_interrupt(commands, emit, console, ranks) as watch, host.borrow() as model:
        again = preparing_again(args.project, watch, commands)
        return train(
            model,
            prepared,
            config,
            project.runs_dir / args.name,
            args.out,
            watch,
            commands,
            resume=args.resume,
            prepare_again=again,
            ranks=ranks,
        )


def _tell(args: Namespace, config: TrainConfig, result: RunResult, console: Console) -> None:
    for path in result.files:
        console.result(str(path))
    prompt = f"{config.trigger_word or args.name} <lora:{args.name}-NUM:STRENGTH>"
    words = ["lora-forge", "grid", "--base", str(args.base), "--loras", str(args.out), "--name", args.name]
    console.say(f"next: {shlex.join([*words, '--out', 'grid.png', '--prompt', prompt])}")


def host_of(base: Path, config: TrainConfig, device: str | None = None) -> StandaloneHost:
    """The standalone host with what the config says by hand about the base; ``device`` takes the config's place."""
    overrides: dict[str, Any] = {}
    if config.prediction_type != "auto":
        overrides["prediction_type"] = config.prediction_type
    if config.zero_terminal_snr != "auto":
        overrides["zero_terminal_snr"] = config.zero_terminal_snr == "on"
    return StandaloneHost(
        base, device=device or config.device, precision=config.precision, base_storage=config.base_storage, **overrides
    )


def _config(args: Namespace, project: Project, run_dir: Path) -> TrainConfig:
    if args.resume:
        return resolve_resumed(args, run_dir)
    photos = count_photos(project, "Import some: lora-forge import SOURCE --project {root}")
    facts = read_facts(args.base)
    if args.preset is None and not args.config and is_toyworld(args.base):
        args.preset = "toyworld"
    return resolve(args, facts.family, photos, project.trigger_word, project_settings(project, has_previews=False))


class _Watch:
    """Passes events on, and knows whether there is anything to save yet."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self.has_stepped = False

    def __call__(self, event: Event) -> None:
        self.has_stepped = self.has_stepped or isinstance(event, StepDone)
        self._emit(event)


@contextmanager
def _stop_on_interrupt(commands: CommandBox, emit: Emit, console: Console, ranks: Ranks) -> Iterator[_Watch]:
    """First Ctrl-C (or SIGTERM): stop after this step and save. Second, or before the first step: at once.

    Launchers pass a Ctrl-C on that the process got itself already, so with one in front a second means nothing more;
    it kills what has not ended half a minute later.
    """
    watch, is_alone = _Watch(emit), ranks.count == 1

    def interrupted(_signal: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler if is_alone else signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL if is_alone else signal.SIG_IGN)
        if not watch.has_stepped:
            raise KeyboardInterrupt
        commands.send(Command.STOP_AND_SAVE)
        if ranks.is_writer:
            again = "; Ctrl-C again quits at once" if is_alone else ""
            console.say(f"stopping after this step and saving{again}")

    before = {number: signal.signal(number, interrupted) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield watch
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _resume_command() -> str:
    """The command that was given, with --resume."""
    words = ["lora-forge", *sys.argv[1:]]
    return shlex.join(words if "--resume" in words else [*words, "--resume"])
