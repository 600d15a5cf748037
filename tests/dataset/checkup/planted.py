"""Photos with planted faults, from the real photographs inside the scikit-image wheel.

A head (NASA's portrait of Eileen Collins) is set with soft edges before other photographs, above drawn clothes, at any
size; then one fault is planted. Where the faces are stands in a strip at the top, which tests/dataset/faces/pack.py's
detector reads through the real insightface.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from tests.dataset.faces.pack import Planted, with_strip

FACE_BOX = (182.0, 60.0, 268.0, 178.0)
EYES, MOUTH = ((203.0, 101.0), (247.0, 103.0)), ((206.0, 141.0), (243.0, 141.0))
NOSE = (225.0, 126.0)
HEAD = (150, 12, 306, 192)
NOSE_DEPTH = 135 / 330
SCENES = ("coffee.png", "rocket.jpg", "motorcycle_left.png", "brick.png", "chelsea.png", "gravel.png", "grass.png")
GREY_SCENES = ("brick.png", "gravel.png", "grass.png")


@dataclass
class Picture:
    """``faults``: what the checkup must say of it."""

    name: str
    image: Image.Image
    faces: list[Planted] = field(default_factory=list)
    faults: frozenset[str] = frozenset()

    def save(self, folder: Path) -> Path:
        path = folder / f"{self.name}.png"
        with_strip(self.image, self.faces).save(path)
        return path


@cache
def photograph(name: str) -> Image.Image:
    return Image.open(Path(skimage.data.__file__).parent / name).convert("RGB")


def scene(number: int, size: tuple[int, int], shift: float = 0.0) -> Image.Image:
    """A part of a photograph, filling ``size``; ``shift`` 0 to 1 chooses which part, odd rounds are mirrored."""
    picture = photograph(SCENES[number % len(SCENES)])
    if number // len(SCENES) % 2:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    part = 0.8
    factor = min(picture.width / size[0], picture.height / size[1]) * part
    wide, tall = size[0] * factor, size[1] * factor
    left, top = (picture.width - wide) * shift, (picture.height - tall) * (1 - shift)
    return picture.resize(size, Image.Resampling.LANCZOS, box=(left, top, left + wide, top + tall))


@cache
def _head(tint: tuple[float, float, float]) -> tuple[Image.Image, Image.Image]:
    """The head in other colours, and its soft outline."""
    crop = np.asarray(photograph("astronaut.png").crop(HEAD), dtype=np.float64)
    light = crop.mean(axis=2, keepdims=True)
    coloured = crop if tint == (1.0, 1.0, 1.0) else light * np.array(tint)
    outline = Image.new("L", crop.shape[1::-1], 0)
    ImageDraw.Draw(outline).ellipse((4, 4, crop.shape[1] - 4, crop.shape[0] - 8), fill=255)
    made = Image.fromarray(np.clip(coloured, 0, 255).astype(np.uint8))
    return made, outline.filter(ImageFilter.GaussianBlur(4))


WOMAN = (1.0, 1.0, 1.0)
STRANGERS = ((0.6, 0.9, 1.5), (0.7, 1.4, 0.9), (0.9, 0.75, 1.45))
CLOTHES = ((180, 30, 40), (30, 60, 160), (240, 240, 235), (20, 120, 60), (230, 190, 40), (40, 40, 45), (150, 70, 160))


def add_person(
    image: Image.Image,
    face_px: float,
    centre: tuple[float, float],
    *,
    yaw: float = 0.0,
    clothes: tuple[int, int, int] = CLOTHES[0],
    tint: tuple[float, float, float] = WOMAN,
) -> Planted:
    """Set a person into ``image``: face ``face_px`` high with its middle at ``centre``; where detectors find it."""
    factor = face_px / (FACE_BOX[3] - FACE_BOX[1])
    middle = ((FACE_BOX[0] + FACE_BOX[2]) / 2, (FACE_BOX[1] + FACE_BOX[3]) / 2)

    def place(x: float, y: float) -> tuple[float, float]:
        return centre[0] + (x - middle[0]) * factor, centre[1] + (y - middle[1]) * factor

    _dress(image, place, clothes)
    head, outline = _head(tint)
    size = (max(1, round(head.width * factor)), max(1, round(head.height * factor)))
    left, top = place(HEAD[0], HEAD[1])
    image.paste(
        head.resize(size, Image.Resampling.LANCZOS),
        (round(left), round(top)),
        outline.resize(size, Image.Resampling.BOX),
    )
    apart = (EYES[1][0] - EYES[0][0]) / 2
    turned = [(225 + (x - 225) * math.cos(math.radians(yaw)), y) for x, y in (*EYES, *MOUTH)]
    nose = (225 + 2 * apart * NOSE_DEPTH * math.sin(math.radians(yaw)), NOSE[1])
    points = [place(*point) for point in (turned[0], turned[1], nose, turned[2], turned[3])]
    (x0, y0), (x1, y1) = place(FACE_BOX[0], FACE_BOX[1]), place(FACE_BOX[2], FACE_BOX[3])
    return (x0, y0, x1, y1), points


def _dress(
    image: Image.Image, place: Callable[[float, float], tuple[float, float]], colour: tuple[int, int, int]
) -> None:
    """Shoulders and a body in folds of one colour."""
    corners = [place(*point) for point in ((190, 185), (262, 185), (345, 225), (370, 760), (82, 760), (107, 225))]
    shape = Image.new("L", image.size, 0)
    ImageDraw.Draw(shape).polygon(corners, fill=255)
    rows, columns = np.mgrid[0 : image.height, 0 : image.width]
    folds = 14 * np.sin(columns / 9.0 + np.sin(rows / 23.0)) + 6 * np.sin(rows / 5.0)
    cloth = np.clip(np.array(colour) + folds[:, :, None], 0, 255).astype(np.uint8)
    image.paste(Image.fromarray(cloth), (0, 0), shape)


def portrait(
    name: str,
    number: int,
    face_px: float = 150.0,
    *,
    size: tuple[int, int] = (640, 640),
    yaw: float = 0.0,
    clothes: int | None = None,
    background: int | None = None,
    tint: tuple[float, float, float] = WOMAN,
    centre: tuple[float, float] | None = None,
    faults: str = "",
) -> Picture:
    """One person before a scene; everything but what is said differs with ``number``."""
    image = scene(number if background is None else background, size, (number * 0.37) % 1.0)
    across, down = 0.3 + 0.4 * (number * 0.618 % 1), 0.22 + 0.15 * (number * 0.414 % 1)
    at = centre or (size[0] * across, size[1] * down + face_px * 0.3)
    colour = CLOTHES[(number if clothes is None else clothes) % len(CLOTHES)]
    face = add_person(image, face_px, at, yaw=yaw, clothes=colour, tint=tint)
    return Picture(name, image, [face], frozenset(faults.split()))


def changed(picture: Picture, name: str, change: Callable[[Image.Image], Image.Image], faults: str) -> Picture:
    """``picture`` after ``change``, which leaves the faces where they are."""
    return Picture(name, change(picture.image), picture.faces, picture.faults | frozenset(faults.split()))


def written(
    text: str, px: int, where: tuple[float, float], colour: tuple[int, int, int, int], slant: float = 0.0
) -> Callable[[Image.Image], Image.Image]:
    """Writing over a picture, in that colour or its opposite: whichever stands out there, as whoever writes would."""

    def change(image: Image.Image) -> Image.Image:
        layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
        at = (image.width * where[0], image.height * where[1])
        around = (round(at[0]), round(at[1]), image.width - round(at[0]), min(image.height, round(at[1]) + px))
        under = np.asarray(image.convert("L").crop(around)).mean()
        is_light, opposite = sum(colour[:3]) > 382, (255 - colour[0], 255 - colour[1], 255 - colour[2], colour[3])
        fill = opposite if is_light == (under > 150) else colour
        ImageDraw.Draw(layer).text(at, text, font=font(px), fill=fill)
        layer = layer.rotate(slant, resample=Image.Resampling.BICUBIC)
        return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")

    return change


def font(px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The chosen size needs Pillow 10.1; DejaVu of the system or the bitmap font before that."""
    try:
        return ImageFont.load_default(px)
    except TypeError:
        return ImageFont.truetype("DejaVuSans.ttf", px)


def sepia(image: Image.Image) -> Image.Image:
    light = np.asarray(image.convert("L"), dtype=np.float64)[:, :, None]
    return Image.fromarray(np.clip(light * np.array([1.07, 0.9, 0.68]), 0, 255).astype(np.uint8))


def mirrored(picture: Picture, name: str, faults: str) -> Picture:
    width = picture.image.width
    faces: list[Planted] = []
    for (x0, y0, x1, y1), points in picture.faces:
        across = [(width - x, y) for x, y in points]
        faces.append(((width - x1, y0, width - x0, y1), [across[1], across[0], across[2], across[4], across[3]]))
    image = picture.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return Picture(name, image, faces, picture.faults | frozenset(faults.split()))


def cropped(picture: Picture, name: str, share: float, faults: str) -> Picture:
    """``share`` of each side cut away on the left and at the top, then brought back to its size."""
    width, height = picture.image.size
    left, top = width * share, height * share
    image = picture.image.resize((width, height), Image.Resampling.LANCZOS, box=(left, top, width, height))
    grown = 1 / (1 - share)

    def at(x: float, y: float) -> tuple[float, float]:
        return (x - left) * grown, (y - top) * grown

    faces: list[Planted] = [
        ((*at(box[0], box[1]), *at(box[2], box[3])), [at(*point) for point in points]) for box, points in picture.faces
    ]
    return Picture(name, image, faces, picture.faults | frozenset(faults.split()))


def resized(picture: Picture, name: str, side: int, faults: str) -> Picture:
    factor = side / max(picture.image.size)
    size = (round(picture.image.width * factor), round(picture.image.height * factor))
    faces: list[Planted] = [
        (
            (box[0] * factor, box[1] * factor, box[2] * factor, box[3] * factor),
            [(x * factor, y * factor) for x, y in points],
        )
        for box, points in picture.faces
    ]
    image = picture.image.resize(size, Image.Resampling.LANCZOS)
    return Picture(name, image, faces, picture.faults | frozenset(faults.split()))


def good_set(start: int = 0) -> list[Picture]:
    """Without any fault: three distances and views, other clothes and places each time. Other pictures by ``start``."""
    views = (0.0, 40.0, 8.0, 70.0, -35.0, -12.0, -75.0)
    tall = ((640, 640), (480, 640), (640, 512))
    heights = (150.0, 220.0, 75.0, 120.0, 260.0)
    return [
        portrait(f"good{n:02d}", start + n, heights[n % 5], size=tall[n % 3], yaw=views[n % 7], clothes=3 * n + n // 7)
        for n in range(15)
    ]


def faulty_set(start: int = 0) -> list[Picture]:
    """Three to five of each fault; some photos have two. Other pictures by ``start``."""
    blur = ImageFilter.GaussianBlur
    base = [
        portrait(
            f"base{n:02d}", start + 20 + n, 120.0 + 12 * (n % 6), yaw=(0, 30, -40)[n % 3], clothes=5 * n + n // 7 * 2
        )
        for n in range(24)
    ]
    texts = [
        written("SAMPLE PHOTO 2026", 34, (0.05, 0.86), (255, 255, 255, 235)),
        written("breaking news: everything", 44, (0.04, 0.8), (255, 220, 0, 255)),
        written("© www.pictures.example", 26, (0.08, 0.9), (255, 255, 255, 180), 6.0),
        written("SALE  50 %  OFF  TODAY", 52, (0.03, 0.82), (10, 10, 10, 255)),
    ]
    found = [
        *(resized(base[n], f"small{n}", 320, "resolution") for n in (0, 1, 2)),
        *(changed(base[3 + n], f"blur{n}", lambda image, n=n: image.filter(blur(2.5 + n)), "blur") for n in range(4)),  # type: ignore[misc]
        *(changed(base[7 + n], f"text{n}", texts[n], "text") for n in range(4)),
        *(changed(base[20 + n], f"text{4 + n}", texts[n], "text") for n in range(4)),
        changed(base[11], "grey0", lambda image: image.convert("L").convert("RGB"), "grey"),
        changed(base[12], "grey1", sepia, "grey"),
        changed(base[13], "grey2", lambda image: sepia(image).point(lambda value: value * 0.8), "grey"),
        *(_alone(start, n) for n in range(4)),
        *(_company(start, n) for n in range(3)),
        *(
            portrait(f"stranger{n}", start + 60 + n, 170.0, clothes=n + 2, tint=STRANGERS[n], faults="stranger")
            for n in range(3)
        ),
        *(portrait(f"tiny{n}", start + 70 + n, 34.0 + 4 * n, clothes=n, faults="small_face") for n in range(3)),
        portrait("cut0", start + 80, 240.0, centre=(60.0, 250.0), faults="cut_face"),
        portrait("cut1", start + 81, 240.0, centre=(320.0, 60.0), clothes=2, faults="cut_face"),
        portrait("cut2", start + 82, 300.0, centre=(590.0, 300.0), clothes=4, faults="cut_face"),
        *(
            portrait(f"long{n}", start + 90 + n, 190.0, size=size, clothes=n + 1, faults="aspect")
            for n, size in enumerate(((1280, 560), (600, 1280), (1280, 500)))
        ),
        *base[14:20],
    ]
    return [
        *found,
        changed(base[14], "twice0", lambda image: image.point(lambda value: min(255, value * 1.15)), ""),
        mirrored(base[15], "twice1", ""),
        cropped(base[16], "twice2", 0.05, ""),
        changed(base[17], "twice3", lambda image: image.filter(blur(3)), "blur"),
        resized(base[18], "twice4", 320, "resolution"),
    ]  # fmt: skip


DOUBLES = {("base14", "twice0"), ("base15", "twice1"), ("base16", "twice2"), ("base17", "twice3"), ("base18", "twice4")}


def _alone(start: int, number: int) -> Picture:
    """No person at all."""
    faults = {"no_face", "grey"} if SCENES[(start + number * 2) % len(SCENES)] in GREY_SCENES else {"no_face"}
    return Picture(f"nobody{number}", scene(start + number * 2, (640, 480), 0.5 - 0.1 * number), [], frozenset(faults))


def _company(start: int, number: int) -> Picture:
    picture = portrait(
        f"company{number}", start + 50 + number, 150.0, centre=(190.0, 260.0), clothes=number, faults="many_faces"
    )
    others = ((440.0, 280.0, 130.0), (470.0, 200.0, 90.0), (430.0, 240.0, 180.0))
    x, y, face_px = others[number]
    picture.faces.append(
        add_person(picture.image, face_px, (x, y), clothes=CLOTHES[number + 3], tint=STRANGERS[number])
    )
    return picture
