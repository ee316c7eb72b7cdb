"""The patients of the synthetic cohort: their labels, the severity on which the label depends, and their images.

The label's signal has a known strength. A patient's severity is Normal(0, 1) without the condition and Normal(d, 1)
with it; the image shows the severity and contains no other information about the label. The best possible classifier
reads the severity, and its area under the ROC curve is Phi(d / sqrt(2)), so d = sqrt(2) * Phi^-1(best_auc). Both eyes
share the severity: the bound holds per image as well as per patient. How clearly an image shows the severity is a
separate setting (`effect`), which does not change the bound.

A cohort can also have covariates (age, sex, camera), with a planted effect that an analysis of covariates must find.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from scipy.special import ndtri

Signal = Literal["vessels", "periphery"]
EyeSide = Literal["right", "left"]
Covariates = Literal["none", "independent", "subgroup", "confounded"]

MANIFEST = "cohort.csv"  # of a drawn cohort, in its folder

CAMERAS = ("A", "B")  # images of the last one do not show the label in a cohort with `subgroup`
MEAN_AGE, YEARS = 60.0, 7.0  # years: at an age of 0 standard deviations, and in one standard deviation
AGE_NOISE = 0.5  # of what a confounded image shows of age, in standard deviations of age


@dataclass(frozen=True)
class SyntheticCohort:
    """Images of synthetic eyes to draw.

    Attributes:
        patients: number of patients, with one image of each eye.
        image_size: height of an image in pixels; the width is 1.15 times that.
        signal: where severity shows: "vessels" (arteries narrow, wind, reflect more light and nick the veins they
            cross) or "periphery" (spots away from the vessels).
        effect: how strongly severity shows: 0 not at all, 2 twice as strongly as 1. Even 1 is an exaggeration: no known
            retinal sign separates patients with and without the condition so well.
        best_auc: area under the ROC curve of the best possible classifier, in [0.5, 1).
        positives: share of patients with label 1; exactly `round(patients * positives)` of them.
        low_quality: share of images that are blurred, hazy, dark or unevenly lit.
        covariates: columns age, sex and camera of the manifest. "none": there are none; "independent": they have
            nothing to do with label and image; "subgroup": the same, but images of camera B do not show the label, so
            `best_auc` holds for camera A; "confounded": the label depends on age, and the image shows age and nothing
            else.
        seed: the same seed draws the same cohort, on any machine.

    Raises:
        ValueError: a field is out of range.
    """

    patients: int = 120
    image_size: int = 448
    signal: Signal = "vessels"
    effect: float = 1.0
    best_auc: float = 0.9
    positives: float = 0.5
    low_quality: float = 0.1
    seed: int = 0
    covariates: Covariates = "none"

    def __post_init__(self) -> None:
        if self.patients < 2:
            raise ValueError(f"patients is {self.patients}: a cohort needs at least 2")
        if self.image_size < 64:
            raise ValueError(f"image_size is {self.image_size} pixels: no vessel is visible below 64")
        if self.signal not in get_args(Signal):
            raise ValueError(f"signal is {self.signal!r}: choose one of {', '.join(get_args(Signal))}")
        if not 0 <= self.effect < math.inf:
            raise ValueError(f"effect is {self.effect}: give 0 (severity does not show) or a positive number")
        if not 0.5 <= self.best_auc < 1:
            raise ValueError(f"best_auc is {self.best_auc}: give a value from 0.5 (no signal) to below 1")
        if not 0 < round(self.patients * self.positives) < self.patients:
            raise ValueError(
                f"positives is {self.positives}: of {self.patients} patients, both labels need at least one"
            )
        if not 0 <= self.low_quality <= 1:
            raise ValueError(f"low_quality is {self.low_quality}: give a share from 0 to 1")
        if self.covariates not in get_args(Covariates):
            raise ValueError(f"covariates is {self.covariates!r}: choose one of {', '.join(get_args(Covariates))}")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}: give 0 or a positive integer")


@dataclass(frozen=True)
class Patient:
    """One patient.

    Attributes:
        patient_id: identifier.
        label: 0 or 1.
        severity: what the images show, in standard deviations of label 0.
        covariates: age (years, one decimal), sex and camera; empty if the cohort has none.
    """

    patient_id: str
    label: int
    severity: float
    covariates: Mapping[str, float | str] = field(default_factory=dict)


def draw_patients(cohort: SyntheticCohort) -> list[Patient]:
    """All patients of the cohort, in the order of their identifiers.

    Labels are the same whatever the covariates, and severities are the same except for those of `subgroup`'s camera B.
    """
    rng = np.random.default_rng([cohort.seed, 0])
    label = rng.permutation(np.arange(cohort.patients) < round(cohort.patients * cohort.positives)).astype(int)
    shift = np.sqrt(2) * ndtri(cohort.best_auc)
    severity = rng.standard_normal(cohort.patients) + shift * label
    covariates: list[dict[str, float | str]] = [{} for _ in label]
    if cohort.covariates != "none":
        age, sex, camera = _covariates(cohort, label, severity, shift)
        covariates = [
            {"age": round(float(years), 1), "sex": str(named), "camera": str(used)}
            for years, named, used in zip(age, sex, camera, strict=True)
        ]
        if cohort.covariates == "subgroup":
            severity = np.where(camera == CAMERAS[-1], severity - shift * label, severity)
    digits = max(4, len(str(cohort.patients)))
    return [
        Patient(f"p{i + 1:0{digits}d}", int(label[i]), float(severity[i]), covariates[i])
        for i in range(cohort.patients)
    ]


def _covariates(
    cohort: SyntheticCohort, label: np.ndarray, severity: np.ndarray, shift: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Age in years, sex and camera, each (patients,).

    In a confounded cohort, age is Normal(d, 1) with the condition and Normal(0, 1) without it, in standard deviations,
    and severity is (age + noise) / scale, where the noise knows nothing of the label. For d = shift * scale, severity
    then has the distribution that it has in every cohort. Age is drawn here from its distribution given both.
    """
    rng = np.random.default_rng([cohort.seed, 2])
    standard = rng.standard_normal(cohort.patients)
    if cohort.covariates == "confounded":
        scale = math.sqrt(1 + AGE_NOISE**2)
        standard = shift * scale * label + (severity - shift * label + AGE_NOISE * standard) / scale
    sex = rng.choice(["female", "male"], cohort.patients)
    return MEAN_AGE + YEARS * standard, sex, rng.choice(CAMERAS, cohort.patients)


def plan(cohort: SyntheticCohort) -> list[dict[str, Any]]:
    """The manifest: one row per image; each image can be drawn separately.

    Keys: image, label, patient_id, eye, severity, low_quality, artery_mask, vein_mask, disc_mask, fov_mask; then age,
    sex and camera, if the cohort has covariates. Paths are relative to the cohort's folder. Exactly
    `round(low_quality * images)` rows are of low quality, whatever their label.
    """
    rng = np.random.default_rng([cohort.seed, 1])
    images = 2 * cohort.patients
    low_quality = iter(rng.permutation(np.arange(images) < round(images * cohort.low_quality)))
    return [
        {
            "image": f"images/{patient.patient_id}_{eye}.jpg",
            "label": patient.label,
            "patient_id": patient.patient_id,
            "eye": eye,
            "severity": patient.severity,
            "low_quality": bool(next(low_quality)),
            "artery_mask": f"masks/{patient.patient_id}_{eye}_artery.png",
            "vein_mask": f"masks/{patient.patient_id}_{eye}_vein.png",
            "disc_mask": f"masks/{patient.patient_id}_{eye}_disc.png",
            "fov_mask": f"masks/{patient.patient_id}_{eye}_fov.png",
            **patient.covariates,
        }
        for patient in draw_patients(cohort)
        for eye in get_args(EyeSide)
    ]
