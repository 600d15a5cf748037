"""The scene lists (云旅游) by kind of LoRA: what to ask for that no photo shows. Nine stand first in each: the test.

``asks`` are tags that the usual taggers (WD v3, DeepDanbooru) tell on a picture; a scene's words may say more than
its tags can hold against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lora_forge.i18n import Said, word

FROM_PHOTOS, OWN = "traits", "own"
GROUPS: Mapping[str, str] = {
    FROM_PHOTOS: word("From your photos' tags"),
    "places": word("Places"),
    "clothes": word("Clothes"),
    "hair": word("Hair"),
    "framing": word("Framing"),
    "styles": word("Other styles"),
    "wearers": word("Wearers"),
    "motifs": word("Motifs"),
    "subjects": word("Subjects"),
    "own": word("Your own"),
}
"""Titles by id, in the order shown."""


@dataclass(frozen=True)
class Scene:
    """One picture of the test. ``prompt``: words behind the trigger word. ``label``: None where the tags say it all.

    ``is_other_style``: the usual quality words ("RAW photo") would speak against it. ``contradicts``: the trait that is
    part of the subject and excludes what is asked for; such a picture tells nothing of obedience.
    """

    id: str
    group: str
    label: Said | None
    prompt: str
    asks: tuple[str, ...]
    is_other_style: bool = False
    contradicts: str = ""


def _scene(name: str, group: str, label: str, prompt: str, *asks: str, is_other_style: bool = False) -> Scene:
    return Scene(name, group, Said(label), prompt, asks, is_other_style)


_EIFFEL = _scene(
    "eiffel", "places", word("In front of the Eiffel tower"),
    "in front of the Eiffel tower, Paris, tower, outdoors, blue sky", "tower", "outdoors",
)  # fmt: skip
_SNOW = _scene("snow", "places", word("In the snow"), "standing in the snow, winter, snowing, outdoors", "snow")
_BEACH = _scene("beach", "places", word("At the beach"), "at the beach, ocean, sand, blue sky", "beach", "ocean")
_NIGHT = _scene(
    "night", "places", word("A city at night"), "in a city street at night, city lights, neon lights", "night", "city"
)
_LIBRARY = _scene(
    "library", "places", word("In a library"), "in a library, bookshelf, indoors, holding book", "bookshelf", "book"
)
_WALL = _scene(
    "wall",
    "places",
    word("On the Great Wall"),
    "on the Great Wall of China, mountain, outdoors",
    "mountain",
    "outdoors",
)
_DESERT = _scene("desert", "places", word("In the desert"), "in the desert, sand dunes, outdoors, sunset", "desert")
_BLOSSOMS = _scene(
    "blossoms", "places", word("Under cherry blossoms"), "under cherry blossoms, spring, outdoors", "cherry blossoms"
)
_STUDIO = _scene(
    "studio", "places", word("In the studio"), "studio portrait, simple background, white background, soft light",
    "simple background", "white background",
)  # fmt: skip
_HANFU = _scene("hanfu", "clothes", word("In hanfu"), "wearing hanfu, chinese clothes", "chinese clothes", "hanfu")
_BLACK = _scene("black-dress", "clothes", word("In a black dress"), "wearing a black dress", "black dress")
_RED = _scene("red-dress", "clothes", word("In a red dress"), "wearing a red dress", "red dress")
_SUIT = _scene("suit", "clothes", word("In a suit"), "wearing a black suit, necktie", "suit", "necktie")
_UNIFORM = _scene(
    "uniform", "clothes", word("In a school uniform"), "wearing a school uniform, serafuku", "school uniform"
)
_KIMONO = _scene("kimono", "clothes", word("In a kimono"), "wearing a kimono, japanese clothes", "kimono")
_LEATHER = _scene(
    "leather", "clothes", word("In a leather jacket"), "wearing a black leather jacket, sunglasses", "jacket",
    "sunglasses",
)  # fmt: skip
_WHITE_HAIR = _scene("white-hair", "hair", word("White hair"), "white hair", "white hair")
_BLONDE = _scene("blonde-hair", "hair", word("Blonde hair"), "blonde hair", "blonde hair")
_SHORT = _scene("short-hair", "hair", word("Short hair"), "short hair, bob cut", "short hair")
_TWINTAILS = _scene("twintails", "hair", word("Twintails"), "twintails", "twintails")
_FULL_BODY = _scene(
    "full-body", "framing", word("Full body"), "full body, standing, shoes, outdoors", "full body", "standing"
)
_CLOSE_UP = _scene("close-up", "framing", word("Close-up"), "close-up, portrait, looking at viewer", "close-up")
_FROM_SIDE = _scene("from-side", "framing", word("From the side"), "from side, profile", "from side")
_OIL = _scene(
    "oil", "styles", word("As an oil painting"), "oil painting, painting (medium), traditional media, canvas",
    "traditional media", is_other_style=True,
)  # fmt: skip
_SKETCH = _scene(
    "sketch", "styles", word("As a pencil sketch"), "pencil sketch, sketch, monochrome, graphite (medium)",
    "monochrome", "sketch", is_other_style=True,
)  # fmt: skip
_WATERCOLOUR = _scene(
    "watercolour", "styles", word("As a watercolour"), "watercolor (medium), traditional media, painting",
    "traditional media", is_other_style=True,
)  # fmt: skip
_CHIBI = _scene("chibi", "styles", word("As a chibi"), "chibi, simple background", "chibi", is_other_style=True)

_PERSON = (
    *(_EIFFEL, _HANFU, _WHITE_HAIR, _BLACK, _SNOW, _BEACH, _FULL_BODY, _STUDIO, _OIL),
    *(_NIGHT, _WALL, _BLOSSOMS, _LIBRARY, _DESERT, _RED, _SUIT, _LEATHER, _KIMONO, _BLONDE, _SHORT),
    *(_CLOSE_UP, _FROM_SIDE, _SKETCH, _WATERCOLOUR),
)
_ANIME = (
    *(_EIFFEL, _HANFU, _WHITE_HAIR, _BLACK, _SNOW, _BEACH, _FULL_BODY, _BLOSSOMS, _SKETCH),
    *(_NIGHT, _LIBRARY, _DESERT, _STUDIO, _UNIFORM, _KIMONO, _RED, _SUIT, _LEATHER, _TWINTAILS, _SHORT, _BLONDE),
    *(_CLOSE_UP, _FROM_SIDE, _CHIBI, _WATERCOLOUR, _OIL),
)


def _worn(name: str, label: str, prompt: str, *asks: str) -> Scene:
    return _scene(name, "wearers", label, prompt, *asks)


_OBJECT = (
    _worn("on-woman", word("On a young woman"), "a young woman, 1girl, outdoors, street", "1girl", "outdoors"),
    _worn("on-man", word("On a man"), "a man, 1boy, male focus, city", "1boy"),
    _worn("on-old-woman", word("On an elderly woman"), "an old woman, elderly, garden", "old woman"),
    _worn("on-old-man", word("On an elderly man"), "an old man, elderly, beard, park", "old man"),
    _worn("on-dark-skin", word("On a dark-skinned woman"), "a woman with dark skin, 1girl", "1girl", "dark skin"),
    _worn("on-blonde", word("On a blonde woman"), "a woman with blonde hair, 1girl, cafe", "1girl", "blonde hair"),
    _worn("in-snow", word("Worn in the snow"), "1girl, standing in the snow, winter, outdoors", "snow"),
    _worn("at-beach", word("Worn at the beach"), "1girl, at the beach, ocean, wind", "beach"),
    _worn("whole", word("The whole figure"), "1girl, full body, standing, white background, shoes", "full body"),
    _worn("on-two", word("On two people"), "two women side by side, 2girls", "2girls"),
    _worn("sitting", word("Worn while sitting"), "1girl, sitting on a chair, indoors", "sitting"),
    _worn("on-mannequin", word("On a mannequin"), "on a mannequin, shop window", "mannequin"),
    _scene("on-table", "places", word("On a wooden table"), "on a wooden table, still life, no humans", "table"),
    _scene("in-shop", "places", word("On a shelf in a shop"), "on a shelf in a shop, indoors, no humans", "shop"),
    _scene(
        "on-white", "places", word("Product photo on white"), "product photo, white background, no humans",
        "white background",
    ),
    _scene("on-grass", "places", word("On the grass"), "lying on the grass, outdoors, flowers, no humans", "grass"),
)  # fmt: skip


def _motif(name: str, label: str, prompt: str, *asks: str) -> Scene:
    return _scene(name, "motifs", label, prompt, *asks)


_STYLE = (
    _motif("cat", word("A cat"), "a cat sitting on a window sill, no humans", "cat"),
    _motif("portrait", word("A girl's portrait"), "portrait of a girl, 1girl, looking at viewer", "1girl"),
    _motif("man", word("An old man"), "an old man with a beard, reading a book", "old man", "beard"),
    _motif("skyline", word("A city at night"), "skyline of a city at night, skyscraper, no humans", "city", "night"),
    _motif("forest", word("A forest path"), "a path through a forest, sunlight, no humans", "forest", "tree"),
    _motif("lake", word("A mountain lake"), "a lake in the mountains, reflection, no humans", "mountain", "water"),
    _motif("fruit", word("A bowl of fruit"), "a bowl of fruit on a table, still life, no humans", "fruit"),
    _motif("castle", word("A castle"), "a castle on a hill, clouds, no humans", "castle"),
    _motif("train", word("A train"), "a train at a station, no humans", "train"),
    _motif("flowers", word("A vase of flowers"), "a vase of flowers, no humans", "flower", "vase"),
    _motif("ship", word("A ship at sea"), "a sailing ship on a stormy sea, ocean, no humans", "ocean"),
    _motif("robot", word("A robot"), "a robot standing in a street, no humans", "robot"),
    _motif("horse", word("A horse"), "a horse running in a field, no humans", "horse"),
)
_DESIGN = (
    _motif("house-snow", word("A house in the snow"), "a house in the snow, winter, no humans", "house", "snow"),
    _motif("living-room", word("A living room"), "a living room, couch, indoors, no humans", "couch", "indoors"),
    _motif("kitchen", word("A kitchen"), "a kitchen, indoors, no humans", "kitchen"),
    _motif("stairs", word("A staircase"), "a staircase in a hall, stairs, indoors, no humans", "stairs"),
    _motif("tower-sea", word("A tower by the sea"), "a tower by the ocean, sunset, no humans", "tower", "ocean"),
    _motif("bridge", word("A bridge"), "a bridge over a river, no humans", "bridge"),
    _motif("garden", word("A garden"), "a garden with a pavilion, plants, no humans", "plant"),
    _motif("shop", word("A shop front"), "a shop front in a street at night, no humans", "shop", "night"),
    _motif("poster", word("A poster"), "a poster with a bird, no humans", "bird"),
    _motif("bedroom", word("A bedroom"), "a bedroom, bed, window, no humans", "bed"),
    _motif("skyscraper", word("A skyscraper"), "a skyscraper, city, no humans", "skyscraper"),
)


def _subject(name: str, label: str, prompt: str, *asks: str, is_other_style: bool = False) -> Scene:
    return _scene(name, "subjects", label, prompt, *asks, is_other_style=is_other_style)


_CONCEPT = (
    _subject("girl", word("A girl"), "1girl, outdoors", "1girl"),
    _subject("boy", word("A boy"), "1boy, indoors", "1boy"),
    _subject("old-man", word("An old man"), "an old man, beard", "old man"),
    _subject("cat-one", word("A cat"), "a cat, no humans", "cat"),
    _subject("dog", word("A dog"), "a dog, no humans", "dog"),
    _subject("two", word("Two people"), "2girls", "2girls"),
    _subject("robot-one", word("A robot"), "a robot, mecha, no humans", "robot"),
    _subject("knight", word("A knight in armour"), "a knight, armor", "armor"),
    _subject(
        "sketched", word("As a pencil sketch"), "1girl, pencil sketch, sketch, monochrome", "monochrome",
        is_other_style=True,
    ),
    _subject("at-night", word("A city at night"), "1girl, in a city street at night", "night"),
)  # fmt: skip


def _toy(name: str, group: str, label: str, *asks: str) -> Scene:
    return _scene(name, group, label, ", ".join(asks), *asks)


_TOY = (
    _toy("toy-snow", "places", word("In the snow"), "snow"),
    _toy("toy-city", "places", word("In the city"), "city"),
    _toy("toy-night", "places", word("At night"), "night"),
    _toy("toy-red-dress", "clothes", word("In a red dress"), "red dress"),
    _toy("toy-black-dress", "clothes", word("In a black dress"), "black dress"),
    _toy("toy-green-shirt", "clothes", word("In a green shirt"), "green shirt"),
    _toy("toy-hat-snow", "clothes", word("With a hat, in the snow"), "hat", "snow"),
    _toy("toy-red-snow", "clothes", word("A red dress in the snow"), "red dress", "snow"),
    _toy("toy-smile", "framing", word("Smiling, at night"), "smile", "night"),
    _toy("toy-short-hair", "hair", word("Short hair"), "short hair"),
    _toy("toy-twintails", "hair", word("Twintails"), "twintails"),
    _toy("toy-white-hair", "hair", word("White hair"), "white hair"),
    _toy("toy-beach", "places", word("At the beach"), "beach"),
    _toy("toy-forest", "places", word("In the forest"), "forest"),
    _toy("toy-yellow-shirt", "clothes", word("In a yellow shirt"), "yellow shirt"),
)

SCENES: Mapping[str, tuple[Scene, ...]] = {
    "person": _PERSON,
    "anime": _ANIME,
    "object": _OBJECT,
    "style": _STYLE,
    "design": _DESIGN,
    "concept": _CONCEPT,
    "toyworld": _TOY,
    "toyworld_hot": _TOY,
}
"""By kind of LoRA (:data:`lora_forge.presets.KINDS`); the first nine are the test where nothing speaks against them."""
