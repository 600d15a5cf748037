"""A run's folders in the face of what happens to them: leavings of killed writers, and removal under our feet."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lora_forge import atomic
from lora_forge.config import TrainConfig
from lora_forge.errors import TrainingError
from lora_forge.events import Emit, Warned
from lora_forge.i18n import word
from lora_forge.lora_file.names import SUFFIX
from lora_forge.train.claim import is_at, lock, renew

CONFIG_FILE = "config.json"
_OUT_GONE = word(
    "The folder {folder} was removed while the run goes on, with the files in it. It is made again, and files that "
    "are still to come go there."
)
_RUN_GONE = word("The run's folder {folder} was removed while the run goes on. It is made again, so it can be resumed.")


@contextlib.contextmanager
def name_held(out_dir: Path, name: str) -> Iterator[None]:
    """Hold ``name`` in ``out_dir`` against a run of another project that would write the same files.

    A hidden ``.NAME.lock`` lies there for as long as the run goes; the system lets go of it when the program dies. The
    folder is made: one that can't be is said now, not after an hour.

    Raises:
        TrainingError: another run writes files of this name there.
        OSError: nothing can be written there.
    """
    path, is_new = out_dir / f".{name}.lock", not out_dir.exists()
    file = _open_and_lock(path)
    try:
        yield
    finally:
        if os.name != "nt":  # unlinked while it is held: who waits for it sees that it is another file by then
            path.unlink(missing_ok=True)
        file.close()
        if os.name == "nt":
            with contextlib.suppress(OSError):  # taken by the next already
                path.unlink(missing_ok=True)
        if is_new:
            with contextlib.suppress(OSError):  # files are in it: it stays
                out_dir.rmdir()


def _open_and_lock(path: Path) -> IO[bytes]:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
        try:
            lock(file)
            if is_at(path, file):
                return file
            file.close()
        except BlockingIOError as cause:
            file.close()
            raise TrainingError(
                "Another run is writing {name} in {folder}.",
                "Wait for it, stop it, or choose another name.",
                name=path.name[1 : -len(".lock")],
                folder=path.parent,
            ) from cause


def clear_killed(run_dir: Path, out_dir: Path, name: str) -> None:
    """Remove the temporary files of writers that were killed; for whoever holds the claim on ``run_dir``.

    A state can have hundreds of megabytes, and one that is killed again and again would fill the disk with them.
    """
    ours = re.compile(rf"\.{re.escape(name)}-(\d{{6}}|step\d{{8}}){re.escape(SUFFIX)}\.\d+-\d+\.tmp")
    left = [path for path in _hidden(out_dir) if ours.fullmatch(path.name)]
    left += [path for folder in (run_dir, run_dir / "state", run_dir / "previews") for path in _hidden(folder)]
    for path in left:
        with contextlib.suppress(OSError):
            path.unlink()


def _hidden(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from folder.glob(".*.tmp")


def say_if_out_gone(out_dir: Path, emit: Emit) -> None:
    """Before a file is written there: the run has made the folder at its start, so a person has removed it since."""
    if not out_dir.is_dir():
        emit(Warned(_OUT_GONE, {"folder": os.fspath(out_dir)}))


def restore_run_dir(run_dir: Path, config: TrainConfig, emit: Emit) -> None:
    """Where the folder was removed: claim it again, and write the config, without which no state can be resumed from.

    Raises:
        TrainingError: another run has taken the folder meanwhile.
        OSError: the disk says no.
    """
    path = run_dir / CONFIG_FILE
    if not path.exists():
        renew(run_dir)
        emit(Warned(_RUN_GONE, {"folder": os.fspath(run_dir)}))
        atomic.write_json(path, config.to_dict())
