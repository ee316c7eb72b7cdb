"""What is shown for each trial, with p-values adjusted for the number of trials.

If nine trials only guess, at least one of them has an AUC interval above 0.5 in one of eight studies. Claims about
single trials are therefore based on p-values that Holm's method adjusts for all finished trials.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from benchmark.analysis.measures import CHANCE
from stats.multiple import holm

# Column of a p-value -> column of that p-value adjusted for all trials that have one.
ADJUSTED = {
    "auc_p": "auc_p_holm",
    "depends_p": "depends_p_holm",
    "vessel_ratio_fov_null_p": "vessel_ratio_fov_null_p_holm",
    "vessel_ratio_fov_turned_p": "vessel_ratio_fov_turned_p_holm",
    "vessel_ratio_fov_other_null_p": "vessel_ratio_fov_other_null_p_holm",
}
SCHEMA: dict[str, type[pl.DataType]] = {
    "auc_p": pl.Float64,
    "auc_p_holm": pl.Float64,
    "depends_p": pl.Float64,
    "depends_p_holm": pl.Float64,
    "vessel_ratio_fov_null_p_holm": pl.Float64,
    "vessel_ratio_fov_turned_p_holm": pl.Float64,
    "vessel_ratio_fov_other_null_p_holm": pl.Float64,
    "predicts": pl.Boolean,
    "depends": pl.Boolean,
    "erased_reversed": pl.Boolean,
    "above_null": pl.Boolean,
    "other_above_null": pl.Boolean,
}


def depends_p(drops: Sequence[tuple[float, float]], erased_reversed: bool) -> float:
    """p-value that all of several drops of the AUC are above 0, from each drop with its two-sided p-value.

    A model depends on the vessels if its AUC falls without them *and* falls more than under the control. This is an
    intersection-union test (Berger 1982), whose p-value is the largest of the tests that it joins. It is twice the
    one-sided p-value, so it is at most 0.05 only if the 95 % intervals of all drops lie above 0. NaN if one of the
    p-values is undefined.

    Args:
        drops: each drop of the AUC, with its p-value.
        erased_reversed: result of `erased_reversed`; if True, the p-value is 1, because the loss of the vessels alone
            cannot bring an AUC below chance.
    """
    if any(np.isnan(p) for _, p in drops):
        return np.nan
    if erased_reversed:
        return 1.0
    return max(p if drop > 0 else 1.0 for drop, p in drops)


def erased_reversed(erased_high: float) -> bool:
    """Whether a model ranks patients in reverse on images without vessels.

    A model without the information that it used can only guess, which has an AUC of 0.5. If the AUC is below 0.5, the
    painted images mislead the model, as any images can that differ from its training images (Hooker et al. 2019). The
    drop of the AUC then does not show what the model needs.

    Args:
        erased_high: upper bound of the interval of the AUC without vessels; the result is False if it is NaN.
    """
    return erased_high < CHANCE


def with_evidence(rows: Sequence[dict[str, Any]], confidence: float) -> list[dict[str, Any]]:
    """Rows of finished trials with adjusted p-values, and what they show at a level of 1 - confidence.

    Args:
        rows: with `auc`, and with those of `ADJUSTED` that were computed.

    Returns:
        The rows with further columns of `SCHEMA`. `predicts`: the AUC is above chance; `depends`: the model depends on
        the vessels; `above_null`: the vessel ratio is above that with other patients' vessels; `other_above_null`: the
        same for the maps of the other class. Null if there is no p-value.
    """
    found = [dict(row) for row in rows]
    for name, adjusted in ADJUSTED.items():
        p_values = holm([_number(row.get(name)) for row in rows]).tolist()
        for row, p_value in zip(found, p_values, strict=True):
            row[adjusted] = p_value
    for row in found:
        row["predicts"] = _at_level(row["auc_p_holm"], confidence, row["auc"] > CHANCE)
        row["depends"] = _at_level(row["depends_p_holm"], confidence)
        row["above_null"] = _at_level(row["vessel_ratio_fov_null_p_holm"], confidence)
        row["other_above_null"] = _at_level(row["vessel_ratio_fov_other_null_p_holm"], confidence)
    return found


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _at_level(p_value: float, confidence: float, direction: bool = True) -> bool | None:
    return None if np.isnan(p_value) else bool(p_value <= 1 - confidence and direction)
