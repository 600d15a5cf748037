"""Options of ``lora-forge tag`` and ``lora-forge download``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

_TAG_EXAMPLES = """\
  lora-forge download wd-swinv2-tagger-v3
  lora-forge tag --project anna --tagger wd-swinv2-tagger-v3 --general 0.4 --exclude "*background" --preview
  lora-forge tag --project anna --tagger wd-swinv2-tagger-v3 --mode append --replace "1girl=woman\""""
_DOWNLOAD_EXAMPLES = """\
  lora-forge download                                   # what there is, and what is here already
  lora-forge download wd-vit-tagger-v3 --mirror https://MIRROR
  lora-forge download buffalo_l --accept-licence
  lora-forge download antelopev2 --from ~/Downloads/antelopev2.zip"""


def add_tagger_commands(commands: Any, add: Callable[..., Any]) -> None:
    """Add both to ``commands``; ``add`` makes a parser as all the others are made."""
    _add_tag(add(
        commands,
        "tag",
        "tag",
        "write captions by a tagger",
        "Scores are made once a photo and remembered: trying other thresholds takes no time. Captions are written as "
        "one step that can be undone. Taggers are found in DATA/models/taggers; any folder with model.onnx and "
        "selected_tags.csv counts.",
        _TAG_EXAMPLES,
    ))  # fmt: skip
    _add_download(add(
        commands,
        "download",
        "download",
        "fetch a tagger or a face pack, or take one from a file",
        "Without an ID it lists them with size, licence and state, and fetches nothing. A broken download goes on "
        "where it stopped; what comes is checked.",
        _DOWNLOAD_EXAMPLES,
    ))  # fmt: skip


def _add_tag(parser: Any) -> None:
    parser.add_argument("--project", type=Path, required=True, metavar="DIR", help="the project's folder")
    parser.add_argument("--tagger", required=True, metavar="ID", help="its id; toyworld is bundled, for drawn photos")
    _add_data(parser)
    parser.add_argument("--general", type=float, metavar="X", help="least score of a tag (default: its maker's)")
    parser.add_argument("--character", type=float, metavar="X", help="of a character's name (default: its maker's)")
    parser.add_argument("--mcut", action="store_true", help="choose thresholds by the widest gap, photo by photo")
    parser.add_argument("--exclude", action="append", default=[], metavar="TAG", help="leave out; * ? /regex/ too")
    parser.add_argument("--add", action="append", default=[], metavar="TAG", help="put in front of every caption")
    parser.add_argument("--replace", action="append", default=[], metavar="TAG=OTHER", help="write OTHER for TAG")
    parser.add_argument(
        "--mode",
        choices=["replace", "append", "prepend", "fill_empty"],
        default="replace",
        help="what becomes of captions that are there (default: replace)",
    )
    parser.add_argument("--underscores", action="store_true", help="long_hair, not long hair")
    parser.add_argument("--no-characters", action="store_true", help="no characters' names")
    parser.add_argument(
        "--category", action="append", default=[], metavar="NAME", help="copyright, artist, meta, quality, model too"
    )
    parser.add_argument("--keep-overlaps", action="store_true", help="keep long hair beside very long hair")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="at most N tags a photo")
    parser.add_argument("--photo", action="append", metavar="KEY", help="only this photo, GROUP/NAME.jpg; repeatable")
    parser.add_argument("--fast", action="store_true", help="use the graphics card where onnxruntime can")
    parser.add_argument("--preview", action="store_true", help="print what would be written, write nothing")


def _add_download(parser: Any) -> None:
    parser.add_argument("id", nargs="?", metavar="ID", help="what to fetch")
    _add_data(parser)
    parser.add_argument("--mirror", metavar="URL", help="ask this server instead; kept. Empty: the original again")
    parser.add_argument("--accept-licence", action="store_true", help="you have read the terms and accept them")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help="take it from a file, folder or zip")


def _add_data(parser: Any) -> None:
    parser.add_argument(
        "--data", type=Path, default=Path("lora_forge_data"), metavar="DIR", help="default: lora_forge_data"
    )
