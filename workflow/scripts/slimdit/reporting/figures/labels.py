"""Labels beside points that overlap neither each other nor the points."""

import numpy as np
from matplotlib.patheffects import withStroke
from matplotlib.textpath import TextPath

from slimdit.reporting.figures.style import SMALL_PT

ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)
DIRECTIONS = np.column_stack([np.cos(ANGLES), np.sin(ANGLES)])
GAPS_PT = (5, 9, 14, 20, 28, 38, 50, 64, 80, 100)  # between a point and its label
FRACTIONS = np.linspace(0.2, 1, 8)[:, None, None]  # of a leader, where it may lie on something
POINT_HALF_PT = 3.5
# Of what a label overlaps; a leader that does costs a fifth of it, and a point of length 0.4.
POINT_COST, LABEL_COST, LEADER_COST, LINE_COST, FRAME_COST = 60, 100, 20, 25, 1000


def place_labels(axes, x, y, labels: list[str], colours: list[str], line: np.ndarray) -> None:
    """Annotate the points (x, y), data coordinates, with leader lines to distant labels.

    `line` (V, 2), data coordinates, are the corners of a staircase to keep clear of. The most
    crowded points choose first, each the cheapest place around it. The axes' limits and size must
    be final.
    """
    points_per_pixel = 72 / axes.figure.dpi
    points = points_per_pixel * axes.transData.transform(np.column_stack([x, y]))
    corners = points_per_pixel * axes.transData.transform(line)
    segments = np.sort(np.stack([corners[:-1], corners[1:]], axis=1), axis=1).reshape(-1, 4)
    frame = points_per_pixel * axes.get_window_extent().extents
    taken = np.concatenate([_boxes(points, POINT_HALF_PT), segments])  # (T, 4)
    costs = np.repeat([POINT_COST, LINE_COST], [len(points), len(segments)])  # (T,)
    near = np.linalg.norm(points[:, None] - points, axis=-1) < 40
    for i in np.argsort(-near.sum(axis=1), kind="stable"):
        half = TextPath((0, 0), labels[i], size=SMALL_PT).get_extents().size / 2 + 1
        offsets = np.concatenate([(gap + half) * DIRECTIONS for gap in GAPS_PT])  # (K, 2)
        boxes = _boxes(points[i] + offsets, half)
        lengths = np.linalg.norm(np.clip(0, offsets - half, offsets + half), axis=1)
        leaders = points[i] + FRACTIONS * offsets  # (8, K, 2)
        is_outside = ((boxes[:, :2] < frame[:2]) | (boxes[:, 2:] > frame[2:])).any(axis=1)
        cost = FRAME_COST * is_outside + 0.4 * lengths
        cost += _overlaps(boxes, taken) @ costs
        without_own = np.where(np.arange(len(costs)) == i, 0, costs)
        cost += sum(_overlaps(_boxes(each), taken) @ without_own for each in leaders) / 5
        best = np.argmin(cost)
        leader = {"arrowstyle": "-", "color": colours[i], "linewidth": 0.5, "shrinkA": 0}
        axes.annotate(
            labels[i],
            (x[i], y[i]),
            offsets[best],
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=SMALL_PT,
            path_effects=[withStroke(linewidth=1.5, foreground="white")],
            arrowprops=leader if lengths[best] > POINT_HALF_PT + 3 else None,
            zorder=4,
        )
        taken = np.concatenate([taken, boxes[[best]], _boxes(leaders[:, best])])
        costs = np.append(costs, [LABEL_COST, *[LEADER_COST] * len(FRACTIONS)])


def _boxes(centres: np.ndarray, half: np.ndarray | float = 0.0) -> np.ndarray:
    """x0, y0, x1, y1 of boxes of half this size around the centres (N, 2): (N, 4)."""
    return np.column_stack([centres - half, centres + half])


def _overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether boxes (K, 4) overlap others (T, 4): (K, T)."""
    low = np.maximum(boxes[:, None, :2], others[:, :2])
    high = np.minimum(boxes[:, None, 2:], others[:, 2:])
    return (low <= high).all(axis=-1)
