"""The operations, pure: tags in, tags out.

The trigger word in front is locked: nothing here removes, moves, changes or doubles it, and "front" is the place behind
it. Where it stands somewhere else it is kept too. Operations on order (sort, remove duplicates, clean) leave prose
alone.

Operations, as the page sends them (``kind`` and the fields named)::

    add      tags, position: "front" | "end" | index among all tags    a tag that is there already stays where it is
    remove   tags
    replace  find, to, mode: "tag" | "text" | "regex", ignore_case, whole    whole: in the joined line, not tag by tag
    front    tags                       those that are there, in the order given
    sort     by: "alpha" | "count" | "length" | "dictionary", reverse
    dedupe
    set      tags | text                one photo
    move     tag, to: index among all tags
    paste    tags, mode: "replace" | "append" | "prepend"
    clean    underscores (default true): "long_hair" becomes "long hair"; spaces and empty tags go in any case
    truncate limit                      drops tags from the end until the caption has no more tokens than that
    trigger                             the trigger word in front where it is missing
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from lora_forge.dataset.captions import split_tags
from lora_forge.dataset.tags.operation import Operation, parse_operation
from lora_forge.dataset.tags.texts import FACES, Caption, is_trigger, join, lock_of, parse, same, with_tags
from lora_forge.dataset.tags.tokens import count_tags

__all__ = ["Context", "Operation", "apply", "parse_operation"]
Tags = tuple[str, ...]


@dataclass(frozen=True)
class Context:
    """What an operation may want to know: ``counts`` of tags in the set, by :func:`texts.same`; ``rank``: a tag's place
    in the dictionary."""

    trigger_word: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    rank: Callable[[str], tuple[int, int]] = lambda tag: (0, 0)


def apply(operation: Operation, caption: Caption, context: Context) -> str:
    """The caption's text after ``operation``."""
    if operation.kind == "set" and operation.text is not None:
        return _set_text(operation.text, caption, context.trigger_word)
    if caption.is_prose and operation.kind in ("sort", "dedupe", "clean", "truncate"):
        return caption.text
    if operation.kind == "replace" and operation.mode != "tag" and (caption.is_prose or operation.whole):
        return with_tags(caption, _replace_whole(operation, caption, context.trigger_word))
    lock = lock_of(caption.tags, context.trigger_word)
    head, rest = caption.tags[:lock], caption.tags[lock:]
    tags = (*head, *_OPERATIONS[operation.kind](operation, rest, context, head))
    if operation.kind == "clean" and caption.is_tags:
        return join(caption, tags)  # stray spaces and empty tags are not in the tags, only in the text
    return with_tags(caption, tags)


def _add(operation: Operation, rest: Tags, context: Context, head: Tags) -> Tags:
    there = {same(tag) for tag in (*head, *rest)}
    new = [tag for tag in _unique(operation.tags) if same(tag) not in there]
    trigger = [tag for tag in new if is_trigger(tag, context.trigger_word) and not head]
    new = [tag for tag in new if not is_trigger(tag, context.trigger_word)]
    at = _place(operation.position, len(head), len(rest))
    return (*trigger, *rest[:at], *new, *rest[at:])


def _place(position: str | int, lock: int, length: int) -> int:
    if position == "front":
        return 0
    return length if position == "end" else min(max(int(position) - lock, 0), length)


def _remove(operation: Operation, rest: Tags, context: Context, head: Tags) -> Tags:
    gone = {same(tag) for tag in operation.tags}
    return tuple(tag for tag in rest if same(tag) not in gone or is_trigger(tag, context.trigger_word))


def _replace(operation: Operation, rest: Tags, context: Context, head: Tags) -> Tags:
    change = _cached_replacer(operation)
    news = [(tag,) if is_trigger(tag, context.trigger_word) else change(tag) for tag in rest]
    if all(new == (tag,) for new, tag in zip(news, rest, strict=True)):
        return rest
    out: list[str] = []
    seen = {same(tag) for tag in (*head, *rest)}
    for tag, new in zip(rest, news, strict=True):
        for one in new:  # one that is there already is not written twice
            if one == tag or same(one) == same(tag) or same(one) not in seen:
                out.append(one)
                seen.add(same(one))
    return tuple(out)


@lru_cache(maxsize=4)
def _cached_replacer(operation: Operation) -> Callable[[str], Tags]:
    change = replacer(operation)
    return lru_cache(maxsize=4096)(lambda tag: tuple(split_tags(change(tag))))


def replacer(operation: Operation) -> Callable[[str], str]:
    """What ``replace`` does to one tag."""
    find, to = operation.find, operation.to
    if operation.mode == "tag":
        wanted = same(find) if operation.ignore_case else find
        return lambda tag: to if (same(tag) if operation.ignore_case else tag) == wanted else tag
    flags = re.IGNORECASE if operation.ignore_case else 0
    pattern = re.compile(find if operation.mode == "regex" else re.escape(find), flags)
    filled: str | Callable[[re.Match[str]], str] = to if operation.mode == "regex" else (lambda match: to)
    return lambda tag: pattern.sub(filled, tag)


def _replace_whole(operation: Operation, caption: Caption, trigger_word: str) -> Tags:
    lock = lock_of(caption.tags, trigger_word)
    return (*caption.tags[:lock], *split_tags(replacer(operation)(join(caption, caption.tags[lock:]))))


def _front(operation: Operation, rest: Tags, context: Context, head: Tags) -> Tags:
    wanted = {same(tag): number for number, tag in reversed(list(enumerate(operation.tags)))}
    first = sorted((tag for tag in rest if same(tag) in wanted), key=lambda tag: wanted[same(tag)])
    return (*first, *(tag for tag in rest if same(tag) not in wanted))


def _sort(operation: Operation, rest: Tags, context: Context, head: Tags) -> Tags:
    keys: dict[str, Callable[[str], object]] = {
        "alpha": lambda tag: same(tag),
        "count": lambda tag: (-context.counts.get(same(tag), 0), same(tag)),
        "length": lambda tag: (len(tag), same(tag)),
        "dictionary": lambda tag: context.rank(tag),
    }
    by: Callable[[str], object] = keys[operation.by]
    trigger = [tag for tag in rest if is_trigger(tag, context.trigger_word)]
    others = [tag for tag in rest if not is_trigger(tag, context.trigger_word)]
    return (*trigger, *sorted(others, key=by, reverse=operation.reverse))  # type: ignore[arg-type]


def _dedupe(operation: Operation, rest: Tags, context: Context, head: Tags) -> Tags:
    there = {same(tag) for tag in head}
    return tuple(tag for tag in _unique(rest) if same(tag) not in there)


def _set(operation: Operation, rest: Tags, context: Context, head: Tags) -> Tags:
    return tuple(tag for tag in operation.tags if not head or same(tag) != same(head[0]))


def _set_text(text: str, caption: Caption, trigger_word: str) -> str:
    if not lock_of(caption.tags, trigger_word) or lock_of(parse(text).tags, trigger_word):
        return text
    return f"{caption.tags[0]}, {text}" if text else caption.tags[0]


def _move(operation: Operation, rest: Tags, context: Context, head: Tags) -> Tags:
    moved = [tag for tag in rest if same(tag) == same(operation.tags[0])][:1]
    if not moved:
        return rest
    old = rest.index(moved[0])
    others = (*rest[:old], *rest[old + 1 :])
    at = _place(operation.position, len(head), len(others))
    return (*others[:at], *moved, *others[at:])


def _paste(operation: Operation, rest: Tags, context: Context, head: Tags) -> Tags:
    pasted = [tag for tag in _unique(operation.tags) if not lock_of((tag,), context.trigger_word)]
    if operation.mode == "replace":
        return (*(tag for tag in rest if is_trigger(tag, context.trigger_word)), *pasted)
    there = {same(tag) for tag in (*head, *rest)}
    new = [tag for tag in pasted if same(tag) not in there]
    return (*rest, *new) if operation.mode == "append" else (*new, *rest)


def _clean(operation: Operation, rest: Tags, context: Context, head: Tags) -> Tags:
    if not operation.underscores:
        return tuple(rest)
    return tuple(
        tag if tag in FACES or is_trigger(tag, context.trigger_word) else " ".join(tag.replace("_", " ").split()) or tag
        for tag in rest
    )


def _truncate(operation: Operation, rest: Tags, context: Context, head: Tags) -> Tags:
    kept = list(rest)
    while kept and count_tags((*head, *kept)) > operation.limit:
        last = next((at for at in reversed(range(len(kept))) if not is_trigger(kept[at], context.trigger_word)), None)
        if last is None:
            break
        del kept[last]
    return tuple(kept)


def _trigger(operation: Operation, rest: Tags, context: Context, head: Tags) -> Tags:
    word = " ".join(context.trigger_word.split())
    if head or not word:
        return rest
    return (word, *(tag for tag in rest if not is_trigger(tag, word)))


def _unique(tags: Sequence[str]) -> list[str]:
    found: dict[str, str] = {}
    for tag in tags:
        found.setdefault(same(tag), tag)
    return list(found.values())


_OPERATIONS: Mapping[str, Callable[[Operation, Tags, Context, Tags], Tags]] = {
    "add": _add,
    "clean": _clean,
    "dedupe": _dedupe,
    "front": _front,
    "move": _move,
    "paste": _paste,
    "remove": _remove,
    "replace": _replace,
    "set": _set,
    "sort": _sort,
    "trigger": _trigger,
    "truncate": _truncate,
}
