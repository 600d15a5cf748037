from __future__ import annotations

import io
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora_forge.dataset.images import UnreadableImageError, read_image
from lora_forge.dataset.manifest import sha256_of
from lora_forge.dataset.project import Project
from lora_forge.dataset.thumbs import Thumbs, thumbs_of
from tests.dataset.conftest import Paint


@pytest.fixture
def photo(project: Project, paint: Paint) -> Path:
    return paint(project.images_dir / "photos" / "图 1.png", 900, 600, seed=4)


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def kept(project: Project) -> list[str]:
    return sorted(path.name for path in project.thumbs_dir.glob("*.jpg"))


def test_a_small_picture_is_made_once_and_kept_by_content(project: Project, photo: Path) -> None:
    thumbs = Thumbs(project.root)
    first = thumbs.picture(photo)
    assert (opened(first).format, opened(first).size) == ("JPEG", (256, 171))
    assert kept(project) == [sha256_of(photo)[:32] + ".jpg"]
    (project.thumbs_dir / kept(project)[0]).write_bytes(b"what is kept")
    assert thumbs.picture(photo) == b"what is kept"
    (project.thumbs_dir / kept(project)[0]).write_bytes(first)
    thumbs.save()
    renamed = photo.rename(photo.with_name("other.png"))
    again = Thumbs(project.root)
    assert again.picture(renamed) == first
    assert len(kept(project)) == 1
    assert again.picture(renamed) == first
    assert again.look(renamed).width == 900


def test_it_looks_like_the_photo(project: Project, photo: Path) -> None:
    small = np.asarray(opened(Thumbs(project.root).picture(photo)).convert("RGB"), dtype=float)
    right = np.asarray(read_image(photo).resize((256, 171), Image.Resampling.BICUBIC), dtype=float)
    assert np.abs(small - right).mean() < 3


@pytest.mark.parametrize("size", [(100, 40), (256, 256), (257, 3), (3000, 1), (1, 1)])
def test_it_is_at_most_256_px_and_never_enlarged(project: Project, paint: Paint, size: tuple[int, int]) -> None:
    path = paint(project.images_dir / "photos" / "a.png", *size)
    scale = min(1.0, 256 / max(size))
    assert opened(Thumbs(project.root).picture(path)).size == tuple(max(1, round(side * scale)) for side in size)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_turned_photos_stand_upright(project: Project, suffix: str, orientation: int) -> None:
    path = project.images_dir / "photos" / f"turned{suffix}"
    image = Image.new("RGB", (800, 400), (0, 0, 200))
    image.paste((200, 0, 0), (0, 0, 400, 400))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)
    thumbs = Thumbs(project.root)
    small, right = opened(thumbs.picture(path)).convert("RGB"), read_image(path)
    assert thumbs.look(path).width == right.width
    assert thumbs.size(path) == right.size
    assert small.size == (256, 128) if orientation < 5 else (128, 256)
    corner = small.getpixel((5, 5)), right.getpixel((5, 5))
    assert max(abs(a - b) for a, b in zip(*corner, strict=True)) < 12
    if suffix == ".jpg":
        assert Thumbs(project.root).measure(path).width == right.width


def test_the_index_spares_opening_and_moves_with_the_project(project: Project, photo: Path, folder: Path) -> None:
    thumbs = Thumbs(project.root)
    assert thumbs.look(photo).width == 0
    measured = thumbs.measure(photo)
    assert (measured.width, measured.height, measured.sha256) == (900, 600, "")
    thumbs.picture(photo)
    thumbs.save()
    plain = json.loads((project.thumbs_dir / "index.json").read_text("utf-8"))
    assert list(plain["photos"]) == ["images/photos/图 1.png"]
    project.root.rename(folder / "moved")
    again = Thumbs(folder / "moved").look(folder / "moved" / "images" / "photos" / "图 1.png")
    assert (again.width, again.height, len(again.sha256)) == (900, 600, 64)


def test_a_changed_photo_has_another_stamp_and_another_picture(project: Project, photo: Path, paint: Paint) -> None:
    thumbs = Thumbs(project.root)
    first, stamp = thumbs.picture(photo), thumbs.look(photo).stamp
    paint(photo, 300, 900, seed=5)
    assert thumbs.look(photo).stamp != stamp
    assert thumbs.look(photo).width == 0
    assert opened(thumbs.picture(photo)).size == (85, 256)
    assert thumbs.picture(photo) != first


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"version": 1, "photos": {"a": 3}}', b'{"version": 9}', b"\xff"])
def test_a_damaged_index_is_made_anew(project: Project, photo: Path, content: bytes) -> None:
    project.thumbs_dir.mkdir()
    (project.thumbs_dir / "index.json").write_bytes(content)
    thumbs = Thumbs(project.root)
    assert opened(thumbs.picture(photo)).size == (256, 171)
    thumbs.save()
    assert Thumbs(project.root).look(photo).width == 900


def test_a_broken_file_is_a_sentence_and_tried_again_by_the_next_start(project: Project, paint: Paint) -> None:
    path = project.images_dir / "photos" / "坏.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n....")
    thumbs = Thumbs(project.root)
    with pytest.raises(UnreadableImageError):
        thumbs.picture(path)
    assert thumbs.look(path).problem is not None
    assert "damaged" in thumbs.look(path).problem.text()
    thumbs.save()
    assert Thumbs(project.root).look(path).problem is None
    paint(path)
    assert thumbs.look(path).problem is None
    assert opened(thumbs.picture(path)).size == (96, 80)


def test_a_file_cut_off_behind_its_head_is_measured_but_not_shown(project: Project, photo: Path) -> None:
    photo.write_bytes(photo.read_bytes()[:2000])
    thumbs = Thumbs(project.root)
    assert thumbs.measure(photo).width == 900
    with pytest.raises(UnreadableImageError, match="cut off"):
        thumbs.picture(photo)
    assert thumbs.look(photo).problem is not None


def test_a_photo_deleted_underneath_is_a_sentence(project: Project, photo: Path) -> None:
    thumbs = Thumbs(project.root)
    thumbs.picture(photo)
    photo.unlink()
    with pytest.raises(UnreadableImageError, match="it is not there"):
        thumbs.picture(photo)
    with pytest.raises(OSError, match="No such file"):
        thumbs.look(photo)


def test_a_picture_thrown_away_is_made_again(project: Project, photo: Path) -> None:
    thumbs = Thumbs(project.root)
    first = thumbs.picture(photo)
    for path in project.thumbs_dir.glob("*.jpg"):
        path.unlink()
    assert thumbs.picture(photo) == first
    assert len(kept(project)) == 1


def test_a_full_disk_shows_the_picture_all_the_same(
    project: Project, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    thumbs = Thumbs(project.root)
    assert opened(thumbs.picture(photo)).size == (256, 171)
    thumbs.save()
    assert list(project.thumbs_dir.iterdir()) == []
    assert thumbs.look(photo).width == 900


def test_a_project_that_may_only_be_read_is_shown(project: Project, photo: Path) -> None:
    """A file where the folder should be: as unwritable for root, who runs tests in containers, as for anybody."""
    project.thumbs_dir.write_bytes(b"")
    thumbs = Thumbs(project.root)
    assert opened(thumbs.picture(photo)).size == (256, 171)
    thumbs.save()
    assert project.thumbs_dir.read_bytes() == b""


def test_many_threads_at_once(project: Project, paint: Paint) -> None:
    paths = [paint(project.images_dir / "photos" / f"{n}.jpg", 400, 300, seed=n % 7) for n in range(21)]
    thumbs, gate = Thumbs(project.root), threading.Barrier(8)

    def ask(number: int) -> list[bytes]:
        gate.wait()
        turned = paths[number % 21 :] + paths[: number % 21]
        made = {path: thumbs.picture(path) for path in turned}
        thumbs.save()
        return [made[path] for path in paths]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert all(answer == answers[0] for answer in answers)
    assert len(kept(project)) == 7  # twins share one
    assert all(Thumbs(project.root).look(path).width == 400 for path in paths)
    assert not list(project.thumbs_dir.glob(".*"))


def test_what_is_measured_behind_is_there_in_the_end(project: Project, paint: Paint) -> None:
    paths = [paint(project.images_dir / "photos" / f"{n}.png", 40 + n, 30) for n in range(9)]
    (project.images_dir / "photos" / "x.png").write_bytes(b"nothing")
    thumbs = thumbs_of(project.root)
    thumbs.measure_behind([*paths, project.images_dir / "photos" / "x.png", project.images_dir / "photos" / "gone.png"])
    index = project.thumbs_dir / "index.json"
    ends = time.monotonic() + 60
    while not index.exists() and time.monotonic() < ends:
        time.sleep(0.01)
    assert [thumbs.look(path).width for path in paths] == [40 + n for n in range(9)]
    assert thumbs.look(project.images_dir / "photos" / "x.png").problem is not None
    assert thumbs_of(project.root) is thumbs
