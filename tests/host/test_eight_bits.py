"""A host's own eight-bit checkpoint: lent as it lies, computed in more bits, trained on, and left as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lora_forge.dataset.prepared import PreparedSet
from lora_forge.events import CommandBox, Event, StepDone, Warned
from lora_forge.host.casting import compute_in
from lora_forge.host.standalone import StandaloneHost
from lora_forge.lora_file.writer import load_lora
from lora_forge.model.keymap import UNET_PREFIX
from lora_forge.model.recast import FLOATS_IN_8_BITS
from lora_forge.train.network import Network
from lora_forge.train.preview import draw_preview
from lora_forge.train.run import RunResult, train
from tests.host import contract
from tests.host.conftest import TOY_HEADS
from tests.host.standin.a1111 import A1111StandIn
from tests.host.standin_forge.comfy import ComfyStandIn
from tests.host.standin_forge.forge import ForgeStandIn
from tests.host.test_comfy import ComfyWorld
from tests.host.test_forge import ForgeWorld
from tests.host.worlds import ToyWorld
from tests.train import tiny

E4M3, E5M2 = FLOATS_IN_8_BITS
HOSTS = ("a1111", "forge", "comfy")
BuildWorld = Callable[..., Any]


@pytest.fixture
def build_world(
    toy_paths: dict[str, Path], toy_photos: PreparedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> BuildWorld:
    """A program that holds a checkpoint of that family in ``kind``; what a test compares with has the same values."""

    def build(host: str, kind: torch.dtype = E4M3, family: str = "sd1") -> Any:
        source = toy_paths[family]
        world = {"a1111": _a1111, "forge": _forge, "comfy": _comfy}[host](source, kind, family, toy_photos, tmp_path)
        world.program.install(monkeypatch)
        world.program.modules["modules.shared"].cmd_opts.lora_dir = str(source.parent)
        world.host = world.program.host()
        world.draw()
        return world

    return build


def _a1111(source: Path, kind: torch.dtype, family: str, photos: PreparedSet, root: Path) -> ToyWorld:
    program = A1111StandIn(root, source, TOY_HEADS[family])
    program.store_in(kind)
    path = _beside(source, root, program.file)
    return ToyWorld(None, program, path, photos, root, f"{family}-style")  # type: ignore[arg-type]


def _forge(source: Path, kind: torch.dtype, family: str, photos: PreparedSet, root: Path) -> ForgeWorld:
    path = _beside(source, root, _rounded(source, kind))
    program = ForgeStandIn(root, path, TOY_HEADS[family])
    program.wanted["unet_storage_dtype"] = kind
    return ForgeWorld(None, program, path, photos, root, f"{family}-style")  # type: ignore[arg-type]


def _comfy(source: Path, kind: torch.dtype, family: str, photos: PreparedSet, root: Path) -> ComfyWorld:
    path = _beside(source, root, _rounded(source, kind))
    program = ComfyStandIn(root, path, TOY_HEADS[family])
    kernel = program.model.forge_objects_original.unet.model
    kernel.diffusion_model.to(kind)
    kernel.manual_cast_dtype = torch.float32
    return ComfyWorld(None, program, path, photos, root, f"{family}-style")  # type: ignore[arg-type]


def _rounded(source: Path, kind: torch.dtype) -> dict[str, torch.Tensor]:
    """The file as it is when the whole UNet, norms and biases too, was in ``kind`` once."""
    tensors = load_file(source).items()
    return {key: t.to(kind).to(t.dtype) if key.startswith(UNET_PREFIX) else t for key, t in tensors}


def _beside(source: Path, root: Path, tensors: contract.Tensors) -> Path:
    path = root / source.name
    with safe_open(str(source), framework="pt") as file:
        save_file({key: tensor.clone() for key, tensor in tensors.items()}, path, file.metadata())
    return path


RULES = (contract.memory_is_shared, contract.modules_are_frozen, contract.outputs_are_the_hosts)


@pytest.mark.slow
@pytest.mark.parametrize("host", HOSTS)
def test_what_is_lent(host: str, build_world: BuildWorld) -> None:
    """With a program that computes the same numbers in float32."""
    world = build_world(host)
    for rule in RULES:
        rule(world)


@pytest.mark.slow
@pytest.mark.once
def test_what_is_lent_of_sdxl(build_world: BuildWorld) -> None:
    """Parts of its OpenCLIP tower are Linear layers, parts are not."""
    world = build_world("a1111", E5M2, "sdxl")
    for rule in RULES:
        rule(world)


@pytest.mark.slow
@pytest.mark.once
def test_a_merged_lora_is_taken_off(build_world: BuildWorld) -> None:
    contract.a_merged_lora_is_taken_off(build_world("a1111"))


def test_which_parts_of_a1111_are_in_eight_bits(build_world: BuildWorld) -> None:
    with build_world("a1111").host.borrow() as model:
        kinds = {name: p.dtype for name, p in model.unet.named_parameters()}
        assert all(("norm" in name) == (kind is torch.float32) for name, kind in kinds.items())
        assert {p.dtype for p in model.text_towers[0].module.parameters()} == {E4M3, torch.float32}
        assert {p.dtype for p in model.vae.parameters()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.parametrize("host", ["a1111", "forge"])
def test_a_run_learns_on_them_and_leaves_them_alone(
    host: str, build_world: BuildWorld, toy_paths: dict[str, Path], tmp_path: Path
) -> None:
    """The same losses as on a float32 copy of these numbers. Those of the checkpoint before it was cut to eight bits,
    three of them of the mantissa, lie within some per cent: its weights are other ones by about 3 %."""
    world = build_world(host)
    before = _memory_of(world)
    result, losses = _trained(world, tmp_path / "eight", world.host)
    assert _memory_of(world) == before
    assert result.outcome == "done"
    assert load_lora(result.files[-1]).metadata["ss_fp8_base"] == "True"
    assert any("_te_" in name for name in load_lora(result.files[-1]).weights)
    _, copied = _trained(world, tmp_path / "copy", StandaloneHost(world.path, device="cpu"))
    torch.testing.assert_close(losses, copied, rtol=1e-3, atol=0)
    _, plain = _trained(world, tmp_path / "plain", StandaloneHost(toy_paths["sd1"], device="cpu"))
    assert len(losses) == 4
    assert 1e-4 < float(((losses - plain).abs() / plain).max()) < 0.1


def _memory_of(world: Any) -> dict[str, tuple[int, bytes]]:
    """Of every tensor of the program: where it lies, and its bytes."""
    tensors = {**world.live("unet"), **world.live("vae"), **world.live("text")}
    return {
        key: (tensor.data_ptr(), tensor.detach().contiguous().view(torch.uint8).numpy().tobytes())
        for key, tensor in tensors.items()
    }


def _trained(world: Any, folder: Path, host: Any) -> tuple[RunResult, torch.Tensor]:
    """A short run of UNet and text encoder, and its losses."""
    told: list[Event] = []
    with host.borrow() as model:
        result = train(
            model,
            world.prepared,
            contract.settings().replace(base_storage="fp8" if host is world.host else "as_lent"),
            folder / "run",
            folder / "out",
            told.append,
            CommandBox(),
            cache_dir=folder,
        )
        assert not any(p.requires_grad or p.grad is not None for p in model.unet.parameters())
    assert not [event for event in told if isinstance(event, Warned)]  # eight bits were asked for, and are there
    return result, torch.tensor([event.loss for event in told if isinstance(event, StepDone)])


@pytest.mark.parametrize("host", ["a1111", "forge"])
def test_nothing_of_a_weights_size_is_kept_for_backward(host: str, build_world: BuildWorld) -> None:
    """What autograd keeps of the base is the program's own eight bits; only adapters get a gradient."""
    world = build_world(host)
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with world.host.borrow() as model, Network.attach(model, contract.settings()) as network:
        networks = (model.unet, model.text_towers[0].module)
        base = [p for network in networks for p in network.parameters() if p.dtype in FLOATS_IN_8_BITS]
        ids = torch.tensor([[49406, 320, 1125, *[49407] * 74]])
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            hidden = model.text_towers[0].module(ids)[0]
            answer = model.unet(torch.ones(2, 4, 8, 8), torch.tensor([5]), hidden.expand(2, -1, -1)).sample
        answer.square().sum().backward()
        trained = [*network.unet_parameters(), *network.te_parameters()]
        assert all(named.parameter.grad is not None for named in trained)
        assert not [p for p in base if p.requires_grad or p.grad is not None]
        eight = [tensor for tensor in kept if tensor.dtype in FLOATS_IN_8_BITS]
        assert len(eight) > 100
        assert {tensor.data_ptr() for tensor in eight} <= {p.data_ptr() for p in base}
        widened = {_values(way) for p in base if p.dim() > 1 for way in (p, p.mT)}
        assert not [t.shape for t in kept if t.dtype not in FLOATS_IN_8_BITS and _values(t) in widened]


def _values(tensor: torch.Tensor) -> tuple[tuple[int, ...], bytes]:
    return tuple(tensor.shape), tensor.detach().float().contiguous().numpy().tobytes()


def test_a_preview_is_the_hosts_picture(build_world: BuildWorld) -> None:
    """Of the base. With a LoRA on it the host rounds their sum to eight bits once more, which we do not."""
    world, told = build_world("a1111"), contract.settings().replace(preview_steps=4, preview_guidance=5.0)
    with world.host.borrow() as model:
        ours = draw_preview(model, told, "a red house", lambda: False)
    assert ours is not None
    theirs = world.picture(contract.request(told, "a red house"))
    assert contract.apart(contract.pixels(ours), contract.pixels(theirs)) < 0.05


@pytest.mark.parametrize("kind", FLOATS_IN_8_BITS)
def test_an_embedding_in_eight_bits_is_looked_up(kind: torch.dtype) -> None:
    """By its bits: torch 2.1 has no index of such numbers on some devices."""
    table = torch.nn.Embedding(5, 4).requires_grad_(False)
    ids = torch.tensor([[4, 0, 4]])
    table.to(kind)
    wanted = table.weight.float()[ids]
    compute_in(table, torch.float32)
    assert torch.equal(table(ids), wanted)


def test_asked_for_where_the_host_stores_more_bits_it_is_said_where_to_set_it(tmp_path: Path) -> None:
    prepared, said = tiny.build_project(tmp_path / "project"), tiny.Recorder()
    tiny.run(tmp_path, tiny.config(epochs=1, base_storage="fp8"), prepared, emit=said)
    (told,) = [event.message for event in said.of(Warned)]
    assert '"FP8 weight" in AUTOMATIC1111' in told
    assert '"Diffusion in Low Bits" (float8) in Forge' in told
