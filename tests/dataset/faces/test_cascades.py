"""Detectors that need no download, on real photographs."""

from __future__ import annotations

from pathlib import Path

import pytest
import skimage.data
from PIL import Image

from lora_forge.dataset.faces import Detector, FaceMemory, NoDetector, find_detector
from lora_forge.dataset.faces.cascades import AnimeDetector, HaarDetector, LbpDetector
from lora_forge.dataset.faces.face import Face, overlap, without_doubles

FACELESS = ("chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "brick.png", "grass.png", "gravel.png")
WOMAN = (178.0, 62.0, 92.0, 112.0)
CAMERAMAN = (205.0, 115.0, 60.0, 75.0)  # in profile, looking right


def photograph(name: str) -> Image.Image:
    return Image.open(Path(skimage.data.__file__).parent / name).convert("RGB")


@pytest.fixture(scope="module", params=[HaarDetector, LbpDetector])
def detector(request: pytest.FixtureRequest) -> Detector:
    made: Detector = request.param()
    return made


@pytest.mark.parametrize("size", [256, 512, 1500])
def test_a_face_at_any_size(detector: Detector, size: int) -> None:
    image = photograph("astronaut.png").resize((size, size), Image.Resampling.LANCZOS)
    faces = detector.detect(image)
    planted = tuple(value * size / 512 for value in WOMAN)
    assert overlap(faces[0].box, planted) > 0.7  # type: ignore[arg-type]
    assert len(faces) == 1 or detector.kind == "lbp"  # which sees another on her sleeve at some sizes
    assert (faces[0].landmarks, faces[0].embedding, faces[0].yaw) == (None, None, None)


@pytest.mark.parametrize("name", FACELESS)
def test_nothing_where_no_face_is(detector: Detector, name: str) -> None:
    assert detector.detect(photograph(name)) == []


def test_two_faces(detector: Detector) -> None:
    woman = photograph("astronaut.png").crop((130, 0, 330, 250))
    image = photograph("coffee.png").resize((640, 480))
    image.paste(woman, (40, 100))
    image.paste(woman.resize((160, 200)), (400, 200))
    faces = detector.detect(image)
    assert len(faces) == 2
    assert faces[0].area > faces[1].area
    assert faces[0].box[0] < 300 < faces[1].box[0]


def test_profiles_to_both_sides() -> None:
    detector, image = HaarDetector(), photograph("camera.png")
    (right,) = detector.detect(image)
    assert right.yaw == 75.0
    assert overlap(right.box, CAMERAMAN) > 0.7
    (left,) = detector.detect(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert left.yaw == -75.0
    assert left.box[0] == pytest.approx(512 - right.box[0] - right.box[2], abs=6)


def test_each_says_what_it_cannot() -> None:
    for detector in (HaarDetector(), LbpDetector()):
        assert "can't tell who somebody is" in str(detector.sentence)
        assert "认不出是谁" in detector.sentence.text("zh")
        assert (detector.identifies, detector.knows_angles) == (False, False)


def test_without_any_pack_opencv_is_at_work(tmp_path: Path) -> None:
    assert find_detector([tmp_path / "absent", tmp_path]).kind == "haar"


def test_an_opencv_without_cascades_leaves_it_to_scikit_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV 5 has neither the class nor the files."""
    import cv2

    monkeypatch.delattr(cv2, "CascadeClassifier")
    monkeypatch.delattr(cv2.data, "haarcascades")
    detector = find_detector([])
    assert detector.kind == "lbp"
    assert len(detector.detect(photograph("astronaut.png"))) == 1


def test_without_either_a_person_marks_the_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.setitem(sys.modules, "skimage", None)
    detector = find_detector([])
    assert (detector.kind, detector.finds, detector.detect(photograph("astronaut.png"))) == ("none", False, [])
    assert "by hand" in str(detector.sentence)


def test_drawn_faces_need_their_own_cascade(tmp_path: Path) -> None:
    """The bundled LBP cascade stands in for the drawn-face one: both are files of the same form."""
    nobody = find_detector([tmp_path], "anime")
    assert isinstance(nobody, NoDetector)
    assert str(tmp_path) in str(nobody.sentence)
    cascade = Path(skimage.data.lbp_frontal_face_cascade_filename())
    (tmp_path / "模型").mkdir()
    (tmp_path / "模型" / "lbpcascade_animeface.xml").write_bytes(cascade.read_bytes())
    detector = find_detector([tmp_path, tmp_path / "模型"], "anime")
    assert isinstance(detector, AnimeDetector)
    assert "lbpcascade_animeface.xml" in str(detector.sentence)
    assert overlap(detector.detect(photograph("astronaut.png"))[0].box, WOMAN) > 0.7


def test_a_drawn_face_cascade_without_opencv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    path = tmp_path / "lbpcascade_animeface.xml"
    path.write_bytes(Path(skimage.data.lbp_frontal_face_cascade_filename()).read_bytes())
    monkeypatch.setitem(sys.modules, "cv2", None)
    detector = find_detector([tmp_path], "anime")
    assert detector.kind == "anime"
    assert overlap(detector.detect(photograph("astronaut.png"))[0].box, WOMAN) > 0.7


def test_a_torn_cascade_is_named(tmp_path: Path) -> None:
    (tmp_path / "lbpcascade_animeface.xml").write_text("<html>404</html>", encoding="utf-8")
    detector = find_detector([tmp_path], "anime")
    assert not detector.finds
    assert "lbpcascade_animeface.xml" in str(detector.sentence)


def test_a_photo_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept by content and detector: a renamed copy is known, another detector looks for itself."""
    photo = tmp_path / "a.png"
    photograph("astronaut.png").save(photo)
    memory = FaceMemory(tmp_path, HaarDetector())
    found = memory.faces(photo)
    memory.save()
    photo.rename(tmp_path / "b.png")
    again = FaceMemory(tmp_path, HaarDetector())
    monkeypatch.setattr(again.detector, "detect", lambda image: pytest.fail("looked at again"))
    assert [face.box for face in again.faces(tmp_path / "b.png")] == [face.box for face in found]
    other = FaceMemory(tmp_path, LbpDetector()).faces(tmp_path / "b.png")
    assert [face.box for face in other] != [face.box for face in found]
    (tmp_path / "checkup" / "faces.json").write_text("{torn", encoding="utf-8")
    assert len(FaceMemory(tmp_path, HaarDetector()).faces(tmp_path / "b.png")) == 1


def test_of_faces_on_each_other_the_first_stays() -> None:
    one, inside, beside = (Face(box) for box in ((0.0, 0.0, 10.0, 10.0), (2.0, 2.0, 4.0, 4.0), (20.0, 0.0, 5.0, 5.0)))
    assert without_doubles([one, inside, beside]) == [one, beside]
