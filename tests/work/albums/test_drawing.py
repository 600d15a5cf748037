"""The album's job: drawn for real on the toy world, judged, stopped, taken up again; verdicts on planted LoRAs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from lora_forge.config import Family
from lora_forge.dataset.project import Project
from lora_forge.errors import ConfigError, DatasetError, LoraFileError
from lora_forge.events import Command, CommandBox, Event, Progress, StageDone, Warned
from lora_forge.host.desk import StandaloneDesk
from lora_forge.work.albums.drawing import check_album, draw_album
from lora_forge.work.albums.request import AlbumRequest, offered, seen_tags
from lora_forge.work.albums.request import request_for as made_request
from lora_forge.work.albums.sheet import sheet_of, sheet_png
from lora_forge.work.albums.store import Album, albums_of, load_album, new_album, remove_album
from lora_forge.work.albums.told import Teller
from tests.work.albums.conftest import NINE, Painter, request_for


def run(desk: Any, project: Project, album: Album, **more: Any) -> list[Event]:
    seen: list[Event] = []
    draw_album(desk, project, album, seen.append, CommandBox(), **more)
    return seen


class StopAfter(CommandBox):
    """Asks to stop once ``count`` pictures are there."""

    def __init__(self, album: Album, count: int) -> None:
        super().__init__()
        self._album, self._count = album, count

    def asks_to_stop(self) -> bool:
        if len(self._album.scores) >= self._count:
            self.send(Command.STOP)
        return super().asks_to_stop()


# ------------------------------------------------------------------ for real


def test_a_real_lora_is_drawn_and_judged(desk: StandaloneDesk, answered: Project) -> None:
    album = new_album(answered, request_for(answered, NINE[:3]))
    seen = run(desk, answered, album)
    kept = load_album(answered, album.id)
    assert kept == album
    assert (kept.state, kept.base, len(kept.lora_sha256)) == ("done", "toyworld", 64)
    assert [one.id for one in kept.drawn()] == list(NINE[:3])
    with Image.open(kept.path(kept.scenes[0])) as picture:
        assert picture.size == (64, 64)
        assert picture.info["parameters"].startswith("ohwx, 1girl, snow, <lora:toy-000002:1>\nSteps: 2, ")
    for scene in kept.scenes:
        ticks = kept.ticks(scene)
        assert ticks.identity is not None
        assert [ask.tag for ask in ticks.asks] == list(scene.asks)
    assert {row["score"] for row in kept.used} >= {"identity", "obedience"}
    assert isinstance(seen[-1], StageDone)
    assert seen[-1].stage == "album"
    assert [event.total - event.done for event in seen if isinstance(event, Progress) and event.stage == "album"][
        -1
    ] == 0


def test_the_same_scene_has_the_same_picture_in_every_album(desk: StandaloneDesk, answered: Project) -> None:
    first, second = (new_album(answered, request_for(answered, scenes)) for scenes in (NINE[:2], NINE[1:2]))
    run(desk, answered, first)
    run(desk, answered, second)
    scene = second.scenes[0]
    with Image.open(first.path(scene)) as one, Image.open(second.path(scene)) as other:
        # drawn in another batch: the last bit of a float may differ, and with it a pixel by one
        assert max(high for _, high in ImageChops.difference(one, other).getextrema()) <= 1


# ------------------------------------------------------------------ planted LoRAs


def verdict(desk: StandaloneDesk, project: Project, fault: str, scenes: tuple[str, ...] = NINE) -> Album:
    album = new_album(project, request_for(project, scenes))
    painter = Painter(desk, fault)
    run(painter, project, album)
    assert painter.is_closed
    return load_album(project, album.id)


def test_a_perfect_lora_passes_without_a_single_picture_of_the_base(desk: StandaloneDesk, answered: Project) -> None:
    album = verdict(desk, answered, "")
    found = album.verdict()
    assert found is not None
    assert found.is_pass is True
    assert str(found.sentence) == "Pass: 9 of 9 pictures are alike enough; 12 of 12 things asked for are there."
    assert album.without == {}


def test_one_that_ignores_the_prompt_has_not_passed(desk: StandaloneDesk, answered: Project) -> None:
    album = verdict(desk, answered, "deaf")
    found = album.verdict()
    assert found is not None
    assert found.is_pass is False
    assert "9 of 9 pictures are alike enough" in str(found.sentence)
    assert str(found.advice) == "An earlier epoch or a lower strength obeys the prompt better."
    assert set(album.without) == {one.id for one in album.scenes if not all(a.is_ok for a in album.ticks(one).asks)}
    with Image.open(album.path(album.scenes[0], has_lora=False)) as picture:
        assert "<lora:" not in picture.info["parameters"]


def test_one_that_shows_somebody_else_has_not_passed(desk: StandaloneDesk, answered: Project) -> None:
    album = verdict(desk, answered, "stranger")
    found = album.verdict()
    assert found is not None
    assert found.is_pass is False
    assert "12 of 12 things asked for are there" in str(found.sentence)
    assert str(found.advice) == "A later epoch or a higher strength brings likeness."


def test_what_she_excludes_is_neither_asked_by_default_nor_held_against_her(
    desk: StandaloneDesk, answered: Project
) -> None:
    by_id = {one.id: one for one in offered(answered, "toyworld")}
    assert by_id["toy-white-hair"].contradicts == "pink hair"
    album = verdict(desk, answered, "deaf", ("toy-white-hair",))
    assert [ask.is_ok for ask in album.ticks(album.scenes[0]).asks] == [None]
    assert album.without == {}
    own = made_request(answered, "toyworld", Family.SD1, "toy", 2, 1.0, (), ["white hair, snow"])
    assert own.scenes[0].contradicts == "pink hair"


# ------------------------------------------------------------------ stopping, going on, failing


def test_stopped_it_keeps_what_there_is_and_goes_on_from_there(desk: StandaloneDesk, answered: Project) -> None:
    album, painter = new_album(answered, request_for(answered)), Painter(desk)
    assert draw_album(painter, answered, album, lambda event: None, StopAfter(album, 4)) == "stopped"
    assert painter.is_closed
    kept = load_album(answered, album.id)
    assert (kept.state, len(kept.drawn())) == ("stopped", 4)
    found = kept.verdict()
    assert found is not None
    assert found.is_pass is None
    assert str(found.sentence) == "Can't be told: only 4 of 9 pictures are drawn."
    times = [kept.path(scene).stat().st_mtime_ns for scene in kept.drawn()]

    again = Painter(desk)
    run(again, answered, kept)
    assert len(again.asked) == 5
    assert [kept.path(scene).stat().st_mtime_ns for scene in kept.scenes[:4]] == times
    whole = load_album(answered, album.id).verdict()
    assert whole is not None
    assert whole.is_pass is True


def test_a_picture_that_was_thrown_away_is_drawn_again(desk: StandaloneDesk, answered: Project) -> None:
    album = verdict(desk, answered, "", NINE[:3])
    album.path(album.scenes[1]).unlink()
    assert [one.id for one in album.drawn()] == [NINE[0], NINE[2]]
    painter = Painter(desk)
    run(painter, answered, album)
    assert len(painter.asked) == 1


def test_a_host_that_fails_leaves_its_words_and_the_pictures(desk: StandaloneDesk, answered: Project) -> None:
    album = new_album(answered, request_for(answered))
    with pytest.raises(OSError, match="the card is gone"):
        run(Painter(desk, kept=3), answered, album)
    kept = load_album(answered, album.id)
    assert (kept.state, len(kept.drawn())) == ("failed", 3)
    assert "the card is gone" in Teller(answered, "zh").whole(kept)["error"]
    run(Painter(desk), answered, kept)
    assert (kept.state, kept.error) == ("done", None)


def test_a_judge_that_fails_costs_ticks_and_no_picture(desk: StandaloneDesk, answered: Project) -> None:
    class Broken:
        def score(self, images: Any, asked: Any) -> Any:
            raise DatasetError("The judge is ill.")

    from lora_forge.work.judging import Judging

    album = new_album(answered, request_for(answered, NINE[:2]))
    seen = run(Painter(desk), answered, album, judges=lambda *_: Judging(Broken(), (), ()))
    assert sum(isinstance(event, Warned) for event in seen) == 2
    assert len(album.drawn()) == 2
    found = album.verdict()
    assert found is not None
    assert found.is_pass is None


def test_another_checkpoint_or_another_file_is_refused(desk: StandaloneDesk, answered: Project) -> None:
    album = verdict(desk, answered, "", NINE[:1])
    album.base = "chilloutmix"
    with pytest.raises(ConfigError, match="begun with the checkpoint chilloutmix, and toyworld"):
        check_album(desk, album)
    album.base = "toyworld"
    path = desk.lora_dir() / "toy-000002.safetensors"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(LoraFileError, match="not the file any more"):
        check_album(desk, album)
    path.unlink()
    with pytest.raises(LoraFileError, match="There is no LoRA named toy-000002"):
        check_album(desk, album)


# ------------------------------------------------------------------ on the disk, and told


def test_a_request_comes_back_from_the_disk_as_it_was(answered: Project) -> None:
    made = request_for(answered, NINE, own=["riding a horse, castle"], seed=5)
    assert AlbumRequest.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    assert made.words(made.scenes[-1]) == "ohwx, 1girl, riding a horse, castle"
    assert made.picture(made.scenes[0]).prompt == "ohwx, 1girl, snow, <lora:toy-000002:1>"
    assert made.picture(made.scenes[0], has_lora=False).prompt == "ohwx, 1girl, snow"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"scenes": ()}, "No scene is chosen"),
        ({"scenes": ("moon",)}, "There is no scene 'moon'"),
        ({"strength": 0.0}, "at strength 0 can't be drawn"),
        ({"epoch": -1}, "Epoch -1"),
        ({"width": 100}, "100x64 pixels"),
        ({"steps": 0}, "in 0 steps"),
    ],
)
def test_what_can_not_be_drawn_is_refused(answered: Project, values: dict[str, Any], words: str) -> None:
    plain: dict[str, Any] = {"epoch": 2, "strength": 1.0, "scenes": NINE, "width": 64, "height": 64, **values}
    epoch, strength, scenes = (plain.pop(name) for name in ("epoch", "strength", "scenes"))
    with pytest.raises(ConfigError, match=words):
        made_request(answered, "toyworld", Family.SD1, "toy", epoch, strength, scenes, **plain)


def test_two_albums_of_one_second_have_two_folders(answered: Project) -> None:
    made = [new_album(answered, request_for(answered), now=1_700_000_000.0) for _ in range(2)]
    assert made[1].id == f"{made[0].id}-2"
    assert {one.id for one in albums_of(answered)} == {one.id for one in made}


def test_a_damaged_album_is_left_out_and_one_removed_lies_in_the_trash(answered: Project) -> None:
    first, second = (new_album(answered, request_for(answered), now=float(at)) for at in (10**9, 2 * 10**9))
    (first.folder / "album.json").write_text("{", encoding="utf-8")
    assert [one.id for one in albums_of(answered)] == [second.id]
    with pytest.raises(DatasetError, match="can't be read"):
        load_album(answered, first.id)
    place = remove_album(answered, second.id)
    assert (place.parent, place.name) == (answered.trash_dir / "albums", second.id)
    assert (place / "album.json").is_file()
    for name in (second.id, "", "..", "../anna", "."):
        with pytest.raises(DatasetError, match="has no album"):
            load_album(answered, name)


def test_what_a_page_is_told(desk: StandaloneDesk, answered: Project) -> None:
    album = verdict(desk, answered, "deaf")
    told = Teller(answered, "zh").whole(album)
    assert (told["state"], told["done"], told["total"], told["is_pass"]) == ("done", 9, 9, False)
    first = told["pictures"][0]
    assert (first["label"], first["path"]) == ("雪地", f"anna/albums/{album.id}/01.png")
    assert first["without"] == f"anna/albums/{album.id}/01-without.png"
    assert first["asks"][0]["label"] == "雪"
    assert first["asks"][0]["is_ok"] is False
    assert first["identity"]["is_ok"] is True
    assert told["verdict"]["sentence"].startswith("还没通过：9 张里有 9 张够像；")
    assert len(told["photos"]) == 6
    assert (answered.images_dir / told["photos"][0]).is_file()
    assert {row["title"] for row in told["judges"]} >= {"相似度", "听话程度"}
    album.state = "running"
    assert Teller(answered, "en").state(album) == "interrupted"
    assert Teller(answered, "en", album.id).state(album) == "running"


def test_the_nine_by_default_are_what_no_photo_shows(answered: Project) -> None:
    rows = Teller(answered, "en").scenes("toyworld")
    assert tuple(row["id"] for row in rows if row["is_chosen"]) == (
        *("toy-snow", "toy-city", "toy-night", "toy-red-dress", "toy-black-dress", "toy-green-shirt"),
        *("toy-hat-snow", "toy-red-snow", "toy-smile"),
    )
    assert {"beach", "forest", "blue dress"} <= seen_tags(answered)


# ------------------------------------------------------------------ the picture to share


def test_the_picture_says_what_it_is_and_nothing_personal(desk: StandaloneDesk, answered: Project) -> None:
    album = verdict(desk, answered, "")
    album.base = "people/anna's best.safetensors [0123abcd]"
    made = sheet_of(answered, album, "en")
    assert made.title == "toy · generalisation test"
    assert made.facts.startswith("epoch 2 at strength 1  ·  base checkpoint anna's best  ·  20")
    assert (made.stamp, made.is_pass, len(made.drawn), len(made.photos)) == ("Passed", True, 9, 6)
    assert made.drawn[0].ticks[1] == (True, "snow")
    assert sheet_of(answered, album, "en", has_photos=False).photos == ()
    content = sheet_png(answered, album, "en")
    assert content.startswith(b"\x89PNG")
    assert not any(word in content for word in (b"tEXt", b"iTXt", b"zTXt", b"eXIf"))


def test_without_letters_the_picture_is_in_english(
    desk: StandaloneDesk, answered: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    album = verdict(desk, answered, "", NINE[:1])
    monkeypatch.setattr("lora_forge.work.albums.told.can_write", lambda words: words.isascii())
    assert sheet_of(answered, album, "zh").drawn[0].label == "In the snow"
    assert Teller(answered, "zh").whole(album)["sheet_language"] == "en"
    monkeypatch.setattr("lora_forge.work.albums.told.can_write", lambda words: True)
    assert sheet_of(answered, album, "zh").drawn[0].label == "雪地"
    assert Path(album.folder).is_dir()
