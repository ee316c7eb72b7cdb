"""Localisation accuracy of a map: how well its values separate a region from the rest of the field of view.

A region is given as the coverage of each pixel, as in `xai.saliency`: a pixel that is half vessel counts half as inside
and half as outside.
"""

import numpy as np


def localised(
    maps: np.ndarray, regions: np.ndarray, fov: np.ndarray, top: float = 0.01
) -> tuple[np.ndarray, np.ndarray]:
    """AUC and precision of a map's values for regions, over the points of the field of view.

    Args:
        maps: (B, H, W) float, on any scale.
        regions: (B, T, H, W) uint8 coverage of T regions, 255 being fully inside. Points outside the field of view do
            not count.
        fov: (B, H, W) uint8 coverage of the field of view.
        top: share of the field of view with the highest values, over which precision is computed; in (0, 1].

    Returns:
        AUC (B, T), the probability that a random point inside the region has a higher value than a random point
        outside, with ties counting 1/2, and precision (B, T), the share of the `top` points that lie inside, with
        points tied at the limit averaged. NaN if a region is empty or fills the field of view, and for a map that is
        not finite there.

    Raises:
        ValueError: `top` is outside (0, 1].
    """
    if not 0 < top <= 1:
        raise ValueError(f"top must be above 0 and at most 1, got {top}")
    found = [_of_one(*one, top) for one in zip(maps, regions, fov, strict=True)]
    auc, precision = (np.array(values).reshape(regions.shape[:2]) for values in zip(*found, strict=True))
    return auc, precision


def _of_one(values: np.ndarray, regions: np.ndarray, fov: np.ndarray, top: float) -> tuple[np.ndarray, np.ndarray]:
    seen = fov > 0
    values, area = values[seen], fov[seen].astype(np.float64)
    inside = np.minimum(regions[:, seen], area)
    unknown = np.full(len(regions), np.nan)
    if not np.isfinite(values).all() or not len(values):
        return unknown, unknown
    order = np.argsort(-values, kind="stable")
    last = np.append(np.flatnonzero(np.diff(values[order])), len(order) - 1)  # last of each run of equal values
    # The unscaled ROC curve: area inside and outside with values above each value, in descending order.
    all_above = np.append(0, np.cumsum(area[order])[last])
    inside_above = np.insert(np.cumsum(inside[:, order], axis=1)[:, last], 0, 0, axis=1)
    outside_above = all_above - inside_above
    whole = inside_above[:, -1] * outside_above[:, -1]
    auc = np.divide(np.trapezoid(inside_above, outside_above, axis=1), whole, out=unknown.copy(), where=whole > 0)
    shown = top * all_above[-1]
    precision = np.array([np.interp(shown, all_above, above) for above in inside_above]) / shown
    return auc, np.where(whole > 0, precision, np.nan)
