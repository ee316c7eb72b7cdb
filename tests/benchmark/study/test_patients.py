"""Patients are counted by class, and a test set with few of them is named."""

import polars as pl
import pytest

from benchmark.study.patients import OfEachClass, OfEachPatient, counted, of_each_class, of_each_patient, too_few


def test_a_patient_with_images_of_both_classes_counts_in_both():
    images = pl.DataFrame({"patient_id": ["a", "a", "b", "c", "c"], "label": [1, 1, 0, 0, 1]})
    assert of_each_class(images) == OfEachClass(positive=2, negative=2)
    assert counted(images) == "5 (3 positive, from 2 patients)"


IMAGES = pl.DataFrame(
    {
        "patient_id": ["both", "both", "both", "one", "one", "open", "open", "none", "hidden", "hidden", "hidden"],
        "eye": ["left", "right", "right", "left", "left", "left", None, None, "left", "right", None],
        "visit": ["1", "1", "2", "1", "1", None, "1", None, "1", "2", None],
    }
)


def test_eyes_visits_and_images_of_each_patient():
    """An image of an unknown eye leaves open whether a patient has one eye here or both."""
    found = of_each_patient(IMAGES)
    assert found == OfEachPatient(5, 1, 2, 2, 2, 1, 2.0, 3)
    assert found.one_eye + found.both_eyes + found.unknown_eye == found.patients


def test_visits_that_are_not_known_are_not_counted():
    assert of_each_patient(IMAGES.drop("visit")).several_visits is None
    assert of_each_patient(IMAGES.with_columns(visit=pl.lit(None, pl.String))).several_visits is None
    assert of_each_patient(IMAGES.with_columns(visit=pl.lit("1"))).several_visits == 0
    assert of_each_patient(IMAGES.clear()) == OfEachPatient(0, 0, 0, 0, None, None, None, None)


@pytest.mark.parametrize(
    ("patients", "start"),
    [
        ((5, 200), "The test images are from 5 positive patients. With fewer than 10 patients of a class, "),
        ((200, 1), "The test images are from 1 negative patient. "),
        ((9, 9), "The test images are from 9 positive and 9 negative patients. "),
    ],
)
def test_few_patients_are_named(patients, start):
    assert too_few(OfEachClass(*patients)).startswith(start)


def test_ten_of_each_are_enough():
    assert too_few(OfEachClass(10, 10)) == ""
