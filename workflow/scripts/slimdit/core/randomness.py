"""Randomness as a function of (seed, what, index), never of what happened before.

Batch order, noise, timesteps and label drops of step s are the same for every variant, GPU count
and interruption; image i is the same image whatever the batch it is sampled in.
"""

import hashlib

import numpy as np


def stream(seed: int, what: str, *index: int) -> np.random.Generator:
    """Independent stream of random numbers for `what` at `index` (at most two numbers).

    Philox-4x64 keyed by a hash of (seed, what). The index fills the two high words of its
    256-bit counter, which leaves 2**128 blocks to each stream.
    """
    if len(index) > 2:
        raise ValueError(f"a stream has at most two indices, not {len(index)}")
    digest = hashlib.blake2b(f"{seed}/{what}".encode(), digest_size=16).digest()
    high = (0,) * (2 - len(index)) + index
    counter = np.array((0, 0, *high), dtype=np.uint64)
    key = np.frombuffer(digest, dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
