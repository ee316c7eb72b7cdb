"""Small images of random vessels, and the nulls of the vessel ratio one pair at a time."""

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
    """The null of one map against other planes, both binary at the rim: where both fields of view are, other less own.

    The whole-picture convention counts the corners of the map's own field of view, and nothing of what is not shared.
    """
    shared = (own[3] > 0) & (other[3] > 0)
    counted = shared if ratio.endswith("_fov") else shared | (own[3] == 0)
    region, name = {"artery": 0, "vein": 1, "vessel": 2}[ratio.partition("_")[0]], ratio.partition("_ratio")[0]
    assert name in ("artery", "vein", "vessel")

    def there(planes):
        masks = planes[[region, 2]] / 255 * shared
        return np.average(one, weights=masks[0]) / np.average(one, weights=counted - masks[1])

    return vessel_saliency(one[None], own[None])[ratio][0] + there(other) - there(own)
