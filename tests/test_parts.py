"""Which libraries are there, missing or broken: each one taken away, torn and broken in an environment of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lora_forge import parts
from tests.tiny_env import (
    A1111,
    CLASSIC,
    CLOSED,
    FORGE,
    NEO,
    NEWEST,
    REFORGE,
    ROOT,
    Environment,
    make_wheels,
    module_of,
    pinned,
)

pytestmark = pytest.mark.once  # the environments hold nothing of the stack's

# Every library that we may install, on A1111's pins.
EXTRA = pinned(
    "insightface==2.1 onnx==1.17.0 onnxruntime==1.23.2 pillow-heif==0.16.0 prodigyopt==1.1.2 lion-pytorch==0.2.3 "
    "schedulefree==1.4.1 bitsandbytes==0.45.5"
)
FULL = A1111 | EXTRA | {"diffusers": "0.31.0", "peft": "0.13.2"}
BY_NAME = {library.name: library for library in parts.LIBRARIES}
# By its path, as install.py does: the environments hold nothing of ours.
ASK = f"""
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("parts", {str(ROOT / "lora_forge" / "parts.py")!r})
parts = sys.modules["parts"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(parts)
"""


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "venv")


def fill(environment: Environment, packages: dict[str, str]) -> Environment:
    for name, version in packages.items():
        environment.put(name, version)
    return environment


def ask(environment: Environment, code: str, **env: str) -> Any:
    """``print`` some JSON in that environment."""
    done = environment.run("-c", ASK + code, **env)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def examine(environment: Environment, imports: bool = False) -> dict[str, dict[str, Any]]:
    """Name -> its part."""
    code = f"print(json.dumps([vars(part) for part in parts.examine(imports={imports})]))"
    return {part["name"]: part for part in ask(environment, code)}


def states(environment: Environment, imports: bool = False) -> dict[str, str]:
    """Those that are not simply there."""
    found = examine(environment, imports)
    return {name: part["state"] for name, part in found.items() if part["state"] != "present"}


def test_all_there(environment: Environment) -> None:
    found = examine(fill(environment, FULL), imports=True)
    assert {name: (part["state"], part["version"]) for name, part in found.items()} == {
        library.name: ("present", FULL[library.name]) for library in parts.LIBRARIES
    }
    assert not any(part["remedy"] or part["detail"] or part["command"] for part in found.values())
    assert [name for name, part in found.items() if part["is_needed"]] == [
        *("diffusers", "peft", "torch", "transformers", "accelerate", "safetensors", "numpy", "pillow")
    ]
    assert all(part["why"] and part["needed_for"] for part in found.values())


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_each_part_taken_away(environment: Environment, name: str) -> None:
    fill(environment, FULL)
    environment.take_away(name, FULL[name])
    found = examine(environment)
    assert {other for other, part in found.items() if part["state"] != "present"} == {name}
    part = found[name]
    is_ours = BY_NAME[name].level != "host"
    assert (part["state"], part["version"], part["can_install"]) == ("missing", "", is_ours)
    assert part["remedy"] == (parts.PRESS if is_ours else parts.HOST_REMEDY)
    assert (f"pip install --no-deps {name}==" in part["command"].replace('"', "")) is (
        is_ours and name not in ("pillow-avif-plugin", "lion-pytorch", "schedulefree")  # these have a range
    )


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_each_part_torn(environment: Environment, name: str) -> None:
    fill(environment, FULL)
    init = environment.site / module_of(name) / "__init__.py"
    init.unlink()  # the folder stays behind, as after an uninstall that could not remove it
    found = examine(environment)
    assert {other for other, part in found.items() if part["state"] != "present"} == {name}
    part = found[name]
    assert (part["state"], part["version"], part["can_install"]) == ("broken", FULL[name], False)
    assert part["detail"] == "Its files are gone."
    assert part["remedy"] == (parts.REPAIR if BY_NAME[name].level != "host" else parts.HOST_REMEDY)


@pytest.mark.parametrize("name", sorted(name for name, library in BY_NAME.items() if library.level != "host"))
def test_each_part_that_does_not_import(environment: Environment, name: str) -> None:
    fill(environment, FULL)
    body = "print('[\"noise')\nraise RuntimeError('Failed to import it because of:\\nthis\\nthat does not fit')\n"
    (environment.site / module_of(name) / "__init__.py").write_text(body, encoding="utf-8")
    assert states(environment) == {}  # nothing was imported
    found = examine(environment, imports=True)
    also = {"diffusers"} if name == "peft" else set()  # it imports peft
    assert {other for other, part in found.items() if part["state"] == "broken"} == {name} | also
    part = found[name]
    assert (part["detail"], part["remedy"], part["can_install"]) == ("that does not fit", parts.REPAIR, False)
    assert f"--no-deps {name}" in part["command"].replace('"', "")


def test_one_that_ends_python_is_found_and_those_behind_it_are_not_blamed(environment: Environment) -> None:
    fill(environment, FULL)
    body = "import os\nos._exit(3)\n"
    (environment.site / "onnxruntime" / "__init__.py").write_text(body, encoding="utf-8")
    found = examine(environment, imports=True)
    assert {name for name, part in found.items() if part["state"] == "broken"} == {"onnxruntime"}
    assert found["onnxruntime"]["detail"] == "Importing it ends Python."


@pytest.mark.parametrize(
    ("host", "changes", "broken"),
    [
        pytest.param(A1111, {"diffusers": "0.31.0", "peft": "0.14.0"}, {"diffusers", "peft"}, id="a1111-peft-0.14"),
        pytest.param(A1111, {"diffusers": "0.27.2", "peft": "0.13.2"}, {"diffusers"}, id="a1111-diffusers-0.27"),
        pytest.param(A1111, {"diffusers": "0.37.1", "peft": "0.13.2"}, {"diffusers"}, id="a1111-diffusers-0.37"),
        pytest.param(REFORGE, {"peft": "0.14.0"}, set(), id="reforge-peft-0.14"),
        pytest.param(REFORGE, {"peft": "0.15.2"}, {"diffusers", "peft"}, id="reforge-peft-0.15"),
        pytest.param(CLASSIC, {"peft": "0.14.0"}, {"diffusers", "peft"}, id="classic-peft-0.14"),
        pytest.param(FORGE, {}, set(), id="forge"),
        pytest.param(NEO, {"peft": "0.21.2"}, set(), id="neo"),
        pytest.param(NEWEST, {}, set(), id="newest"),
    ],
)
def test_pairs_that_were_seen_to_fail_are_named_without_importing(
    environment: Environment, host: dict[str, str], changes: dict[str, str], broken: set[str]
) -> None:
    found = examine(fill(environment, host | changes))
    assert {name for name, part in found.items() if part["state"] == "broken"} == broken
    if "peft" in broken:
        assert found["peft"]["detail"].startswith(f"peft {changes['peft']} needs a newer ")
        assert '"peft==0.13.2"' in found["peft"]["command"]


def test_another_build_of_onnxruntime_counts(environment: Environment) -> None:
    fill(environment, {**FULL, "onnxruntime-gpu": "1.20.1"})
    shutil.rmtree(environment.info("onnxruntime", "1.23.2"))
    assert examine(environment)["onnxruntime"]["version"] == "1.20.1"
    shutil.rmtree(environment.site / "onnxruntime")
    assert states(environment) == {"onnxruntime": "broken"}  # another onnxruntime would land in the same folder


def test_a_pillow_that_reads_avif_needs_no_plugin(environment: Environment) -> None:
    assert "pillow-avif-plugin" not in examine(fill(environment, NEO))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        pytest.param(A1111, ["0.31.0", "0.13.2"], id="a1111"),
        pytest.param(FORGE, ["0.31.0", "0.13.2"], id="forge"),
        pytest.param(REFORGE, ["0.31.0", "0.13.2"], id="reforge"),  # its accelerate is 0.21
        pytest.param(CLASSIC, ["0.31.0", "0.13.2"], id="classic"),
        pytest.param(NEO, ["0.37.1", "0.21.2"], id="neo"),
        pytest.param(NEWEST, ["0.37.1", "0.21.2"], id="newest"),
        pytest.param(NEO | {"numpy": "1.26.4"}, ["0.31.0", "0.13.2"], id="numpy-1"),
        pytest.param({}, ["0.37.1", "0.21.2"], id="nothing"),
    ],
)
def test_pins(environment: Environment, host: dict[str, str], expected: list[str]) -> None:
    asked = ask(fill(environment, host), "print(json.dumps(parts.requirements(parts.NEEDED)))")
    assert asked == [f"diffusers=={expected[0]}", f"peft=={expected[1]}"]


def test_the_button_installs_into_a_running_process(environment: Environment, tmp_path: Path) -> None:
    fill(environment, CLASSIC)
    wheels = make_wheels(tmp_path / "wheels")
    files, freeze = environment.files(), environment.freeze()
    code = """
told = [str(importlib.util.find_spec("peft"))]
told += [parts.install(["peft", "insightface"]), parts.install(["peft"])]
import peft, insightface
told += [part.state for part in parts.examine() if part.name in ("peft", "insightface")]
print(json.dumps(told))
"""
    told = ask(environment, code, PIP_NO_INDEX="1", PIP_FIND_LINKS=wheels.as_uri())
    assert told == [
        "None",
        "Installed peft==0.13.2, insightface==2.1; nothing else was changed.",
        "peft: already there, nothing was changed.",
        *("present", "present"),
    ]
    assert environment.freeze() == freeze | {"peft": "0.13.2", "insightface": "2.1"}
    assert environment.files().items() >= files.items()


def test_the_button_changes_nothing_that_is_there(environment: Environment, tmp_path: Path) -> None:
    fill(environment, CLASSIC | {"peft": "0.14.0", "onnxruntime-gpu": "1.20.1"})
    wheels = make_wheels(tmp_path / "wheels")
    files = environment.files()
    told = ask(
        environment,
        'print(json.dumps(parts.install(["peft", "onnxruntime"])))',
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS=wheels.as_uri(),
    )
    assert told == "peft, onnxruntime: already there, nothing was changed."
    assert environment.files() == files


def test_failures_of_the_button_are_sentences(environment: Environment) -> None:
    fill(environment, CLASSIC)
    code = """
parts._LOCK.acquire()
told = [parts.install(["peft"])]
parts._LOCK.release()
told += [parts.install(["peft"])]
try:
    parts.install(["torch"])
except KeyError as refused:
    told += [str(refused)]
print(json.dumps(told))
"""
    assert ask(environment, code, INDEX_URL=CLOSED) == [
        "An installation is already running.",
        "peft==0.13.2 could not be installed: the package index can't be reached.",
        "'torch'",
    ]
    (environment.folder / "tools" / "pip").rename(environment.folder / "no-pip")
    told = ask(environment, 'print(json.dumps(parts.install(["peft"])))')
    assert told.startswith("This Python has no pip; run: ")
