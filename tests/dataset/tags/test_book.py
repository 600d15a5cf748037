"""The book: edits, undo and redo across restarts, pages and programs that write at the same time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lora_forge.dataset.project import Group, Project
from lora_forge.dataset.tags import ConflictError, TagBook, TagError, book_of
from lora_forge.dataset.trash import put_back, take_out
from tests.dataset.tags.conftest import Make, put

ABC = {"photos/a.png": "ohwx, red hair, smile\n", "photos/b.jpg": "ohwx, park\n", "photos/c.webp": None}
ADD = {"kind": "add", "tags": ["hat"]}


def text(project: Project, name: str) -> str:
    return (project.images_dir / "photos" / name).read_bytes().decode("utf-8")


def tags(book: TagBook) -> dict[str, tuple[str, ...]]:
    return {key: photo.tags for key, photo in book.captions().items()}


def test_captions_are_read_with_their_tokens_and_texts(make: Make) -> None:
    project = make({**ABC, "photos/d.png": "One.\nTwo lines", "photos/.hidden.png": "x", "loose.png": "l"})
    got = TagBook(project).captions()
    assert list(got) == ["loose.png", "photos/a.png", "photos/b.jpg", "photos/c.webp", "photos/d.png"]
    assert got["photos/a.png"].tags == ("ohwx", "red hair", "smile")
    assert (got["photos/a.png"].tokens, got["photos/a.png"].text) == (6, None)
    assert (got["photos/c.webp"].tags, got["photos/c.webp"].tokens) == (
        (),
        1,
    )  # the trigger word is trained all the same
    assert got["photos/d.png"].text == "One.\nTwo lines"


def test_prior_pictures_have_no_trigger_word(make: Make) -> None:
    project = make({"others/a.png": "woman", "photos/b.png": "x"})
    project.set_group(Group("others", None, is_prior=True))
    book = TagBook(project)
    assert book.captions()["others/a.png"].tokens == 1
    book.apply({"kind": "trigger"})
    assert tags(book) == {"others/a.png": ("woman",), "photos/b.png": ("ohwx", "x")}


def test_an_edit_is_on_the_disk_and_is_one_step_of_undo(make: Make) -> None:
    project = make(ABC)
    book = TagBook(project)
    done = book.apply(ADD)
    assert {key: photo.tags[-1] for key, photo in done.changed.items()} == dict.fromkeys(ABC, "hat")
    assert (done.label, done.undo, done.redo) == (("Add {tags}", {"tags": "hat"}), done.label, ("", {}))
    assert (text(project, "a.txt"), text(project, "c.txt")) == ("ohwx, red hair, smile, hat\n", "hat\n")
    back = book.undo()
    assert (text(project, "a.txt"), back.undo, back.redo) == (ABC["photos/a.png"], ("", {}), done.label)
    assert not (project.images_dir / "photos" / "c.txt").exists()
    assert back.changed["photos/c.webp"].tags == ()
    book.redo()
    assert text(project, "c.txt") == "hat\n"
    with pytest.raises(TagError, match="nothing to redo"):
        book.redo()


def test_what_an_edit_leaves_alone_is_not_written(make: Make) -> None:
    project = make({"photos/a.png": "a ,red hair\r\nnotes", "photos/b.png": b"\xef\xbb\xbfsmile"})
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in project.images_dir.rglob("*.txt")}
    done = TagBook(project).apply({"kind": "remove", "tags": ["hat"]})
    assert (dict(done.changed), done.undo) == ({}, ("", {}))
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before


def test_undo_and_redo_work_across_a_restart(make: Make) -> None:
    project = make(ABC)
    TagBook(project).apply(ADD)
    TagBook(project).apply({"kind": "sort", "reverse": True}, ["photos/a.png"])
    TagBook(project).undo()
    book = TagBook(Project.load(project.root))
    assert tags(book)["photos/a.png"] == ("ohwx", "red hair", "smile", "hat")
    book.undo()
    assert text(project, "a.txt") == ABC["photos/a.png"]
    again = TagBook(project)
    again.redo()
    again.redo()
    assert tags(again)["photos/a.png"] == ("ohwx", "smile", "red hair", "hat")
    again.undo()
    again.apply({"kind": "add", "tags": ["new"]})
    with pytest.raises(TagError, match="nothing to redo"):
        TagBook(project).redo()


def test_undo_gives_back_every_step_to_the_byte(make: Make) -> None:
    originals = {"photos/a.png": "ohwx,a ,, b\r\n\r\nsecond", "photos/b.png": "x", "photos/c.png": None}
    project = make(originals)
    for operation in (
        ADD,
        {"kind": "clean"},
        {"kind": "replace", "find": "a", "to": "b", "mode": "text"},
        {"kind": "sort"},
    ):
        TagBook(project).apply(operation)
    book = TagBook(project)
    while book.changes(0).undo[0]:
        book.undo()
    assert (text(project, "a.txt"), text(project, "b.txt")) == (originals["photos/a.png"], "x")
    assert not (project.images_dir / "photos" / "c.txt").exists()


def test_two_pages_do_not_overwrite_each_other(make: Make) -> None:
    book = TagBook(make(ABC))
    base = book.changes(0).revision
    mine = book.apply(ADD, ["photos/a.png"], base, "me")
    with pytest.raises(ConflictError) as caught:
        book.apply({"kind": "add", "tags": ["cat"]}, None, base, "you")
    assert {key: photo.tags for key, photo in caught.value.change.changed.items()} == {
        "photos/a.png": ("ohwx", "red hair", "smile", "hat")
    }
    assert "a.png changed meanwhile" in str(caught.value)
    assert tags(book)["photos/b.jpg"] == ("ohwx", "park")
    book.apply({"kind": "add", "tags": ["cat"]}, ["photos/b.jpg"], base, "you")  # another photo is no conflict
    book.apply({"kind": "add", "tags": ["x"]}, ["photos/a.png"], base, "me")  # nor is what I did myself
    seen = book.changes(mine.revision)
    assert sorted(seen.changed) == ["photos/a.png", "photos/b.jpg"]
    with pytest.raises(ConflictError):
        book.undo(base, "you")
    assert book.undo(seen.revision, "you").changed["photos/a.png"].tags[-1] == "hat"


def test_a_page_from_before_a_restart_is_behind_not_ahead(make: Make) -> None:
    project = make(ABC)
    book = TagBook(project)
    base = book.apply(ADD, None, None, "me").revision
    again = TagBook(project)
    assert again.changes(base).revision >= base - 1
    assert sorted(again.changes(base + 10**9).changed) == sorted(ABC)


def test_a_program_on_the_disk_is_seen_and_not_overwritten(make: Make) -> None:
    project = make(ABC)
    book = TagBook(project)
    base = book.changes(0).revision
    (project.images_dir / "photos" / "a.txt").write_text("ohwx, theirs", encoding="utf-8")
    seen = book.changes(base)
    assert {key: photo.tags for key, photo in seen.changed.items()} == {"photos/a.png": ("ohwx", "theirs")}
    with pytest.raises(ConflictError):
        book.apply(ADD, None, base, "me")
    assert text(project, "a.txt") == "ohwx, theirs"
    os.utime(project.images_dir / "photos" / "b.txt", (1, 1))  # touched is not changed
    assert book.apply(ADD, None, seen.revision, "me").changed.keys() == ABC.keys()
    put(project, {"photos/new.png": "fresh"})
    (project.images_dir / "photos" / "b.jpg").unlink()
    later = book.changes(seen.revision)
    assert (later.changed["photos/new.png"].tags, later.gone) == (("fresh",), ("photos/b.jpg",))


def test_undo_refuses_what_was_changed_since_or_takes_back_the_rest(make: Make) -> None:
    project = make(ABC)
    book = TagBook(project)
    book.apply(ADD)
    (project.images_dir / "photos" / "a.txt").write_text("theirs", encoding="utf-8")
    with pytest.raises(TagError, match=r"1 captions were changed since .* first a\.txt"):
        book.undo()
    assert text(project, "b.txt") == "ohwx, park, hat\n"
    back = book.undo(is_partly=True)
    assert (text(project, "a.txt"), text(project, "b.txt")) == ("theirs", "ohwx, park\n")
    assert back.left_out == (("{names}: the caption was changed since and left as it is.", {"names": "a"}),)
    assert book.changes(0).undo == ("", {})


def test_a_photo_in_the_trash_is_left_out_of_undo(make: Make) -> None:
    project = make(ABC)
    book = TagBook(project)
    book.apply(ADD)
    entry = take_out(project, project.images_dir / "photos" / "a.png")
    back = book.undo()
    assert back.left_out == (
        ("{names}: the photo is not there any more; its caption was left as it is.", {"names": "a"}),
    )
    assert text(project, "b.txt") == "ohwx, park\n"
    put_back(project, entry)
    assert tags(book)["photos/a.png"][-1] == "hat"
    book.redo()
    assert [shown[-1] for shown in tags(book).values()] == ["hat", "hat", "hat"]
    book.undo()
    assert tags(book)["photos/a.png"] == ("ohwx", "red hair", "smile")


def test_a_photo_that_is_gone_is_a_conflict_for_a_page_and_an_error_for_a_command(make: Make) -> None:
    project = make(ABC)
    book = TagBook(project)
    base = book.changes(0).revision
    (project.images_dir / "photos" / "a.png").unlink()
    with pytest.raises(ConflictError) as caught:
        book.apply(ADD, ["photos/a.png", "photos/b.jpg"], base)
    assert caught.value.change.gone == ("photos/a.png",)
    with pytest.raises(TagError, match=r"no photo a\.png here"):
        book.apply(ADD, ["photos/a.png"])
    assert text(project, "b.txt") == "ohwx, park\n"


def test_a_caption_deleted_underneath_is_written_anew(make: Make) -> None:
    project = make(ABC)
    book = TagBook(project)
    book.captions()
    (project.images_dir / "photos" / "a.txt").unlink()
    assert book.captions()["photos/a.png"].tags == ()
    book.apply(ADD, ["photos/a.png"])
    assert text(project, "a.txt") == "hat\n"


def test_gbk_is_read_right_written_utf8_and_undone_to_its_text(make: Make) -> None:
    project = make({"photos/a.png": "粉色衬衫, 微笑".encode("gbk"), "photos/b.png": "猫耳, long hair".encode("utf-16")})
    book = TagBook(project)
    assert tags(book) == {"photos/a.png": ("粉色衬衫", "微笑"), "photos/b.png": ("猫耳", "long hair")}
    book.apply(ADD)
    assert text(project, "a.txt") == "粉色衬衫, 微笑, hat\n"
    book.undo()
    assert (text(project, "a.txt"), text(project, "b.txt")) == ("粉色衬衫, 微笑", "猫耳, long hair")


def test_two_photos_of_one_stem_share_a_caption_and_say_so(make: Make) -> None:
    project = make({"photos/a.png": "x", "photos/a.jpg": "x"})
    book = TagBook(project)
    assert sorted(book.apply(ADD, ["photos/a.jpg"]).changed) == ["photos/a.jpg", "photos/a.png"]
    assert text(project, "a.txt") == "x, hat\n"
    assert [key for key, _ in book.problems()] == ["photos/a.jpg", "photos/a.png"]
    assert book.problems()[0][1][1] == {"names": "a.jpg, a.png"}
    book.undo()
    assert text(project, "a.txt") == "x"


def test_a_caption_file_stays_and_the_text_goes_beside_it(make: Make) -> None:
    project = make({"photos/a.png": None})
    other = project.images_dir / "photos" / "a.caption"
    other.write_text("old, way", encoding="utf-8")
    book = TagBook(project)
    assert tags(book) == {"photos/a.png": ("old", "way")}
    book.apply(ADD)
    assert (text(project, "a.txt"), other.read_text(encoding="utf-8")) == ("old, way, hat\n", "old, way")
    assert tags(TagBook(project))["photos/a.png"][-1] == "hat"
    assert book.undo().changed["photos/a.png"].tags == ("old", "way")
    assert not (project.images_dir / "photos" / "a.txt").exists()


def test_an_unreadable_caption_is_named_and_left_out(make: Make) -> None:
    project = make({**ABC, "photos/big.png": b"x" * (1 << 20) + b"y"})
    book = TagBook(project)
    book.captions()
    assert [key for key, _ in book.problems()] == ["photos/big.png"]
    done = book.apply(ADD)
    assert sorted(done.changed) == sorted(ABC)
    assert done.left_out[0][0].startswith("{path} is more than 1 MB")
    assert (project.images_dir / "photos" / "big.txt").stat().st_size == (1 << 20) + 1


@pytest.mark.parametrize("damage", [b'{"id": 9, "kind": "ed', b"\x00\xff\x00 not a line\n", b'{"id":"x"}\n[1]\nnull\n'])
def test_a_journal_damaged_at_its_end_keeps_what_is_before_it(make: Make, damage: bytes) -> None:
    project = make(ABC)
    TagBook(project).apply(ADD)
    path = project.root / "tags" / "journal.jsonl"
    path.write_bytes(path.read_bytes() + damage)
    book = TagBook(project)
    assert book.changes(0).undo == ("Add {tags}", {"tags": "hat"})
    book.apply({"kind": "add", "tags": ["b"]})
    again = TagBook(project)
    again.undo()
    again.undo()
    assert text(project, "a.txt") == ABC["photos/a.png"]
    if not damage.endswith(b"\n"):
        assert damage in (project.root / "tags" / "journal.damaged").read_bytes()


@pytest.mark.parametrize("written", [0, 1, 3])
def test_an_edit_cut_off_by_a_crash_is_settled_by_what_it_wrote(make: Make, written: int) -> None:
    project = make(ABC)
    TagBook(project).apply(ADD)
    journal = project.root / "tags" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0])  # begun, never said to be done
    for name, old in [("b.txt", "ohwx, park\n"), ("a.txt", "ohwx, red hair, smile\n"), ("c.txt", None)][written:]:
        place = project.images_dir / "photos" / name
        place.unlink() if old is None else place.write_text(old, encoding="utf-8")
    left = project.images_dir / "photos" / ".a.txt.tags.tmp"
    left.write_text("half", encoding="utf-8")
    book = TagBook(project)
    if written:
        book.undo()
    else:
        with pytest.raises(TagError, match="nothing to undo"):
            book.undo()
    assert tags(book) == {
        "photos/a.png": ("ohwx", "red hair", "smile"),
        "photos/b.jpg": ("ohwx", "park"),
        "photos/c.webp": (),
    }
    assert not left.exists()


def test_a_large_edit_is_packed_in_the_journal_and_undone(make: Make) -> None:
    project = make({f"photos/{number:03d}.png": f"ohwx, tag {number}, 微笑" for number in range(200)})
    TagBook(project).apply(ADD)
    line = json.loads((project.root / "tags" / "journal.jsonl").read_bytes().splitlines()[0])
    assert isinstance(line["files"], str)
    TagBook(project).undo()
    assert text(project, "199.txt") == "ohwx, tag 199, 微笑"


def test_a_journal_that_grew_too_long_loses_its_oldest_edits_only(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lora_forge.dataset.tags.journal._MOST_BYTES", 2000)
    monkeypatch.setattr("lora_forge.dataset.tags.journal._KEPT_BYTES", 1000)
    project = make({"photos/a.png": "x"})
    book = TagBook(project)
    for number in range(30):
        book.apply({"kind": "add", "tags": [f"t{number}"]})
    assert (project.root / "tags" / "journal.jsonl").stat().st_size < 2500
    again = TagBook(project)
    for _ in range(3):
        again.undo()
    assert tags(again)["photos/a.png"][-1] == "t26"


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from lora_forge.dataset.project import Project
from lora_forge.dataset.tags import TagBook, TagError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
book = TagBook(Project.load(Path(sys.argv[1])))
book.captions()
resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, resource.RLIM_INFINITY))  # as a disk that is full from here on
try:
    book.apply({"kind": "add", "tags": ["hat"]}, ["photos/a.png", "photos/b.png", "photos/long.png"])
except TagError as problem:
    print(problem)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
@pytest.mark.parametrize(
    ("limit", "says"), [(2800, "captions can't be written"), (90, "journal of edits can't be written")]
)
def test_a_full_disk_in_the_middle_of_a_bulk_edit_changes_nothing(make: Make, limit: int, says: str) -> None:
    captions = {"photos/a.png": "a\n", "photos/b.png": "b\n", "photos/long.png": ", ".join(["word"] * 500) + "\n"}
    project = make(captions)
    command = [sys.executable, "-c", FULL_DISK.replace("ROOM", str(limit)), str(project.root)]
    got = subprocess.run(command, capture_output=True, text=True, check=True)
    assert says in got.stdout, got
    assert "Nothing was changed" in got.stdout
    assert {key: text(project, Path(key).stem + ".txt") for key in captions} == captions
    assert not list(project.images_dir.rglob("*.tmp"))
    book = TagBook(project)
    with pytest.raises(TagError, match="nothing to undo"):
        book.undo()
    book.apply(ADD)
    assert tags(book)["photos/a.png"] == ("a", "hat")


class _Nobody:
    """A user whom folder permissions hold for, where the tests run as root."""

    def __enter__(self) -> None:
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            os.seteuid(65534)

    def __exit__(self, *_: object) -> None:
        if hasattr(os, "geteuid") and os.getuid() == 0:
            os.seteuid(0)


def _open_to_all(root: Path) -> None:
    for folder in [*root.parents[:2], root, *(path for path in root.rglob("*") if path.is_dir())]:
        folder.chmod(0o777)
    for file in root.rglob("*"):
        if file.is_file():
            file.chmod(0o666)


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no such permissions there")
def test_a_read_only_folder_among_others_changes_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("shared") / "anna"
    project = Project.create(root, "ohwx")
    put(project, {"photos/a.png": "a\n", "zz/b.png": "b\n"})
    for parent in root.parents[:4]:
        parent.chmod(0o777) if parent != Path(parent.anchor) and parent != Path("/tmp") else None
    _open_to_all(root)
    (project.images_dir / "zz").chmod(0o555)
    try:
        with _Nobody():
            with pytest.raises(TagError, match="Nothing was changed"):
                TagBook(project).apply(ADD)
            assert (project.images_dir / "photos" / "a.txt").read_text() == "a\n"
            assert not list(project.images_dir.rglob("*.tmp"))
            with pytest.raises(TagError, match="nothing to undo"):
                TagBook(project).undo()
            TagBook(project).apply(ADD, ["photos/a.png"])
        root.joinpath("tags").chmod(0o555)
        root.joinpath("tags", "journal.jsonl").chmod(0o444)
        with _Nobody(), pytest.raises(TagError, match="journal of edits can't be written"):
            TagBook(project).apply({"kind": "add", "tags": ["x"]}, ["photos/a.png"])
        assert (project.images_dir / "photos" / "a.txt").read_text() == "a, hat\n"
    finally:
        (project.images_dir / "zz").chmod(0o777)


def test_many_threads_and_two_books_lose_no_edit(make: Make) -> None:
    project = make({"photos/a.png": "x", "photos/b.png": "y"})
    books = [TagBook(project), TagBook(project)]

    def work(number: int) -> None:
        for turn in range(5):
            books[number % 2].apply({"kind": "add", "tags": [f"t{number}-{turn}"]})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {f"t{number}-{turn}" for number in range(4) for turn in range(5)}
    for shown in tags(TagBook(project)).values():
        assert set(shown[1:]) == expected
    book = TagBook(project)
    for _ in range(20):
        book.undo()
    assert tags(book) == {"photos/a.png": ("x",), "photos/b.png": ("y",)}


def test_there_is_one_book_a_project(make: Make) -> None:
    project = make(ABC)
    book = book_of(project)
    project.set_trigger_word("sks")
    assert book_of(Project.load(project.root)) is book
    assert book.trigger_word == "sks"


def test_whole_captions_and_another_file_are_one_step(make: Make) -> None:
    project = make(ABC)
    book = TagBook(project)
    done = book.write({"photos/a.png": ["x"], "photos/c.webp": "A sentence."}, ("Traits", {}), others={"t.json": "{}"})
    assert done.changed["photos/a.png"].tags == ("ohwx", "x")
    assert (project.root / "t.json").read_text() == "{}"
    book.undo()
    assert not (project.root / "t.json").exists()
    assert tags(book) == {
        "photos/a.png": ("ohwx", "red hair", "smile"),
        "photos/b.jpg": ("ohwx", "park"),
        "photos/c.webp": (),
    }


MANY = {f"photos/{number:03d}.png": f"ohwx, tag {number}, long hair\n" for number in range(100)}


def test_a_large_edit_in_place_gives_the_same_files(make: Make) -> None:
    project = make({**MANY, "photos/gbk.png": "粉色衬衫".encode("gbk"), "photos/none.png": None})
    folder = project.images_dir / "photos"
    os.link(folder / "000.txt", project.root / "backup.txt")
    inode = (folder / "001.txt").stat().st_ino
    book = TagBook(project)
    book.apply({"kind": "remove", "tags": ["long hair"]})
    book.apply(ADD)
    assert text(project, "007.txt") == "ohwx, tag 7, hat\n"
    assert (text(project, "gbk.txt"), text(project, "none.txt")) == ("粉色衬衫, hat\n", "hat\n")
    assert (project.root / "backup.txt").read_text() == MANY["photos/000.png"]  # a hard-linked copy is not ours
    assert (folder / "001.txt").stat().st_ino == inode
    book.undo()
    book.undo()
    assert {key: text(project, key[7:10] + ".txt") for key in MANY} == MANY
    assert tags(TagBook(project)) == tags(book)


def test_a_file_cut_off_between_writing_and_shortening_is_mended(make: Make) -> None:
    project = make(MANY)
    TagBook(project).apply({"kind": "remove", "tags": ["long hair"]})
    journal = project.root / "tags" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().splitlines(keepends=True)[0])
    for key, old in MANY.items():
        place = (project.images_dir / key).with_suffix(".txt")
        number = int(key[7:10])
        new = f"ohwx, tag {number}\n"
        torn = new + old[len(new) :]
        place.write_text(new if number < 50 else torn if number == 50 else old, encoding="utf-8")
    book = TagBook(project)
    book.undo()
    assert {key: text(project, key[7:10] + ".txt") for key in MANY} == MANY


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
def test_a_large_edit_that_fails_halfway_is_taken_back(make: Make) -> None:
    """Sixty captions are overwritten and one is half written when the room is gone."""
    long = ", ".join(["word"] * 466) + "\n"
    project = make({**MANY, "photos/060.png": long})
    command = FULL_DISK.replace("ROOM", str(len(long) + 2)).replace(
        '["photos/a.png", "photos/b.png", "photos/long.png"]', "None"
    )
    got = subprocess.run([sys.executable, "-c", command, str(project.root)], capture_output=True, text=True, check=True)
    assert "captions can't be written" in got.stdout, got
    assert "Nothing was changed" in got.stdout
    assert {key: text(project, key[7:10] + ".txt") for key in MANY} == {**MANY, "photos/060.png": long}
    book = TagBook(project)
    assert book.changes(0).undo == ("", {})
    book.apply(ADD)
    assert text(project, "099.txt") == "ohwx, tag 99, long hair, hat\n"


@pytest.mark.parametrize("photos", [10, 100])
def test_a_program_that_writes_this_moment_wins(make: Make, photos: int) -> None:
    captions = dict([*MANY.items()][:photos])
    project = make(captions)
    book = TagBook(project)
    place = project.images_dir / "photos" / "006.txt"

    def rank(tag: str) -> tuple[int, int]:  # asked for between looking at the disk and writing to it
        place.write_text("theirs", encoding="utf-8")
        return (0, -len(tag))

    with pytest.raises(TagError, match=r"006\.txt was changed by another program"):
        book.apply({"kind": "sort", "by": "dictionary"}, rank=rank)
    assert text(project, "006.txt") == "theirs"
    assert {key: text(project, key[7:10] + ".txt") for key in captions} == {**captions, "photos/006.png": "theirs"}


def test_a_project_put_back_from_a_backup_has_the_backups_undo(make: Make) -> None:
    import shutil

    project = make(ABC)
    book = book_of(project)
    book.apply({"kind": "add", "tags": ["one"]})
    backup = project.root.parent / "backup"
    shutil.copytree(project.root, backup)
    book.undo()
    book.apply({"kind": "add", "tags": ["two"]})
    shutil.rmtree(project.root)
    shutil.copytree(backup, project.root)
    assert book.changes(0).undo == ("Add {tags}", {"tags": "one"})
    assert book.captions()["photos/b.jpg"].tags == ("ohwx", "park", "one")
    book.undo()
    assert text(project, "a.txt") == ABC["photos/a.png"]
