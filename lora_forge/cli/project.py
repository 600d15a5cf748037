"""``lora-forge import`` and ``lora-forge prepare``."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter

from lora_forge import config
from lora_forge.cli.console import Console
from lora_forge.dataset.importing import import_source
from lora_forge.dataset.manifest import PrepareSettings
from lora_forge.dataset.prepare import prepare
from lora_forge.dataset.project import Project
from lora_forge.errors import DatasetError


def run(args: Namespace, console: Console) -> int:
    """Import or prepare, as the command says."""
    return _import(args, console) if args.command == "import" else _prepare(args, console)


def _import(args: Namespace, console: Console) -> int:
    if not args.source.exists():
        raise DatasetError("{source} is not there.", "Give a file, a folder or a zip.", source=args.source)
    project = Project.open(args.project, args.trigger or "")
    if args.trigger is not None and args.trigger != project.trigger_word:
        project.set_trigger_word(args.trigger)
    report = import_source(args.source, project, console, is_prior=args.prior)
    if console.is_json:
        console.object({
            "event": "Imported",
            "imported": [str(path) for path in report.imported],
            "skipped": [{"name": left_out.name, "reason": str(left_out.reason)} for left_out in report.skipped],
        })  # fmt: skip
    console.say(f"{len(report.imported)} new in {project.images_dir}, {len(report.present)} were there already")
    if not report.imported and not report.present:
        console.error(f"no photo could be imported from {args.source}")
        return 1
    console.say(f"next: lora-forge train --project {args.project} --base FILE.safetensors --name NAME --out DIR")
    return 0


def _prepare(args: Namespace, console: Console) -> int:
    values = config.parse_assignments(args.assignments)
    if args.resolution is not None:
        values.setdefault("resolution_px", args.resolution)
        _fit_buckets(values)
    if args.no_buckets:
        values.setdefault("use_buckets", False)
    settings = PrepareSettings.from_config(config.from_dict(values))
    prepared = prepare(Project.load(args.project), settings, console)
    sizes = Counter(image.bucket for image in prepared.images)
    for bucket, count in sorted(sizes.items(), key=lambda item: -item[1]):
        console.say(f"  {bucket.width} x {bucket.height}: {count}")
    if console.is_json:
        console.object({
            "event": "Prepared",
            "images": len(prepared.images),
            "buckets": {f"{bucket.width}x{bucket.height}": count for bucket, count in sizes.items()},
            "skipped": [{"name": left_out.name, "reason": str(left_out.reason)} for left_out in prepared.skipped],
        })  # fmt: skip
    return 0


def _fit_buckets(values: dict[str, object]) -> None:
    """Bucket ends that suit the resolution, half to twice of it, as the presets have them."""
    try:
        side = int(str(values["resolution_px"]))
    except ValueError:  # from_dict says what is wrong with it
        return
    values.setdefault("bucket_min_px", max(64, side // 2))
    values.setdefault("bucket_max_px", max(64, side * 2))
