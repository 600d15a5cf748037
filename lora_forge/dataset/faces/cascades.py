"""Detectors that need no download: the cascades inside OpenCV 4 and scikit-image, which every WebUI brings.

OpenCV 5 has no cascades any more. A cascade slides a window over grey pictures of falling size; it finds upright faces
that look at the camera, some profiles, and nobody's name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from lora_forge.dataset.faces.face import Face, FaceBox, largest_first, without_doubles
from lora_forge.errors import MissingPartError
from lora_forge.i18n import Said, word

WORK_PX = 800
"""The longer side is brought down to this: a face of 1/20 of it is still found, at a tenth of a second."""
LEAST_SHARE = 1 / 20
SCALE_STEP = 1.1
NEIGHBOURS = 5  # windows that must agree; OpenCV's samples use 3 to 6
PROFILE_NEIGHBOURS = 7  # the profile cascade errs more often
LBP_NEIGHBOURS = 8  # scikit-image's own 4 sees a face in the patch on an astronaut's arm
PROFILE_YAW = 75.0  # what a profile cascade was trained on; only its side is known, not the degrees

HAAR = word(
    "OpenCV's cascade finds the faces: quick and without a download, but it misses turned, tilted and covered ones, "
    "and it can't tell who somebody is."
)
LBP = word(
    "scikit-image's cascade finds the faces: without a download, but only those that look at the camera, and it can't "
    "tell who somebody is."
)
ANIME = word(
    "The drawn-face cascade {file} finds the faces: it knows drawn faces that look at the viewer, and can't tell who "
    "somebody is."
)

Gray = npt.NDArray[np.uint8]


class HaarDetector:
    """OpenCV's ``frontalface_alt2`` (no false face on seven faceless photographs) and ``profileface``, both ways."""

    id, name, kind = "haar alt2+profile 1", "OpenCV Haar", "haar"
    finds, identifies, knows_angles = True, False, False
    sentence = Said(HAAR)

    def __init__(self) -> None:
        self._front = _cv2_cascade(_bundled("haarcascade_frontalface_alt2.xml"))
        self._side = _cv2_cascade(_bundled("haarcascade_profileface.xml"))

    def detect(self, image: Image.Image) -> list[Face]:
        """Faces by the frontal cascade, then profiles where there is none yet; profiles have a yaw of +-75."""
        gray, scale = _small_gray(image)
        faces = _by_cv2(self._front, gray, scale, NEIGHBOURS, None)
        # It was trained on faces that look to the left.
        faces += _by_cv2(self._side, gray, scale, PROFILE_NEIGHBOURS, -PROFILE_YAW)
        mirrored = np.ascontiguousarray(gray[:, ::-1])
        for face in _by_cv2(self._side, mirrored, scale, PROFILE_NEIGHBOURS, PROFILE_YAW):
            x, y, width, height = face.box
            faces.append(Face((image.width - x - width, y, width, height), face.score, yaw=face.yaw))
        return largest_first(without_doubles(faces))


class LbpDetector:
    """scikit-image's bundled frontal LBP cascade."""

    id, name, kind = "lbp 1", "scikit-image LBP", "lbp"
    finds, identifies, knows_angles = True, False, False
    sentence = Said(LBP)

    def __init__(self) -> None:
        try:
            from skimage import data

            self._cascade = _skimage_cascade(data.lbp_frontal_face_cascade_filename())
        except ImportError as cause:
            raise _missing("scikit-image", cause) from cause

    def detect(self, image: Image.Image) -> list[Face]:
        """Faces that look at the camera."""
        return _by_skimage(self._cascade, image)


class AnimeDetector:
    """A cascade for drawn faces that the user has (``lbpcascade_animeface.xml``), by OpenCV 4 or scikit-image."""

    kind = "anime"
    finds, identifies, knows_angles = True, False, False

    def __init__(self, path: Path) -> None:
        self.id, self.name = f"anime {path.name} {path.stat().st_size}", path.name
        self.sentence = Said(ANIME, {"file": path.name})
        self._cv2: Any = None
        self._skimage: Any = None
        try:
            self._cv2 = _cv2_cascade(path)
        except MissingPartError:
            self._skimage = _skimage_cascade(path)

    def detect(self, image: Image.Image) -> list[Face]:
        """Drawn faces that look at the viewer."""
        if self._cv2 is None:
            return _by_skimage(self._skimage, image)
        gray, scale = _small_gray(image)
        return largest_first(without_doubles(_by_cv2(self._cv2, gray, scale, NEIGHBOURS, None)))


def _missing(library: str, cause: BaseException) -> MissingPartError:
    return MissingPartError(
        "{library} finds no faces here: {cause}.", "Mark the faces by hand.", library=library, cause=str(cause)
    )


def _bundled(name: str) -> Path:
    """A cascade inside the OpenCV wheel.

    Raises:
        MissingPartError: OpenCV is absent, or 5.
    """
    try:
        import cv2

        data: Any = vars(cv2)["data"]  # OpenCV's own stubs leave it out
        return Path(data.haarcascades) / name
    except (ImportError, KeyError, AttributeError) as cause:
        raise _missing("OpenCV", cause) from cause


def _cv2_cascade(path: Path) -> Any:
    """A loaded ``cv2.CascadeClassifier``, from its text: OpenCV on Windows opens no path with Chinese in it.

    Raises:
        MissingPartError: this OpenCV has no cascades, or the file is none.
    """
    try:
        import cv2

        storage = cv2.FileStorage(path.read_text(encoding="utf-8"), cv2.FileStorage_READ | cv2.FileStorage_MEMORY)
        cascade = cv2.CascadeClassifier()
        if not cascade.read(storage.getFirstTopLevelNode()) or cascade.empty():
            raise _missing("OpenCV", ValueError(path.name))
    except (ImportError, AttributeError, OSError, ValueError) as cause:
        raise _missing("OpenCV", cause) from cause
    except (cv2.error, SystemError) as cause:  # the latter wraps the former where a constructor raises
        raise _missing("OpenCV", ValueError(path.name)) from cause
    return cascade


def _skimage_cascade(path: str | Path) -> Any:
    """A loaded ``skimage.feature.Cascade``.

    Raises:
        MissingPartError: scikit-image is absent, or the file is no LBP cascade.
    """
    try:
        from skimage.feature import Cascade

        return Cascade(str(path))
    except (ImportError, OSError, ValueError, AttributeError, RuntimeError, SyntaxError) as cause:
        raise _missing("scikit-image", cause) from cause


def _small_gray(image: Image.Image) -> tuple[Gray, float]:
    """uint8 (H, W) with evened-out contrast, at most :data:`WORK_PX` long; and how many px of ``image`` one px is."""
    from PIL import ImageOps

    scale = max(1.0, max(image.size) / WORK_PX)
    size = (max(1, round(image.width / scale)), max(1, round(image.height / scale)))
    small = image.convert("L") if scale == 1.0 else image.convert("L").resize(size, Image.Resampling.BOX)
    return np.asarray(ImageOps.autocontrast(small, cutoff=0.5), dtype=np.uint8), scale


def _by_cv2(cascade: Any, gray: Gray, scale: float, neighbours: int, yaw: float | None) -> list[Face]:
    least = max(24, round(max(gray.shape) * LEAST_SHARE))
    boxes, counts = cascade.detectMultiScale2(
        gray, scaleFactor=SCALE_STEP, minNeighbors=neighbours, minSize=(least, least)
    )
    found = sorted(zip(boxes, np.ravel(counts), strict=True), key=lambda pair: -pair[1]) if len(boxes) else []
    return [Face(_scaled(box, scale), min(1.0, float(count) / 40), yaw=yaw) for box, count in found]


def _by_skimage(cascade: Any, image: Image.Image) -> list[Face]:
    gray, scale = _small_gray(image)
    least, most = max(24, round(max(gray.shape) * LEAST_SHARE)), min(gray.shape)
    if most < least:
        return []
    found = cascade.detect_multi_scale(
        img=gray,
        scale_factor=1.2,
        step_ratio=1,
        min_size=(least, least),
        max_size=(most, most),
        min_neighbor_number=LBP_NEIGHBOURS,
    )
    boxes = [(one["c"], one["r"], one["width"], one["height"]) for one in found]
    return largest_first(without_doubles([Face(_scaled(box, scale)) for box in boxes]))


def _scaled(box: Any, scale: float) -> FaceBox:
    x, y, width, height = (float(number) * scale for number in box)
    return x, y, width, height
