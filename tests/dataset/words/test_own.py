"""The user's own words: over the bundled ones, safe from hand-made damage, whole on the disk."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from lora_forge.dataset.words import Category, Words
from lora_forge.dataset.words.own import MAX_BYTES
from lora_forge.errors import DatasetError


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return tmp_path / "words.tsv"


def test_no_file_is_no_own_words(own: Path) -> None:
    words = Words.load(own)
    assert (words.skipped, words.zh("jacket"), own.exists()) == (0, "夹克", False)


def test_an_added_word_is_there_at_once_and_after_a_restart(own: Path) -> None:
    words = Words.load(own)
    word = words.add("Zzyzx dress", "小紫裙；紫紫裙")
    assert word is not None
    assert (word.zh, word.names, word.category) == ("小紫裙", ("小紫裙", "紫紫裙"), Category.CLOTHING)
    for one in (words, Words.load(own)):
        assert one.zh("zzyzx_dress") == "小紫裙"
        assert one.tags_for_zh("紫紫裙") == ("Zzyzx dress",)
        assert [found.tag for found in one.find("zzyz")] == ["Zzyzx dress"]
    assert own.read_text(encoding="utf-8") == "Zzyzx dress\t小紫裙;紫紫裙\n"


def test_an_own_word_comes_before_the_bundled_ones_and_keeps_their_names(own: Path) -> None:
    words = Words.load(own)
    words.add("jacket", "外衣")
    assert words.zh("jacket") == "外衣"
    assert words.category("jacket") is Category.CLOTHING
    assert words.tags_for_zh("夹克") == ("jacket",)
    assert words.find("ja")[0].tag == "jacket"
    assert words.find("ja")[0].rank == -1


def test_an_empty_chinese_takes_an_own_word_back(own: Path) -> None:
    words = Words.load(own)
    words.add("jacket", "外衣")
    words.add("zzyzx", "紫")
    assert words.add("jacket", "") is not None
    assert words.add("zzyzx", " ; ") is None
    assert (words.zh("jacket"), words.zh("zzyzx")) == ("夹克", "")
    assert own.read_text(encoding="utf-8") == ""
    assert words.add("jacket", "外衣") is not None
    assert own.read_text(encoding="utf-8") == "jacket\t外衣\n"


def test_a_category_can_be_given(own: Path) -> None:
    Words.load(own).add("zzyzx", "紫紫", Category.ANIMAL)
    assert Words.load(own).category("zzyzx") is Category.ANIMAL
    assert own.read_text(encoding="utf-8") == "zzyzx\tanimal\t紫紫\n"


def test_damaged_lines_are_counted_and_kept_when_the_file_is_written(own: Path) -> None:
    damaged = ["no tab here", "\t只有中文", "tag\tno such category\t中文", "a\tb\tc\td", "tag\t", "nul\0\t空"]
    remarks = ["# a remark", "", "   "]
    good = ["zzyzx\t紫紫", "yyy\tanimal\t歪歪", "xxx\t\t叉叉"]
    own.write_text("\n".join(damaged + remarks + good), encoding="utf-8")
    words = Words.load(own)
    assert words.skipped == len(damaged)
    assert [words.zh(tag) for tag in ("zzyzx", "yyy", "xxx")] == ["紫紫", "歪歪", "叉叉"]
    words.add("zzyzx", "紫")
    lines = own.read_text(encoding="utf-8").split("\n")
    assert lines == [*damaged, *remarks, "zzyzx\t紫", *good[1:], ""]
    assert [path.name for path in own.parent.iterdir()] == ["words.tsv"]


def test_doubles_become_one_line_and_the_last_counts(own: Path) -> None:
    own.write_text("zzyzx\t一\nother tag\t别的\nZZYZX\t二\n", encoding="utf-8")
    words = Words.load(own)
    assert words.zh("zzyzx") == "二"
    words.add("zzyzx", "三")
    assert own.read_text(encoding="utf-8") == "zzyzx\t三\nother tag\t别的\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_editors_encodings_and_line_ends(own: Path, encoding: str, end: str) -> None:
    own.write_bytes(f"zzyzx\t紫色的词语{end}jacket\t外衣{end}".encode(encoding))
    words = Words.load(own)
    assert (words.skipped, words.zh("zzyzx"), words.zh("jacket")) == (0, "紫色的词语", "外衣")


def test_a_file_of_another_encoding_is_kept_beside_the_new_one(own: Path) -> None:
    old = "zzyzx\t紫色的词语\n".encode("gb18030")
    own.write_bytes(old)
    words = Words.load(own)
    words.add("other tag", "别的")
    words.add("third tag", "第三")
    assert own.read_text(encoding="utf-8") == "zzyzx\t紫色的词语\nother tag\t别的\nthird tag\t第三\n"
    assert (own.parent / "words.tsv.bak").read_bytes() == old


def test_what_another_program_added_meanwhile_stays(own: Path) -> None:
    words = Words.load(own)
    own.write_text("other tag\t别的\n", encoding="utf-8")
    words.add("zzyzx", "紫")
    assert words.zh("other tag") == "别的"
    assert own.read_text(encoding="utf-8") == "other tag\t别的\nzzyzx\t紫\n"


def test_tabs_and_line_ends_in_what_is_typed_break_no_line(own: Path) -> None:
    words = Words.load(own)
    words.add("two\twords\n", "两个\t词\n语")
    assert own.read_text(encoding="utf-8") == "two words\t两个 词 语\n"


def test_many_threads_lose_no_word(own: Path) -> None:
    words = Words.load(own)
    threads = [threading.Thread(target=words.add, args=(f"zz{n}", f"词{n}")) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [Words.load(own).zh(f"zz{n}") for n in range(8)] == [f"词{n}" for n in range(8)]


def test_without_a_file_or_a_tag_nothing_can_be_added(own: Path) -> None:
    with pytest.raises(DatasetError, match="can't be added"):
        Words.load().add("jacket", "外衣")
    with pytest.raises(DatasetError, match="can't be added"):
        Words.load(own).add(" _ ", "外衣")
    assert not own.exists()


def test_a_folder_in_its_place_is_said_and_so_is_a_file_too_large(own: Path) -> None:
    own.mkdir()
    with pytest.raises(DatasetError, match="can't be read"):
        Words.load(own)
    own.rmdir()
    with own.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(DatasetError, match="too large"):
        Words.load(own)


def test_a_folder_that_cannot_be_written_is_said_and_nothing_is_lost(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    words = Words.load(None)
    words.own = tmp_path / "file" / "words.tsv"  # the folder is a file: it can't be made, whoever asks
    with pytest.raises(DatasetError, match=r"can't be (written|read)"):
        words.add("zzyzx", "紫")
    assert words.zh("zzyzx") == ""
    assert os.listdir(tmp_path) == ["file"]
