"""Passages on people: one score per patient, characteristics of each split, subgroups, and what the image adds."""

from benchmark.report.results import Baseline, Number
from benchmark.report.study_card.items import Facts, Passage, Table
from benchmark.report.study_card.wording import SPLITS, counted, listed, percent, stated, trial_name

_LEVELS = {
    "patient_mean": "mean of a patient's scores",
    "patient_max": "highest score of a patient",
    "patient_attention": "learned attention over a patient's images",
}


def per_patient(facts: Facts) -> Passage:
    """The AUC of every trial with one score per patient, where patients have several images."""
    cohort = facts.results.cohort
    if cohort.images.get("test") == cohort.patients.get("test"):
        return []
    rows = tuple(
        (trial_name(trial), _LEVELS[level.level], counted(level.n), stated(level.measures.get("auc")))
        for trial in facts.results.trials
        for level in trial.patients
        if level.level in _LEVELS
    )
    heading = ("Trial", "Score of a patient", "Patients", "AUC")
    return [Table("AUC with one score per patient", heading, rows)] if rows else []


def characteristics(facts: Facts) -> Passage:
    """Table 1: the covariates of each split, and how many values are missing."""
    if facts.results.covariates is None:
        return []
    splits = [split for split in SPLITS if facts.results.cohort.patients.get(split)]
    baseline = {
        (row.covariate, row.category, row.patients): row
        for row in facts.results.covariates.baseline
        if row.patients in splits
    }
    rows = tuple(
        (covariate if category is None else f"{covariate}: {category}",
         *(_described(baseline.get((covariate, category, split))) for split in splits))
        for covariate, category in dict.fromkeys((covariate, category) for covariate, category, _ in baseline)
    )  # fmt: skip
    caption = "Covariates of the patients: mean (standard deviation), or number (share); missing values"
    return [Table(caption, ("Covariate", *(SPLITS[split] for split in splits)), rows)] if rows else []


def _described(row: Baseline | None) -> str:
    if row is None:
        return "–"
    if row.category is not None:
        share = "" if row.share is None or row.share.value is None else f" ({percent(round(row.share.value, 3))})"
        return f"{counted(row.count)}{share}"
    missing = f"{counted(row.n_missing)} missing of {counted(row.n_patients)}"
    if row.mean is None or row.mean.value is None:
        return missing
    spread = "" if row.sd is None else f" ({row.sd:.3g})"
    return f"{row.mean.value:.3g}{spread}; {missing}"


def subgroups(facts: Facts) -> Passage:
    """The AUC of every trial in every subgroup, and whether it differs between them."""
    found = facts.results.covariates
    if found is None:
        return []
    rows = tuple(
        (f"{each.backbone}, {each.strategy}, seed {each.seed}", f"{each.covariate}: {each.subgroup}",
         *(stated(each.measures.get(name)) for name in ("auc", "sensitivity", "specificity", "calibration_slope")))
        for each in found.subgroups
    )  # fmt: skip
    if not rows:
        return []
    heading = ("Trial", "Subgroup", "AUC", "Sensitivity", "Specificity", "Calibration slope")
    tested = [each for each in found.heterogeneity if each.measure == "auc" and each.p_holm is not None]
    differing = [
        f"{each.covariate} ({each.backbone}, {each.strategy}, seed {each.seed})" for each in tested if each.differs
    ]
    verdict = (
        f"The AUC differs between the subgroups of {listed(differing)} (adjusted for all tests)."
        if differing
        else "No difference of the AUC between subgroups is significant (adjusted for all tests), which does not show "
        "that there is none."
    )
    return [Table("Performance in subgroups", heading, rows), *([verdict] if tested else [])]


def added(facts: Facts) -> Passage:
    """Whether the score adds to the covariates."""
    if facts.results.covariates is None:
        return []
    names = {"auc_covariates": "Covariates", "auc_score": "Score", "auc_both": "Both", "auc_gain": "Gain"}
    rows = tuple(
        (f"{each.backbone}, {each.strategy}, seed {each.seed}",
         *(stated(each.measures.get(name, Number(value=None, n=0))) for name in names))
        for each in facts.results.covariates.image_adds
        if each.measures
    )  # fmt: skip
    caption = "AUC of logistic models of the covariates, of the score, and of both"
    return [Table(caption, ("Trial", *names.values()), rows)] if rows else []
