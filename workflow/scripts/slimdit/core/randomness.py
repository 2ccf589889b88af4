"""Randomness as a function of (seed, what, index), never of what happened before.

Batch order, noise, timesteps and label drops of step s are the same for every variant, GPU count
and interruption; image i is the same image whatever the batch it is sampled in.
"""

import hashlib

import numpy as np

BLOCK = 32  # rows of a batch whose noise is one stream


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


def normal_rows(seed: int, what: str, step: int, rows: range, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normals of a batch's consecutive `rows` at `step`, float32 (len(rows), *shape).

    Those of a row do not depend on which others are drawn: each BLOCK of rows has a stream.
    """
    drawn = []
    for start in range(rows.start - rows.start % BLOCK, rows.stop, BLOCK):
        random = stream(seed, what, start // BLOCK, step)
        count = min(BLOCK, rows.stop - start)
        of_block = random.standard_normal((count, *shape), np.float32)
        drawn.append(of_block[max(rows.start - start, 0) :])
    return np.concatenate(drawn)
