"""The real insightface on a pack written on the spot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora_forge.dataset.faces import find_detector
from lora_forge.dataset.faces.face import Face, yaw_of
from lora_forge.dataset.faces.insight import InsightDetector
from lora_forge.dataset.faces.packs import find_packs, model_files
from lora_forge.errors import MissingPartError
from tests.dataset.faces.pack import Planted, with_strip, write_pack

HEAD: Planted = ((200.0, 100.0, 300.0, 230.0), ((225, 150), (275, 150), (250, 175), (232, 200), (268, 200)))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("模型 é")
    write_pack(root / "models" / "buffalo_sc")
    return root


def picture(width: int = 640, height: int = 480, seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def test_boxes_points_and_identity_come_through(root: Path) -> None:
    detector = find_detector([root])
    other: Planted = ((400.0, 50.0, 440.0, 110.0), ((410, 70), (430, 70), (420, 82), (412, 95), (428, 95)))
    faces = detector.detect(with_strip(picture(), [other, HEAD]))
    assert detector.name == "insightface buffalo_sc"
    assert (detector.kind, detector.finds, detector.identifies, detector.knows_angles) == (
        "insightface",
        True,
        True,
        True,
    )
    assert [face.box for face in faces] == [(200.0, 100.0, 100.0, 130.0), (400.0, 50.0, 40.0, 60.0)]
    assert faces[0].landmarks == HEAD[1]
    assert faces[0].score == 1.0
    assert faces[0].embedding is not None
    assert faces[0].embedding.shape == (512,)
    assert np.linalg.norm(faces[0].embedding) == pytest.approx(1.0, abs=1e-6)
    assert faces[0].yaw == pytest.approx(0.0)


def test_pictures_of_other_sizes_are_scaled_back(root: Path) -> None:
    box, points = HEAD
    planted = (tuple(2 * value for value in box), [(2 * x, 2 * y) for x, y in points])
    faces = find_detector([root]).detect(with_strip(picture(1280, 960), [planted]))  # type: ignore[list-item]
    assert [face.box for face in faces] == [(400.0, 200.0, 200.0, 260.0)]


def test_the_same_face_is_alike_and_another_is_not(root: Path) -> None:
    detector = find_detector([root])
    one = detector.detect(with_strip(picture(seed=1), [HEAD]))[0].embedding
    darker = detector.detect(with_strip(picture(seed=1).point(lambda value: value * 0.8), [HEAD]))[0].embedding
    other = detector.detect(with_strip(picture(seed=2), [HEAD]))[0].embedding
    assert one is not None
    assert one @ darker > 0.95
    assert one @ other < 0.6


def test_no_face_and_a_grey_face(root: Path) -> None:
    detector = find_detector([root])
    assert detector.detect(with_strip(picture(), [])) == []
    grey = with_strip(picture().convert("L").convert("RGB"), [HEAD])
    assert detector.detect(grey)[0].embedding is None  # these weights see colour alone: no length, no identity


def test_a_pack_without_recognition_says_so(tmp_path: Path) -> None:
    write_pack(tmp_path / "only_boxes", recognition=False)
    detector = find_detector([tmp_path])
    assert (detector.identifies, detector.knows_angles) == (False, True)
    assert "can't tell who it is" in str(detector.sentence)
    assert detector.detect(with_strip(picture(), [HEAD]))[0].embedding is None


def test_the_best_pack_wins_and_quirks_are_seen_through(tmp_path: Path) -> None:
    (tmp_path / "models" / "buffalo_l").mkdir(parents=True)  # an interrupted download
    write_pack(tmp_path / "models" / "antelopev2" / "antelopev2")  # one folder too deep
    write_pack(tmp_path / "models" / "buffalo_sc")
    write_pack(tmp_path / "own_pack")
    (tmp_path / "inswapper_128.onnx").write_bytes(b"x")  # ReActor's, beside the packs
    (tmp_path / "models" / "half").mkdir()
    (tmp_path / "models" / "half" / "det_10g.onnx").write_bytes(b"")
    found = find_packs([tmp_path / "absent", tmp_path])
    assert [pack.name for pack in found] == ["antelopev2", "own_pack", "buffalo_sc"]
    assert found[0] == tmp_path / "models" / "antelopev2" / "antelopev2"
    assert find_detector([tmp_path]).name == "insightface antelopev2"


def test_only_detection_and_recognition_are_loaded(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "buffalo_l")
    for name in ("1k3d68.onnx", "2d106det.onnx", "genderage.onnx"):
        (pack / name).write_bytes(b"never opened")
    assert [path.name for path in model_files(pack)] == ["det_500m.onnx", "w600k_mbf.onnx"]
    assert InsightDetector(pack).identifies


def test_a_damaged_pack_is_named_and_the_cascade_takes_over(tmp_path: Path) -> None:
    pack = tmp_path / "models" / "buffalo_l"
    pack.mkdir(parents=True)
    (pack / "det_10g.onnx").write_bytes(b"half a download")
    with pytest.raises(MissingPartError, match="buffalo_l can't be used"):
        InsightDetector(pack)
    detector = find_detector([tmp_path])
    assert detector.kind == "haar"
    assert "buffalo_l can't be used" in str(detector.sentence)
    assert "OpenCV" in str(detector.sentence)


def test_a_good_pack_after_a_damaged_one_is_taken(tmp_path: Path) -> None:
    (tmp_path / "antelopev2").mkdir()
    (tmp_path / "antelopev2" / "scrfd_10g_bnkps.onnx").write_bytes(b"half")
    write_pack(tmp_path / "buffalo_s")
    assert find_detector([tmp_path]).name == "insightface buffalo_s"


def test_nothing_of_the_process_is_changed(root: Path) -> None:
    """In a process of its own: importing insightface sets variables of the environment the first time."""
    code = (
        "import os, sys\n"
        "before = dict(os.environ)\n"
        "from pathlib import Path\n"
        "from lora_forge.dataset.faces import find_detector\n"
        "assert find_detector([Path(sys.argv[1])]).kind == 'insightface'\n"
        "assert dict(os.environ) == before, {k: v for k, v in os.environ.items() if before.get(k) != v}\n"
        "assert 'matplotlib' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("degrees", [0, 15, 30, 45, 60, 75, -30, -60])
@pytest.mark.parametrize("roll", [0, 20, -35])
def test_yaw_of_a_turned_head(degrees: float, roll: float) -> None:
    """A head in three dimensions, turned and seen from afar: the degrees come back, whatever the roll."""
    pupils, nose, mouth = 0.5, 135 / 330, 0.45
    points = np.array([(-pupils, -0.5, 0), (pupils, -0.5, 0), (0, 0, nose), (-mouth, 0.6, 0), (mouth, 0.6, 0)])
    turn, lean = np.radians(degrees), np.radians(roll)
    across = points[:, 0] * np.cos(turn) + points[:, 2] * np.sin(turn)
    seen = np.stack([across, points[:, 1]], axis=1)
    seen = seen @ np.array([[np.cos(lean), np.sin(lean)], [-np.sin(lean), np.cos(lean)]])
    landmarks = tuple((100 + 40 * float(x), 90 + 40 * float(y)) for x, y in seen)
    assert yaw_of(landmarks) == pytest.approx(degrees, abs=1e-6)


def test_a_face_survives_json() -> None:
    face = Face((1.5, 2.0, 30.25, 40.0), 0.75, HEAD[1], np.array([0.6, 0.8], dtype=np.float32), -12.5)  # type: ignore[arg-type]
    back = Face.from_json(face.to_json())
    assert (back.box, back.score, back.landmarks, back.yaw) == (face.box, face.score, face.landmarks, face.yaw)
    assert back.embedding is not None
    assert back.embedding.tolist() == face.embedding.tolist()  # type: ignore[union-attr]
    bare = Face((0.0, 0.0, 5.0, 5.0))
    assert Face.from_json(bare.to_json()) == bare
