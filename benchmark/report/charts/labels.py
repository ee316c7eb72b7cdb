"""Positions for the labels of points, with as little overlap with labels, points and lines as possible."""

import numpy as np

RADIUS = 5.0  # of a point in pixels
_FAR = 40.0  # pixels; points that are farther apart do not crowd each other
_DISTANCES = (0.0, 7.0, 16.0)  # pixels between a label and its point, tried in this order
_DIRECTIONS = np.array([(1, -1), (1, 1), (-1, -1), (-1, 1), (1, 0), (-1, 0), (0, -1), (0, 1)])
_ON_LABEL, _ON_POINT, _ON_LINE, _OUTSIDE, _LATER = 10.0, 5.0, 1.0, 1e6, 0.5  # costs; all but the last per pixel²


def place_labels(points: np.ndarray, sizes: np.ndarray, lines: np.ndarray, plot: tuple[float, float]) -> np.ndarray:
    """Centres (n, 2) of labels of sizes (n, 2) next to the first n of points (m, 2), in pixels.

    Greedy: the most crowded point is placed first, in one of eight directions and three distances.

    Args:
        lines: (k, 4) boxes (left, top, right, bottom) that a label should not cover if possible.
        plot: width and height of the plot, which a label should not leave.
    """
    markers = _boxes(points, np.full_like(points, 2 * RADIUS))
    distances = np.linalg.norm(points[:, np.newaxis] - points, axis=2)
    centres, taken = np.zeros_like(sizes), np.empty((0, 4))
    for place in np.argsort(np.minimum(distances, _FAR).sum(axis=1)[: len(sizes)], kind="stable"):
        offsets = np.concatenate([_DIRECTIONS * (RADIUS + gap + sizes[place] / 2) for gap in _DISTANCES])
        candidates = points[place] + offsets
        boxes = _boxes(candidates, np.broadcast_to(sizes[place], candidates.shape))
        inside = _overlaps(boxes, np.array([[0.0, 0.0, *plot]]))
        cost = (
            _ON_LABEL * _overlaps(boxes, taken)
            + _ON_POINT * _overlaps(boxes, markers)
            + _ON_LINE * _overlaps(boxes, lines)
            + _OUTSIDE * (sizes[place].prod() - inside)
            + _LATER * np.arange(len(boxes))
        )
        chosen = cost.argmin()
        centres[place] = candidates[chosen]
        taken = np.vstack([taken, boxes[chosen]])
    return centres


def _boxes(centres: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return np.hstack([centres - sizes / 2, centres + sizes / 2])


def _overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The area of each of boxes (k, 4) that is covered by others (m, 4), summed over the others: (k,)."""
    top_left = np.maximum(boxes[:, np.newaxis, :2], others[:, :2])
    bottom_right = np.minimum(boxes[:, np.newaxis, 2:], others[:, 2:])
    return np.maximum(bottom_right - top_left, 0).prod(axis=2).sum(axis=1)
