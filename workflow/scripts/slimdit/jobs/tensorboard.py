"""TensorBoard's event files of a run."""

import sys
import types
from pathlib import Path


def event_writer(folder: str | Path, purge_step: int):
    """A SummaryWriter that hides what an interrupted run wrote from `purge_step` on.

    TensorBoard looks for TensorFlow, and importing it takes seconds and memory: a module of the
    name below tells it to do without.
    """
    sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("notf"))
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(folder, purge_step=purge_step)
