"""Disks that are full: a limit on the size of files in this process, and real small file systems."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

NAMESPACE = ("unshare", "--map-root-user", "--mount")
"""What a program is started with so that it may mount what nobody else sees."""


@contextlib.contextmanager
def file_limit(size: int) -> Iterator[None]:
    """Inside, the system refuses to make a file larger than ``size`` bytes, in the middle of the write."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def why_no_mounts() -> str:
    """Empty when programs started with :data:`NAMESPACE` may mount; else what stands against it."""
    try:
        done = subprocess.run(
            [*NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True, check=False
        )
    except OSError as cause:
        return str(cause)
    return done.stderr.strip() if done.returncode else ""


class SmallDisk:
    """A tmpfs of ``kilobytes`` at ``place``, for a program in a namespace of its own."""

    def __init__(self, place: Path, kilobytes: int) -> None:
        self.place, self._ballast = place, place / "ballast"
        place.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(place)], check=True)

    def resize(self, kilobytes: int) -> None:
        """Make room, or take it."""
        subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(self.place)], check=True)

    def fill(self) -> None:
        """Let not one byte go on it any more."""
        with self._ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * 4096)

    def free(self) -> None:
        self._ballast.unlink()
