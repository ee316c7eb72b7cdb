"""The order and the names of the classes."""

import pytest

from benchmark.study.classes import Classes, advice, in_order, with_positive


def test_numbers_in_names_count_by_their_value():
    assert in_order(["10_severe", "2_mild", "1_no"]) == ["1_no", "2_mild", "10_severe"]
    assert in_order(["b", "B", "a", "a2", "a10"]) == ["B", "a", "a2", "a10", "b"]


@pytest.mark.parametrize("positive", ["glaucoma", "Glaucoma", " glaucoma "])
def test_the_positive_class_is_found_in_any_case(positive):
    assert with_positive(["normal", "glaucoma"], [positive]) == Classes(negative=("normal",), positive=("glaucoma",))


def test_several_classes_are_divided():
    """Numbers as in any spelling; the order is that of the names."""
    found = with_positive(["0", "10", "2", "1", "3"], ["10", "2.0", "03"])
    assert found == Classes(negative=("0", "1"), positive=("2", "3", "10"))
    assert found.by_label() == {"0": "0, 1", "1": "2, 3, 10"}
    assert [found.label(name) for name in found.names] == [0, 0, 1, 1, 1]
    assert str(found) == "label 1 = 2, 3, 10 (positive), label 0 = 0, 1"


def test_another_name_is_refused_with_the_names_of_the_classes():
    with pytest.raises(ValueError, match="the classes are glaucoma and normal; did you mean normal"):
        with_positive(["normal", "glaucoma"], ["norml"])
    with pytest.raises(ValueError, match=r"names 'x', but the classes are 0, 1, .*, 8, 9, … \(30 in all\)"):
        with_positive(map(str, range(30)), ["1", "x"])
    with pytest.raises(ValueError, match=r"no class is left for label 0, .* names all of them: a and b"):
        with_positive(["a", "b"], ["b", "A"])


def test_the_option_in_advice_can_be_copied():
    assert advice(["0", "2", "1"]) == "--positive 1,2"
    assert advice(["no", "very severe", "mild"]) == "--positive 'no,very severe'"
    assert advice(["no", "yes, left"]) == "--positive CLASS,CLASS"


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
    assert Classes((negative,), (positive,)).doubtful is doubtful
