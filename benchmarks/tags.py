# PYTHONPATH=. python benchmarks/tags.py [PHOTOS]
"""How long the book of tags takes on 2,000 photos x 30 tags: opening, a query, an edit of all captions, undo.

Captions are drawn from a fixed seed: 400 tags, some common and most rare, as a tagger gives them. Needs no pictures.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lora_forge.dataset.project import Project
from lora_forge.dataset.tags import TagBook

TAGS = 30
TURNS = 5
WORDS = ["red", "blue", "long", "short", "open", "closed", "white", "striped", "small", "pink", "looking at", "holding"]
THINGS = ["hair", "eyes", "shirt", "skirt", "mouth", "hat", "background", "smile", "ribbon", "viewer", "sky", "flower"]


def build(root: Path, photos: int) -> Project:
    """A project of ``photos`` empty pictures with captions."""
    rng = random.Random(0)
    pool = [f"{first} {second}" for first in WORDS for second in THINGS] + [f"detail {n}" for n in range(256)]
    weights = [1 / (place + 3) for place in range(len(pool))]
    project = Project.create(root / "set", "ohwx")
    folder = project.images_dir / "photos"
    for number in range(photos):
        (folder / f"{number:05d}.png").write_bytes(b"")
        tags = ["ohwx", *dict.fromkeys(rng.choices(pool, weights, k=3 * TAGS))][:TAGS]
        (folder / f"{number:05d}.txt").write_text(", ".join(tags) + "\n", encoding="utf-8")
    return project


def timed(name: str, work: Callable[[], object], turns: int = TURNS) -> None:
    """Print the median and the worst of ``turns``, and the median of the processor's time, which neighbours spare."""
    seconds, busy = [], []
    for _ in range(turns):
        start, start_busy = time.perf_counter(), time.process_time()
        work()
        seconds.append(time.perf_counter() - start)
        busy.append(time.process_time() - start_busy)
    wall, worst, cpu = (1000 * value for value in (statistics.median(seconds), max(seconds), statistics.median(busy)))
    print(f"{name:40} median {wall:7.1f} ms   worst {worst:7.1f} ms   processor {cpu:7.1f} ms")


def main() -> None:
    photos = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    with tempfile.TemporaryDirectory() as folder:
        project = build(Path(folder), photos)
        timed("load, in a new process's first second", lambda: TagBook(project).captions(), 1)
        timed("load again", lambda: TagBook(project).captions())
        book = TagBook(project)
        shown = book.captions()
        timed("captions as JSON", lambda: json.dumps({key: [*photo.tags] for key, photo in shown.items()}))
        timed("changes, nothing new", lambda: book.changes(book.revision))
        queries(book)
        names = iter(range(1000))
        timed("add to all", lambda: book.apply({"kind": "add", "tags": [f"new {next(names)}"]}))
        timed("undo of it", book.undo)
        timed("redo of it", book.redo)
        timed("sort all, both ways", lambda: book.apply({"kind": "sort", "reverse": next(names) % 2 == 0}))
        pattern = r"^detail (\d+)$|^d(\d+)$"
        replace = {"kind": "replace", "mode": "regex", "find": pattern}
        timed("replace by pattern in all", lambda: book.apply({**replace, "to": rf"d{next(names)}\1"}))
        edit = {"kind": "add", "tags": ["one"]}
        timed("add to one, waiting for the disk", lambda: (book.apply(edit, [next(iter(shown))]), book.undo()))


def queries(book: TagBook) -> None:
    """A cold one after an edit, and warm ones."""
    from lora_forge.dataset.tags.query import find

    def cold() -> object:
        book.apply({"kind": "add", "tags": [f"q{time.time_ns()}"]}, [next(iter(book.files()))])
        start = time.perf_counter()
        found = find(book, "red hair OR blue*")
        first.append(time.perf_counter() - start)
        return found

    first: list[float] = []
    timed("edit of one and a query after it", cold)
    print(f"{'  of that the query':40} median {statistics.median(first) * 1000:7.1f} ms")
    for query in ("red hair", "red* -(blue eyes | /^detail 1\\d$/)", "tokens:>75", "caption:viewer tags:<30", "none"):
        timed(f"query {query}", lambda query=query: find(book, query))  # type: ignore[misc]


if __name__ == "__main__":
    main()
