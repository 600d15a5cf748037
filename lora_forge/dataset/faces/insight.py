"""insightface 2.1 with a pack of models the user has: boxes, five landmarks, and who it is.

Detection and recognition are loaded through ``insightface.model_zoo``, not through ``FaceAnalysis``, which silences
onnxruntime for the whole process and loads models nobody asked for. Nothing is ever downloaded here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lora_forge.dataset.faces.face import Face, Point, largest_first, yaw_of
from lora_forge.dataset.faces.packs import MANIFEST, model_files
from lora_forge.errors import MissingPartError
from lora_forge.i18n import Said, word

CPU = ("CPUExecutionProvider",)
LEAST_SCORE = 0.5  # insightface's own
MAIN_PX = (640, 640)
CLOSE_PX = (128, 128)
"""A face that fills the picture is missed at 640 and found at 128; insightface 2 looks at both by default too."""

WITH_NAMES = word("insightface with the pack {pack} finds the faces, tells who it is and how the head is turned.")
NO_DETECTION = word("it has no detection model")
NO_NAMES = word(
    "insightface with the pack {pack} finds the faces and how the head is turned; the pack can't tell who it is: "
    "it has no recognition model."
)


class InsightDetector:
    """The models of one pack folder. ``providers``: onnxruntime's names, best first."""

    kind = "insightface"
    finds, knows_angles = True, True

    def __init__(self, pack: Path, providers: Sequence[str] = CPU) -> None:
        detection, recognition = _load(pack, tuple(providers))
        self._detection, self._recognition = detection, recognition
        self.identifies = recognition is not None
        self.name = f"insightface {pack.name}"
        sizes = "+".join(f"{path.name}:{path.stat().st_size}" for path in model_files(pack))
        self.id = f"insightface {pack.name} {sizes} 1"
        self.sentence = Said(WITH_NAMES if self.identifies else NO_NAMES, {"pack": pack.name})

    def detect(self, image: Image.Image) -> list[Face]:
        """Faces with landmarks, yaw and, where the pack has a recognition model, an embedding.

        Raises:
            MissingPartError: onnxruntime fails on the model.
        """
        bgr = np.ascontiguousarray(np.asarray(image.convert("RGB"), dtype=np.uint8)[:, :, ::-1])
        try:
            boxes, points = self._detection.detect(bgr, input_size=[CLOSE_PX, MAIN_PX])
            found = [
                self._face(bgr, boxes[number], None if points is None else points[number])
                for number in range(len(boxes))
            ]
        except Exception as cause:  # onnxruntime's own exceptions share no base that could be named without it
            raise _failed(self.name, cause) from cause
        return largest_first([face for face in found if min(face.box[2:]) > 0])

    def _face(self, bgr: Any, box: Any, points: Any) -> Face:
        left, top, right, bottom, score = (float(number) for number in box)
        if points is None:
            return Face((left, top, right - left, bottom - top), score)
        landmarks: tuple[Point, ...] = tuple((float(x), float(y)) for x, y in points)
        embedding = None
        if self._recognition is not None:
            from insightface.app.common import Face as Raw

            vector = np.asarray(self._recognition.get(bgr, Raw(kps=np.asarray(points))), dtype=np.float32).ravel()
            length = float(np.linalg.norm(vector))
            embedding = vector / length if length > 0 else None
        return Face((left, top, right - left, bottom - top), score, landmarks, embedding, yaw_of(landmarks))


def _load(pack: Path, providers: tuple[str, ...]) -> tuple[Any, Any]:
    """The pack's detection model, and its recognition model or None.

    Raises:
        MissingPartError: insightface is absent or broken, or the pack holds no detection model that loads.
    """
    with unchanged_environment():
        try:
            from insightface.model_zoo import get_model
        except Exception as cause:  # a broken library fails at its import with anything at all
            raise _failed("insightface", cause) from cause
        found: dict[str, Any] = {}
        try:
            for name, task in _models(pack):
                model = get_model(name, providers=list(providers), **({"model_task": task} if task else {}))
                if model is not None and model.taskname in ("detection", "recognition"):
                    found.setdefault(model.taskname, model)
                if len(found) == 2:
                    break
        except Exception as cause:  # a damaged pack: onnxruntime's exceptions, or what its reader stumbles over
            raise _failed(f"insightface {pack.name}", cause) from cause
    if "detection" not in found:
        raise _failed(f"insightface {pack.name}", Said(NO_DETECTION))
    context = -1 if providers == CPU else 0  # -1 would set the provider to CPU again
    found["detection"].prepare(context, det_thresh=LEAST_SCORE)
    return found["detection"], found.get("recognition")


def _models(pack: Path) -> Iterator[tuple[str, str]]:
    """What to ask ``get_model`` for, with the task for packs that have a manifest."""
    if (pack / MANIFEST).is_file():
        from insightface.model_zoo.package_manifest import load_model_package

        tasks = set(load_model_package(pack).tasks)
        yield from ((str(pack), task) for task in ("detection", "recognition") if task in tasks)
        return
    yield from ((str(path), "") for path in model_files(pack))


def _failed(name: str, cause: BaseException | Said) -> MissingPartError:
    reason = [cause] if isinstance(cause, Said) else [line[:200] for line in str(cause).strip().splitlines()]
    return MissingPartError(
        "{name} can't be used: {cause}.",
        "Download the pack again, or go on with the simpler detector.",
        name=name,
        cause=reason[0] if reason else type(cause).__name__,
    )


@contextmanager
def unchanged_environment() -> Iterator[None]:
    """Put every environment variable back: importing insightface switches onnxruntime's telemetry off for all."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        for name, value in before.items():
            if os.environ.get(name) != value:
                os.environ[name] = value
