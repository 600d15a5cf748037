"""What every host must keep to when it lends its checkpoint: rules as plain functions, no pytest.

The same rules run against the stand-ins (in CI) and inside the real programs (``tests/host/real_route.py``). A rule
takes a :class:`World`, the host with what is around it, and fails by AssertionError.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import gc
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from lora_forge.config import TrainConfig
from lora_forge.dataset.prepared import PreparedSet
from lora_forge.errors import CheckpointError
from lora_forge.events import (
    Command,
    CommandBox,
    EpochEnded,
    Event,
    LoraSaved,
    PreviewMade,
    RunStarted,
    StageStarted,
    StepDone,
)
from lora_forge.host.webui import WebUIHost
from lora_forge.model.recast import is_in_fp8
from lora_forge.ports import BorrowedModel, PictureRequest
from lora_forge.train.run import train
from tests.host import drawing_contract

Rule = Callable[["World"], None]
Tensors = Mapping[str, torch.Tensor]


class World(Protocol):
    """A host, and what a test may do around it."""

    host: WebUIHost
    prepared: PreparedSet
    """A few photos of 64 px or so."""
    tolerance: float
    """Largest difference between our outputs and the host's own, of values around 1."""
    levels: float
    """Mean difference of a preview from the host's picture, of 255: the file is rounded to 16 bits."""

    def live(self, part: str) -> Tensors:
        """The host's tensors as they lie in memory now, by the checkpoint file's keys; of unet, vae or text."""
        ...

    def as_loaded(self, part: str) -> Tensors:
        """What they were when the checkpoint was read, free of LoRAs."""
        ...

    def outputs(self, model: BorrowedModel) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
        """(what, from the lent module, from the host's own way of computing it)."""
        ...

    def draw(self, lora: str = "") -> bytes:
        """Pixels of a small picture, made the host's way: waits in its queue; ``lora`` is a tag, or empty."""
        ...

    def picture(self, asked: PictureRequest) -> Image.Image:
        """txt2img with DPM++ 2M and everything else as the host has it by itself; tags and brackets are its grammar."""
        ...

    def by_hand(self, asked: PictureRequest) -> Image.Image:
        """The whole request through the host's own txt2img API."""
        ...

    def lora_tag(self) -> str:
        """``<lora:NAME:1>`` of a file in the host's folder that changes pictures much."""
        ...

    def folder(self) -> Path:
        """A new empty folder."""
        ...

    def waiting(self) -> int:
        """Length of the host's queue."""
        ...


# ---- what is lent --------------------------------------------------------------------------------------------------


def memory_is_shared(world: World) -> None:
    """Every tensor of UNet and VAE begins where the host's does; the text encoders lie in the host's memory."""
    with world.host.borrow() as model:
        for part, module in (("unet", model.unet), ("vae", model.vae)):
            ours = sorted(parameter.data_ptr() for parameter in module.parameters())
            theirs = sorted(t.data_ptr() for t in world.live(part).values() if t.is_floating_point())
            assert ours == theirs, f"{part}: {len(set(ours) & set(theirs))} of {len(theirs)} shared"
        theirs_text = {t.untyped_storage().data_ptr() for t in world.live("text").values()}
        for tower in model.text_towers:
            for name, parameter in tower.module.named_parameters():
                assert parameter.untyped_storage().data_ptr() in theirs_text, f"{tower.prefix} {name} is a copy"


def modules_are_frozen(world: World) -> None:
    """Nothing wants a gradient, everything is in eval mode, and gradients can be had of what is added."""
    with world.host.borrow() as model:
        for module in networks_of(model):
            assert not any(p.requires_grad or p.is_inference() for p in module.parameters())
            assert not any(m.training for m in module.modules())
        assert model.dtype in {p.dtype for p in model.unet.parameters()} or is_in_fp8(model.unet)
        assert model.dtype.itemsize > 1
        assert model.device == next(model.unet.parameters()).device
        assert model.alphas_cumprod.shape == (1000,)
        assert model.alphas_cumprod.dtype is torch.float32


def outputs_are_the_hosts(world: World) -> None:
    """The lent modules compute what the host computes."""
    with world.host.borrow() as model, torch.no_grad():
        for what, ours, theirs in world.outputs(model):
            worst = float((ours.float() - theirs.float()).abs().max())
            assert worst <= world.tolerance, f"{what}: {worst:.3g} apart"


def info_is_what_is_lent(world: World) -> None:
    """``info()`` before says what the model says."""
    info = world.host.info()
    with world.host.borrow() as model:
        assert model.info == info
    assert world.host.info() == info


def a_merged_lora_is_taken_off(world: World) -> None:
    """The last picture's LoRA is not trained upon, and the next picture with it is the same again."""
    tag = world.lora_tag()
    plain, styled = world.draw(), world.draw(tag)
    assert plain != styled
    with world.host.borrow() as model:
        for part, module in (("unet", model.unet), ("vae", model.vae)):
            expected = sum_of(world.as_loaded(part).values())
            assert sum_of(module.parameters()) == expected, f"{part} still holds the LoRA"
        for name, tensor in world.as_loaded("text").items():
            assert torch.equal(world.live("text")[name].float(), tensor.float()), f"{name} still holds the LoRA"
    assert world.draw(tag) == styled
    assert world.draw() == plain


# ---- who waits for whom ----------------------------------------------------------------------------------------------


def pictures_wait_while_it_is_lent(world: World) -> None:
    """A picture asked for meanwhile is not begun, and is made afterwards."""
    before = world.draw()
    made: list[bytes] = []
    thread = threading.Thread(target=lambda: made.append(world.draw()), daemon=True)
    with world.host.borrow():
        thread.start()
        thread.join(2)
        assert thread.is_alive()
        assert made == []
    thread.join(120)
    assert made == [before]


def a_borrower_waits_for_the_picture_before_it(world: World) -> None:
    """And for another borrower; each gets its turn."""
    from modules.call_queue import queue_lock

    got: list[str] = []

    def borrow(name: str) -> None:
        with world.host.borrow():
            got.append(name)

    queue_lock.acquire()
    threads = [threading.Thread(target=borrow, args=(name,), daemon=True) for name in ("one", "two")]
    try:
        for thread in threads:
            thread.start()
            thread.join(0.5)
        assert got == []
    finally:
        queue_lock.release()
    for thread in threads:
        thread.join(60)
    assert got == ["one", "two"]


def a_borrower_killed_in_the_queue_leaves_it_whole(world: World) -> None:
    """Neither keeps the lock nor takes the wake-up of the one behind it."""
    from modules.call_queue import queue_lock

    before = world.draw()
    made: list[bytes] = []
    queue_lock.acquire()
    try:
        doomed = threading.Thread(target=lambda: _swallow(lambda: _borrow_for_a_moment(world)), daemon=True)
        doomed.start()
        doomed.join(0.5)
        behind = threading.Thread(target=lambda: made.append(world.draw()), daemon=True)
        behind.start()
        behind.join(0.5)
        kill(doomed)
        doomed.join(30)
        assert not doomed.is_alive()
    finally:
        queue_lock.release()
    behind.join(120)
    assert made == [before]
    _borrow_for_a_moment(world)


def it_is_not_lent_twice_to_one_thread(world: World) -> None:
    """The host's lock would wait for itself for ever."""
    with world.host.borrow():
        assert world.host.is_lent
        try:
            with world.host.borrow():
                raise AssertionError("lent twice")
        except CheckpointError:
            pass
    assert not world.host.is_lent


def its_bar_names_our_work(world: World) -> None:
    """The host's progress shows our label and steps; Interrupt does no harm; afterwards there is no job."""
    from modules import progress, shared

    with world.host.borrow("LoRA Forge: my-lora"):
        assert str(progress.current_task).startswith("task(lora_forge")
        assert progress.current_task not in progress.pending_tasks
        assert shared.state.job == progress.current_task
        assert shared.state.textinfo == "LoRA Forge: my-lora"
        shared.state.interrupted = True
        world.host.report(3, 12, "step 3 of 12")
        state = shared.state
        assert (state.job_count, state.sampling_step, state.sampling_steps) == (1, 3, 12)
        assert state.textinfo == "step 3 of 12"
    assert progress.current_task is None
    assert not any("lora_forge" in task for task in progress.pending_tasks)
    assert (shared.state.job, shared.state.job_count) == ("", 0)
    assert world.draw() == world.draw()


# ---- no trace ------------------------------------------------------------------------------------------------------

STAGES: dict[str, type[Event] | None] = {
    "at once": None,
    "encoding": StageStarted,
    "starting": RunStarted,
    "stepping": StepDone,
    "saving": LoraSaved,
    "between epochs": EpochEnded,
}
"""Where an accident happens: at the first event of that kind."""


def accidents() -> dict[str, Callable[[], None]]:
    """What may happen to a run; each ends it where it is called."""
    return {
        "exception": lambda: throw(ZeroDivisionError("an accident")),
        "out of memory": lambda: consume(torch.empty(1 << 60)),
        "MemoryError": lambda: throw(MemoryError()),
        "exit": lambda: throw(SystemExit()),
    }


def a_run_that_is_done_leaves_no_trace(world: World) -> None:
    """Two epochs; two files."""
    with no_trace(world):
        outcome = run_in_thread(world, None, None)
        assert outcome.result.outcome == "done"
        assert len(outcome.result.files) == 2


def the_hosts_loader_uses_every_key(world: World) -> None:
    """Of the files that a run writes."""
    outcome = run_in_thread(world, None, None)
    for path in outcome.result.files:
        assert world.host.check_loads(path) == ()


def a_run_that_is_stopped_leaves_no_trace(world: World) -> None:
    """By its own Stop, in the first epoch."""
    with no_trace(world):
        outcome = run_in_thread(world, StepDone, "stop")
        assert outcome.result.outcome == "stopped"


FULL_MEMORY = ("out of memory", "MemoryError")
"""Accidents that a run survives: it goes on with smaller settings."""


def an_accident_leaves_no_trace(world: World, accident: str, stage: str) -> None:
    """Of any kind, at any stage."""
    with no_trace(world):
        outcome = run_in_thread(world, STAGES[stage], accidents()[accident])
        if accident in FULL_MEMORY:
            assert outcome.result.outcome == "done"
        else:
            assert outcome.result is None, "nothing happened"


def a_killed_thread_leaves_no_trace(world: World, stage: str) -> None:
    """By an exception thrown into it from outside while it works, as a debugger or a watchdog does."""
    with no_trace(world):
        outcome = run_in_thread(world, STAGES[stage], "kill")
        assert outcome.result is None, "it lived"


def looking_leaves_no_trace(world: World) -> None:
    """The marks, and the proof's own picture, move no generator and no flag."""
    world.draw()
    before = world.host.traces(with_picture=True)
    assert {"picture", "random: torch", "UNet: weights", "VAE: hooks", "torch: threads"} <= before.marks.keys()
    assert before.differences(world.host.traces(with_picture=True)) == ()


@contextlib.contextmanager
def no_trace(world: World) -> Iterator[None]:
    """The same marks and the same picture before and after, nothing of the lent model alive, the lock free."""
    from modules.call_queue import queue_lock

    picture = world.draw()  # also takes off what an earlier rule left merged
    before = world.host.traces(with_picture=True)
    yield
    assert queue_lock.acquire(blocking=False), "the lock is still held"
    queue_lock.release()
    after = world.host.traces(with_picture=True)
    assert before.differences(after) == (), f"changed: {before.differences(after)}"
    assert world.draw() == picture, "another picture"


@dataclasses.dataclass
class Outcome:
    """How a run in its own thread ended."""

    result: Any = None
    error: BaseException | None = None


def run_in_thread(world: World, at: type[Event] | None, what: Any) -> Outcome:
    """Borrow and train as the tab does; ``what`` happens at the first event of kind ``at``, or before any."""
    outcome, commands, seen = Outcome(), CommandBox(), threading.Event()

    def emit(event: Event) -> None:
        if at is not None and isinstance(event, at) and not seen.is_set():
            happen()

    def happen() -> None:
        seen.set()
        if what == "stop":
            commands.send(Command.STOP)
        elif callable(what):
            what()

    def work() -> None:
        try:
            with world.host.borrow() as model:
                if at is None and what is not None:
                    happen()
                    if what == "kill":
                        threading.Event().wait(0.05)
                folder = world.folder()
                outcome.result = train(
                    model, world.prepared, settings(), folder / "run", folder / "out", emit, commands, cache_dir=folder
                )
        except BaseException as error:  # noqa: BLE001  to be looked at by the rule
            outcome.error = error.with_traceback(None)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    if what == "kill":
        assert seen.wait(300)
        kill(thread)
    thread.join(600)
    assert not thread.is_alive()
    if outcome.error is not None and isinstance(outcome.error, (AssertionError, CheckpointError)):
        raise outcome.error
    if what in (None, "stop") and outcome.error is not None:
        raise outcome.error
    del thread
    gc.collect()
    return outcome


def settings() -> TrainConfig:
    """Two epochs of few small steps that train UNet and text encoder, with a state and a preview."""
    return TrainConfig(
        name="contract",
        trigger_word="ohwx",
        epochs=2,
        repeats=1,
        batch_size=1,
        resolution_px=64,
        rank=2,
        alpha=2.0,
        learning_rate=1e-2,
        te_learning_rate=1e-3,
        validation_photos=0,
        seed=5,
    )


# ---- previews --------------------------------------------------------------------------------------------------------


def previews_are_the_hosts_pictures(world: World, clip_skip: int = 1, trains_text: bool = True) -> None:
    """Of the last step: without the LoRA, and with the file of that step; same seed, prompt, steps, guidance, size."""
    told = settings().replace(preview_every_steps=100, preview_steps=6, preview_guidance=5.0, learning_rate=3e-2)
    told = told.replace(preview_prompts=("TRIGGER, a (red) house [x]",), clip_skip=clip_skip)
    told = told if trains_text else told.replace(te_learning_rate=0.0)
    shown: dict[int, PreviewMade] = {}
    folder = world.folder()
    with world.host.borrow() as model:
        result = train(
            model,
            world.prepared,
            told,
            folder / "run",
            folder / "out",
            lambda event: shown.update({event.column: event}) if isinstance(event, PreviewMade) else None,
            CommandBox(),
            cache_dir=folder,
        )
    assert {made.step for made in shown.values()} == {result.step}
    name = f"preview-{folder.name}-{os.getpid()}"
    placed = Path(shutil.copy(result.files[-1], world.host.lora_dir() / f"{name}.safetensors"))
    try:
        words = r"ohwx, a \(red\) house \[x\]"
        pictures = [(pixels(shown[0].path), pixels(world.picture(request(told, words))))]
        pictures += [(pixels(shown[1].path), pixels(world.picture(request(told, f"{words}<lora:{name}:1>"))))]
    finally:
        placed.unlink()
    learned, levels = apart(pictures[0][1], pictures[1][1]), [apart(ours, theirs) for ours, theirs in pictures]
    print(f"previews are {levels[0]:.4f} and {levels[1]:.4f} levels from the host's, the LoRA's effect {learned:.2f}")
    assert max(levels) <= world.levels, f"{levels} levels from the host's pictures"
    assert learned > 10 * max(levels), f"the LoRA changes pictures by {learned:.3g} levels: too little to compare by"


def request(config: TrainConfig, prompt: str) -> PictureRequest:
    """What a person would type into txt2img to get the preview."""
    return PictureRequest(
        prompt,
        width=config.resolution_px,
        height=config.resolution_px,
        steps=config.preview_steps,
        guidance=config.preview_guidance,
        seed=config.seed,
        clip_skip=config.clip_skip,
    )


def pixels(picture: Image.Image | Path) -> np.ndarray[Any, Any]:
    """(H, W, 3), of a picture or its file."""
    if isinstance(picture, Path):
        with Image.open(picture) as opened:
            return np.asarray(opened.convert("RGB"), dtype=float)
    return np.asarray(picture.convert("RGB"), dtype=float)


def apart(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Mean difference in levels of 255."""
    assert one.shape == other.shape
    return float(np.abs(one - other).mean())


def the_model_is_empty_afterwards(world: World) -> None:
    """Whoever keeps a reference to what was lent keeps no memory by it."""
    with world.host.borrow() as model:
        first = next(model.unet.parameters())
        assert first.numel()
    assert all(not list(module.parameters()) for module in networks_of(model))


# ---- tools ---------------------------------------------------------------------------------------------------------


def networks_of(model: BorrowedModel) -> tuple[Any, ...]:
    """All modules that are lent."""
    return (model.unet, model.vae, *(tower.module for tower in model.text_towers))


def sum_of(tensors: Any) -> float:
    """A number that any change of a weight changes; the order of tensors does not."""
    return sum(sorted(float(tensor.detach().double().abs().sum()) for tensor in tensors if tensor.is_floating_point()))


def kill(thread: threading.Thread) -> None:
    """Throw SystemExit into another thread."""
    assert thread.ident is not None
    count = ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
    assert count == 1


def throw(error: BaseException) -> None:
    """Raise, as an expression."""
    raise error


def consume(_: object) -> None:
    """Nothing; as an expression of no value."""


def _borrow_for_a_moment(world: World) -> None:
    with world.host.borrow():
        pass


def _swallow(call: Callable[[], None]) -> None:
    with contextlib.suppress(SystemExit):
        call()


RULES: tuple[Rule, ...] = (
    memory_is_shared,
    modules_are_frozen,
    outputs_are_the_hosts,
    info_is_what_is_lent,
    a_merged_lora_is_taken_off,
    the_model_is_empty_afterwards,
    pictures_wait_while_it_is_lent,
    a_borrower_waits_for_the_picture_before_it,
    a_borrower_killed_in_the_queue_leaves_it_whole,
    it_is_not_lent_twice_to_one_thread,
    its_bar_names_our_work,
    looking_leaves_no_trace,
    a_run_that_is_done_leaves_no_trace,
    a_run_that_is_stopped_leaves_no_trace,
    the_hosts_loader_uses_every_key,
    previews_are_the_hosts_pictures,
    *drawing_contract.RULES,
)
"""Rules that take nothing but a world."""

ACCIDENTS: tuple[tuple[str, str], ...] = (
    *(("exception", stage) for stage in STAGES),
    *(("out of memory", stage) for stage in ("encoding", "stepping")),
    ("MemoryError", "stepping"),
    ("exit", "saving"),
)
"""(accident, stage) for :func:`an_accident_leaves_no_trace`: each stage once, each accident once."""
