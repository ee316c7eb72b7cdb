"""Small images of random vessels, and the null distribution of the vessel ratio computed pair by pair."""

import numpy as np

from xai.saliency import vessel_saliency

SIDE = 24


def cohort(patients, images=2, seed=0, fov=None):
    """Random maps (n, H, W), planes with scattered vessels, and the patients."""
    generator = np.random.default_rng(seed)
    n = patients * images
    planes = np.zeros((n, 4, SIDE, SIDE), np.uint8)
    planes[:, 0] = np.where(generator.random((n, SIDE, SIDE)) < 0.1, 255, 0)
    planes[:, 1] = np.where(generator.random((n, SIDE, SIDE)) < 0.1, 90, 0)
    planes[:, 3] = 255
    if fov is not None:
        planes[:, :2] *= fov
        planes[:, 3] *= fov
    planes[:, 2] = np.maximum(planes[:, 0], planes[:, 1])
    return generator.random((n, SIDE, SIDE)), planes, np.repeat(np.arange(patients), images)


def by_hand(one, own, other, ratio):
    """The null value of one map on the planes of another image, in the shared field of view, minus that on its own.

    Both fields of view are binary. The convention of the whole image also counts the corners outside the map's own
    field of view, but no pixels inside it that are not shared.
    """
    shared = (own[3] > 0) & (other[3] > 0)
    counted = shared if ratio.endswith("_fov") else shared | (own[3] == 0)
    region, name = {"artery": 0, "vein": 1, "vessel": 2}[ratio.partition("_")[0]], ratio.partition("_ratio")[0]
    assert name in ("artery", "vein", "vessel")

    def there(planes):
        masks = planes[[region, 2]] / 255 * shared
        return np.average(one, weights=masks[0]) / np.average(one, weights=counted - masks[1])

    return vessel_saliency(one[None], own[None])[ratio][0] + there(other) - there(own)
