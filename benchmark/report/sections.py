"""The sections of leaderboard.html: address, heading, and what a reader finds there before opening it."""

import re
from collections.abc import Callable
from typing import NamedTuple

from markupsafe import Markup, escape


class Section(NamedTuple):
    """A heading of the page, and its content in a few words."""

    heading: str
    about: str


SECTIONS = {
    "glance": Section("At a glance", "AUC and ratios of all trials on common axes"),
    "external": Section("Own patients and external cohort", "AUC, calibration, decisions, recalibration, and shifts"),
    "planted": Section("Was the planted signal found?", "each measure compared with the known truth"),
    "correlation": Section("Do prediction and saliency agree?", "over cells, and within each trial"),
    "prediction": Section("How good are the predictions?", "ROC, calibration and decision curves, thresholds, pairs"),
    "patients": Section("Per patient", "one score per patient, with its n next to that of the images"),
    "covariates": Section("Covariates and subgroups", "Table 1, what the image adds, subgroups"),
    "averages": Section("Cells compared", "means and differences"),
    "seeds": Section("Over seeds", "means over trainings, and their spread"),
    "saliency": Section("Where the models look", "mean map of each trial"),
    "examples": Section("One image at a time", "example images with their maps"),
    "fov": Section("Inside the field of view", "vessel, artery and vein ratios"),
    "controls": Section("Is it more than chance?", "permutation tests, parameter randomisation, vessel erasure"),
    "elsewhere": Section("Where else they look", "ratios of other regions"),
    "conventions": Section("Does the convention matter?", "the vessel ratio, one convention changed at a time"),
    "published": Section("The published study", "its nine cells, as printed"),
    "cohort": Section("Cohort", "images, patients, and what was left out"),
    "facts": Section("How it was made", "data, weights, training, software, configuration"),
    "downloads": Section("Downloads", "all tables as CSV"),
}
_BY_HEADING = {section.heading: address for address, section in SECTIONS.items()}


def with_links(text: str, link: Callable[[str, str], Markup]) -> Markup:
    """A text in which every “heading” of a section is replaced; everything else is escaped.

    Args:
        link: (address of the section, its heading) -> what replaces the quoted heading.
    """
    parts = re.split(r"“([^”]+)”", text)
    made = [escape(parts[0])]
    for quoted, after in zip(parts[1::2], parts[2::2], strict=True):
        address = _BY_HEADING.get(quoted)
        made += [link(address, quoted) if address else Markup("“{}”").format(quoted), escape(after)]
    return Markup("").join(made)
