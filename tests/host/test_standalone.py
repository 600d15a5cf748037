from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL.Image import Image
from safetensors.torch import load_file, save_file

from lora_forge.config import TrainConfig
from lora_forge.dataset.prepared import PreparedSet
from lora_forge.errors import CheckpointError, LoraFileError
from lora_forge.events import CommandBox, Event, PreviewMade
from lora_forge.host import drawing, standalone
from lora_forge.host.standalone import StandaloneHost
from lora_forge.lora_file.hashes import base_legacy_hash
from lora_forge.lora_file.weights import combine
from lora_forge.lora_file.writer import load_lora
from lora_forge.model.latents import decode
from lora_forge.model.read import Checkpoint, read_checkpoint
from lora_forge.model.text import encode
from lora_forge.model.webui_sampling import webui_latents
from lora_forge.ports import BorrowedModel, PictureRequest
from lora_forge.train.network import Network
from lora_forge.train.run import train
from tests.host import contract


def ask(prompt: str, seed: int = 0, **changes: Any) -> PictureRequest:
    values: dict[str, Any] = {"width": 64, "height": 64, "steps": 2, "guidance": 2.0, **changes}
    return PictureRequest(prompt=prompt, seed=seed, **values)


def pixels(pictures: Sequence[Image]) -> np.ndarray[Any, Any]:
    return np.stack([np.asarray(picture) for picture in pictures]).astype(int)


def worst(one: Sequence[Image], other: Sequence[Image]) -> int:
    """Largest difference of any 8-bit value."""
    return int(np.abs(pixels(one) - pixels(other)).max())


def plain(host: StandaloneHost, words: str, seed: int, lora: Any = None) -> list[Image]:
    """What a picture should be, without any of the host's drawing."""
    with host.borrow() as model:
        network = Network.from_weights(model, lora) if lora else None
        with torch.no_grad():
            wanted, unwanted = encode(model, [words]), encode(model, [""])
        latents = webui_latents(model, wanted, unwanted, (64, 64), 2, 2.0, [seed])
        assert latents is not None
        pictures = decode(model, latents)
        if network:
            network.detach()
    return pictures


def state(model: BorrowedModel) -> dict[str, Any]:
    """Every tensor by name with its address, every flag."""
    found: dict[str, Any] = {}
    for name, module in (("unet", model.unet), ("vae", model.vae), ("text", model.text_towers[0].module)):
        found[name] = [(key, p.data_ptr(), p.requires_grad, p.grad) for key, p in module.named_parameters()]
        found[f"{name} modes"] = [(key, m.training, type(m).__name__) for key, m in module.named_modules()]
        found[f"{name} attributes"] = sorted(vars(module))
    return found


def test_info_comes_from_the_header_and_the_big_hash_waits(base_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []

    def hash_file(path: Path) -> str:
        reads.append(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(standalone, "file_sha256", hash_file)
    host = StandaloneHost(base_path, device="cpu")
    info = host.info()
    assert (info.name, info.family.value, info.prediction_type) == ("toy", "sd1", "epsilon")
    assert info.legacy_hash == base_legacy_hash(base_path)
    assert "toy" in repr(info)
    with host.borrow() as model:
        assert model.info is info
        assert reads == []
        assert model.info.sha256 == hashlib.sha256(base_path.read_bytes()).hexdigest()
        assert model.info.sha256 == info.sha256
    assert reads == [base_path]


def test_overrides_take_the_place_of_what_the_file_says(base_path: Path) -> None:
    host = StandaloneHost(base_path, device="cpu", prediction_type="v_prediction", zero_terminal_snr=True)
    assert (host.info().prediction_type, str(host.info().prediction_source)) == ("v_prediction", "set by hand")
    with host.borrow() as model:
        assert model.info.zero_terminal_snr
        assert model.info.prediction_type == "v_prediction"
        assert model.alphas_cumprod[-1] == 0


def test_the_file_is_read_once_and_not_before_it_is_lent(base_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []

    def read(path: Path, dtype: torch.dtype, maps: bool) -> Checkpoint:
        reads.append(path)
        return read_checkpoint(path, dtype, maps=maps)

    monkeypatch.setattr(standalone, "read_checkpoint", read)
    host = StandaloneHost(base_path, device="cpu")
    assert reads == []
    with host.borrow() as first:
        unet = first.unet
    with host.borrow() as second:
        assert second.unet is unet
    assert reads == [base_path]
    host.close()
    with host.borrow() as third:
        assert third.unet is not unet


def spoil(host: StandaloneHost) -> None:
    with host.borrow() as model:
        Network.attach(model, TrainConfig(name="x", rank=2, te_learning_rate=1e-4))
        model.unet.train()
        model.unet.enable_gradient_checkpointing()
        model.unet.conv_in.requires_grad_(True)
        model.unet.conv_in.weight.grad = torch.zeros_like(model.unet.conv_in.weight)
        model.notes["mine"], model.vae_scale = "left", 7.0
        raise ZeroDivisionError


def test_a_borrower_that_fails_leaves_nothing_behind(host: StandaloneHost) -> None:
    with host.borrow() as model:
        before = state(model)
    with pytest.raises(ZeroDivisionError):
        spoil(host)
    with host.borrow() as model:
        assert state(model) == before
        assert not model.unet.is_gradient_checkpointing
        assert model.notes == {}
        assert model.vae_scale == 0.18215


def test_the_checkpoint_is_lent_once_at_a_time(host: StandaloneHost) -> None:
    order: list[str] = []

    def other() -> None:
        with host.borrow():
            order.append("other")

    with host.borrow():
        with pytest.raises(CheckpointError, match=r"toy\.safetensors is lent already"), host.borrow():
            pass
        waiting = threading.Thread(target=other)
        waiting.start()
        waiting.join(0.1)
        order.append("first")
    waiting.join(30)
    assert order == ["first", "other"]


def test_pictures_are_those_of_the_plain_sampler(host: StandaloneHost, lora_dir: Path) -> None:
    drawn = list(host.draw([ask("a dress", 5), ask("a dress <lora:one:1>", 5)], [lora_dir]))
    assert worst(drawn[:1], plain(host, "a dress", 5)) == 0
    one = load_lora(lora_dir / "one.safetensors").weights
    assert worst(drawn[1:], plain(host, "a dress", 5, one)) == 0
    assert worst(drawn[:1], drawn[1:]) > 20


def test_a_picture_does_not_depend_on_its_batch(host: StandaloneHost, lora_dir: Path) -> None:
    requests = [ask(f"a dress, tag{seed % 2} <lora:one:0.7>", seed) for seed in range(3)]
    requests += [ask("long " * 80 + "<lora:one:0.7>", 3), ask("snow", 4)]
    together = list(host.draw(requests, [lora_dir]))
    alone = [next(iter(host.draw([request], [lora_dir]))) for request in requests]
    assert worst(together, alone) <= 1  # the sums of a batched matrix product may round otherwise
    assert len({picture.tobytes() for picture in together}) == 5


def test_neighbours_that_differ_in_prompt_and_seed_alone_are_one_batch(
    host: StandaloneHost, lora_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[list[int]] = []

    def spy(*args: Any) -> torch.Tensor | None:
        batches.append(args[6])
        return webui_latents(*args)

    monkeypatch.setattr(drawing, "webui_latents", spy)
    small = StandaloneHost(host._base_path, device="cpu", most_pictures=3)
    prompts = ["a", "b", "c", "d", "d <lora:one:1>", "e <lora:one:1>", "e <lora:one:0.5>"]
    drawn = small.draw([ask(prompt, seed) for seed, prompt in enumerate(prompts)], [lora_dir])
    assert len(list(drawn)) == 7
    assert batches == [[0, 1, 2], [3], [4, 5], [6]]
    batches.clear()
    assert len(list(small.draw([ask("a", 0, steps=1), ask("a", 1, steps=2)], []))) == 2
    assert batches == [[0], [1]]


def test_large_pictures_go_in_small_batches() -> None:
    def sizes(side: int) -> list[int]:
        orders = drawing.parse_orders([ask("a", seed, width=side, height=side) for seed in range(8)], [])
        return [len(batch) for batch in drawing._split(orders, 16)]

    assert (sizes(64), sizes(512), sizes(1024), sizes(2048)) == ([8], [4, 4], [1] * 8, [1] * 8)


def test_adapters_are_moved_as_little_as_possible(
    base_path: Path, lora_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = StandaloneHost(base_path, device="cpu")  # with no file at hand yet
    calls: list[str] = []

    def spy(name: str, real: Any) -> Any:
        def called(*args: Any) -> Any:
            calls.append(name or args[0].stem)
            return real(*args)

        return called

    monkeypatch.setattr(Network, "from_weights", spy("inject", Network.from_weights))
    monkeypatch.setattr(Network, "load_weights", spy("copy", Network.load_weights))
    monkeypatch.setattr(drawing, "load_lora", spy("", load_lora))
    prompts = ["x <lora:one:1>", "x <lora:one:0.5>", "x", "x <lora:one:1>", "x <lora:two:1>", "x <lora:unet:1>"]
    list(host.draw([ask(prompt, steps=1) for prompt in prompts], [lora_dir]))
    assert calls == ["one", "inject", "copy", "two", "copy", "unet", "inject", "copy"]
    calls.clear()
    list(host.draw([ask("x <lora:two:0.3>", steps=1)], [lora_dir]))
    assert calls == ["inject", "copy"]  # the file is still at hand


def test_a_rewritten_file_is_read_again(host: StandaloneHost, lora_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes((lora_dir / "one.safetensors").read_bytes())
    first = list(host.draw([ask("a <lora:x:1>")], [tmp_path]))
    path.write_bytes((lora_dir / "two.safetensors").read_bytes())
    os.utime(path, ns=(1, 1))
    second = list(host.draw([ask("a <lora:x:1>")], [tmp_path]))
    assert worst(second, list(host.draw([ask("a <lora:two:1>")], [lora_dir]))) == 0
    assert worst(first, second) > 20


def test_several_loras_add_up(host: StandaloneHost, lora_dir: Path) -> None:
    drawn = list(host.draw([ask("a <lora:one:0.5> <lora:unet:0.25>", 1), ask("a <lora:one:0.5>", 1)], [lora_dir]))
    paths = (lora_dir / "one.safetensors", lora_dir / "sub" / "unet.safetensors")
    both = combine((load_lora(path).weights, strength) for path, strength in zip(paths, (0.5, 0.25), strict=True))
    assert worst(drawn[:1], plain(host, "a", 1, both)) == 0
    assert worst(drawn[:1], drawn[1:]) > 5


def test_strength_zero_and_no_lora_are_the_same_picture(host: StandaloneHost, lora_dir: Path) -> None:
    prompts = ["a <lora:one:1>", "a <lora:one:0>", "a"]
    drawn = list(host.draw([ask(prompt) for prompt in prompts], [lora_dir]))
    assert worst(drawn[1:2], drawn[2:]) == 0
    assert worst(drawn[2:], plain(host, "a", 0)) <= 1  # drawn as a batch of two


def test_text_is_encoded_with_the_lora_that_is_on(host: StandaloneHost, lora_dir: Path) -> None:
    """The same words under another LoRA are other embeddings; a UNet-only LoRA shares the base's."""
    with host.borrow() as model:
        shelf, files = drawing.TextShelf(model), drawing.LoraShelf()
        with drawing.Mount(model, files) as mount:
            told = []
            for name in ("", "one.safetensors", "two.safetensors", "sub/unet.safetensors"):
                mount.hold(((lora_dir / name, 1.0),) if name else ())
                told.append(shelf.get("a dress", 1, mount.text_state).hidden)
    assert not torch.equal(told[0], told[1])
    assert not torch.equal(told[1], told[2])
    assert told[3] is told[0]


def test_missing_files_are_named_before_anything_is_drawn(host: StandaloneHost, lora_dir: Path) -> None:
    with pytest.raises(LoraFileError, match="no LoRA named gone") as caught:
        host.draw([ask("a"), ask("a <lora:gone:1>")], [lora_dir])
    assert str(lora_dir) in str(caught.value)


def test_stopping_half_way_gives_the_checkpoint_back(host: StandaloneHost, lora_dir: Path) -> None:
    drawn = host.draw([ask("a <lora:one:1>", seed, steps=1 + seed) for seed in range(3)], [lora_dir])
    next(drawn)
    assert isinstance(drawn, Iterator)
    drawn.close()  # type: ignore[attr-defined]
    with host.borrow() as model:
        assert not hasattr(model.unet, "peft_config")
        assert not any("lora" in name for name, _ in model.unet.named_modules())


def test_a_lora_of_another_family_says_so_and_leaves_nothing(host: StandaloneHost, tmp_path: Path) -> None:
    strange = {"lora_unet_input_blocks_4_1_proj_in": (2, 32), "lora_te2_text_model_encoder_layers_0_mlp_fc1": (2, 32)}
    tensors: dict[str, torch.Tensor] = {}
    for name, shape in strange.items():
        tensors |= {f"{name}.lora_down.weight": torch.zeros(shape), f"{name}.lora_up.weight": torch.zeros(32, 2)}
    save_file(tensors, tmp_path / "xl.safetensors")
    with pytest.raises(LoraFileError, match="does not have"):
        list(host.draw([ask("a <lora:xl:1>")], [tmp_path]))
    with host.borrow() as model:
        assert not hasattr(model.unet, "peft_config")


@pytest.mark.parametrize("prefix", ["", "first_stage_model."])
def test_a_vae_of_its_own_takes_the_place_of_the_files(base_path: Path, tmp_path: Path, prefix: str) -> None:
    own = {
        prefix + key.removeprefix("first_stage_model."): torch.full_like(tensor, 0.25)
        for key, tensor in load_file(base_path).items()
        if key.startswith("first_stage_model.")
    }
    save_file(own, tmp_path / "own.safetensors")
    with StandaloneHost(base_path, device="cpu", vae_path=tmp_path / "own.safetensors").borrow() as model:
        assert all(bool((parameter == 0.25).all()) for parameter in model.vae.parameters())
        assert model.notes["vae"] == "own.safetensors"
        assert not bool((next(model.unet.parameters()) == 0.25).all())


def test_a_file_that_is_no_fitting_vae_is_refused(base_path: Path, tmp_path: Path) -> None:
    save_file({"decoder.conv_in.weight": torch.zeros(3)}, tmp_path / "bad.safetensors")
    host = StandaloneHost(base_path, device="cpu", vae_path=tmp_path / "bad.safetensors")
    with pytest.raises(CheckpointError, match=r"bad\.safetensors is not a VAE for this checkpoint"), host.borrow():
        pass


def test_a_preview_is_what_is_drawn_with_the_saved_file(
    host: StandaloneHost, toy_photos: PreparedSet, tmp_path: Path
) -> None:
    """The rule of the WebUIs' contract, for ourselves."""
    told = contract.settings().replace(preview_every_steps=99, preview_steps=6, learning_rate=3e-2)
    shown: dict[int, PreviewMade] = {}

    def emit(event: Event) -> None:
        if isinstance(event, PreviewMade):
            shown[event.column] = event

    with host.borrow() as model:
        result = train(model, toy_photos, told, tmp_path / "run", tmp_path / "out", emit, CommandBox())
    words = ("ohwx", f"ohwx<lora:{result.files[-1].stem}:1>")
    drawn = list(host.draw([contract.request(told, prompt) for prompt in words], [tmp_path / "out"]))
    made, theirs = [contract.pixels(shown[n].path) for n in (0, 1)], [contract.pixels(picture) for picture in drawn]
    assert [contract.apart(one, other) <= 0.05 for one, other in zip(made, theirs, strict=True)] == [True, True]
    assert contract.apart(theirs[0], theirs[1]) > 5
