"""Small real models and packs, a server that has them, and a shelf that asks it."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lora_forge.downloads import Item, Mirrors, RemoteFile, Shelf
from lora_forge.downloads.fetching import Patience
from lora_forge.events import CommandBox, Event, Progress
from tests.downloads.server import FileServer

CSV = b"tag_id,name,category,count\n1,general,9,1\n2,long_hair,0,5\n"


def tiny_onnx(filling: int = 60_000) -> bytes:
    """A real model of about ``filling`` bytes that gives its input."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    noise = b"".join(hashlib.sha256(str(number).encode()).digest() for number in range(filling // 32))
    weights = helper.make_tensor("w", TensorProto.UINT8, [len(noise)], noise, raw=True)
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", sides[:1], sides[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def pack(folder: str, **members: bytes) -> bytes:
    """A zip of ``members`` (without .onnx), inside ``folder`` when it is given."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        if folder:
            archive.writestr(f"{folder}/", b"")
        for name, content in members.items():
            archive.writestr(f"{folder}/{name}.onnx" if folder else f"{name}.onnx", content)
    return file.getvalue()


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class World:
    """``model`` is what the tagger ``tiny`` consists of, with its list; ``faces`` and ``nested`` are packs."""

    root: Path
    server: FileServer
    model: bytes
    items: tuple[Item, ...]
    events: list[Event] = field(default_factory=list)
    commands: CommandBox = field(default_factory=CommandBox)
    free: int = 1 << 40

    @property
    def shelf(self) -> Shelf:
        patience = Patience(timeout_s=5, pause_s=0.01, attempts=3)
        return Shelf(self.root / "models", Mirrors(self.root / "d.json"), self.items, patience, lambda _: self.free)

    def state(self, id: str) -> str:
        return self.shelf.standing(next(item for item in self.items if item.id == id)).state

    def get(self, id: str, **more: bool) -> str:
        return self.shelf.download(id, self.events.append, self.commands, **more)

    def path(self, name: str) -> Path:
        return self.root / "models" / name

    @property
    def told(self) -> list[tuple[int, int]]:
        return [(event.done, event.total) for event in self.events if isinstance(event, Progress)]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    model, faces = tiny_onnx(), pack("", det=tiny_onnx(3000), rec=tiny_onnx(5000))
    nested = pack("nested", det=tiny_onnx(3000), rec=tiny_onnx(5000))
    server = FileServer(
        {"/t/model.onnx": model, "/t/tags.csv": CSV, "/f/faces.zip": faces, "/f/nested.zip": nested, "/p/x.onnx": model}
    )

    def item(
        id: str, files: tuple[RemoteFile, ...], folder: str, unpacks: tuple[str, ...] = (), terms: str = ""
    ) -> Item:
        kind = "faces" if unpacks else "tagger"
        return Item(id, id, kind, server.url, "maker/repo", files, "free", "", folder, unpacks, terms)  # type: ignore[arg-type]

    onnx = RemoteFile("model.onnx", "/t/model.onnx", len(model), sha(model))
    items = (
        item("tiny", (onnx, RemoteFile("selected_tags.csv", "/t/tags.csv", len(CSV), sha(CSV))), "taggers/tiny"),
        item("unsummed", (RemoteFile("model.onnx", "/p/x.onnx", 50_000),), "taggers/unsummed"),
        *(
            item(
                id,
                (RemoteFile(f"{id}.zip", f"/f/{id}.zip", len(content), sha(content)),),
                f"insightface/models/{id}",
                ("det.onnx", "rec.onnx"),
                "Research only.",
            )
            for id, content in (("faces", faces), ("nested", nested))
        ),
    )
    yield World(tmp_path, server, model, items)
    server.close()
