"""``lora-forge tags`` and ``lora-forge traits``."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from lora_forge import atomic
from lora_forge.cli.console import Console
from lora_forge.dataset.project import Project
from lora_forge.dataset.tags import Change, QueryError, TagBook, book_of
from lora_forge.dataset.tags.formats import export, take_in
from lora_forge.dataset.tags.query import find
from lora_forge.dataset.tags.suggest import suggest
from lora_forge.dataset.tags.tokens import LIMIT
from lora_forge.dataset.trait_checks import contradictions
from lora_forge.dataset.traits import Traits, answer, survey
from lora_forge.dataset.words import Words
from lora_forge.errors import DatasetError
from lora_forge.i18n import Said

_ALL = 1_000_000


def run(args: Namespace, console: Console) -> int:
    """Tags or traits, as the command says."""
    project = Project.load(args.project)
    words = Words.load(args.project.resolve().parent / "words.tsv")
    if args.command == "traits":
        return _traits(args, console, project, words)
    try:
        return _act(args, console, book_of(project), words)
    except QueryError as problem:
        text = args.query if args.action == "find" else args.find
        console.say(f"{text}\n{' ' * problem.at}^")
        raise


def _act(args: Namespace, console: Console, book: TagBook, words: Words) -> int:
    if args.action == "list":
        return _list(console, book, words)
    if args.action == "find":
        keys = find(book, args.query, words)
        console.object({"event": "Found", "photos": keys}) if console.is_json else None
        for key in keys:
            console.result(key)
        return 0
    if args.action == "export":
        atomic.write_bytes(args.out, export(book, args.format))
        console.say(f"{len(book.files())} captions in {args.out}")
        return 0
    if args.action == "import":
        return _import(console, book, args.file)
    if args.action in ("undo", "redo"):
        step = book.undo if args.action == "undo" else book.redo
        return _told(console, step(is_partly=args.partly))
    chosen = find(book, args.find, words) if args.find else None
    return _told(console, book.apply(_operation(args), chosen))


def _operation(args: Namespace) -> dict[str, Any]:
    if args.action == "add":
        return {"kind": "add", "tags": args.tags, "position": args.at}
    if args.action == "remove":
        return {"kind": "remove", "tags": args.tags}
    mode = "text" if args.text else "regex" if args.regex else "tag"
    return {"kind": "replace", "find": args.old, "to": args.new, "mode": mode}


def _list(console: Console, book: TagBook, words: Words) -> int:
    photos = book.captions()
    found = suggest(book, words, "", _ALL)
    long = [key for key, photo in photos.items() if photo.tokens > LIMIT]
    if console.is_json:
        tags = [{"tag": one.tag, "zh": one.zh, "category": one.category, "count": one.count} for one in found]
        console.object({"event": "Tags", "photos": len(photos), "tags": tags, "over_limit": long})
    for one in found:
        console.result(f"{one.count:5}  {one.tag}" + (f"  {one.zh}" if one.zh else ""))
    console.say(f"{len(found)} tags on {len(photos)} photos, {len(long)} over {LIMIT} tokens")
    for _, problem in book.problems():
        console.say(Said(*problem).text())
    return 0


def _import(console: Console, book: TagBook, file: Path) -> int:
    try:
        data = file.read_bytes()
    except OSError as cause:
        raise DatasetError("{path} can't be read: {cause}.", path=file, cause=cause.strerror) from cause
    change, strangers = take_in(book, data)
    for name in strangers:
        console.say(f"no photo for {name}")
    return _told(console, change)


def _told(console: Console, change: Change) -> int:
    label = Said(*change.label).text()
    if console.is_json:
        changed = {key: photo.tags for key, photo in change.changed.items()}
        console.object({"event": "Edited", "label": label, "changed": changed})
    for left_out in change.left_out:
        console.say(Said(*left_out).text())
    console.say(f"{label}: {len(change.changed)} captions changed")
    return 0


def _traits(args: Namespace, console: Console, project: Project, words: Words) -> int:
    answers = {tag: name for name in ("part", "changeable", "leave") for tag in getattr(args, name)}
    seen = survey(project, args.kind, words)
    if args.accept:
        open_ = {trait.tag: trait.proposal for trait in seen.traits if trait.answer is None}
        answers = {**open_, **answers}
    if answers or args.complete:
        _told(console, answer(book_of(project), answers, args.complete, args.kind))
        seen = survey(project, args.kind, words)
    found = contradictions(project, args.kind, seen)
    if console.is_json:
        console.object({
            "event": "Traits",
            "traits": [{"tag": one.tag, "category": one.category, "count": one.count, "proposal": one.proposal,
                        "answer": one.answer} for one in seen.traits],
            "contradictions": [{"id": one.id, "sentence": one.sentence.text(), "photos": one.photos} for one in found],
            "changeable": Traits.load(project).changeable,
            "examples": seen.examples,
        })  # fmt: skip
    for category, traits in seen.groups:
        console.result(category)
        for one in traits:
            said = one.answer or f"{one.proposal}?"
            console.result(f"  {said:12} {round(one.share * 100):3} %  {one.tag}  {words.zh(one.tag)}".rstrip())
    for doubt in found:
        console.result(f"! {doubt.sentence.text()}")
    console.result(seen.sentence.text())
    for prompt, note in zip(seen.examples, seen.notes, strict=True):
        console.result(f"  {prompt}   ({note.text()})")
    return 0
