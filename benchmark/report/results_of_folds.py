"""The results of a study with folds, in the form of `benchmark.report.results`."""

from typing import Any

from benchmark.analysis.comparisons import TRIAL
from benchmark.analysis.cross_validation import MEASURES, CrossValidation
from benchmark.analysis.leaderboard import OK
from benchmark.report.results import (
    Comparison,
    CrossValidationResult,
    FoldResult,
    Method,
    Number,
    OverSeeds,
    TrialResult,
    VarianceResult,
)
from benchmark.study.config import Folds

_COUNTS = ("n_patients", "n_positive_patients", "n_negative_patients")


def fold_methods(confidence: float) -> dict[str, Method]:
    """The methods to which the numbers of a study with folds refer, by key."""
    names = {
        "folds": "computed in each fold, averaged over folds and repeats; Student's t over patients from influence "
        "functions, averaged over repeats (LeDell et al. 2015); on the logit scale for shares and areas, the log scale "
        "for ratios; for the models that were trained",
        "in_fold": "DeLong, clustered by patient, Student's t on the logit scale, within one fold",
        "fold_pairs": "Student's t of the paired difference over patients, by the same influence functions",
        "corrected_resampled": "corrected resampled t test over folds (Nadeau & Bengio 2003)",
        "fold_seeds": "errors of patients (Student's t) and seeds (Student's t), added in quadrature",
        "variance": "two-way random effects of seeds and repeats by mean squares, and influence functions of patients; "
        "intervals: chi-squared, and modified large-sample for seeds and splits",
    }
    return {key: Method(name=name, confidence=confidence) for key, name in names.items()}


def trial_results_of_folds(board: CrossValidation) -> list[TrialResult]:
    """A result per row of `cross_validated.csv`."""
    found = []
    for row in board.cross_validated.to_dicts():
        named = {name: row[name] for name in (*TRIAL, "status")}
        if row["status"] != OK:
            found.append(TrialResult(**named))
            continue
        copied = {name: row[name] for name in ("n_images", *_COUNTS, "auc_p", "auc_p_holm", "predicts")}
        found.append(TrialResult(**named, **copied, measures={name: _number(row, name) for name in MEASURES}))
    return found


def _number(row: dict[str, Any], name: str) -> Number:
    return Number(value=row[name], low=row[f"{name}_low"], high=row[f"{name}_high"], n=row["n_images"], method="folds")


def comparisons_of_folds(board: CrossValidation, corrected: bool = False) -> list[Comparison]:
    """Every pair of trials: over patients, or by the corrected resampled t test; `n` is patients, or folds."""
    prefix, method = ("corrected_", "corrected_resampled") if corrected else ("", "fold_pairs")
    p_value = "corrected_p" if corrected else "p_value"
    rows = []
    for row in board.comparisons.to_dicts():
        a, b = (tuple(row[f"{name}_{side}"] for name in TRIAL) for side in "ab")
        difference = Number(
            value=row["difference"],
            low=row[f"{prefix}low"],
            high=row[f"{prefix}high"],
            p_value=row[p_value],
            n=row["n_folds" if corrected else "n_patients"],
            method=method,
        )
        rows.append(Comparison(measure=row["measure"], a=a, b=b, difference=difference, p_holm=row[f"{prefix}p_holm"]))
    return rows


def seeds_of_folds(board: CrossValidation) -> list[OverSeeds]:
    """Cells with several seeds."""
    return [
        OverSeeds(
            **{name: row[name] for name in ("backbone", "strategy", "measure", "n_seeds", "sd")},
            mean=Number(value=row["mean"], low=row["low"], high=row["high"], n=row["n_seeds"], method="fold_seeds"),
        )
        for row in board.seeds.to_dicts()
    ]


def cross_validation_result(board: CrossValidation, settings: Folds) -> CrossValidationResult:
    """What only a study with folds has."""
    return CrossValidationResult(
        folds=settings.folds,
        repeats=settings.repeats,
        seed=settings.seed,
        by_fold=[_of_fold(row) for row in board.folds.to_dicts()],
        variance=[_of_source(row) for row in board.variance.to_dicts()],
        corrected=comparisons_of_folds(board, corrected=True),
    )


def _of_fold(row: dict[str, Any]) -> FoldResult:
    named = {name: row[name] for name in (*TRIAL, "repeat", "fold", "status", *_COUNTS)}
    if row["status"] != OK:
        return FoldResult(**named)
    n = row["n_images"]
    auc = Number(value=row["auc"], low=row["auc_low"], high=row["auc_high"], n=n, method="in_fold")
    others = {name: Number(value=row[name], n=n) for name in MEASURES if name != "auc"}
    return FoldResult(**named, measures={"auc": auc} | others)


def _of_source(row: dict[str, Any]) -> VarianceResult:
    trainings = row["n_cells"] * row["n_seeds"] * row["n_repeats"]
    n = row["n_patients"] if row["source"] in ("patients", "total") else trainings
    return VarianceResult(
        **{name: row[name] for name in ("measure", "backbone", "strategy", "source", "share")},
        **{name: row[name] for name in ("n_cells", "n_seeds", "n_repeats")},
        of_one=Number(value=row["sd"], low=row["sd_low"], high=row["sd_high"], n=n, method="variance"),
        of_mean=row["sd_of_mean"],
    )
