"""Mask null: the ratios that the same maps have against the vessels of other people.

Retinal vessels lie alike in all eyes: they converge at the optic disc and spare the fovea. A map that favours the disc
has a ratio above 1 against anybody's vessels. What exceeds the null is bound to this eye's own vessels, as far as the
map resolves them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from xai.saliency import mean_of_ratios, vessel_saliency
from xai.vessels.source import REGIONS

_BLOCK = 128  # images worked on at once: 26 MB of float32 at 224x224, and about ten times that in all
_ROUNDING = 1e-5  # relative; sums in float32 over 50,000 pixels that differ by less are ties
_NOTHING = 1e-6  # of a map's sum; with less left outside the vessels there is no ratio


@dataclass(frozen=True, eq=False)
class MaskNull:
    """A cell's ratios, and what chance makes of them.

    Attributes:
        ratios: (n,) float64, of each image against its own vessels; NaN where it has none.
        null: (draws, n) float32, against the vessels that each draw gave it; NaN as in `ratios`.
    """

    ratios: np.ndarray
    null: np.ndarray

    @cached_property
    def observed(self) -> float:
        """The cell's mean ratio."""
        return mean_of_ratios(self.ratios)

    @cached_property
    def draws(self) -> np.ndarray:
        """(draws,) float64: the cell's mean ratio in each draw."""
        return _means(self.null)

    @cached_property
    def image_means(self) -> np.ndarray:
        """(n,) float64: the ratio that chance gives each image; NaN as in `ratios`."""
        return _means(self.null.T)

    @property
    def mean(self) -> float:
        """The cell's mean ratio that this vessel geometry gives by chance."""
        return float(self.draws.mean())

    @property
    def sd(self) -> float:
        """Standard deviation of the cell's mean ratio over the draws; NaN for a single draw."""
        return float(self.draws.std(ddof=1)) if len(self.draws) > 1 else float("nan")

    @property
    def p_greater(self) -> float:
        """How often chance gives a ratio as large: (count + 1) / (draws + 1) (Phipson & Smyth 2010)."""
        return self._share(self.draws >= self.observed * (1 - _ROUNDING))

    @property
    def p_two_sided(self) -> float:
        """Twice the p-value of the side on which the observed ratio lies, at most 1."""
        less = self._share(self.draws <= self.observed * (1 + _ROUNDING))
        return min(2 * min(self.p_greater, less), 1.0)

    def _share(self, as_extreme: np.ndarray) -> float:
        return (int(as_extreme.sum()) + 1) / (len(self.draws) + 1)


def mask_null(
    maps: np.ndarray,
    planes: np.ndarray,
    people: Sequence[str] | np.ndarray,
    draws: int = 1000,
    seed: int = 0,
    eyes: Sequence[str | None] | None = None,
    ratio: str = "vessel_ratio_fov",
) -> MaskNull:
    """Hold maps against the vessels of other people.

    A draw gives each person another person's vessels, with replacement: a person's images are no independent
    witnesses, so they change vessels together, each for those of a random image of the other. Vessels are clipped to
    the image's own field of view, on which all crops are centred. Where the sides of both eyes are known, vessels of
    the other side are mirrored, so that the optic discs coincide; elsewhere every second mask is, by chance.

    Args:
        maps: (n, H, W) float, at least 0: of one cell's test images.
        planes: (n, 4, H, W) uint8 coverage of `REGIONS`; may be memory-mapped.
        people: (n,) the person on each image.
        eyes: "left", "right" or None of each image.
        ratio: one of `xai.saliency.RATIOS`.

    Raises:
        ValueError: fewer than two people have vessels, no image has a ratio, or there are no draws.
    """
    if draws < 1:
        raise ValueError(f"mask null: draws must be at least 1, got {draws}")
    region, _, convention = ratio.partition("_ratio")
    person = np.unique(np.asarray(people), return_inverse=True)[1]
    blocks = [slice(first, first + _BLOCK) for first in range(0, len(maps), _BLOCK)]
    has_region = np.concatenate([planes[block, REGIONS.index(region)].any(axis=(1, 2)) for block in blocks])
    donors = [np.flatnonzero((person == one) & has_region) for one in range(person.max() + 1)]
    if sum(len(images) > 0 for images in donors) < 2:
        raise ValueError(f"mask null: fewer than two people have a mask of {region}, so none can be exchanged")
    ratios = np.concatenate([vessel_saliency(maps[block], planes[block])[ratio] for block in blocks])
    if np.isnan(ratios).all():
        raise ValueError(f"mask null: no image has a {ratio}")
    pairs = _pair_ratios(maps, planes, region, convention == "_fov", blocks)
    null = _draw(pairs, person, donors, _chance_of_mirror(eyes, len(maps)), draws, np.random.default_rng(seed))
    null[:, np.isnan(ratios)] = np.nan
    return MaskNull(ratios, null)


def _pair_ratios(
    maps: np.ndarray, planes: np.ndarray, region: str, inside_fov: bool, blocks: list[slice]
) -> np.ndarray:
    """(2, n, n) float32: the ratio of map i against the vessels of image j, as they are and mirrored.

    Every sum over a map inside a mask is an entry of one matrix product. A pixel that the field of view of i holds only
    in part keeps its vessel whole, so that the diagonal is the ordinary ratio.
    """
    found = np.empty((2, len(maps), len(maps)), dtype=np.float32)
    for rows in blocks:
        own, fov = maps[rows].astype(np.float32), planes[rows, REGIONS.index("fov")]
        view = (fov > 0).astype(np.float32)
        counted = fov / np.float32(255) if inside_fov else np.ones_like(view)
        total = (own * counted).sum(axis=(1, 2), dtype=np.float64)[:, None]
        pixels = counted.sum(axis=(1, 2), dtype=np.float64)[:, None]
        seen, view = _flat(own * view), _flat(view)
        for columns in blocks:
            for mirrored in (0, 1):
                sums = {}
                for name in {region, "vessel"}:
                    plane = planes[columns, REGIONS.index(name)] / np.float32(255)
                    masks = _flat(plane[:, :, ::-1] if mirrored else plane).T
                    sums[name] = (seen @ masks).astype(np.float64), (view @ masks).astype(np.float64)
                (inside, area), (vessels, vessel_area) = sums[region], sums["vessel"]
                outside = total - vessels
                valid = (area > 0) & (outside > _NOTHING * total)
                quotient = inside * (pixels - vessel_area) / np.where(valid, area * outside, 1)
                found[mirrored, rows, columns] = np.where(valid, quotient, np.nan)
    return found


def _flat(pictures: np.ndarray) -> np.ndarray:
    return pictures.reshape(len(pictures), -1)


def _chance_of_mirror(eyes: Sequence[str | None] | None, n: int) -> np.ndarray:
    """(n, n): how probably the vessels of image j are mirrored for image i."""
    signs = {"left": -1, "right": 1}
    side = np.zeros(n) if eyes is None else np.array([signs.get(eye or "", 0) for eye in eyes])
    return (1 - np.outer(side, side)) / 2


def _draw(
    pairs: np.ndarray,
    person: np.ndarray,
    donors: list[np.ndarray],
    chance_of_mirror: np.ndarray,
    draws: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """(draws, n) float32: each image's ratio against the vessels that fell to it."""
    counts = np.array([len(images) for images in donors])
    table = np.zeros((len(donors), counts.max()), dtype=np.intp)
    for one, images in enumerate(donors):
        table[one, : len(images)] = images
    null = np.empty((draws, len(person)), dtype=np.float32)
    for one in range(len(donors)):
        others = np.flatnonzero((counts > 0) & (np.arange(len(donors)) != one))
        other = rng.choice(others, draws)
        for image in np.flatnonzero(person == one):
            donor = table[other, rng.integers(counts[other])]
            mirrored = rng.random(draws) < chance_of_mirror[image, donor]
            null[:, image] = pairs[mirrored.astype(np.intp), image, donor]
    return null


def _means(values: np.ndarray) -> np.ndarray:
    """Means of rows, float64, over what is not NaN; NaN where a row holds nothing else."""
    known = ~np.isnan(values)
    sums, counts = values.sum(axis=1, dtype=np.float64, where=known), known.sum(axis=1)
    return np.divide(sums, counts, out=np.full(len(values), np.nan), where=counts > 0)
