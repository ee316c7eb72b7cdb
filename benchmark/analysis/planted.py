"""A synthetic study compared with its ground truth: where the signal was planted, and where each measure finds it.

Each measure is read as on a real cohort, where the truth is unknown. Its verdict is the vessels, elsewhere, or not
shown; a test of the vessels alone cannot give "elsewhere", because a p-value above the level shows nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from benchmark.analysis.comparisons import TRIAL, frame
from benchmark.analysis.leaderboard import OK
from benchmark.analysis.measures import CHANCE
from benchmark.synthetic import SyntheticCohort
from benchmark.synthetic.population import Signal

Verdict = Literal["vessels", "not shown", "elsewhere"]
Outcome = Literal["right", "missed", "wrong"]

# Missing a signal in the vessels is a lack of power; finding none there is right if there is none.
OUTCOMES: dict[Signal, dict[Verdict, Outcome]] = {
    "vessels": {"vessels": "right", "not shown": "missed", "elsewhere": "wrong"},
    "periphery": {"vessels": "wrong", "not shown": "right", "elsewhere": "right"},
}


@dataclass(frozen=True)
class Indicator:
    """A measure of whether a model uses the vessels.

    name: prefix of its columns, `<name>_verdict` and `<name>_outcome`.
    called: its name in a sentence.
    read: a row of the leaderboard -> its verdict; None if the measure was not computed or is undefined.
    numbers: columns of the leaderboard on which the verdict is based.
    """

    name: str
    called: str
    read: Callable[[Mapping[str, Any]], Verdict | None]
    numbers: tuple[str, ...]


def _of_test(column: str) -> Callable[[Mapping[str, Any]], Verdict | None]:
    """The verdict of a test on the vessels (`benchmark.analysis.evidence`), adjusted for the number of trials."""

    def read(row: Mapping[str, Any]) -> Verdict | None:
        shown = row[column]
        return None if shown is None else "vessels" if shown else "not shown"

    return read


def _of_ratio(row: Mapping[str, Any]) -> Verdict | None:
    low, high = row["vessel_ratio_fov_low"], row["vessel_ratio_fov_high"]
    if low is None or high is None:
        return None
    return "vessels" if low > 1 else "elsewhere" if high < 1 else "not shown"


INDICATORS = (
    Indicator("erasure", "vessel erasure", _of_test("depends"), ("depends_p_holm",)),
    Indicator("permutation", "the vessel permutation test", _of_test("above_null"), ("vessel_ratio_fov_null_p_holm",)),
    Indicator(
        "other_class",
        "the permutation test of the other class’s maps",
        _of_test("other_above_null"),
        ("vessel_ratio_fov_other_null_p_holm",),
    ),
    Indicator(
        "ratio",
        "the ratio in the field of view",
        _of_ratio,
        ("vessel_ratio_fov", "vessel_ratio_fov_low", "vessel_ratio_fov_high"),
    ),
)
SCHEMA: dict[str, type[pl.DataType]] = {
    **TRIAL,
    "signal": pl.String,
    "effect": pl.Float64,
    "best_auc": pl.Float64,
    **dict.fromkeys(("auc", "auc_low", "auc_high"), pl.Float64),
    "predicts": pl.Boolean,
    **{
        column: kind
        for indicator in INDICATORS
        for column, kind in (
            (f"{indicator.name}_verdict", pl.String),
            (f"{indicator.name}_outcome", pl.String),
            *((number, pl.Float64) for number in indicator.numbers),
        )
    },
}


@dataclass(frozen=True, eq=False)
class Planted:
    """What was planted, and each measure's verdict on it.

    trials: one row per finished trial, in the order of the leaderboard; columns as `SCHEMA`. An outcome is null if
        there is nothing to judge: no verdict, an AUC that is not shown to be above 0.5, or no signal at all.
    """

    cohort: SyntheticCohort
    trials: pl.DataFrame

    @property
    def has_signal(self) -> bool:
        return _has_signal(self.cohort)


def _has_signal(cohort: SyntheticCohort) -> bool:
    """Whether the images contain information about the label."""
    return cohort.best_auc > CHANCE and cohort.effect > 0


def compare_with_truth(cells: pl.DataFrame, cohort: SyntheticCohort) -> Planted:
    """Read every measure of every finished trial of a leaderboard, and compare it with what was drawn.

    Args:
        cells: columns as `benchmark.analysis.leaderboard.SCHEMA`.
    """
    rows = []
    for row in cells.filter(status=OK).to_dicts():
        judged = row["predicts"] is True and _has_signal(cohort)  # a model cannot use what it has not learned
        found = {name: row[name] for name in SCHEMA if name in row}
        found |= {"signal": cohort.signal, "effect": cohort.effect, "best_auc": cohort.best_auc}
        for indicator in INDICATORS:
            verdict = indicator.read(row)
            outcome = OUTCOMES[cohort.signal][verdict] if judged and verdict else None
            found |= {f"{indicator.name}_verdict": verdict, f"{indicator.name}_outcome": outcome}
        rows.append(found)
    return Planted(cohort, frame(rows, SCHEMA))
