from xml.etree import ElementTree

import numpy as np

from benchmark.report.charts.colour_bar import colour_ramp
from xai.palette import colours


def test_the_ramp_has_the_colours_of_the_maps() -> None:
    steps = list(ElementTree.fromstring(colour_ramp()))
    assert [float(step.attrib["x"]) for step in steps] == list(range(len(steps)))
    shown = [[int(step.attrib["fill"][place : place + 2], 16) for place in (1, 3, 5)] for step in steps]
    expected = colours(np.linspace(0, 1, len(steps))[None], 1)[0]
    np.testing.assert_allclose(shown, expected, atol=0.5)
