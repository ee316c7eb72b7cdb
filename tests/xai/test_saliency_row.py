"""One call returns all columns, each equal to the result of its own function."""

import numpy as np
import pytest
import torch

from xai.gradcam import saliency_maps
from xai.regions import region_saliency
from xai.saliency import OUTSIDE, share_outside, vessel_saliency
from xai.saliency_row import measure, measure_names


@pytest.fixture
def signed():
    return torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def planes():
    rng = np.random.default_rng(2)
    artery, vein = rng.integers(0, 120, (2, 3, 32, 32))
    whole = np.full((3, 32, 32), 255)
    return np.stack([artery, vein, artery + vein, whole], axis=1).astype(np.uint8)


@pytest.mark.parametrize(("scaling", "other"), [("minmax", "raw"), ("raw", "minmax")])
def test_columns_are_those_of_their_functions(signed, planes, scaling, other):
    eyes = ["left", None, "right"]
    disc = np.zeros((3, 32, 32), np.uint8)
    disc[:, 10:14, 20:24] = 255
    found = dict(zip(measure_names(scaling, True, True), measure(signed, planes, scaling, eyes, disc).T, strict=True))
    maps = {name: saliency_maps(signed, 32, name).numpy() for name in ("minmax", "raw")}
    expected = vessel_saliency(maps[scaling], planes) | region_saliency(maps[scaling], planes, eyes, disc)
    expected |= {f"{name}_{other}": values for name, values in vessel_saliency(maps[other], planes).items()}
    expected[OUTSIDE] = share_outside(maps[scaling], planes[:, 3])
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    assert np.isnan(found["superior_nasal"][1]), "an eye of unknown side has no nasal quadrant"
    assert np.isfinite(found["disc_ratio"]).all()


def test_scaling_changes_a_ratio_by_the_map_s_own_minimum(planes):
    """Raw is the map itself; minmax subtracts its minimum: (inside - min) / (outside - min)."""
    signed = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(3)) + 1
    names = measure_names("raw", False, False)
    found = dict(zip(names, measure(signed, planes, "raw").T, strict=True))
    least = saliency_maps(signed, 32, "raw").amin(dim=(1, 2)).numpy()
    expected = (found["vessel"] - least) / (found["non_vessel"] - least)
    np.testing.assert_allclose(found["vessel_ratio_minmax"], expected, rtol=1e-4)
    assert (found["vessel_ratio_minmax"] != found["vessel_ratio"]).all()


def test_a_map_that_is_not_finite_has_no_measure(signed, planes):
    signed[1, 0, 0] = torch.nan
    found = measure(signed, planes, "minmax")
    assert np.isnan(found[1]).all()
    assert np.isfinite(found[[0, 2]]).all()
