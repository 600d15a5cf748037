"""Rules for a real program that holds its checkpoint in eight bits; see :mod:`tests.host.real_world`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from lora_forge.config import TrainConfig
from lora_forge.errors import CheckpointError
from lora_forge.events import CommandBox, StepDone
from lora_forge.model.recast import FLOATS_IN_8_BITS, is_in_fp8
from lora_forge.train.preview import draw_preview
from lora_forge.train.run import train
from tests.host import contract

_WIDE = (torch.float32, torch.float16)


def low_bits_are_refused(world: Any) -> None:
    """Forge's "Diffusion in Low Bits" that is no plain float: said in a sentence before anything is loaded."""
    with forge_stores_in("bnb-nf4"):
        told = []
        for look in (world.host.info, lambda: world.host.borrow().__enter__()):
            try:
                look()
            except CheckpointError as error:
                told.append(str(error))
        assert ["low bits" in sentence for sentence in told] == [True, True]


def low_bits_are_trained_on(world: Any, kind: str = "float8-e4m3fn") -> None:
    """Forge's "Diffusion in Low Bits" as plain floats; lent wide again when it is off."""
    with forge_stores_in(kind):
        world.draw()  # loads it so
        losses = _is_trained_on(world, world.levels)
    world.draw()
    _is_much_the_same(world, losses)


def eight_bits_are_trained_on(world: Any) -> None:
    """The setting "FP8 weight" of AUTOMATIC1111; lent wide again when it is off."""
    kept = world.call("/sdapi/v1/options")["fp8_storage"]
    world.call("/sdapi/v1/options", {"fp8_storage": "Enable"})
    try:
        # On a CPU the host then draws in bfloat16, by autocast; we compute in what it was loaded in.
        losses = _is_trained_on(world, 10 * world.levels)
    finally:
        world.call("/sdapi/v1/options", {"fp8_storage": kept})
    _is_much_the_same(world, losses)


def _is_trained_on(world: Any, levels: float) -> list[float]:
    """By all rules; a preview is to be within ``levels`` of the host's picture. Gives the losses."""
    contract.memory_is_shared(world)
    contract.modules_are_frozen(world)
    contract.a_merged_lora_is_taken_off(world)
    with world.host.borrow() as model:
        assert is_in_fp8(model.unet)
        assert model.dtype in _WIDE
        small = sum(p.numel() for p in model.unet.parameters() if p.dtype in FLOATS_IN_8_BITS)
        whole = sum(p.numel() for p in model.unet.parameters())
        print(f"eight bits: {small / whole:.4f} of the UNet's weights, computed in {model.dtype}")
        told = contract.settings().replace(preview_steps=4, preview_guidance=5.0)
        ours = draw_preview(model, told, "a red house", lambda: False)
    assert ours is not None
    off = contract.apart(contract.pixels(ours), contract.pixels(world.picture(contract.request(told, "a red house"))))
    print(f"eight bits: the preview is {off:.4f} levels from the host's picture")
    contract.a_run_that_is_done_leaves_no_trace(world)
    assert off <= levels
    places = {part: {key: t.data_ptr() for key, t in world.live(part).items()} for part in ("unet", "vae", "text")}
    losses = _losses(world, contract.settings())
    assert all(torch.isfinite(torch.tensor(losses)))
    assert len(losses) == 4
    for part, before in places.items():
        assert before == {key: t.data_ptr() for key, t in world.live(part).items()}, f"{part} lies elsewhere"
    return losses


def _is_much_the_same(world: Any, losses: list[float]) -> None:
    """Lent wide now. The first step's loss, before anything is learned, differs by what the cut to eight bits did."""
    with world.host.borrow() as model:
        assert {p.dtype for p in model.unet.parameters()} < {*_WIDE}
    wide = _losses(world, contract.settings().replace(epochs=1))
    print(f"eight bits: losses {losses}, of the same checkpoint lent wide {wide}")
    assert abs(losses[0] - wide[0]) < 0.1 * wide[0]


def _losses(world: Any, config: TrainConfig) -> list[float]:
    losses, folder = [], world.folder()
    with world.host.borrow() as model:
        train(
            model,
            world.prepared,
            config,
            folder / "run",
            folder / "out",
            lambda event: losses.append(event.loss) if isinstance(event, StepDone) else None,
            CommandBox(),
            cache_dir=folder,
        )
    return losses


@contextlib.contextmanager
def forge_stores_in(kind: str) -> Iterator[None]:
    """As its page's dropdown does it."""
    from modules import shared
    from modules_forge import main_entry

    kept = shared.opts.forge_unet_storage_dtype
    shared.opts.set("forge_unet_storage_dtype", kind)
    main_entry.refresh_model_loading_parameters()
    try:
        yield
    finally:
        shared.opts.set("forge_unet_storage_dtype", kept)
        main_entry.refresh_model_loading_parameters()
