"""What an error means for whoever started the study."""

import errno
import re

from slimdit.compute.out_of_memory import is_out_of_memory
from slimdit.core.errors import InputError

FULL = {errno.ENOSPC, errno.EDQUOT}
READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
NOT_DETERMINISTIC = re.compile(r"(\w+) does not have a deterministic implementation")
KEPT = "what is done is kept, and the same command goes on from there"


def explain(error: BaseException) -> str | None:
    """One sentence on bad input, memory that ran out, a full or a read-only disk, bits that cannot
    be repeated.

    None for any other error: it is one of the program, and its traceback says where.
    """
    if isinstance(error, InputError):
        return str(error)
    if is_out_of_memory(error):
        return f"This does not fit in memory ({error}); free some or use smaller batches: {KEPT}."
    if found := NOT_DETERMINISTIC.match(str(error)):
        return (
            f"deterministic is true, but {found[1]} has no deterministic form on this device; set "
            "it to false, or choose other options for the row."
        )
    number, place = getattr(error, "errno", None), getattr(error, "filename", None)
    # safetensors raises an error of its own.
    if number in FULL or "os error 28" in str(error):
        place = place or "results or temporary files"
        return f"There is no space left for {place}; free some: {KEPT}."
    if number in READ_ONLY:
        return f"{place} cannot be accessed ({error.strerror}); mend its permissions: {KEPT}."
    return None
