from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PIL import Image

from lora_forge.evaluate.judges.copying import UNIT_LEAST, UNIT_MOST, UNIT_OF_ONE, CopyingJudge, unit_of
from lora_forge.evaluate.scores import Asked
from lora_forge.host.standalone import StandaloneHost
from lora_forge.model.latents import decode, encode_images
from lora_forge.toyworld import checkpoint_path
from lora_forge.toyworld.subject import photos

from .planted import COPIES, noise


def pictures(seed: int, count: int = 24) -> list[Image.Image]:
    return [picture for picture, _ in photos(seed, count)]


@pytest.fixture(scope="module")
def judge() -> CopyingJudge:
    return CopyingJudge(pictures(0))


def copying(judge: CopyingJudge, images: Sequence[Image.Image]) -> list[float]:
    found = [score.copying for score in judge.score(images, Asked(""))]
    assert all(one is not None and 0 <= one <= 1 for one in found)
    return [one for one in found if one is not None]


def test_a_photo_itself_is_all_of_a_copy(judge: CopyingJudge) -> None:
    assert copying(judge, pictures(0)) == pytest.approx([1.0] * 24, abs=1e-4)


@pytest.mark.parametrize("way", COPIES)
def test_a_rebuilt_photo_is_noticed_and_named(judge: CopyingJudge, way: str) -> None:
    for number, photo in enumerate(pictures(0)):
        nearest, share = judge.nearest(COPIES[way](photo))
        assert share > 0.7
        if share < 0.999:  # the set has photos that are mirror images of each other up to a pixel
            assert nearest == number or share > 0.8


def test_new_pictures_of_the_same_subject_are_no_copies(judge: CopyingJudge) -> None:
    """Drawn by the very rule the photos are drawn by, with so few looks that one in seven is a photo again, shifted."""
    fresh = [share for seed in range(1, 6) for share in copying(judge, pictures(seed))]
    assert np.mean(fresh) < 0.2
    assert np.mean([share > 0.5 for share in fresh]) < 0.16
    assert np.median(fresh) == 0.0


def test_the_round_trip_through_the_vae_is_a_copy(judge: CopyingJudge) -> None:
    pixels = np.stack([np.asarray(photo, np.float32) / 127.5 - 1 for photo in pictures(0)])
    with StandaloneHost(checkpoint_path()).borrow() as model:
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        rebuilt = decode(model, encode_images(model, images, range(len(images))))
    assert min(copying(judge, rebuilt)) > 0.5
    assert np.mean(copying(judge, rebuilt)) > 0.65


def test_a_photo_moved_by_a_pixel_is_a_copy(judge: CopyingJudge) -> None:
    """A pixel of 64 is half of one by which the judge looks."""
    moved = [Image.fromarray(np.roll(np.asarray(photo), (1, -1), axis=(0, 1))) for photo in pictures(0)]
    assert min(copying(judge, moved)) > 0.5


def test_another_picture_is_none(judge: CopyingJudge) -> None:
    assert copying(judge, [noise(64), noise(64, 6), Image.new("RGB", (64, 64))]) == [0.0, 0.0, 0.0]


def test_real_photos_cut_and_squeezed_otherwise() -> None:
    data = pytest.importorskip("skimage.data")
    found = [Image.fromarray(getattr(data, name)()) for name in ("astronaut", "chelsea", "coffee", "rocket")]
    for image in found:
        image.thumbnail((320, 320))
    judge = CopyingJudge([image.copy() for image in found])
    for number, photo in enumerate(found):
        for way in COPIES.values():
            assert judge.nearest(way(photo))[0] == number
            assert judge.nearest(way(photo))[1] > 0.8
        width, height = photo.size
        side = min(width, height)
        square = photo.crop(((width - side) // 2, (height - side) // 2, (width + side) // 2, (height + side) // 2))
        assert judge.nearest(square.resize((512, 512)))[1] > 0.8
        assert judge.nearest(photo.resize((512, 512)))[1] > 0.8
        for top in ((height - side // 2) // 2, 0):  # lower than it is high, cut from the middle and from the top
            assert judge.nearest(photo.crop((0, top, width, top + side // 2)))[1] > 0.8
        closer = photo.crop((width // 4, height // 4, width * 3 // 4, height * 3 // 4))
        assert judge.nearest(closer)[1] < 0.5


def test_the_same_backdrop_is_no_copy() -> None:
    """Each photo has light from another side; the new one has the first one's light and something else in it."""
    ramp = np.tile(np.linspace(30, 225, 256, dtype=np.float32), (256, 1))

    def lit(turns: int, seed: int) -> Image.Image:
        things = np.asarray(noise(256, 12, seed).convert("L"), np.float32) - 128
        grey = np.clip(np.rot90(ramp, turns) + things / 4, 0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")

    judge = CopyingJudge([lit(turns, turns) for turns in range(4)])
    assert copying(judge, [lit(0, 9)])[0] < 0.2
    assert copying(judge, [COPIES["recompressed"](lit(0, 0))])[0] > 0.9


def unit(*rows: list[float]) -> float:
    return unit_of({number: np.array(row, np.float32) for number, row in enumerate(rows)})


def test_the_unit_by_hand() -> None:
    assert unit([0, 0.2, 0.4], [0.2, 0, 0.3], [0.4, 0.3, 0]) == pytest.approx(0.2)  # nearest: 0.2, 0.2, 0.3
    assert unit([0, 0.2, 0.4], [0.2, 0, 0.3]) == pytest.approx(0.2)  # a sample of the photos
    assert unit([0, 0.001, 0.4], [0.001, 0, 0.4], [0.4, 0.4, 0]) == pytest.approx(0.4)  # the pair is one photo
    assert unit([0, 0, 0], [0, 0, 0], [0, 0, 0]) == UNIT_OF_ONE
    assert unit([0, 0.03], [0.03, 0]) == pytest.approx(UNIT_LEAST)
    assert unit([0, 0.9], [0.9, 0]) == pytest.approx(UNIT_MOST)


def test_photos_that_are_there_twice_hide_no_copy() -> None:
    doubled = CopyingJudge([*pictures(0), *(COPIES["recompressed"](photo) for photo in pictures(0))])
    assert min(copying(doubled, [COPIES["blurred"](photo) for photo in pictures(0)])) > 0.6


def test_one_photo_and_none() -> None:
    one = CopyingJudge(pictures(0, 1))
    assert copying(one, [COPIES["recompressed"](pictures(0, 1)[0])])[0] > 0.9
    assert one.unit == UNIT_OF_ONE
    assert [score.copying for score in CopyingJudge([]).score(pictures(0, 2), Asked(""))] == [None, None]
