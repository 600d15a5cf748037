"""The command ``lora-forge presets``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lora_forge.config import Family
from lora_forge.presets import KINDS

_ABOUT = (
    "A preset is a kind of LoRA with its defaults for each family of models; your own ones are what you changed from "
    "them, one JSON file each in DATA/presets, the same that the page keeps and shares. Settings of kohya's trainers "
    "(sd-scripts TOML, kohya_ss JSON, lora-scripts TOML) are taken where they mean the same; the rest is listed."
)
_EXAMPLES = """\
  lora-forge presets list --data lora_forge_data
  lora-forge presets show style --family sdxl --photos 60
  lora-forge presets save soft --kind person --set rank=16 learning_rate=5e-5
  lora-forge presets import kohya.toml --name mine --kind person"""


def add_presets(commands: Any, add: Callable[..., Any]) -> None:
    """Add the command; ``add`` makes one, as the other parsers do."""
    parser = add(commands, "presets", "presets", "list, show, save and import presets", _ABOUT, _EXAMPLES)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    _action(actions, "list", "the kinds and your own presets")
    show = _action(actions, "show", "every default of a preset, why it is so and where it is from")
    show.add_argument("preset", metavar="KIND_OR_NAME", help=f"{', '.join(KINDS)}, or one of your own")
    show.add_argument("--family", choices=[one.value for one in Family], default="sd1", help="default: sd1")
    show.add_argument("--photos", type=int, default=25, metavar="N", help="how many there are (default: 25)")
    show.add_argument("--language", choices=["en", "zh"], default="en", help="of the reasons (default: en)")
    save = _action(actions, "save", "keep what differs from a kind as a preset of yours")
    save.add_argument("name", metavar="NAME")
    save.add_argument("--kind", choices=[*KINDS], default="person", help="what it differs from (default: person)")
    save.add_argument("--set", nargs="+", required=True, metavar="KEY=VALUE", dest="assignments", help="settings")
    bring = _action(actions, "import", "settings from a file; with --name they are kept")
    bring.add_argument("file", type=Path, metavar="FILE", help=".json or .toml")
    bring.add_argument("--name", default="", help="keep them as a preset of this name")
    bring.add_argument("--kind", choices=[*KINDS], help="what it differs from (default: as the file says, or person)")


def _action(actions: Any, name: str, summary: str) -> Any:
    parser = actions.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    parser.add_argument(
        "--data", type=Path, default=Path("lora_forge_data"), metavar="DIR", help="default: lora_forge_data"
    )
    # As in the outer parser, where they may stand too: a default here would undo what was said there.
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="JSON on standard output")
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="on failure show where")
    return parser
