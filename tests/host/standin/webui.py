"""What all WebUIs have in common: the lock, the progress, the options, one picture."""

from __future__ import annotations

import collections
import hashlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image


class FIFOLock:
    """Fair: whoever waits longest is woken first. A waiter that dies loses its wake-up, as in the hosts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inner = threading.Lock()
        self._pending: collections.deque[threading.Event] = collections.deque()

    def acquire(self, blocking: bool = True) -> bool:
        with self._inner:
            if self._lock.acquire(False):
                return True
            if not blocking:
                return False
            turn = threading.Event()
            self._pending.append(turn)
        turn.wait()
        return self._lock.acquire()

    def release(self) -> None:
        with self._inner:
            if self._pending:
                self._pending.popleft().set()
            self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class State:
    """``shared.state``."""

    interrupted = skipped = stopping_generation = False
    job, job_no, job_count, sampling_step, sampling_steps = "", 0, 0, 0, 0
    textinfo: str | None = None
    current_image: Image.Image | None = None

    def begin(self, job: str = "(unknown)") -> None:
        self.interrupted = self.skipped = self.stopping_generation = False
        self.job, self.job_no, self.job_count, self.sampling_step, self.textinfo = job, 0, -1, 0, None

    def end(self) -> None:
        self.job, self.job_count = "", 0


class Options(SimpleNamespace):
    """``shared.opts``."""

    saved = 0

    def save(self, _: str) -> None:
        self.saved += 1


class Processing:
    """A request for a picture."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields

    def close(self) -> None:
        pass


class StandIn:
    """The modules of a host; ``paint`` makes a picture's pixels under the lock, from (seed, prompt)."""

    def __init__(self, root: Path, paint: Callable[[int, str], bytes]) -> None:
        self.root, self._paint = root, paint
        self.lock, self.state = FIFOLock(), State()
        self.options = Options(
            localization="None",
            sd_model_checkpoint="toy.safetensors",
            data={"sd_model_checkpoint": "toy.safetensors"},
            CLIP_stop_at_last_layers=1,
            sd_noise_schedule="Default",
        )
        self.modules: dict[str, Any] = {}
        self.add("modules")
        self.add("modules.call_queue", queue_lock=self.lock)
        self.add("modules.launch_utils", git_tag=lambda: "v1.10.1")
        self.add("modules.paths_internal", data_path=str(root), models_path=str(root / "models"))
        self.add("modules.shared", state=self.state, opts=self.options, sd_model=None, config_filename="config.json")
        self.modules["modules.shared"].cmd_opts = SimpleNamespace(lora_dir=str(root / "Lora"))
        self.add("modules.devices", device=torch.device("cpu"), torch_gc=lambda: None, fp8=False)
        self._add_progress()
        self.add("modules.processing", StableDiffusionProcessingTxt2Img=Processing, process_images=self._process_images)

    def add(self, name: str, **content: Any) -> None:
        """A module of that name."""
        module = ModuleType(name)
        module.__dict__.update(content)
        self.modules[name] = module
        parent, _, leaf = name.rpartition(".")
        if parent:
            setattr(self.modules[parent], leaf, module)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make them importable."""
        for name, module in self.modules.items():
            monkeypatch.setitem(sys.modules, name, module)

    def draw(self, prompt: str) -> bytes:
        """A picture as the API makes one."""
        progress = self.modules["modules.progress"]
        progress.add_task_to_queue(task := f"task(txt2img-{threading.get_ident()})")
        with self.lock:
            self.state.begin(job="scripts_txt2img")
            progress.start_task(task)
            pixels = self._make(1, prompt)
            progress.finish_task(task)
            self.state.end()
        return pixels

    def _make(self, seed: int, prompt: str) -> bytes:
        torch.manual_seed(seed)  # as the hosts do, whose noise comes from the global generator
        noise = torch.randn(4)
        pixels = self._paint(seed, prompt)
        return hashlib.blake2b(pixels + noise.numpy().tobytes(), digest_size=48).digest()

    def _process_images(self, request: Processing) -> SimpleNamespace:
        (self.root / "params.txt").write_text(request.fields["prompt"])
        pixels = self._make(request.fields["seed"], request.fields["prompt"])
        return SimpleNamespace(images=[Image.frombytes("RGB", (4, 4), pixels)])

    def _add_progress(self) -> None:
        self.add("modules.progress", pending_tasks={}, finished_tasks=[], current_task=None)
        module: Any = self.modules["modules.progress"]

        def start_task(task: str) -> None:
            module.current_task = task
            module.pending_tasks.pop(task, None)

        def finish_task(task: str) -> None:
            if module.current_task == task:
                module.current_task = None
            module.finished_tasks.append(task)

        def add_task_to_queue(task: str) -> None:
            module.pending_tasks[task] = 0.0

        module.start_task, module.finish_task, module.add_task_to_queue = start_task, finish_task, add_task_to_queue
