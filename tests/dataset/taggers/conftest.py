"""Real ONNX models made on the spot whose outputs are pixels of their input, so that a wrong colour order, layout,
padding, size or scale shows in the figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lora_forge.dataset.project import Project

STRIDE = 64
SIDE = 448
SPOTS = SIDE // STRIDE
HEADERS = {"wd": "tag_id,name,category,count", "pixai": "id,tag_id,name,category,count,ips"}


def write_model(
    path: Path, layout: str, *, batch: int | str = "batch", scale: float = 1.0, names: Sequence[str] = ("scores",)
) -> int:
    """A network that gives every 64th pixel, times ``scale``, flat; returns how many outputs that is.

    With several ``names`` the last is the pixels, the others are their negatives.
    """
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    axes, shape = ([1, 2], [batch, SIDE, SIDE, 3]) if layout == "wd" else ([2, 3], [batch, 3, SIDE, SIDE])
    start = STRIDE // 2
    numbers = {"starts": [start, start], "ends": [SIDE, SIDE], "axes": axes, "steps": [STRIDE, STRIDE]}
    constants = [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in numbers.items()]
    constants.append(numpy_helper.from_array(np.array(scale, np.float32), "scale"))
    nodes = [
        helper.make_node("Slice", ["input", "starts", "ends", "axes", "steps"], ["cut"]),
        helper.make_node("Flatten", ["cut"], ["flat"], axis=1),
        helper.make_node("Mul", ["flat", "scale"], [names[-1]]),
        *(helper.make_node("Neg", [names[-1]], [name]) for name in names[:-1]),
    ]
    count = SPOTS * SPOTS * 3
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, count]) for name in names]
    taken = [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "g", taken, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return count


def write_list(folder: Path, layout: str, count: int, first: Sequence[tuple[str, Any]] = ()) -> None:
    """A list of ``count`` tags: ``first`` (name, category), then tag_7 and so on."""
    rows = [*first, *((f"tag_{number}", 0) for number in range(len(first), count))][:count]
    if layout == "cl":
        named = {0: "General", 4: "Character", 9: "Rating"}
        mapping = {str(k): {"tag": name, "category": named.get(kind, kind)} for k, (name, kind) in enumerate(rows)}
        (folder / "tag_mapping.json").write_text(json.dumps(mapping))
        return
    lines = [HEADERS[layout]]
    for number, (name, kind) in enumerate(rows):
        lines.append(f"{number},{name},{kind},1" if layout == "wd" else f'{number},{number},{name},{kind},1,"[""x""]"')
    (folder / "selected_tags.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_tagger(folder: Path, layout: str, first: Sequence[tuple[str, Any]] = (), **more: Any) -> Path:
    """A whole tagger in ``folder``. WD models give probabilities, so the pixels are scaled to 0..1 there."""
    more.setdefault("scale", 1 / 255 if layout == "wd" else 1.0)
    count = write_model(folder / "model.onnx", layout, **more)
    write_list(folder, layout, count, first)
    return folder


def photo(
    project: Project, key: str, colour: tuple[int, int, int], caption: str = "", size: tuple[int, int] = (40, 30)
) -> str:
    path = project.images_dir / key
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    if caption:
        path.with_suffix(".txt").write_text(caption + "\n", encoding="utf-8")
    return key


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "anna", "ohwx")
