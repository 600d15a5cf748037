from __future__ import annotations

import random

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from lora_forge.evaluate.judges.health import NAMES, HealthJudge, statistics
from lora_forge.evaluate.scores import Asked
from lora_forge.toyworld.subject import photos
from lora_forge.toyworld.world import draw, random_look

from .planted import burnt, noise


@pytest.fixture(scope="module")
def toy() -> HealthJudge:
    return HealthJudge([picture for picture, _ in photos(0)])


@pytest.fixture(scope="module")
def real() -> HealthJudge:
    return HealthJudge(real_photos()[:3])


def real_photos() -> list[Image.Image]:
    data = pytest.importorskip("skimage.data")
    return [Image.fromarray(getattr(data, name)()) for name in ("astronaut", "chelsea", "coffee", "rocket")]


def test_the_numbers_by_hand() -> None:
    """Left half black, right half white, 64 px: one step in the middle of every row."""
    half = Image.new("RGB", (64, 64))
    half.paste((255, 255, 255), (32, 0, 64, 64))
    told = dict(zip(NAMES, statistics(half, 64), strict=True))
    assert told["brightness"] == pytest.approx(0.5)
    assert told["contrast"] == pytest.approx(0.5)
    assert told["evenness"] == pytest.approx(62 / 63)
    assert (told["edges"], told["colour"], told["burnt"], told["vivid"]) == (0.0, 0.0, 0.0, 0.0)
    red = Image.new("RGB", (64, 64), (255, 0, 0))
    told = dict(zip(NAMES, statistics(red, 64), strict=True))
    assert (told["colour"], told["burnt"], told["vivid"]) == (1.0, 1.0, 1.0)
    grains = dict(zip(NAMES, statistics(noise(256), 256), strict=True))
    assert grains["smoothness"] == pytest.approx(0.0, abs=0.02)
    assert grains["extent"] == pytest.approx(0.0, abs=0.02)


def test_clean_drawings_are_healthy_whatever_they_show(toy: HealthJudge) -> None:
    rng = random.Random(3)
    health = [score.health for score in toy.score([draw(random_look(rng)) for _ in range(100)], Asked(""))]
    assert np.mean(health) > 0.97
    assert np.mean([one < 0.5 for one in health]) <= 0.01


def test_ruined_drawings_are_not(toy: HealthJudge) -> None:
    ruined = [noise(64, seed=seed) for seed in range(8)] + [noise(64, 8, seed) for seed in range(8)]
    soft = [draw(random_look(random.Random(seed))).filter(ImageFilter.GaussianBlur(4)) for seed in range(8)]
    faint = [Image.blend(image, Image.new("RGB", (64, 64), (240, 230, 160)), 0.75) for image in soft]
    health = [toy.health(image) for image in (*ruined, *soft, *faint)]
    assert max(health) < 0.5
    assert np.mean(health) < 0.1


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (128, 128, 128), (200, 30, 30)])
@pytest.mark.parametrize("size", [(64, 64), (512, 768)])
def test_a_blank_picture_is_ruined(toy: HealthJudge, colour: tuple[int, int, int], size: tuple[int, int]) -> None:
    assert toy.health(Image.new("RGB", size, colour)) == 0.0
    assert HealthJudge([]).health(Image.new("RGB", size, colour)) == 0.0
    assert HealthJudge([Image.new("RGB", size, colour)]).health(Image.new("RGB", size, colour)) == 0.0


def test_photographs_are_healthy_in_other_light_and_size(real: HealthJudge) -> None:
    for photo in real_photos():
        for image in (photo, photo.resize((768, 512)), ImageEnhance.Brightness(photo).enhance(0.6)):
            assert real.health(image) > 0.9
        assert real.health(photo.convert("L").convert("RGB")) > 0.9


def test_noise_and_burnt_photographs_are_not(real: HealthJudge) -> None:
    assert real.health(noise(512)) == 0.0
    assert real.health(noise(512, 256)) < 0.5
    assert real.health(burnt(real_photos()[0])) < 0.5
    assert HealthJudge([]).health(noise(512)) == 0.0


def test_what_the_photos_show_themselves_is_healthy() -> None:
    """A LoRA of television snow draws television snow."""
    snow = [noise(512, 256, seed) for seed in range(4)]
    assert HealthJudge(real_photos()).health(snow[3]) < 0.5
    assert HealthJudge(snow[:3]).health(snow[3]) == 1.0
