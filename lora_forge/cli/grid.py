"""``lora-forge grid``."""

from __future__ import annotations

import signal
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL.Image import Image

from lora_forge.atomic import write_atomically
from lora_forge.cli.base import is_toyworld
from lora_forge.cli.console import Console
from lora_forge.config import Family
from lora_forge.dataset.project import Project
from lora_forge.errors import ConfigError
from lora_forge.evaluate.cells import CellStore
from lora_forge.evaluate.diagnose import diagnose
from lora_forge.evaluate.grid import Grid, GridPlan, draw_grid, files_of, parse_range, parse_strengths
from lora_forge.evaluate.heat import render_heat_map
from lora_forge.evaluate.live import LiveGrid
from lora_forge.evaluate.picture import save_grid
from lora_forge.evaluate.recommend import Recommendation, recommend
from lora_forge.evaluate.scores import Cell, PictureScore
from lora_forge.evaluate.swapping import swapped_prompt
from lora_forge.events import Recommended
from lora_forge.host.desk import StandaloneDesk
from lora_forge.host.standalone import StandaloneHost
from lora_forge.model.read import read_facts
from lora_forge.work.judging import Judging, judging

_SIDE_PX = {Family.SD1: 512, Family.SD2: 768, Family.SDXL: 1024}
_TOY_SIDE_PX = 64


def run(args: Namespace, console: Console) -> int:
    """Draw the grid and write the picture; 130 when interrupted, with what was drawn until then."""
    _check(args)
    plan = _plan(args)
    host = StandaloneHost(args.base, device=args.device or "auto", precision=args.precision or "auto")
    with _flag_on_interrupt(console) as flag:
        if args.project is not None:
            return _scored(args, plan, host, console, flag)
        grid = draw_grid(host, plan, [args.loras], args.name, console, should_stop=flag.is_set, cells_dir=args.cells)
    if grid.cells:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        save_grid(args.out, grid, console, note=args.base.name)
        console.result(str(args.out))
    return 0 if grid.is_complete else 130


def _check(args: Namespace) -> None:
    for path in (args.out, args.heat):
        if path is not None and path.suffix.lower() != ".png":
            raise ConfigError("The picture {out} must be a .png.", "Write {stem}.png.", out=path, stem=path.stem)
    if args.project is None and (args.smart or args.heat is not None):
        raise ConfigError("--smart and --heat go by scores.", "Say --project DIR, whose photos they compare with.")
    if args.seeds < 1:
        raise ConfigError("--seeds must be at least 1.")


def _plan(args: Namespace) -> GridPlan:
    side = _TOY_SIDE_PX if is_toyworld(args.base) else _SIDE_PX[read_facts(args.base).family]
    prompt = args.prompt if "<lora:" in args.prompt else f"{args.prompt} <lora:{args.name}-NUM:STRENGTH>"
    swaps = tuple(tag for part in args.swaps.split(",") if (tag := part.strip()))
    strengths = parse_strengths(args.strengths)
    return GridPlan(
        prompt=prompt,
        negative_prompt=args.negative,
        epochs=parse_range(args.epochs),
        strengths=strengths if args.project is None else tuple(sorted({0.0, *strengths})),
        seeds=tuple(range(args.seed, args.seed + args.seeds)),
        width=args.width or side,
        height=args.height or side,
        steps=args.steps,
        guidance=args.guidance,
        sampler=args.sampler,
        clip_skip=args.clip_skip,
        swap_prompt=swapped_prompt(prompt, swaps) if swaps else "",
        swaps=swaps,
    ).named(args.name)


class _Memory:
    """Pictures and scores of one call (:class:`lora_forge.evaluate.live.Notes`)."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def scores(self, cell: Cell) -> Sequence[PictureScore] | None:
        return None

    def drawn(self, cell: Cell, pictures: Sequence[Image]) -> None:
        self._grid.cells[cell] = list(pictures)

    def scored(self, cell: Cell, scores: Sequence[PictureScore]) -> None:
        """The live grid keeps them."""


def _scored(args: Namespace, plan: GridPlan, host: StandaloneHost, console: Console, flag: _Flag) -> int:
    files = files_of(plan, [args.loras])
    judges = _judges(args, console)
    grid = Grid(plan)
    store = CellStore(args.cells, host.info(), plan, files)
    live = LiveGrid(
        host, plan, [args.loras], files, store, _Memory(grid), judges.judge, console, flag.is_set, is_smart=args.smart
    )
    is_whole = live.run()
    surface = live.surface()
    best = None
    if any(strength for _, strength in surface):
        best = recommend(surface, {one.score: one.sentence for one in judges.missing})
    if grid.cells:
        _save(args, grid, live, best, console)
    if best is not None:
        _tell(console, best, live, judges)
    return 0 if is_whole else 130


def _judges(args: Namespace, console: Console) -> Judging:
    project = Project.load(args.project)
    desk = StandaloneDesk(args.data or project.root.parent, args.loras, base=args.base, device=args.device or "auto")
    found = judging(desk, project, args.kind, console)
    for used in found.used:
        console.say(f"{used.score}: {used.name} ({used.source})")
    for one in found.missing:
        console.say(f"{one.score}: {one.sentence}")
    if console.is_json:
        told: Mapping[str, object] = {
            "judges": {used.score: str(used.name) for used in found.used},
            "missing": {one.score: str(one.sentence) for one in found.missing},
        }
        console.object({"event": "Judges", **told})
    return found


def _save(args: Namespace, grid: Grid, live: LiveGrid, best: Recommendation | None, console: Console) -> None:
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_grid(args.out, grid, console, live.surface(), best, args.base.name, is_sparse=args.smart)
    console.result(str(args.out))
    if args.heat is not None:
        heat = render_heat_map(live.surface(), best, 2, plan=grid.plan)
        _save_png(args.heat, heat)
        console.result(str(args.heat))


def _save_png(path: Path, picture: Image) -> None:
    write_atomically(path, lambda temporary: picture.save(temporary, format="PNG"))


def _tell(console: Console, best: Recommendation, live: LiveGrid, judges: Judging) -> None:
    found = diagnose(live.surface(), best, judges.photos)
    if console.is_json:
        console(Recommended(best.epoch, best.strength, best.sentence))
    console.result(str(best.sentence))
    console.result(str(found.sentence))
    for one in found.evidence:
        console.result(f"  {one}")
    if console.is_json:
        evidence = [str(one) for one in found.evidence]
        console.object(
            {"event": "Diagnosed", "kind": found.kind, "sentence": str(found.sentence), "evidence": evidence}
        )


class _Flag:
    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def is_set(self) -> bool:
        return self._is_set


@contextmanager
def _flag_on_interrupt(console: Console) -> Iterator[_Flag]:
    """First Ctrl-C: stop after this picture. Second: at once."""
    flag = _Flag()

    def interrupted(_signal: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        flag.set()
        console.say("stopping after this picture; Ctrl-C again quits at once")

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, before)
