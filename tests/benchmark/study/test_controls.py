"""Every control is one record, and the record fits the code that uses it."""

import string

import pytest

from benchmark.analysis.measures import MEASURES
from benchmark.report.results import methods
from benchmark.study.config import SWITCHES, Controls, Statistics
from benchmark.study.controls import CONTROLS, OTHER_CLASS, VESSEL_PERMUTATION
from xai.controls.null import FOV_RATIO, TESTED_RATIOS

SETTINGS = set(Controls.model_fields) - set(CONTROLS)


def test_every_control_can_be_switched_and_nothing_else_can():
    switches = [name for name, field in Controls.model_fields.items() if field.annotation is bool]
    assert tuple(switches) == tuple(CONTROLS) == SWITCHES


@pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS)
def test_a_control_names_settings_images_and_methods_that_exist(control):
    assert set(control.settings) <= SETTINGS
    known = methods(Statistics(), Controls())
    for number in control.numbers:
        assert number.images in (*control.counts, *MEASURES), number
        assert number.method in known, number
    for method in control.methods:
        named = {name for _, name, _, _ in string.Formatter().parse(method.text) if name}
        assert named <= set(control.settings), method


def test_no_two_controls_share_a_column_or_a_method():
    columns = [column for each in CONTROLS.values() for column in (*(n.name for n in each.numbers), *each.counts)]
    named = [method.name for each in CONTROLS.values() for method in each.methods]
    assert len(set(columns)) == len(columns) and len(set(named)) == len(named)


def test_the_ratios_are_those_that_are_tested():
    assert {number.images for number in VESSEL_PERMUTATION.numbers} == set(TESTED_RATIOS)
    assert all(number.name.startswith(f"{FOV_RATIO}_other") for number in OTHER_CLASS.numbers)
