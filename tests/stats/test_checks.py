import numpy as np
import pytest

from stats.checks import as_binary, as_ids, as_nullable_numbers, as_numbers, require_same_length


@pytest.mark.parametrize("values", [[0, 1, 1], [False, True, True], [0.0, 1.0, 1.0], np.array([0, 1, 1], np.uint8)])
def test_binary_takes_what_means_yes_and_no(values):
    array = as_binary("labels", values)
    assert array.dtype == bool
    assert array.tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("check", "values", "message"),
    [
        (as_binary, [0, 1, 2], "labels must be 0 or 1, found 2 at position 2"),
        (as_binary, [0, np.nan], "found nan at position 1"),
        (as_binary, [[0, 1]], r"one-dimensional array, got shape \(1, 2\)"),
        (as_binary, [], "non-empty"),
        (as_numbers, [0.5, np.nan], "labels has NaN at position 1"),
        (as_nullable_numbers, [np.nan, -np.inf], "labels is infinite at position 1"),
        (as_ids, np.array(["a", None], dtype=object), "labels has no id at position 1"),
        (as_ids, [1.0, np.nan], "labels has no id at position 1"),
    ],
)
def test_what_is_refused_is_named_with_its_position(check, values, message):
    with pytest.raises(ValueError, match=message) as error:
        check("labels", values)
    assert "\n" not in str(error.value)


def test_null_passes_where_it_is_allowed():
    np.testing.assert_array_equal(as_nullable_numbers("values", [1, np.nan]), [1.0, np.nan])


def test_unequal_lengths_are_named():
    with pytest.raises(ValueError, match="labels has 3, scores has 2"):
        require_same_length(labels=np.zeros(3), scores=np.zeros(2))
