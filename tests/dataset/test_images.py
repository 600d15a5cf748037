from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile, PngImagePlugin

from lora_forge.dataset.images import UnreadableImageError, read_image, read_mask

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)

Image.init()
AVIF = pytest.param("a.avif", marks=pytest.mark.skipif("AVIF" not in Image.SAVE, reason="this Pillow writes no AVIF"))


def corners(image: Image.Image) -> list[str]:
    """The names of the colours nearest to the four corners: top left, top right, bottom left, bottom right."""
    names = {"red": RED, "green": GREEN, "blue": BLUE, "white": WHITE, "black": (0, 0, 0)}
    w, h = image.width - 3, image.height - 3
    seen = [image.getpixel(place) for place in ((2, 2), (w, 2), (2, h), (w, h))]
    return [min(names, key=lambda n: sum((a - b) ** 2 for a, b in zip(names[n], pixel, strict=True))) for pixel in seen]


def four_corners(width: int = 48, height: int = 32) -> Image.Image:
    """Red, green / blue, white quarters."""
    image = Image.new("RGB", (width, height), WHITE)
    image.paste(RED, (0, 0, width // 2, height // 2))
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    return image


# What a camera stores when it is held so that a viewer must turn the picture by that orientation: the inverse.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
UPRIGHT = ["red", "green", "blue", "white"]


@pytest.mark.parametrize(
    "name", ["a.jpg", "b.png", "c.webp", "d.bmp", "e.tif", "f.gif", "g.ppm", "h.jp2", AVIF, "照片 é 🙂.jpg"]
)
def test_every_format_is_read(folder: Path, name: str):
    four_corners().save(folder / name)
    image = read_image(folder / name)
    assert (image.mode, image.size, corners(image)) == ("RGB", (48, 32), UPRIGHT)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_exif_rotation_is_undone(folder: Path, orientation: int, suffix: str):
    stored = four_corners()
    if orientation > 1:
        stored = stored.transpose(STORED[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(folder / f"a{suffix}", exif=exif)
    image = read_image(folder / f"a{suffix}")
    assert (image.size, corners(image)) == ((48, 32), UPRIGHT)


def test_a_damaged_exif_block_does_not_lose_the_photo(folder: Path):
    four_corners().save(folder / "a.jpg", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert corners(read_image(folder / "a.jpg")) == UPRIGHT


@pytest.mark.parametrize("name", ["a.png", "a.webp", AVIF])
def test_transparency_is_laid_on_white(folder: Path, name: str):
    image = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 16, 32))
    image.save(folder / name, **({"lossless": True} if name == "a.webp" else {}))
    assert corners(read_image(folder / name)) == ["blue", "white", "blue", "white"]


def test_half_transparency_is_mixed_with_white(folder: Path):
    Image.new("RGBA", (4, 4), (0, 0, 0, 128)).save(folder / "a.png")
    assert read_image(folder / "a.png").getpixel((1, 1)) == (127, 127, 127)
    Image.new("LA", (4, 4), (0, 64)).save(folder / "b.png")
    assert read_image(folder / "b.png").getpixel((1, 1)) == (191, 191, 191)


def test_a_palette_with_a_transparent_colour(folder: Path):
    image = four_corners().quantize(4)
    image.save(folder / "plain.png")
    image.save(folder / "clear.png", transparency=image.getpixel((2, 2)))
    image.save(folder / "clear.gif", transparency=image.getpixel((2, 2)))
    assert corners(read_image(folder / "plain.png")) == UPRIGHT
    for name in ("clear.png", "clear.gif"):
        assert corners(read_image(folder / name)) == ["white", "green", "blue", "white"]


@pytest.mark.parametrize(("mode", "clear"), [("RGB", RED), ("L", 0), ("1", 0)])
def test_a_single_transparent_colour(folder: Path, mode: str, clear: object):
    image = Image.new(mode, (8, 8), clear)
    image.save(folder / "a.png", transparency=clear)
    assert read_image(folder / "a.png").getpixel((3, 3)) == WHITE


def test_sixteen_bit_grey_is_scaled_not_clipped(folder: Path):
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(folder / "a.png")
    Image.fromarray(values).save(folder / "a.tif")
    Image.fromarray(values.astype(">u2")).save(folder / "b.tif")
    for name in ("a.png", "a.tif", "b.tif"):
        assert np.asarray(read_image(folder / name))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_sixteen_bit_colour_is_read(folder: Path):
    (folder / "a.png").write_bytes(png16([(65535, 0, 0), (0, 32768, 0)]))
    image = read_image(folder / "a.png")
    assert [image.getpixel((x, 0)) for x in (0, 1)] == [(255, 0, 0), (0, 128, 0)]


def png16(pixels: list[tuple[int, int, int]]) -> bytes:
    """A one-line 16-bit RGB PNG, which Pillow can't write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    row = b"\0" + b"".join(struct.pack(">3H", *pixel) for pixel in pixels)
    header = struct.pack(">IIBBBBB", len(pixels), 1, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def test_float_and_32_bit_pictures_are_scaled(folder: Path):
    Image.fromarray(np.array([[0.0, 0.5, 1.0, np.nan]], dtype=np.float32)).save(folder / "f.tif")
    assert np.asarray(read_image(folder / "f.tif"))[0, :, 0].tolist() == [0, 128, 255, 0]
    Image.fromarray(np.array([[0, 65535, 1000]], dtype=np.int32)).save(folder / "i.tif")
    assert np.asarray(read_image(folder / "i.tif"))[0, :, 0].tolist() == [0, 255, 4]
    Image.fromarray(np.array([[0, 200, 255]], dtype=np.int32)).save(folder / "j.tif")
    assert np.asarray(read_image(folder / "j.tif"))[0, :, 0].tolist() == [0, 200, 255]


def without_adobe_marker(jpeg: bytes) -> bytes:
    start = jpeg.index(b"\xff\xee")
    return jpeg[:start] + jpeg[start + 2 + int.from_bytes(jpeg[start + 2 : start + 4], "big") :]


def test_cmyk_jpegs_of_both_kinds(folder: Path):
    """Adobe's is stored inverted; one without Adobe's mark is not, so the same bytes then mean the negative ink."""
    data = io.BytesIO()
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(data, "JPEG", quality=95)
    (folder / "adobe.jpg").write_bytes(data.getvalue())
    assert corners(read_image(folder / "adobe.jpg")) == ["red"] * 4
    data = io.BytesIO()
    Image.new("CMYK", (16, 16), (255, 0, 0, 255)).save(data, "JPEG", quality=95)
    (folder / "plain.jpg").write_bytes(without_adobe_marker(data.getvalue()))
    assert corners(read_image(folder / "plain.jpg")) == ["red"] * 4


def test_cmyk_tiff(folder: Path):
    Image.new("CMYK", (16, 16), (255, 255, 0, 0)).save(folder / "a.tif")
    assert corners(read_image(folder / "a.tif")) == ["blue"] * 4


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_of_an_animation_the_first_frame_is_taken(folder: Path, name: str):
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    frames[0].save(folder / name, save_all=True, append_images=frames[1:])
    assert corners(read_image(folder / name)) == ["red"] * 4


def test_a_profile_is_brought_to_srgb(folder: Path):
    image = Image.new("RGB", (8, 8), (200, 100, 50))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save(folder / "srgb.png", icc_profile=srgb)
    image.save(folder / "broken.png", icc_profile=b"not a profile")
    image.save(folder / "swapped.png", icc_profile=swap_red_and_blue(srgb))
    assert read_image(folder / "srgb.png").getpixel((1, 1)) == (200, 100, 50)
    assert read_image(folder / "broken.png").getpixel((1, 1)) == (200, 100, 50)
    swapped = read_image(folder / "swapped.png").getpixel((1, 1))
    assert all(abs(a - b) <= 2 for a, b in zip(swapped, (50, 100, 200), strict=True))


def swap_red_and_blue(profile: bytes) -> bytes:
    """An RGB profile whose first channel is the blue primary, under another name."""
    a, b = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    data = bytearray(profile)
    data[a : a + 4], data[b : b + 4] = b"bXYZ", b"rXYZ"
    return bytes(data).replace(b"s\0R\0G\0B", b"x\0R\0G\0B").replace(b"sRGB", b"xRGB")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.bmp", "a.gif", "a.tif", AVIF])
def test_a_cut_off_file_is_refused_with_the_reason(folder: Path, name: str):
    Image.effect_mandelbrot((200, 200), (-2, -1.5, 1, 1.5), 50).convert("RGB").save(folder / name)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableImageError) as caught:
        read_image(folder / name)
    assert name in str(caught.value)
    assert name not in str(caught.value.reason)
    assert "damaged" in str(caught.value.reason)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"hello", "not a picture"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"%PDF-1.7 ...", "a PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a PostScript file"),
        (b"8BPS\0\1", "a Photoshop file"),
        (b"PK\x03\x04....", "a zip archive"),
        (b"\0\0\0\x20ftypisom....", "a video"),
        (b"\xff\x0a....", "JPEG XL"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
        (b"\xff\xd8\xff\xe0", "damaged"),
    ],
)
def test_other_files_are_named_for_what_they_are(folder: Path, content: bytes, words: str):
    (folder / "a.jpg").write_bytes(content)
    with pytest.raises(UnreadableImageError) as caught:
        read_image(folder / "a.jpg")
    assert words in str(caught.value.reason)


def test_missing_files_and_folders_are_refused(folder: Path):
    (folder / "dir.png").mkdir()
    for name in ("none.png", "dir.png"):
        with pytest.raises(UnreadableImageError, match=name):
            read_image(folder / name)


def test_heic_without_its_reader_names_the_remedy(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (folder / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(UnreadableImageError, match="pillow-heif"):
        read_image(folder / "a.heic")


def test_heic_with_its_reader(folder: Path):
    pillow_heif = pytest.importorskip("pillow_heif")
    before = set(Image.OPEN)
    stored = four_corners().transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    pillow_heif.from_pillow(stored).save(folder / "a.heic", exif=exif.tobytes())
    image = read_image(folder / "a.heic")
    assert (image.size, corners(image)) == ((48, 32), UPRIGHT)
    assert set(Image.OPEN) - before <= {"AVIF"}


def bomb(width: int, height: int) -> bytes:
    image = io.BytesIO()
    Image.new("1", (1, 1)).save(image, "PNG")
    data = bytearray(image.getvalue())
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)


@pytest.mark.parametrize("limit", [Image.MAX_IMAGE_PIXELS, None])
def test_bombs_are_refused_even_where_the_host_took_the_limit_off(
    folder: Path, monkeypatch: pytest.MonkeyPatch, limit: int | None
):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    (folder / "a.png").write_bytes(bomb(50_000, 50_000))
    with pytest.raises(UnreadableImageError, match=r"too many pixels|too large"):
        read_image(folder / "a.png")


def test_pillows_switches_stay_as_they_are(folder: Path):
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, PngImagePlugin.MAX_TEXT_CHUNK)
    four_corners().save(folder / "a.png")
    read_image(folder / "a.png")
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, PngImagePlugin.MAX_TEXT_CHUNK)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM"]), st.data())
def test_damage_anywhere_gives_a_picture_or_a_reason(folder: Path, kind: str, data: st.DataObject):
    stream = io.BytesIO()
    four_corners().save(stream, kind)
    content = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(1, len(content))) :]
    path = folder / "a.bin"
    path.write_bytes(content)
    try:
        image = read_image(path)
    except UnreadableImageError as refused:
        image, reason = None, str(refused.reason)
    assert reason if image is None else image.mode == "RGB"


def test_masks_are_read_from_brightness_or_transparency(folder: Path):
    Image.new("L", (4, 4), 200).save(folder / "grey.png")
    Image.new("RGBA", (4, 4), (255, 255, 255, 77)).save(folder / "cutout.png")
    Image.new("RGBA", (4, 4), (0, 0, 0, 255)).save(folder / "opaque.png")
    seen = [read_mask(folder / name).getpixel((1, 1)) for name in ("grey.png", "cutout.png", "opaque.png")]
    assert seen == [200, 77, 0]
