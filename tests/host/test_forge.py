"""Forge: the port's contract on the stand-in, and what only this host has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lora_forge.config import Family
from lora_forge.dataset.prepared import PreparedSet
from lora_forge.errors import CheckpointError, LoraFileError
from lora_forge.host.finding import find_host
from lora_forge.host.forge import ForgeHost
from lora_forge.model.residence import TEXT, residence_of
from lora_forge.model.schedule import alphas_cumprod
from lora_forge.ports import BorrowedModel
from tests.host import contract
from tests.host.conftest import TOY_HEADS
from tests.host.standin_forge.forge import Flux, ForgeStandIn
from tests.host.standin_forge.parts import text_states
from tests.host.worlds import ToyWorld

BuildWorld = Callable[..., "ForgeWorld"]


@dataclass
class ForgeWorld(ToyWorld):
    """Text encoders by the host's own keys: the file's are others (OpenCLIP) or cast."""

    program: ForgeStandIn
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
    toy_paths: dict[str, Path],
    toy_photos: PreparedSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> BuildWorld:
    """A program with a checkpoint of that family chosen, and loaded by a first picture."""

    def build(family: str = "sd1", is_loaded: bool = True, text_dtype: torch.dtype = torch.float32) -> ForgeWorld:
        program = ForgeStandIn(tmp_path, toy_paths[family], TOY_HEADS[family], text_dtype)
        program.install(monkeypatch)
        program.modules["modules.shared"].cmd_opts.lora_dir = str(toy_paths[family].parent)
        if is_loaded:
            program.draw("a house")
        return ForgeWorld(program.host(), program, toy_paths[family], toy_photos, tmp_path, f"{family}-style")

    return build


@pytest.fixture
def world(build_world: BuildWorld) -> ForgeWorld:
    return build_world()


@pytest.mark.parametrize("rule", contract.RULES, ids=lambda rule: rule.__name__)
def test_contract(rule: contract.Rule, world: ForgeWorld) -> None:
    rule(world)


@pytest.mark.parametrize("family", ["sd2", "sdxl"])
@pytest.mark.parametrize("rule", contract.RULES[:6], ids=lambda rule: rule.__name__)
def test_contract_of_what_is_lent(rule: contract.Rule, family: str, build_world: BuildWorld) -> None:
    rule(build_world(family))


@pytest.mark.parametrize(("accident", "stage"), contract.ACCIDENTS)
def test_an_accident_leaves_no_trace(accident: str, stage: str, world: ForgeWorld) -> None:
    contract.an_accident_leaves_no_trace(world, accident, stage)


@pytest.mark.parametrize("stage", contract.STAGES)
def test_a_killed_thread_leaves_no_trace(stage: str, world: ForgeWorld) -> None:
    contract.a_killed_thread_leaves_no_trace(world, stage)


def test_it_is_found_and_named(world: ForgeWorld) -> None:
    found = find_host()
    assert isinstance(found, ForgeHost)
    assert found.name == "Forge 2.0.1v1.10.1"
    assert found.loaded() == "sd1.safetensors [0123456789]"


def test_a_choice_of_low_bits_is_refused_before_it_is_loaded(build_world: BuildWorld) -> None:
    world = build_world(is_loaded=False)
    world.program.wanted["unet_storage_dtype"] = "nf4"
    with pytest.raises(CheckpointError, match=r"held in low bits \(nf4\)"):
        world.host.info()
    refuse_to_lend(world, r"held in low bits \(nf4\)")
    assert world.program.loads == 0


def test_before_the_first_picture_the_file_says_what_it_is(build_world: BuildWorld) -> None:
    world = build_world("sdxl", is_loaded=False)
    info = world.host.info()
    assert (info.name, info.family, info.prediction_type) == ("sdxl", Family.SDXL, "epsilon")
    assert (info.sha256, info.legacy_hash) == ("ab" * 32, "deadbeef")
    assert world.program.loads == 0
    assert world.host.traces().marks.keys() & {"UNet: weights", "VAE: weights"} == set()


def test_the_first_borrower_loads_it_as_the_first_picture_would(build_world: BuildWorld) -> None:
    world = build_world(is_loaded=False)
    before = world.host.traces()
    with world.host.borrow() as model:
        assert model.info.family is Family.SD1
    assert world.program.loads == 1
    assert before.differences(world.host.traces()) == ()
    world.draw()
    assert world.program.loads == 1


def test_the_choice_counts_not_what_is_still_in_memory(world: ForgeWorld) -> None:
    world.program.wanted["checkpoint_info"] = "chosen since"
    world.host.info()
    assert world.program.loads == 1
    with world.host.borrow():
        assert world.program.loads == 2
        world.program.wanted["checkpoint_info"] = "chosen while it is lent"
        assert world.program.loads == 2
    with world.host.borrow():
        assert world.program.loads == 3


def test_a_checkpoint_being_loaded_is_not_in_the_way_of_the_question(world: ForgeWorld) -> None:
    world.program.data.sd_model = None
    assert world.host.info().family is Family.SD1


def refuse_to_lend(world: ForgeWorld, words: str) -> None:
    """In one sentence that says ``words``, before and after a borrower asks, and without a trace."""
    with pytest.raises(CheckpointError, match=words), world.host.borrow():
        pytest.fail("it was lent")
    assert world.program.lock.acquire(blocking=False)
    world.program.lock.release()
    assert not world.host.is_lent
    assert world.program.modules["modules.progress"].current_task is None


@pytest.mark.parametrize("storage", ["nf4", "fp4", "gguf", torch.int8])
def test_quantized_bases_are_refused(storage: Any, world: ForgeWorld) -> None:
    world.program.engine.forge_objects_original.unet.model.storage_dtype = storage
    name = str(storage).removeprefix("torch.")
    refuse_to_lend(world, f"held in low bits \\({name}\\)")
    with pytest.raises(CheckpointError, match="Diffusion in Low Bits"):
        world.host.info()


def test_eight_bits_with_scales_are_refused(world: ForgeWorld) -> None:
    kernel = world.program.engine.forge_objects_original.unet.model
    kernel.storage_dtype = torch.float8_e4m3fn
    kernel.diffusion_model.time_embed.get_submodule("0").register_buffer("scale_weight", torch.ones(1))
    refuse_to_lend(world, r"held in low bits \(scaled float8_e4m3fn\)")


def test_other_engines_are_refused_by_name(world: ForgeWorld) -> None:
    world.program.data.sd_model = Flux(world.program.checkpoint)
    refuse_to_lend(world, "is a Flux model")


def test_inpainting_is_refused(world: ForgeWorld) -> None:
    world.program.engine.is_inpaint = True
    refuse_to_lend(world, "inpainting")


def test_the_refiner_is_refused(build_world: BuildWorld) -> None:
    world = build_world("sdxl")
    del world.program.engine.forge_objects_original.clip.cond_stage_model.clip_l
    refuse_to_lend(world, "is a refiner")


@pytest.mark.parametrize("kind", ["edm", "const"])
def test_other_predictions_are_refused(kind: str, world: ForgeWorld) -> None:
    world.program.engine.forge_objects_original.unet.model.predictor.prediction_type = kind
    refuse_to_lend(world, f"predicts '{kind}'")


def test_a_unet_partly_in_main_memory_is_refused(world: ForgeWorld) -> None:
    world.program.engine.forge_objects_original.unet.load_device = torch.device("meta")  # none of it lies there
    refuse_to_lend(world, r"keeps \d+ of the UNet's \d+ MB in main memory.*GPU Weights")


def test_a_file_that_the_host_can_not_load_is_refused_in_its_words(build_world: BuildWorld) -> None:
    world = build_world(is_loaded=False)
    world.program.load_error = ValueError("Failed to recognize model type!")
    refuse_to_lend(world, "Failed to recognize model type!")
    world.program.load_error = None
    with world.host.borrow() as model:
        assert model.info.name == "sd1"


def test_a_pickle_is_shown_once_it_is_loaded(build_world: BuildWorld) -> None:
    world = build_world(is_loaded=False)
    world.program.checkpoint.filename = "old.ckpt"
    with pytest.raises(CheckpointError, match=r"not loaded yet.*Make one picture"):
        world.host.info()
    world.draw()
    assert world.host.info().name == "old"


def test_no_checkpoint_is_said(build_world: BuildWorld) -> None:
    world = build_world(is_loaded=False)
    world.program.options.sd_model_checkpoint = None
    for ask in (world.host.info, lambda: world.host.borrow().__enter__()):
        with pytest.raises(CheckpointError, match="No checkpoint is chosen"):
            ask()


def test_velocity_and_zero_snr_are_the_hosts(world: ForgeWorld) -> None:
    predictor = world.program.engine.forge_objects_original.unet.model.predictor
    predictor.prediction_type = "v_prediction"
    with world.host.borrow() as model:
        assert (model.info.prediction_type, model.info.zero_terminal_snr) == ("v_prediction", False)
        assert torch.equal(model.alphas_cumprod, alphas_cumprod())
    world.program.engine.model_config.ztsnr = True  # the file says so
    with world.host.borrow() as model:
        assert model.info.zero_terminal_snr
        assert float(model.alphas_cumprod[-1]) == 0
        assert torch.allclose(model.alphas_cumprod, alphas_cumprod(True), atol=1e-7)
    world.program.engine.model_config.ztsnr = False
    world.program.options.sd_noise_schedule = "Zero Terminal SNR"
    assert world.host.info().zero_terminal_snr
    predictor.prediction_type = "epsilon"
    with world.host.borrow() as model:  # noise can't be predicted where there is nothing else
        assert not model.info.zero_terminal_snr
        assert torch.equal(model.alphas_cumprod, alphas_cumprod())


def test_half_precision_text_encoders_compute_in_single_as_the_hosts_do(build_world: BuildWorld) -> None:
    world = build_world("sdxl", text_dtype=torch.float16)
    contract.memory_is_shared(world)
    ids = torch.tensor([[49406, 320, 1125, *[49407] * 74]])
    with world.host.borrow() as model, torch.no_grad():
        for tower, state in zip(model.text_towers, text_states(world.path).values(), strict=True):
            kept = {p.dtype for p in tower.module.parameters()}
            assert kept == {torch.float16, torch.float32}  # as the host has them
            # the host: every weight is cast to the type of what comes in, and the embeddings' sum is float32
            ours = tower.module(ids)[0]
            assert ours.dtype is torch.float32
            assert torch.allclose(ours, _in_single(tower.module, state)(ids)[0], atol=1e-5)


def _in_single(module: Any, state: contract.Tensors) -> Any:
    """The same network in float32 throughout, on ``state`` after a way through float16."""
    made = type(module)(module.config).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            key = name if name.startswith(("text_model.", "text_projection")) else f"text_model.{name}"
            parameter.copy_(state[key].half())
    return made


def test_a_unet_stored_in_half_computes_where_the_host_says(world: ForgeWorld, tmp_path: Path) -> None:
    kernel = world.program.engine.forge_objects_original.unet.model
    with torch.inference_mode():
        kernel.diffusion_model.half()
    kernel.storage_dtype = torch.float16
    with world.host.borrow() as model, torch.no_grad():
        assert model.dtype is torch.float32
        assert {p.dtype for p in model.unet.parameters()} == {torch.float16}
        theirs = {t.data_ptr() for t in kernel.diffusion_model.state_dict().values()}
        assert {p.data_ptr() for p in model.unet.parameters()} == theirs
        assert model.notes["precision"] == "stored in torch.float16, computed in torch.float32"
        noise, told = torch.ones(1, 4, 8, 8), torch.ones(1, 77, model.unet.config.cross_attention_dim)
        ours = model.unet(noise, torch.tensor([5]), told).sample
        wide = _widened(model)
        assert torch.equal(ours, wide(noise, torch.tensor([5]), told).sample)
    contract.run_in_thread(world, None, None)


def _widened(model: BorrowedModel) -> Any:
    made = type(model.unet)(**dict(model.unet.config)).eval()
    made.load_state_dict({key: tensor.float() for key, tensor in model.unet.state_dict().items()})
    return made


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_the_hosts_loader_takes_every_key(family: str, build_world: BuildWorld) -> None:
    world = build_world(family)
    path = world.path.with_name(f"{family}-style.safetensors")
    assert world.host.check_loads(path) == ()


def test_keys_it_would_leave_are_named(world: ForgeWorld, tmp_path: Path) -> None:
    tensors = load_file(world.path.with_name("sd1-style.safetensors"))
    alien = {f"lora_unet_nowhere.{leaf}": torch.ones(2, 2) for leaf in ("lora_up.weight", "lora_down.weight")}
    save_file(tensors | alien | {"lora_unet_nowhere.alpha": torch.tensor(2.0)}, tmp_path / "odd.safetensors")
    assert world.host.check_loads(tmp_path / "odd.safetensors") == (
        "lora_unet_nowhere.alpha",
        "lora_unet_nowhere.lora_down.weight",
        "lora_unet_nowhere.lora_up.weight",
    )
    with pytest.raises(LoraFileError):
        world.host.check_loads(tmp_path / "absent.safetensors")


def test_keys_are_matched_with_what_is_loaded(build_world: BuildWorld) -> None:
    world = build_world(is_loaded=False)
    with pytest.raises(CheckpointError, match="No checkpoint is loaded"):
        world.host.check_loads(world.path)


def test_switching_is_choosing_and_waits_for_the_next_picture(world: ForgeWorld) -> None:
    world.host.switch("sd1.safetensors")
    assert world.program.chosen == ["sd1.safetensors [0123456789]"]
    with pytest.raises(CheckpointError, match="no checkpoint 'other'"):
        world.host.switch("other")
    with world.host.borrow(), pytest.raises(CheckpointError, match="A run holds"):
        world.host.switch("sd1.safetensors")
    assert len(world.program.chosen) == 1
    assert world.program.loads == 1


def test_an_interrupted_restoring_is_done_again(world: ForgeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    styled, plain = world.draw(world.lora_tag()), world.draw()
    world.draw(world.lora_tag())
    program: Any = world.program
    memory = program.modules["backend.memory_management"]

    def break_down(patchers: list[Any]) -> None:
        program.loaded = []
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(memory, "load_models_gpu", break_down)
        with pytest.raises(KeyboardInterrupt), world.host.borrow():
            pytest.fail("it was lent")
    assert world.draw(world.lora_tag()) == styled
    assert world.draw() == plain


def test_where_room_is_short_the_text_encoders_make_it_and_are_lent_to_visit(
    world: ForgeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    program: Any = world.program
    text = program.engine.forge_objects_original.clip.cond_stage_model
    loads: list[int] = []

    def load(patchers: list[Any]) -> None:
        program.load_models(patchers)
        loads.append(len(patchers))
        if patchers == [program.engine.forge_objects_original.unet]:
            text.to("meta")  # what Forge's memory manager does for the UNet's sake; a CPU has nowhere to send it

    monkeypatch.setattr(program.modules["backend.memory_management"], "load_models_gpu", load)
    with world.host.borrow() as model:
        assert loads == [2, 1], "the UNet last, so that it is the others that make room"
        assert residence_of(model).away == {TEXT}


def test_the_card_gets_its_memory_back(world: ForgeWorld) -> None:
    with world.host.borrow():
        assert world.program.emptied == 0
    assert world.program.emptied == 1


@pytest.fixture(autouse=True)
def _modes_are_as_before() -> Iterator[None]:
    """Forge works in inference mode; this thread is never left in it."""
    yield
    assert not torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()
