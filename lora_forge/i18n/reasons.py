"""Why the system refused a file, in words that a person knows and in both languages."""

from __future__ import annotations

import errno

from lora_forge.i18n import Said, Text, word

_REASONS = {
    errno.ENOSPC: word("the disk is full"),
    errno.EDQUOT: word("the quota of this disk is used up"),
    errno.EFBIG: word("the file is larger than this disk or account allows"),
    errno.EACCES: word("it may not be read or written here"),
    errno.EPERM: word("it may not be read or written here"),
    errno.EROFS: word("the disk can only be read"),
    errno.ENOENT: word("it is not there"),
    errno.ENOTDIR: word("a part of its path is a file, not a folder"),
    errno.EISDIR: word("it is a folder"),
    errno.EIO: word("the disk failed"),
    errno.EBUSY: word("another program holds it"),
    errno.EMFILE: word("too many files are open"),
    errno.ENAMETOOLONG: word("its name is too long"),
}


def reason(cause: OSError) -> Text:
    """A part of a sentence, such as ``the disk is full``; the system's own words where there is no better."""
    template = _REASONS.get(cause.errno or 0)
    return (
        Said(template) if template else Said("{text}", {"text": cause.strerror or str(cause) or type(cause).__name__})
    )
