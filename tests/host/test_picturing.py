"""What a WebUI would draw wrongly without a word, and what a person must find unchanged, on the stand-ins."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lora_forge.errors import CheckpointError, ConfigError, LoraFileError
from lora_forge.host.a1111 import A1111Host
from lora_forge.lora_file.writer import load_lora, save_lora
from lora_forge.ports import GaveUpError, PictureRequest
from tests.host.conftest import TOY_HEADS
from tests.host.drawing_contract import ASKED
from tests.host.standin.a1111 import A1111StandIn
from tests.host.standin.webui import Processing
from tests.host.standin_forge.forge import ForgeStandIn


@pytest.fixture
def folder(toy_paths: dict[str, Path], tmp_path: Path) -> Path:
    """The host's folder of LoRAs: ``style``, and one for another kind of checkpoint."""
    made = tmp_path / "Lora"
    made.mkdir()
    shutil.copy(toy_paths["sd1"].parent / "sd1-style.safetensors", made / "style.safetensors")
    return made


@pytest.fixture
def program(toy_paths: dict[str, Path], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> A1111StandIn:
    made = A1111StandIn(tmp_path, toy_paths["sd1"], TOY_HEADS["sd1"])
    made.install(monkeypatch)
    return made


def draw(program: Any, folder: Path, **changes: Any) -> Any:
    (picture,) = program.host().draw([dataclasses.replace(ASKED, **changes)], [folder])
    return picture


def test_a_picture_cut_short_is_seen_though_the_flag_is_taken_back(
    program: A1111StandIn, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any handler of the page that ends takes the flag back; a half-done picture must not pass for a whole one."""
    whole, sample, cuts = program.api(ASKED).tobytes(), Processing.sample, []

    def cut(request: Processing) -> float:
        if cuts:
            return sample(request)
        cuts.append(request)
        program.state.sampling_steps, program.state.sampling_step = request.fields["steps"], 1
        return 0.5  # interrupted after the second of four steps, and no flag tells of it

    monkeypatch.setattr(Processing, "sample", cut)
    assert draw(program, folder).tobytes() == whole
    assert len(cuts) == 1


def test_a_checkpoint_changed_between_two_pictures_ends_it(program: A1111StandIn, folder: Path) -> None:
    program.options.sd_model_checkpoint = "sd1.safetensors"
    drawn = program.host().draw([ASKED, ASKED], [folder])
    next(drawn)
    other = SimpleNamespace(title="other.safetensors", filename="models/other.safetensors")
    program.modules["modules.sd_models"].get_closet_checkpoint_match = lambda _: other
    with pytest.raises(CheckpointError, match=r"from sd1.safetensors to other.safetensors\. Choose sd1"):
        next(drawn)
    assert program.lock.acquire(blocking=False)


def test_a_sampler_that_the_host_does_not_have_is_refused(program: A1111StandIn, folder: Path) -> None:
    with pytest.raises(ConfigError, match="has no sampler DPM\\+\\+ 9M"):
        draw(program, folder, sampler="DPM++ 9M")
    assert draw(program, folder, sampler="Euler").tobytes() == draw(program, folder, sampler="euler").tobytes()


def test_a_setting_at_its_default_is_not_left_changed(program: A1111StandIn, folder: Path) -> None:
    """The host puts back what is in its file alone."""
    options = program.options
    draw(program, folder, clip_skip=2)
    assert "CLIP_stop_at_last_layers" not in options.data
    options.data["CLIP_stop_at_last_layers"] = options.CLIP_stop_at_last_layers = 2
    draw(program, folder, clip_skip=1)
    assert options.data["CLIP_stop_at_last_layers"] == options.CLIP_stop_at_last_layers == 2


def test_its_bar_counts_our_pictures_and_nothing_is_saved(program: A1111StandIn, folder: Path, tmp_path: Path) -> None:
    labels: list[str | None] = []
    program.after_sampling = lambda: labels.append(program.state.textinfo)
    list(program.host().draw([ASKED] * 2, [folder]))
    assert labels == ["LoRA Forge: 1/2", "LoRA Forge: 2/2"]
    assert not list(tmp_path.glob("*.png"))
    assert not (tmp_path / "params.txt").exists()


@pytest.mark.parametrize("images", [[], [None], None])
def test_no_picture_is_an_error_that_says_so(program: A1111StandIn, folder: Path, images: Any) -> None:
    program.modules["modules.processing"].process_images = lambda _: SimpleNamespace(images=images)
    with pytest.raises(CheckpointError, match="made no picture, and did not say why"):
        draw(program, folder)


def test_the_hosts_own_words_are_told(program: A1111StandIn, folder: Path) -> None:
    def fail(_: Any) -> Any:
        raise RuntimeError("A tensor with NaNs was produced in Unet.")

    program.modules["modules.processing"].process_images = fail
    with pytest.raises(CheckpointError, match="could not draw the picture: A tensor with NaNs was produced in Unet"):
        draw(program, folder)
    assert program.lock.acquire(blocking=False)


def test_a_switched_off_lora_extension_is_told(
    program: A1111StandIn, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(__import__("sys").modules, "networks")
    with pytest.raises(CheckpointError, match="extension Lora is switched off"):
        draw(program, folder, prompt="a house <lora:style:1>")


def test_a_name_that_the_host_gives_to_another_file_is_refused(
    program: A1111StandIn, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    with pytest.raises(LoraFileError, match=r"takes style to be .*Lora.style\.safetensors, not .*other.style\."):
        list(program.host().draw([dataclasses.replace(ASKED, prompt="a house <lora:style:1>")], [other]))


def test_a_file_that_fits_nothing_is_not_passed_over(program: A1111StandIn, folder: Path) -> None:
    weights = load_lora(folder / "style.safetensors").weights
    renamed = {key.replace("lora_unet_", "lora_unet_x_").replace("lora_te_", "lora_te_x_"): one
               for key, one in weights.items()}  # fmt: skip
    save_lora(folder / "alien.safetensors", renamed, {})
    program.deltas = lambda path, is_strict=True: {}  # type: ignore[method-assign]
    with pytest.raises(LoraFileError, match="drew the picture without alien"):
        draw(program, folder, prompt="a house <lora:alien:1>")


def test_a_hosts_comment_on_a_lora_is_an_error(program: A1111StandIn, folder: Path) -> None:
    process = program._process_images

    def complain(request: Any) -> Any:
        request.comments["Networks with errors: style (12)"] = 1
        return process(request)

    program.modules["modules.processing"].process_images = complain
    with pytest.raises(LoraFileError, match=r"without style\. Networks with errors: style \(12\)"):
        draw(program, folder, prompt="a house <lora:style:1>")
    assert draw(program, folder).size == (64, 64)


def test_forge_says_when_it_skipped_a_file(
    toy_paths: dict[str, Path], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = ForgeStandIn(tmp_path, toy_paths["sd1"], TOY_HEADS["sd1"])
    program.install(monkeypatch)
    shutil.copy(toy_paths["sdxl"].parent / "sdxl-style.safetensors", folder / "large.safetensors")
    assert draw(program, folder, prompt="a house <lora:style:1>").size == (64, 64)
    program._places = lambda _: {}  # type: ignore[method-assign]
    with pytest.raises(LoraFileError, match="drew the picture without large"):
        draw(program, folder, prompt="a house <lora:large:1>")


def test_a_missing_file_is_told_before_anything_is_drawn(program: A1111StandIn, folder: Path) -> None:
    asked: list[PictureRequest] = [ASKED, dataclasses.replace(ASKED, prompt="a <lora:nowhere:1>")]
    begun: list[Callable[..., Any]] = []
    program.after_sampling = lambda: begun.append(draw)
    with pytest.raises(LoraFileError, match="no LoRA named nowhere"):
        A1111Host().draw(asked, [folder])
    assert begun == []


def test_a_stop_is_obeyed_while_others_have_their_turn(program: A1111StandIn, folder: Path) -> None:
    program.lock.acquire()
    with pytest.raises(GaveUpError):
        next(program.host().draw([ASKED], [folder], lambda: True))
    assert not program.modules["modules.progress"].pending_tasks
    program.lock.release()
    assert next(program.host().draw([ASKED], [folder], lambda: True)).size == (64, 64)


def test_others_progress_is_left_to_them(program: A1111StandIn, folder: Path) -> None:
    """Between two of our pictures a person's own may be at work."""
    host, before = program.host(), dict(vars(program.state))
    host.report(3, 100, "ours")
    assert vars(program.state) == before
    with host.at_work("LoRA Forge: 1/2"):
        host.report(3, 100, "ours")
        assert (program.state.sampling_step, program.state.sampling_steps, program.state.textinfo) == (3, 100, "ours")
