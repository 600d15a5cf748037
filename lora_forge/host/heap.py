"""Memory that was freed goes back to the system."""

from __future__ import annotations

import contextlib
import ctypes
import sys


def trim() -> None:
    """glibc keeps freed blocks of up to 32 MB for the process: after a run on a CPU that is a gigabyte and more.

    Takes some tenths of a second; does nothing on other systems.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # musl has no such function
            ctypes.CDLL(None).malloc_trim(0)
