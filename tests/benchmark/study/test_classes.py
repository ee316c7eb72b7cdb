"""The order and the names of the classes."""

import pytest

from benchmark.study.classes import Classes, in_order, with_positive


def test_numbers_in_names_count_by_their_value():
    assert in_order(["10_severe", "2_mild", "1_no"]) == ["1_no", "2_mild", "10_severe"]
    assert in_order(["b", "B", "a", "a2", "a10"]) == ["B", "a", "a2", "a10", "b"]


@pytest.mark.parametrize("positive", ["glaucoma", "Glaucoma", " glaucoma "])
def test_the_positive_class_is_found_in_any_case(positive):
    assert with_positive(["normal", "glaucoma"], positive) == Classes(negative="normal", positive="glaucoma")


def test_another_name_is_refused_with_the_names_of_the_classes():
    with pytest.raises(ValueError, match="the classes are glaucoma and normal; did you mean normal"):
        with_positive(["normal", "glaucoma"], "norml")
    with pytest.raises(ValueError, match=r"needs exactly two classes, found 3 \(a, b, c\)"):
        with_positive(["a", "c", "b"], "a")


@pytest.mark.parametrize(
    ("negative", "positive", "doubtful"),
    [
        ("glaucoma", "normal", True),
        ("1_disease", "0_healthy", True),
        ("plaque", "no_plaque", True),
        ("normal", "glaucoma", False),
        ("control", "normal", False),
        ("a", "abnormal", False),
    ],
)
def test_a_positive_class_without_the_disease_is_doubtful(negative, positive, doubtful):
    assert Classes(negative, positive).doubtful is doubtful
