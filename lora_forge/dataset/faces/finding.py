"""Which detector is at work here: the best that is present, never a download."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from lora_forge.dataset.faces.cascades import AnimeDetector, HaarDetector, LbpDetector
from lora_forge.dataset.faces.face import Detector, Face
from lora_forge.dataset.faces.insight import CPU, InsightDetector
from lora_forge.dataset.faces.packs import find_packs
from lora_forge.errors import MissingPartError
from lora_forge.i18n import Said, word

NOBODY = word("No face detector is installed: mark the faces by hand.")
NOBODY_DRAWN = word(
    "No detector for drawn faces is there: mark the faces by hand, or put lbpcascade_animeface.xml into {folder}."
)
SIMPLER = word("{problem} {sentence}")
_ANIME_FILES = ("lbpcascade_animeface.xml",)
_LOADED: dict[tuple[object, ...], InsightDetector] = {}
_LOCK = threading.Lock()


class NoDetector:
    """Finds nothing; a person marks the faces."""

    id, name, kind = "none", "", "none"
    finds, identifies, knows_angles = False, False, False

    def __init__(self, sentence: Said) -> None:
        self.sentence = sentence

    def detect(self, image: Image.Image) -> list[Face]:
        """Nothing."""
        return []


class _Simpler:
    """Another detector whose sentence also says why the better one is not at work."""

    def __init__(self, inner: Detector, problem: MissingPartError) -> None:
        self.id, self.name, self.kind = inner.id, inner.name, inner.kind
        self.finds, self.identifies, self.knows_angles = inner.finds, inner.identifies, inner.knows_angles
        why = Said(problem.what, problem.values)
        self.sentence = Said(SIMPLER, {"problem": why, "sentence": inner.sentence})
        self.detect = inner.detect


def find_detector(models_dirs: Sequence[Path], kind: str = "person", providers: Sequence[str] = CPU) -> Detector:
    """The best detector for photos of ``kind`` that is present in ``models_dirs`` or in the installed libraries.

    ``models_dirs``: folders where insightface's packs or a drawn-face cascade may lie; they need not exist.
    A pack that is damaged, or for which insightface is missing, is named in the sentence of the simpler one.
    """
    if kind == "anime":
        return _for_drawings(models_dirs)
    problem: MissingPartError | None = None
    for pack in find_packs(models_dirs):
        try:
            return _insight(pack, tuple(providers))
        except MissingPartError as cause:
            problem = problem or cause
    light = _light()
    return light if problem is None else _Simpler(light, problem)


def _insight(pack: Path, providers: tuple[str, ...]) -> InsightDetector:
    """The loaded pack, kept for as long as its files do not change: loading takes seconds."""
    stamps = tuple((path.name, path.stat().st_mtime_ns) for path in sorted(pack.glob("*.onnx")))
    key = (pack, providers, stamps)
    with _LOCK:
        if key not in _LOADED:
            detector = InsightDetector(pack, providers)
            _LOADED.clear()  # one at a time: a large pack holds 400 MB
            _LOADED[key] = detector
        return _LOADED[key]


def _light() -> Detector:
    makers: tuple[Callable[[], Detector], ...] = (HaarDetector, LbpDetector)
    for make in makers:
        try:
            return make()
        except MissingPartError:
            continue
    return NoDetector(Said(NOBODY))


def _for_drawings(models_dirs: Sequence[Path]) -> Detector:
    for root in models_dirs:
        for name in _ANIME_FILES:
            for path in (Path(root) / name, Path(root) / "models" / name):
                if path.is_file():
                    try:
                        return AnimeDetector(path)
                    except MissingPartError as cause:
                        return _Simpler(_no_drawn(models_dirs), cause)
    return _no_drawn(models_dirs)


def _no_drawn(models_dirs: Sequence[Path]) -> NoDetector:
    folder = str(models_dirs[0]) if models_dirs else "models/insightface"
    return NoDetector(Said(NOBODY_DRAWN, {"folder": folder}))
