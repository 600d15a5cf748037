"""``standalone.py`` as a person meets it: copied into an empty folder and run by the Python at hand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny_env import CLOSED, ROOT, Environment

FILES = ["standalone.py", "pyproject.toml", *(path.name for path in ROOT.glob("requirements-*.txt"))]


@pytest.fixture(scope="module")
def made_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment to copy: making one takes longer than all that is tested in it."""
    place = tmp_path_factory.mktemp("venv") / ".venv"
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True, capture_output=True)
    return place


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The program's folder with a space and a Chinese name, before anything is installed."""
    place = tmp_path / "我的 forge"
    place.mkdir()
    for name in FILES:
        shutil.copy(ROOT / name, place / name)
    return place


def start(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run it away from its folder, with pip's own settings of this machine switched off."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "TORCH_INDEX", "INDEX_"))}
    clean.update({"PIP_CONFIG_FILE": os.devnull, "PYTHONUTF8": "1", **env})
    command = [sys.executable, str(folder / "standalone.py"), *words]
    return subprocess.run(
        command, capture_output=True, encoding="utf-8", check=False, cwd=folder.parent, env=clean, timeout=300
    )


def stand_in(folder: Path, *, venv: str = ".venv", **stamp: str) -> Path:
    """A ``.venv`` whose Python is this one, stamped as holding ``stamp``."""
    scripts = folder / venv / ("Scripts" if os.name == "nt" else "bin")
    scripts.mkdir(parents=True)
    python = scripts / ("python.exe" if os.name == "nt" else "python")
    python.symlink_to(sys.executable)
    (folder / venv / "lora-forge.json").write_text(json.dumps(stamp), encoding="utf-8")
    return python


def test_help_needs_nothing(folder: Path) -> None:
    done = start(folder, "--help")
    assert done.returncode == 0
    assert all(f"\n  {verb} " in done.stdout for verb in ("demo", "ui", "test"))
    assert not (folder / ".venv").exists()


def test_no_verb_and_a_wrong_verb_are_wrong_usage(folder: Path) -> None:
    assert start(folder).returncode == 2
    done = start(folder, "train")
    assert done.returncode == 2
    assert "it is one of demo, ui, test" in done.stderr
    assert not (folder / ".venv").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"PIP_INDEX_URL": CLOSED}, "the package index can't be reached"),
        ({"TORCH_INDEX_URL": CLOSED}, "the package index can't be reached"),
        ({"PIP_NO_INDEX": "1"}, "the package index has no build of torch"),
    ],
)
def test_no_network_is_one_sentence(folder: Path, made_venv: Path, env: dict[str, str], words: str) -> None:
    shutil.copytree(made_venv, folder / ".venv", symlinks=True)
    done = start(folder, "demo", **env)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert words in last
    assert "Traceback" not in done.stderr
    assert "ERROR" not in done.stderr  # pip's own words stay in the log
    assert (folder / ".venv" / "install.log").read_text(encoding="utf-8", errors="replace")
    assert not (folder / ".venv" / "lora-forge.json").exists()  # nothing is in, so nothing is claimed


def test_what_is_installed_starts_at_once_and_passes_options_on(folder: Path) -> None:
    stamp = _current_stamp(folder, "torch", "core")
    stand_in(folder, **stamp)
    (folder.parent / "lora_forge").mkdir()
    (folder.parent / "lora_forge" / "__main__.py").write_text("import sys; print(sys.argv[1:]); sys.exit(7)")
    done = start(folder, "demo", "--out", "a b", PYTHONPATH=str(folder.parent), PIP_INDEX_URL=CLOSED)
    assert (done.returncode, done.stdout) == (7, "['demo', '--out', 'a b']\n")
    assert done.stderr == ""


@pytest.mark.slow
def test_a_changed_requirement_is_installed_again_and_the_stamp_tells_the_truth(folder: Path) -> None:
    stamp = _current_stamp(folder, "torch", "core")
    stand_in(folder, **stamp)
    with (folder / "requirements-core.txt").open("a") as file:
        file.write("a-package-of-tomorrow\n")
    done = start(folder, "demo", PIP_INDEX_URL=CLOSED)
    assert done.returncode == 1
    assert "diffusers, peft, transformers" in done.stderr
    left = json.loads((folder / ".venv" / "lora-forge.json").read_text())
    assert set(left) == {"torch", "package"}


@pytest.mark.slow
def test_an_environment_that_was_cut_off_is_made_anew(folder: Path) -> None:
    (folder / ".venv" / "half").mkdir(parents=True)
    done = start(folder, "demo", PIP_INDEX_URL=CLOSED)
    assert "Making the environment" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: the package index can't be reached")
    assert not (folder / ".venv" / "half").exists()


@pytest.mark.slow
def test_a_torch_that_reaches_a_card_is_used_and_not_installed(folder: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "torch").mkdir(parents=True)
    text = "class backends:\n    mps = None\nclass cuda:\n    is_available = staticmethod(lambda: True)\n"
    (site / "torch" / "__init__.py").write_text(text, encoding="utf-8")
    done = start(folder, "demo", PYTHONPATH=str(site), PIP_INDEX_URL=CLOSED)
    assert f"Using the torch that is already there: {site}" in done.stderr
    assert "Installing torch" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: the package index can't be reached, so diffusers")
    borrowed = list((folder / ".venv").rglob("zz_lora_forge_torch.pth"))
    assert [path.read_text(encoding="utf-8") for path in borrowed] == [f"{site}\n"]
    assert json.loads((folder / ".venv" / "lora-forge.json").read_text()).keys() == {"torch"}


def test_tools_settings_do_not_ask_for_a_new_install(folder: Path) -> None:
    before = _current_stamp(folder)
    text = (folder / "pyproject.toml").read_text(encoding="utf-8")
    (folder / "pyproject.toml").write_text(text.replace("line-length = 120", "line-length = 100"), encoding="utf-8")
    assert _current_stamp(folder) == before
    (folder / "pyproject.toml").write_text(text.replace('"lora_forge.cli:main"', '"x:y"'), encoding="utf-8")
    assert _current_stamp(folder) != before


@pytest.fixture
def tools(folder: Path, tmp_path: Path) -> Path:
    """Both stacks stamped as complete, and tools that say how they were called; returns the folder with the tools."""
    newest = stand_in(folder, **_current_stamp(folder, "torch", "core", "ui", "extras", "nodeps", "dev"))
    stand_in(folder, venv=".venv/a1111", **_current_stamp(folder, "torch", "a1111", "a1111-nodeps"))
    place = tmp_path / "tools"
    place.mkdir()
    code = """import os, sys
stack = "a1111" if "a1111" in sys.executable else "newest"
print("{name}", stack, *sys.argv[1:], flush=True)
sys.exit(int(os.environ.get("{name}_" + stack, "0")))
"""
    for name in ("ruff", "mypy", "pytest"):
        (place / f"{name}.py").write_text(code.replace("{name}", name), encoding="utf-8")
    linter = newest.parent / "lint-imports"
    linter.write_text("#!/bin/sh\n", encoding="utf-8")
    linter.chmod(0o755)
    return place


needs_links = pytest.mark.skipif(os.name == "nt", reason="the stand-in environment is made of links")
needs_pins = pytest.mark.skipif(sys.version_info >= (3, 12), reason="A1111's pins end at Python 3.11")


@needs_links
@needs_pins
def test_test_runs_the_checks_once_and_the_tests_on_both_stacks(folder: Path, tools: Path) -> None:
    done = start(folder, "test", PYTHONPATH=str(tools), PIP_INDEX_URL=CLOSED)
    assert (done.returncode, done.stderr) == (0, "")
    workers = f"-n {min(os.cpu_count() or 1, 4)} --dist worksteal"
    assert done.stdout.splitlines() == [
        *("ruff check: passed", "ruff format: passed", "mypy: passed", "import-linter: passed"),
        *("pytest on the stack newest:", f"pytest newest {workers}"),
        *(
            "pytest on the stack a1111:",
            f"pytest a1111 {workers} --ignore {os.path.join('tests', 'test_standalone.py')} -m not once",
        ),
    ]


@needs_links
@needs_pins
@pytest.mark.parametrize(("which", "code"), [("mypy_newest", 1), ("pytest_newest", 3), ("pytest_a1111", 4)])
def test_any_failure_fails_the_command_and_all_the_rest_still_runs(
    folder: Path, tools: Path, which: str, code: int
) -> None:
    done = start(folder, "test", PYTHONPATH=str(tools), **{which: str(code)})
    assert done.returncode == code
    assert [line.split(" -")[0] for line in done.stdout.splitlines() if line.startswith("pytest")] == [
        *("pytest on the stack newest:", "pytest newest", "pytest on the stack a1111:", "pytest a1111")
    ]
    assert done.stderr == ("error: mypy failed, see above the tests.\n" if which == "mypy_newest" else "")


@needs_links
@needs_pins
def test_the_second_environment_is_made_beside_the_checks_and_its_failure_comes_after_the_firsts_tests(
    folder: Path, tools: Path
) -> None:
    (folder / "requirements-a1111.txt").open("a").write("a-package-of-tomorrow\n")
    log = folder / ".venv" / "a1111" / "install.log"  # pip's: it is there as soon as that install has begun
    waits = f"import os, sys, time\nend = time.monotonic() + 60\nwhile not os.path.exists({str(log)!r}):\n"
    waits += "    time.sleep(0.02)\n    if time.monotonic() > end: sys.exit(1)\n"
    (tools / "ruff.py").write_text(waits, encoding="utf-8")  # it would wait in vain if that began after the checks
    done = start(folder, "test", PYTHONPATH=str(tools), PIP_INDEX_URL=CLOSED, pytest_newest="3")
    assert done.returncode == 1
    assert [line.split(" -")[0] for line in done.stdout.splitlines()] == [
        *("ruff check: passed", "ruff format: passed", "mypy: passed", "import-linter: passed"),
        *("pytest on the stack newest:", "pytest newest"),
    ]
    first, last = done.stderr.splitlines()
    assert first == "Installing what AUTOMATIC1111 pins ..."
    assert last.startswith("error: the package index can't be reached, so what AUTOMATIC1111 pins can't be installed")


@needs_links
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-k", "buckets", "-x"], "pytest newest -k buckets -x"),
        (["--stack", "newest", "-k", "x"], "pytest newest -k x"),
        pytest.param(["--stack", "a1111", "-k", "x"], "pytest a1111 -k x", marks=needs_pins),
        pytest.param(["--stack=a1111", "-x"], "pytest a1111 -x", marks=needs_pins),
    ],
)
def test_with_options_only_pytest_runs_on_one_stack(folder: Path, tools: Path, words: list[str], expected: str) -> None:
    if "a1111" not in expected:
        shutil.rmtree(folder / ".venv" / "a1111")  # it would have to be installed
    done = start(folder, "test", *words, PYTHONPATH=str(tools), PIP_INDEX_URL=CLOSED)
    assert (done.returncode, done.stdout, done.stderr) == (0, expected + "\n", "")


@needs_links
@needs_pins
def test_one_stack_alone(folder: Path, tools: Path) -> None:
    done = start(folder, "test", "--stack", "a1111", PYTHONPATH=str(tools))
    assert [line.split(" -")[0] for line in done.stdout.splitlines()] == ["pytest on the stack a1111:", "pytest a1111"]
    done = start(folder, "test", "--stack", "newest", PYTHONPATH=str(tools))
    assert done.stdout.splitlines()[0] == "ruff check: passed"
    assert "pytest a1111" not in done.stdout


@pytest.mark.parametrize("words", [["--stack", "forge"], ["--stack=forge", "-x"], ["--stack"]])
def test_an_unknown_stack_is_wrong_usage(folder: Path, words: list[str]) -> None:
    done = start(folder, "test", *words)
    assert done.returncode == 2
    assert "it is one of newest, a1111" in done.stderr
    assert not (folder / ".venv").exists()


@needs_links
@needs_pins
@pytest.mark.slow
def test_the_second_stack_sees_the_firsts_torch_and_nothing_else_of_it(folder: Path, made_venv: Path) -> None:
    first = Environment(folder / ".venv")
    shutil.copytree(made_venv, folder / ".venv" / "a1111", symlinks=True)
    for name in ("torch", "transformers", "numpy", "gradio"):  # tiny ones: torch asks for the next two
        first.put(name, "99.0", body="")
    (folder / ".venv" / "lora-forge.json").write_text(json.dumps(_current_stamp(folder, "torch")), encoding="utf-8")
    done = start(folder, "test", "--stack", "a1111", PIP_INDEX_URL=CLOSED)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: the package index can't be reached, so what AUTOMATIC1111")
    second = folder / ".venv" / "a1111"
    assert json.loads((second / "lora-forge.json").read_text()).keys() == {"torch"}
    code = "import importlib.util as u; print(*(n for n in ('torch', 'numpy', 'gradio') if u.find_spec(n)))"
    seen = subprocess.run([str(second / "bin" / "python"), "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout == "torch numpy\n"
    code = "import torch, importlib.metadata as m; print(torch.__file__, m.version('torch'))"
    seen = subprocess.run([str(second / "bin" / "python"), "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout == f"{second / 'torch' / 'torch' / '__init__.py'} 99.0\n"


def test_a_newer_python_leaves_the_pins_out_with_a_sentence(folder: Path) -> None:
    newer = _pythons("3.1[2-9]")
    if not newer:
        pytest.skip("no Python newer than 3.11 on this machine")
    command = [newer[0], "standalone.py", "test", "--stack", "a1111"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 1
    assert done.stderr.startswith("error: AUTOMATIC1111's pins exist for Python 3.10 and 3.11 only and this is 3.1")
    assert not (folder / ".venv").exists()


def _current_stamp(folder: Path, *parts: str) -> dict[str, str]:
    names = [*parts, "package"]
    code = f"import standalone, json; print(json.dumps({{name: standalone.wanted(name) for name in {names!r}}}))"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    return dict(json.loads(made.stdout))


def _pythons(pattern: str) -> list[str]:
    """Other Pythons of this machine whose version matches."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    return [str(path) for path in root.glob(f"{pattern}.*/bin/python")]


def _old_pythons() -> list[str]:
    found = [shutil.which(name) for name in ("python3.6", "python3.7", "python3.8", "python3.9")]
    return [path for path in found if path] + _pythons("3.[6-9]")


def test_an_old_python_gets_a_sentence(folder: Path) -> None:
    old = _old_pythons()
    if not old:
        pytest.skip("no Python older than 3.10 on this machine")
    for python in old:
        done = subprocess.run(
            [python, "standalone.py", "demo"], capture_output=True, text=True, check=False, cwd=folder
        )
        if "pyenv:" in done.stderr:  # a shim with nothing behind it
            continue
        assert done.returncode == 1
        assert "needs Python 3.10 or newer, this is 3." in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_no_index_host_is_named_in_any_of_our_files() -> None:
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=False, cwd=ROOT).stdout.split(
        "\n"
    )
    hosts = ["pypi" + ".org", "pythonhosted" + ".org", "download.pytorch" + ".org"]
    for name in tracked:
        path = ROOT / name
        if path.suffix in (".py", ".toml", ".txt", ".md", ".json", ".sh", "") and path.is_file() and name != "LICENSE":
            text = path.read_text(encoding="utf-8", errors="replace")
            assert not any(host in text for host in hosts), name
