"""What is done ahead of the device and behind it: it really overlaps, changes nothing, and leaves no thread."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lora_forge.dataset.prepared import PreparedImage, PreparedSet, load_pixels
from lora_forge.errors import DatasetError
from lora_forge.events import Progress, StageDone, Warned
from lora_forge.model.latents import as_picture, encode_images
from lora_forge.model.text import ROWS, caption_ids, encode, encode_rows
from lora_forge.ports import BorrowedModel
from lora_forge.train import encoding
from lora_forge.train.ahead import made_ahead, threads_for
from lora_forge.train.cache import MOST_WAITING, CachedText, TensorCache
from lora_forge.train.draws import latents_seed
from lora_forge.train.encoding import StoppedError, encode_set
from lora_forge.train.tensor_file import load_tree
from tests.train import tiny

PATIENCE_S = 20.0  # only a test that fails waits that long
SIZES = ((96, 96), (64, 96), (96, 64), (80, 96), (96, 80), (72, 96))


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> PreparedSet:
    return tiny.build_project(tmp_path_factory.mktemp("six"), SIZES)


class Watched:
    """Says when photos are read, beside the reader itself."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, images: tuple[PreparedImage, ...]) -> None:
        self.is_read = [threading.Event() for _ in images]
        self.threads: set[int] = set()
        self._number = {image.path: number for number, image in enumerate(images)}
        monkeypatch.setattr(encoding, "load_pixels", self._load)

    def _load(self, image: PreparedImage) -> Any:
        self.is_read[self._number[image.path]].set()
        self.threads.add(threading.get_ident())
        return load_pixels(image)

    def begun(self) -> list[int]:
        return [number for number, event in enumerate(self.is_read) if event.is_set()]


def at_each_photo(model: BorrowedModel, act: Callable[[int], None]) -> Any:
    """Call ``act`` with the number of the photo within the VAE's pass over it."""
    numbers = iter(range(1000))
    return model.vae.encoder.register_forward_pre_hook(lambda *_: act(next(numbers)))


def test_the_next_photo_is_read_while_this_one_is_encoded(
    six: PreparedSet, model: BorrowedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The VAE's pass over photo n does not end before someone has begun to read photo n + 1."""
    watched = Watched(monkeypatch, six.images)
    overlapped = []

    def act(number: int) -> None:
        if number + 1 < len(six.images):
            overlapped.append(watched.is_read[number + 1].wait(PATIENCE_S))

    with at_each_photo(model, act):
        encode_set(model, six.images, False, TensorCache(None, print), lambda _: None)
    assert overlapped == [True] * 5
    assert threading.get_ident() not in watched.threads


def test_reading_stays_a_few_photos_ahead(
    six: PreparedSet, model: BorrowedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched, seen = Watched(monkeypatch, six.images), []

    def act(number: int) -> None:
        if number == 0:
            watched.is_read[2].wait(PATIENCE_S)
        seen.append(max(watched.begun()))

    with at_each_photo(model, act):
        encode_set(model, six.images, False, TensorCache(None, print), lambda _: None)
    assert seen[0] == 2  # a CPU has one thread: one photo in its hands and one ready
    assert all(furthest <= number + 2 for number, furthest in enumerate(seen))


def test_the_cache_is_written_while_the_next_photo_is_encoded(
    tmp_path: Path, six: PreparedSet, model: BorrowedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer may not finish photo n's file before the VAE has begun photo n + 1: only a thread can obey."""
    has_begun, is_written = [threading.Event() for _ in SIZES], []
    replace = os.replace

    def late(source: Any, target: Any) -> None:
        if str(target).startswith(str(tmp_path)):
            number = len(is_written)
            is_written.append(number + 1 == len(SIZES) or has_begun[number + 1].wait(PATIENCE_S))
        replace(source, target)

    monkeypatch.setattr(os, "replace", late)
    with at_each_photo(model, lambda number: has_begun[number].set()):
        encode_set(model, six.images, False, TensorCache(tmp_path, print), lambda _: None)
    assert is_written == [True] * 6
    assert len(list(tmp_path.rglob("*.safetensors"))) == 6  # all of them before encode_set is back


def test_order_and_bits_are_those_of_one_after_another(tmp_path: Path, six: PreparedSet, model: BorrowedModel) -> None:
    cache = TensorCache(tmp_path, print)
    images, latents = encode_set(model, six.images, True, cache, lambda _: None)
    assert tuple(images) == six.images
    for image, found in zip(images, latents, strict=True):
        pixels = torch.tensor(load_pixels(image)).permute(2, 0, 1)[None].float() / 127.5 - 1
        assert torch.equal(found.plain, encode_images(model, pixels, [latents_seed(image.key, False)])[0])
        assert found.flipped is not None
        assert torch.equal(found.flipped, encode_images(model, pixels.flip(-1), [latents_seed(image.key, True)])[0])
    again = encode_set(model, six.images, True, cache, lambda _: None)[1]
    assert all(torch.equal(a.plain, b.plain) for a, b in zip(latents, again, strict=True))


def test_a_card_is_given_the_next_photo_before_this_one_is_waited_for(
    tmp_path: Path, six: PreparedSet, model: BorrowedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = encode_set(model, six.images, True, TensorCache(None, print), lambda _: None)[1]
    bad = latents_seed(six.images[2].key, False)
    tiny.refuse_latents(monkeypatch, bad)
    begun: list[int] = []
    done_at: list[int] = []
    recorder = tiny.Recorder(lambda event: done_at.append(len(begun)) if isinstance(event, Progress) else None)
    with at_each_photo(model, begun.append):
        images, latents = encode_set(*(model, six.images, True, TensorCache(tmp_path, print), recorder), begun_ahead=1)
    assert done_at == [4, 6, 8, 10, 12, 12]  # two sides each
    left = [number for number in range(6) if number != 2]
    assert [image.path for image in images] == [six.images[number].path for number in left]
    for found, number in zip(latents, left, strict=True):
        assert torch.equal(found.plain, plain[number].plain)
    assert "photo2.png" in recorder.of(Warned)[0].message


def test_a_stop_between_two_photos_keeps_what_was_made(tmp_path: Path, six: PreparedSet, model: BorrowedModel) -> None:
    begun: list[int] = []
    recorder = tiny.Recorder()
    with at_each_photo(model, begun.append), pytest.raises(StoppedError):
        encode_set(
            *(model, six.images, False, TensorCache(tmp_path, print), recorder),
            should_stop=lambda: len(recorder.of(Progress)) == 2,
        )
    assert begun == [0, 1]
    assert [event.done for event in recorder.of(Progress)] == [1, 2]
    kept = [load_tree(path) for path in tmp_path.rglob("*.safetensors")]
    assert len(kept) == 2
    assert list(tmp_path.rglob("*.tmp")) == []


def test_a_photo_that_can_not_be_read_is_named_at_its_place(tmp_path: Path, model: BorrowedModel) -> None:
    images = tiny.build_project(tmp_path / "project", SIZES).images
    images[3].path.write_bytes(b"no picture")
    recorder = tiny.Recorder()
    with pytest.raises(DatasetError, match=r"photo3\.png can't be used"):
        encode_set(model, images, False, TensorCache(tmp_path / "cache", print), recorder)
    assert [event.done for event in recorder.of(Progress)] == [1, 2, 3]
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 3


def test_a_disk_that_refuses_is_said_once_by_the_thread_that_encodes(
    tmp_path: Path, six: PreparedSet, model: BorrowedModel
) -> None:
    (tmp_path / "file").write_bytes(b"")
    tellers: list[int] = []
    recorder = tiny.Recorder(lambda event: tellers.append(threading.get_ident()))
    cache = TensorCache(tmp_path / "file", recorder)
    assert len(encode_set(model, six.images, True, cache, recorder)[1]) == 6
    CachedText(model, 1, cache, is_fixed=True).warm(["a", "b"])
    assert len(recorder.of(Warned)) == 1
    assert set(tellers) == {threading.get_ident()}
    said = [type(event) for event in recorder.events]
    assert said.index(Warned) < said.index(StageDone)


def test_what_else_writing_raises_comes_through_and_the_thread_ends(tmp_path: Path) -> None:
    cache = TensorCache(tmp_path, print)

    def fail() -> dict[str, torch.Tensor]:
        raise MemoryError("while it was copied")

    with pytest.raises(MemoryError, match="while it was copied"), cache.behind():
        cache.save("ab1", fail)
    with contextlib.suppress(KeyError), cache.behind():
        cache.save("ab2", {"x": torch.arange(3)})
        raise KeyError
    assert cache.load("ab1") is None
    assert cache.load("ab2") is not None


def test_files_do_not_pile_up_behind_a_slow_disk(tmp_path: Path) -> None:
    cache, made, gate = TensorCache(tmp_path, print), [], threading.Event()

    def make(number: int) -> dict[str, torch.Tensor]:
        gate.wait(PATIENCE_S)
        made.append(number)
        return {"x": torch.tensor(number)}

    with cache.behind():
        for number in range(MOST_WAITING):
            cache.save(f"{number:02d}", lambda number=number: make(number))  # type: ignore[misc]
        assert made == []
        gate.set()
        for number in range(MOST_WAITING, MOST_WAITING + 5):
            cache.save(f"{number:02d}", lambda number=number: make(number))  # type: ignore[misc]
            assert len(made) >= number - MOST_WAITING
    assert made == list(range(MOST_WAITING + 5))


def test_what_is_made_ahead_comes_in_order_and_an_error_in_its_place() -> None:
    def make(number: int) -> int:
        if number == 7:
            raise ValueError("seven")
        return number * number

    with made_ahead(make, range(7), 3) as squares:
        assert list(squares) == [0, 1, 4, 9, 16, 25, 36]
    taken = []
    with pytest.raises(ValueError, match="seven"), made_ahead(make, range(20), 3) as squares:
        taken.extend(iter(squares.__next__, None))
    assert taken == [0, 1, 4, 9, 16, 25, 36]
    assert (threads_for(torch.device("cpu")), threads_for(torch.device("meta"))) == (1, min(4, os.cpu_count() or 1))


LONG = ", ".join(["snow"] * 60)


def captions() -> list[str]:
    """Two of them are of two chunks, the first where one place is left; one comes twice."""
    tags = [f"ohwx, tag{number}" for number in range(17)]
    return [*tags[:15], LONG, f"{LONG}, ice", *tags[15:], "ohwx, tag3", "a, b"]


def test_captions_in_rows_are_those_of_one_alone(tmp_path: Path, model: BorrowedModel) -> None:
    rows: list[int] = []
    hook = model.text_towers[0].module.register_forward_pre_hook(
        lambda _, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    text = CachedText(model, 2, TensorCache(tmp_path, print), is_fixed=True, in_rows=True)
    with hook:
        text.warm(captions())
        assert rows == [ROWS, ROWS]  # 15 captions of one chunk; 2 of two and 3 of one
        hidden = [text.get([caption]).hidden for caption in captions()]
        assert rows == [ROWS, ROWS]
    for caption, found in zip(captions(), hidden, strict=True):
        torch.testing.assert_close(found, encode(model, [caption], 2).hidden, atol=1e-5, rtol=1e-4)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 20


def test_a_caption_in_rows_does_not_depend_on_which_others_were_missing(tmp_path: Path, model: BorrowedModel) -> None:
    """A damaged file, or one met later, gives the very bits; so does another company in the same rows."""
    text = CachedText(model, 1, TensorCache(tmp_path, print), is_fixed=True, in_rows=True)
    text.warm(captions())
    for number, path in enumerate(sorted(tmp_path.rglob("*.safetensors"))):
        if number % 3 == 0:
            path.write_bytes(path.read_bytes()[:-5])
    again = CachedText(model, 1, TensorCache(tmp_path, print), is_fixed=True, in_rows=True)
    again.warm(list(reversed(captions())))
    alone = CachedText(model, 1, TensorCache(None, print), is_fixed=True, in_rows=True)
    for caption in captions():
        wanted = text.get([caption]).hidden
        assert torch.equal(again.get([caption]).hidden, wanted)
        assert torch.equal(alone.get([caption]).hidden, wanted)
        assert wanted.untyped_storage().nbytes() == wanted.numel() * wanted.element_size()  # not a view of the rows
    third = CachedText(model, 1, TensorCache(tmp_path, print), is_fixed=True, in_rows=True)
    with model.text_towers[0].module.register_forward_pre_hook(_refuse):
        third.warm(captions())  # every file is whole again


def test_shuffled_captions_may_be_in_rows_too_and_stay_off_the_disk(tmp_path: Path, model: BorrowedModel) -> None:
    text = CachedText(model, 1, TensorCache(tmp_path, print), is_fixed=False, in_rows=True)
    text.warm(captions())
    alone = CachedText(model, 1, TensorCache(None, print), is_fixed=False, in_rows=True)
    assert all(torch.equal(text.get([each]).hidden, alone.get([each]).hidden) for each in captions())
    assert list(tmp_path.iterdir()) == []


def _refuse(*_: Any) -> None:
    raise AssertionError("it was encoded again")


def test_a_caption_of_more_chunks_than_rows(model: BorrowedModel) -> None:
    endless = ", ".join(["snow"] * 40 * ROWS)
    ids = caption_ids(model, endless)
    assert len(ids[0]) > ROWS
    with torch.no_grad():
        rows = encode_rows(model, [ids, caption_ids(model, "a")], 1)
        both = encode(model, [endless], 1).hidden, encode(model, ["a"], 1).hidden
    assert len(rows.hidden) == len(ids[0]) + 1
    torch.testing.assert_close(rows.hidden[:-1].flatten(0, 1)[None], both[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(rows.hidden[-1:], both[1], atol=1e-5, rtol=1e-4)


def test_a_stop_between_two_captions(tmp_path: Path, model: BorrowedModel) -> None:
    asked: list[int] = []

    def should_stop() -> bool:
        asked.append(len(asked))
        return len(asked) > 2

    CachedText(model, 1, TensorCache(tmp_path, print), is_fixed=True).warm(["a", "b", "c", "d"], should_stop)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2


def test_pixels_become_what_the_vae_is_given() -> None:
    pixels = torch.tensor(np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 14)
    plain, flipped = as_picture(pixels), as_picture(pixels, is_flipped=True)
    assert (plain.shape, plain.dtype) == ((3, 2, 3), torch.float32)
    assert torch.equal(flipped, plain.flip(-1))
    assert plain[1, 1, 2].item() == pytest.approx(int(pixels[1, 2, 1]) / 127.5 - 1)
