"""Patients and images that an external cohort shares with the run's own cohort."""

import polars as pl
import pytest

from benchmark.errors import UserError
from benchmark.study.overlap import refuse_known_images, refuse_known_patients


def test_other_patients_pass():
    refuse_known_patients("B", ["b1", "b2"], ["a1", "a2"])
    refuse_known_images(
        "B", pl.DataFrame({"image": ["x"], "digest": ["1"]}), pl.DataFrame({"image": ["x"], "digest": ["2"]})
    )


def test_a_patient_of_both_cohorts():
    """Spellings count as within a cohort: 7 and 07 are one patient."""
    others = [f"c{i}" for i in range(9)]
    with pytest.raises(UserError) as caught:
        refuse_known_patients("B", ["07", "b1", "07", *others], ["7", *others])
    (line,) = str(caught.value).splitlines()
    assert line == (
        "external cohort B: 10 patients (07, c0, c1, c2, c3, …) are also in the run's own cohort; remove them, or, if "
        "the ids of different patients coincide, write another prefix before those of one cohort"
    )
    with pytest.raises(UserError, match=r"1 patient \(a\) is also in the run's own cohort"):
        refuse_known_patients("B", ["a"], ["a", "b"])


def test_an_image_of_both_cohorts():
    own = pl.DataFrame({"image": ["1.jpg", "2.jpg"], "digest": ["d1", "d2"]})
    other = pl.DataFrame({"image": ["b.jpg", "c.jpg"], "digest": ["d2", "d3"]})
    with pytest.raises(UserError) as caught:
        refuse_known_images("B", other, own)
    assert str(caught.value) == (
        "external cohort B: 1 image (b.jpg) is also in the run's own cohort (b.jpg is 2.jpg there); remove the "
        "patients of these images"
    )
