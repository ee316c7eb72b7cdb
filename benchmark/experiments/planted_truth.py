"""The tables of `docs/planted-truth.md`, from finished runs with the signal in the vessels and in the periphery.

    python -m benchmark.experiments.planted_truth runs/planted-vessels runs/planted-periphery

A measure that compares a model's maps or its AUC with a control should name the vessels for models whose signal is in
the vessels, and not for the others. Every trial (a cell with one seed) is evaluated on its own test patients, as on the
page of its run. Runs with the same signal are distinguished by how strongly severity shows (their effect).
"""

import json
import math
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from benchmark.analysis.comparisons import TRIAL
from benchmark.analysis.leaderboard import OK
from benchmark.analysis.measures import estimate
from benchmark.errors import UserError
from benchmark.storage.rundir import RunDirectory, TrialDirectory
from benchmark.study.config import Statistics, load_study
from benchmark.study.splits import of_split
from benchmark.study.trials import Trial, trials_of
from benchmark.synthetic import SyntheticCohort
from benchmark.tables import read_parquet
from stats.bootstrap import auc_resampled
from stats.correlation import spearman_resampled
from stats.intervals import UNDEFINED, Interval, percentile_interval
from stats.metrics import auc
from stats.over_null import over_null_resampled
from stats.resamples import PatientResamples, draw_patients
from stats.shares import effective_patients, wilson_interval

SIGNALS = ("vessels", "periphery")
RATIO, DIFFERENCE = "vessel_ratio_fov", "auc_drop_difference"
EDGES = (0.0, 0.6, 0.7, 0.8, 1.0)  # of the bands of AUC
RESAMPLES = 2000  # of cells
TRUSTED = 0.8  # share of the trials of each run for which a trusted measure is right

Verdict = Literal["above", "below", "not shown", "no answer"]


@dataclass(frozen=True)
class Finding:
    """A measure's result for a trial: whether it is shown to be above or below its reference, and its score.

    verdict: "above" names the vessels. score: higher values favour the vessels; NaN if undefined. It is rounded because
    equal differences of AUCs may differ in their last digits.
    """

    verdict: Verdict
    score: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "score", round(self.score, 12))


@dataclass(frozen=True)
class TrialFindings:
    """A trained model. predicts: its AUC is above 0.5, adjusted for the number of trials in its run, as on the page."""

    signal: str
    effect: float
    backbone: str
    strategy: str
    seed: int
    auc: float
    predicts: bool
    findings: Mapping[str, Finding]

    @property
    def cell(self) -> str:
        return f"{self.backbone}, {self.strategy}, effect {self.effect:g}"

    def right(self, measure: str) -> bool:
        """Whether a measure names the vessels if the signal is in the vessels, and not otherwise."""
        return (self.findings[measure].verdict == "above") == (self.signal == "vessels")


@dataclass(frozen=True, eq=False)
class _Source:
    """A trial's results: its row of the leaderboard, its files, and the test images of its study."""

    row: Mapping[str, Any]
    folder: TrialDirectory
    test: pl.DataFrame
    settings: Statistics


# 1. The finding of each measure for a trial.


def ratio(source: _Source) -> Finding:
    """Vessel ratio in the field of view, by its interval over patients: above or below 1."""
    return _by_interval(*_bounded(source.row, RATIO), reference=1)


def permutation(source: _Source) -> Finding:
    """The same ratio compared with other patients' vessels; score: standard deviations of the null above its mean."""
    return _by_permutation(source.folder.vessel_permutation, 1 - source.settings.confidence)


def other_class(source: _Source) -> Finding:
    """The permutation test for the maps of the class that is not explained."""
    return _by_permutation(source.folder.other_class, 1 - source.settings.confidence)


def either_class(source: _Source) -> Finding:
    """Above if the maps of either class are, each at half the level (Bonferroni); score: the higher of the two."""
    level = (1 - source.settings.confidence) / 2
    both = [_by_permutation(file, level) for file in (source.folder.vessel_permutation, source.folder.other_class)]
    if any(found.verdict == "no answer" for found in both):
        return Finding("no answer", math.nan)
    found_by = {found.verdict for found in both}
    shown: Verdict = next((verdict for verdict in ("above", "below") if verdict in found_by), "not shown")
    return Finding(shown, max(found.score for found in both))


def randomisation(source: _Source) -> Finding:
    """The ratio divided by that of the model with random weights, by its interval over patients: above or below 1.

    Computed on the images of that control. The ratio with random weights is the mean over seeds, which the interval
    treats as fixed.
    """
    if not source.folder.randomised.is_file():
        return Finding("no answer", math.nan)
    by_image = read_parquet(source.folder.randomised).join(source.test, on="image", maintain_order="left")
    ratios, random = (
        by_image[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in (RATIO, f"{RATIO}_random")
    )
    patients = draw_patients(by_image["patient_id"].to_list(), by_image["label"].to_numpy(), 100, seed=0)

    def over(drawn: PatientResamples) -> dict[str, np.ndarray]:
        return {RATIO: over_null_resampled(ratios, random, None, drawn)}

    by_spread = source.settings.model_copy(update={"interval": "t"})
    found = estimate(over, patients, by_spread, {RATIO: "log"})
    return _by_interval(found.values[RATIO], *found.intervals[RATIO], reference=1)


def erasure(source: _Source) -> Finding:
    """AUC of the control minus that without vessels, by its interval over patients: above or below 0."""
    return _by_interval(*_bounded(source.row, DIFFERENCE), reference=0)


def dependence(source: _Source) -> Finding:
    """The page's rule, not adjusted for other trials: without vessels the AUC falls more than under the control."""
    p_value, drops = source.row["depends_p"], [source.row[name] for name in ("auc_drop_erased", DIFFERENCE)]
    if p_value is None:
        return Finding("no answer", math.nan)
    return Finding("above" if p_value <= 1 - source.settings.confidence else "not shown", min(drops))


MEASURES: dict[str, Callable[[_Source], Finding]] = {
    "ratio": ratio,
    "ratio, permutation test": permutation,
    "other class, permutation test": other_class,
    "either class, permutation test": either_class,
    "ratio, random weights": randomisation,
    "erasure difference": erasure,
    "erasure, both drops": dependence,
}


def _by_permutation(file: Path, level: float) -> Finding:
    null = json.loads(file.read_text(encoding="utf-8"))[RATIO] if file.is_file() else {}
    if "p_two_sided" not in null:
        return Finding("no answer", math.nan)
    above = null["ratio"] - null["null"]
    shown = null["p_two_sided"] <= level
    score = above / null["null_sd"] if null["null_sd"] else math.nan
    return Finding(("above" if above > 0 else "below") if shown else "not shown", score)


def _bounded(row: Mapping[str, Any], name: str) -> tuple[float, float, float]:
    value, low, high = (np.nan if row[each] is None else row[each] for each in (name, f"{name}_low", f"{name}_high"))
    return value, low, high


def _by_interval(value: float, low: float, high: float, reference: float) -> Finding:
    if math.isnan(value) or math.isnan(low):
        return Finding("no answer", value)
    return Finding("above" if low > reference else "below" if high < reference else "not shown", value)


# 2. Reading a run.


def read_trials(path: Path) -> list[TrialFindings]:
    """All trials of a finished run that have results.

    Raises:
        UserError: the run is not a finished one, or its cohort is not synthetic.
    """
    directory = RunDirectory(path)
    if not directory.leaderboard("parquet").is_file():
        raise UserError(f"{path}: has no leaderboard.parquet; give the directory of a finished run")
    study = load_study(directory.study)
    if study.cohort.synthetic is None:
        raise UserError(f"{path}: the cohort is not synthetic, so the place of its signal is unknown; give another run")
    board = read_parquet(directory.leaderboard("parquet")).filter(status=OK)
    by_cell = {tuple(row[name] for name in TRIAL): row for row in board.iter_rows(named=True)}
    test = of_split(read_parquet(directory.cohort), "test").select("image", "label")
    return [
        _read_trial(study.cohort.synthetic, cell, _Source(by_cell[key], directory.trial(cell), test, study.statistics))
        for cell in trials_of(study)
        if (key := cell.key) in by_cell
    ]


def _read_trial(cohort: SyntheticCohort, cell: Trial, source: _Source) -> TrialFindings:
    findings = {name: measure(source) for name, measure in MEASURES.items()}
    named = cell.key
    return TrialFindings(
        cohort.signal, cohort.effect, *named, source.row["auc"], bool(source.row["predicts"]), findings
    )


# 3. Numbers over trials.


def groups(trials: Sequence[TrialFindings]) -> dict[str, list[TrialFindings]]:
    """All trials, those that are shown to predict, and those in each band of AUC."""
    bands = {
        f"AUC {low:g} to {high:g}": [trial for trial in trials if low <= trial.auc < high or trial.auc == high == 1]
        for low, high in pairwise(EDGES)
    }
    return {"all": list(trials), "AUC above 0.5": [trial for trial in trials if trial.predicts], **bands}


@dataclass(frozen=True)
class Share:
    """The number of trials, out of n, for which a measure is right, and the number of cells of these n.

    of_trials: Wilson's interval as if all trials were independent; of_cells: as if all seeds of a cell agreed, which is
    wide enough in any case (`stats.shares`).
    """

    right: int
    n: int
    cells: int
    of_trials: Interval
    of_cells: Interval


def share_right(trials: Sequence[TrialFindings], measure: str) -> Share:
    """The share over the trials for which the measure has an answer."""
    asked = [trial for trial in trials if trial.findings[measure].verdict != "no answer"]
    right, cells = sum(trial.right(measure) for trial in asked), [trial.cell for trial in asked]
    if not asked:
        return Share(0, 0, 0, UNDEFINED, UNDEFINED)
    of_trials, of_cells = (
        (float(low), float(high))
        for low, high in (wilson_interval(right / len(asked), n) for n in (len(asked), effective_patients(cells)))
    )
    return Share(right, len(asked), len(set(cells)), of_trials, of_cells)


def area(trials: Sequence[TrialFindings], measure: str) -> tuple[float, Interval]:
    """How well a measure's score separates trials with the signal in the vessels from the others.

    Area under the ROC curve, with an interval over resampled cells, each with its trials of both runs.
    """
    scored = [trial for trial in trials if not math.isnan(trial.findings[measure].score)]
    vessels = np.array([trial.signal == "vessels" for trial in scored], dtype=int)
    if len(set(vessels)) < 2:
        return math.nan, UNDEFINED
    scores = np.array([trial.findings[measure].score for trial in scored])
    return auc(vessels, scores), _interval(auc_resampled(vessels, scores, _resampled(scored)))


def correlation(trials: Sequence[TrialFindings], measure: str, means: bool) -> tuple[float, Interval, int]:
    """Spearman's rho of the AUC with a measure's score, its interval over resampled cells, and the number of points.

    Args:
        means: a point is a cell's mean over seeds; otherwise it is a trial.
    """
    scored = [trial for trial in trials if not math.isnan(trial.findings[measure].score)]
    if not scored:
        return math.nan, UNDEFINED, 0
    values = np.array([(trial.auc, trial.findings[measure].score) for trial in scored])
    resamples = _resampled(scored)
    cell = resamples.patient_of_image
    if means:
        values = np.stack([values[cell == which].mean(axis=0) for which in range(cell.max() + 1)])
        cell = np.arange(len(values))
    times = resamples.counts[:, cell].astype(int)  # how often each resample has each point
    sizes, drawn = times.sum(axis=1), np.full(len(times), np.nan)
    for size in np.unique(sizes):
        of_size = np.flatnonzero(sizes == size)
        places = np.stack([np.repeat(np.arange(len(values)), times[which]) for which in of_size])
        drawn[of_size] = _spearman(values[places])
    return float(_spearman(values[np.newaxis])[0]), _interval(drawn), len(values)


def lowest_trusted(trials: Sequence[TrialFindings], measure: str) -> float:
    """The lowest AUC from which a measure is right for at least `TRUSTED` of the trials of each run, in every band.

    NaN if it is not in the highest band, or if that band has no trials of one of the runs.
    """
    lowest = math.nan
    for low, band in zip(reversed(EDGES[:-1]), reversed(groups(trials).values()), strict=False):
        shares = [share_right([trial for trial in band if trial.signal == signal], measure) for signal in SIGNALS]
        if not all(share.n and share.right >= TRUSTED * share.n for share in shares):
            break
        lowest = low
    return lowest


def _spearman(values: np.ndarray) -> np.ndarray:
    """(k, n, 2) -> (k,): rho between the two columns of the last axis."""
    return spearman_resampled(values[..., 0], values[..., 1])


def _resampled(trials: Sequence[TrialFindings]) -> PatientResamples:
    """Resamples of cells: the trials of a cell are correlated, as the images of a patient are."""
    return draw_patients([trial.cell for trial in trials], np.zeros(len(trials), dtype=int), RESAMPLES, seed=0)


def _interval(samples: np.ndarray) -> Interval:
    """95 % interval; none if all samples are equal, which shows too few cells, not certainty."""
    known = samples[~np.isnan(samples)]
    return percentile_interval(samples) if len(known) and np.ptp(known) > 0 else UNDEFINED


# 4. Tables.


def cell_rows(trials: Sequence[TrialFindings]) -> Iterator[list[str]]:
    """One row per signal and cell."""
    for signal, cell in dict.fromkeys((trial.signal, trial.cell) for trial in trials):
        seeds = [trial for trial in trials if (trial.signal, trial.cell) == (signal, cell)]
        scores = {
            name: [trial.findings[name].score for trial in seeds if not math.isnan(trial.findings[name].score)]
            for name in ("ratio", "erasure difference")
        }
        verdicts = [trial.findings["ratio, permutation test"].verdict for trial in seeds]
        yield [
            signal,
            cell,
            str(len(seeds)),
            str(sum(trial.predicts for trial in seeds)),
            _median_range([trial.auc for trial in seeds]),
            _mean_range(scores["ratio"], 2),
            " / ".join(str(verdicts.count(verdict)) for verdict in ("above", "below", "not shown")),
            _mean_range(scores["erasure difference"], 3),
        ]


def right_rows(trials: Sequence[TrialFindings]) -> Iterator[list[str]]:
    """One row per measure and group of trials: right for the vessels, right for the periphery, area."""
    for measure in MEASURES:
        for group, members in groups(trials).items():
            shares = [
                share_right([trial for trial in members if trial.signal == signal], measure) for signal in SIGNALS
            ]
            yield [measure, group, *map(_share_text, shares), _with_interval(*area(members, measure))]


def trusted_rows(trials: Sequence[TrialFindings]) -> Iterator[list[str]]:
    """One row per measure."""
    for measure in MEASURES:
        lowest = lowest_trusted(trials, measure)
        yield [measure, "not reached" if math.isnan(lowest) else f"{lowest:g}" if lowest else "any"]


def correlation_rows(trials: Sequence[TrialFindings]) -> Iterator[list[str]]:
    """One row per signal, group of trials and measure."""
    for signal in SIGNALS:
        for group, members in groups([trial for trial in trials if trial.signal == signal]).items():
            if group not in ("all", "AUC above 0.5"):
                continue
            for measure in ("ratio", "erasure difference"):
                found = (correlation(members, measure, means) for means in (False, True))
                texts = [f"{_with_interval(rho, interval)}, n = {n}" for rho, interval, n in found]
                yield [signal, group, measure, *texts]


def markdown(header: Sequence[str], rows: Iterator[list[str]]) -> str:
    """A table."""
    lines = [list(header), ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def tables(trials: Sequence[TrialFindings]) -> str:
    """All four tables."""
    nulls = "ratio vs permutation test: above / below / not shown"
    return "\n\n".join(
        [
            markdown(
                ["signal", "cell", "seeds", "predict", "median AUC", "mean ratio", nulls, "mean erasure difference"],
                cell_rows(trials),
            ),
            markdown(
                ["measure", "trials", "signal in vessels: named", "in periphery: vessels not named", "area under ROC"],
                right_rows(trials),
            ),
            markdown(["measure", f"AUC from which on {TRUSTED:.0%} are right in both studies"], trusted_rows(trials)),
            markdown(
                ["signal", "trials", "AUC with", "rho over trials", "rho over cells' means"], correlation_rows(trials)
            ),
        ]
    )


def _share_text(share: Share) -> str:
    if not share.n:
        return "-"
    bounds = "; ".join(f"{100 * low:.0f} to {100 * high:.0f}" for low, high in (share.of_trials, share.of_cells))
    return f"{share.right}/{share.n} of {share.cells} cells, {100 * share.right / share.n:.0f} % ({bounds})"


def _with_interval(value: float, interval: Interval) -> str:
    if math.isnan(value):
        return "-"
    low, high = interval
    return f"{value:z.2f}" if math.isnan(low) else f"{value:z.2f} ({low:z.2f} to {high:z.2f})"


def _median_range(values: Sequence[float]) -> str:
    return f"{np.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _mean_range(values: Sequence[float], digits: int) -> str:
    if not values:
        return "-"
    return f"{np.mean(values):z.{digits}f} ({min(values):z.{digits}f} to {max(values):z.{digits}f})"


def main(runs: Sequence[Path]) -> None:
    """Print the tables of some runs.

    Raises:
        UserError: a run cannot be read (see `read_trials`), or one of the signals is missing.
    """
    trials = [trial for run in runs for trial in read_trials(run)]
    missing = [signal for signal in SIGNALS if signal not in {trial.signal for trial in trials}]
    if missing:
        raise UserError(f"no run has its signal in the {missing[0]}: give at least one run per signal")
    trials.sort(key=lambda trial: SIGNALS.index(trial.signal))
    print(tables(trials))


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="directory of a finished run")
    main(**vars(parser.parse_args()))
