"""``lora-forge grid``."""

from __future__ import annotations

import signal
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager

from lora_forge.cli.base import is_toyworld
from lora_forge.cli.console import Console
from lora_forge.config import Family
from lora_forge.errors import ConfigError
from lora_forge.evaluate.grid import GridPlan, draw_grid, parse_range, parse_strengths
from lora_forge.evaluate.picture import save_grid
from lora_forge.host.standalone import StandaloneHost
from lora_forge.model.read import read_facts

_SIDE_PX = {Family.SD1: 512, Family.SD2: 768, Family.SDXL: 1024}
_TOY_SIDE_PX = 64


def run(args: Namespace, console: Console) -> int:
    """Draw the grid and write the picture; 130 when interrupted, with what was drawn until then."""
    if args.out.suffix.lower() != ".png":
        raise ConfigError(
            "The picture {out} must be a .png.", "Write --out {stem}.png.", out=args.out, stem=args.out.stem
        )
    side = _TOY_SIDE_PX if is_toyworld(args.base) else _SIDE_PX[read_facts(args.base).family]
    plan = GridPlan(
        prompt=args.prompt if "<lora:" in args.prompt else f"{args.prompt} <lora:{args.name}-NUM:STRENGTH>",
        negative_prompt=args.negative,
        epochs=parse_range(args.epochs),
        strengths=parse_strengths(args.strengths),
        seeds=(args.seed,),
        width=args.width or side,
        height=args.height or side,
        steps=args.steps,
        guidance=args.guidance,
        clip_skip=args.clip_skip,
    )
    host = StandaloneHost(args.base, device=args.device or "auto", precision=args.precision or "auto")
    with _flag_on_interrupt(console) as flag:
        grid = draw_grid(host, plan, [args.loras], args.name, console, should_stop=flag.is_set, cells_dir=args.cells)
    if grid.cells:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        save_grid(args.out, grid, console, note=args.base.name)
        console.result(str(args.out))
    return 0 if grid.is_complete else 130


class _Flag:
    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def is_set(self) -> bool:
        return self._is_set


@contextmanager
def _flag_on_interrupt(console: Console) -> Iterator[_Flag]:
    """First Ctrl-C: stop after this cell. Second: at once."""
    flag = _Flag()

    def interrupted(_signal: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        flag.set()
        console.say("stopping after this cell; Ctrl-C again quits at once")

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, before)
