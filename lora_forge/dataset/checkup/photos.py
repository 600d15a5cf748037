"""Findings about single photos."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lora_forge.dataset.checkup.colours import SIDE
from lora_forge.dataset.checkup.finding import Finding
from lora_forge.dataset.checkup.judging import Subject, named, unjudged
from lora_forge.dataset.checkup.seen import Seen
from lora_forge.dataset.checkup.thresholds import (
    ASPECT_MOST,
    COLOURS_LEAST,
    DUPLICATE_BITS,
    DUPLICATE_COLOURS,
    ENLARGED_FAR,
    ENLARGED_FROM,
    FACE_SHARPNESS_LEAST,
    LETTERS_LEAST,
    TILE_SHARPNESS_LEAST,
)
from lora_forge.dataset.checkup.words import NO_SCIPY
from lora_forge.i18n import Said


def judge_photos(subject: Subject) -> list[Finding]:
    """broken, resolution, blur, duplicates, text, aspect, grey."""
    photos, total = subject.photos, len(subject.photos)
    return [
        named("broken", subject.broken, total + len(subject.broken), least="red"),
        _resolution(subject),
        named("blur", [seen for seen in photos if is_blurred(seen)], total),
        _duplicates(photos),
        _text(photos),
        named(
            "aspect", [seen for seen in photos if seen.measures.aspect > ASPECT_MOST], total, ("crop_to_face", "trash")
        ),
        _grey(photos),
    ]


def is_blurred(seen: Seen) -> bool:
    """By the face where one is large enough to tell, else by the sharpest parts."""
    around = seen.main_measures
    if around is not None and around.sharpness is not None:
        return around.sharpness < FACE_SHARPNESS_LEAST
    return seen.measures.tiles < TILE_SHARPNESS_LEAST


def _resolution(subject: Subject) -> Finding:
    small = [seen for seen in subject.photos if seen.measures.side_px < ENLARGED_FROM * subject.resolution_px]
    smallest = min((seen.measures.side_px for seen in subject.photos), default=0.0)
    is_far = any(seen.measures.side_px < ENLARGED_FAR * subject.resolution_px for seen in small)
    fitting = max(256, int(smallest / ENLARGED_FROM) // 64 * 64)
    remedies = ("lower_resolution", "trash") if fitting < subject.resolution_px else ("trash",)
    numbers = {"smallest_px": round(smallest), "fitting_px": float(fitting)}
    return named(
        "resolution",
        small,
        len(subject.photos),
        remedies,
        "red" if is_far else "yellow",
        numbers=numbers,
        resolution=subject.resolution_px,
        side=round(smallest),
    )


def _text(photos: tuple[Seen, ...]) -> Finding:
    if photos and all(seen.measures.letters is None for seen in photos):
        return unjudged("text", Said(NO_SCIPY))
    return named("text", [seen for seen in photos if has_text(seen)], len(photos))


def has_text(seen: Seen) -> bool:
    """Whether a line of writing was found."""
    return (seen.measures.letters or 0) >= LETTERS_LEAST


def _grey(photos: tuple[Seen, ...]) -> Finding:
    """Where most photos have no colour it is the style, and none is named."""
    grey = [seen for seen in photos if seen.measures.colours < COLOURS_LEAST]
    return named("grey", grey if 2 * len(grey) < len(photos) else [], len(photos))


def _duplicates(photos: tuple[Seen, ...]) -> Finding:
    groups = [[photos[number] for number in numbers] for numbers in _alike(photos)]
    sorted_groups = [sorted(group, key=_quality, reverse=True) for group in groups]
    worse = [seen for group in sorted_groups for seen in group[1:]]
    kept = tuple(tuple(seen.key for seen in group) for group in sorted_groups)
    return named("duplicates", worse, len(photos), ("keep_best", "trash"), groups=kept)


def _quality(seen: Seen) -> tuple[bool, float, float]:
    """Sharp beats blurred, then the larger, then the sharper."""
    return not is_blurred(seen), round(seen.measures.side_px), seen.measures.tiles


def _alike(photos: tuple[Seen, ...]) -> list[list[int]]:
    """Groups of photos whose hashes, or mirrored hashes, differ in few bits; each photo in one."""
    if len(photos) < 2:
        return []
    near = _near(photos, is_mirrored=False) | _near(photos, is_mirrored=True)
    left = set(range(len(photos)))
    groups = []
    while left:
        reached, waiting = set(), [min(left)]
        while waiting:
            number = waiting.pop()
            if number not in reached:
                reached.add(number)
                waiting += [int(other) for other in np.flatnonzero(near[number]) if other not in reached]
        left -= reached
        if len(reached) > 1:
            groups.append(sorted(reached))
    return groups


def _near(photos: tuple[Seen, ...], is_mirrored: bool) -> npt.NDArray[np.bool_]:
    """(N, N): whether one is like the other, or like its mirror image."""
    signs = _signs([seen.measures.hash for seen in photos])
    others = _signs([seen.measures.mirrored for seen in photos]) if is_mirrored else signs
    thumbs = np.stack([thumb_of(seen) for seen in photos])
    turned = thumbs[:, :, ::-1] if is_mirrored else thumbs
    bits = (64 - signs @ others.T) / 2
    colours = thumbs.reshape(len(photos), -1) @ turned.reshape(len(photos), -1).T
    return np.asarray((bits <= DUPLICATE_BITS) & (colours >= DUPLICATE_COLOURS))


def thumb_of(seen: Seen) -> npt.NDArray[np.float32]:
    """(8, 8, 3) colours with mean 0 in each channel and length 1."""
    plain = np.frombuffer(bytes.fromhex(seen.measures.thumb), dtype=np.uint8).reshape(SIDE, SIDE, 3).astype(np.float32)
    centred = plain - plain.mean(axis=(0, 1))
    return np.asarray(centred / max(float(np.linalg.norm(centred)), 1e-6))


def _signs(hashes: list[int]) -> npt.NDArray[np.float32]:
    """(N, 64) of +-1."""
    raw = np.array(hashes, dtype=">u8").view(np.uint8).reshape(len(hashes), 8)
    return np.unpackbits(raw, axis=1).astype(np.float32) * 2 - 1
