"""What a machine's failures mean for whoever started the study."""

import errno

from slimdit.memory import is_out_of_memory

FULL = {errno.ENOSPC, errno.EDQUOT}
READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
KEPT = "what is done is kept, and the same command goes on from there"


def sentence(error: BaseException) -> str | None:
    """One sentence on a full or read-only disk or memory that ran out; None for other errors."""
    if is_out_of_memory(error):
        return f"This does not fit in memory ({error}); free some or use smaller batches: {KEPT}."
    if not isinstance(error, OSError):
        return None
    place = error.filename or "the results folder or the temporary one"
    if error.errno in FULL:
        return f"There is no space left for {place}; free some: {KEPT}."
    if error.errno in READ_ONLY:
        return f"{place} cannot be written ({error.strerror}); make it writable: {KEPT}."
    return None
