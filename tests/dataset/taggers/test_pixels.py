"""What reaches the network, pixel by pixel, through real models that give their input back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from lora_forge.dataset.taggers import OnnxTagger, TaggerError, tagger_in
from lora_forge.dataset.taggers.pixels import cl_pixels, on_white, read_stages, squared, staged, wd_pixels
from tests.dataset.taggers.conftest import SIDE, SPOTS, STRIDE, make_tagger

pytest.importorskip("onnxruntime")

RED_BLUE = (255, 64, 0)


def noise(width: int, height: int) -> Image.Image:
    random = np.random.default_rng(5)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


def seen(folder: Path, images: list[Image.Image]) -> npt.NDArray[np.float32]:
    found = tagger_in(folder)
    assert found is not None
    return OnnxTagger(found).score(images)


def spots(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The spots a test model gives, of (H, W, 3) or (3, H, W)."""
    start = STRIDE // 2
    picked = array[start::STRIDE, start::STRIDE] if array.shape[-1] == 3 else array[:, start::STRIDE, start::STRIDE]
    return picked.reshape(-1)


def bordered(image: Image.Image) -> npt.NDArray[np.float32]:
    """The WD maker's preparation, written down a second time: canvas, paste, bicubic, BGR."""
    width, height = image.size
    side = max(width, height)
    canvas = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    canvas[top : top + height, left : left + width] = np.asarray(image)
    return np.asarray(Image.fromarray(canvas).resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32)[:, :, ::-1]


@pytest.mark.parametrize("size", [(640, 360), (301, 500), (448, 448), (64, 64)])
def test_wd_takes_bgr_of_a_white_square_height_first(tmp_path: Path, size: tuple[int, int]) -> None:
    image = noise(*size)
    scores = seen(make_tagger(tmp_path / "m", "wd"), [image, Image.new("RGB", (SIDE, SIDE), RED_BLUE)])
    assert np.array_equal(scores[0], spots(bordered(image)) * np.float32(1 / 255))
    blue_first = np.tile(np.array(RED_BLUE[::-1], np.float32), SPOTS * SPOTS) * np.float32(1 / 255)
    assert np.array_equal(scores[1], blue_first)


def test_padding_is_white_and_lies_where_its_maker_puts_it() -> None:
    image = Image.new("RGB", (4, 7), (0, 0, 0))
    white = np.asarray(squared(image, 7))[:, :, 0] == 255
    assert [int(column) for column in np.flatnonzero(~white.any(axis=0))] == [1, 2, 3, 4]
    assert wd_pixels(image, 7).dtype == np.float32


def test_cl_takes_bgr_channels_first_from_minus_one_to_one(tmp_path: Path) -> None:
    image = noise(500, 200)
    expected = (spots(bordered(image).transpose(2, 0, 1)) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    scores = seen(make_tagger(tmp_path / "m", "cl"), [image])
    assert np.allclose(scores[0], 1 / (1 + np.exp(-expected.astype(np.float64))), atol=1e-6)
    plain = cl_pixels(Image.new("RGB", (8, 8), (255, 0, 0)), 8)
    assert (plain[0] == -1).all()
    assert (plain[2] == 1).all()


STAGES = [
    {"type": "resize", "size": [448, 448], "interpolation": "bilinear", "antialias": True, "max_size": None},
    {"type": "maybe_to_tensor"},
    {"type": "normalize", "mean": [0.5, 0.25, 0.5], "std": [0.5, 0.5, 0.25]},
]


def test_pixai_follows_its_own_file_rgb_without_padding(tmp_path: Path) -> None:
    image, folder = noise(700, 300), make_tagger(tmp_path / "m", "pixai", names=("logits", "embedding", "prediction"))
    (folder / "preprocess.json").write_text(json.dumps({"stages": STAGES}))
    squeezed = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32) / np.float32(255)
    expected = (squeezed - np.array([0.5, 0.25, 0.5], np.float32)) / np.array([0.5, 0.5, 0.25], np.float32)
    assert np.array_equal(seen(folder, [image])[0], spots(expected.transpose(2, 0, 1)))


def test_pixai_without_that_file_is_known_by_its_list(tmp_path: Path) -> None:
    image, folder = noise(300, 300), make_tagger(tmp_path / "m", "pixai", names=("prediction",))
    found = tagger_in(folder)
    assert found is not None
    assert found.layout == "pixai"
    squeezed = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32) / np.float32(255)
    expected = (squeezed - np.float32(0.5)) / np.float32(0.5)
    assert np.array_equal(seen(folder, [image])[0], spots(expected.transpose(2, 0, 1)))


def test_pixai_that_has_logits_alone_goes_through_a_sigmoid(tmp_path: Path) -> None:
    folder = make_tagger(tmp_path / "m", "pixai", names=("embedding", "logits"), scale=4.0)
    scores = seen(folder, [Image.new("RGB", (SIDE, SIDE), (255, 0, 255))])[0].reshape(3, -1)
    assert np.allclose(scores[:, 0], [1 / (1 + np.exp(-4)), 1 / (1 + np.exp(4)), 1 / (1 + np.exp(-4))], atol=1e-6)


@pytest.mark.parametrize(
    ("stages", "size"),
    [
        ([{"type": "resize", "size": 10}], (20, 10)),
        ([{"type": "resize", "size": [6, 8]}], (8, 6)),
        ([{"type": "resize", "size": 10}, {"type": "center_crop", "size": [10, 12]}], (12, 10)),
        ([{"type": "pad_to_size", "size": [16, 12], "background_color": "white"}], (16, 12)),
        ([{"type": "convert_rgb"}], (40, 20)),
    ],
)
def test_stages_mean_what_their_maker_means(stages: list[dict[str, object]], size: tuple[int, int]) -> None:
    assert staged(stages)(noise(40, 20)).shape == (3, size[1], size[0])


@pytest.mark.parametrize("content", ['{"stages": [{"type": "spin"}]}', "{}", "no", '{"stages": [{"type": "resize"}]}'])
def test_a_file_that_cant_be_followed_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "preprocess.json").write_text(content)
    with pytest.raises(TaggerError, match="can't be followed"):
        read_stages(tmp_path / "preprocess.json")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB"])
def test_what_is_transparent_is_white(mode: str) -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    image.putpixel((0, 0), (200, 0, 0, 0))
    other = image.convert(mode) if mode != "P" else image.convert("RGB").convert("P")
    assert on_white(other).getpixel((1, 0)) == (0, 0, 0)
    if mode in ("RGBA", "LA"):
        assert on_white(other).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("batch", ["batch", 1, 3])
def test_batches_free_and_fixed_give_the_same(tmp_path: Path, batch: int | str) -> None:
    folder = make_tagger(tmp_path / "m", "wd", batch=batch)
    found = tagger_in(folder)
    assert found is not None
    tagger = OnnxTagger(found)
    assert tagger.batch_size == (batch if isinstance(batch, int) else 4)
    images = [noise(50, 40), Image.new("RGB", (9, 9), RED_BLUE)][: tagger.batch_size]
    together = tagger.score(images)
    assert all(np.array_equal(together[k], OnnxTagger(found).score([one])[0]) for k, one in enumerate(images))
