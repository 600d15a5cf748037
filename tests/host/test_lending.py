from __future__ import annotations

import platform
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lora_forge.config import Family
from lora_forge.host.lending import Turn, dropped, held
from lora_forge.ports import BaseInfo, BorrowedModel, GaveUpError, TextTower
from tests.host.standin.webui import FIFOLock

ROOT = Path(__file__).parents[2]


def small_model() -> BorrowedModel:
    """Three layers."""
    return BorrowedModel(
        info=BaseInfo("x", Family.SD1, "epsilon", "made so"),
        unet=nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)),
        vae=nn.Linear(2, 2),
        text_towers=(TextTower(nn.Linear(2, 2), None, 0, "lora_te"),),
        alphas_cumprod=torch.ones(1000),
        vae_scale=1.0,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


def test_turns_come_in_order_and_are_given_back() -> None:
    lock = FIFOLock()
    first, second = Turn(lock), Turn(lock)
    first.wait()
    assert not lock.acquire(blocking=False)
    waiting = threading.Thread(target=second.wait, daemon=True)
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    first.end()
    first.end()  # once more does no harm
    waiting.join(10)
    assert not waiting.is_alive()
    second.end()
    assert lock.acquire(blocking=False)


def test_a_turn_given_up_in_the_queue_passes_on() -> None:
    lock = FIFOLock()
    lock.acquire()
    given_up, behind = Turn(lock), threading.Event()
    threading.Thread(target=given_up._fetch, daemon=True).start()
    while len(lock._pending) < 1:
        pass
    thread = threading.Thread(target=lambda: (lock.acquire(), behind.set()), daemon=True)
    thread.start()
    given_up.end()
    lock.release()
    assert behind.wait(10)


def test_a_stop_gives_the_place_in_the_queue_up_and_the_next_one_comes() -> None:
    lock, asked, behind = FIFOLock(), threading.Event(), threading.Event()
    lock.acquire()
    turn = Turn(lock)

    def stop() -> bool:
        asked.set()
        return True

    with pytest.raises(GaveUpError):
        turn.wait(stop)
    turn.end()
    assert asked.is_set()
    threading.Thread(target=lambda: (lock.acquire(), behind.set()), daemon=True).start()
    while len(lock._pending) < 2:
        pass
    lock.release()
    assert behind.wait(10)


def test_a_lock_of_our_own_is_given_up_too() -> None:
    lock = threading.Lock()
    with held(lock), pytest.raises(GaveUpError), held(lock, lambda: True):
        raise AssertionError("it was held twice")
    with held(lock, lambda: True):
        assert lock.locked()
    assert not lock.locked()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other systems give memory back by themselves")
def test_what_is_free_after_a_loan_goes_back_to_the_system() -> None:
    """Blocks below the size that glibc maps by themselves stay with the process once the last of them is kept."""
    script = """
import os
from lora_forge.host.lending import dropped
from tests.host.test_lending import small_model

def used_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

blocks = [b"x" * 100_000 + b"%d" % number for number in range(3000)]
kept = blocks.pop()
full = used_mb()
del blocks
before = used_mb()
with dropped(small_model()):
    pass
print(full - before, before - used_mb())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    freed_before, freed = map(int, done.stdout.split())
    assert freed_before < 50
    assert freed > 200


def test_a_turn_that_never_began_holds_nothing() -> None:
    lock = FIFOLock()
    Turn(lock).end()
    assert lock.acquire(blocking=False)


def test_a_lent_model_is_empty_afterwards() -> None:
    model = small_model()
    kept = model.unet
    with dropped(model):
        assert len(list(kept.parameters())) == 4
    assert list(kept.parameters()) == list(kept.buffers()) == []
    assert list(model.vae.parameters()) == []


def test_an_errors_frames_keep_no_tensor() -> None:
    """Neither its own nor those of what it came from."""
    kept: list[Any] = []

    def fail_deeper() -> None:
        large = torch.zeros(8)
        kept.append(torch.utils.weak.WeakTensorKeyDictionary({large: 1}))
        raise RuntimeError("out of memory")

    def fail() -> None:
        other = torch.zeros(8)
        kept.append(torch.utils.weak.WeakTensorKeyDictionary({other: 1}))
        try:
            fail_deeper()
        except RuntimeError as cause:
            raise ValueError("no room") from cause

    with pytest.raises(ValueError, match="no room") as caught, dropped(small_model()):
        fail()
    assert isinstance(caught.value.__cause__, RuntimeError)  # the errors are still there to be read
    assert [len(weak) for weak in kept] == [0, 0]
