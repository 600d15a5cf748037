"""Which models on this machine could judge, told without loading any; what to get where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from lora_forge.dataset.faces.packs import find_packs
from lora_forge.dataset.project import Project
from lora_forge.dataset.taggers import Interrogator, Tagger, TaggerError
from lora_forge.dataset.taggers.scores import scores_dir
from lora_forge.errors import CheckpointError
from lora_forge.evaluate.judges.readers import SayingReader, ScoringReader, TagReader
from lora_forge.parts import missing
from lora_forge.ports import Desk
from lora_forge.work.tagging import TOY_ID, Offer, TaggerRoom, room_of

FACE_PACK, TAGGER = "buffalo_l", "wd-swinv2-tagger-v3"
"""What to download where there is none (:mod:`lora_forge.downloads.items`)."""
FACE_PARTS, TAGGER_PARTS = ("insightface", "onnx", "onnxruntime"), ("onnxruntime",)
_TOY_NAME = "toyworld"

Way = Literal["faces", "traits", "tags"]
_WAYS: dict[str, Way] = {"person": "faces", "anime": "traits"}


def is_toyworld(desk: Desk, kind: str) -> bool:
    """Whether the bundled drawn world is judged, in whose pictures no other model sees anything."""
    if kind.startswith(_TOY_NAME):
        return True
    try:
        return _TOY_NAME in desk.loaded() or _TOY_NAME in desk.info().name
    except CheckpointError:
        return False


def way_of(desk: Desk, kind: str) -> Way:
    """What identity is told by: faces, traits of the subject, or all tags."""
    return "traits" if is_toyworld(desk, kind) else _WAYS.get(kind, "tags")


@dataclass(frozen=True)
class FaceRoom:
    """``pack``: the face pack's name, empty where there is none. ``part``: a library that is missing, or empty."""

    pack: str
    part: str

    @property
    def is_ready(self) -> bool:
        """Whether faces could be compared, as far as can be told without trying."""
        return bool(self.pack) and not self.part


def face_room(desk: Desk) -> FaceRoom:
    """What is here for comparing faces."""
    packs = find_packs(desk.model_dirs().get("insightface", ()))
    return FaceRoom(packs[0].name if packs else "", next(iter(missing(FACE_PARTS)), ""))


@dataclass(frozen=True)
class TaggerChoice:
    """The tagger that would judge. ``is_scoring``: it gives scores, not a list of tags."""

    room: TaggerRoom
    offer: Offer
    is_scoring: bool

    def load(self) -> TagReader:
        """Ready for work.

        Raises:
            LoraForgeError: it is not whole, or a library it needs is not there.
        """
        loaded = self.room.load(self.offer.id)
        if self.is_scoring:
            return ScoringReader(cast("Tagger", loaded), self.offer.thresholds)
        return SayingReader(cast("Interrogator", loaded))


def tagger_for(desk: Desk, project: Project, kind: str) -> TaggerChoice | None:
    """The toy world's own for the toy world; else the one that has seen most of this project's photos, else the first.

    None where there is none that could be used. A tagger that gives scores goes before the host's interrogator.
    """
    room = room_of(desk)
    spoken = {one.id for one in room.interrogators}
    offers = [offer for offer in room.offers() if offer.kind == "tags" and offer.state == "ready"]
    if is_toyworld(desk, kind):
        return TaggerChoice(room, next(offer for offer in offers if offer.id == TOY_ID), True)
    has_runtime = not missing(TAGGER_PARTS)
    scoring = [one for one in offers if one.id not in spoken and (has_runtime or one.id == TOY_ID)]
    used = {offer.id: _photos_seen(project, room, offer) for offer in scoring}
    known = [offer for offer in scoring if offer.id != TOY_ID or used[TOY_ID]]
    if known:
        return TaggerChoice(room, max(known, key=lambda offer: used[offer.id]), True)
    return next((TaggerChoice(room, offer, False) for offer in offers if offer.id in spoken), None)


def tagger_lacks(desk: Desk) -> tuple[str, str]:
    """(download, library) to get where there is no tagger; either may be empty."""
    offers: Sequence[Offer] = room_of(desk).offers()
    has_one = any(one.state == "ready" and one.kind == "tags" and one.id != TOY_ID for one in offers)
    return "" if has_one else TAGGER, next(iter(missing(TAGGER_PARTS)), "")


def _photos_seen(project: Project, room: TaggerRoom, offer: Offer) -> int:
    try:
        folder = scores_dir(project) / room.fingerprint(offer.id)
        return sum(1 for _ in folder.glob("*.json")) if folder.is_dir() else 0
    except (TaggerError, OSError):
        return 0
