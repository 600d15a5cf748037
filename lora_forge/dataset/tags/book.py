"""The book of a project's tags: what every caption says, one edit at a time, undo and redo across restarts.

A *revision* is a number that grows with every change anybody makes, this page, another one, or a program that writes
the .txt files. An edit names the revision its page has seen; a caption among its photos that somebody else has changed
since is a conflict, and then nothing is written.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from lora_forge.dataset.captions import clean_text
from lora_forge.dataset.project import Project
from lora_forge.dataset.tags import disk, edits, locking
from lora_forge.dataset.tags.change import Change, ConflictError, PhotoTags
from lora_forge.dataset.tags.errors import TagError
from lora_forge.dataset.tags.history import Plan, plan_back, plan_forth, settle
from lora_forge.dataset.tags.journal import Journal, Label
from lora_forge.dataset.tags.operation import Operation, parse_operation
from lora_forge.dataset.tags.shelf import CaptionFile, Shelf
from lora_forge.dataset.tags.texts import same
from lora_forge.i18n import word

__all__ = ["Change", "ConflictError", "PhotoTags", "TagBook", "book_of"]
_FRESH_S = 0.5
T = TypeVar("T")


class TagBook:
    """The tags of one project; any thread may use it."""

    def __init__(self, project: Project) -> None:
        self.root = project.root
        self._lock = threading.RLock()
        self._shelf = Shelf(project.root)
        self._journal = Journal(project.root)
        self._looked_s = 0.0
        self._views: dict[str, tuple[int, Any]] = {}
        # Milliseconds since 1970 to begin with: a page that was open before a restart is behind, never ahead.
        self._revision = time.time_ns() // 1_000_000
        self.use(project)

    def use(self, project: Project) -> None:
        """Take the trigger word and the groups as they are now."""
        self.trigger_word = project.trigger_word
        self._priors = frozenset(group.name for group in project.groups if group.is_prior)

    @property
    def revision(self) -> int:
        """As of the last look at the disk."""
        return self._revision

    def trigger_of(self, file: CaptionFile) -> str:
        """The word locked in front of a caption: none for prior preservation pictures."""
        return "" if self.is_prior(file) else self.trigger_word

    def is_prior(self, file: CaptionFile) -> bool:
        """Whether a caption is of a prior preservation picture."""
        return file.group in self._priors

    def refresh(self, max_age_s: float = 0.0) -> None:
        """Look at the disk, unless that was less than ``max_age_s`` ago.

        Raises:
            TagError: a folder can't be listed, or the journal not be read.
        """
        with self._lock:
            if max_age_s and time.monotonic() - self._looked_s < max_age_s:
                return
            if self._shelf.refresh(self._revision + 1):
                self._revision += 1
            self._journal.read()
            self._looked_s = time.monotonic()

    def files(self) -> dict[str, CaptionFile]:
        """Every photo's caption by its key, as now on the disk (two photos of one stem share one); not to be changed.

        Raises:
            TagError: as :meth:`refresh`.
        """
        with self._lock:
            self.refresh(_FRESH_S)
            return {key: self._shelf.files[place] for key, place in self._shelf.places.items()}

    def captions(self) -> dict[str, PhotoTags]:
        """Every photo's tags by its key.

        Raises:
            TagError: as :meth:`refresh`.
        """
        with self._lock:
            self.refresh()
            return {key: self._photo(self._shelf.files[place]) for key, place in self._shelf.places.items()}

    def counts(self) -> Counter[str]:
        """How many photos have a tag, by its spelling in :func:`texts.same`; sentences have none."""
        return self.view("counts", self._count)

    def view(self, name: str, build: Callable[[], T]) -> T:
        """What ``build`` makes of the captions, kept under ``name`` until one of them changes."""
        with self._lock:
            revision, kept = self._views.get(name, (-1, None))
            if revision != self._revision:
                kept = build()
                self._views[name] = (self._revision, kept)
            return cast(T, kept)

    def problems(self) -> list[tuple[str, Label]]:
        """Photos whose captions can't be read or are shared, with a template and its values."""
        found: list[tuple[str, Label]] = []
        with self._lock:
            for file in self._shelf.files.values():
                if file.problem is not None:
                    found += [(key, (file.problem.what, file.problem.values)) for key in file.keys]
                elif len(file.keys) > 1:
                    found += [(key, (_SHARED, {"names": _names(file.keys)})) for key in file.keys]
        return found

    def changes(self, since: int) -> Change:
        """What has changed after revision ``since``, on the disk too.

        Raises:
            TagError: as :meth:`refresh`.
        """
        with self._lock:
            self.refresh()
            since = since if since <= self._revision else 0
            files = [file for file in self._shelf.files.values() if file.revision > since]
            gone = tuple(key for key, revision in self._shelf.gone.items() if revision > since)
            return self._change(files, gone=gone)

    def apply(
        self,
        operation: Operation | Mapping[str, Any],
        keys: Iterable[str] | None = None,
        base: int | None = None,
        client: str = "",
        rank: Callable[[str], tuple[int, int]] = lambda tag: (0, 0),
    ) -> Change:
        """Do ``operation`` to the captions of ``keys`` (None: of all photos) as one step of undo.

        ``base``: the revision the page has seen; None asks for no check. ``rank``: a tag's place in the dictionary.

        Raises:
            ConflictError: somebody else changed one of them since, or took a photo away; nothing is written.
            TagError: the operation is none, or the captions can't be written; all are as before.
        """
        done = operation if isinstance(operation, Operation) else parse_operation(operation)
        with self._lock, locking.held(self.root):
            files = self._chosen(keys, base, client)
            if done.kind == "set" and len(files) != 1:
                raise TagError("A whole caption is written for one photo at a time.", "Choose one.")
            counts = self.counts() if done.kind == "sort" else Counter()
            wanted = {}
            for file in files:
                context = edits.Context(self.trigger_of(file), counts, rank)
                wanted[file.place] = edits.apply(done, file.caption, context)
            return self._write(wanted, done.label, client)

    def write(
        self,
        captions: Mapping[str, str | Sequence[str]],
        label: Label,
        base: int | None = None,
        client: str = "",
        others: Mapping[str, str] | None = None,
    ) -> Change:
        """Write whole captions, each by its photo's key, as one step of undo: text, or tags to be joined.

        ``others``: files in the project's folder that change with them, by name. The trigger word stays in front where
        it is now.

        Raises:
            ConflictError, TagError: as :meth:`apply`.
        """
        with self._lock, locking.held(self.root):
            self._chosen(captions, base, client)
            wanted = {}
            for key, caption in captions.items():
                file = self._shelf.files[self._shelf.places[key]]
                text = caption if isinstance(caption, str) else ", ".join(caption)
                operation = Operation("set", text=clean_text(text))
                wanted[file.place] = edits.apply(operation, file.caption, edits.Context(self.trigger_of(file)))
            return self._write(wanted, label, client, others or {})

    def undo(self, base: int | None = None, client: str = "", *, is_partly: bool = False) -> Change:
        """Take back the last edit, whoever made it.

        ``is_partly``: leave out captions that were changed since, instead of refusing.

        Raises:
            ConflictError: the page has not seen what it would take back.
            TagError: there is nothing to take back, or a caption was changed since.
        """
        return self._step("undo", base, client, is_partly)

    def redo(self, base: int | None = None, client: str = "", *, is_partly: bool = False) -> Change:
        """Do again what was taken back last; as :meth:`undo`."""
        return self._step("redo", base, client, is_partly)

    def _step(self, kind: str, base: int | None, client: str, is_partly: bool) -> Change:
        with self._lock, locking.held(self.root):
            self.refresh()
            self._settle()
            record = self._journal.last_done if kind == "undo" else self._journal.last_undone
            if record is None:
                raise TagError("There is nothing to undo." if kind == "undo" else "There is nothing to redo.")
            planner = plan_back if kind == "undo" else plan_forth
            plan = planner(self.root, record, self._shelf, is_partly)
            self._check([self._shelf.files[each.place] for each in plan.writes if each.place in self._shelf.files],
                        base, client)  # fmt: skip
            return self._commit(plan, kind, client)

    def _settle(self) -> None:
        if self._journal.unfinished is not None:
            self._revision += 1
            settle(self.root, self._journal, self._shelf, self._revision)

    def _chosen(self, keys: Iterable[str] | None, base: int | None, client: str) -> list[CaptionFile]:
        self.refresh()
        self._settle()
        if keys is None:
            files = list(self._shelf.files.values())
        else:
            keys = list(keys)
            gone = [key for key in keys if key not in self._shelf.places]
            if gone and base is None:
                raise TagError("There is no photo {names} here.", "Reload the list of photos.", names=_names(gone))
            if gone:
                raise ConflictError(self._change([], gone=tuple(gone)), _names(gone).split(", "))
            files = self._shelf.of_keys(keys)
        self._check(files, base, client)
        return files

    def _check(self, files: Sequence[CaptionFile], base: int | None, client: str) -> None:
        if base is None:
            return
        base = base if base <= self._revision else 0
        newer = [file for file in files if file.is_newer(base, client)]
        if newer:
            raise ConflictError(self._change(newer), [file.keys[0] for file in newer])

    def _write(
        self, wanted: Mapping[str, str], label: Label, client: str, others: Mapping[str, str] | None = None
    ) -> Change:
        plan = Plan(label)
        for place, text in wanted.items():
            file = self._shelf.files[place]
            if file.problem is not None:
                plan.left_out.append((file.problem.what, file.problem.values))
            elif text != file.caption.text:
                stamp = None if file.is_other else file.stamp
                plan.writes.append(disk.Write(place, file.raw, f"{text}\n" if text else "", stamp))
        for place, text in (others or {}).items():
            path = self.root / place
            before = path.read_text(encoding="utf-8") if path.is_file() else None
            if before != text:
                plan.writes.append(disk.Write(place, before, text, None))
        if not plan.writes:
            return self._change([], label=label, left_out=tuple(plan.left_out))
        return self._commit(plan, "edit", client)

    def _commit(self, plan: Plan, kind: str, client: str) -> Change:
        """Journal, files, journal: in this order nothing is lost wherever it ends."""
        try:
            files = {each.place: (each.before, each.after) for each in plan.writes}
            number = self._journal.begin(kind, plan.label, files, plan.record)
        except OSError as cause:
            raise TagError(
                "The journal of edits can't be written: {cause}. Nothing was changed.",
                "Free some space, or make the project's folder writable, and try again.",
                cause=cause.strerror or type(cause).__name__,
            ) from cause
        try:
            stamps = disk.write(self.root, plan.writes)
        except TagError as cause:
            self._journal.finish(number, is_done=isinstance(cause, disk.HalfWrittenError))
            self.refresh()
            raise
        self._journal.finish(number, is_done=True)
        return self._taken(plan, stamps, client)

    def _taken(self, plan: Plan, stamps: Mapping[str, disk.Stamp | None], client: str) -> Change:
        self._revision += 1
        touched = []
        for each in plan.writes:
            file = self._shelf.files.get(each.place)
            if file is not None:
                file.take(each.after, stamps[each.place], self._revision, client)
                touched.append(file)
        if any(each.after is None for each in plan.writes):
            self._shelf.refresh(self._revision)  # a .caption may be what counts again
        return self._change(touched, label=plan.label, left_out=tuple(plan.left_out))

    def _change(
        self,
        files: Sequence[CaptionFile],
        gone: tuple[str, ...] = (),
        label: Label = ("", {}),
        left_out: tuple[Label, ...] = (),
    ) -> Change:
        changed = {key: photo for file in files for photo in (self._photo(file),) for key in file.keys}
        done, undone = self._journal.last_done, self._journal.last_undone
        nothing: Label = ("", {})
        return Change(
            self._revision,
            changed,
            gone,
            label,
            left_out,
            done.label if done else nothing,
            undone.label if undone else nothing,
        )

    def _photo(self, file: CaptionFile) -> PhotoTags:
        caption = file.caption
        return PhotoTags(caption.tags, file.tokens(self.trigger_of(file)), None if caption.is_tags else caption.text)

    def _count(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        for file in self._shelf.files.values():
            for _ in file.keys if not file.caption.is_prose else ():
                counts.update({same(tag) for tag in file.caption.tags})
        return counts


_SHARED = word("{names} have one name and so one caption: an edit of one is an edit of all.")
_BOOKS: dict[Path, TagBook] = {}
_BOOKS_LOCK = threading.Lock()


def book_of(project: Project) -> TagBook:
    """The book of a project's folder; one a process, so that pages see each other's edits."""
    root = project.root.resolve()
    with _BOOKS_LOCK:
        book = _BOOKS.get(root)
        if book is None:
            book = _BOOKS[root] = TagBook(project)
    book.use(project)
    return book


def _names(keys: Sequence[str]) -> str:
    return ", ".join(key.rpartition("/")[2] for key in keys)
