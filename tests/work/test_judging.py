from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora_forge.dataset.project import Project
from lora_forge.demo import write_project
from lora_forge.downloads.items import item_of
from lora_forge.evaluate.scores import SCORES, Asked, PictureScore
from lora_forge.host.desk import StandaloneDesk
from lora_forge.parts import LIBRARIES
from lora_forge.ports import GaveUpError
from lora_forge.toyworld.subject import photos as toy_photos
from lora_forge.work.judging import Judging, Prospects, judging, prospects
from tests.dataset.taggers.conftest import write_list, write_model
from tests.evaluate.judges.planted import COPIES, noise

HEAD = ((200.0, 100.0, 300.0, 230.0), ((225, 150), (275, 150), (250, 175), (232, 200), (268, 200)))


def portrait(person: int, seed: int) -> Image.Image:
    """A pattern of colours around a head that the planted pack finds; every seed has its own light."""
    coarse = np.random.default_rng(person).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    lit = Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC)
    return lit.point(lambda value: value * (0.7 + 0.03 * seed))


@pytest.fixture
def desk(tmp_path: Path) -> StandaloneDesk:
    """Nothing loaded and no model on the machine."""
    return StandaloneDesk(tmp_path / "data", tmp_path / "lora")


@pytest.fixture
def toy(tmp_path: Path) -> tuple[StandaloneDesk, Project]:
    project, base = write_project(tmp_path / "demo")
    return StandaloneDesk(tmp_path / "data", tmp_path / "lora", base=base), project


@pytest.fixture
def people(tmp_path: Path) -> Project:
    """Seven photos of one person, the last of another."""
    pytest.importorskip("onnx")
    from tests.dataset.faces.pack import with_strip

    project = Project.create(tmp_path / "data" / "anna", "ohwx")
    for number in range(7):
        image = with_strip(portrait(2 if number == 6 else 1, number), [HEAD])
        image.save(project.images_dir / "photos" / f"{number}.png")
    return project


def names(found: Judging | Prospects) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    used: dict[str, str] = {one.score: str(one.name) for one in found.used}
    return used, {one.score: (one.item, one.part) for one in found.missing}


def test_every_score_is_used_or_missing_and_what_is_missing_can_be_had(desk: StandaloneDesk, people: Project) -> None:
    for kind in ("person", "anime", "style", "object", "design", "concept"):
        used, missing = names(prospects(desk, people, kind))
        assert used == {"copying": "Structure", "health": "Statistics"}
        assert set(missing) == {"identity", "obedience"}
        assert set(used) | set(missing) == set(SCORES)
        for item, part in missing.values():
            assert item_of(item).kind == ("faces" if item == "buffalo_l" else "tagger")
            assert part in ("", *(library.name for library in LIBRARIES))
        assert missing["identity"][0] == ("buffalo_l" if kind == "person" else "wd-swinv2-tagger-v3")
        assert missing["obedience"][0] == "wd-swinv2-tagger-v3"


def test_what_was_not_measured_is_no_number(desk: StandaloneDesk, people: Project) -> None:
    found = judging(desk, people, "style")
    assert names(found) == names(prospects(desk, people, "style"))
    (told,) = found.judge.score([portrait(3, 0)], Asked("ohwx", ("snow",)))
    assert (told.identity, told.obedience, dict(told.shown)) == (None, None, {})
    assert told.copying == pytest.approx(0.0, abs=0.2)
    assert (found.photos.count, found.photos.leave_one_out, found.photos.outliers) == (7, None, ())
    assert found.photos.keys == tuple(f"photos/{number}.png" for number in range(7))


def test_faces_where_there_is_a_pack(desk: StandaloneDesk, people: Project) -> None:
    pytest.importorskip("insightface")
    from tests.dataset.faces.pack import with_strip, write_pack

    write_pack(desk.model_dirs()["insightface"][0] / "models" / "buffalo_sc")
    assert names(prospects(desk, people, "person"))[0]["identity"] == "insightface buffalo_sc"
    found = judging(desk, people, "person")
    assert names(found)[0]["identity"] == "insightface buffalo_sc"
    assert found.photos.outliers == ("photos/6.png",)
    assert found.photos.keys[-1] == "photos/6.png"
    assert found.photos.leave_one_out == pytest.approx(1.0, abs=0.05)
    images = [with_strip(portrait(1, 3), [HEAD]), with_strip(portrait(2, 3), [HEAD]), with_strip(portrait(1, 3), [])]
    herself, other, nobody = found.judge.score(images, Asked("ohwx"))
    assert herself.identity == pytest.approx(1.0, abs=0.02)
    assert (other.identity or 0.0) < 0.6
    assert nobody.identity == 0.0
    assert nobody.health < 0.5
    assert herself.copying == pytest.approx(1.0, abs=0.01)  # it is a photo of the set


def test_a_second_time_no_model_looks_at_the_photos(desk: StandaloneDesk, people: Project) -> None:
    pytest.importorskip("insightface")
    from tests.dataset.faces.pack import write_pack

    write_pack(desk.model_dirs()["insightface"][0] / "buffalo_sc")
    first = judging(desk, people, "person")
    memory = people.root / "checkup" / "faces.json"
    kept = json.loads(memory.read_text(encoding="utf-8"))
    for faces in kept["faces"].values():
        for face in faces:
            face["box"][0] += 1.0  # shows whether it is read or found anew
    memory.write_text(json.dumps(kept), encoding="utf-8")
    again = judging(desk, people, "person")
    assert again.photos == first.photos
    assert json.loads(memory.read_text(encoding="utf-8")) == kept


def test_a_damaged_pack_is_said_and_the_other_scores_stay(desk: StandaloneDesk, people: Project) -> None:
    pack = desk.model_dirs()["insightface"][0] / "buffalo_l"
    pack.mkdir(parents=True)
    (pack / "det_10g.onnx").write_bytes(b"cut off")
    found = judging(desk, people, "person")
    used, _ = names(found)
    assert set(used) == {"copying", "health"}
    assert "insightface buffalo_l can't be used" in str(found.missing[0].sentence)
    assert "likeness" in str(found.missing[0].sentence)


def test_the_toy_world_has_its_own_tagger(toy: tuple[StandaloneDesk, Project]) -> None:
    desk, project = toy
    for kind in ("toyworld", "person", "anime"):
        found = judging(desk, project, kind)
        used, missing = names(found)
        assert set(used) == set(SCORES)
        assert missing == {}
        assert used["identity"] == used["obedience"] == "Toy world (bundled, for drawn photos)"
    assert "glasses, green eyes, pink hair" in str(found.used[0].sentence)  # not long hair, which the captions name
    assert found.photos.leave_one_out == pytest.approx(1.0, abs=0.02)
    fresh = [picture for picture, _ in toy_photos(7, 12)]
    told = found.judge.score(fresh, Asked("ohwx", ("red dress", "wings")))
    assert np.mean([one.identity or 0.0 for one in told]) > 0.97
    assert np.mean([one.health for one in told]) == 1.0
    assert {tuple(one.shown) for one in told} == {("red dress",)}
    copies = found.judge.score([COPIES["blurred"](picture) for picture, _ in toy_photos(0)], Asked("ohwx"))
    assert min(one.copying or 0.0 for one in copies) > 0.7
    assert max(one.health for one in found.judge.score([noise(64), noise(64, 8)], Asked("ohwx"))) < 0.1


def test_what_the_person_said_counts_before_what_would_be_proposed(toy: tuple[StandaloneDesk, Project]) -> None:
    desk, project = toy
    traits = {"version": 1, "kind": "anime", "answers": {"long hair": "part", "smile": "changeable"}, "removed": {}}
    (project.root / "traits.json").write_text(json.dumps(traits), encoding="utf-8")
    assert "It looks for long hair," in str(judging(desk, project, "anime").used[0].sentence)


def test_remembered_tags_need_no_photo_to_be_read(toy: tuple[StandaloneDesk, Project]) -> None:
    desk, project = toy
    judging(desk, project, "anime")
    (folder,) = [path for path in (project.root / "tags" / "scores").iterdir() if path.is_dir()]
    stamps = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    judging(desk, project, "anime")
    assert len(stamps) == len({path.read_bytes() for path in (project.images_dir / "photos").glob("*.png")})
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == stamps


def test_an_installed_tagger_judges_what_it_knows(desk: StandaloneDesk, people: Project) -> None:
    pytest.importorskip("onnxruntime")
    folder = desk.model_dirs()["taggers"][0] / "wd-vit-tagger-v3"
    count = write_model(folder / "model.onnx", "wd", scale=1 / 255)
    write_list(folder, "wd", count, [("white_hair", 0), ("1girl", 0), ("snow", 0)])
    used, missing = names(prospects(desk, people, "style"))
    assert used["identity"] == used["obedience"] == "WD ViT v3 (lightest)"
    assert missing == {}
    found = judging(desk, people, "style")
    assert names(found) == (used, missing)
    same, other = found.judge.score([portrait(1, 2), portrait(5, 2)], Asked("x", ("white hair", "sea")))
    assert same.identity == pytest.approx(1.0, abs=0.02)
    assert (other.identity or 0.0) < (same.identity or 0.0)
    assert set(same.shown) == {"white hair"}
    shutil.rmtree(folder)
    write_model(folder / "model.onnx", "wd")
    write_list(folder, "wd", 5)  # another model's list
    broken = judging(desk, people, "style")
    assert set(names(broken)[1]) == {"identity", "obedience"}
    assert "So the tagger can't look." in str(broken.missing[0].sentence)


class _Hosts(StandaloneDesk):
    """A host that has an interrogator."""

    def interrogators(self) -> Sequence[object]:
        return [_Lists()]


class _Lists:
    id, name, kind, problem = "host:deepbooru", "DeepDanbooru (WebUI)", "tags", ""

    def __call__(self, image: Image.Image) -> str:
        return "1girl, solo, red dress, star" if image.size == (64, 64) else "1girl, snow"


def test_the_hosts_own_interrogator_serves_where_no_tagger_is(tmp_path: Path) -> None:
    project, _ = write_project(tmp_path / "demo")
    desk = _Hosts(tmp_path / "data", tmp_path / "lora")
    assert names(prospects(desk, project, "object"))[0]["identity"] == "DeepDanbooru (WebUI)"
    found = judging(desk, project, "object")
    assert found.used[0].source.text("zh") == "WebUI 自带"
    like, unlike = found.judge.score([Image.new("RGB", (64, 64)), Image.new("RGB", (8, 8))], Asked("x", ("snow",)))
    assert (like.identity, unlike.identity) == (1.0, 0.0)
    assert (dict(like.shown), dict(unlike.shown)) == ({"snow": 0.0}, {"snow": 1.0})


def test_a_stop_keeps_what_was_seen(toy: tuple[StandaloneDesk, Project]) -> None:
    desk, project = toy
    asked = iter([False] * 5 + [True])
    with pytest.raises(GaveUpError):
        judging(desk, project, "anime", should_stop=lambda: next(asked))
    (folder,) = [path for path in (project.root / "tags" / "scores").iterdir() if path.is_dir()]
    assert 1 <= len(list(folder.iterdir())) <= 6


def test_no_photos_and_unreadable_ones(toy: tuple[StandaloneDesk, Project]) -> None:
    desk, project = toy
    for number, path in enumerate(sorted((project.images_dir / "photos").glob("*.png"))):
        if number:
            path.unlink()
        else:
            path.write_bytes(b"no picture")
    found = judging(desk, project, "anime")
    used, missing = names(found)
    assert set(used) == {"obedience", "health"}
    assert missing == {"identity": ("", ""), "copying": ("", "")}
    assert found.judge.score([toy_photos(0)[0][0]], Asked("x")) == [PictureScore(None, 1.0)]


def test_facts_for_a_page_in_both_languages(toy: tuple[StandaloneDesk, Project]) -> None:
    desk, project = toy
    for row in [one.to_json("zh") for one in prospects(desk, project, "anime").used]:
        assert all("\u4e00" <= row[key][0] <= "\u9fff" for key in ("title", "sentence"))
    told = prospects(desk, project, "anime").used[0].to_json("en")
    assert (told["unit"], told["range"], told["source"]) == ("%", [0.0, 100.0], "bundled")
