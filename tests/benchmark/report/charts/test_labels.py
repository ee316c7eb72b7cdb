import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchmark.report.charts.labels import RADIUS, place_labels

SIDE = 200
NO_LINES = np.empty((0, 4))


def overlap(centres: np.ndarray, sizes: np.ndarray, first: int, second: int) -> bool:
    return bool((np.abs(centres[first] - centres[second]) < (sizes[first] + sizes[second]) / 2 - 1e-9).all())


@given(arrays(float, st.tuples(st.integers(1, 40), st.just(2)), elements=st.floats(0, SIDE)))
def test_labels_stay_in_the_plot_and_near_their_points(points: np.ndarray) -> None:
    sizes = np.full_like(points, (12, 9))
    centres = place_labels(points, sizes, NO_LINES, (SIDE, SIDE))
    assert (centres - sizes / 2 >= -1e-9).all() and (centres + sizes / 2 <= SIDE + 1e-9).all()
    assert (np.abs(centres - points) <= RADIUS + 16 + sizes / 2 + 1e-9).all()


def test_two_points_in_one_place_have_labels_apart() -> None:
    points, sizes = np.full((8, 2), 100.0), np.full((8, 2), (12.0, 9.0))
    centres = place_labels(points, sizes, NO_LINES, (SIDE, SIDE))
    assert not any(overlap(centres, sizes, one, other) for one in range(8) for other in range(one))


def test_labels_keep_off_points_and_lines() -> None:
    point, size = np.array([[100.0, 100.0]]), np.array([[12.0, 9.0]])
    free = place_labels(point, size, NO_LINES, (SIDE, SIDE))
    # Points without a label are also avoided.
    crowded = place_labels(np.vstack([point, free]), size, NO_LINES, (SIDE, SIDE))
    crossed = place_labels(point, size, np.array([[free[0, 0] - 1, 0, free[0, 0] + 1, SIDE]]), (SIDE, SIDE))
    assert not np.allclose(crowded, free)
    assert abs(crossed[0, 0] - free[0, 0]) > 7
