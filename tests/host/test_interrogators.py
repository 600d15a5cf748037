"""The host's own interrogators, on stand-ins that do what the real ones were read to do: load on demand (and download
what is not there), caption on the device, move back."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from lora_forge.errors import MissingPartError
from lora_forge.host.interrogators import NO_BLIP, NO_DEEPBOORU, interrogators_of
from lora_forge.host.webui import WebUIHost
from tests.host.standin.webui import StandIn

RED = Image.new("RGBA", (8, 8), (255, 0, 0, 255))


class Interrogator:
    """``InterrogateModels``: ``load`` fetches what is not there, ``unload`` sends it to main memory."""

    def __init__(self, program: StandIn, root: Path) -> None:
        self.program, self.root = program, root
        self.where, self.calls, self.fails = "disk", [], False  # type: ignore[var-annotated]

    def load(self) -> None:
        assert list((self.root / "models" / "BLIP").glob("*.pth")), "would download 900 MB"
        self.where = "device"
        self.calls.append("load")

    def generate_caption(self, image: Image.Image) -> str:
        assert self.where == "device"
        assert self.program.lock._lock.locked(), "the lock is the host's"
        assert self.program.state.job == "interrogate"
        assert image.mode == "RGB"
        if self.fails:
            raise RuntimeError("out of memory")
        return "a red square"

    def unload(self) -> None:
        self.where = "memory"
        self.calls.append("unload")


class DeepDanbooru:
    """``modules.deepbooru.DeepDanbooru``."""

    def __init__(self, program: StandIn, root: Path) -> None:
        self.program, self.root, self.where = program, root, "disk"

    def start(self) -> None:
        assert list((self.root / "models" / "torch_deepdanbooru").glob("*.pt")), "would download 600 MB"
        self.where = "device"

    def stop(self) -> None:
        self.where = "memory"

    def tag_multi(self, image: Image.Image, force_disable_ranks: bool = False) -> str:
        assert self.where == "device"
        assert self.program.lock._lock.locked()
        assert image.mode == "RGB"
        return "1girl, rem \\(re:zero\\)" if force_disable_ranks else "(1girl:0.99)"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    made = StandIn(tmp_path, lambda seed, prompt: b"")
    shared: Any = made.modules["modules.shared"]
    shared.interrogator = Interrogator(made, tmp_path)
    shared.cmd_opts = SimpleNamespace(lora_dir="", clip_models_path=str(tmp_path / "clip"))
    made.sent = 0  # type: ignore[attr-defined]

    def send() -> None:
        made.sent += 1  # type: ignore[attr-defined]

    made.add("modules.lowvram", send_everything_to_cpu=send)
    made.add("modules.deepbooru", model=DeepDanbooru(made, tmp_path))
    made.install(monkeypatch)
    return made


def fetched(root: Path) -> None:
    for name in ("models/BLIP/blip.pth", "clip/ViT-L-14.pt", "models/torch_deepdanbooru/net.pt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"weights")


def turn() -> Any:
    return WebUIHost._turn(object.__new__(_Host))


class _Host(WebUIHost):
    """The part of a host that has the lock."""

    _lend = info = switch = check_loads = _networks = None  # type: ignore[assignment]


def test_nothing_is_ever_downloaded(program: StandIn, tmp_path: Path) -> None:
    blip, booru = interrogators_of(turn)
    assert (blip.problem, booru.problem) == (NO_BLIP, NO_DEEPBOORU)
    for one in (blip, booru):
        with pytest.raises(MissingPartError, match="not there yet"):
            one(RED)
    fetched(tmp_path)
    assert (blip.problem, booru.problem) == ("", "")
    (tmp_path / "clip" / "ViT-L-14.pt").unlink()
    assert blip.problem == NO_BLIP, "the host loads CLIP with BLIP, and would fetch it"


def test_a_sentence_and_tags_under_the_hosts_lock(program: StandIn, tmp_path: Path) -> None:
    fetched(tmp_path)
    blip, booru = interrogators_of(turn)
    assert (blip.kind, booru.kind) == ("sentence", "tags")
    assert blip(RED) == "a red square"
    assert booru(RED) == "1girl, rem (re:zero)"
    shared: Any = program.modules["modules.shared"]
    assert shared.interrogator.calls == ["load", "unload"]
    assert program.modules["modules.deepbooru"].model.where == "memory"
    assert program.sent == 1  # type: ignore[attr-defined]
    assert not program.lock._lock.locked()
    assert program.state.job == ""


def test_a_failure_leaves_the_host_as_it_was(program: StandIn, tmp_path: Path) -> None:
    fetched(tmp_path)
    shared: Any = program.modules["modules.shared"]
    shared.interrogator.fails = True
    with pytest.raises(RuntimeError, match="out of memory"):
        interrogators_of(turn)[0](RED)
    assert shared.interrogator.where == "memory"
    assert not program.lock._lock.locked()
    assert program.state.job == ""


def test_a_host_without_them_offers_none(program: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    shared: Any = program.modules["modules.shared"]
    shared.interrogator = None
    program.modules["modules.deepbooru"].model = None
    assert interrogators_of(turn) == ()
