"""What can be wrong with an edit or a query, in a sentence."""

from __future__ import annotations

from lora_forge.errors import DatasetError


class TagError(DatasetError):
    """An edit of tags can't be made."""


class QueryError(DatasetError):
    """A query can't be understood; ``at`` is where in it, counted from 0."""

    def __init__(self, at: int, what: str, remedy: str = "", **values: object) -> None:
        super().__init__(what, remedy, **values)
        self.at = at
