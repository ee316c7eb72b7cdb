"""The columns that a trial's controls add to its row of the leaderboard, read from the files in its folder."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from benchmark.analysis import evidence
from benchmark.analysis.measures import Resampled, bounded, estimate, p_of_drop
from benchmark.storage.rundir import TrialDirectory
from benchmark.study.config import Statistics
from benchmark.study.controls import CONTROLS, ERASURE, OTHER_CLASS, VESSEL_PERMUTATION, Control
from benchmark.tables import read_parquet
from stats.bootstrap import auc_resampled, mean_resampled
from stats.over_null import over_null_resampled
from stats.resamples import PatientResamples
from xai.controls.null import FOV_RATIO

Columns = dict[str, float | None]
Reader = Callable[[TrialDirectory, pl.DataFrame, PatientResamples, Statistics], Columns]


def _columns_of(control: Control) -> dict[str, type[pl.DataType]]:
    columns: dict[str, type[pl.DataType]] = {}
    for number in control.numbers:
        columns |= bounded([number.name]) if number.scale else {number.name: pl.Float64}
        columns |= {f"{number.name}_p": pl.Float64} if number.has_p else {}
    return columns | dict.fromkeys(control.counts, pl.Int64)


# Columns of the leaderboard, in the order of the controls.
SCHEMA = {column: kind for control in CONTROLS.values() for column, kind in _columns_of(control).items()}


def read_controls(
    folder: TrialDirectory, test: pl.DataFrame, resamples: PatientResamples, settings: Statistics
) -> Columns:
    """The columns of every control that was computed, and the evidence that is based on a single control."""
    found: Columns = {}
    for name in CONTROLS:
        found |= READERS[name](folder, test, resamples, settings)
    return found


def read_vessel_permutation(
    folder: TrialDirectory, test: pl.DataFrame, resamples: PatientResamples, settings: Statistics
) -> Columns:
    """The ratios by chance, and the trial's ratios divided by them, with intervals."""
    found: Columns = {}
    if folder.vessel_permutation.is_file():
        for name, null in json.loads(folder.vessel_permutation.read_text(encoding="utf-8")).items():
            turned = null.get("turned", {})
            found |= {f"{name}_null": null.get("null"), f"{name}_null_p": null.get("p_value")}
            found |= {f"{name}_turned": turned.get("null"), f"{name}_turned_p": turned.get("p_value")}
            found["n_disc"] = null.get("n_disc", turned.get("n_disc"))
    if not folder.chance.is_file():  # written by an earlier version
        return found
    by_image = _by_image(folder.chance, test)
    nulls = {measure: measure.partition("_over_")[::2] for measure in VESSEL_PERMUTATION.estimates}
    made = {measure: null for measure, null in nulls.items() if "_".join(null) in by_image}

    def over(drawn: PatientResamples) -> Resampled:
        return {
            measure: over_null_resampled(
                by_image[name],
                by_image[f"{name}_{null}"],
                by_image[f"{name}_given"] if null == "null" else None,
                drawn,
            )
            for measure, (name, null) in made.items()
        }

    scales = {measure: VESSEL_PERMUTATION.estimates[measure] for measure in made}
    return found | estimate(over, resamples, settings, scales).columns()


def read_other_class(
    folder: TrialDirectory, test: pl.DataFrame, resamples: PatientResamples, settings: Statistics
) -> Columns:
    """The ratio of the maps of the class that is not explained, and this ratio divided by the one by chance."""
    found: Columns = {}
    name = f"{FOV_RATIO}_other"
    if folder.other_class.is_file():
        null = json.loads(folder.other_class.read_text(encoding="utf-8"))[FOV_RATIO]
        found |= {f"{name}_null": null.get("null"), f"{name}_null_p": null.get("p_value")}
        found["n_other"] = null.get("n_images")
    by_image = _by_image(folder.other_class_chance, test) if folder.other_class_chance.is_file() else {}
    if not by_image:
        return found
    ratios, null, given = (by_image[f"{FOV_RATIO}{part}"] for part in ("", "_null", "_given"))

    def of_maps(drawn: PatientResamples) -> Resampled:
        return {
            name: mean_resampled(ratios, drawn),
            f"{name}_over_null": over_null_resampled(ratios, null, given, drawn),
        }

    return found | estimate(of_maps, resamples, settings, OTHER_CLASS.estimates).columns()


def read_parameter_randomisation(
    folder: TrialDirectory, test: pl.DataFrame, resamples: PatientResamples, settings: Statistics
) -> Columns:
    """Similarity of the maps to those of a model with random weights; without intervals."""
    if not folder.parameter_randomisation.is_file():
        return {}
    null = json.loads(folder.parameter_randomisation.read_text(encoding="utf-8"))
    return {
        "parameter_randomisation_classifier": null["steps"][0]["rank_correlation"],
        "parameter_randomisation": null["steps"][-1]["rank_correlation"],
        "parameter_randomisation_others": null.get("other_images", {}).get("rank_correlation"),
        "n_parameter_randomisation": null["n_images"],
    }


def read_erasure(
    folder: TrialDirectory, test: pl.DataFrame, resamples: PatientResamples, settings: Statistics
) -> Columns:
    """The AUC without vessels and its drops, over the images that could be erased, and the evidence from them."""
    if not folder.erasure.is_file():
        return {}
    scores = test.select("image", "label").join(
        read_parquet(folder.erasure).select("image", "score", "erased", "control"),
        on="image", how="left", maintain_order="left",
    )  # fmt: skip
    kept = scores["score"].is_not_null().to_numpy()
    labels = scores["label"].to_numpy()[kept]
    if len(set(labels)) < 2:
        return {"n_erased": int(kept.sum())}
    values = [scores[name].to_numpy()[kept] for name in ("score", "erased", "control")]

    def drops(drawn: PatientResamples) -> Resampled:
        original, erased, control = (auc_resampled(labels, value, drawn) for value in values)
        return {
            "auc_erased": erased,
            "auc_drop_erased": original - erased,
            "auc_drop_control": original - control,
            "auc_drop_difference": control - erased,
        }

    of_kept = PatientResamples(resamples.counts, resamples.patient_of_image[kept], resamples.strata)
    found = estimate(drops, of_kept, settings, ERASURE.estimates)
    turned = evidence.erased_reversed(found.intervals["auc_erased"][1])
    p_values = [
        (found.values[name], p_of_drop(found, name, settings)) for name in ("auc_drop_erased", "auc_drop_difference")
    ]
    return {
        **found.columns(),
        "depends_p": evidence.depends_p(p_values, turned),
        "erased_reversed": turned,
        "n_erased": int(kept.sum()),
    }


# By the name of the control; a control that was not computed adds no columns.
READERS: dict[str, Reader] = {
    "vessel_permutation": read_vessel_permutation,
    "other_class": read_other_class,
    "parameter_randomisation": read_parameter_randomisation,
    "erasure": read_erasure,
}


def _by_image(file: Path, test: pl.DataFrame) -> dict[str, np.ndarray]:
    """A file's numbers in the order of the test images, NaN if an image has none."""
    joined = test.select("image").join(read_parquet(file), on="image", how="left", maintain_order="left")
    return {
        name: joined[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        for name in joined.columns
        if name not in ("image", "patient_id")
    }
