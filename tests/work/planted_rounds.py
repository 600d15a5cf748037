"""A kept test as the Test step leaves one, with planted scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PIL import Image

from lora_forge.dataset.project import Project
from lora_forge.evaluate.cells import CellStore
from lora_forge.evaluate.scores import PictureScore
from lora_forge.ports import BaseInfo
from lora_forge.work.testing import TestRequest, create
from lora_forge.work.testing.files import CELLS, ScoreBook, change_about, test_dir

SEEDS = 4
BASE = 0.1


def keep_test(
    project: Project,
    name: str,
    info: BaseInfo,
    likeness: Callable[[int], float],
    epochs: Sequence[int] = range(1, 11),
    obedience: Callable[[int], float] = lambda epoch: 0.9,
    now: float | None = None,
) -> str:
    """The id of a test whose pictures are as alike at full strength as ``likeness`` says, four in a cell."""
    request = TestRequest(
        project.root, name, mode="full", epochs=tuple(epochs), strengths=(0.5, 1.0), width=64, height=64,
        prompt=f"ohwx <lora:{name}-NUM:STRENGTH>", seeds=tuple(range(SEEDS)),
    )  # fmt: skip
    id = create(project, request, info.name, now)
    folder, plan = test_dir(project, id), request.plan()
    store = CellStore(folder / CELLS, info, plan, {})
    book = ScoreBook(folder, store, {})
    for cell in plan.cells():
        epoch, strength = cell
        pictures = [Image.new("RGB", (64, 64), (20 * epoch, 120, round(200 * strength))) for _ in range(SEEDS)]
        for path, picture in zip(store.paths(*cell), pictures, strict=True):
            picture.save(path)
        book.drawn(cell, pictures)
        alike = BASE + (likeness(epoch) - BASE) * strength if strength else BASE
        obeys = 1 - (1 - obedience(epoch)) * strength if strength else 1.0
        book.scored(cell, [PictureScore(alike, 1.0, obeys) for _ in pictures])
    change_about(folder, state="done")
    return id
