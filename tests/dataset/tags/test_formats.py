"""Other programs' files, in the encodings people have."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from lora_forge.dataset.tags import TagBook, TagError
from lora_forge.dataset.tags.formats import export, read, take_in
from tests.dataset.tags.conftest import Make

CAPTIONS = {
    "a/x.png": "ohwx, 微笑, b",
    "b/x.png": 'one, "two"',
    "b/y.jpg": "A man is standing there, in the old park.",
    "b/z.png": "",
}


def test_kohyas_metadata_is_as_sd_scripts_reads_it(make: Make) -> None:
    plain = json.loads(export(TagBook(make(CAPTIONS)), "kohya_json"))
    assert plain["a/x"] == {"tags": "ohwx, 微笑, b"}
    assert plain["b/y"] == {"caption": "A man is standing there, in the old park."}


def test_a_zip_holds_plain_utf8_texts(make: Make) -> None:
    with zipfile.ZipFile(io.BytesIO(export(TagBook(make(CAPTIONS)), "txt_zip"))) as archive:
        assert sorted(archive.namelist()) == ["a/x.txt", "b/x.txt", "b/y.txt", "b/z.txt"]
        assert archive.read("a/x.txt").decode("utf-8") == "ohwx, 微笑, b\n"


def test_a_table_opens_in_a_spreadsheet(make: Make) -> None:
    data = export(TagBook(make(CAPTIONS)), "csv")
    assert data.startswith(b"\xef\xbb\xbffile,tags\r\n")
    assert 'b/x.png,"one, ""two"""' in data.decode("utf-8-sig")
    assert read(data) == CAPTIONS


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_each_format_is_read_in_any_encoding(make: Make, encoding: str) -> None:
    table = "file;tags\nx.png;微笑, 猫耳\n"
    assert read(table.encode(encoding)) == {"x.png": "微笑, 猫耳"}
    plain = json.dumps({"x": {"tags": "微笑, 猫耳", "caption": "一只猫"}}, ensure_ascii=False)
    assert read(plain.encode(encoding)) == {"x": "一只猫, 微笑, 猫耳"}
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("x.txt", "微笑, 猫耳".encode(encoding))
    assert read(held.getvalue()) == {"x.txt": "微笑, 猫耳"}


def test_names_are_matched_by_path_and_by_name_where_it_is_one_photos_only(make: Make) -> None:
    book = TagBook(make(CAPTIONS))
    plain = {"C:\\train\\a\\x.png": "1", "/data/b/x": "2", "x": "nobody's", "y": "3", "b/z.png": "4", "q": "5"}
    change, strangers = take_in(book, json.dumps(plain).encode())
    assert {key: photo.tags for key, photo in change.changed.items()} == {
        "a/x.png": ("ohwx", "1"), "b/x.png": ("2",), "b/y.jpg": ("3",), "b/z.png": ("4",),
    }  # fmt: skip
    assert strangers == ("x", "q")
    book.undo()
    assert {key: ", ".join(photo.tags) for key, photo in book.captions().items()} == CAPTIONS


@pytest.mark.parametrize("data", [b"", b"words", b"[1]", b"{", b"PK\x03\x04 broken", b'{"x": {"tags": 3}}'])
def test_what_is_no_caption_file_is_refused_in_a_sentence(make: Make, data: bytes) -> None:
    with pytest.raises(TagError):
        take_in(TagBook(make(CAPTIONS)), data)
