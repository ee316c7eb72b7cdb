"""Patients are counted by class, and a test set with few of them is named."""

import polars as pl
import pytest

from benchmark.study.patients import OfEachClass, counted, of_each_class, too_few


def test_a_patient_with_images_of_both_classes_counts_in_both():
    images = pl.DataFrame({"patient_id": ["a", "a", "b", "c", "c"], "label": [1, 1, 0, 0, 1]})
    assert of_each_class(images) == OfEachClass(positive=2, negative=2)
    assert counted(images) == "5 (3 positive, from 2 patients)"


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
