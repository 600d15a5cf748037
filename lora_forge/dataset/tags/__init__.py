"""Tags: captions as lists of tags, edited in one book a project with undo across restarts.

::

    book.py      TagBook: what the captions say now, edits, undo and redo, who changed what
    change.py    what an edit has changed, for whoever shows it
    shelf.py     what the captions say now, compared with the disk
    history.py   planning undo and redo, and what a crash left
    texts.py     one caption file: its tags, the rest of it, and whether it is prose
    edits.py     the operations, pure: tags in, tags out
    disk.py      finding, reading and writing the files; all of an edit or nothing of it
    journal.py   tags/journal.jsonl: every edit with the texts before and after
    query.py     the query language
    tokens.py    counting CLIP's tokens
    formats.py   kohya's JSON, a zip of .txt, CSV
"""

from lora_forge.dataset.tags.book import Change, ConflictError, PhotoTags, TagBook, book_of
from lora_forge.dataset.tags.edits import Operation, parse_operation
from lora_forge.dataset.tags.errors import QueryError, TagError

__all__ = [
    "Change",
    "ConflictError",
    "Operation",
    "PhotoTags",
    "QueryError",
    "TagBook",
    "TagError",
    "book_of",
    "parse_operation",
]
