"""``lora-forge photos``: the photo wall without a browser."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from lora_forge.cli.console import Console
from lora_forge.dataset import trash
from lora_forge.dataset.face_set import cuts_of
from lora_forge.dataset.images import IMAGE_SUFFIXES
from lora_forge.dataset.manifest import PrepareSettings
from lora_forge.dataset.naming import printable
from lora_forge.dataset.project import Project
from lora_forge.dataset.thumbs import thumbs_of
from lora_forge.errors import ConfigError, DatasetError
from lora_forge.events import CommandBox, Warned


def run(args: Namespace, console: Console) -> int:
    """Do what the action says."""
    project = Project.load(args.project)
    actions = {"list": _list, "trash": _trash, "restore": _restore, "crop": _crop, "process": _process}
    return actions[args.action](project, args, console)


def _list(project: Project, args: Namespace, console: Console) -> int:
    thumbs = thumbs_of(project.root)
    for photo in project.photos():
        try:
            look = thumbs.measure(photo.path)
        except OSError:  # taken away since the folder was read
            continue
        key, problem = project.key(photo.path), look.problem.text() if look.problem else ""
        boxes = {"face": photo.face, "crop": photo.crop}
        if console.is_json:
            size = {"width": look.width, "height": look.height}
            console.object({"photo": key, **size, **boxes, "caption": photo.caption, "problem": problem})
        marks = "".join(f"  {name} {','.join(map(str, box))}" for name, box in boxes.items() if box)
        console.result(f"{printable(key)}  {problem or f'{look.width} x {look.height}'}{marks}")
    thumbs.save()
    for entry in trash.trashed(project):
        if console.is_json:
            console.object({"trash": entry.number, "key": entry.key, "batch": entry.batch})
        console.result(f"trash {entry.number}: {printable(entry.key)}")
    return 0


def _trash(project: Project, args: Namespace, console: Console) -> int:
    if not args.keys and not args.group:
        raise ConfigError("Which photos?", "Name them, or give --group NAME.")
    paths = [_path(project, key) for key in args.keys]
    paths += [photo.path for photo in project.photos() if args.group and photo.group == args.group]
    moved = trash.take_out_all(project, [*paths, *cuts_of(project, paths)])
    if console.is_json:
        console.object({"event": "Trashed", "numbers": [entry.number for entry in moved]})
    console.say(f"{len(moved)} in the trash; back with: lora-forge photos restore --project {args.project}")
    return 0


def _restore(project: Project, args: Namespace, console: Console) -> int:
    entries = [trash.find(project, number) for number in args.numbers] if args.numbers else trash.last_batch(project)
    found = [entry for entry in entries if entry is not None]
    if not found or len(found) < len(entries):
        raise DatasetError("That is not in the trash of {root}.", "See: lora-forge photos list", root=project.root)
    keys = [project.key(path) for path in trash.put_back_all(project, found)]
    if console.is_json:
        console.object({"event": "Restored", "keys": keys})
    for key in keys:
        console.result(printable(key))
    return 0


def _crop(project: Project, args: Namespace, console: Console) -> int:
    path = _path(project, args.key)
    width, height = thumbs_of(project.root).size(path)
    if args.box and (args.box[0] + args.box[2] > width or args.box[1] + args.box[3] > height):
        raise ConfigError(
            "The box {box} reaches out of the photo, which is {size}.", box=args.box, size=(width, height)
        )
    if args.face:
        project.set_face(path, args.box)
    else:
        project.set_crop(path, args.box)
    photo = project.photo(path)
    if console.is_json:
        console.object({"event": "Set", "key": args.key, "face": photo.face, "crop": photo.crop})
    return 0


def _process(project: Project, args: Namespace, console: Console) -> int:
    from lora_forge.dataset.faces import find_detector
    from lora_forge.dataset.processing import FaceFinder, ProcessSettings, process

    size = PrepareSettings.of_resolution(args.resolution, not args.no_buckets)
    settings = ProcessSettings(size, args.crop, args.faces, args.padding, args.face_repeats)
    finder = None
    if args.faces or args.crop == "subject":
        detector = find_detector(args.models, args.kind)
        finder = FaceFinder.of(detector, project)
        if finder is None:
            console(Warned("{sentence}", {"sentence": detector.sentence}))
    process(project, settings, finder, console, CommandBox())
    return 0


def _path(project: Project, key: str) -> Path:
    path = project.images_dir / key
    is_photo = path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
    if not is_photo or not path.resolve().is_relative_to(project.images_dir.resolve()):
        raise DatasetError("There is no photo {key!r}.", "See: lora-forge photos list", key=key)
    return path
