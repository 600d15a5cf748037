r"""The query language: which photos a text asks for.

::

    red hair                 photos with exactly this tag; several bare words are one tag, case and _ don't matter
    "red, white"             quotes for what holds a sign with a meaning here: , & | ( ) / " or a word like AND
    粉色衬衫                  the tag itself, or the tags the dictionary has for it (pink shirt)
    red*, ?girl              * any letters, ? one letter
    /(red|pink) hair/        a regular expression, found anywhere in a tag
    a AND b   a & b   a, b   both
    a OR b    a | b          either
    NOT a     -a             photos without it
    ( ... )                  grouping; AND binds tighter than OR. After a word they are part of the tag: saber (fate)
    tag:x                    as x alone: for tags that look like something else (tag:none)
    caption:x                x anywhere in the whole text; with * ? or /.../ as above
    name:x   group:x         x in the file's name; the whole name or group where it has * or ?
    tokens:>75  tags:<3      counts with < <= = >= > or a range 3-5; a number alone is exact
    category:hair            any tag the dictionary puts there
    none                     no tags (but for the trigger word)
    missing:trigger          the trigger word is not in front

Full-width signs （ ） ， ： are read as the plain ones. An empty query is every photo.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from lora_forge.dataset.tags.book import TagBook
from lora_forge.dataset.tags.errors import QueryError, TagError
from lora_forge.dataset.tags.operation import check_pattern
from lora_forge.dataset.tags.shelf import CaptionFile
from lora_forge.dataset.tags.texts import lock_of, same

_FIELDS = ("tag", "caption", "name", "group", "tokens", "tags", "category", "missing", "has")
_FULL_WIDTH = str.maketrans("（），：", "(),:")
_SIGNS = {"AND": "&", "OR": "|", "NOT": "!", "&": "&", ",": "&", "|": "|", "(": "(", ")": ")"}
_COUNT = re.compile(r"(<=|>=|<|>|=)?\s*(\d{1,6})$|(\d{1,6})\s*-\s*(\d{1,6})$")
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<sign>[&|,()])
    | (?P<minus>-(?=[^\s-]))
    | (?P<field>(?:tag|caption|name|group|tokens|tags|category|missing|has):)?
      (?: "(?P<quoted>(?:[^"\\]|\\.)*)"(?=[\s&|,()]|$) | /(?P<regex>(?:[^/\\]|\\.)+)/(?=[\s&|,()]|$)
        | (?P<bare>[^\s&|,()]+) )
    )""",
    re.VERBOSE | re.IGNORECASE,
)


class Dictionary(Protocol):
    """What a query asks of the dictionary."""

    def tags_for_zh(self, text: str) -> tuple[str, ...]: ...

    def category(self, tag: str) -> str: ...


@dataclass(frozen=True)
class _Token:
    """``kind``: ``&``, ``|``, ``!``, ``(``, ``)``, ``end`` or ``term``; ``how``: ``plain``, ``quoted``, ``regex``."""

    kind: str
    at: int
    end: int
    text: str = ""
    how: str = "plain"
    field: str = ""


@dataclass(frozen=True)
class Index:
    """Photos by tag as sets of bits: and, or, not of whole projects are one step each."""

    keys: tuple[str, ...]
    files: tuple[CaptionFile, ...]
    bits: Mapping[str, int]

    @property
    def everything(self) -> int:
        return (1 << len(self.keys)) - 1


def find(book: TagBook, query: str, dictionary: Dictionary | None = None) -> list[str]:
    """Keys of the photos that ``query`` asks for, in the photos' order.

    Raises:
        QueryError: it can't be understood.
        TagError: the photos can't be listed.
    """
    files = book.files()
    index = book.view("index", lambda: build_index(files))
    bits = _Parser(query, index, book, dictionary).parse()
    digits = bin(bits)[:1:-1]
    return [key for key, digit in zip(index.keys, digits, strict=False) if digit == "1"]


def build_index(files: Mapping[str, CaptionFile]) -> Index:
    """The index of all captions."""
    places: dict[str, bytearray] = {}
    size = (len(files) + 7) // 8
    spelled: dict[str, str] = {}
    for number, file in enumerate(files.values()):
        byte, bit = number >> 3, 1 << (number & 7)
        for tag in file.caption.tags:
            name = spelled.get(tag)
            if name is None:
                name = spelled[tag] = same(tag)
            place = places.get(name)
            if place is None:
                place = places[name] = bytearray(size)
            place[byte] |= bit
    bits = {name: int.from_bytes(place, "little") for name, place in places.items()}
    return Index(tuple(files), tuple(files.values()), bits)


class _Parser:
    """Recursive descent over the tokens, straight to sets of bits."""

    def __init__(self, query: str, index: Index, book: TagBook, dictionary: Dictionary | None) -> None:
        self._tokens, self._at = _tokens(query), 0
        self._index, self._book, self._dictionary = index, book, dictionary

    def parse(self) -> int:
        if self._now.kind == "end":
            return self._index.everything
        found = self._either()
        if self._now.kind != "end":
            raise QueryError(self._now.at, "There is a ) too many.")
        return found

    @property
    def _now(self) -> _Token:
        return self._tokens[self._at]

    def _either(self) -> int:
        found = self._both()
        while self._now.kind == "|":
            self._at += 1
            found |= self._both()
        return found

    def _both(self) -> int:
        found = self._one()
        while self._now.kind in ("&", "!", "(", "term"):  # side by side is AND too
            if self._now.kind == "&":
                self._at += 1
            found &= self._one()
        return found

    def _one(self) -> int:
        token = self._now
        self._at += 1
        if token.kind == "!":
            return self._index.everything & ~self._one()
        if token.kind == "(":
            found = self._either()
            if self._now.kind != ")":
                raise QueryError(token.at, "This ( is never closed.")
            self._at += 1
            return found
        if token.kind != "term":
            self._at -= 1
            raise QueryError(token.at, "Something to look for is missing here.", "Write a tag.")
        return self._term(token)

    def _term(self, token: _Token) -> int:
        text = token.text
        if not token.field and token.how == "plain" and text.casefold() == "none":
            return self._having(lambda file: len(file.caption.tags) == self._lock(file))
        if token.field == "has":
            return self._having(lambda file: len(file.caption.tags) > self._lock(file))
        if token.field in ("tokens", "tags"):
            fits = _count_test(token)
            if token.field == "tokens":
                return self._having(lambda file: fits(file.tokens(self._book.trigger_of(file))))
            return self._having(lambda file: fits(len(file.caption.tags)))
        if token.field == "missing":
            return self._missing(token)
        if token.field == "category":
            if self._dictionary is None:
                return 0
            category = self._dictionary.category
            return self._tags(lambda tag: category(tag) == text.casefold())
        if token.field in ("caption", "name", "group"):
            return self._texts(token)
        return self._tag(token)

    def _tag(self, token: _Token) -> int:
        pattern = _pattern(token)
        if pattern is not None:
            return self._tags(lambda tag: pattern.search(tag) is not None)
        found = self._index.bits.get(same(token.text), 0)
        if self._dictionary is not None and not token.text.isascii():
            for alias in self._dictionary.tags_for_zh(token.text):
                found |= self._index.bits.get(same(alias), 0)
        return found

    def _texts(self, token: _Token) -> int:
        read: Mapping[str, Callable[[str, CaptionFile], str]] = {
            "caption": lambda key, file: file.caption.text,
            "name": lambda key, file: key.rpartition("/")[2],
            "group": lambda key, file: file.group,
        }
        text_of = read[token.field]
        # A pattern of a caption may stand anywhere in it; names and groups are short and meant whole.
        pattern = _pattern(token, is_whole=token.field != "caption")
        wanted = token.text.casefold()
        is_exact = token.field == "group"
        found = 0
        for number, (key, file) in enumerate(zip(self._index.keys, self._index.files, strict=True)):
            text = text_of(key, file)
            if pattern is not None:
                fits = pattern.search(text) is not None
            else:
                fits = text.casefold() == wanted if is_exact else wanted in text.casefold()
            found |= fits << number
        return found

    def _missing(self, token: _Token) -> int:
        if token.text.casefold() not in ("trigger", "触发词"):
            raise QueryError(token.at, "missing: knows only {known}.", known="missing:trigger")
        return self._having(lambda file: bool(self._book.trigger_of(file)) and not self._lock(file))

    def _lock(self, file: CaptionFile) -> int:
        return lock_of(file.caption.tags, self._book.trigger_of(file))

    def _tags(self, test: Callable[[str], bool]) -> int:
        found = 0
        for tag, bits in self._index.bits.items():
            if test(tag):
                found |= bits
        return found

    def _having(self, test: Callable[[CaptionFile], bool]) -> int:
        digits = "".join("1" if test(file) else "0" for file in reversed(self._index.files))
        return int(digits or "0", 2)


def _tokens(query: str) -> list[_Token]:
    query = _plain_signs(query)
    found: list[_Token] = []
    at = 0
    while query[at:].strip():
        match = _TOKEN.match(query, at)
        if match is None or match.end() == at:
            raise QueryError(at, "A quotation mark is never closed.")
        start = match.end() - len(match[0].lstrip())
        at = match.end()
        token = _token(match, start)
        if token.kind == "(" and found and found[-1].kind == "term" and found[-1].how == "plain":
            at, token = _name_in_brackets(query, start, found.pop())
        elif token.kind == "term" and found and _is_one_tag(found[-1], token, query):
            token = _Token("term", found[-1].at, at, f"{found[-1].text} {token.text}", "plain", found[-1].field)
            found.pop()
        found.append(token)
    return [*found, _Token("end", len(query), len(query))]


def _token(match: re.Match[str], start: int) -> _Token:
    end = match.end()
    if match["sign"]:
        return _Token(_SIGNS[match["sign"]], start, end)
    if match["minus"]:
        return _Token("!", start, end)
    field = (match["field"] or "")[:-1].lower()
    if match["quoted"] is not None:
        return _Token("term", start, end, re.sub(r"\\(.)", r"\1", match["quoted"]), "quoted", field)
    if match["regex"] is not None:
        return _Token("term", start, end, match["regex"].replace("\\/", "/"), "regex", field)
    bare = match["bare"]
    if not field and bare in _SIGNS:
        return _Token(_SIGNS[bare], start, end)
    if bare.startswith('"') and bare.count('"') == 1:
        raise QueryError(start, "A quotation mark is never closed.")
    return _Token("term", start, end, bare, "plain", field)


def _is_one_tag(before: _Token, token: _Token, query: str) -> bool:
    """Whether two words in a row are one tag; counts and the like have one word only."""
    both_plain = before.kind == "term" and before.how == token.how == "plain"
    return both_plain and not token.field and before.field in ("", "tag", "caption", "name", "group")


def _name_in_brackets(query: str, start: int, name: _Token) -> tuple[int, _Token]:
    """``saber (fate)``: brackets right behind a bare word belong to the tag."""
    depth, end = 0, start
    for end in range(start, len(query)):
        depth += (query[end] == "(") - (query[end] == ")")
        if depth == 0:
            break
    if depth:
        raise QueryError(start, "This ( is never closed.")
    gap = " " if query[name.end : start].strip() == "" and start > name.end else ""
    text = f"{name.text}{gap}{query[start : end + 1]}"
    return end + 1, _Token("term", name.at, end + 1, text, "plain", name.field)


def _plain_signs(query: str) -> str:
    """Full-width signs as plain ones, of the same length, but not within quotes."""
    parts = query.split('"')
    return '"'.join(part if number % 2 else part.translate(_FULL_WIDTH) for number, part in enumerate(parts))


def _pattern(token: _Token, is_whole: bool = True) -> re.Pattern[str] | None:
    """What a regular expression or wildcards look for; None where the text is meant as it is."""
    if token.how == "regex":
        try:
            check_pattern(token.text)
        except TagError as problem:
            raise QueryError(token.at, problem.what, problem.remedy, **problem.values) from problem
        return re.compile(token.text, re.IGNORECASE)
    if token.how == "quoted" or not ("*" in token.text or "?" in token.text):
        return None
    text = token.text if token.field in ("caption", "name", "group") else token.text.replace("_", " ")
    body = re.sub(r"\*+", "*", text).replace("[", "[[]")
    pattern = fnmatch.translate(body) if is_whole else fnmatch.translate(f"*{body}*")
    return re.compile(pattern, re.IGNORECASE)


def _count_test(token: _Token) -> Callable[[int], bool]:
    match = _COUNT.match(token.text)
    if match is None:
        raise QueryError(token.at, "{text!r} is no count.", "Write >75, <=3, 5 or 3-5.", text=token.text)
    if match[3]:
        least, most = int(match[3]), int(match[4])
        return lambda count: least <= count <= most
    number = int(match[2])
    tests: Mapping[str, Callable[[int], bool]] = {
        "<": lambda count: count < number,
        "<=": lambda count: count <= number,
        ">": lambda count: count > number,
        ">=": lambda count: count >= number,
        "=": lambda count: count == number,
    }
    return tests[match[1] or "="]
