"""A throw-away extension for a real WebUI: a route that runs the contract inside it. Never installed by anybody.

``tests/host/test_real_host.py`` copies this file into ``extensions/lora-forge-tests/scripts`` of a folder of its own
and says in ``LORA_FORGE_REPOSITORY`` where the tests are.
"""

from __future__ import annotations

import gc
import os
import sys
import time
import traceback
from typing import Any

from fastapi import Body, FastAPI
from modules import script_callbacks

_worlds: list[Any] = []


def _world() -> Any:
    from tests.host.real_world import world_of

    if not _worlds:
        _worlds.append(world_of(_host()))
    return _worlds[0]


def _host() -> Any:
    from lora_forge.host.finding import find_host

    return find_host()


def _rss_mb() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def run_rule(told: dict[str, Any] = Body(...)) -> dict[str, Any]:  # noqa: B008  FastAPI's way
    """Run ``rule`` of the contract with ``arguments``; gives its seconds, the memory it left, and its failure."""
    from tests.host import contract, drawing_contract, real_eight_bits, real_world

    places = (contract, drawing_contract, real_world, real_eight_bits)
    rule = next(getattr(place, told["rule"]) for place in places if hasattr(place, told["rule"]))
    world, began, before_mb = _world(), time.perf_counter(), _rss_mb()
    try:
        rule(world, *told.get("arguments", []))
        error = ""
    except BaseException:  # noqa: BLE001  it goes to the test, as text
        error = traceback.format_exc()
    gc.collect()
    seconds = round(time.perf_counter() - began, 1)
    return {"error": error, "seconds": seconds, "rss_mb": round(_rss_mb()), "left_mb": round(_rss_mb() - before_mb)}


def figures() -> dict[str, Any]:
    """What a borrow costs, and how much is shared."""
    world = _world()
    with world.host.borrow():
        pass  # so that the libraries' own memory is not counted
    before, began = _rss_mb(), time.perf_counter()
    with world.host.borrow() as model:
        took, extra = time.perf_counter() - began, _rss_mb() - before
        shared = {}
        for part, module in (("unet", model.unet), ("vae", model.vae), ("text", model.text_towers[0].module)):
            theirs = {tensor.data_ptr() for tensor in world.live(part).values()}
            ours = [parameter.data_ptr() for parameter in module.parameters()]
            shared[part] = [sum(pointer in theirs for pointer in ours), len(ours)]
        import torch

        with torch.no_grad():
            apart = {what: float((a.float() - b.float()).abs().max()) for what, a, b in world.outputs(model)}
            sizes = {what: float(b.float().abs().max()) for what, a, b in world.outputs(model)}
    return {
        "name": world.host.name,
        "info": str(world.host.info()),
        "shared": shared,
        "extra_mb": round(extra, 1),
        "left_mb": round(_rss_mb() - before, 1),
        "seconds": round(took, 2),
        "apart": apart,
        "largest_output": sizes,
        "torch": torch.__version__,
    }


def ready() -> dict[str, Any]:
    """Whether a checkpoint is there."""
    from lora_forge.errors import CheckpointError

    try:
        return {"info": str(_host().info())}
    except CheckpointError as error:
        return {"error": str(error)}


def call_host(told: dict[str, Any] = Body(...)) -> dict[str, Any]:  # noqa: B008
    """A method of the host, with plain arguments; paths are given as text."""
    from pathlib import Path

    arguments = [Path(value) if told["method"] == "check_loads" else value for value in told.get("arguments", [])]
    try:
        return {"result": str(getattr(_host(), told["method"])(*arguments))}
    except Exception as error:  # noqa: BLE001
        return {"error": f"{type(error).__name__}: {error}"}


def _mount(_: Any, app: FastAPI) -> None:
    sys.path.insert(0, os.environ["LORA_FORGE_REPOSITORY"])  # what a script adds while it loads is taken away again
    app.add_api_route("/lora_forge_test/rule", run_rule, methods=["POST"])
    app.add_api_route("/lora_forge_test/figures", figures, methods=["GET"])
    app.add_api_route("/lora_forge_test/ready", ready, methods=["GET"])
    app.add_api_route("/lora_forge_test/host", call_host, methods=["POST"])


script_callbacks.on_app_started(_mount)
