"""What all WebUIs have in common: the lock, the progress, the options, one picture."""

from __future__ import annotations

import collections
import hashlib
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from lora_forge.ports import PictureRequest
from tests.host.standin.networks import Lists

_SAMPLERS = {"dpmpp_2m": "DPM++ 2M", "euler": "Euler", "euler_a": "Euler a", "ddim": "DDIM"}
_STEP_S = 0.01


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

    scripts = None

    def __init__(self, sd_model: Any = None, **fields: Any) -> None:
        self.sd_model, self.fields = sd_model, fields
        self.comments: dict[str, int] = {}
        self.is_closed = False

    def sample(self) -> float:
        """The share of steps that were made before it was interrupted."""
        state: Any = sys.modules["modules.shared"].state  # type: ignore[attr-defined]
        state.sampling_steps, state.sampling_step = self.fields["steps"], 0
        for step in range(state.sampling_steps):
            if state.interrupted or state.skipped:
                return step / state.sampling_steps
            time.sleep(_STEP_S)
            if not (self.fields["sampler_name"] == "DDIM" and step == state.sampling_steps - 1):
                state.sampling_step = step
        return 1.0

    def close(self) -> None:
        self.is_closed = True


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
        self.after_sampling: Callable[[], None] = lambda: None
        samplers = dict.fromkeys(_SAMPLERS.values())
        self.add("modules.sd_samplers", all_samplers_map=samplers)
        self.lists = self.modules["networks"] = Lists(self.modules["modules.shared"])
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
        """A small picture as the API makes one."""
        return self.api(PictureRequest(prompt, width=64, height=64, steps=2, seed=1)).tobytes()

    def api(self, asked: PictureRequest) -> Image.Image:
        """txt2img of the host's own API."""
        progress = self.modules["modules.progress"]
        progress.add_task_to_queue(task := f"task(txt2img-{threading.get_ident()})")
        with self.lock:
            request = Processing(
                prompt=asked.prompt,
                negative_prompt=asked.negative_prompt,
                seed=asked.seed,
                subseed=-1,
                steps=asked.steps,
                cfg_scale=asked.guidance,
                width=asked.width,
                height=asked.height,
                sampler_name=_SAMPLERS[asked.sampler],
                scheduler=None,
                override_settings={"CLIP_stop_at_last_layers": asked.clip_skip},
                do_not_save_samples=True,
                do_not_save_grid=True,
            )
            self.state.begin(job="scripts_txt2img")
            progress.start_task(task)
            (picture,) = self._process_images(request).images
            progress.finish_task(task)
            self.state.end()
        return picture

    def _make(self, seed: int, prompt: str) -> bytes:
        torch.manual_seed(seed)  # as the hosts do, whose noise comes from the global generator
        noise = torch.randn(4)
        return self._paint(seed, prompt) + noise.numpy().tobytes()

    def _process_images(self, request: Processing) -> SimpleNamespace:
        told, options = request.fields, self.options
        before = {key: options.data[key] for key in told.get("override_settings", {}) if key in options.data}
        for key, value in told.get("override_settings", {}).items():
            options.data[key] = value
            setattr(options, key, value)
        (self.root / "params.txt").write_text(told["prompt"])
        try:
            if self.state.interrupted:
                return SimpleNamespace(images=[])
            pixels = self._make(told["seed"], told["prompt"])
            share = request.sample()
            self.after_sampling()
            picture = self._picture(pixels, told, share)
        finally:
            for key, value in before.items():
                options.data[key] = value
                setattr(options, key, value)
        self.state.job_no += 1
        self.state.sampling_step = 0
        if not told.get("do_not_save_samples"):
            picture.save(self.root / f"{len(list(self.root.glob('*.png')))}.png")
        return SimpleNamespace(images=[picture])

    def _picture(self, pixels: bytes, told: dict[str, Any], share: float) -> Image.Image:
        """Of any request that differs: another one."""
        scheduler = told.get("scheduler") or "Automatic"
        if (told["sampler_name"], scheduler) == ("DPM++ 2M", "Automatic"):
            scheduler = "Karras"
        names = ("negative_prompt", "steps", "cfg_scale", "sampler_name")
        words = [repr(told.get(name)) for name in names]
        words += [scheduler, str(self.options.CLIP_stop_at_last_layers), str(share)]
        size = (told["width"], told["height"])
        digest = hashlib.blake2b(pixels + "|".join(words).encode(), digest_size=48).digest()
        count = size[0] * size[1] * 3
        return Image.frombytes("RGB", size, (digest * (count // len(digest) + 1))[:count])

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
