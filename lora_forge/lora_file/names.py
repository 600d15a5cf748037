"""File names of a LoRA's epochs: NAME-000001.safetensors, NAME-000002.safetensors and so on, the last one included."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Collection, Iterator
from pathlib import Path

from lora_forge.errors import LoraFileError
from lora_forge.i18n import Said, Several

SUFFIX = ".safetensors"
_LISTED_SUFFIXES = (SUFFIX, ".pt", ".ckpt")  # what hosts list as LoRAs
_MAX_BYTES = 160
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_EPOCH = re.compile(r"(.+)-(\d{6})")
_VERSION = re.compile(r"(.+?)_v(\d{1,4})")
_NUMBERED = re.compile(r"(.+)-(?:\d{6}|step\d{8})")
# Words that the X/Y/Z script replaces in <lora:NAME-NUM:STRENGTH>, wherever they stand.
_PLACES = ("NUM", "STRENGTH")


def epoch_path(out_dir: Path, name: str, epoch: int) -> Path:
    """``out_dir/NAME-000001.safetensors`` for epoch 1."""
    return out_dir / f"{name}-{epoch:06d}{SUFFIX}"


def parse_epoch(path: Path) -> tuple[str, int] | None:
    """(name, epoch) of a file named by :func:`epoch_path`, None for any other."""
    match = _EPOCH.fullmatch(path.stem)
    return (match[1], int(match[2])) if match and path.suffix.lower() == SUFFIX else None


def epoch_files(folder: Path, name: str) -> dict[int, Path]:
    """The numbered files of ``name`` in ``folder`` by epoch, in order; case matters, as to the hosts."""
    found = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else ():
        parsed = parse_epoch(path)
        if parsed and parsed[0] == name:
            found[parsed[1]] = path
    return dict(sorted(found.items()))


def check_name(name: str, out_dir: Path | None = None, is_resuming: bool = False, used: Collection[str] = ()) -> None:
    """Refuse a name that a host, a prompt or Windows can't take, or that a file in ``out_dir`` has already.

    ``used``: stems of files that were there once, numbered or not: their names count as taken too.

    Letters of any script, digits, spaces inside, ``_``, ``-`` and ``.`` are fine. A used name is refused because
    hosts go on showing the old weights of a file that was overwritten; subfolders count, hosts know files by stem;
    so does ``NAME.safetensors`` itself, whose metadata a host would mix with ours.

    Raises:
        LoraFileError: with what is wrong, and what to do.
    """
    problem = _problem(name)
    if problem is not None:
        raise LoraFileError(
            "{name!r} can't be the name of a LoRA: {problem}.",
            "Use letters, digits, - and _, for example ohwx_v1.",
            name=name,
            problem=problem,
        )
    taken = None if out_dir is None or is_resuming else next(_taken(name, out_dir), None)
    if taken is not None:
        raise LoraFileError(
            "{file} exists already, and WebUIs go on showing the old weights of a file that was overwritten.",
            "Choose another name, or resume the run it is from.",
            file=taken,
        )
    was = None if is_resuming else next((stem for stem in sorted(used) if _has_name(stem, _folded(name))), None)
    if was is not None:
        raise LoraFileError(
            "{name} was the name of a file that is in the archive, and WebUIs may go on showing its weights.",
            "Choose another name.",
            name=was,
        )


def free_name(wanted: str, out_dir: Path, used: Collection[str] = ()) -> str:
    """``wanted``, or with the next free version (``_v2``, ``_v3``...), that no listed file has or had: see ``used``."""
    taken = {_folded(path.stem) for path in listed_files(out_dir)} | {_folded(stem) for stem in used}
    match = _VERSION.fullmatch(wanted)
    base, first = (match[1], int(match[2])) if match else (wanted, 1)
    versions = (f"{base}_v{number}" for number in range(first + 1, first + len(taken) + 2))
    return next(name for name in (wanted, *versions) if _folded(name) not in taken)


def check_single(name: str, out_dir: Path, used: Collection[str] = ()) -> None:
    """Refuse a name for one file without a number; numbered files of that name are no hindrance.

    Raises:
        LoraFileError: with what is wrong, and what to do.
    """
    check_name(name)
    if _NUMBERED.fullmatch(name):
        raise LoraFileError(
            "{name} would be taken for an epoch of a run.", "Choose a name without such a number.", name=name
        )
    taken = next((path for path in listed_files(out_dir) if _folded(path.stem) == _folded(name)), None)
    if taken is not None:
        raise LoraFileError(
            "{file} exists already, and WebUIs go on showing the old weights of a file that was overwritten.",
            "Choose another name.",
            file=taken,
        )
    if _folded(name) in {_folded(stem) for stem in used}:
        raise LoraFileError(
            "{name} was the name of a file that is in the archive, and WebUIs may go on showing its weights.",
            "Choose another name.",
            name=name,
        )


def run_files(folder: Path, name: str) -> list[Path]:
    """All files of the run ``name`` in ``folder``, epochs and those saved between two, in the order of their names."""
    found = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else ()
    return [path for path in found if (match := _NUMBERED.fullmatch(path.stem)) and match[1] == name]


def _problem(name: str) -> Said | None:
    strange = sorted({char for char in name if not (char.isalnum() or char in "_-. ")})
    if not name:
        return Said("it is empty")
    if strange:
        shown = " ".join(char if char.isprintable() else repr(char) for char in strange)
        return Said("it holds {characters}", {"characters": shown})
    if name[0] in " .-" or name[-1] in " .":
        return Said("it begins or ends with a space, a dot or a dash")
    if _DEVICES.fullmatch(name):
        return Said("Windows keeps it for a device")
    places = tuple(place for place in _PLACES if place in name)
    if places:
        return Said("it holds {places}, which the X/Y/Z grid replaces by numbers", {"places": Several(places, " or ")})
    if len(name.encode("utf-8")) > _MAX_BYTES:
        return Said("it is longer than {most} bytes", {"most": _MAX_BYTES})
    return None


def _taken(name: str, out_dir: Path) -> Iterator[Path]:
    """Files of this name, numbered or not, capitals aside (Windows and macOS see no difference)."""
    wanted = _folded(name)
    yield from (path for path in listed_files(out_dir) if _has_name(path.stem, wanted))


def _has_name(stem: str, wanted: str) -> bool:
    match = _NUMBERED.fullmatch(stem)
    return wanted in (_folded(stem), _folded(match[1]) if match else None)


def listed_files(folder: Path) -> Iterator[Path]:
    """All files in and beneath ``folder`` that hosts list as LoRAs; like them, through links to other folders too."""
    seen: set[str] = set()
    for here, folders, names in os.walk(folder, followlinks=True):
        place = os.path.realpath(here)
        if place in seen:  # a link to a folder above would never end
            folders.clear()
            continue
        seen.add(place)
        folders.sort()
        for name in sorted(names):
            path = Path(here) / name
            if path.suffix.lower() in _LISTED_SUFFIXES:
                yield path


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()
