"""Resamples of people: a person's images come and go together, so intervals do not pretend that they are independent.

A resample is stored as how often it drew each person. One `PeopleResamples` serves every cell of a study, which makes
differences between cells paired.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import as_binary, as_ids, require_same_length

_BLOCK = 1 << 16  # numbers worked on at once: half a MB stays in the processor's cache


@dataclass(frozen=True, eq=False)
class PeopleResamples:
    """Resamples of people, and which images each person brings: as many as there are, none included.

    counts (resamples, people): how often a resample drew a person. Column-major from `draw_people`, so that one
        person's counts over all resamples lie together in memory.
    person_of_image (n,): the column of `counts` that an image belongs to.
    strata (people,): the stratum that a person was drawn from; None where all were drawn from one.
    """

    counts: np.ndarray
    person_of_image: np.ndarray
    strata: np.ndarray | None = None

    def totals(self, values: np.ndarray) -> np.ndarray:
        """Sum of values (n, k) over the images of each resample, (resamples, k) float64; values must be finite."""
        n_resamples, n_people = self.counts.shape
        per_person = np.zeros((n_people, values.shape[1]))
        np.add.at(per_person, self.person_of_image, values)
        totals = np.zeros((n_resamples, values.shape[1]))
        step = max(1, _BLOCK // n_resamples)
        for start in range(0, n_people, step):
            block = slice(start, start + step)
            totals += self.counts[:, block].astype(np.float64) @ per_person[block]
        return totals


def draw_people(people: ArrayLike, labels: ArrayLike, resamples: int, seed: int) -> PeopleResamples:
    """Draws people with replacement, separately among those with a positive image and those without.

    people (n,): the id (string or integer) of the person on each image; labels (n,) of 0/1. Each resample holds as many
    people of either stratum as the data (stratified bootstrap, Davison & Hinkley 1997, section 3.2, on clusters). The
    same seed gives the same counts for each person in whatever order the images come.

    Raises ValueError for a missing id, other labels, different lengths, or fewer than one resample.
    """
    ids, positive = as_ids("people", people), as_binary("labels", labels)
    require_same_length(people=ids, labels=positive)
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")

    names, person_of_image = np.unique(ids, return_inverse=True)
    has_positive = np.bincount(person_of_image, weights=positive) > 0
    # A person is drawn once per resample on average; a count beyond 255 has probability below 1e-500.
    counts = np.zeros((resamples, len(names)), dtype=np.uint8, order="F")
    rng = np.random.default_rng(seed)
    for stratum in (np.flatnonzero(has_positive), np.flatnonzero(~has_positive)):
        if stratum.size:
            _draw_stratum(counts, stratum, rng)
    return PeopleResamples(counts, person_of_image, strata=has_positive)


def _draw_stratum(counts: np.ndarray, stratum: np.ndarray, rng: np.random.Generator) -> None:
    size = len(stratum)
    step = max(1, _BLOCK // size)
    for start in range(0, len(counts), step):
        rows = min(step, len(counts) - start)
        drawn = rng.integers(size, size=(rows, size))
        drawn += size * np.arange(rows)[:, np.newaxis]  # each row counts into places of its own
        counts[start : start + rows, stratum] = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size)
