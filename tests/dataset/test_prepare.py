from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora_forge.config import TrainConfig
from lora_forge.dataset import files, trash
from lora_forge.dataset.prepare import PreparedSet, PrepareSettings, load_mask, load_pixels, load_prepared, prepare
from lora_forge.dataset.project import Group, Project
from lora_forge.errors import DatasetError
from lora_forge.events import Event, Progress, StageDone, StageStarted, Warned
from tests.dataset.conftest import Paint

SMALL = PrepareSettings(64, True, 16, 32, 128)


def run(project: Project, events: list[Event] | None = None, settings: PrepareSettings = SMALL) -> PreparedSet:
    return prepare(project, settings, (events if events is not None else []).append)


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in sorted(folder.rglob("*")) if p.is_file()}


def warnings(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Warned)]


def summary(events: list[Event]) -> str:
    return next(event.summary for event in events if isinstance(event, StageDone))


@pytest.fixture
def filled(project: Project, paint: Paint) -> Project:
    paint(project.images_dir / "photos" / "宽 1.png", 200, 100, seed=1, caption="ohwx, wide")
    paint(project.images_dir / "photos" / "square.jpg", 128, 128, seed=2)
    paint(project.images_dir / "faces" / "tall 🙂.webp", 90, 160, seed=3, caption="tall")
    project.set_group(Group("faces", 5))
    return project


def test_settings_come_from_the_config():
    config = TrainConfig(resolution_px=768, bucket_min_px=128, bucket_max_px=1536, bucket_step_px=32, use_buckets=False)
    assert PrepareSettings.from_config(config) == PrepareSettings(768, False, 32, 128, 1536)
    assert PrepareSettings.from_config(TrainConfig()) == PrepareSettings()


def test_every_photo_gets_its_bucket_and_is_described(filled: Project, events: list[Event]):
    made = run(filled, events)
    seen = [(i.source.name, tuple(i.bucket), i.original_size, i.crop_left, i.crop_top) for i in made.images]
    assert seen == [
        ("tall 🙂.webp", (48, 80), (90, 160), 0, 2),
        ("square.jpg", (64, 64), (128, 128), 0, 0),
        ("宽 1.png", (80, 48), (200, 100), 8, 0),
    ]
    assert [(i.caption, i.group, i.repeats, i.is_prior) for i in made.images] == [
        ("tall", "faces", 5, False),
        ("", "photos", None, False),
        ("ohwx, wide", "photos", None, False),
    ]
    for image in made.images:
        pixels = load_pixels(image)
        assert (pixels.shape, pixels.dtype) == ((image.bucket.height, image.bucket.width, 3), np.uint8)
        size = f"{image.bucket.width}x{image.bucket.height}:".encode()
        assert image.key == hashlib.sha256(size + pixels.tobytes()).hexdigest()
        assert (image.path.parent, image.path.suffix) == (filled.prepared_dir, ".png")
        assert load_mask(image) is None
    assert events[0] == StageStarted("prepare", 3)
    assert [(e.done, e.total) for e in events if isinstance(e, Progress)] == [(1, 3), (2, 3), (3, 3)]
    assert summary(events) == "3 photos ready in 3 sizes, 3 of them prepared now."
    assert load_prepared(Project.load(filled.root)) == made


def test_the_middle_is_cut_without_distortion(project: Project):
    """Left third red, middle green, right blue: of a 192 x 64 photo a square keeps just the green."""
    stripes = np.zeros((64, 192, 3), np.uint8)
    stripes[:, :64, 0] = stripes[:, 64:128, 1] = stripes[:, 128:, 2] = 255
    Image.fromarray(stripes).save(project.images_dir / "photos" / "a.png")
    made = run(project, settings=dataclasses.replace(SMALL, use_buckets=False))
    pixels = load_pixels(made.images[0]).astype(int)
    assert (made.images[0].bucket, made.images[0].crop_left) == ((64, 64), 64)
    assert np.array_equal(pixels, np.broadcast_to([0, 255, 0], (64, 64, 3)))


def test_a_photo_of_the_exact_size_keeps_every_pixel(project: Project):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(project.images_dir / "photos" / "a.png")
    assert np.array_equal(load_pixels(run(project).images[0]), noise)


def test_image_folders_are_left_alone(filled: Project):
    before = snapshot(filled.images_dir)
    run(filled)
    assert snapshot(filled.images_dir) == before
    assert sorted(p.name for p in filled.root.iterdir()) == ["images", "prepared", "project.json"]


def test_only_what_changed_is_done_again(filled: Project, paint: Paint, events: list[Event]):
    first = run(filled)
    before = snapshot(filled.prepared_dir)
    assert run(filled, events) == first
    assert "0 of them prepared now" in summary(events)
    after = snapshot(filled.prepared_dir)
    assert {k: v for k, v in before.items() if k.endswith(".png")} == {
        k: v for k, v in after.items() if k.endswith(".png")
    }
    paint(filled.images_dir / "photos" / "square.jpg", 128, 128, seed=77)
    events.clear()
    second = run(filled, events)
    assert "1 of them prepared now" in summary(events)
    assert [a.key == b.key for a, b in zip(first.images, second.images, strict=True)] == [True, False, True]
    assert len(list(filled.prepared_dir.glob("*.png"))) == 3


def test_a_touched_photo_is_not_done_again(filled: Project, events: list[Event]):
    first = run(filled)
    for image in first.images:
        os.utime(image.source, (1, 1))
        os.utime(image.path, (2, 2))
    assert load_prepared(filled) == first
    assert run(filled, events) == first
    assert "0 of them prepared now" in summary(events)


def test_other_settings_do_all_again(filled: Project, events: list[Event]):
    run(filled)
    run(filled, events, dataclasses.replace(SMALL, resolution_px=128))
    assert "3 of them prepared now" in summary(events)
    with pytest.raises(DatasetError, match="other settings"):
        load_prepared(filled, SMALL)


def test_captions_groups_and_removals_need_no_new_preparation(filled: Project):
    first = run(filled)
    filled.set_caption(first.images[1].source, "新的, caption")
    filled.set_group(Group("faces", 7))
    loaded = load_prepared(filled)
    assert [image.caption for image in loaded.images] == ["tall", "新的, caption", "ohwx, wide"]
    assert loaded.images[0].repeats == 7
    trash.take_out(filled, first.images[0].source)
    assert [image.source.name for image in load_prepared(filled).images] == ["square.jpg", "宽 1.png"]
    run(filled)
    assert not first.images[0].path.exists()


def test_a_photo_added_or_changed_makes_it_stale(filled: Project, paint: Paint):
    with pytest.raises(DatasetError, match=r"no prepared photos.*lora-forge prepare"):
        load_prepared(filled)
    run(filled)
    added = paint(filled.images_dir / "photos" / "new.png", seed=5)
    with pytest.raises(DatasetError, match=r"new\.png is new or has changed"):
        load_prepared(filled)
    added.unlink()
    load_prepared(filled)
    paint(filled.images_dir / "photos" / "square.jpg", 128, 128, seed=50)
    with pytest.raises(DatasetError, match=r"square\.jpg"):
        load_prepared(filled)


def test_damaged_prepared_files_are_noticed_and_made_again(filled: Project):
    first = run(filled)
    other = first.images[1].path.read_bytes()
    first.images[0].path.write_bytes(other)
    with pytest.raises(DatasetError, match="not those that were prepared"):
        load_pixels(load_prepared(filled).images[0])
    first.images[1].path.write_bytes(other[:100])
    first.images[2].path.unlink()
    with pytest.raises(DatasetError, match="damaged"):
        load_pixels(first.images[1])
    with pytest.raises(DatasetError, match="宽 1"):
        load_prepared(filled)
    again = run(filled)
    assert again == first
    assert [load_pixels(image).shape[2] for image in again.images] == [3, 3, 3]


def test_a_damaged_manifest_is_made_anew(filled: Project):
    first = run(filled)
    for content in (b"{", b"[]", b'{"version": 1, "settings": {}, "images": {"a": 3}}', b"\xff\xfe"):
        (filled.prepared_dir / "manifest.json").write_bytes(content)
        with pytest.raises(DatasetError, match="no prepared photos"):
            load_prepared(filled)
        assert run(filled) == first


def test_unreadable_photos_are_listed_and_the_rest_goes_on(filled: Project, events: list[Event]):
    (filled.images_dir / "photos" / "坏.png").write_bytes(b"\x89PNG\r\n\x1a\n....")
    (filled.images_dir / "photos" / "empty.jpg").touch()
    made = run(filled, events)
    assert len(made.images) == 3
    assert next((s.name, str(s.reason)) for s in made.skipped) == ("photos/empty.jpg", "the file is empty")
    assert made.skipped[1].name == "photos/坏.png"
    assert [("empty.jpg" in w, "坏.png" in w) for w in warnings(events)] == [(True, False), (False, True)]
    assert "2 unreadable" in summary(events)
    assert load_prepared(filled) == made


def test_an_unreadable_photo_is_tried_again(filled: Project, paint: Paint):
    bad = filled.images_dir / "photos" / "bad.png"
    bad.write_bytes(b"no picture")
    run(filled)
    paint(bad, seed=8)
    with pytest.raises(DatasetError, match=r"bad\.png"):
        load_prepared(filled)
    assert len(run(filled).images) == 4


def test_a_photo_whose_reader_was_missing_is_read_once_it_is_there(filled: Project, monkeypatch: pytest.MonkeyPatch):
    (filled.images_dir / "photos" / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert [s.name for s in run(filled).skipped] == ["photos/a.heic"]

    class Reader:
        @staticmethod
        def open_heif(stream: object) -> type[Reader]:
            return Reader

        @staticmethod
        def to_pillow() -> Image.Image:
            return Image.new("RGB", (64, 64), (1, 2, 3))

    monkeypatch.setitem(sys.modules, "pillow_heif", Reader)
    made = run(filled)
    assert (len(made.images), made.skipped) == (4, ())


def test_no_usable_photo_is_an_error(project: Project, paint: Paint):
    with pytest.raises(DatasetError, match="no photos"):
        run(project)
    (project.images_dir / "photos" / "a.jpg").touch()
    with pytest.raises(DatasetError, match=r"None of the 1 photos.*photos/a\.jpg: the file is empty"):
        run(project)
    project.set_group(Group("reg", 1, is_prior=True))
    paint(project.images_dir / "reg" / "p.png")
    with pytest.raises(DatasetError, match="only prior"):
        run(project)
    paint(project.images_dir / "photos" / "b.jpg")
    assert [(i.source.name, i.is_prior) for i in run(project).images] == [("b.jpg", False), ("p.png", True)]


def test_small_photos_are_enlarged_with_a_word(project: Project, paint: Paint, events: list[Event]):
    paint(project.images_dir / "photos" / "small.png", 40, 40)
    paint(project.images_dir / "photos" / "large.png", 400, 400)
    made = run(project, events)
    assert [image.bucket for image in made.images] == [(64, 64), (64, 64)]
    (warning,) = warnings(events)
    assert warning.startswith("small.png: smaller")


def test_a_caption_of_several_lines_is_pointed_out(filled: Project, events: list[Event]):
    (filled.images_dir / "photos" / "square.txt").write_text("a, b\nc", encoding="utf-8")
    run(filled, events)
    assert [w for w in warnings(events) if "several lines" in w and w.startswith("square.jpg")]


def test_equal_photos_share_a_file_and_keep_it(filled: Project):
    source = filled.images_dir / "photos" / "square.jpg"
    (filled.images_dir / "faces" / "copy.jpg").write_bytes(source.read_bytes())
    made = run(filled)
    twins = [image for image in made.images if image.source.name in ("square.jpg", "copy.jpg")]
    assert twins[0].path == twins[1].path
    trash.take_out(filled, twins[0].source)
    assert load_pixels(run(filled).images[0]).any()
    assert twins[0].path.exists()


def test_a_face_box_becomes_a_mask(project: Project, paint: Paint, events: list[Event]):
    path = paint(project.images_dir / "photos" / "a.png", 256, 128)
    project.set_face(path, (96, 32, 32, 64))
    image = run(project, events, PrepareSettings(64, False, 64, 64, 64)).images[0]
    mask = load_mask(image)
    # half size: 128 x 64, of which columns 32..96 are kept; the box is then at (48 - 32, 16) with 16 x 32
    expected = np.zeros((64, 64), np.float32)
    expected[16:48, 16:32] = 1.0
    assert mask is not None
    assert mask.dtype == np.float32
    assert np.array_equal(mask, expected)
    assert warnings(events) == []


def test_a_face_that_is_cut_off_means_no_mask(project: Project, paint: Paint, events: list[Event]):
    path = paint(project.images_dir / "photos" / "a.png", 256, 64)
    project.set_face(path, (0, 0, 20, 20))
    assert run(project, events, PrepareSettings(64, False, 64, 64, 64)).images[0].mask_path is None
    assert "left after cutting" in warnings(events)[0]


def test_a_mask_file_is_cut_like_its_photo_whatever_its_size(project: Project, paint: Paint):
    path = paint(project.images_dir / "photos" / "a.jpg", 256, 128)
    project.set_face(path, (0, 0, 10, 10))  # the mask file goes first
    mask = np.zeros((64, 128), np.uint8)  # half the photo's size
    mask[:, 64:] = 255
    project.masks_dir.joinpath("photos").mkdir(parents=True)
    Image.fromarray(mask).save(project.mask_place(path))
    made = load_mask(run(project, settings=PrepareSettings(64, False, 64, 64, 64)).images[0])
    expected = np.zeros((64, 64), np.float32)
    expected[:, 32:] = 1.0
    assert made is not None
    assert np.array_equal(made, expected)


def test_a_changed_mask_or_face_is_noticed(project: Project, paint: Paint, events: list[Event]):
    path = paint(project.images_dir / "photos" / "a.png", 128, 128)
    paint(project.images_dir / "photos" / "b.png", 128, 128, seed=1)
    run(project)
    project.set_face(path, (10, 10, 40, 40))
    with pytest.raises(DatasetError, match=r"a\.png"):
        load_prepared(project)
    run(project, events)
    assert "1 of them prepared now" in summary(events)
    Image.new("L", (8, 8), 128).save(project.masks_dir.mkdir() or project.masks_dir / "x.png")
    project.mask_place(path).parent.mkdir()
    (project.masks_dir / "x.png").rename(project.mask_place(path))
    with pytest.raises(DatasetError, match=r"a\.png"):
        load_prepared(project)
    mask = load_mask(run(project).images[0])
    assert mask is not None
    assert np.allclose(mask, 128 / 255)


def test_a_broken_mask_is_left_out_with_a_word(project: Project, paint: Paint, events: list[Event]):
    path = paint(project.images_dir / "photos" / "a.png", 128, 128)
    project.mask_place(path).parent.mkdir(parents=True)
    project.mask_place(path).write_bytes(b"no mask")
    assert run(project, events).images[0].mask_path is None
    assert "without a mask" in warnings(events)[0]
    assert load_prepared(project).images[0].mask_path is None


def test_an_interrupted_preparation_goes_on(project: Project, paint: Paint, events: list[Event]):
    for seed in range(40):
        paint(project.images_dir / "photos" / f"{seed:02d}.png", 64, 64, seed=seed)

    class PowerCutError(Exception):
        pass

    def cut(event: Event) -> None:
        if isinstance(event, Progress) and event.done == 35:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        prepare(project, SMALL, cut)
    with pytest.raises(DatasetError, match="new or has changed"):
        load_prepared(project)
    assert len(run(project, events).images) == 40
    assert "8 of them prepared now" in summary(events)


def test_a_full_disk_is_said_in_words(filled: Project, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_quickly", full)
    with pytest.raises(DatasetError, match=r"the disk is full\. Free some space"):
        run(filled)


def test_a_strip_of_extreme_shape_takes_no_memory(project: Project):
    """Resized to cover before cutting it would be 64 x 1280000 px, 327 MB in Pillow's four bytes a pixel."""
    resource = pytest.importorskip("resource")
    Image.new("RGB", (20000, 1), (9, 9, 9)).save(project.images_dir / "photos" / "strip.png")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    made = run(project, settings=PrepareSettings(64, False, 64, 64, 64))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB on Linux
    assert made.images[0].original_size == (20000, 1)
    assert (load_pixels(made.images[0]) == 9).all()
