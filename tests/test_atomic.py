"""A file appears whole or not at all, whatever happens to the writer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lora_forge import atomic


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_text_and_json_come_back_as_given(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "a.txt", "one\ntwo\r\nüñ中")
    atomic.write_json(tmp_path / "deep" / "b.json", {"名": [1, 2.5, None]})
    assert (tmp_path / "a.txt").read_bytes() == "one\ntwo\r\nüñ中".encode()
    assert json.loads((tmp_path / "deep" / "b.json").read_text(encoding="utf-8")) == {"名": [1, 2.5, None]}
    assert _names(tmp_path) == ["a.txt", "deep"]


@pytest.mark.parametrize("cause", [ValueError, KeyboardInterrupt])
def test_a_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path: Path, cause: type[BaseException]) -> None:
    target = tmp_path / "run-000001.safetensors"
    atomic.write_bytes(target, b"old")

    def half(temporary: Path) -> None:
        temporary.write_bytes(b"ha")
        raise cause("in the middle")

    with pytest.raises(cause):
        atomic.write_atomically(target, half)
    assert target.read_bytes() == b"old"
    assert _names(tmp_path) == [target.name]


def test_the_temporary_name_is_hidden_and_no_host_lists_it(tmp_path: Path) -> None:
    seen: list[Path] = []

    def write(temporary: Path) -> None:
        temporary.write_bytes(b"x")
        seen.append(temporary)

    atomic.write_atomically(tmp_path / "a.safetensors", write)
    assert seen[0].parent == tmp_path
    assert seen[0].name.startswith(".a.safetensors.")
    assert seen[0].suffix == ".tmp"


def test_nan_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        atomic.write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert _names(tmp_path) == []


def test_a_writer_that_makes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic.write_atomically(tmp_path / "a", lambda temporary: None)
    assert _names(tmp_path) == []


def test_permissions_are_the_usual_ones(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "ours", "x")
    (tmp_path / "plain").write_text("x", encoding="utf-8")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_old_leavings_of_this_name_are_cleared_and_young_ones_and_others_kept(tmp_path: Path) -> None:
    hour_ago = time.time() - 4000
    gone = 2**22 + 1  # above any process id of Linux
    for name, is_old in ((f".a.{gone}-1.tmp", True), (f".a.{gone}-2.tmp", False), (f".b.{gone}-1.tmp", True)):
        (tmp_path / name).write_bytes(b"x")
        if is_old:
            os.utime(tmp_path / name, (hour_ago, hour_ago))
    atomic.write_text(tmp_path / "a", "x")
    assert _names(tmp_path) == [f".a.{gone}-2.tmp", f".b.{gone}-1.tmp", "a"]


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_kill_9_in_the_middle_leaves_no_file_under_the_real_name(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from lora_forge import atomic\n"
        "def slow(temporary):\n"
        "    temporary.write_bytes(b'half'); print('half', flush=True); time.sleep(60)\n"
        "atomic.write_atomically(Path(sys.argv[1]), slow)\n"
    )
    target = tmp_path / "a.safetensors"
    with subprocess.Popen([sys.executable, "-c", script, str(target)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"half\n"
        child.send_signal(signal.SIGKILL)
    assert not target.exists()
    assert [name.endswith(".tmp") for name in _names(tmp_path)] == [True]
