"""AUTOMATIC1111: the port's contract on the stand-in, and what only this host has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lora_forge.config import Family
from lora_forge.dataset.prepared import PreparedSet
from lora_forge.errors import CheckpointError
from lora_forge.host.a1111 import A1111Host
from lora_forge.lora_file.writer import save_lora
from lora_forge.model.recast import is_in_fp8
from lora_forge.model.residence import TEXT, UNET, VAE, residence_of
from lora_forge.model.schedule import alphas_cumprod
from lora_forge.ports import DrawingWay, stored_as
from tests.host import contract
from tests.host.conftest import random_lora
from tests.host.standin.a1111 import A1111StandIn
from tests.host.worlds import ToyWorld
from tests.model import ldm
from tests.train import tiny

SIZES = {"sd1": (ldm.TOY_SD1, (4,)), "sd2": (ldm.TOY_SD2, (4,)), "sdxl": (ldm.TOY_SDXL, (4, 2))}
BuildWorld = Callable[[str], ToyWorld]


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each family, and a LoRA for it beside it."""
    folder = tmp_path_factory.mktemp("toys")
    paths = {}
    for name, (size, heads) in SIZES.items():
        metadata = {"lora_forge.te_heads": str(heads[0]), "lora_forge.te2_heads": str(heads[-1])}
        paths[name] = ldm.save(folder / f"{name}.safetensors", ldm.random_state(ldm.checkpoint(size)), metadata)
        save_lora(folder / f"{name}-style.safetensors", random_lora(paths[name], 1, has_text=name == "sd1"), {})
    return paths


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedSet:
    """One photo of 64 px."""
    return tiny.build_project(tmp_path_factory.mktemp("project"), ((64, 64),))


@pytest.fixture
def build_world(
    toys: dict[str, Path], prepared: PreparedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> BuildWorld:
    """A program with a checkpoint of that family in memory."""

    def build(family: str) -> ToyWorld:
        program = A1111StandIn(tmp_path, toys[family], SIZES[family][1])
        program.install(monkeypatch)
        program.modules["modules.shared"].cmd_opts.lora_dir = str(toys[family].parent)
        return ToyWorld(A1111Host(), program, toys[family], prepared, tmp_path, f"{family}-style")

    return build


@pytest.fixture
def world(build_world: BuildWorld) -> ToyWorld:
    return build_world("sd1")


@pytest.mark.parametrize("rule", contract.RULES, ids=lambda rule: rule.__name__)
def test_contract(rule: contract.Rule, world: ToyWorld) -> None:
    rule(world)


@pytest.mark.parametrize("family", ["sd2", "sdxl"])
@pytest.mark.parametrize("rule", contract.RULES[:6], ids=lambda rule: rule.__name__)
def test_contract_of_what_is_lent(rule: contract.Rule, family: str, build_world: BuildWorld) -> None:
    rule(build_world(family))


@pytest.mark.parametrize(("family", "clip_skip"), [("sd1", 2), ("sd2", 1), ("sdxl", 1)])
def test_previews_of_all_families(family: str, clip_skip: int, build_world: BuildWorld) -> None:
    contract.previews_are_the_hosts_pictures(build_world(family), clip_skip, trains_text=family == "sd1")


@pytest.mark.parametrize(("accident", "stage"), contract.ACCIDENTS)
def test_an_accident_leaves_no_trace(accident: str, stage: str, world: ToyWorld) -> None:
    contract.an_accident_leaves_no_trace(world, accident, stage)


@pytest.mark.parametrize("stage", contract.STAGES)
def test_a_killed_thread_leaves_no_trace(stage: str, world: ToyWorld) -> None:
    contract.a_killed_thread_leaves_no_trace(world, stage)


def test_previews_follow_the_hosts_settings(world: ToyWorld) -> None:
    with world.host.borrow() as model:
        assert model.drawing == DrawingWay()
    world.program.options.randn_source, world.program.options.enable_quantization = "NV", True
    with world.host.borrow() as model:
        assert model.drawing == DrawingWay(noise_source="NV", whole_timesteps=True)


def test_what_the_host_knows_is_shown(world: ToyWorld) -> None:
    info = world.host.info()
    assert (info.name, info.family, info.sha256, info.legacy_hash) == ("sd1", Family.SD1, "ab" * 32, "deadbeef")
    assert (info.prediction_type, str(info.prediction_source)) == ("epsilon", "the WebUI, from v1-inference.yaml")
    assert world.host.name == "AUTOMATIC1111 v1.10.1"
    assert world.host.loaded() == "sd1.safetensors [0123456789]"
    assert world.host.checkpoints() == ("sd1.safetensors [0123456789]",)


@pytest.mark.parametrize("family", list(Family))
def test_families_are_told_apart(family: Family, build_world: BuildWorld) -> None:
    with build_world(family.value).host.borrow() as model:
        assert model.info.family is family
        assert model.vae_scale == (0.13025 if family is Family.SDXL else 0.18215)
        assert [tower.prefix for tower in model.text_towers] == (
            ["lora_te1", "lora_te2"] if family is Family.SDXL else ["lora_te"]
        )


def test_the_hosts_word_on_velocity_and_zero_snr_counts(world: ToyWorld) -> None:
    world.program.model.parameterization = "v"
    assert world.host.info().prediction_type == "v_prediction"
    assert not world.host.info().zero_terminal_snr
    world.program.options.sd_noise_schedule = "Zero Terminal SNR"
    with world.host.borrow() as model:
        assert model.info.zero_terminal_snr
        assert float(model.alphas_cumprod[-1]) == 0
        assert torch.allclose(model.alphas_cumprod, alphas_cumprod(True), atol=1e-7)
    world.program.model.parameterization = "eps"
    with world.host.borrow() as model:  # noise can't be predicted where there is nothing else
        assert not model.info.zero_terminal_snr
        assert torch.equal(model.alphas_cumprod, alphas_cumprod())


def test_a_schedule_bent_for_a_picture_is_not_trained_on(world: ToyWorld) -> None:
    world.program.model.alphas_cumprod = world.program.model.alphas_cumprod.half()
    with world.host.borrow() as model:
        assert torch.equal(model.alphas_cumprod, alphas_cumprod())


def refuse_to_lend(world: ToyWorld, words: str) -> None:
    """In one sentence that says ``words``, and without a trace."""
    lock = world.program.lock
    with pytest.raises(CheckpointError, match=words), world.host.borrow():
        pytest.fail("it was lent")
    assert lock.acquire(blocking=False)
    lock.release()
    assert not world.host.is_lent
    assert world.program.modules["modules.progress"].current_task is None


def test_nothing_loaded_or_still_loading_is_said(world: ToyWorld) -> None:
    data = world.program.modules["modules.sd_models"].model_data
    data.sd_model = world.program.modules["modules.shared"].sd_model = None
    with pytest.raises(CheckpointError, match="No checkpoint is loaded"):
        world.host.info()
    data.was_loaded_at_least_once = False
    with data.lock, pytest.raises(CheckpointError, match="still loading"):
        world.host.info()
    refuse_to_lend(world, "could not load its checkpoint")


def test_a_checkpoint_that_is_still_loading_is_waited_for(world: ToyWorld) -> None:
    """As the host's own pictures do: its property loads."""
    world.program.modules["modules.sd_models"].model_data.sd_model = None
    world.program.modules["modules.shared"].sd_model = world.program.model

    with world.host.borrow() as model:
        world.program.modules["modules.sd_models"].model_data.sd_model = world.program.model
        assert model.info.name == "sd1"


@pytest.mark.parametrize(("flag", "words"), [("is_sd3", "an SD3 checkpoint"), ("is_ssd", "an SSD-1B checkpoint")])
def test_other_kinds_are_named(flag: str, words: str, world: ToyWorld) -> None:
    setattr(world.program.model, flag, True)
    with pytest.raises(CheckpointError, match=words):
        world.host.info()
    refuse_to_lend(world, words)


def test_an_inpainting_checkpoint_is_refused(world: ToyWorld) -> None:
    blocks = world.program.model.model.diffusion_model.input_blocks.get_submodule("0")
    blocks.add_module("0", torch.nn.Conv2d(9, 32, 3))
    refuse_to_lend(world, "an inpainting checkpoint")


def test_the_refiner_is_refused(build_world: BuildWorld) -> None:
    world = build_world("sdxl")
    embedders = world.program.model.conditioner.embedders
    world.program.model.conditioner.embedders = torch.nn.ModuleList([embedders[1]])
    refuse_to_lend(world, "the SDXL refiner")


def test_another_engine_is_refused(world: ToyWorld) -> None:
    unet = world.program.modules["modules.sd_unet"]
    unet.current_unet, unet.current_unet_option = object(), SimpleNamespace(label="[TRT] sd1")
    refuse_to_lend(world, r"draws with \[TRT\] sd1 in place of")


def test_eight_bits_that_are_no_floats_are_refused(world: ToyWorld) -> None:
    layer = world.program.model.model.diffusion_model.time_embed.get_submodule("0")
    layer.weight = torch.nn.Parameter(layer.weight.to(torch.int8), requires_grad=False)
    refuse_to_lend(world, r"in 8 bits \(int8\)")


def test_velocity_of_another_kind_is_refused(world: ToyWorld) -> None:
    world.program.model.parameterization = "x0"
    refuse_to_lend(world, "predicts 'x0'")


def test_a_lora_that_cannot_be_taken_off_is_refused(world: ToyWorld) -> None:
    world.draw(world.lora_tag())
    for layer in world.program.model.network_layer_mapping.values():
        layer.network_weights_backup = None
    refuse_to_lend(world, "can't be taken off")


def test_the_copies_of_merged_weights_are_let_go(world: ToyWorld) -> None:
    world.draw(world.lora_tag())
    layers = world.program.model.network_layer_mapping.values()
    assert any(getattr(layer, "network_weights_backup", None) is not None for layer in layers)
    with world.host.borrow():
        pass
    assert all(getattr(layer, "network_weights_backup", None) is None for layer in layers)


def test_a_merged_lora_is_no_trace(world: ToyWorld) -> None:
    """Marks are of the weights beneath it."""
    world.draw()
    before = world.host.traces()
    world.draw(world.lora_tag())
    after = world.host.traces()
    assert [name for name in before.differences(after) if not name.startswith("random")] == []


def test_without_the_lora_extension_it_is_lent_all_the_same(
    world: ToyWorld, monkeypatch: pytest.MonkeyPatch, toys: dict[str, Path]
) -> None:
    monkeypatch.delitem(__import__("sys").modules, "networks")
    contract.memory_is_shared(world)
    assert world.host.check_loads(toys["sd1"].parent / "sd1-style.safetensors") == ()


def test_a_swapped_vae_is_what_is_lent(world: ToyWorld) -> None:
    """The host writes another VAE's values into the module it has."""
    with torch.no_grad():
        for parameter in world.program.model.first_stage_model.parameters():
            parameter.fill_(0.25)
    with world.host.borrow() as model:
        assert all(bool((parameter == 0.25).all()) for parameter in model.vae.parameters())


def test_with_lowvram_the_networks_stay_with_the_host_to_visit_the_device(world: ToyWorld) -> None:
    calls: list[str] = []
    modules = world.program.modules
    modules["modules.lowvram"].send_everything_to_cpu = lambda: calls.append("to cpu")
    modules["modules.devices"].device = torch.device("meta")  # "another device" than the CPU, here
    world.program.model.lowvram = True
    before = world.host.traces()
    with world.host.borrow() as model:
        assert calls == ["to cpu"]
        assert model.device.type == "meta"
        assert {p.device.type for module in contract.networks_of(model) for p in module.parameters()} == {"cpu"}
        assert residence_of(model).away == {UNET, VAE, TEXT}
        assert "--medvram" in model.notes["memory"]
        assert {p.device.type for p in world.program.model.parameters()} == {"cpu"}
    assert before.differences(world.host.traces()) == ()


def test_with_lowvram_the_copy_of_the_unet_may_be_in_eight_bits(world: ToyWorld) -> None:
    world.program.modules["modules.devices"].device = torch.device("meta")
    world.program.model.lowvram = True
    before = world.host.traces()
    for storage in ("fp8", "as_lent"):
        with stored_as(world.host, storage), world.host.borrow() as model:
            assert is_in_fp8(model.unet) == (storage == "fp8")
            layer = model.unet.mid_block.resnets[0].conv1
            assert (layer.weight.device.type, layer.bias.device.type) == ("meta" if storage == "fp8" else "cpu", "cpu")
    assert before.differences(world.host.traces()) == ()


def test_an_unloaded_checkpoint_is_brought_back_for_the_run_only(world: ToyWorld) -> None:
    calls: list[str] = []
    modules = world.program.modules
    modules["modules.sd_models"].send_model_to_device = lambda _: calls.append("device")
    modules["modules.sd_models"].send_model_to_cpu = lambda _: calls.append("cpu")
    modules["modules.devices"].device = torch.device("meta")
    with world.host.borrow():
        assert calls == ["device"]
    assert calls == ["device", "cpu"]


def test_a_checkpoint_changed_behind_our_back_is_told(world: ToyWorld) -> None:
    with pytest.raises(CheckpointError, match=r"changed while it was lent, from sd1 to other"), world.host.borrow():
        world.program.model.sd_checkpoint_info = SimpleNamespace(filename="/other.safetensors", name_for_extra="other")


def test_every_key_of_our_files_is_used_by_the_hosts_loader(world: ToyWorld, toys: dict[str, Path]) -> None:
    path = toys["sd1"].parent / "sd1-style.safetensors"
    before = torch.get_rng_state()
    assert world.host.check_loads(path) == ()
    assert torch.equal(torch.get_rng_state(), before)
    assert world.program.networks.loads == []


def test_keys_the_loader_leaves_are_named(world: ToyWorld, tmp_path: Path, toys: dict[str, Path]) -> None:
    from safetensors.torch import save_file

    tensors = load_file(toys["sd1"].parent / "sd1-style.safetensors")
    strange = "lora_unet_up_blocks_9_attentions_0_proj_in"
    tensors |= {f"{strange}.lora_down.weight": torch.zeros(2, 32), f"{strange}.lora_up.weight": torch.zeros(32, 2)}
    save_file(tensors, tmp_path / "strange.safetensors")
    assert set(world.host.check_loads(tmp_path / "strange.safetensors")) == {
        f"{strange}.lora_down.weight",
        f"{strange}.lora_up.weight",
    }


def test_switching_goes_through_the_host_and_is_kept(world: ToyWorld) -> None:
    loads: list[str] = []
    models, options = world.program.modules["modules.sd_models"], world.program.options
    models.reload_model_weights = lambda: loads.append(options.data["sd_model_checkpoint"])
    world.host.switch("sd1.safetensors")
    assert loads == ["sd1.safetensors [0123456789]"]
    assert options.saved == 1
    with pytest.raises(CheckpointError, match="no checkpoint 'gone'"):
        world.host.switch("gone")
    with world.host.borrow(), pytest.raises(CheckpointError, match="A run holds sd1"):
        world.host.switch("sd1.safetensors")
    assert loads == ["sd1.safetensors [0123456789]"]


def test_after_reload_ui_the_new_object_knows_what_is_lent(world: ToyWorld) -> None:
    again = A1111Host()
    with world.host.borrow():
        assert again.is_lent
        with pytest.raises(CheckpointError, match="A run holds sd1"):
            again.switch("sd1.safetensors")
    assert not again.is_lent


def test_a_checkpoint_that_does_not_load_leaves_the_old_choice(world: ToyWorld) -> None:
    def fail() -> None:
        raise OSError("cut short")

    world.program.modules["modules.sd_models"].reload_model_weights = fail
    options: Any = world.program.options
    with pytest.raises(CheckpointError, match="could not be loaded: cut short"):
        world.host.switch("sd1")
    assert (options.data["sd_model_checkpoint"], options.saved) == ("toy.safetensors", 0)


def test_the_proofs_picture_leaves_the_last_prompt_alone(world: ToyWorld) -> None:
    last = world.program.root / "params.txt"
    world.host.traces(with_picture=True)
    assert not last.exists()
    last.write_text("mine")
    assert "picture" in world.host.traces(with_picture=True).marks
    assert last.read_text() == "mine"


def test_a_picture_that_cannot_be_made_is_told(world: ToyWorld) -> None:
    def fail(_: Any) -> Any:
        raise RuntimeError("NansException")

    world.program.modules["modules.processing"].process_images = fail
    with pytest.raises(CheckpointError, match="could not draw the picture: NansException"):
        world.host.traces(with_picture=True)
    refused = world.program.lock.acquire(blocking=False)
    assert refused
    world.program.lock.release()
