"""Work of the host that is done while the device computes."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import torch

T = TypeVar("T")
MOST_AHEAD = 8  # steps, whose memory is taken


class Ahead(Generic[T]):
    """`function(step)` for any step, at once for those that come in order: the next ones are being
    made meanwhile, one by each of this process's threads, up to step `stop` - 1."""

    def __init__(self, function: Callable[[int], T], stop: int):
        self.function, self.stop = function, stop
        self.depth = min(torch.get_num_threads(), MOST_AHEAD)
        self.pool = ThreadPoolExecutor(self.depth)
        self.pending: dict[int, Future[T]] = {}

    def __call__(self, step: int) -> T:
        wanted = range(step, max(min(step + 1 + self.depth, self.stop), step + 1))
        self.pending = {
            each: self.pending.get(each) or self.pool.submit(self.function, each) for each in wanted
        }
        return self.pending[step].result()
