"""The content of a page, made by hand: all tables of a study, with numbers that are easy to distinguish."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image

from benchmark.analysis import curves, patients, ratios
from benchmark.analysis import published as reference
from benchmark.analysis.comparisons import (
    COMPARED,
    COMPARISON_SCHEMA,
    CORRELATED,
    CORRELATION_SCHEMA,
    DIFFERS,
    EQUIVALENT,
    NOT_KNOWN,
    SEEDS_SCHEMA,
    TRIAL,
)
from benchmark.analysis.contrasts import AVERAGES_SCHEMA, CONTRASTS_SCHEMA, REPEATABILITY_SCHEMA, TRAINED, TRAININGS
from benchmark.analysis.covariate_tables import CovariateTables
from benchmark.analysis.covariates import BASELINE_SCHEMA
from benchmark.analysis.external import COHORTS_SCHEMA as EXTERNAL_SCHEMA
from benchmark.analysis.external import RECALIBRATION_SCHEMA, ExternalValidation
from benchmark.analysis.image_adds import IMAGE_ADDS_SCHEMA, SCORE_PREDICTS_SCHEMA
from benchmark.analysis.leaderboard import OPERATING_POINTS, OPERATING_SCHEMA, SCHEMA, Leaderboard
from benchmark.analysis.measures import CALLS, MEASURES
from benchmark.analysis.planted import compare_with_truth
from benchmark.analysis.shifts import SHIFTS_SCHEMA
from benchmark.analysis.subgroups import COMPARED as IN_SUBGROUPS
from benchmark.analysis.subgroups import HETEROGENEITY_SCHEMA, SUBGROUPS_SCHEMA
from benchmark.report.external_section import ExternalContent
from benchmark.report.page import PageContent
from benchmark.report.results import PatientCounts
from benchmark.study.patients import OfEachPatient
from benchmark.synthetic import SyntheticCohort
from tests.benchmark.report.flows import FOLDER

BACKBONES = ("openclip-tiny", "dinov2-tiny", "timm:vit_tiny")
STRATEGIES = ("classifier_only", "partial", "lora")
FAILED = ("dinov2-tiny", "lora")
REASON = "train: out of memory"
ATTACK = "<script>alert('1')</script>\"'&"

# The best trial; every following trial has 0.01 less, and ratios that are 0.02 higher.
BEST = {
    "auc": 0.8,
    "auc_patient": 0.82,
    "average_precision": 0.76,
    "f1": 0.7,
    "sensitivity": 0.83,
    "specificity": 0.67,
    "ppv": 0.55,
    "npv": 0.89,
    "balanced_accuracy": 0.75,
    "brier": 0.214,
    "calibration_intercept": -0.12,
    "calibration_slope": 0.94,
    "outside_share": 0.15,
    "right_by_ratio": 0.54,
    "right_by_ratio_rho": 0.08,
    "right_by_ratio_positive": 0.71,
    "right_by_ratio_negative": 0.38,
    "ratio_score_rho": 0.29,
}
RATIOS = {
    "artery_ratio": 1.2,
    "vein_ratio": 1.3,
    "vessel_ratio": 1.4,
    "artery_ratio_fov": 1.1,
    "vein_ratio_fov": 1.2,
    "vessel_ratio_fov": 1.3,
}
OVER_CHANCE = {
    "vessel_ratio_over_null": 1.31,
    "vessel_ratio_over_turned": 1.35,
    "vessel_ratio_fov_over_null": 1.24,
    "vessel_ratio_fov_over_turned": 1.19,
}
OTHER_CLASS = {"vessel_ratio_fov_other": 1.83, "vessel_ratio_fov_other_over_null": 1.46}
DROPS = {"auc_erased": 0.62, "auc_drop_erased": 0.05, "auc_drop_control": -0.01, "auc_drop_difference": 0.06}
WITHOUT_BOUNDS = {
    "n_images": 1234,
    "n_patients": 617,
    "n_positive": 400,
    "n_positive_patients": 205,
    "n_negative_patients": 418,
    "risk_intercept": -0.73,
    "risk_slope": 1.0,
    "n_ratio": 1230,
    "n_map": 1232,
    "n_called": 456,
    "n_right": 807,
    "n_wrong": 321,
    "n_right_positive": 301,
    "n_wrong_positive": 94,
    "n_right_negative": 506,
    "n_wrong_negative": 227,
    "n_erased": 1200,
    "threshold": 0.4375,
    "ece": 0.041,
    "vessel_ratio_skewness": 0.11,
    "vessel_ratio_fov_skewness": 0.09,
    "vessel_ratio_null": 1.07,
    "vessel_ratio_null_p": 0.0456,
    "vessel_ratio_fov_null": 1.05,
    "vessel_ratio_fov_null_p": 0.0123,
    "vessel_ratio_turned": 1.04,
    "vessel_ratio_turned_p": 0.0345,
    "vessel_ratio_fov_turned": 1.09,
    "vessel_ratio_fov_turned_p": 0.0234,
    "n_disc": 1230,
    "vessel_ratio_fov_other_null": 1.25,
    "vessel_ratio_fov_other_null_p": 0.0021,
    "n_other": 1230,
    "parameter_randomisation_classifier": 0.31,
    "parameter_randomisation_others": 0.17,
    "auc_p": 0.0012,
    "auc_p_holm": 0.0098,
    "depends_p": 0.0034,
    "depends_p_holm": 0.0273,
    "vessel_ratio_fov_null_p_holm": 0.0491,
    "vessel_ratio_fov_turned_p_holm": 0.0468,
    "vessel_ratio_fov_other_null_p_holm": 0.0189,
    "predicts": True,
    "depends": True,
    "erased_reversed": False,
    "above_null": True,
    "other_above_null": True,
}
CONVENTIONS = [
    ("vessel", against, scaling, average, "all")
    for scaling in ("minmax", "raw")
    for against in ("non_vessel", "non_vessel_fov")
    for average in ("images", "patients", "sums")
]
CONVENTIONS += [
    ("ring", "fov", "minmax", "images", "all"),
    ("superior_nasal", "fov", "minmax", "images", "all"),
    ("vessel", "non_vessel", "minmax", "images", "unflagged"),
    ("vessel", "non_vessel", "minmax", "geometric", "all"),
]


def board(seeds: tuple[int, ...] = (0,)) -> Leaderboard:
    """A leaderboard with nine trials per seed, one of which failed."""
    table = cells(seeds)
    done = table.filter(status="ok").select(*TRIAL, *COMPARED).to_dicts()
    return Leaderboard(
        trials=table,
        operating=_frame(_operating(done), OPERATING_SCHEMA),
        curves=_frame(_curves(done), curves.SCHEMA),
        ratios=_frame(_ratios(done), ratios.SCHEMA),
        comparisons=_frame(_comparisons(done), COMPARISON_SCHEMA),
        seeds=_frame(_over_seeds(done) if len(seeds) > 1 else [], SEEDS_SCHEMA),
        correlation=_frame(_correlation(len(done)), CORRELATION_SCHEMA),
        averages=_frame(_averages(len(seeds)), AVERAGES_SCHEMA),
        contrasts=_frame(_contrasts(len(seeds)), CONTRASTS_SCHEMA),
        repeatability=_frame(_repeatability() if len(seeds) > 1 else [], REPEATABILITY_SCHEMA),
        patients=_frame(_levels_of(done), patients.SCHEMA),
        patient_pairs=_frame(_patient_pairs(done), patients.PAIRS_SCHEMA),
    )


def cells(seeds: tuple[int, ...] = (0,)) -> pl.DataFrame:
    made = []
    rank = 0
    for place, key in enumerate(itertools.product(seeds, BACKBONES, STRATEGIES)):
        cell = dict(zip(("seed", "backbone", "strategy"), key, strict=True))
        if key[1:] == FAILED:
            made.append(cell | {"status": REASON})
            continue
        rank += 1
        groups = "a" if rank <= 2 else "ab" if rank <= 4 else "b"
        ranks = {"rank": rank, "rank_low": max(rank - 1, 1), "rank_high": rank + 2}
        estimates = {name: value - place / 100 for name, value in BEST.items()}
        estimates |= {name: value + place / 50 for name, value in RATIOS.items()} | DROPS | OVER_CHANCE
        estimates |= {name: value + place / 50 for name, value in OTHER_CLASS.items()}
        random_weights = {"parameter_randomisation": 0.12 + place / 100}
        delong = {"auc_delong_low": estimates["auc"] - 0.04, "auc_delong_high": estimates["auc"] + 0.07}
        bounds = {f"{name}_low": value - 0.05 for name, value in estimates.items()} | {
            f"{name}_high": value + 0.06 for name, value in estimates.items()
        }
        of_rank = ranks | {"group": groups, "tied_best": "a" in groups}
        of_rank |= {"auc_corrected": estimates["auc"] - 0.0168} if rank == 1 else {}
        made.append(cell | of_rank | estimates | bounds | delong | WITHOUT_BOUNDS | random_weights | {"status": "ok"})
    return _frame(made, SCHEMA)


def _operating(done: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for place, cell in enumerate(done):
        for point, name in enumerate(OPERATING_POINTS):
            for number, measure in enumerate(CALLS):
                value = 0.9 - point / 10 - number / 50 - place / 1000
                yield cell | {
                    "point": name,
                    "threshold": 0.45 + point / 20,
                    "measure": measure,
                    "value": value,
                    "low": value - 0.03,
                    "high": value + 0.04,
                    "n_images": 1234 - number,
                }


def _curves(done: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for place, cell in enumerate(done):
        lift = place / 100
        for x, y in ((0, 0), (0.1 + lift, 0.5), (0.4, 0.9 - lift), (1, 1)):
            yield cell | {"curve": "roc", "x": x, "y": y}
        for x, y in ((0.2, 0.15 + lift), (0.45, 0.5 - lift), (0.7, 0.75)):
            yield cell | {"curve": "calibration", "x": x, "y": y, "low": y - 0.1, "high": y + 0.1, "n": 411}
        for x, y in ((0.1, 0.25), (0.3, 0.15 - lift), (0.5, 0.05), (0.7, 0)):
            yield cell | {"curve": "decision", "x": x, "y": y, "low": y - 0.02, "high": y + 0.02, "n": 1234}
        for x, y in ((0.1, 0.01), (0.3, 0.12 - lift), (0.5, 0.4), (0.7, 1.1)):
            yield cell | {"curve": "decision_difference", "x": x, "y": y, "low": y - 0.03, "high": y + 0.03, "n": 1234}
    for x, y in ((0.1, 0.24), (0.3, 0.03), (0.5, -0.35)):
        yield {"backbone": curves.TREAT_ALL, "strategy": "", "seed": 0, "curve": "decision", "x": x, "y": y, "n": 1234}


def _ratios(done: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for cell in done:
        for place, convention in enumerate(CONVENTIONS):
            named = dict(zip(("region", "against", "scaling", "average", "images"), convention, strict=True))
            bounded = {"ratio": 1 + place / 10, "low": 0.9 + place / 10, "high": 1.1 + place / 10}
            yield cell | named | bounded | {"n_images": 1230, "n_patients": 615}


def _comparisons(done: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for measure in COMPARED:
        for place, (a, b) in enumerate(itertools.combinations(done, 2), start=1):
            named = {f"{name}_{side}": cell[name] for side, cell in (("a", a), ("b", b)) for name in TRIAL}
            difference, p_value = a[measure] - b[measure], 1 / (10 + place)  # the last pair has the smallest p-value
            yield named | {
                "measure": measure,
                "difference": difference,
                "low": difference - 0.02,
                "high": difference + 0.03,
                "p_value": p_value,
                "p_holm": p_value * (1.5 if measure == "auc" else 1.75),
                "p_equivalent": p_value / 2 if measure == "auc" else None,
                "p_equivalent_holm": p_value if measure == "auc" else None,
                "verdict": (DIFFERS, EQUIVALENT, NOT_KNOWN)[place % 3],
                "method": "by hand",
                "n_images": 1000 + place,
            }


def _levels_of(done: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Every level of each trial; attention is missing in the last."""
    for place, cell in enumerate(done):
        for number, level in enumerate(patients.LEVELS[:3] if cell is done[-1] else patients.LEVELS):
            values = {name: BEST[name] + number / 100 - place / 200 for name in patients.MEASURED}
            bounds = {f"{name}_low": value - 0.051 for name, value in values.items()}
            bounds |= {f"{name}_high": value + 0.062 for name, value in values.items()}
            counts = {"n": 1234, "n_positive": 400} if level == patients.IMAGE else {"n": 617, "n_positive": 205}
            chosen = {
                "n_called": 456 - number,
                "threshold": 0.4375 - number / 64,
                "risk_intercept": -0.7,
                "risk_slope": 1,
            }
            yield cell | {"level": level} | counts | chosen | values | bounds


def _patient_pairs(done: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for level in patients.LEVELS[1:3]:
        for place, (a, b) in enumerate(itertools.combinations(done, 2), start=1):
            named = {f"{name}_{side}": cell[name] for side, cell in (("a", a), ("b", b)) for name in TRIAL}
            difference, p_value = a["auc"] - b["auc"] + place / 1000, 1 / (12 + place)
            yield named | {
                "level": level,
                "difference": difference,
                "low": difference - 0.025,
                "high": difference + 0.035,
                "p_value": p_value,
                "p_holm": p_value * 1.6,
                "p_equivalent": p_value / 2,
                "p_equivalent_holm": p_value,
                "verdict": (DIFFERS, EQUIVALENT, NOT_KNOWN)[place % 3],
                "method": "by hand",
                "n_patients": 617,
            }


def _over_seeds(done: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for place, (backbone, strategy) in enumerate(dict.fromkeys((cell["backbone"], cell["strategy"]) for cell in done)):
        for number, measure in enumerate(MEASURES):
            mean = 0.6 + number / 20 + place / 200
            yield {
                "backbone": backbone,
                "strategy": strategy,
                "measure": measure,
                "n_seeds": 2,
                "mean": mean,
                "sd": 0.011 + number / 1000,
                "low": mean - 0.07,
                "high": mean + 0.08,
                "method": "patients and seeds",
            }


def _correlation(n_cells: int) -> Iterable[dict[str, Any]]:
    for place, (performance, explainability) in enumerate(CORRELATED):
        for coefficient, estimate in (("spearman", -0.3095 + place / 10), ("kendall", -0.2143 + place / 10)):
            yield {
                "performance": performance,
                "explainability": explainability,
                "coefficient": coefficient,
                "estimate": estimate,
                "patients_low": estimate - 0.4,
                "patients_high": estimate + 0.56,
                "corrected": estimate - 0.06,
                "low": estimate - 0.51,
                "high": estimate + 0.61,
                "p_value": 0.4621 + place / 20,
                "n_cells": n_cells,
                "n_predicting": n_cells,
                "method": "exact permutation within the layout",
            }


def _levels(n_seeds: int) -> Iterable[tuple[str, list[tuple[str | None, str | None]]]]:
    """Families with their levels: without the strategy that failed for a backbone; cells only with several seeds."""
    yield "strategies", [(None, name) for name in STRATEGIES if name != FAILED[1]]
    yield "backbones", [(name, None) for name in BACKBONES]
    if n_seeds > 1:
        yield "cells", [cell for cell in itertools.product(BACKBONES, STRATEGIES) if cell != FAILED]


def _averages(n_seeds: int) -> Iterable[dict[str, Any]]:
    for family, levels in _levels(n_seeds):
        for number, measure in enumerate(COMPARED):
            for place, (backbone, strategy) in enumerate(levels):
                mean = 0.55 + number / 10 + place / 300
                yield {
                    "family": family,
                    "backbone": backbone,
                    "strategy": strategy,
                    "measure": measure,
                    "mean": mean,
                    "low": mean - 0.045,
                    "high": mean + 0.055,
                    "group": "a" if place else "b",
                    "n_cells": 3 if family == "strategies" else 2 if family == "backbones" else 1,
                    "n_trainings": 6 * n_seeds,
                    "missing": "" if family == "cells" else "openclip-tiny, lora; timm:vit_tiny, lora",
                    "holds_for": TRAININGS if n_seeds > 1 else TRAINED,
                }


def _contrasts(n_seeds: int) -> Iterable[dict[str, Any]]:
    for family, levels in _levels(n_seeds):
        for number, measure in enumerate(COMPARED):
            for place, (a, b) in enumerate(itertools.combinations(levels, 2)):
                difference = 0.03 + number / 50 - place / 200 - len(levels) / 1000
                p_value = 0.01 + len(levels) / 500 + place / 100
                yield {
                    "family": family,
                    "measure": measure,
                    **dict(zip(("backbone_a", "strategy_a", "backbone_b", "strategy_b"), (*a, *b), strict=True)),
                    "difference": difference,
                    "low": difference - 0.024,
                    "high": difference + 0.027,
                    "p_value": p_value,
                    "p_holm": 1.5 * p_value,
                    "error_patients": 0.012,
                    "error_trainings": 0.009 if n_seeds > 1 else None,
                    "n_cells": 3,
                    "n_trainings": 6 * n_seeds,
                    "holds_for": TRAININGS if n_seeds > 1 else TRAINED,
                }


def _repeatability() -> Iterable[dict[str, Any]]:
    for place, measure in enumerate(COMPARED):
        icc = 0.83 - place / 20
        yield {
            "measure": measure,
            "icc": icc,
            "low": icc - 0.24,
            "high": icc + 0.11,
            "sd_cells": 0.051 + place / 500,
            "sd_trainings": 0.023 + place / 700,
            "n_cells": 8,
            "n_trainings": 16,
        }


SUBGROUPS = {"age": ("≤ 54", "> 54, ≤ 66", "> 66"), "sex": ("female", "male")}


def of_covariates(trials: pl.DataFrame) -> CovariateTables:
    """Age and sex: the score of every trial follows age and adds to it, and the AUC does not differ by sex."""
    done = trials.filter(status="ok").select(*TRIAL).to_dicts()
    return CovariateTables(
        covariates=_frame(_baseline(), BASELINE_SCHEMA),
        subgroups=_frame(_subgroups(done), SUBGROUPS_SCHEMA),
        heterogeneity=_frame(_heterogeneity(done), HETEROGENEITY_SCHEMA),
        image_adds=_frame(_image_adds(done), IMAGE_ADDS_SCHEMA),
        score_predicts=_frame(_score_predicts(done), SCORE_PREDICTS_SCHEMA),
    )


def _bounded(name: str, value: float, below: float = 0.04, above: float = 0.03) -> dict[str, float]:
    return {name: value, f"{name}_low": value - below, f"{name}_high": value + above}


def _baseline() -> Iterable[dict[str, Any]]:
    groups = {"train": 750, "val": 120, "test": 250, "positive": 376, "negative": 744}
    for place, (group, n) in enumerate(groups.items()):
        against = {"val": "train", "test": "train", "positive": "negative"}.get(group)
        row = {"patients": group, "n_patients": n, "n_missing": place}
        apart = {"against": against, **_bounded("difference", 0.12 + place / 10, 0.11)} if against else {}
        spread = {"sd": 8.4 + place / 10, "median": 59.5 + place, "q25": 53.1 + place, "q75": 65.2 + place}
        age = {"covariate": "age", "kind": "number", **row, **_bounded("mean", 60.25 + place, 0.5, 0.5)}
        yield age | spread | apart
        yield {"covariate": "sex", "kind": "category", **row} | apart
        for category, share in (("female", 0.52 - place / 100), ("male", 0.48 + place / 100)):
            named = {"covariate": "sex", "kind": "category", "category": category, "count": round(n * share)}
            yield named | row | _bounded("share", share)


def _subgroups(done: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for place, cell in enumerate(done):
        for covariate, groups in SUBGROUPS.items():
            for group, name in enumerate(groups):
                for number, measure in enumerate(IN_SUBGROUPS):
                    value = 0.91 - number / 9 - group / 31 - place / 500
                    bounds = {"value": value, "low": value - 0.08, "high": value + 0.05}
                    counts = {"n_images": 401 - group, "n_patients": 205 - group, "n_positive": 133 + group}
                    yield cell | {"covariate": covariate, "subgroup": name, "measure": measure} | bounds | counts


def _heterogeneity(done: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for place, cell in enumerate(done):
        for covariate, groups in SUBGROUPS.items():
            for number, measure in enumerate(IN_SUBGROUPS):
                p_value = 0.021 + number / 17 + place / 300 + len(groups) / 900
                yield cell | {
                    "covariate": covariate,
                    "measure": measure,
                    "n_subgroups": len(groups),
                    "n_tested": len(groups),
                    "q": 4.3 + number,
                    "p_value": p_value,
                    "p_holm": 2.5 * p_value,
                    "differs": False,
                    "n_images": 1220 + len(groups),
                    "n_missing": 14 - len(groups),
                    **(_bounded("within", 0.713 + len(groups) / 70 - place / 100) if measure == "auc" else {}),
                }


def _image_adds(done: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for place, cell in enumerate(done):
        numbers: dict[str, float] = {}
        for number, name in enumerate(("auc_covariates", "auc_score", "auc_both", "brier_covariates", "brier_score")):
            numbers |= _bounded(name, 0.641 + number / 27 - place / 300)
        numbers |= _bounded("brier_both", 0.187) | _bounded("auc_gain", 0.0741 - place / 900, 0.021)
        numbers |= _bounded("brier_gain", 0.0313 - place / 1100, 0.011) | _bounded("adjusted_auc", 0.688 - place / 150)
        yield (
            cell
            | numbers
            | {
                "covariates": "age; sex",
                "likelihood_ratio": 21.4,
                "p_value": 0.0011,
                "p_holm": 0.0087,
                "adjusted_auc_p": 0.0017,
                "adjusted_auc_p_holm": 0.0129,
                "n_patients": 611,
                "n_positive": 203,
                "n_missing": 6,
                "n_coefficients": 5,
                "predicts_covariates": "age",
                "adds": True,
                "explained": False,
            }
        )


def _score_predicts(done: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for place, cell in enumerate(done):
        for covariate, category, measure, value in (
            ("age", None, "spearman", 0.471),
            ("age", None, "r_squared", 0.236),
            ("sex", "male", "auc", 0.533),
        ):
            low, high = value - 0.061 - place / 700, value + 0.053
            estimate = {"value": value - place / 700, "low": low, "high": high, "n_patients": 612}
            p_value = None if measure == "r_squared" else 0.0041 if covariate == "age" else 0.312
            tested = {"p_value": p_value, "p_holm": p_value and 2.2 * p_value}
            yield cell | {"covariate": covariate, "category": category, "measure": measure} | estimate | tested


def _frame(made: Iterable[dict[str, Any]], schema: Mapping[str, type[pl.DataType]]) -> pl.DataFrame:
    rows = [{name: row.get(name) for name in schema} for row in made]
    frame = pl.DataFrame(rows, schema=schema)
    return frame.sort("auc", descending=True, nulls_last=True) if "rank" in schema else frame


def content_in(folder: Path, seeds: tuple[int, ...] = (0,)) -> PageContent:
    """The content of a synthetic study, with mean maps of two trials written into `folder`."""
    made, picture = board(seeds), folder / "mean_cam.png"
    Image.new("RGB", (224, 224), (200, 80, 30)).save(picture)
    return PageContent(
        title="Carotid study",
        method="Grad-CAM",
        notices=["Data are synthetic.", "Backbones are untrained."],
        board=made,
        failed_controls={("dinov2-tiny-partial-s0", "parameter randomisation"): "out of memory"},
        published=None,
        pictures={"openclip-tiny-lora-s0": picture, "timm_vit_tiny-partial-s0": picture},
        mean_image=None,
        examples={
            ("openclip-tiny", "lora", 0): [(picture, "Image and its map")],
            ("dinov2-tiny", "lora", 0): [],
        },
        cohort=pl.DataFrame(
            {
                "split": ["train", "test"],
                "images": [1500, 500],
                "patients": [750, 250],
                "positive": [600, 125],
                "positive_patients": [310, 66],
            }
        ),
        without_masks=pl.DataFrame({"image": ["eye9.jpg"], "reason": ["vein_mask: no such file"]}),
        left_out=pl.DataFrame(
            {"image": ["a.png"], "split": [None], "reason": ["truncated"]},
            schema={"image": pl.String, "split": pl.String, "reason": pl.String},
        ),
        facts={"Machine": {"CPUs": "2"}, "Software": {"torch": "2.15.0"}},
        configuration="name: Carotid study\nseeds: [0]\n",
        confidence=0.95,
        finished="2026-05-17T09:30:00+00:00",
        planted=compare_with_truth(made.trials, SyntheticCohort()),
        flow=FOLDER,
        of_patients={
            "train": PatientCounts(**OfEachPatient(750, 31, 700, 19, None, 1, 2.0, 4)._asdict()),
            "test": PatientCounts(**OfEachPatient(250, 12, 235, 3, 7, 1, 2.5, 6)._asdict()),
        },
    )


def full_content_in(folder: Path) -> PageContent:
    """Content with every section that a page can have: two seeds, published study, covariates, external cohort."""
    content = with_covariates(content_in(folder, seeds=(0, 7)))
    external = external_content(content.board.trials)
    return dataclasses.replace(content, published=reference.cells(), external=external)


def external_content(trials: pl.DataFrame) -> ExternalContent:
    """The run that trained the trials, and its own test patients next to those of the page."""
    done = trials.filter(status="ok").select(*TRIAL).to_dicts()
    tables = ExternalValidation(
        _frame(_external(done), EXTERNAL_SCHEMA),
        _frame(_recalibration(done), RECALIBRATION_SCHEMA),
        _frame(_shifts(done), SHIFTS_SCHEMA),
    )
    return ExternalContent("Trained study", "../../leaderboard.html", 704, 241, tables, pl.DataFrame(_curves(done)))


def _external(done: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    measures = ("auc", "brier", "calibration_intercept", "calibration_slope", "ece", "vessel_ratio_fov")
    for place, cell in enumerate(done):
        for number, (measure, point) in enumerate(
            [*((name, None) for name in measures), ("sensitivity", "best_f1"), ("specificity", "best_f1")]
        ):
            inside = 0.813 - number / 31 - place / 800
            numbers = _bounded("internal", inside) | _bounded("external", inside - 0.0517 - place / 900)
            numbers |= _bounded("difference", -0.0517 - place / 900, 0.041)
            counts = {"n_internal": 241, "n_external": 483, "p_value": 0.0061, "p_holm": 0.0244}
            threshold = 0.4437 + place / 700 if point else None
            yield cell | numbers | counts | {"measure": measure, "point": point, "threshold": threshold}


def _recalibration(done: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    kinds = [("carried over", ""), ("logistic", "validation"), ("isotonic", "external")]
    for place, cell in enumerate(done):
        for number, (method, fitted_on) in enumerate(kinds):
            numbers: dict[str, float] = {"ece": 0.0891 + number / 77 + place / 950}
            for name, value in (("brier", 0.231), ("calibration_intercept", -0.417), ("calibration_slope", 0.643)):
                numbers |= _bounded(name, value + number / 59 - place / 850)
            counts = {"n_fitted_images": 197 + number, "n_fitted_patients": 98, "n_images": 483, "n_patients": 239}
            yield cell | numbers | counts | {"method": method, "fitted_on": fitted_on}


def _shifts(done: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    nothing: dict[str, Any] = dict.fromkeys(TRIAL)
    shifts = [("images", "sharpness", nothing), ("vessels", "vessel", nothing)]
    shifts += [("scores", "logit of the score, positive", cell) for cell in done]
    for number, (about, measure, cell) in enumerate(shifts):
        value = 0.357 - number / 41
        sides = {"internal": 1.713 + number / 37, "internal_sd": 0.4}
        sides |= {"external": 1.411 + number / 43, "external_sd": 0.5}
        counts = {"n_internal": 241, "n_external": 239}
        bounds = {"difference": value, "low": value - 0.171, "high": value + 0.171}
        yield cell | sides | counts | bounds | {"about": about, "measure": measure}


def with_covariates(content: PageContent) -> PageContent:
    """The content of a study with the covariates age and sex."""
    tables = of_covariates(content.board.trials)
    return dataclasses.replace(content, board=dataclasses.replace(content.board, of_covariates=tables))


def attacked(content: PageContent) -> PageContent:
    """The content with markup in every text that comes from a manifest, a configuration or an error."""

    def attack(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
        return frame.with_columns((pl.col(name) + ATTACK).alias(name) for name in columns)

    def attack_names(frame: pl.DataFrame) -> pl.DataFrame:
        return attack(frame, *(name for name in frame.columns if name.startswith(("backbone", "strategy"))))

    board, ok = content.board, pl.col("status") == "ok"
    treat_all = pl.col("backbone") == curves.TREAT_ALL
    hostile = Leaderboard(
        trials=attack_names(pl.concat([board.trials.filter(ok), attack(board.trials.filter(~ok), "status")])),
        operating=attack_names(board.operating),
        curves=pl.concat([attack_names(board.curves.filter(~treat_all)), board.curves.filter(treat_all)]),
        ratios=attack_names(board.ratios),
        comparisons=attack_names(board.comparisons),
        seeds=attack_names(board.seeds),
        correlation=attack(board.correlation, "performance", "explainability", "method"),
        averages=attack(attack_names(board.averages), "missing", "holds_for"),
        contrasts=attack_names(board.contrasts),
        repeatability=attack(board.repeatability, "measure"),
        patients=attack_names(board.patients),
        patient_pairs=attack_names(board.patient_pairs),
        of_covariates=board.of_covariates and _attacked_covariates(board.of_covariates, attack, attack_names),
    )
    return dataclasses.replace(
        content,
        title=ATTACK,
        notices=[ATTACK],
        board=hostile,
        failed_controls={(ATTACK, ATTACK): ATTACK},
        failed_attention={ATTACK: ATTACK},
        examples={(ATTACK, ATTACK, 0): [(path, ATTACK) for path in content.pictures.values()]},
        cohort=attack(content.cohort, "split"),
        left_out=attack(content.left_out, "image", "reason"),
        without_masks=attack(content.without_masks, "image", "reason"),
        facts={ATTACK: {ATTACK: ATTACK}},
        configuration=ATTACK,
        classes={"0": ATTACK, "1": ATTACK},
        files_left_out={ATTACK: 1},
        planted=content.planted and compare_with_truth(hostile.trials, content.planted.cohort),
    )


def _attacked_covariates(
    tables: CovariateTables,
    attack: Callable[..., pl.DataFrame],
    attack_names: Callable[[pl.DataFrame], pl.DataFrame],
) -> CovariateTables:
    return CovariateTables(
        covariates=attack(tables.covariates, "covariate", "category"),
        subgroups=attack(attack_names(tables.subgroups), "covariate", "subgroup"),
        heterogeneity=attack(attack_names(tables.heterogeneity), "covariate"),
        image_adds=attack(attack_names(tables.image_adds), "covariates", "predicts_covariates"),
        score_predicts=attack(attack_names(tables.score_predicts), "covariate", "category"),
    )
