"""Before a run is called done every file of it is read from the disk once more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lora_forge.errors import LoraFileError, TrainingError
from lora_forge.events import Emit, Warned
from lora_forge.i18n import some_of, word
from lora_forge.lora_file.container import read_header
from lora_forge.lora_file.hashes import model_hash
from lora_forge.lora_file.names import epoch_files

_GONE = word("{count} files of this run were saved and are not there any more: {files}.")


def read_back(files: Sequence[Path], out_dir: Path, name: str, emit: Emit) -> None:
    """Read what this run wrote (``files``, oldest first) and what ``out_dir`` holds of ``name``, and compare each with
    the hash it carries.

    What a person took away meanwhile is a warning, unless it is the last one: that is what the run was for.

    Raises:
        TrainingError: a file is damaged, or the last one is gone.
    """
    found = {*files, *epoch_files(out_dir, name).values()}
    gone = [path.name for path in files if not path.is_file()]
    damaged = [path.name for path in sorted(found) if path.is_file() and not is_good(path)]
    if damaged:
        raise TrainingError(
            "The run took its last step, but {count} of its files came back from the disk damaged: {files}.",
            "The disk may be failing: save to another one, and train the run again under another name.",
            count=len(damaged),
            files=some_of(damaged),
        )
    if gone and gone[-1] == files[-1].name:
        raise TrainingError(
            "The run took its last step, but its last file {file} is not there any more.",
            "Resume the run: it writes that file again from its last state.",
            file=gone[-1],
        )
    if gone:
        emit(Warned(_GONE, {"count": len(gone), "files": some_of(gone)}))


def is_good(path: Path) -> bool:
    """Whether the file holds what its own hash says."""
    try:
        wanted = read_header(path).get("__metadata__", {}).get("sshs_model_hash")
        return bool(wanted) and model_hash(path) == wanted
    except (LoraFileError, OSError):
        return False
