"""Distances between images, some rows of their matrix at a time."""

from collections.abc import Iterator

import numpy as np

ROWS_AT_ONCE = 1024  # of a matrix of distances


def distance_blocks(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows of x (N, D), and their squared distances (rows, M) to y (M, D).

    |x|^2 - 2 x y + |y|^2 about the mean of y, which keeps an offset of the features from costing
    digits; what is within rounding of 0 is 0.
    """
    centre = y.mean(0)
    x, y = x - centre, y - centre
    squares_x, squares_y = np.square(x).sum(1)[:, None], np.square(y).sum(1)
    rounding = 4 * np.sqrt(x.shape[1]) * np.finfo(np.float64).eps
    for start in range(0, len(x), ROWS_AT_ONCE):
        rows = slice(start, min(start + ROWS_AT_ONCE, len(x)))
        squares = squares_x[rows] + squares_y
        distances = squares - 2 * (x[rows] @ y.T)
        distances[distances <= rounding * squares] = 0
        yield rows, distances


def squared_radii(points: np.ndarray, neighbours: int) -> np.ndarray:
    """Squared distance (N,) of each point to its `neighbours`-th nearest other."""
    radii = np.empty(len(points))
    for rows, distances in distance_blocks(points, points):
        distances[np.arange(len(distances)), np.arange(rows.start, rows.stop)] = np.inf
        radii[rows] = np.partition(distances, neighbours - 1, axis=1)[:, neighbours - 1]
    return radii


def nearest_distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distance (N,) of each point (N, D) to the nearest of the others (M, D)."""
    nearest = np.empty(len(points), dtype=np.intp)
    for rows, distances in distance_blocks(points, others):
        nearest[rows] = distances.argmin(1)
    return np.linalg.norm(points - others[nearest], axis=1)
