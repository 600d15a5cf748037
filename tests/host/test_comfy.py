"""reForge and Forge Classic: the port's contract on a stand-in of both, and what only they have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lora_forge.dataset.prepared import PreparedSet
from lora_forge.errors import CheckpointError
from lora_forge.host.comfy import ComfyHost
from lora_forge.host.finding import find_host
from lora_forge.model.schedule import alphas_cumprod
from tests.host import contract
from tests.host.conftest import TOY_HEADS
from tests.host.standin_forge.comfy import ComfyStandIn, Karras, Velocity
from tests.host.standin_forge.parts import Tower, text_states
from tests.host.worlds import ToyWorld

BuildWorld = Callable[..., "ComfyWorld"]
FORKS = [(True, False), (False, False), (False, True)]
"""(Classic or else reForge, LoRAs merged in place or not)."""
FORK_NAMES = ["classic", "reforge", "reforge in place"]


@dataclass
class ComfyWorld(ToyWorld):
    """Text encoders by the host's own keys: the file's are others."""

    program: ComfyStandIn
    tolerance: float = 1e-5  # the weights lie elsewhere, so blocks of sums are cut otherwise

    def live(self, part: str) -> contract.Tensors:
        return self.program.texts() if part == "text" else super().live(part)

    def as_loaded(self, part: str) -> contract.Tensors:
        if part != "text":
            return super().as_loaded(part)
        states = text_states(self.path)
        return {f"{tower}.transformer.{key}": t for tower, state in states.items() for key, t in state.items()}


@pytest.fixture
def build_world(
    toy_paths: dict[str, Path], toy_photos: PreparedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> BuildWorld:
    """A program with a checkpoint of that family in memory."""

    def build(family: str = "sd1", is_classic: bool = True, is_in_place: bool = False) -> ComfyWorld:
        program = ComfyStandIn(tmp_path, toy_paths[family], TOY_HEADS[family], is_classic, is_in_place)
        program.install(monkeypatch)
        program.modules["modules.shared"].cmd_opts.lora_dir = str(toy_paths[family].parent)
        return ComfyWorld(program.host(), program, toy_paths[family], toy_photos, tmp_path, f"{family}-style")

    return build


@pytest.fixture
def world(build_world: BuildWorld) -> ComfyWorld:
    return build_world()


@pytest.mark.parametrize("rule", contract.RULES, ids=lambda rule: rule.__name__)
def test_contract(rule: contract.Rule, world: ComfyWorld) -> None:
    rule(world)


@pytest.mark.parametrize("family", ["sd2", "sdxl"])
@pytest.mark.parametrize("rule", contract.RULES[:6], ids=lambda rule: rule.__name__)
def test_contract_of_what_is_lent(rule: contract.Rule, family: str, build_world: BuildWorld) -> None:
    rule(build_world(family))


@pytest.mark.parametrize(("is_classic", "is_in_place"), FORKS[1:], ids=FORK_NAMES[1:])
@pytest.mark.parametrize("rule", contract.RULES[:6], ids=lambda rule: rule.__name__)
def test_contract_of_reforge(rule: contract.Rule, is_classic: bool, is_in_place: bool, build_world: BuildWorld) -> None:
    rule(build_world("sd1", is_classic, is_in_place))


@pytest.mark.parametrize("stage", contract.STAGES)
def test_an_exception_leaves_no_trace(stage: str, world: ComfyWorld) -> None:
    contract.an_accident_leaves_no_trace(world, "exception", stage)


@pytest.mark.parametrize(("is_classic", "is_in_place"), FORKS, ids=FORK_NAMES)
def test_looking_with_a_lora_merged_and_without_is_the_same(
    is_classic: bool, is_in_place: bool, build_world: BuildWorld
) -> None:
    world = build_world("sd1", is_classic, is_in_place)
    world.draw()
    before = world.host.traces()
    world.draw(world.lora_tag())
    weights = [name for name in before.differences(world.host.traces()) if "weights" in name]
    assert weights == []


@pytest.mark.parametrize(("is_classic", "name"), [(True, "Forge Classic"), (False, "reForge 1.0.0v2-v1.10.1RC")])
def test_they_are_found_and_named(is_classic: bool, name: str, build_world: BuildWorld) -> None:
    build_world("sd1", is_classic)
    found = find_host()
    assert isinstance(found, ComfyHost)
    assert found.name == name


def refuse_to_lend(world: ComfyWorld, words: str) -> None:
    """In one sentence that says ``words``, and without a trace."""
    with pytest.raises(CheckpointError, match=words), world.host.borrow():
        pytest.fail("it was lent")
    with pytest.raises(CheckpointError, match=words):
        world.host.info()
    assert world.program.lock.acquire(blocking=False)
    world.program.lock.release()


def originals(world: ComfyWorld) -> Any:
    return world.program.model.forge_objects_original


def test_eight_bits_of_unknown_meaning_are_refused(world: ComfyWorld) -> None:
    """Where the host does not say what it computes in, or keeps scales beside them."""
    network = originals(world).unet.model.diffusion_model.to(torch.float8_e4m3fn)
    refuse_to_lend(world, r"held in 8 bits \(float8_e4m3fn\)")
    originals(world).unet.model.manual_cast_dtype = torch.float32
    network.register_buffer("scaled_fp8", torch.ones(1))
    refuse_to_lend(world, r"held in 8 bits \(float8_e4m3fn\)")


def test_other_networks_are_refused_by_name(world: ComfyWorld) -> None:
    originals(world).unet.model.diffusion_model = torch.nn.Linear(2, 2)
    refuse_to_lend(world, "is a Module model")


def test_inpainting_is_refused(world: ComfyWorld) -> None:
    first = originals(world).unet.model.diffusion_model.get_submodule("input_blocks.0.0")
    first.weight = torch.nn.Parameter(torch.zeros(32, 9, 3, 3))
    refuse_to_lend(world, "inpainting")


def test_the_refiner_is_refused(build_world: BuildWorld) -> None:
    world = build_world("sdxl")
    del originals(world).clip.cond_stage_model.clip_l
    refuse_to_lend(world, "is a refiner")


def test_other_noise_is_refused(world: ComfyWorld) -> None:
    originals(world).unet.model.model_sampling = Karras()
    refuse_to_lend(world, "neither noise nor velocity")


def test_nothing_loaded_is_said(world: ComfyWorld) -> None:
    world.program.modules["modules.sd_models"].model_data.sd_model = None
    world.program.modules["modules.shared"].sd_model = None
    refuse_to_lend(world, "No checkpoint is loaded")


def test_a_unet_partly_in_main_memory_is_refused(world: ComfyWorld) -> None:
    originals(world).unet.load_device = torch.device("meta")  # none of it lies there
    with pytest.raises(CheckpointError, match="in main memory"), world.host.borrow():
        pytest.fail("it was lent")


def test_velocity_and_zero_snr_are_the_hosts(world: ComfyWorld) -> None:
    originals(world).unet.model.model_sampling = Velocity()
    with world.host.borrow() as model:
        assert (model.info.prediction_type, model.info.zero_terminal_snr) == ("v_prediction", False)
    world.program.model.ztsnr = True
    with world.host.borrow() as model:
        assert model.info.zero_terminal_snr
        assert torch.allclose(model.alphas_cumprod, alphas_cumprod(True), atol=1e-7)


def test_a_unet_stored_in_half_computes_where_the_host_says(world: ComfyWorld) -> None:
    kernel = originals(world).unet.model
    kernel.diffusion_model.half()
    kernel.manual_cast_dtype = torch.float32
    with world.host.borrow() as model, torch.no_grad():
        assert model.dtype is torch.float32
        told = torch.ones(1, 77, model.unet.config.cross_attention_dim)
        assert model.unet(torch.ones(1, 4, 8, 8), torch.tensor([5]), told).sample.dtype is torch.float32


@pytest.mark.parametrize("is_classic", [True, False], ids=FORK_NAMES[:2])
@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_the_hosts_loader_takes_every_key(family: str, is_classic: bool, build_world: BuildWorld) -> None:
    world = build_world(family, is_classic)
    assert world.host.check_loads(world.path.with_name(f"{family}-style.safetensors")) == ()


@pytest.mark.parametrize("is_classic", [True, False], ids=FORK_NAMES[:2])
def test_keys_it_would_leave_are_named(is_classic: bool, build_world: BuildWorld, tmp_path: Path) -> None:
    world = build_world("sd1", is_classic)
    tensors = load_file(world.path.with_name("sd1-style.safetensors"))
    save_file(tensors | {"lora_unet_nowhere.alpha": torch.tensor(2.0)}, tmp_path / "odd.safetensors")
    assert world.host.check_loads(tmp_path / "odd.safetensors") == ("lora_unet_nowhere.alpha",)


def test_the_layer_that_sd2_never_uses_is_left_out(build_world: BuildWorld) -> None:
    world = build_world("sd2")
    short = text_states(world.path)["clip_h"]
    first = {key: tensor for key, tensor in short.items() if ".layers.0." in key}
    rest = {key: tensor for key, tensor in short.items() if ".layers." not in key}
    layers = {key.replace(".layers.0.", f".layers.{n}."): tensor for key, tensor in first.items() for n in range(24)}
    tower: Any = Tower(rest | layers, 4, has_own_name=False)
    tower.text_projection = torch.nn.Parameter(torch.eye(64))
    originals(world).clip.cond_stage_model.clip_h = tower
    with world.host.borrow() as model:
        assert model.text_towers[0].module.config.num_hidden_layers == 23
