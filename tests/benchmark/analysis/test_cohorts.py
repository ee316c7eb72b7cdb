"""The AUC of a trial over several external cohorts."""

import numpy as np
import polars as pl
import pytest

from benchmark.analysis.cohorts import COHORTS_SCHEMA, OWN, aucs_of_cohorts, pooled_aucs
from benchmark.analysis.comparisons import frame
from benchmark.storage.rundir import RunDirectory, write_parquet
from benchmark.study.config import Study
from benchmark.study.trials import trials_of
from stats.delong import delong

METAFOR = {"auc": (0.808256175344, 0.455212918900, 0.955086668521), "q": 7.318014159639, "p": 0.025758075746}
STUDY = Study.model_validate(
    {"name": "x", "cohort": {"manifest": "x.csv"}, "backbones": ["dinov2-tiny"], "strategies": ["classifier_only"]}
)
(TRIAL,) = trials_of(STUDY)


def rows(*cohorts, strategy="partial"):
    """One trial: (cohort, AUC, standard error on the logit scale)."""
    named = {"backbone": "a", "strategy": strategy, "seed": 0, "n_patients": 10}
    found = [named | {"cohort": name, "auc": auc, "logit_error": error} for name, auc, error in cohorts]
    return frame(found, COHORTS_SCHEMA)


def test_as_metafor():
    """rma(yi = qlogis(c(.8, .7, .9)), sei = c(.2, .3, .4), method = "PM", test = "knha") of metafor 3.8.1, plogis."""
    (row,) = pooled_aucs(rows((OWN, 0.99, 0.1), ("A", 0.8, 0.2), ("B", 0.7, 0.3), ("C", 0.9, 0.4)), 0.95).to_dicts()
    # metafor stops its search for tau² at 1e-5.
    assert (row["auc"], row["auc_low"], row["auc_high"]) == pytest.approx(METAFOR["auc"], abs=1e-6)
    assert row["q"] == pytest.approx(METAFOR["q"], rel=1e-9)
    assert row["p_heterogeneity"] == pytest.approx(METAFOR["p"], rel=1e-8)
    assert row["i_squared"] == pytest.approx(1 - 2 / METAFOR["q"], rel=1e-9)
    assert (row["n_cohorts"], row["n_patients"]) == (3, 30)
    assert row["new_low"] < row["auc_low"] < row["auc_high"] < row["new_high"]


def test_a_cohort_without_an_error_is_not_counted():
    """An AUC of 1 has no logit."""
    found = pooled_aucs(rows(("A", 0.8, 0.2), ("B", 1.0, np.nan), ("C", 0.8, 0.2)), 0.95)
    assert found["n_cohorts"].to_list() == [2]
    assert found["auc"][0] == pytest.approx(0.8)
    assert pooled_aucs(rows((OWN, 0.8, 0.2)), 0.95).is_empty()


def test_trials_are_pooled_by_themselves():
    both = pl.concat([rows(("A", 0.8, 0.2)), rows(("A", 0.6, 0.2), strategy="lora")])
    assert pooled_aucs(both, 0.95).select("strategy", "auc").rows() == [
        ("partial", pytest.approx(0.8)),
        ("lora", pytest.approx(0.6)),
    ]


def test_scores_of_the_test_images_by_name(tmp_path):
    """Predictions also have validation images, which may have the name of a test image of another run."""
    directory = RunDirectory(tmp_path)
    labels, scores = [0, 1, 0, 1, 1], [0.2, 0.9, 0.4, 0.3, 0.8]
    names, patients = [f"{i}.jpg" for i in range(5)], ["a", "a", "b", "c", "d"]
    test = pl.DataFrame({"image": names, "patient_id": patients, "label": labels, "split": "test"})
    write_parquet(directory.cohort, test)
    folder = directory.trial(TRIAL)
    folder.path.mkdir(parents=True)
    folder.saliency.touch()
    validation = pl.DataFrame({"image": ["0.jpg"], "score": [0.99], "split": "val"})
    shuffled = test.with_columns(score=pl.Series(scores)).select("image", "score", "split").reverse()
    write_parquet(folder.predictions, pl.concat([validation, shuffled]))
    (row,) = aucs_of_cohorts(directory, {}, [TRIAL], 0.95).to_dicts()
    found = delong(labels, [scores], patients)
    assert row["cohort"] == OWN
    assert row["auc"] == pytest.approx(found.areas[0])
    assert row["logit_error"] == pytest.approx(np.sqrt(found.covariance[0, 0]) / (row["auc"] * (1 - row["auc"])))
    assert (row["n_images"], row["n_patients"], row["n_positive_patients"]) == (5, 4, 3)
