"""An album as a page shows it: plain JSON values in one language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lora_forge.dataset.checkup.report import own_photos
from lora_forge.dataset.project import Project
from lora_forge.dataset.words import Words
from lora_forge.evaluate.acceptance import Ask
from lora_forge.evaluate.lettering import can_write
from lora_forge.evaluate.scenes import GROUPS, Scene, chosen, label_of, tag_of
from lora_forge.evaluate.scores import SCORES
from lora_forge.i18n import say, word
from lora_forge.work.albums.request import offered, seen_tags
from lora_forge.work.albums.store import INTERRUPTED, RESUMABLE, RUNNING, Album
from lora_forge.work.packing import text_of_packed

MOST_PHOTOS = 6
PHOTOS_TITLE = word("Real photos")
WHAT = word("{what}.")


class Teller:
    """Says everything of one project's albums in ``language``. ``working_on``: the id of the one at work, or empty."""

    def __init__(self, project: Project, language: str, working_on: str = "") -> None:
        self._project, self._language, self._working_on = project, language, working_on
        self._words = Words.load(project.root.resolve().parent / "words.tsv")

    def scenes(self, kind: str) -> list[dict[str, Any]]:
        """The scenes on offer, with the nine that are chosen where nobody says otherwise."""
        found = offered(self._project, kind)
        wanted = set(chosen(found, seen_tags(self._project)))
        groups = list(GROUPS)
        ordered = sorted(found, key=lambda one: groups.index(one.group))
        return [{**self._scene(one), "is_chosen": one.id in wanted} for one in ordered]

    def row(self, album: Album) -> dict[str, Any]:
        """One line of a list."""
        drawn, verdict = album.drawn(), album.verdict()
        return {
            "id": album.id,
            "name": album.request.name,
            "epoch": album.request.epoch,
            "strength": album.request.strength,
            "state": self.state(album),
            "made_at": album.made_at,
            "done": len(drawn),
            "total": len(album.scenes),
            "is_pass": verdict.is_pass if verdict else None,
            "picture": self._path(album, drawn[0]) if drawn else "",
        }

    def whole(self, album: Album) -> dict[str, Any]:
        """Everything."""
        verdict, request, language = album.verdict(), album.request, self._language
        return {
            **self.row(album),
            "kind": request.kind,
            "seed": request.seed,
            "base": album.base,
            "can_resume": self.state(album) in RESUMABLE,
            "pictures": [self._picture(album, scene) for scene in album.scenes],
            "photos": real_photos(self._project),
            "sheet_language": sheet_language(language),
            "verdict": None
            if verdict is None
            else {
                "is_pass": verdict.is_pass,
                "sentence": verdict.sentence.text(language),
                "what": say(WHAT, language, what=verdict.clauses),
                "advice": verdict.advice.text(language) if verdict.advice else "",
            },
            "judges": [self._judge(row) for row in album.used],
            "missing": [self._judge(row) for row in album.missing],
            "error": " ".join(text_of_packed(part, language) for part in album.error or ()).strip(),
        }

    def state(self, album: Album) -> str:
        """One that says it runs, while nobody works on it, was cut off."""
        return INTERRUPTED if album.state == RUNNING and album.id != self._working_on else album.state

    def _scene(self, scene: Scene) -> dict[str, Any]:
        language, words = self._language, self._words
        return {
            "id": scene.id,
            "group": say(GROUPS[scene.group], language),
            "label": label_of(scene, language, words),
            "prompt": scene.prompt,
            "asks": list(scene.asks),
            "contradicts": tag_of(scene.contradicts, language, words) if scene.contradicts else "",
        }

    def _picture(self, album: Album, scene: Scene) -> dict[str, Any]:
        """One scene; ``path`` is empty until it is drawn."""
        ticks = album.ticks(scene) if album.is_drawn(scene) else None
        has_base = album.is_drawn(scene, has_lora=False)
        likeness = ticks and ticks.identity is not None and {"value": ticks.identity, "is_ok": ticks.is_alike}
        told = self._scene(scene)
        return {
            "scene": scene.id,
            **{key: told[key] for key in ("group", "label")},
            "prompt": album.request.picture(scene).prompt,
            "path": self._path(album, scene) if ticks else "",
            "without": self._path(album, scene, has_lora=False) if has_base else "",
            "identity": likeness or None,
            "asks": [self._ask(ask) for ask in ticks.asks] if ticks else [],
            "is_broken": bool(ticks and ticks.is_broken),
            "is_copied": bool(ticks and ticks.is_copied),
            "is_ok": ticks.is_ok if ticks else None,
        }

    def _ask(self, ask: Ask) -> dict[str, Any]:
        label = tag_of(ask.tag, self._language, self._words)
        return {"tag": ask.tag, "label": label, "chance": ask.chance, "base": ask.base, "is_ok": ask.is_ok}

    def _judge(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A judge that was at work, or is missing, as :mod:`lora_forge.work.judging` tells it."""
        told = {name: text_of_packed(value, self._language) for name, value in row.items()}
        facts = SCORES.get(told["score"])  # type: ignore[call-overload]
        return {**told, "title": say(facts.title, self._language) if facts else told["score"]}

    def _path(self, album: Album, scene: Scene, *, has_lora: bool = True) -> str:
        path = album.path(scene, has_lora=has_lora)
        return f"{self._project.root.name}/{album.folder.parent.name}/{album.id}/{path.name}"


def real_photos(project: Project) -> list[str]:
    """Keys of a few photos of the set, spread over it."""
    keys = [project.key(photo.path) for photo in own_photos(project)]
    step = max(1.0, len(keys) / MOST_PHOTOS)
    return [keys[int(number * step)] for number in range(min(MOST_PHOTOS, len(keys)))]


def sheet_language(language: str) -> str:
    """``language``, or English where this machine has no font to write it on a picture."""
    return language if can_write(say(PHOTOS_TITLE, language)) else "en"
