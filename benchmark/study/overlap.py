"""Refuse an external cohort that has patients or images of the cohort on which the models were trained."""

from collections.abc import Iterable

import polars as pl

from benchmark.errors import UserError
from benchmark.study.spellings import shown, spelling_of

_SHOWN = 5


def refuse_known_patients(name: str, patients: Iterable[str], known: Iterable[str]) -> None:
    """Refuse patient ids that both cohorts have; spellings are compared as within a cohort.

    Args:
        name: the external cohort's name.
        patients: its patient ids.
        known: the patient ids of the run.

    Raises:
        UserError: a patient is in both cohorts; one line.
    """
    before = {spelling_of(patient) for patient in known}
    both = sorted({patient for patient in patients if spelling_of(patient) in before})
    if both:
        raise UserError(
            f"external cohort {name}: {_listed('patient', both)} also in the run's own cohort; remove them, or, if the "
            "ids of different patients coincide, write another prefix before those of one cohort"
        )


def refuse_known_images(name: str, images: pl.DataFrame, known: pl.DataFrame) -> None:
    """Refuse images whose pixels equal those of an image of the run.

    Args:
        images: image and digest of the external cohort.
        known: image and digest of the run.

    Raises:
        UserError: an image is in both cohorts; one line.
    """
    both = images.join(known, on="digest", suffix="_known").sort("image")
    if len(both):
        image, its_name = both.select("image", "image_known").row(0)
        names = both["image"].unique(maintain_order=True).to_list()
        raise UserError(
            f"external cohort {name}: {_listed('image', names)} also in the run's own cohort "
            f"({shown(image)} is {shown(its_name)} there); remove the patients of these images"
        )


def _listed(what: str, names: list[str]) -> str:
    more = ", …" if len(names) > _SHOWN else ""
    listed = ", ".join(map(shown, names[:_SHOWN])) + more
    return f"{len(names)} {what}{'s' if len(names) > 1 else ''} ({listed}) {'are' if len(names) > 1 else 'is'}"
