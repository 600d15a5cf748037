"""The real insightface on a pack of two tiny networks; see tests/dataset/faces/pack.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora_forge.dataset.faces import Detector, find_detector
from lora_forge.evaluate.judges.faces import FACELESS, FaceJudge
from lora_forge.evaluate.judges.likeness import Reference
from lora_forge.evaluate.scores import Asked

pytest.importorskip("insightface")
pytest.importorskip("onnx")

from tests.dataset.faces.pack import Planted, with_strip, write_pack

HEAD: Planted = ((200.0, 100.0, 300.0, 230.0), ((225, 150), (275, 150), (250, 175), (232, 200), (268, 200)))
SECOND: Planted = ((400.0, 150.0, 500.0, 280.0), ((425, 200), (475, 200), (450, 225), (432, 250), (468, 250)))
ASKED = Asked("ohwx")


def portrait(person: int, light: float = 1.0, seed: int = 0) -> Image.Image:
    """``person`` is the pattern of colours where the head is; the light and some grain differ from photo to photo."""
    coarse = np.random.default_rng(person).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC), np.float32)
    grain = np.random.default_rng(1000 + seed).normal(0, 20, (12, 16, 3)).astype(np.float32)
    coarse_grain = np.stack([np.kron(grain[..., c], np.ones((40, 40), np.float32)) for c in range(3)], axis=-1)
    return Image.fromarray(np.clip(image * light + coarse_grain, 0, 255).astype(np.uint8))


def photo(person: int, light: float = 1.0, seed: int = 0) -> Image.Image:
    return with_strip(portrait(person, light, seed), [HEAD])


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    root = tmp_path_factory.mktemp("pack")
    write_pack(root / "buffalo_sc")
    return find_detector([root])


@pytest.fixture(scope="module")
def judge(detector: Detector) -> FaceJudge:
    vectors = [detector.detect(photo(1, 0.7 + 0.05 * number, number))[0].embedding for number in range(8)]
    return FaceJudge(detector, Reference(np.stack([one for one in vectors if one is not None])), 1.0)


def test_the_same_person_is_as_alike_as_the_photos_and_others_are_not(judge: FaceJudge) -> None:
    same = judge.score([photo(1, 0.72 + 0.05 * number, 50 + number) for number in range(6)], ASKED)
    assert np.mean([score.identity or 0.0 for score in same]) == pytest.approx(1.0, abs=0.05)
    others = judge.score([photo(person, 0.9, 70) for person in range(2, 8)], ASKED)
    assert np.mean([score.identity or 0.0 for score in others]) < 0.5
    assert {score.health for score in (*same, *others)} == {1.0}
    assert all(score.copying is None and score.obedience is None for score in same)


def test_between_two_people_likeness_lies_between(judge: FaceJudge) -> None:
    mixed = [Image.blend(portrait(1), portrait(2), share) for share in (0.0, 0.5, 1.0)]
    told = judge.score([with_strip(image, [HEAD]) for image in mixed], ASKED)
    first, middle, last = (score.identity or 0.0 for score in told)
    assert first > middle > last


def test_no_face_is_no_likeness_and_no_health_where_one_is_due(judge: FaceJudge) -> None:
    (due,) = judge.score([with_strip(portrait(1), [])], ASKED)
    assert (due.identity, due.health) == (0.0, FACELESS)
    (free,) = judge.score([with_strip(portrait(1), [])], Asked("ohwx, from behind", expects_face=False))
    assert (free.identity, free.health) == (None, 1.0)


def test_passers_by_do_no_harm(judge: FaceJudge) -> None:
    both = Image.new("RGB", (640, 480))
    both.paste(portrait(2), (0, 0))
    both.paste(portrait(1).crop((180, 80, 320, 250)), (380, 130))
    (told,) = judge.score([with_strip(both, [HEAD, SECOND])], ASKED)
    (alone,) = judge.score([with_strip(both, [HEAD])], ASKED)
    assert told.identity is not None
    assert told.identity > 0.8 > (alone.identity or 0.0)


def test_a_detector_that_misses_photos_too_says_less_of_health(detector: Detector) -> None:
    (told,) = FaceJudge(detector, None, 0.5).score([with_strip(portrait(1), [])], ASKED)
    assert told.health == pytest.approx(1 - 0.5 * (1 - FACELESS))
    assert told.identity is None  # nobody to compare with


def test_without_recognition_nobody_is_told(tmp_path: Path) -> None:
    write_pack(tmp_path / "boxes", recognition=False)
    (told,) = FaceJudge(find_detector([tmp_path]), None, 1.0).score([photo(1)], ASKED)
    assert (told.identity, told.health) == (None, 1.0)
