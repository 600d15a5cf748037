"""Identity of people: the embedding of the face beside those of the set. Health: is there a face where one is due."""

from __future__ import annotations

from collections.abc import Sequence

from PIL.Image import Image

from lora_forge.dataset.faces.face import Detector, Face
from lora_forge.evaluate.judges.likeness import Reference
from lora_forge.evaluate.scores import Asked, PictureScore

FACELESS = 0.4
"""Health of a picture without a face, where every photo has one that the detector finds."""


class FaceJudge:
    """``reference``: embeddings of the photos' faces by the same ``detector``; None where it can't tell who it is.

    ``found_share``: of the photos, in how many it finds a face: one that misses half of the photos says little about a
    picture without one.
    """

    def __init__(self, detector: Detector, reference: Reference | None, found_share: float) -> None:
        self._detector, self._reference, self._found_share = detector, reference, found_share

    def score(self, images: Sequence[Image], asked: Asked) -> list[PictureScore]:
        """Identity and health.

        Raises:
            MissingPartError: the detector fails.
        """
        return [self._one(self._detector.detect(image.convert("RGB")), asked) for image in images]

    def _one(self, faces: Sequence[Face], asked: Asked) -> PictureScore:
        is_lacking = asked.expects_face and not faces
        health = 1 - (1 - FACELESS) * self._found_share if is_lacking else 1.0
        return PictureScore(self._identity(faces, is_lacking), health)

    def _identity(self, faces: Sequence[Face], is_lacking: bool) -> float | None:
        """Of the face that is most like the photos: passers-by do no harm."""
        if self._reference is None or self._reference.usual is None:
            return None
        told = [self._reference.likeness(face.embedding) for face in faces if face.embedding is not None]
        known = [one for one in told if one is not None]
        if known:
            return max(known)
        return 0.0 if is_lacking else None
