"""An insightface pack of two tiny networks, so that the real insightface finds, aligns and compares offline.

The detector reads its answer from a strip of coloured blocks at the top of the picture (:func:`with_strip`): where the
faces are, and their five landmarks. The recogniser pools the colours of the face that insightface has aligned by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

SIDE = 640  # the detector's own input; a picture lies in it at the top left, its longer side 640
BLOCK = 8  # px in that input
MOST_FACES = 3
_VALUES = 14  # a box and five points
_SHIFT = 256  # boxes may begin outside

Points = Sequence[tuple[float, float]]
Planted = tuple[tuple[float, float, float, float], Points]
"""(left, top, right, bottom) and five points, in px of the picture."""


def with_strip(image: Image.Image, faces: Sequence[Planted]) -> Image.Image:
    """``image`` with what the detector shall find; its longer side must be 160, 320, 640 or 1280 px."""
    assert max(image.size) in (160, 320, 640, 1280)
    assert len(faces) <= MOST_FACES
    scale, made = SIDE / max(image.size), np.asarray(image.convert("RGB")).copy()
    block = round(BLOCK / scale)
    for number, (box, points) in enumerate(faces):
        values = [*box, *(value for point in points for value in point)]
        for place, value in enumerate(values):
            left = (number * _VALUES + place) * block
            whole = min(max(round(value * scale) + _SHIFT, 0), 1023)
            made[:block, left : left + block] = (whole // 4, whole % 4 * 64 + 32, 255)
    for number in range(len(faces), MOST_FACES):
        made[:block, number * _VALUES * block :][:, :block] = 0  # no face here
    return Image.fromarray(made)


def write_pack(folder: Path, *, recognition: bool = True) -> Path:
    """``folder`` with det_500m.onnx and w600k_mbf.onnx in it."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(_detector(), folder / "det_500m.onnx")
    if recognition:
        onnx.save(_recogniser(), folder / "w600k_mbf.onnx")
    return folder


def _const(name: str, values: object, dtype: object = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype=dtype), name)


def _detector() -> onnx.ModelProto:
    """SCRFD's nine outputs: scores, boxes and points for strides 8, 16 and 32, two anchors a cell; all at stride 32."""
    columns = np.arange(MOST_FACES * _VALUES) * BLOCK + BLOCK // 2
    centres = np.array([0.0, 0.0, 32.0])  # anchors 0 and 1 are at 0, anchor 2 at 32; all in the top row
    box_sign = np.tile([-1.0, -1.0, 1.0, 1.0], (3, 1)) / 32
    box_add = np.stack([centres, 0 * centres, -centres, 0 * centres], axis=1) / 32
    points_add = -np.tile(np.stack([centres, 0 * centres], axis=1), (1, 5)) / 32
    cells = {stride: 2 * (SIDE // stride) ** 2 for stride in (8, 16, 32)}
    constants = [
        _const("row", [BLOCK // 2], np.int64),
        _const("columns", columns, np.int64),
        _const("std", 128.0), _const("mean", 127.5), _const("four", 4.0), _const("g", 1 / 64),
        _const("shift", _SHIFT + 0.5),
        _const("shape", [MOST_FACES, _VALUES], np.int64),
        _const("r", [0], np.int64), _const("gi", [1], np.int64), _const("bi", [2], np.int64),
        _const("first", [0], np.int64), _const("fourth", [4], np.int64), _const("last", [_VALUES], np.int64),
        _const("axis", [1], np.int64), _const("one", [1], np.int64),
        _const("box_sign", box_sign), _const("box_add", box_add),
        _const("p32", 1 / 32), _const("points_add", points_add),
        _const("limit", 200.0), _const("zero", 0.0),
        *(_const(f"zeros{at}_{width}", np.zeros((cells[at], width))) for at in (8, 16) for width in (1, 4, 10)),
        *(_const(f"rest_{width}", np.zeros((cells[32] - MOST_FACES, width))) for width in (1, 4, 10)),
    ]  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Gather", ["input", "row"], ["line"], axis=2),
        node("Gather", ["line", "columns"], ["picked"], axis=3),
        node("Mul", ["picked", "std"], ["scaled"]),
        node("Add", ["scaled", "mean"], ["bytes"]),
        *(node("Gather", ["bytes", one], [to], axis=1) for to, one in (("R4", "r"), ("G4", "gi"), ("B4", "bi"))),
        *(node("Reshape", [f"{name}4", "shape"], [name]) for name in "RGB"),
        node("Mul", ["R", "four"], ["high"]), node("Mul", ["G", "g"], ["low"]),
        node("Add", ["high", "low"], ["sum"]), node("Sub", ["sum", "shift"], ["values"]),
        node("Slice", ["values", "first", "fourth", "axis"], ["boxes_px"]),
        node("Slice", ["values", "fourth", "last", "axis"], ["points_px"]),
        node("Mul", ["boxes_px", "box_sign"], ["boxes_in"]), node("Add", ["boxes_in", "box_add"], ["boxes"]),
        node("Mul", ["points_px", "p32"], ["points_in"]), node("Add", ["points_in", "points_add"], ["points"]),
        node("Slice", ["B", "first", "one", "axis"], ["flag"]),
        node("Sub", ["flag", "limit"], ["flag_over"]), node("Max", ["flag_over", "zero"], ["flag_plus"]),
        node("Sign", ["flag_plus"], ["score"]),
        *(node("Identity", [f"zeros{at}_{width}"], [f"out{at}_{width}"]) for at in (8, 16) for width in (1, 4, 10)),
        node("Concat", ["score", "rest_1"], ["out32_1"], axis=0),
        node("Concat", ["boxes", "rest_4"], ["out32_4"], axis=0),
        node("Concat", ["points", "rest_10"], ["out32_10"], axis=0),
    ]  # fmt: skip
    outputs = [
        helper.make_tensor_value_info(f"out{stride}_{width}", TensorProto.FLOAT, [cells[stride], width])
        for width in (1, 4, 10)
        for stride in (8, 16, 32)
    ]
    taken = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    return _model(helper.make_graph(nodes, "strip", [taken], outputs, constants))


def _recogniser() -> onnx.ModelProto:
    """Colour differences of the aligned 112 x 112 face, pooled to 4 x 4, spread over 512 numbers."""
    spread = np.linalg.qr(np.random.default_rng(0).normal(size=(512, 32)))[0].T
    constants = [_const("chroma", np.reshape([[1, -1, 0], [0, -1, 1]], (2, 3, 1, 1))), _const("spread", spread)]
    nodes = [
        helper.make_node("Conv", ["input", "chroma"], ["colours"]),
        helper.make_node("AveragePool", ["colours"], ["pooled"], kernel_shape=[28, 28], strides=[28, 28]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "spread"], ["embedding"]),
    ]
    taken = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 112, 112])
    given = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 512])
    return _model(helper.make_graph(nodes, "pool", [taken], [given], constants))


def _model(graph: onnx.GraphProto) -> onnx.ModelProto:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model
