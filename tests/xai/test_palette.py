import matplotlib
import numpy as np

from xai.palette import colours


def test_colours_run_from_zero_to_the_top():
    scale = matplotlib.colormaps["inferno"]
    found = colours(np.array([[0.0, 1.0, 2.0]]), 2.0)[0] / 255
    np.testing.assert_allclose(found, [scale(value)[:3] for value in (0.0, 0.5, 1.0)])
    np.testing.assert_array_equal(colours(np.zeros((1, 2)), 0.0), colours(np.zeros((1, 2)), 1.0))
