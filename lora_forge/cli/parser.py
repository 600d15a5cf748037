"""Every command and option, with help worth reading. Nothing heavy is imported: ``--help`` answers at once."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import Any

from lora_forge import __version__
from lora_forge.cli.parser_album import add_album
from lora_forge.cli.parser_checkup import add_checkup
from lora_forge.cli.parser_grid import add_grid
from lora_forge.cli.parser_loras import add_keep, add_lora
from lora_forge.cli.parser_photos import add_photos
from lora_forge.cli.parser_presets import add_presets
from lora_forge.cli.parser_rounds import add_rounds
from lora_forge.cli.parser_runs import add_runs
from lora_forge.cli.parser_tagger import add_tagger_commands
from lora_forge.cli.parser_tags import add_tags
from lora_forge.cli.parser_trial import add_trial
from lora_forge.cli.settings_help import settings_help
from lora_forge.presets import KINDS

_ABOUT = "From a folder of photos to a tested LoRA for Stable Diffusion 1.x, 2.x and SDXL."
_EPILOG = """\
the whole job:
  lora-forge import photos/ --project anna --trigger "ohwx woman"
  lora-forge prepare --project anna --resolution 512
  lora-forge train --project anna --base model.safetensors --name anna --out loras --preset person
  lora-forge grid --base model.safetensors --loras loras --name anna --out grid.png \\
      --prompt "photo of ohwx woman, red dress <lora:anna-NUM:STRENGTH>"

no checkpoint and no photos at hand? The bundled toy world runs the same job in minutes on a CPU:
  lora-forge demo --out demo

exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted (training can be resumed)
"""


class _Raw(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=110)


class _SettingsHelp(argparse.Action):
    """``--help-settings``: print every field of the config and leave."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(settings_help())
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``lora-forge``. A parsed command names the module that runs it in ``module``."""
    parser = argparse.ArgumentParser("lora-forge", description=_ABOUT, epilog=_EPILOG, formatter_class=_Raw)
    parser.add_argument("--version", action="version", version=f"lora-forge {__version__}")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_demo(commands)
    _add_doctor(commands)
    _add_import(commands)
    _add_prepare(commands)
    add_photos(commands, _add)
    add_checkup(commands, _add)
    add_tagger_commands(commands, _add)
    add_tags(commands, _add)
    add_presets(commands, _add)
    _add_train(commands)
    add_trial(commands, _add)
    add_runs(commands, _add)
    add_grid(commands, _add)
    add_rounds(commands, _add)
    add_album(commands, _add)
    add_keep(commands, _add)
    add_lora(commands, _add)
    _add_ui(commands)
    _add(commands, "version", "version", "print the version and leave")
    return parser


def _add(commands: Any, name: str, module: str, summary: str, about: str = "", examples: str = "") -> Any:
    paragraphs = [textwrap.fill(part, 108) for part in (about or summary).split("\n\n")]
    parser = commands.add_parser(
        name,
        help=summary,
        description="\n\n".join(paragraphs),
        epilog=f"examples:\n{examples}" if examples else None,
        formatter_class=_Raw,
        allow_abbrev=False,
    )
    parser.set_defaults(module=f"lora_forge.cli.{module}")
    shared = parser.add_argument_group("output")
    shared.add_argument("--json", action="store_true", help="one JSON object per event on standard output, no more")
    shared.add_argument("--debug", action="store_true", help="on failure show where in the code")
    return parser


def _add_demo(commands: Any) -> None:
    parser = _add(
        commands,
        "demo",
        "demo",
        "run the whole job on the bundled toy world",
        "Photos of a drawn girl, ten epochs on a tiny real Stable Diffusion checkpoint, a grid of epochs and "
        "strengths, scores and a recommendation. Needs no graphics card, no network and no files of yours.",
        "  lora-forge demo --out demo\n"
        "  lora-forge demo --out demo --only-project   # photos and checkpoint to try yourself",
    )
    parser.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR", help="where to write (default: demo)")
    parser.add_argument(
        "--only-project", action="store_true", help="write DIR/project and DIR/toyworld.safetensors, train nothing"
    )
    parser.add_argument("--hot", action="store_true", help="far too high a rate: too little, just right, ruined")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed: other noise (default: 0)")


def _add_doctor(commands: Any) -> None:
    _add(
        commands,
        "doctor",
        "doctor",
        "say what is installed, what would work, what is missing and how to get it",
        "Looks at Python, the libraries, the devices torch offers, and the disk. Changes nothing, fetches nothing.",
    )


def _add_import(commands: Any) -> None:
    parser = _add(
        commands,
        "import",
        "project",
        "copy photos into a project",
        "Takes a file, a folder, a zip, or a kohya folder (10_name: ten repeats); captions in NAME.txt come along. "
        "What can't be read is named with the reason, and the rest goes on. The project is made when it is not there.",
        '  lora-forge import photos/ --project anna --trigger "ohwx woman"\n'
        "  lora-forge import more.zip --project anna\n"
        "  lora-forge import women/ --project anna --prior",
    )
    parser.add_argument("source", type=Path, metavar="SOURCE", help="file, folder or zip")
    parser.add_argument("--project", type=Path, required=True, metavar="DIR", help="the project's folder")
    parser.add_argument("--trigger", metavar="WORD", help="the word that calls the subject; kept first in captions")
    parser.add_argument(
        "--prior",
        action="store_true",
        help="pictures of others of the kind (prior preservation): they keep the LoRA from touching pictures without "
        "the trigger word",
    )


def _add_prepare(commands: Any) -> None:
    parser = _add(
        commands,
        "prepare",
        "project",
        "bring every photo to training size",
        "Sorts photos into buckets by their shape, resizes and crops them, keeps the result in the project. Only what "
        "is new or changed is done again. Training does this by itself; run it to see what it makes of your photos.",
        "  lora-forge prepare --project anna --resolution 512",
    )
    parser.add_argument("--project", type=Path, required=True, metavar="DIR", help="the project's folder")
    parser.add_argument("--resolution", type=int, metavar="PX", help="training size (default: 512)")
    parser.add_argument("--no-buckets", action="store_true", help="crop every photo to a square")
    _add_set(parser)


def _add_train(commands: Any) -> None:
    parser = _add(
        commands,
        "train",
        "train",
        "train a LoRA: one numbered file per epoch",
        "Writes NAME-000001.safetensors and so on into --out. Ctrl-C stops after the step and saves: the same command "
        "with --resume goes on, and ends in the same files. The settings used are kept in "
        "PROJECT/runs/NAME/config.json.\n\n"
        "Behind torchrun or accelerate launch it trains on several cards together: batch_size is that of each, the "
        "first process writes, and the same command with --resume goes on.\n\n"
        "Settings come from the preset, then --config, then the options, then --set; the last word wins.",
        "  lora-forge train --project anna --base model.safetensors --name anna --out loras --preset person\n"
        "  lora-forge train ... --epochs 12 --repeats 8 --set te_learning_rate=0 --set min_snr_gamma=5\n"
        "  lora-forge train ... --resume\n"
        "  lora-forge train ... --resume --epochs 14   # a run that is done goes on for four more\n"
        "  torchrun --nproc-per-node 2 -m lora_forge train ...   # on two cards\n"
        "  lora-forge train --help-settings            # every setting, its range and its default",
    )
    kinds = [kind for kind in KINDS if not kind.startswith("toyworld")]
    parser.add_argument("--project", type=Path, required=True, metavar="DIR", help="the project's folder")
    parser.add_argument("--base", type=Path, required=True, metavar="FILE", help="base checkpoint, .safetensors")
    parser.add_argument("--name", required=True, help="name of the LoRA")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the LoRA files")
    parser.add_argument(
        "--preset", metavar="KIND", help=f"{', '.join(kinds)} (default: person); toyworld, toyworld_hot for the demo's"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings of an earlier run (its config.json)")
    parser.add_argument("--resume", action="store_true", help="go on with a stopped run")
    knobs = parser.add_argument_group("settings (each is also a --set; all of them: --help-settings)")
    knobs.add_argument("--epochs", metavar="N", help="passes over the photos, one file each (default: 10)")
    knobs.add_argument("--repeats", metavar="N", help="how often a photo is seen per epoch (default: by photo count)")
    knobs.add_argument("--rank", metavar="N", help="inner size of the LoRA (default: 32)")
    knobs.add_argument("--resolution", metavar="PX", help="training size (default: as prepared, else by the base)")
    knobs.add_argument("--seed", metavar="N", help="same seed, same files (default: 0)")
    knobs.add_argument("--trigger", metavar="WORD", help="trigger word (default: the project's)")
    _add_device(knobs)
    _add_set(knobs)
    parser.add_argument("--help-settings", action=_SettingsHelp, nargs=0, help="list every setting and leave")


def _add_ui(commands: Any) -> None:
    parser = _add(commands, "ui", "ui", "open LoRA Forge in a browser, without a WebUI")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=7870, help="port (default: 7870)")
    parser.add_argument("--base", type=Path, metavar="FILE", help="base checkpoint to begin with, .safetensors")
    parser.add_argument("--checkpoints", type=Path, metavar="DIR", help="folder of checkpoints to choose from")
    parser.add_argument(
        "--data", type=Path, default=Path("lora_forge_data"), metavar="DIR", help="projects (default: lora_forge_data)"
    )
    parser.add_argument("--loras", type=Path, metavar="DIR", help="where LoRAs go (default: loras in --data)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")


def _add_set(parser: Any) -> None:
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments", help="any setting; repeatable"
    )


def _add_device(parser: Any) -> None:
    parser.add_argument("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps, xpu (default: auto)")
    parser.add_argument(
        "--precision", choices=["auto", "fp32", "bf16", "fp16"], help="default: what the device does well"
    )
