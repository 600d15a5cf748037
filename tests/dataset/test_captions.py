from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_forge.dataset.captions import compose_caption, decode_text, first_line, read_caption, split_tags
from lora_forge.errors import DatasetError

CHINESE = "粉色头发, 白色衬衫, 夹克, 一个女孩在海边"
JAPANESE = "ピンクの髪, 白いシャツ, 海辺の女の子, ソフト"
FRENCH = "café, robe d'été, naïve, à la plage, Noël"


def compose(caption: str, trigger_word: str = "ohwx", seed: int = 0, **changes) -> str:
    plain = {"keep_tokens": 1, "shuffle": False, "tag_dropout": 0.0, "caption_dropout": 0.0}
    return compose_caption(caption, trigger_word, **{**plain, **changes}, rng=random.Random(seed))


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (CHINESE, "utf-8"),
        (CHINESE, "utf-8-sig"),
        (CHINESE, "utf-16"),
        (CHINESE, "utf-32"),
        (CHINESE, "gb18030"),
        (CHINESE, "gbk"),
        ("1girl, 夹克", "gbk"),
        ("图片", "gbk"),  # valid UTF-8 by chance
        (JAPANESE, "utf-8"),
        (JAPANESE, "cp932"),
        ("1girl, ソ", "cp932"),
        (FRENCH, "utf-8"),
        (FRENCH, "latin-1"),
        ("ohwx, red dress", "utf-16-le"),
        ("ohwx, red dress", "utf-16-be"),
        ("ohwx, 🙂", "utf-8"),
        ("", "utf-8"),
    ],
)
def test_a_caption_is_read_whatever_its_encoding(folder: Path, text: str, encoding: str):
    path = folder / "图 1 🙂.txt"
    path.write_bytes(text.encode(encoding))
    assert read_caption(path) == text


@given(st.binary(max_size=200))
def test_decoding_never_fails(data: bytes):
    assert isinstance(decode_text(data), str)


letters = st.sampled_from(
    [
        "abc déàçñöß ,",
        "abc ąęłőřšžțş ,",
        "abc trưƠ ạếộ ,",
        "abc привет ЩЪЭЮЯ ,",
        "abc κόσμε ΑΩ ,",
        "שלום ,",
        "سلام ,",
        "abc 粉色头发夹克 ,",
        "abc ピンクの髪 ,",
        "abc 🙂🌸 ,",
        "abc e\u0301o\u0308 ,",
    ]
)


@given(letters.flatmap(lambda alphabet: st.text(alphabet, max_size=60)))
def test_utf8_is_read_as_such_in_every_script(text: str):
    assert decode_text(text.encode()) == text


def test_a_missing_caption_is_empty_and_a_huge_one_refused(folder: Path):
    assert read_caption(folder / "none.txt") == ""
    (folder / "video.txt").write_bytes(b"x" * (1 << 20) + b"y")
    with pytest.raises(DatasetError, match="too large"):
        read_caption(folder / "video.txt")
    (folder / "dir.txt").mkdir()
    with pytest.raises(DatasetError, match="can't be read"):
        read_caption(folder / "dir.txt")


def test_windows_lines_and_marks_are_cleaned(folder: Path):
    (folder / "a.txt").write_bytes(b"\xef\xbb\xbf a, b \r\nc\r\n")
    assert read_caption(folder / "a.txt") == "a, b \nc"
    assert first_line("\n  \n a, b \nc") == "a, b"


def test_tags_are_split_on_commas_of_both_widths():
    assert split_tags(" red  dress ,,blue eyes\uff0c snow,\nnot this") == ["red dress", "blue eyes", "snow"]
    assert split_tags("") == []


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("red dress, snow", "ohwx, red dress, snow"),
        ("red dress, ohwx, snow, OHWX", "ohwx, red dress, snow"),
        ("ohwx, red dress", "ohwx, red dress"),
        ("ohwx woman, red dress", "ohwx woman, red dress"),
        ("", "ohwx"),
        ("ohwxy, red dress", "ohwx, ohwxy, red dress"),
        ("red dress\nsecond line", "ohwx, red dress"),
    ],
)
def test_the_trigger_word_comes_first_once(caption: str, expected: str):
    assert compose(caption) == expected


def test_without_a_trigger_word_nothing_is_added():
    assert compose("a, b", trigger_word="", keep_tokens=0) == "a, b"
    assert compose("", trigger_word="") == ""


tags = st.lists(st.text("abcdef ", min_size=1, max_size=6).filter(str.strip), max_size=12)


@given(tags, st.integers(0, 5), st.integers(0, 1000), st.floats(0, 1))
def test_kept_tags_stay_and_nothing_is_invented(words: list[str], keep: int, seed: int, dropout: float):
    whole = split_tags(compose(", ".join(words), keep_tokens=keep))
    made = split_tags(compose(", ".join(words), seed=seed, keep_tokens=keep, shuffle=True, tag_dropout=dropout))
    fixed = max(keep, 1)
    assert made[:fixed] == whole[:fixed]
    rest = whole[fixed:]
    for tag in made[fixed:]:
        rest.remove(tag)  # raises when a tag came from nowhere or came twice
    if dropout == 0:
        assert not rest


def test_every_order_of_the_moved_tags_comes_up_and_the_first_stays():
    orders = {compose("a, b, c", seed=seed, shuffle=True) for seed in range(100)}
    assert orders == {f"ohwx, {order}" for order in ("a, b, c", "a, c, b", "b, a, c", "b, c, a", "c, a, b", "c, b, a")}


def test_dropout_rates_are_what_they_say():
    caption = ", ".join(f"t{i}" for i in range(100))
    left = [len(split_tags(compose(caption, seed=seed, tag_dropout=0.25))) - 1 for seed in range(40)]
    assert sum(left) / 4000 == pytest.approx(0.75, abs=0.03)  # 4 standard deviations are 0.027
    empty = [compose(caption, seed=seed, caption_dropout=0.3) == "" for seed in range(2000)]
    assert sum(empty) / 2000 == pytest.approx(0.3, abs=0.045)
    assert compose(caption, tag_dropout=1.0, keep_tokens=3) == "ohwx, t0, t1"
    assert compose(caption, caption_dropout=1.0) == ""


def test_the_same_seed_gives_the_same_caption():
    made = [compose("a, b, c, d, e", seed=7, shuffle=True, tag_dropout=0.5) for _ in range(2)]
    assert made[0] == made[1]
