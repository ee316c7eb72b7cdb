"""Covariates of a synthetic cohort: what they have to do with label and image. They change nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import roc_auc_score

from benchmark.synthetic import SyntheticCohort, draw_patients, plan, write_manifest

COHORT = SyntheticCohort(patients=8000, best_auc=0.8, seed=2)
EARLIER = [(1, 1.16098034), (1, 1.885535357), (0, -1.344214547), (0, -0.457615761)]
TOLERANCE = 4 * 0.005  # four standard errors of an AUC from 4,000 against 4,000


def drawn(covariates):
    patients = draw_patients(replace(COHORT, covariates=covariates))
    label, severity = np.array([each.label for each in patients]), np.array([each.severity for each in patients])
    return label, severity, {name: np.array([p.covariates[name] for p in patients]) for name in patients[0].covariates}


def test_a_cohort_without_covariates_is_the_one_of_earlier_versions():
    patients = draw_patients(SyntheticCohort(patients=20, seed=7, best_auc=0.8))
    assert [(each.label, round(each.severity, 9)) for each in patients[:4]] == EARLIER
    assert set(plan(SyntheticCohort(patients=2))[0]) == {
        "image", "label", "patient_id", "eye", "severity", "low_quality",
        "artery_mask", "vein_mask", "disc_mask", "fov_mask",
    }  # fmt: skip


@pytest.mark.parametrize("covariates", ["independent", "confounded"])
def test_labels_and_severities_do_not_depend_on_the_columns(covariates):
    plain = draw_patients(COHORT)
    label, severity, _ = drawn(covariates)
    assert label.tolist() == [each.label for each in plain]
    assert severity.tolist() == [each.severity for each in plain]


def test_independent_covariates_have_nothing_to_do_with_label_and_image():
    label, severity, found = drawn("independent")
    assert roc_auc_score(label, found["age"]) == pytest.approx(0.5, abs=TOLERANCE)
    assert abs(spearmanr(severity, found["age"])[0]) < 4 / np.sqrt(len(label))
    assert found["age"].mean() == pytest.approx(60, abs=0.4) and found["age"].std() == pytest.approx(7, abs=0.3)
    for name, categories in (("sex", {"female", "male"}), ("camera", {"A", "B"})):
        assert {*found[name]} == categories
        first = found[name] == min(categories)
        assert first.mean() == pytest.approx(0.5, abs=0.03)
        assert roc_auc_score(label, first) == pytest.approx(0.5, abs=TOLERANCE)


def test_images_of_one_camera_do_not_show_the_label():
    label, severity, found = drawn("subgroup")
    shows = found["camera"] == "A"
    assert roc_auc_score(label[shows], severity[shows]) == pytest.approx(0.8, abs=1.5 * TOLERANCE)
    assert roc_auc_score(label[~shows], severity[~shows]) == pytest.approx(0.5, abs=1.5 * TOLERANCE)


def test_an_image_of_a_confounded_cohort_shows_age_and_nothing_else():
    """Given age, the severity has nothing to do with the label; without it, it has the set AUC."""
    label, severity, found = drawn("confounded")
    age = found["age"][:, None]
    assert roc_auc_score(label, severity) == pytest.approx(0.8, abs=TOLERANCE)
    assert roc_auc_score(label, found["age"]) > 0.8 + TOLERANCE / 2
    rest = severity - LinearRegression().fit(age, severity).predict(age)
    assert roc_auc_score(label, rest) == pytest.approx(0.5, abs=TOLERANCE)
    both = LogisticRegression(penalty=None).fit(np.column_stack([(age - 60) / 7, severity]), label)
    assert abs(both.coef_[0, 1]) < 0.25 < both.coef_[0, 0]


def test_both_eyes_have_the_covariates_of_the_patient_in_the_manifest(tmp_path):
    rows = plan(SyntheticCohort(patients=2, covariates="confounded"))
    header, *lines = write_manifest(rows, tmp_path).read_text(encoding="utf-8").splitlines()
    assert header.endswith(",fov_mask,age,sex,camera")
    assert [line.split(",")[-3:] for line in lines[::2]] == [line.split(",")[-3:] for line in lines[1::2]]
    assert rows[0]["age"] == round(rows[0]["age"], 1)
    assert "`age`" in (tmp_path / "README.txt").read_text(encoding="utf-8")


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="covariates is 'age': choose one of none, independent, subgroup, confounded"):
        SyntheticCohort(covariates="age")
