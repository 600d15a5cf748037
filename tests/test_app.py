"""The composition root in a stand-in of a WebUI: the tab is registered, built, and its routes answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lora_forge import app
from lora_forge.errors import CheckpointError
from lora_forge.toyworld import checkpoint_path
from tests.host.standin.a1111 import A1111StandIn

gradio = pytest.importorskip("gradio")


class Callbacks:
    """``modules.script_callbacks``, and what Reload UI does with it."""

    def __init__(self) -> None:
        self.tabs: list[Any] = []
        self.starts: list[Any] = []

    def into(self, program: A1111StandIn) -> None:
        program.add("modules.script_callbacks", on_ui_tabs=self.tabs.append, on_app_started=self.starts.append)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[A1111StandIn]:
    made = A1111StandIn(tmp_path, checkpoint_path(), (4,))
    models = made.modules["modules.sd_models"]
    models.checkpoint_tiles = lambda: ["toy.safetensors"]
    made.add(
        "modules.infotext_utils",
        register_paste_params_button=lambda binding: None,
        ParamBinding=lambda **named: SimpleNamespace(**named),
    )
    app.desk.cache_clear()
    yield made
    app.desk.cache_clear()


def installed(program: A1111StandIn, monkeypatch: pytest.MonkeyPatch) -> Callbacks:
    """The program with our script run in it."""
    callbacks = Callbacks()
    callbacks.into(program)
    program.install(monkeypatch)
    app.register()
    return callbacks


@pytest.mark.slow
def test_the_tab_is_built_and_its_routes_answer(
    program: A1111StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from starlette.testclient import TestClient

    callbacks = installed(program, monkeypatch)
    (tabs,), (start,) = callbacks.tabs, callbacks.starts
    ((page, title, name),) = tabs()
    assert (type(page).__name__, title, name) == ("Blocks", "LoRA Forge", "lora_forge_tab")
    assert "Traceback" not in capsys.readouterr().err  # a page that can't be built is a card, and tells the console why
    assert "LoRA Forge can't open" not in str(page.get_config_file())
    for _ in range(2):  # Reload UI makes a new application and calls again
        web_app = gradio.routes.App.create_app(page)
        start(page, web_app)
        got = TestClient(web_app).get("/lora_forge/status")
        assert (got.status_code, got.json()["state"]) == (200, "idle")


def test_a_program_that_nobody_knows_gets_a_card_that_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    app.desk.cache_clear()
    with pytest.raises(CheckpointError, match="does not know this WebUI"):
        app.desk()
    page = app.build()
    assert "LoRA Forge does not know this WebUI" in str(page.get_config_file())
    assert "CheckpointError" in capsys.readouterr().err
