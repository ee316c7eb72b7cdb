"""What the card says about the cohort is what results and configuration have, in each kind of run."""

import pytest

from benchmark.report.study_card import cohort
from benchmark.report.study_card.items import Facts, Table
from tests.benchmark.report.study_card.runs import (
    PATH,
    SHA256,
    cohort_of,
    external_run,
    manifest_run,
    study_of,
    synthetic_run,
    without_results,
)

THIN = "\N{NARROW NO-BREAK SPACE}"
MANIFEST, SYNTHETIC, EXTERNAL = manifest_run(), synthetic_run(), external_run()


def text(passage):
    return " ".join(block for block in passage if isinstance(block, str)).replace(THIN, ",")


def rows(table):
    return [[cell.replace(THIN, ",") for cell in row] for row in table.rows]


def test_where_the_data_come_from():
    found = text(cohort.source(MANIFEST))
    assert "read from cohort.csv" in found and SHA256 in found and PATH not in found
    assert "drew both eyes of 200 patients (seed 3)" in text(cohort.source(SYNTHETIC))
    both = text(cohort.source(EXTERNAL))
    assert "trained in the study carotid (images from cohort.csv). Validation: images" in both
    assert "other.csv" in both
    assert "carotid. Validation" in text(cohort.source(external_run(with_development=False)))


def test_counts_of_every_split_and_class():
    splits, classes = cohort.counts(MANIFEST)
    assert rows(splits) == [
        ["Training", "2,400", "800", "1,200", "400"],
        ["Validation", "600", "200", "300", "100"],
        ["Test", "1,234", "612", "620", "308"],
        ["All", "4,234", "1,612", "2,120", "808"],
    ]
    assert rows(classes)[2] == ["severe", "1", "800", "200", "411"]
    development, validation = (table for table in cohort.counts(EXTERNAL) if "class" not in table.caption)
    assert (len(development.rows), rows(validation)[-1]) == (4, ["All", "140", "70", "70", "35"])
    assert development.caption.startswith("Development") and validation.caption.startswith("Validation")


def test_who_was_eligible_and_what_was_left_out():
    found = text(cohort.eligibility(MANIFEST))
    assert "Of 4,260 listed images, 26 could not be used (no such file: 15, not a readable picture: 6" in found
    assert "40 files of the folder were not images" in found
    assert "17 images had the same pixels" in found
    assert "All 400 images that were listed could be used." in text(cohort.eligibility(SYNTHETIC))
    assert "26 could not be used." in text(cohort.eligibility(without_results())), "reasons are not known"
    assert cohort.repeated(manifest_run(cohort=cohort_of(repeated=None))) == []


def test_labels():
    assert "Label 1 (positive) stands for mild, severe, label 0 for normal, as listed in cohort.csv" in text(
        cohort.labels(MANIFEST)
    )
    per_eye = Facts(study_of(cohort={"manifest": "x.csv", "labels": "eye"}), MANIFEST.results)
    assert "Labels are per eye" in text(cohort.labels(per_eye))
    assert "as drawn" in text(cohort.labels(SYNTHETIC))


def test_missing_data():
    found = text(cohort.missing(MANIFEST))
    assert "31 test images had no vessel masks and 13 test images had no vessel ratio" in found
    assert "(age and sex) may be missing" in found
    assert "All test images had vessel masks" in text(cohort.missing(SYNTHETIC))
    assert "vessel" not in text(cohort.missing(without_results())), "nothing is said of what is not known"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (True, "The manifest assigned each patient"),
        (False, "Patients were divided at random into training (50 %), validation (20 %) and test (30 %)"),
        (None, "If the manifest has no splits, patients were divided"),
    ],
)
def test_how_patients_were_divided(given, said):
    assert text(cohort.partitions(manifest_run(cohort=cohort_of(splits_given=given)))).startswith(said)


def test_a_synthetic_cohort_is_divided_at_random_and_an_external_one_not_at_all():
    assert text(cohort.partitions(SYNTHETIC)).startswith("Patients were divided at random")
    assert "none of them was fitted to this cohort" in text(cohort.partitions(EXTERNAL))


def test_splits_are_disjoint_by_patient():
    assert "no patient has images in two splits" in text(cohort.disjoint(MANIFEST))
    assert "No patient id of this cohort" in text(cohort.disjoint(EXTERNAL))
    one_each = cohort_of(patients=MANIFEST.results.cohort.images)
    assert "every image is of another patient" in text(cohort.disjoint(manifest_run(cohort=one_each)))


def test_development_and_evaluation_are_compared():
    assert text(cohort.differences(MANIFEST)) == (
        "Both come from one listing, with the same eligibility, label and preprocessing. 800 of 2,400 (33.3 %) "
        "training images and 612 of 1,234 (49.6 %) test images were positive."
    )
    assert "one listing" not in text(cohort.differences(EXTERNAL))
    assert "70 of 140 (50 %) test images" in text(cohort.differences(EXTERNAL))
    assert cohort.differences(external_run(with_development=False)) == []


def test_flow_and_preprocessing():
    assert "4,234 images of 2,120 patients were used; 1,612 images were positive, of 808 patients" in text(
        cohort.flow(MANIFEST)
    )
    assert cohort.flow(without_results()) == []
    assert "224 × 224" in text(cohort.preparation(MANIFEST))
    (table,) = cohort.normalisation(MANIFEST)
    assert isinstance(table, Table)
    assert rows(table)[0] == ["dinov2-tiny", "0.485, 0.456, 0.406", "0.229, 0.224, 0.225"]
