"""The bundled table: well-formed, without doubles, and right where it can be said by hand."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from lora_forge.dataset.words import Category, Words, normalise
from lora_forge.dataset.words.entries import TABLE

LINES = TABLE.read_text(encoding="utf-8").splitlines()
ROWS = [line.split("\t") for line in LINES]
WORDS = Words.load()

EXACT = {
    "1girl": ("1个女孩", "subject"),
    "solo": ("单人", "subject"),
    "no humans": ("无人物", "subject"),
    "nurse": ("护士", "subject"),
    "chef": ("厨师", "subject"),
    "old man": ("老年男性", "subject"),
    "long hair": ("长发", "hair"),
    "short hair": ("短发", "hair"),
    "blonde hair": ("金发", "hair"),
    "red hair": ("红发", "hair"),
    "white hair": ("白发", "hair"),
    "light brown hair": ("浅棕色头发", "hair"),
    "twintails": ("双马尾", "hair"),
    "ponytail": ("马尾", "hair"),
    "ahoge": ("呆毛", "hair"),
    "blunt bangs": ("齐刘海", "hair"),
    "blue eyes": ("蓝色眼睛", "eyes"),
    "closed eyes": ("闭眼", "eyes"),
    "heterochromia": ("异色瞳", "eyes"),
    "blush": ("脸红", "face"),
    "freckles": ("雀斑", "face"),
    "open mouth": ("张嘴", "face"),
    "closed mouth": ("闭嘴", "face"),
    "beard": ("胡子", "face"),
    "tattoo": ("纹身", "body"),
    "cat ears": ("猫耳", "body"),
    "barefoot": ("赤脚", "body"),
    "jacket": ("夹克", "clothing"),
    "white shirt": ("白色衬衫", "clothing"),
    "pink shirt": ("粉色衬衫", "clothing"),
    "black skirt": ("黑色裙子", "clothing"),
    "red dress": ("红色连衣裙", "clothing"),
    "hanfu": ("汉服", "clothing"),
    "china dress": ("旗袍", "clothing"),
    "qipao": ("旗袍", "clothing"),
    "wedding dress": ("婚纱", "clothing"),
    "kimono": ("和服", "clothing"),
    "school uniform": ("校服", "clothing"),
    "serafuku": ("水手服", "clothing"),
    "suit": ("西装", "clothing"),
    "trench coat": ("风衣", "clothing"),
    "high heels": ("高跟鞋", "clothing"),
    "beret": ("贝雷帽", "clothing"),
    "jeans": ("牛仔裤", "clothing"),
    "polka dot": ("波点", "clothing"),
    "silk": ("丝绸", "clothing"),
    "glasses": ("眼镜", "accessory"),
    "sunglasses": ("墨镜", "accessory"),
    "earrings": ("耳环", "accessory"),
    "pearl necklace": ("珍珠项链", "accessory"),
    "backpack": ("双肩包", "accessory"),
    "looking at viewer": ("看向镜头", "pose"),
    "sitting": ("坐着", "pose"),
    "crossed arms": ("抱臂", "pose"),
    "arms up": ("举起双臂", "pose"),
    "smile": ("微笑", "expression"),
    "crying": ("哭泣", "expression"),
    "cowboy shot": ("七分身", "framing"),
    "upper body": ("上半身", "framing"),
    "lower body": ("下半身", "framing"),
    "from above": ("俯视", "framing"),
    "from below": ("仰视", "framing"),
    "depth of field": ("景深", "framing"),
    "profile": ("侧脸", "framing"),
    "simple background": ("简单背景", "background"),
    "outdoors": ("户外", "background"),
    "indoors": ("室内", "background"),
    "backlighting": ("逆光", "background"),
    "eiffel tower": ("埃菲尔铁塔", "background"),
    "great wall": ("长城", "background"),
    "forbidden city": ("故宫", "background"),
    "cherry blossoms": ("樱花", "background"),
    "sword": ("剑", "object"),
    "teapot": ("茶壶", "object"),
    "sports car": ("跑车", "object"),
    "cat": ("猫", "animal"),
    "shiba inu": ("柴犬", "animal"),
    "oil painting": ("油画", "style"),
    "watercolor": ("水彩", "style"),
    "ink wash": ("水墨", "style"),
    "sketch": ("草图", "style"),
    "masterpiece": ("杰作", "quality"),
    "worst quality": ("最差质量", "quality"),
    "watermark": ("水印", "meta"),
    "signature": ("签名", "meta"),
    "heart": ("爱心", "other"),
}

# Pairs that a wrong line would swap or merge.
OPPOSITES = [
    ("open mouth", "closed mouth"),
    ("long hair", "short hair"),
    ("long sleeves", "short sleeves"),
    ("from above", "from below"),
    ("looking up", "looking down"),
    ("upper body", "lower body"),
    ("indoors", "outdoors"),
    ("day", "night"),
    ("sunrise", "sunset"),
    ("from front", "from behind"),
    ("hood up", "hood down"),
    ("arms up", "arms at sides"),
    ("best quality", "worst quality"),
    ("large breasts", "small breasts"),
    ("high ponytail", "low ponytail"),
    ("legs together", "legs apart"),
    ("warm colors", "cool colors"),
    ("light theme", "dark theme"),
    ("thumbs up", "thumbs down"),
    ("high contrast", "low contrast"),
    ("censored", "uncensored"),
    ("overexposed", "underexposed"),
    ("tall", "short stature"),
    ("bikini top only", "bikini bottom only"),
]

COLOURS = {
    "black": "黑",
    "white": "白",
    "red": "红",
    "blue": "蓝",
    "pink": "粉",
    "green": "绿",
    "purple": "紫",
    "yellow": "黄",
    "grey": "灰",
    "brown": "棕",
    "orange": "橙",
    "beige": "米",
    "khaki": "卡其",
    "navy": "藏青",
    "burgundy": "酒红",
    "silver": "银",
}
THINGS = {
    "hair": "发",
    "eyes": "眼",
    "shirt": "衬衫",
    "skirt": "裙",
    "dress": "裙",
    "jacket": "夹克",
    "coat": "大衣",
    "pants": "长裤",
    "shorts": "短裤",
    "shoes": "鞋",
    "boots": "靴",
    "gloves": "手套",
    "hat": "帽",
    "scarf": "围巾",
    "sweater": "毛衣",
    "kimono": "和服",
    "hanfu": "汉服",
    "necktie": "领带",
    "background": "背景",
    "flower": "花",
    "umbrella": "伞",
}


def test_it_is_large_and_has_no_tag_twice() -> None:
    assert len(LINES) >= 7000
    tags = Counter(normalise(tag) for tag, *_ in ROWS)
    assert [tag for tag, count in tags.items() if count > 1] == []


@pytest.mark.parametrize("line", LINES[:1] + LINES[-1:])
def test_a_line_ends_as_it_should(line: str) -> None:
    assert line.count("\t") == 2
    assert line == line.strip()


def test_every_line_is_well_formed() -> None:
    categories = {category.value for category in Category}
    wrong = []
    for row in ROWS:
        tag, category, zh = row
        names = zh.split(";")
        fits = tag == " ".join(tag.lower().split()) and "," not in tag and category in categories
        chinese = all(re.search("[\u4e00-\u9fff]", name) and name == name.strip() for name in names)
        if not (fits and chinese and len(set(names)) == len(names)):
            wrong.append(row)
    assert wrong == []


def test_the_lines_stand_by_category_and_each_has_one_block() -> None:
    order = [row[1] for row in ROWS]
    blocks = [name for at, name in enumerate(order) if at == 0 or order[at - 1] != name]
    assert blocks == [category.value for category in Category]


def test_combinations_of_a_colour_and_a_thing_are_less_than_half() -> None:
    pairs = [tag for tag, *_ in ROWS if (parts := tag.rsplit(" ", 1))[0] in COLOURS and len(parts) == 2]
    assert len(pairs) / len(ROWS) < 0.45


@pytest.mark.parametrize("tag", sorted(EXACT))
def test_by_hand(tag: str) -> None:
    zh, category = EXACT[tag]
    assert (WORDS.zh(tag), WORDS.category(tag).value) == (zh, category)


@pytest.mark.parametrize("tag", sorted(tag for tag in EXACT if tag != "qipao"))
def test_by_hand_the_other_way(tag: str) -> None:
    assert tag in WORDS.tags_for_zh(EXACT[tag][0])


@pytest.mark.parametrize(("one", "other"), OPPOSITES)
def test_opposites_share_no_chinese(one: str, other: str) -> None:
    first, second = WORDS.word(one), WORDS.word(other)
    assert first is not None
    assert second is not None
    assert not set(first.names) & set(second.names)


def test_colours_of_things_are_said_in_chinese_and_found_again() -> None:
    wrong = []
    for tag, _, zh in ROWS:
        first, _, last = tag.partition(" ")
        if first in COLOURS and last in THINGS:
            name = zh.split(";")[0]
            if COLOURS[first] not in name or THINGS[last] not in name or tag not in WORDS.tags_for_zh(name):
                wrong.append((tag, zh))
    assert wrong == []


def test_every_chinese_to_show_finds_its_tag_again() -> None:
    assert [tag for tag, _, zh in ROWS if tag not in WORDS.tags_for_zh(zh.split(";")[0])] == []


def test_few_tags_share_a_chinese_and_none_across_unlike_categories() -> None:
    """One Chinese for two tags is right for synonyms only; these meet in one category or are the same thing."""
    by_zh: dict[str, set[str]] = {}
    for _, category, zh in ROWS:
        by_zh.setdefault(zh.split(";")[0], set()).add(category)
    shared = {zh: kinds for zh, kinds in by_zh.items() if len(kinds) > 1}
    assert shared == {
        "羽毛": {"body", "object"},
        "照片": {"object", "style"},
        "黑板": {"background", "object"},
        "萤火虫": {"animal", "background"},
        "做鬼脸": {"pose", "expression"},
    }
