"""Files that come by HTTP, one a request, straight to the disk; a batch of them is imported together."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from starlette.requests import ClientDisconnect, Request

from lora_forge.dataset.images import IMAGE_SUFFIXES
from lora_forge.dataset.naming import free_stem, safe_stem
from lora_forge.web.answers import RefusedError

T = TypeVar("T")
_KINDS = frozenset({*IMAGE_SUFFIXES, ".txt", ".caption", ".zip"})
_FORM_KINDS = ("multipart/form-data", "application/x-www-form-urlencoded", "text/plain")
_BATCH = re.compile(r"[0-9a-f]{32}")
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class UploadLimits:
    """``file_bytes``: of one file. ``batch_files``, ``batch_bytes``: of what is imported together. ``batches``: open at
    once. ``batch_s``: seconds until one that nobody imported is thrown away."""

    file_bytes: int = 2 << 30
    batch_files: int = 2000
    batch_bytes: int = 8 << 30
    batches: int = 8
    batch_s: float = 24 * 3600.0


class Uploads:
    """Batches, each a folder in ``root()`` named by a random number."""

    def __init__(self, root: Callable[[], Path], limits: UploadLimits, pool: Executor) -> None:
        self._root, self._limits, self._pool = root, limits, pool

    async def take(self, request: Request) -> dict[str, object]:
        """Write the request's body as the file ``name`` of ``batch`` (a new one when there is none of that name).

        Raises:
            RefusedError: not a kind of file that is imported, too large, too many, or sent by a plain HTML form.
        """
        query = request.query_params
        name = _checked_name(query.get("name", ""))
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() in _FORM_KINDS:
            raise RefusedError(
                415, "This wants the file alone.", "Send it with Content-Type: application/octet-stream."
            )
        self._check_announced(request.headers.get("content-length", ""))
        is_new = "batch" not in query
        folder = await self._in_pool(self._begin) if is_new else self._folder(query["batch"])
        try:
            final, size = await self._keep(request, folder, name)
        except BaseException:
            if is_new:
                self.drop(folder.name)
            raise
        return {"batch": folder.name, "name": final.name, "bytes": size, "files": len(_files(folder))}

    async def _keep(self, request: Request, folder: Path, name: Path) -> tuple[Path, int]:
        part = folder / f".{secrets.token_hex(8)}.part"
        try:
            size = await self._write(request, part, self._room(folder))
            final = _free_place(folder, name)
            part.rename(final)
        except ClientDisconnect as cause:
            raise RefusedError(400, "The upload was cut off.", "Send the file again.") from cause
        except OSError as cause:
            raise RefusedError(
                507, "The disk can't take the file: {cause}.", "Free some space.", cause=cause
            ) from cause
        finally:
            part.unlink(missing_ok=True)
        return final, size

    def folder(self, batch: str) -> Path:
        """Where the files of ``batch`` are.

        Raises:
            RefusedError: there is no such batch.
        """
        return self._folder(batch)

    def drop(self, batch: str) -> None:
        """Throw ``batch`` away."""
        if _BATCH.fullmatch(batch):
            shutil.rmtree(self._root() / batch, ignore_errors=True)

    def _folder(self, batch: str) -> Path:
        folder = self._root() / batch if _BATCH.fullmatch(batch) else None
        if folder is None or not folder.is_dir():
            raise RefusedError(404, "There is no such batch of uploads.", "Send the files again.")
        return folder

    def _begin(self) -> Path:
        root, now = self._root(), time.time()
        there = [path for path in root.iterdir() if _BATCH.fullmatch(path.name)]
        for path in there:
            with contextlib.suppress(OSError):
                if now - path.stat().st_mtime > self._limits.batch_s:
                    shutil.rmtree(path, ignore_errors=True)
        if sum(path.exists() for path in there) >= self._limits.batches:
            raise RefusedError(429, "Too many uploads wait to be imported.", "Import them first.")
        folder = root / secrets.token_hex(16)
        folder.mkdir()
        return folder

    def _room(self, folder: Path) -> int:
        """How many bytes the next file of a batch may have."""
        there = list(folder.iterdir())
        if len(there) >= self._limits.batch_files:
            raise RefusedError(
                413, "More than {most} files at once.", "Import these first.", most=self._limits.batch_files
            )
        return min(self._limits.file_bytes, self._limits.batch_bytes - sum(path.stat().st_size for path in there))

    def _check_announced(self, length: str) -> None:
        if length.isdecimal() and int(length) > self._limits.file_bytes:
            raise self._too_large()

    def _too_large(self) -> RefusedError:
        return RefusedError(
            413,
            "The file is larger than {most} MB.",
            "Copy it to the server yourself.",
            most=self._limits.file_bytes >> 20,
        )

    async def _write(self, request: Request, target: Path, room: int) -> int:
        size, waiting = 0, bytearray()
        with target.open("wb") as file:
            async for piece in request.stream():
                size += len(piece)
                if size > room:
                    raise self._too_large()
                waiting += piece
                if len(waiting) >= _PIECE_BYTES:
                    await self._in_pool(_append, file, bytes(waiting))
                    waiting.clear()
            await self._in_pool(_append, file, bytes(waiting))
        return size

    async def _in_pool(self, function: Callable[..., T], *values: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *values)


def _append(file: IO[bytes], piece: bytes) -> None:
    file.write(piece)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def _free_place(folder: Path, name: Path) -> Path:
    """By kind, so that a caption keeps the name of its photo."""
    taken = {path.stem.casefold() for path in _files(folder) if path.suffix == name.suffix}
    return folder / (free_stem(taken, name.stem) + name.suffix)


def _checked_name(name: str) -> Path:
    """The last part of what a browser calls the file, of a kind that is imported."""
    last = Path(name.replace("\\", "/").rpartition("/")[2].replace("\0", ""))
    suffix = last.suffix.lower()
    if suffix not in _KINDS:
        raise RefusedError(400, "{name!r} is no photo, caption or zip.", name=name)
    return Path(safe_stem(last.stem) + suffix)
