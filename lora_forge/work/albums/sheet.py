"""An album as one picture to share, in the page's language where this machine has letters for it.

It holds the LoRA's name, the checkpoint's, and a date: no path, no name of a photo. Real photos only where asked for.
"""

from __future__ import annotations

import io
import time
from pathlib import Path

from PIL import Image

from lora_forge import __version__
from lora_forge.dataset.images import UnreadableImageError, read_image
from lora_forge.dataset.project import Project
from lora_forge.dataset.words import Words
from lora_forge.evaluate.acceptance import Ticks
from lora_forge.evaluate.scenes import Scene, label_of, tag_of
from lora_forge.evaluate.sheet import Drawn, Sheet, render_sheet
from lora_forge.i18n import say, word
from lora_forge.work.albums.store import Album
from lora_forge.work.albums.told import PHOTOS_TITLE, WHAT, real_photos, sheet_language

_TITLE = word("{name} · generalisation test")
_WHICH = word("epoch {epoch} at strength {strength}")
_FACTS = word("{which}  ·  base checkpoint {base}  ·  {date}")
_STAMPS = {True: word("Passed"), False: word("Not yet"), None: word("Can't be told")}
_LIKENESS = word("alike")
_BROKEN, _COPIED = word("broken"), word("a photo again")


def sheet_png(project: Project, album: Album, language: str, *, has_photos: bool = True) -> bytes:
    """The PNG's bytes."""
    file = io.BytesIO()
    render_sheet(sheet_of(project, album, language, has_photos=has_photos)).save(file, format="PNG", optimize=True)
    return file.getvalue()


def sheet_of(project: Project, album: Album, language: str, *, has_photos: bool = True) -> Sheet:
    """What the picture says and shows; ``language`` falls back to English as :func:`sheet_language` says."""
    language = sheet_language(language)
    words = Words.load(project.root.resolve().parent / "words.tsv")
    request, verdict = album.request, album.verdict()
    which = say(_WHICH, language, epoch=request.epoch or "-", strength=f"{request.strength:g}")
    date = time.strftime("%Y-%m-%d", time.localtime(album.made_at))
    photos = [project.images_dir / key for key in real_photos(project)] if has_photos else []
    return Sheet(
        title=say(_TITLE, language, name=request.name),
        facts=say(_FACTS, language, which=which, base=_plain(album.base), date=date),
        stamp=say(_STAMPS[verdict.is_pass if verdict else None], language),
        is_pass=verdict.is_pass if verdict else None,
        sentence=say(WHAT, language, what=verdict.clauses) if verdict else "",
        drawn=tuple(_drawn(album, scene, language, words) for scene in album.drawn()),
        photos=tuple(image for path in photos if (image := _read(path)) is not None),
        photos_title=say(PHOTOS_TITLE, language),
        foot=f"LoRA Forge {__version__}",
    )


def _drawn(album: Album, scene: Scene, language: str, words: Words) -> Drawn:
    with Image.open(album.path(scene)) as image:
        image.load()
    return Drawn(image, label_of(scene, language, words), tuple(_ticks(album.ticks(scene), language, words)))


def _ticks(ticks: Ticks, language: str, words: Words) -> list[tuple[bool | None, str]]:
    made: list[tuple[bool | None, str]] = []
    if ticks.identity is not None:
        made.append((ticks.is_alike, f"{say(_LIKENESS, language)} {100 * ticks.identity:.0f} %"))
    made += [(ask.is_ok, tag_of(ask.tag, language, words)) for ask in ticks.asks]
    made += [(False, say(_BROKEN, language))] if ticks.is_broken else []
    made += [(False, say(_COPIED, language))] if ticks.is_copied else []
    return made


def _plain(base: str) -> str:
    """A checkpoint's own name, without the folder a WebUI's title has before it and the hash behind it."""
    return base.replace("\\", "/").rsplit("/", 1)[-1].partition(" [")[0].removesuffix(".safetensors")


def _read(path: Path) -> Image.Image | None:
    try:
        return read_image(path)
    except (UnreadableImageError, OSError):  # removed meanwhile
        return None
