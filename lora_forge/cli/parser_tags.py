"""The commands ``lora-forge tags`` and ``lora-forge traits``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lora_forge.presets import IMAGES_PER_EPOCH

_FORMATS = ("kohya_json", "txt_zip", "csv")
_ABOUT = (
    "Every edit is one step of undo, also in the page and after a restart; captions are plain .txt files beside the "
    "photos. The trigger word stays in front whatever is done. --find narrows an edit to the photos a query asks for: "
    "exact tags, * and ?, /regex/, AND OR NOT ( ), tokens:>75, tags:<3, none, missing:trigger, name:, group:, caption:."
)
_EXAMPLES = """\
  lora-forge tags list --project anna
  lora-forge tags find --project anna "red hair -smile"
  lora-forge tags add --project anna "pink shirt" --find "shirt OR 粉色衬衫"
  lora-forge tags replace --project anna --regex "^(\\w+) hair$" "\\1 fur"
  lora-forge tags undo --project anna"""


def add_tags(commands: Any, add: Callable[..., Any]) -> None:
    """Add both commands; ``add`` makes one, as the other parsers do."""
    parser = add(commands, "tags", "tags", "list, find, edit, export and import tags", _ABOUT, _EXAMPLES)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    _action(actions, "list", "every tag with its Chinese and how many photos have it")
    _action(actions, "find", "the photos a query asks for").add_argument("query", metavar="QUERY")
    new = _action(actions, "add", "add tags where they are missing", has_find=True)
    new.add_argument("tags", nargs="+", metavar="TAG")
    new.add_argument("--at", default="end", metavar="PLACE", help="front (behind the trigger word), end, or a number")
    _action(actions, "remove", "remove tags", has_find=True).add_argument("tags", nargs="+", metavar="TAG")
    replace = _action(actions, "replace", "replace a tag, a text within tags, or a pattern", has_find=True)
    replace.add_argument("old", metavar="OLD")
    replace.add_argument("new", metavar="NEW")
    how = replace.add_mutually_exclusive_group()
    how.add_argument("--text", action="store_true", help="OLD anywhere within tags")
    how.add_argument("--regex", action="store_true", help="OLD is a regular expression, NEW may hold \\1")
    for name, summary in (("undo", "take back the last edit"), ("redo", "do again what was taken back")):
        step = _action(actions, name, summary)
        step.add_argument("--partly", action="store_true", help="leave out captions that were changed since")
    out = _action(actions, "export", "all captions as one file")
    out.add_argument("--format", choices=_FORMATS, default="kohya_json", help="default: kohya_json")
    out.add_argument("--out", type=Path, required=True, metavar="FILE")
    _action(actions, "import", "captions from kohya's JSON, a zip of .txt, or a CSV, in any encoding").add_argument(
        "file", type=Path, metavar="FILE"
    )
    _add_traits(commands, add)


def _add_traits(commands: Any, add: Callable[..., Any]) -> None:
    parser = add(
        commands,
        "traits",
        "tags",
        "decide which traits become part of the subject and which stay changeable",
        "A trait whose tag is deleted becomes part of the subject: it always comes with the trigger word. A trait "
        "whose tag is kept stays changeable: the prompt decides. Without answers the command shows what it proposes, "
        "and what does not fit together; with them it edits all captions in one step of undo and keeps the answers in "
        "PROJECT/traits.json.",
        "  lora-forge traits --project anna --kind person\n"
        '  lora-forge traits --project anna --part "brown hair" "green eyes" --changeable "pink shirt"\n'
        "  lora-forge traits --project anna --accept",
    )
    parser.add_argument("--project", type=Path, required=True, metavar="DIR", help="the project's folder")
    parser.add_argument("--kind", choices=[*IMAGES_PER_EPOCH], default="person", help="default: person")
    parser.add_argument("--part", nargs="+", default=[], metavar="TAG", help="part of the subject: deleted everywhere")
    parser.add_argument("--changeable", nargs="+", default=[], metavar="TAG", help="kept; brought back where deleted")
    parser.add_argument("--leave", nargs="+", default=[], metavar="TAG", help="neither")
    parser.add_argument("--complete", nargs="+", default=[], metavar="TAG", help="added to the photos that lack it")
    parser.add_argument("--accept", action="store_true", help="take what is proposed for all that has no answer")


def _action(actions: Any, name: str, summary: str, has_find: bool = False) -> Any:
    parser = actions.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    parser.add_argument("--project", type=Path, required=True, metavar="DIR", help="the project's folder")
    # As in the outer parser, where they may stand too: a default here would undo what was said there.
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="JSON on standard output")
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="on failure show where")
    if has_find:
        parser.add_argument("--find", default="", metavar="QUERY", help="only the photos that QUERY finds")
    return parser
