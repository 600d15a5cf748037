"""What a host must keep to when it draws for us: rules as in :mod:`tests.host.contract`, of which this is a part."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lora_forge.errors import CheckpointError, LoraFileError
from lora_forge.evaluate.xyz import SAMPLERS
from lora_forge.ports import PictureRequest

ASKED = PictureRequest("a photo of a red house", "blurry", 64, 64, steps=4, guidance=5.0, seed=11)
PATIENCE_S = 240.0


def drawn_pictures_are_the_hosts(world: Any) -> None:
    """The same pixels as txt2img's own API, with a LoRA or without, at every clip skip and sampler; no trace."""
    tag = world.lora_tag()
    wishes = [
        ASKED,
        dataclasses.replace(ASKED, prompt=f"{ASKED.prompt}, {tag}"),
        dataclasses.replace(ASKED, prompt=f"{ASKED.prompt}, {tag.replace(':1>', ':0.5>')}"),
        dataclasses.replace(ASKED, clip_skip=2, seed=12, width=128),
        *(dataclasses.replace(ASKED, sampler=sampler) for sampler in SAMPLERS if sampler != ASKED.sampler),
    ]
    with left_alone(world):
        ours = list(world.host.draw(wishes, [world.host.lora_dir()]))
    theirs = [world.by_hand(asked) for asked in wishes]
    for asked, one, other in zip(wishes, ours, theirs, strict=True):
        assert one.size == other.size == (asked.width, asked.height), asked
        assert one.tobytes() == other.tobytes(), f"not the host's own picture: {asked}"
    assert len({picture.tobytes() for picture in ours}) == len(ours), "two wishes gave one picture"


def nothing_is_left_of_drawing(world: Any) -> None:
    """Weights, flags, generators, hooks and the proof's picture are as before, even after a LoRA's picture."""
    tag, folder = world.lora_tag(), world.host.lora_dir()
    picture = world.draw()
    before = world.host.traces(with_picture=True)
    list(world.host.draw([dataclasses.replace(ASKED, prompt=f"a house {tag}", clip_skip=2)], [folder]))
    assert before.differences(world.host.traces(with_picture=True)) == ()
    assert world.draw() == picture


def drawing_stops_between_two_pictures(world: Any) -> None:
    """The lock is free while nobody draws, and after a stop nothing is drawn any more."""
    from modules import progress
    from modules.call_queue import queue_lock

    drawn = world.host.draw([dataclasses.replace(ASKED, seed=seed) for seed in range(3)], [world.host.lora_dir()])
    assert next(drawn).size == (64, 64)
    finished = list(progress.finished_tasks)
    assert queue_lock.acquire(blocking=False), "the lock is held between two pictures"
    queue_lock.release()
    assert not world.host.is_lent
    drawn.close()
    assert progress.current_task is None
    assert finished == list(progress.finished_tasks)
    assert world.draw() == world.draw()


def a_persons_picture_comes_in_between(world: Any) -> None:
    """One that is asked for while our first waits is made before our second."""
    from modules import progress
    from modules.call_queue import queue_lock

    drawn = world.host.draw([ASKED, dataclasses.replace(ASKED, seed=3)], [world.host.lora_dir()])
    ours = threading.Thread(target=lambda: list(drawn), daemon=True)
    person = threading.Thread(target=world.draw, daemon=True)
    assert queue_lock.acquire(blocking=False)
    try:
        ours.start()
        ours.join(1)
        person.start()
        person.join(1)
    finally:
        queue_lock.release()
    for thread in (ours, person):
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    made = ["ours" if "lora_forge" in task else "theirs" for task in progress.finished_tasks[-3:]]
    assert made == ["ours", "theirs", "ours"]


def an_interrupted_picture_is_drawn_once_more(world: Any) -> None:
    """A stranger's Interrupt costs time, and nothing else; a second one ends in a sentence."""
    long = dataclasses.replace(ASKED, steps=8)
    with interrupting(1) as count:
        (picture,) = world.host.draw([long], [world.host.lora_dir()])
    assert count() == 1
    assert picture.tobytes() == world.by_hand(long).tobytes()
    told = ""
    with left_alone(world), interrupting(2):
        try:
            list(world.host.draw([long], [world.host.lora_dir()]))
        except CheckpointError as error:
            told = str(error)
    assert "interrupted twice" in told


def a_lora_is_drawn_or_refused(world: Any) -> None:
    """A new file without a refresh; one that lies elsewhere is refused, not left out without a word."""
    tag, folder = world.lora_tag(), world.host.lora_dir()
    source = next(folder.rglob(f"{tag.split(':')[1]}.safetensors"))
    name = f"drawn-{os.getpid()}-{time.monotonic_ns()}"
    placed, elsewhere = folder / f"{name}.safetensors", world.folder()
    asked = dataclasses.replace(ASKED, prompt=f"{ASKED.prompt} <lora:{name}:1>")
    try:
        shutil.copy(source, placed)
        (found,) = world.host.draw([asked], [folder])
        (plain,) = world.host.draw([ASKED], [folder])
        assert found.tobytes() == world.by_hand(asked).tobytes() != plain.tobytes()
    finally:
        placed.unlink()
    away = elsewhere / f"{name}-away.safetensors"
    shutil.copy(source, away)
    wish = dataclasses.replace(asked, prompt=f"a house <lora:{away.stem}:1>")
    assert "it would draw without it" in refusal(lambda: list(world.host.draw([wish], [elsewhere])))
    assert "There is no LoRA named" in refusal(lambda: world.host.draw([wish], [folder]))


def refusal(act: Callable[[], object]) -> str:
    """The sentence with which a LoRA file was refused; empty when it was not."""
    try:
        act()
    except LoraFileError as error:
        return str(error)
    return ""


@contextlib.contextmanager
def left_alone(world: Any) -> Iterator[None]:
    """Settings, the progress, the last prompt and the folders of pictures are on leaving what they were."""
    before = _surroundings(world)
    yield
    assert _surroundings(world) == before


def _surroundings(world: Any) -> dict[str, Any]:
    from modules import paths_internal, progress, shared

    root = Path(paths_internal.data_path)
    prompt = root / "params.txt"
    state = {name: getattr(shared.state, name) for name in ("job", "job_count", "job_no", "textinfo", "sampling_step")}
    return {
        "options": dict(shared.opts.data),
        "prompt": prompt.read_bytes() if prompt.is_file() else None,
        "pictures": sorted(str(path) for path in root.rglob("*.png") if "lora_forge" not in path.parts),
        "tasks": (progress.current_task, list(progress.pending_tasks)),
        "state": state,
    }


@contextlib.contextmanager
def interrupting(times: int) -> Iterator[Callable[[], int]]:
    """Somebody presses Interrupt in the middle of the next ``times`` of our pictures; gives how often it was done."""
    from modules import progress, shared

    done, pressed = threading.Event(), []

    def press() -> None:
        while not done.is_set() and len(pressed) < times:
            task = str(progress.current_task)
            if "lora_forge" in task and task not in pressed and shared.state.sampling_step >= 1:
                pressed.append(task)
                shared.state.interrupted = True
            time.sleep(0.002)

    thread = threading.Thread(target=press, daemon=True)
    thread.start()
    try:
        yield lambda: len(pressed)
    finally:
        done.set()
        thread.join(5)


RULES: tuple[Callable[[Any], None], ...] = (
    drawn_pictures_are_the_hosts,
    nothing_is_left_of_drawing,
    drawing_stops_between_two_pictures,
    a_persons_picture_comes_in_between,
    an_interrupted_picture_is_drawn_once_more,
    a_lora_is_drawn_or_refused,
)
