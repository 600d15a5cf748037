"""``install.py`` as a WebUI's launcher runs it, in environments that hold each host's pins."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.tiny_env import A1111, CLASSIC, CLOSED, FORGE, NEO, NEWEST, REFORGE, ROOT, Environment, make_wheels

pytestmark = pytest.mark.once  # the environments hold nothing of the stack's

TRAP = "raise SystemExit('the WebUI was imported')\n"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_wheels(tmp_path_factory.mktemp("index") / "wheels")


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "venv")


@pytest.fixture
def webui(tmp_path: Path) -> Path:
    """A WebUI's folder with the extension in it, of which nothing but the two files is there."""
    place = tmp_path / "我的 webui"
    extension = place / "extensions" / "lora-forge"
    (extension / "lora_forge").mkdir(parents=True)
    shutil.copy(ROOT / "install.py", extension)
    shutil.copy(ROOT / "lora_forge" / "parts.py", extension / "lora_forge")
    (extension / "lora_forge" / "__init__.py").write_text(TRAP, encoding="utf-8")
    (place / "modules").mkdir()
    for trap in ("launch.py", "modules/__init__.py"):
        (place / trap).write_text(TRAP, encoding="utf-8")
    return place


def launch(environment: Environment, webui: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """As ``launch_utils.run_extension_installer`` does it: the host's Python, folder and PYTHONPATH."""
    script = webui / "extensions" / "lora-forge" / "install.py"
    return environment.run(script, cwd=webui, PYTHONPATH=str(webui), **env)


def stamp(webui: Path) -> Path:
    return webui / "extensions" / "lora-forge" / ".install-failed.json"


@pytest.mark.parametrize(
    ("host", "added"),
    [
        pytest.param(A1111, {"diffusers": "0.31.0", "peft": "0.13.2"}, id="a1111"),
        pytest.param(FORGE, {}, id="forge"),
        pytest.param(REFORGE, {"peft": "0.13.2"}, id="reforge"),
        pytest.param(CLASSIC, {"peft": "0.13.2"}, id="classic"),
        pytest.param(NEO, {"peft": "0.21.2"}, id="neo"),
        pytest.param(
            {name: version for name, version in NEO.items() if name != "diffusers"},
            {"diffusers": "0.37.1", "peft": "0.21.2"},
            id="neo-without-diffusers",
        ),
        pytest.param(NEWEST, {}, id="newest"),
    ],
)
def test_each_host_gets_what_it_lacks_and_nothing_else_changes(
    environment: Environment, webui: Path, wheels: Path, host: dict[str, str], added: dict[str, str]
) -> None:
    for name, version in host.items():
        environment.put(name, version)
    files, freeze = environment.files(), environment.freeze()
    done = launch(environment, webui, PIP_NO_INDEX="1", PIP_FIND_LINKS=wheels.as_uri())
    assert (done.returncode, done.stderr) == (0, "")
    assert environment.freeze() == freeze | added
    assert environment.files().items() >= files.items()
    named = ", ".join(f"{name}=={version}" for name, version in added.items())
    assert done.stdout == (f"LoRA Forge: Installed {named}; nothing else was changed.\n" if added else "")
    assert not stamp(webui).exists()
    assert launch(environment, webui, INDEX_URL=CLOSED).stdout == ""


def test_offline_is_one_line_a_day(environment: Environment, webui: Path) -> None:
    for name, version in A1111.items():
        environment.put(name, version)
    files = environment.files()
    first = launch(environment, webui, INDEX_URL=CLOSED)
    wanted = "diffusers==0.31.0, peft==0.13.2"
    line = f"LoRA Forge: {wanted} could not be installed: the package index can't be reached.\n"
    assert (first.returncode, first.stdout, first.stderr) == (0, line, "")
    assert environment.files() == files

    # pip is taken away: a second try would have to say so.
    (environment.folder / "tools" / "pip").rename(environment.folder / "no-pip")
    second = launch(environment, webui, INDEX_URL=CLOSED)
    line = f"LoRA Forge: {wanted} still missing; not tried again within a day of the last failure, the tab has a "
    assert (second.returncode, second.stdout, second.stderr) == (0, line + "button for it.\n", "")

    note = json.loads(stamp(webui).read_text(encoding="utf-8"))
    for age_s, is_tried in ((3600, False), (24 * 3600, True), (-3600, True)):
        stamp(webui).write_text(json.dumps(note | {"failed_at": time.time() - age_s}), encoding="utf-8")
        assert ("has no pip" in launch(environment, webui, INDEX_URL=CLOSED).stdout) is is_tried
    for torn in ("", "[]", '{"wish": 1}', json.dumps(note | {"failed_at": "?"}), json.dumps(note | {"wish": {}})):
        stamp(webui).write_text(torn, encoding="utf-8")
        assert "has no pip" in launch(environment, webui, INDEX_URL=CLOSED).stdout


def test_another_index_is_tried_at_once_and_a_success_clears_the_note(
    environment: Environment, webui: Path, wheels: Path
) -> None:
    for name, version in CLASSIC.items():
        environment.put(name, version)
    assert "can't be reached" in launch(environment, webui, INDEX_URL=CLOSED).stdout
    page = wheels.parent / "simple" / "peft"
    page.mkdir(parents=True)
    links = "".join(f'<a href="../../wheels/{wheel.name}">{wheel.name}</a>' for wheel in wheels.glob("peft-*.whl"))
    (page / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>", encoding="utf-8")
    done = launch(environment, webui, INDEX_URL=page.parent.as_uri())
    assert done.stdout == "LoRA Forge: Installed peft==0.13.2; nothing else was changed.\n"
    assert not stamp(webui).exists()


def test_nothing_is_ever_built_from_source(environment: Environment, webui: Path, tmp_path: Path) -> None:
    for name, version in CLASSIC.items():
        environment.put(name, version)
    source = tmp_path / "source" / "peft-0.13.2"
    source.mkdir(parents=True)
    (source / "setup.py").write_text("open('built', 'w')\n", encoding="utf-8")
    shutil.make_archive(str(source), "gztar", source.parent, source.name)
    done = launch(environment, webui, PIP_NO_INDEX="1", PIP_FIND_LINKS=source.parent.as_uri())
    assert "could not be installed: the package index has no ready-made build for Python 3." in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert "peft" not in environment.freeze()


def test_what_is_torn_is_left_to_the_tab(environment: Environment, webui: Path, wheels: Path) -> None:
    for name, version in FORGE.items():
        environment.put(name, version)
    shutil.rmtree(environment.site / "peft")  # its files are gone, its note is not: pip would replace that
    files = environment.files()
    done = launch(environment, webui, PIP_NO_INDEX="1", PIP_FIND_LINKS=wheels.as_uri())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert environment.files() == files


def test_skip_install_is_obeyed(environment: Environment, webui: Path, wheels: Path) -> None:
    for name, version in CLASSIC.items():
        environment.put(name, version)
    env = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels.as_uri(), "COMMANDLINE_ARGS": "--xformers --skip-install"}
    done = launch(environment, webui, **env)
    assert done.returncode == 0
    assert done.stdout.startswith("LoRA Forge: peft==0.13.2 missing and not installed (--skip-install)")
    assert "peft" not in environment.freeze()


@pytest.mark.parametrize(
    ("breakage", "words"),
    [
        ("raise RuntimeError('torn')\n", "install.py stopped (RuntimeError: torn); the tab shows what is missing."),
        (None, "install.py stopped (FileNotFoundError: "),
    ],
)
def test_it_never_fails(environment: Environment, webui: Path, breakage: str | None, words: str) -> None:
    file = webui / "extensions" / "lora-forge" / "lora_forge" / "parts.py"
    if breakage is None:
        file.unlink()
    else:
        file.write_text(breakage, encoding="utf-8")
    done = launch(environment, webui)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"LoRA Forge: {words}")
    assert len(done.stdout.splitlines()) == 1


def test_a_strange_command_line_is_no_failure(environment: Environment, webui: Path) -> None:
    done = launch(environment, webui, COMMANDLINE_ARGS='--theme "dark')
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1
