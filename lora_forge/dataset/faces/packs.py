"""insightface's packs on disk, wherever a WebUI, an extension or the user has put them.

Its own layout is ROOT/models/NAME/*.onnx. antelopev2.zip unpacks to NAME/NAME/*.onnx, and an interrupted download
leaves NAME empty, which insightface itself takes for a finished one.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

MANIFEST = "manifest.json"
BEST_FIRST = ("antelopev2", "buffalo_l", "raccoon_l", "cheetah_l", "buffalo_m", "raccoon_s", "cheetah_s", "buffalo_s")
"""By the makers' own tables; any other pack comes after these, buffalo_sc (the smallest) last."""
_DETECTION = re.compile(r"^(det_|scrfd|retinaface)", re.IGNORECASE)
_RECOGNITION = re.compile(r"^(w600k|glint|arcface|r\d+|mbf)|recog", re.IGNORECASE)
_NEITHER = re.compile(r"^(1k3d68|2d106det|genderage|inswapper|attribute)", re.IGNORECASE)


def find_packs(roots: Sequence[Path]) -> list[Path]:
    """Pack folders below ``roots``, the best first; an empty folder, or one of other models, is none.

    A root may be insightface's own (with ``models`` in it), a folder of packs, or a pack.
    """
    found: dict[str, Path] = {}
    for root in roots:
        for folder in _candidates(Path(root)):
            if is_pack(folder):
                found.setdefault(folder.name.lower(), folder)
    return sorted(found.values(), key=lambda folder: (_rank(folder.name.lower()), folder.name))


def is_pack(folder: Path) -> bool:
    """Whether ``folder`` itself holds a detection model with content, or a pack with a manifest."""
    with contextlib.suppress(OSError):
        if (folder / MANIFEST).is_file() and any(folder.rglob("*.onnx")):
            return True
        return any(_DETECTION.match(path.name) and path.stat().st_size > 0 for path in folder.glob("*.onnx"))
    return False


def model_files(pack: Path) -> list[Path]:
    """The pack's .onnx files: detection, recognition, then those whose names say nothing; known others left out."""
    files = [path for path in sorted(pack.glob("*.onnx")) if not _NEITHER.match(path.name)]
    return sorted(files, key=lambda path: (not _DETECTION.match(path.name), not _RECOGNITION.search(path.name)))


def _candidates(root: Path) -> Iterator[Path]:
    """The root, and two levels below it and below its ``models``."""
    yield root
    for base in (root / "models", root):
        for folder in _folders(base):
            yield folder
            yield from _folders(folder)  # one too deep


def _folders(base: Path) -> list[Path]:
    try:
        return sorted(path for path in base.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []


def _rank(name: str) -> int:
    return BEST_FIRST.index(name) if name in BEST_FIRST else len(BEST_FIRST) + (name == "buffalo_sc")
