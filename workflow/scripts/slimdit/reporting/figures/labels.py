"""Labels beside points that overlap neither each other nor the points."""

import itertools
from dataclasses import dataclass

import numpy as np
from matplotlib.patheffects import withStroke

NUM_ANGLES = 24
RADII_PT = (5, 9, 14, 20, 28, 38, 50, 64, 80, 100)
NUM_SWEEPS = 6
ALONG_LEADER = np.linspace(0.2, 1, 8)  # fractions of its length that may lie on something
MARGIN_PT = 1.0
POINT_HALF_PT = 3.5


@dataclass(frozen=True)
class Plane:
    """What labels are placed among, in typographic points: points (P, 2), the boxes around them
    (P, 4), spots (S, 2) along a line to keep clear of, and the axes' frame (4,)."""

    points: np.ndarray
    obstacles: np.ndarray
    spots: np.ndarray
    frame: np.ndarray


def place_labels(
    axes, x, y, labels: list[str], colours: list[str], size_pt: float, line: np.ndarray
) -> None:
    """Annotate the points (x, y), data coordinates, with leader lines to distant labels.

    `line` (V, 2), data coordinates, is a polyline to keep clear of. Each label takes the cheapest
    of the places around its point, given all the others', for a few sweeps. The axes' limits and
    size must be final.
    """
    pixels_per_pt = axes.figure.dpi / 72
    points = axes.transData.transform(np.column_stack([x, y])) / pixels_per_pt
    corners = axes.transData.transform(line) / pixels_per_pt
    spots = np.concatenate([np.linspace(*ends, 60) for ends in itertools.pairwise(corners)])
    obstacles = np.column_stack([points - POINT_HALF_PT, points + POINT_HALF_PT])
    frame = axes.get_window_extent().extents / pixels_per_pt
    plane = Plane(points, obstacles, spots, frame)
    sizes = [_text_size_pt(axes, label, size_pt) for label in labels]
    candidates = [_candidates(*each) for each in zip(points, sizes, strict=True)]  # each (K, 4)
    boxes = _choose(candidates, plane)

    for i, (label, box) in enumerate(zip(labels, boxes, strict=True)):
        anchor = np.clip(points[i], box[:2], box[2:]) - points[i]
        style = {"xy": (x[i], y[i]), "textcoords": "offset points"}
        axes.annotate(
            label,
            xytext=tuple((box[:2] + box[2:]) / 2 - points[i]),
            ha="center",
            va="center",
            fontsize=size_pt,
            zorder=4,
            path_effects=[withStroke(linewidth=1.5, foreground="white")],
            **style,
        )
        if np.hypot(*anchor) > POINT_HALF_PT + 3:
            leader = {"arrowstyle": "-", "color": colours[i], "linewidth": 0.5}
            leader |= {"shrinkA": 0, "shrinkB": 0}
            axes.annotate("", xytext=tuple(anchor), arrowprops=leader, zorder=2, **style)


def _text_size_pt(axes, label: str, size_pt: float) -> np.ndarray:
    text = axes.text(0, 0, label, fontsize=size_pt)
    extent = text.get_window_extent(axes.figure.canvas.get_renderer())
    text.remove()
    return np.array([extent.width, extent.height]) * 72 / axes.figure.dpi


def _candidates(point: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Boxes (K, 4) around a point: x0, y0, x1, y1, nearest first."""
    angles = np.arange(NUM_ANGLES) * 2 * np.pi / NUM_ANGLES
    directions = np.column_stack([np.cos(angles), np.sin(angles)])
    centres = np.concatenate([point + directions * (r + size / 2) for r in RADII_PT])
    return np.column_stack([centres - size / 2, centres + size / 2])


def _choose(candidates: list[np.ndarray], plane: Plane) -> np.ndarray:
    """One box per point (P, 4): the most crowded points choose first."""
    chosen = np.full((len(candidates), 4), np.nan)
    neighbours = [np.sum(np.hypot(*(plane.points - point).T) < 40) for point in plane.points]
    order = np.argsort(-np.array(neighbours), kind="stable")
    fixed = [_fixed_cost(*each, plane) for each in zip(plane.points, candidates, strict=True)]
    for _ in range(NUM_SWEEPS):
        before = chosen.copy()
        for i in order:
            chosen[i] = np.nan
            cost = fixed[i] + _cost_among_labels(i, candidates[i], chosen, plane)
            chosen[i] = candidates[i][np.argmin(cost)]
        if np.array_equal(before, chosen):
            break
    return chosen


def _fixed_cost(point: np.ndarray, boxes: np.ndarray, plane: Plane) -> np.ndarray:
    """Cost (K,) of each box of a point: leaving the frame, then hiding points, then crossing the
    line or passing other points, then distance."""
    outside = np.maximum(plane.frame[:2] - boxes[:, :2], boxes[:, 2:] - plane.frame[2:])
    cost = 1000.0 * (outside > 0).any(axis=1)
    cost += 60.0 * _overlaps(boxes, plane.obstacles).sum(axis=1)
    cost += 25.0 * _overlaps(boxes, _boxed(plane.spots)).any(axis=1)
    ends = _nearest(boxes, point)
    own = (plane.points == point).all(axis=1)
    for fraction in ALONG_LEADER:
        on_leader = _boxed(point + fraction * (ends - point))
        cost += 8.0 * _overlaps(on_leader, plane.obstacles[~own]).sum(axis=1)
    return cost + 0.4 * np.hypot(*(ends - point).T)


def _cost_among_labels(i: int, boxes: np.ndarray, chosen: np.ndarray, plane: Plane) -> np.ndarray:
    """Cost (K,) of each box of point i: hiding placed labels, or lying on leaders."""
    point, taken = plane.points[i], ~np.isnan(chosen[:, 0])
    starts, labels = plane.points[taken], chosen[taken]
    ends, their_ends = _nearest(boxes, point), _nearest(labels, starts)
    cost = 100.0 * _overlaps(boxes, labels).sum(axis=1)
    for fraction in ALONG_LEADER:
        on_leader = _boxed(point + fraction * (ends - point))
        cost += 20.0 * _overlaps(on_leader, labels).sum(axis=1)
        on_theirs = _boxed(starts + fraction * (their_ends - starts))
        cost += 20.0 * _overlaps(boxes, on_theirs).sum(axis=1)
    return cost


def _nearest(boxes: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Where a leader from the point meets each box: (K, 2)."""
    return np.clip(point, boxes[:, :2], boxes[:, 2:])


def _boxed(points: np.ndarray) -> np.ndarray:
    return np.column_stack([points, points])


def _overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether boxes (K, 4) overlap others (M, 4), with a margin: (K, M)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return (high - low > -MARGIN_PT).all(axis=-1)
