"""Cached latents and text embeddings: right when there, made anew when damaged, never taken for another's."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from lora_forge.dataset.prepared import PreparedSet, load_pixels
from lora_forge.errors import TrainingError
from lora_forge.events import StageDone, Warned
from lora_forge.model.latents import encode_images
from lora_forge.model.text import Conditioning, encode
from lora_forge.ports import BorrowedModel
from lora_forge.train import cache as cache_module
from lora_forge.train import encoding
from lora_forge.train.cache import CachedText, LiveText, TensorCache
from lora_forge.train.draws import latents_seed
from lora_forge.train.encoding import LatentsWhenMet, encode_set
from lora_forge.train.fingerprints import module_fingerprint
from tests.train import tiny


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def test_latents_are_those_of_the_picture_and_of_its_mirror_image(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    images, latents = encode_set(model, prepared.images, True, TensorCache(tmp_path, print), lambda _: None)
    assert tuple(images) == prepared.images
    for image, found in zip(images, latents, strict=True):
        pixels = torch.tensor(load_pixels(image)).permute(2, 0, 1)[None].float() / 127.5 - 1
        assert torch.equal(found.plain, encode_images(model, pixels, [latents_seed(image.key, False)])[0])
        assert found.flipped is not None
        assert torch.equal(found.flipped, encode_images(model, pixels.flip(-1), [latents_seed(image.key, True)])[0])
        assert found.plain.shape == (4, image.bucket.height // 8, image.bucket.width // 8)
    assert len(files(tmp_path)) == 6


def test_a_second_run_only_reads(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel, monkeypatch: Any) -> None:
    cache = TensorCache(tmp_path, print)
    first = encode_set(model, prepared.images, False, cache, lambda _: None)[1]
    monkeypatch.setattr(encoding, "LatentEncoder", lambda _: None)
    recorder = tiny.Recorder()
    second = encode_set(model, prepared.images, False, cache, recorder)[1]
    assert all(torch.equal(a.plain, b.plain) for a, b in zip(first, second, strict=True))
    assert "0 of them encoded now" in recorder.of(StageDone)[0].summary


def test_a_damaged_file_is_made_anew(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    cache = TensorCache(tmp_path, print)
    first = encode_set(model, prepared.images, False, cache, lambda _: None)[1]
    whole = [path.read_bytes() for path in files(tmp_path)]
    for path, content in zip(files(tmp_path), (b"", whole[1][:50], whole[2][:-4] + b"\1\2\3\4"), strict=True):
        path.write_bytes(content)
    second = encode_set(model, prepared.images, False, cache, lambda _: None)[1]
    assert all(torch.equal(a.plain, b.plain) for a, b in zip(first, second, strict=True))
    third = encode_set(model, prepared.images, False, cache, recorder := tiny.Recorder())[1]
    assert all(torch.equal(a.plain, b.plain) for a, b in zip(first, third, strict=True))
    assert "0 of them encoded now" in recorder.of(StageDone)[0].summary


def test_another_vae_or_other_pixels_are_encoded_anew(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    cache = TensorCache(tmp_path, print)
    encode_set(model, prepared.images, False, cache, lambda _: None)
    encode_set(tiny.build_model(seed=1), prepared.images, False, cache, lambda _: None)
    assert len(files(tmp_path)) == 6
    encode_set(dataclasses.replace(model, vae_scale=0.13025), prepared.images, False, cache, lambda _: None)
    assert len(files(tmp_path)) == 9


def test_one_changed_tensor_changes_the_fingerprint(model: BorrowedModel) -> None:
    other = tiny.build_model()
    assert module_fingerprint(other.unet) == module_fingerprint(model.unet)
    with torch.no_grad():
        other.unet.mid_block.attentions[0].proj_in.weight.mul_(1.001)
    assert module_fingerprint(other.unet) != module_fingerprint(model.unet)


def test_an_image_without_finite_latents_is_left_out_by_name(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel, monkeypatch: Any
) -> None:
    tiny.refuse_latents(monkeypatch, latents_seed(prepared.images[1].key, False))
    recorder = tiny.Recorder()
    images, latents = encode_set(model, prepared.images, False, TensorCache(tmp_path, print), recorder)
    assert [image.source.name for image in images] == ["photo0.png", "photo2.png"]
    assert len(latents) == 2
    assert "photo1.png" in recorder.of(Warned)[0].message
    with pytest.raises(TrainingError, match="any of the 1 images"):
        encode_set(model, prepared.images[1:2], False, TensorCache(None, print), recorder)


def test_latents_when_met_are_encoded_once_and_no_sooner(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    def kept() -> int:
        return len(list(tmp_path.rglob("*.safetensors")))

    latents = LatentsWhenMet(model, prepared.images, True, TensorCache(tmp_path, print), lambda _: None)
    assert (len(latents), kept()) == (3, 0)
    first = latents[2]
    assert (kept(), latents[2] is first) == (2, True)  # the image and its mirror image
    ahead = encode_set(model, prepared.images, True, TensorCache(None, print), lambda _: None)[1]
    for mine, other in zip(latents[:], ahead, strict=True):
        assert torch.equal(mine.plain, other.plain)
        assert mine.flipped is not None
        assert other.flipped is not None
        assert torch.equal(mine.flipped, other.flipped)


def test_a_disk_that_refuses_is_no_reason_to_stop(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    (tmp_path / "file").write_bytes(b"")
    recorder = tiny.Recorder()
    cache = TensorCache(tmp_path / "file", recorder)
    assert len(encode_set(model, prepared.images, False, cache, lambda _: None)[1]) == 3
    assert len(recorder.of(Warned)) == 1


def counted(monkeypatch: Any) -> list[str]:
    seen: list[str] = []

    def count(model: BorrowedModel, captions: list[str], clip_skip: int) -> Conditioning:
        seen.extend(captions)
        return encode(model, captions, clip_skip)

    monkeypatch.setattr(cache_module, "encode", count)
    return seen


def test_captions_are_encoded_once(tmp_path: Path, model: BorrowedModel, monkeypatch: Any) -> None:
    seen = counted(monkeypatch)
    text = CachedText(model, 1, TensorCache(tmp_path, print), is_fixed=True)
    both = text.get(["a cat", "a dog"])
    assert_close(both.hidden, encode(model, ["a cat", "a dog"], 1).hidden)
    text.get(["a dog"])
    again = CachedText(model, 1, TensorCache(tmp_path, print), is_fixed=True)
    assert torch.equal(again.get(["a dog", "a cat"]).hidden, both.hidden.flip(0))
    assert seen == ["a cat", "a dog"]
    CachedText(model, 2, TensorCache(tmp_path, print), is_fixed=True).get(["a dog"])
    assert seen == ["a cat", "a dog", "a dog"]


def test_shuffled_captions_stay_off_the_disk(tmp_path: Path, model: BorrowedModel) -> None:
    CachedText(model, 1, TensorCache(tmp_path, print), is_fixed=False).get(["a, b"])
    assert files(tmp_path) == []


def test_memory_is_bounded(model: BorrowedModel, monkeypatch: Any) -> None:
    monkeypatch.setattr(cache_module, "TEXT_MEMORY_BYTES", 2 * 77 * tiny.WIDTH * 4)
    seen = counted(monkeypatch)
    text = CachedText(model, 1, TensorCache(None, print), is_fixed=False)
    for caption in ("a", "b", "a", "c", "a", "b"):
        text.get([caption])
    assert seen == ["a", "b", "c", "b"]


def test_what_is_warmed_again_stays_longest(model: BorrowedModel, monkeypatch: Any) -> None:
    seen = counted(monkeypatch)
    text = CachedText(model, 1, TensorCache(None, print), is_fixed=False, most_bytes=3 * 77 * tiny.WIDTH * 4)
    text.warm(["a", "b", "c"])
    text.warm(["a", "d", "e"])
    text.get(["a"])
    assert seen == ["a", "b", "c", "d", "e"]


def test_a_short_caption_beside_a_long_one_gets_an_empty_chunk(model: BorrowedModel) -> None:
    long = ", ".join(["snow"] * 60)
    text = CachedText(model, 1, TensorCache(None, print), is_fixed=False)
    both = text.get(["a cat", long])
    assert both.hidden.shape == (2, 154, tiny.WIDTH)
    assert_close(both.hidden, encode(model, ["a cat", long], 1).hidden, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("source", [CachedText, LiveText])
def test_text_can_be_asked_for_as_long_as_others(model: BorrowedModel, source: Any) -> None:
    """As they would be beside a caption of so many chunks; what has more of its own keeps it."""
    long = ", ".join(["snow"] * 60)
    text = LiveText(model, 1) if source is LiveText else CachedText(model, 1, TensorCache(None, print), is_fixed=False)
    with torch.no_grad():
        expected = text.get(["a cat", long]).hidden[:1]
        assert_close(text.get(["a cat"], 2).hidden, expected, atol=1e-6, rtol=1e-5)
        assert text.get(["a cat"], 1).hidden.shape == (1, 77, tiny.WIDTH)
        assert text.get(["a cat", "a dog"], 3).hidden.shape == (2, 231, tiny.WIDTH)
        assert text.get([long], 1).hidden.shape == (1, 154, tiny.WIDTH)
