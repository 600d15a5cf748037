"""Findings about a whole set: several sets that have the fault, several that do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from lora_forge.dataset.checkup.finding import Finding
from lora_forge.dataset.checkup.running import judge, subject_of
from lora_forge.dataset.checkup.seen import Seen, Watcher
from lora_forge.dataset.checkup.sets import judge_count
from lora_forge.dataset.faces import Detector, find_detector
from lora_forge.dataset.project import Project
from tests.dataset.checkup.planted import Picture, changed, portrait, written
from tests.dataset.faces.pack import write_pack

VIEWS = {"front": 5.0, "three_quarter": -38.0, "profile": 72.0}
FACES_PX = {  # in a picture of 640 px; theirs have 320
    "close": 260.0,
    "half": 130.0,
    "full": 70.0,
}


def once(*values: object) -> ParameterSet:
    """One more set of a kind that both stacks meet."""
    return pytest.param(*values, marks=pytest.mark.once)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    packs = tmp_path_factory.mktemp("packs")
    write_pack(packs / "buffalo_sc")
    return find_detector([packs])


@pytest.fixture
def look(tmp_path: Path, detector: Detector) -> Callable[[Sequence[Picture]], list[Seen]]:
    def look(pictures: Sequence[Picture]) -> list[Seen]:
        project = Project.create(tmp_path / f"p{len(list(tmp_path.iterdir()))}", "ohwx")
        watcher = Watcher(project, detector)
        for picture in pictures:
            picture.save(project.images_dir / "photos")
        return [watcher.look(photo) for photo in project.photos()]

    return look


def finding(seen: Sequence[Seen], id: str, detector: Detector, kind: str = "person") -> Finding:
    return next(one for one in judge(subject_of(seen, kind, 512, detector)) if one.id == id)


def varied(
    count: int, start: int, *, clothes: int | None = None, same_clothes: int = 0, background: int | None = None,
    same_background: int = 0, views: Sequence[float] = tuple(VIEWS.values()), sizes: Sequence[float] = (130.0,),
) -> list[Picture]:  # fmt: skip
    """``count`` portraits, of which the first ``same_...`` share clothes or background."""
    return [
        portrait(
            f"p{n:02d}",
            start + n,
            sizes[n % len(sizes)] / 2,
            size=(320, 320),
            yaw=views[n % len(views)],
            clothes=clothes if n < same_clothes else start + n,
            background=background if n < same_background else None,
        )
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("same", "start", "clothes", "light"),
    [
        (6, 0, 0, "yellow"), once(7, 20, 3, "yellow"), (10, 41, 5, "red"), once(9, 62, 2, "red"),
        (1, 0, 0, "green"), once(1, 35, 0, "green"), once(2, 70, 5, "green"), (3, 11, 1, "green"),
    ],
)  # fmt: skip
def test_one_outfit(
    look: Callable[[Sequence[Picture]], list[Seen]], detector: Detector, same: int, start: int, clothes: int, light: str
) -> None:
    found = finding(look(varied(10, start, clothes=clothes, same_clothes=same)), "outfit", detector)
    assert found.is_judged
    assert found.light == light
    if light != "green":
        named = {Path(key).stem for key in found.photos}
        assert named >= {f"p{n:02d}" for n in range(same)}
        assert len(named) <= same + 2  # another photo may have clothes of that colour by chance
        assert found.remedies == ("add_photos", "trash")


@pytest.mark.parametrize(
    ("same", "start", "background", "light"),
    [
        (7, 1, 0, "yellow"), once(6, 20, 1, "yellow"), (10, 41, 2, "red"), once(9, 62, 4, "red"),
        once(10, 7, 5, "red"), (1, 0, 0, "green"), once(1, 35, 0, "green"), (2, 70, 2, "green"),
        once(2, 90, 1, "green"),
    ],
)  # fmt: skip
def test_one_background(
    look: Callable[[Sequence[Picture]], list[Seen]],
    detector: Detector,
    same: int,
    start: int,
    background: int,
    light: str,
) -> None:
    found = finding(look(varied(10, start, background=background, same_background=same)), "background", detector)
    assert found.light == light
    if light != "green":
        assert {Path(key).stem for key in found.photos} >= {f"p{n:02d}" for n in range(same)}


@pytest.mark.parametrize("missing", ["front", "three_quarter", "profile"])
def test_a_missing_view(look: Callable[[Sequence[Picture]], list[Seen]], detector: Detector, missing: str) -> None:
    views = [yaw for name, yaw in VIEWS.items() if name != missing]
    found = finding(look(varied(6, 3, views=views)), "angles", detector)
    assert (found.light, found.numbers[missing], found.remedies) == ("yellow", 0.0, ("add_photos",))
    assert sum(found.numbers.values()) == 6


def test_all_views_and_only_one(look: Callable[[Sequence[Picture]], list[Seen]], detector: Detector) -> None:
    good = finding(look(varied(6, 3)), "angles", detector)
    assert (good.light, good.numbers) == ("green", {"front": 2.0, "three_quarter": 2.0, "profile": 2.0})
    one = finding(look(varied(6, 3, views=[-10.0])), "angles", detector)
    assert one.light == "red"
    assert "half turned, in profile" in str(one.title)
    assert "侧" in one.title.text("zh")


@pytest.mark.parametrize("missing", ["close", "half", "full"])
def test_a_missing_distance(look: Callable[[Sequence[Picture]], list[Seen]], detector: Detector, missing: str) -> None:
    sizes = [px for name, px in FACES_PX.items() if name != missing]
    found = finding(look(varied(6, 9, sizes=sizes)), "framing", detector)
    assert (found.light, found.numbers[missing]) == ("yellow", 0.0)
    assert finding(look(varied(6, 9, sizes=list(FACES_PX.values()))), "framing", detector).light == "green"


def test_too_few_to_judge(look: Callable[[Sequence[Picture]], list[Seen]], detector: Detector) -> None:
    seen = look(varied(3, 0))
    for id in ("angles", "framing", "outfit", "background", "stranger"):
        assert not finding(seen, id, detector).is_judged


def test_tags_are_believed_where_there_are_any(
    look: Callable[[Sequence[Picture]], list[Seen]], detector: Detector
) -> None:
    from dataclasses import replace

    seen = look(varied(8, 0))
    red = [replace(one, caption="ohwx, smile, red_dress, outdoors") for one in seen[:6]]
    rest = [replace(one, caption="ohwx, blue shirt, simple background") for one in seen[6:]]
    outfit = finding([*red, *rest], "outfit", detector)
    assert (outfit.light, outfit.photos) == ("yellow", tuple(one.key for one in seen[:6]))
    assert "red dress" in str(outfit.why)
    several = [replace(one, caption=f"ohwx, {colour} dress") for one, colour in zip(seen, "abcdefgh", strict=True)]
    assert finding(several, "outfit", detector).light == "green"
    places = ["beach"] * 6 + ["outdoors"] * 2  # one word names a place; "outdoors" could be any
    there = [replace(one, caption=f"ohwx, smile, {place}") for one, place in zip(seen, places, strict=True)]
    background = finding(there, "background", detector)
    assert (background.light, background.photos) == ("yellow", tuple(one.key for one in seen[:6]))
    outside = [replace(one, caption="ohwx, outdoors") for one in seen]
    assert finding(outside, "background", detector).light == "green"


@pytest.mark.parametrize(
    ("count", "kind", "light"),
    [
        (3, "person", "red"), (12, "person", "yellow"), (25, "person", "green"), (80, "person", "green"),
        (25, "style", "yellow"), (60, "style", "green"), (15, "object", "green"), (0, "concept", "red"),
    ],
)  # fmt: skip
def test_count(count: int, kind: str, light: str) -> None:
    found = judge_count(count, kind)
    assert found.light == light
    assert str(count) in str(found.title)


def test_mirroring(look: Callable[[Sequence[Picture]], list[Seen]], detector: Detector) -> None:
    seen = look(varied(5, 0))
    texts = [
        changed(picture, f"t{n}", written("SALE  50 %  OFF", 32, (0.05, 0.82), (255, 255, 255, 255)), "")
        for n, picture in enumerate(varied(5, 0))
    ]
    assert finding(seen, "flip", detector).numbers == {"flip": 0.0}
    assert finding(seen, "flip", detector, "object").numbers == {"flip": 0.0}
    assert finding(seen, "flip", detector, "style").numbers == {"flip": 1.0}
    written_on = finding(look(texts), "flip", detector, "anime")
    assert (written_on.light, written_on.numbers) == ("yellow", {"flip": 0.0})
    assert len(written_on.photos) >= 3  # white on white clothes is not seen


def test_kinds_without_faces(look: Callable[[Sequence[Picture]], list[Seen]], detector: Detector) -> None:
    seen = look(varied(5, 0))
    for id in ("no_face", "many_faces", "stranger", "small_face", "cut_face", "angles", "framing", "outfit"):
        found = finding(seen, id, detector, "style")
        assert (found.light, found.is_judged, found.photos) == ("green", False, ())
