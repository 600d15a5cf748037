"""Findings about faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lora_forge.dataset.checkup.finding import Finding, Light
from lora_forge.dataset.checkup.judging import FACED, Subject, named, unjudged
from lora_forge.dataset.checkup.seen import Seen
from lora_forge.dataset.checkup.thresholds import (
    CLOSE_LEAST,
    CUT_MARGIN,
    FACE_LEAST_PX,
    FRONT_MOST,
    HALF_LEAST,
    PROFILE_LEAST,
    SAME_PERSON_LEAST,
    STRANGER_FACES_LEAST,
    VIEWS_FROM,
)
from lora_forge.dataset.checkup.words import (
    ANGLES_BAD,
    ANGLES_GOOD,
    ANGLES_WHY,
    COUNTED,
    FRAMING_BAD,
    FRAMING_GOOD,
    FRAMING_WHY,
    FRAMINGS,
    NOT_FOR_KIND,
    TOO_FEW,
    VIEWS,
)
from lora_forge.dataset.faces.face import Face
from lora_forge.i18n import Said, Several

FACE_FINDINGS = ("no_face", "many_faces", "stranger", "small_face", "cut_face", "angles", "framing")


def judge_faces(subject: Subject) -> list[Finding]:
    """All of :data:`FACE_FINDINGS`; for kinds without faces each says that it does not matter."""
    if subject.kind not in FACED:
        return [unjudged(id, Said(NOT_FOR_KIND)) for id in FACE_FINDINGS]
    if not subject.detector.finds and not subject.with_face:
        return [unjudged(id, subject.detector.sentence) for id in FACE_FINDINGS]
    photos = subject.photos
    return [
        _no_face(subject),
        named("many_faces", [seen for seen in photos if len(seen.faces) > 1], len(photos), ("crop_to_face", "trash")),
        _stranger(subject),
        _small_face(subject),
        named("cut_face", [seen for seen in photos if is_cut(seen)], len(photos), ("trash", "mark_face")),
        _angles(subject),
        _framing(subject),
    ]


def _no_face(subject: Subject) -> Finding:
    if not subject.detector.finds:
        return unjudged("no_face", subject.detector.sentence)
    bad = [seen for seen in subject.photos if seen.main is None]
    return named("no_face", bad, len(subject.photos), ("mark_face", "trash"))


def _small_face(subject: Subject) -> Finding:
    bad = [seen for seen in subject.with_face if _height_px(seen, subject.resolution_px) < FACE_LEAST_PX]
    return named(
        "small_face",
        bad,
        len(subject.photos),
        ("crop_to_face", "trash"),
        resolution=subject.resolution_px,
        least_px=FACE_LEAST_PX,
    )


def _height_px(seen: Seen, resolution_px: int) -> float:
    """Height of the main face once the photo has the training square's area."""
    assert seen.main is not None
    return seen.main.box[3] * resolution_px / seen.measures.side_px


def is_cut(seen: Seen) -> bool:
    """Whether the main face reaches the border."""
    if seen.main is None:
        return False
    x, y, width, height = seen.main.box
    margin = CUT_MARGIN * height
    return (
        x < margin
        or y < margin
        or x + width > seen.measures.width - margin
        or y + height > seen.measures.height - margin
    )


# ---------------------------------------------------------------- who it is


def with_subject_first(photos: Sequence[Seen]) -> list[Seen]:
    """In photos of several people, the face that is most like the rest of the set becomes the main one."""
    alone = [seen.faces[0].embedding for seen in photos if len(seen.faces) == 1]
    known = [embedding for embedding in alone if embedding is not None]
    if len(known) < STRANGER_FACES_LEAST - 1:
        return list(photos)
    middle = _usual(np.stack(known))

    def likeness(face: Face) -> float:
        return -1.0 if face.embedding is None else float(face.embedding @ middle)

    ordered = []
    for seen in photos:
        if len(seen.faces) < 2 or seen.is_marked:
            ordered.append(seen)
            continue
        places = sorted(range(len(seen.faces)), key=lambda number: -likeness(seen.faces[number]))
        faces = tuple(seen.faces[number] for number in places)
        ordered.append(replace(seen, faces=faces, face_measures=tuple(seen.face_measures[number] for number in places)))
    return ordered


def _usual(
    embeddings: np.ndarray[tuple[int, int], np.dtype[np.float32]],
) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """The direction most embeddings share: of the half that lies closest to the one with the closest neighbours."""
    near = embeddings @ embeddings.T
    half = max(2, (len(embeddings) + 1) // 2)
    middle = int(np.sort(near, axis=1)[:, -half:].sum(axis=1).argmax())
    closest = np.argsort(near[middle])[-half:]
    mean = embeddings[closest].mean(axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), dtype=np.float32)


def likeness_to_others(embeddings: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> list[float]:
    """Cosine of each embedding with the mean of the others that are alike: strangers do not vote.

    Leave-one-out: nobody is compared with himself.
    """
    middle = _usual(embeddings)
    votes = embeddings @ middle >= SAME_PERSON_LEAST
    found = []
    for number in range(len(embeddings)):
        others = votes.copy()
        others[number] = False
        mean = embeddings[others].mean(axis=0) if others.any() else middle
        found.append(float(embeddings[number] @ mean / max(float(np.linalg.norm(mean)), 1e-9)))
    return found


def _stranger(subject: Subject) -> Finding:
    if subject.kind != "person" or not subject.detector.identifies:
        why = Said(NOT_FOR_KIND) if subject.kind != "person" else subject.detector.sentence
        return unjudged("stranger", why)
    known = [(seen, seen.main.embedding) for seen in subject.photos if seen.main and seen.main.embedding is not None]
    if len(known) < STRANGER_FACES_LEAST:
        return unjudged("stranger", Said(TOO_FEW, {"count": len(known)}))
    values = likeness_to_others(np.stack([embedding for _, embedding in known]))
    bad = [seen for (seen, _), value in zip(known, values, strict=True) if value < SAME_PERSON_LEAST]
    least, usual = min(values), float(np.median(values))
    return named(
        "stranger",
        bad,
        len(subject.photos),
        least="red",
        numbers={"least": round(least, 3), "usual": round(usual, 3)},
        usual=f"{usual:.2f}",
        lowest=f"{least:.2f}",
    )


# ---------------------------------------------------------------- views and distances


def view_of(yaw: float) -> str:
    """``front``, ``three_quarter`` or ``profile``."""
    if abs(yaw) <= FRONT_MOST:
        return "front"
    return "profile" if abs(yaw) >= PROFILE_LEAST else "three_quarter"


def framing_of(seen: Seen) -> str:
    """``close``, ``half`` or ``full``."""
    assert seen.main is not None
    share = seen.main.box[3] / max(seen.measures.height, 1)
    return "close" if share >= CLOSE_LEAST else "half" if share >= HALF_LEAST else "full"


def _angles(subject: Subject) -> Finding:
    if not subject.detector.knows_angles:
        return unjudged("angles", subject.detector.sentence)
    yaws = [seen.main.yaw for seen in subject.photos if seen.main and seen.main.yaw is not None]
    return _coverage("angles", [view_of(yaw) for yaw in yaws], VIEWS, (ANGLES_GOOD, ANGLES_BAD, ANGLES_WHY))


def _framing(subject: Subject) -> Finding:
    framings = [framing_of(seen) for seen in subject.with_face]
    return _coverage("framing", framings, FRAMINGS, (FRAMING_GOOD, FRAMING_BAD, FRAMING_WHY))


def _coverage(id: str, found: list[str], known: dict[str, str], words: tuple[str, str, str]) -> Finding:
    """Yellow when one of ``known`` is missing, red when all but one are."""
    if len(found) < VIEWS_FROM:
        return unjudged(id, Said(TOO_FEW, {"count": len(found)}))
    counts = {name: found.count(name) for name in known}
    missing = [name for name, count in counts.items() if count == 0]
    values = {
        "counts": Several(tuple(Said(COUNTED, {"what": Said(known[name]), "count": counts[name]}) for name in known)),
        "missing": Several(tuple(Said(known[name]) for name in missing)),
    }
    good, bad, why = words
    numbers = {name: float(count) for name, count in counts.items()}
    if not missing:
        return Finding(id, "green", Said(good, values), Said(why, values), numbers=numbers)
    light: Light = "red" if len(missing) > 1 else "yellow"
    return Finding(id, light, Said(bad, values), Said(why, values), (), ("add_photos",), numbers)
