"""torchrun without words of its own when its processes end early: theirs say why."""

import logging
import sys

from slimdit.jobs.launch import die_with_parent


def main() -> None:
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    die_with_parent()
    logging.disable()
    try:
        run.main()
    except (ChildFailedError, SignalException):
        sys.exit(1)


if __name__ == "__main__":
    main()
