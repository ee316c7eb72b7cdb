"""Checks of external cohorts before a run."""

import pytest

from benchmark.preflight.doctor.external import check_external
from benchmark.preflight.doctor.finding import Status


@pytest.fixture
def table(tmp_path):
    """Write a table of images with one patient each; their files are not opened."""

    def table(name, prefix, patients):
        path = tmp_path / f"{name}.csv"
        rows = [f"{prefix}{i}.png,{i % 2},{prefix}{i},a{prefix}{i}.png,v{prefix}{i}.png" for i in range(patients)]
        path.write_text("\n".join(["image,label,patient_id,artery_mask,vein_mask", *rows]) + "\n", encoding="utf-8")
        return path

    return table


@pytest.fixture
def checked(table, case):
    def checked(**external):
        cohort = {"manifest": table("own", "p", 40), "synthetic": None}
        return check_external(case(cohort=cohort, external=[{"name": "B", **external}]))

    return checked


def test_no_external_cohort(case):
    assert check_external(case()) == []


def test_other_patients(checked, table):
    """All images count, and the width of the interval is stated; 30 patients are few."""
    images, width = checked(manifest=table("b", "b", 30))
    assert (images.status, images.detail) == (Status.PASS, "B: images 30 (15 positive, from 15 patients)")
    assert width.status == Status.WARN
    assert width.detail.startswith("B: 30 test patients, 15 positive: the 95 % interval of an AUC of 0.75")


def test_patients_of_the_own_cohort(checked, table):
    (fault,) = checked(manifest=table("same", "p", 3))
    assert fault.status == Status.FAIL
    assert "3 patients (p0, p1, p2) are also in the run's own cohort" in fault.detail


def test_a_missing_manifest_and_a_drawn_cohort(checked, tmp_path):
    (fault,) = checked(manifest=tmp_path / "nothing.csv")
    assert (fault.status, "no such file" in fault.detail) == (Status.FAIL, True)
    (drawn,) = checked(synthetic={"patients": 20, "seed": 4})
    assert drawn.detail == "B: drawn when the study runs"
