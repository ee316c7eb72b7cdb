"""The precision that a test set allows, from its number of patients."""

import polars as pl
import pytest
from scipy.stats import norm

from benchmark.preflight.adequacy import adequacy
from stats.sample_size import auc_standard_error, patients_for_auc_width


def images(positives, negatives, each=1):
    patients = [f"p{i}" for i in range(positives + negatives)]
    labels = [1] * positives + [0] * negatives
    return pl.DataFrame({"patient_id": patients * each, "label": labels * each})


def test_widths_and_patients_are_those_of_the_formulas():
    found = adequacy(images(40, 160), 0.95)
    assert found is not None and not found.wide
    assert found.discrimination.startswith(
        "200 test patients, 40 positive: the 95 % interval of an AUC of 0.75 or 0.85"
    )
    widths = [2 * norm.isf(0.025) * auc_standard_error(auc, 40, 160) for auc in (0.75, 0.85)]
    stated = found.discrimination.partition("about ")[2].split(" wide")[0].split(" or ")
    assert [float(width) for width in stated] == pytest.approx(widths, abs=0.012), "on the logit scale or not"
    needed = {width: [patients_for_auc_width(auc, 0.2, width) for auc in (0.75, 0.85)] for width in (0.1, 0.05)}
    assert f"a width of 0.10 needs about {needed[0.1][0]:,} or {needed[0.1][1]:,} patients" in found.discrimination
    assert f"a width of 0.05 needs about {needed[0.05][0]:,} or {needed[0.05][1]:,} patients" in found.discrimination
    assert "slope would be known to ± 0.4" in found.calibration and "Riley et al. 2021" in found.calibration


def test_all_images_of_a_patient_count_as_one():
    once, thrice = adequacy(images(40, 160), 0.95), adequacy(images(40, 160, each=3), 0.95)
    assert once is not None and thrice is not None
    assert "(all images of a patient count as one)" in thrice.discrimination
    assert thrice.calibration == once.calibration
    mixed = pl.DataFrame({"patient_id": ["a", "a", "b"], "label": [0, 1, 0]})
    found = adequacy(mixed, 0.95)
    assert found is not None and "2 test patients, 1 positive" in found.discrimination


@pytest.mark.parametrize(
    ("positives", "negatives", "wide"), [(10, 500, True), (200, 9, True), (50, 50, False), (30, 40, True)]
)
def test_wide_intervals(positives, negatives, wide):
    found = adequacy(images(positives, negatives), 0.95)
    assert found is not None and found.wide == wide


def test_one_class_has_no_auc():
    assert adequacy(images(0, 10), 0.95) is adequacy(images(10, 0), 0.95) is None
