"""Passages on the results: performance of every trial, wrong calls, explanations, and limits that the run knows."""

from benchmark.report.flow_words import number
from benchmark.report.results import Number, TrialResult
from benchmark.report.study_card.items import Facts, Passage, Table
from benchmark.report.study_card.wording import counted, percent, stated, trial_name
from benchmark.study.patients import FEWEST

_DISCRIMINATION = {"AUC": "auc", "Average precision": "average_precision", "F1": "f1"}
_CALLS = {"Sensitivity": "sensitivity", "Specificity": "specificity", "PPV": "ppv", "NPV": "npv"}
_RISKS = {
    "Brier score": "brier",
    "Calibration intercept": "calibration_intercept",
    "Calibration slope": "calibration_slope",
}
_SALIENCY = {
    "Vessel ratio": "vessel_ratio",
    "Vessel ratio, field of view": "vessel_ratio_fov",
    "On other patients' vessels": "vessel_ratio_fov_null",
    "AUC lost without vessels": "auc_drop_erased",
}


def _done(facts: Facts) -> list[TrialResult]:
    return [trial for trial in facts.results.trials if trial.status == "ok"]


def best(facts: Facts) -> Passage:
    """The highest AUC, and how much of it may be luck."""
    done = _done(facts)
    if not done or "auc" not in done[0].measures:
        return []
    first = done[0]
    corrected = first.measures.get("auc_corrected")
    luck = (
        f" It is the highest of {len(done)} trials and therefore probably too high; corrected for this, it is "
        f"{corrected.value:.3f}."
        if corrected is not None and corrected.value is not None
        else ""
    )
    predicting = sum(trial.predicts is True for trial in done)
    return [
        f"The highest AUC was {stated(first.measures['auc'])}, of {trial_name(first)}, on "
        f"{number(first.n_images or 0, 'test image')} of {number(first.n_patients or 0, 'patient')}.{luck} "
        f"{predicting} of {number(len(done), 'trial')} {'was' if predicting == 1 else 'were'} shown to predict better "
        "than chance."
    ]


def performance(facts: Facts) -> Passage:
    """Discrimination and calibration of every trial."""
    return _table(facts, "Performance on the test images", _DISCRIMINATION | _RISKS)


def calls(facts: Facts) -> Passage:
    """Decisions of every trial at its threshold."""
    tables = _table(facts, "Decisions at the threshold from validation (highest F1)", _CALLS)
    return [_with_thresholds(table, _done(facts)) if isinstance(table, Table) else table for table in tables]


def _with_thresholds(table: Table, done: list[TrialResult]) -> Table:
    thresholds = ["none" if trial.threshold is None else f"{trial.threshold:.3f}" for trial in done]
    rows = tuple((row[0], at, *row[1:]) for row, at in zip(table.rows, thresholds, strict=True))
    return Table(table.caption, (table.heading[0], "Threshold", *table.heading[1:]), rows)


def saliency(facts: Facts) -> Passage:
    """The vessel ratios of every trial with their controls."""
    tables = _table(facts, "Saliency inside vessels, and what it is compared with", _SALIENCY)
    correlation = next(
        (each for each in facts.results.correlations if (each.performance, each.coefficient) == ("auc", "spearman")),
        None,
    )
    if correlation is None or correlation.estimate.value is None:
        return tables
    found = stated(correlation.estimate, 2)
    which = correlation.explainability.replace("_", " ")
    return [*tables, f"AUC against {which} over {correlation.estimate.n} cells: Spearman {found}, other patients."]


def _table(facts: Facts, caption: str, named: dict[str, str]) -> Passage:
    """One row per trial, without measures that no trial has."""
    done = _done(facts)
    known = {
        title: name
        for title, name in named.items()
        if any(trial.measures.get(name, Number(value=None, n=0)).value is not None for trial in done)
    }
    if not known:
        return []
    rows = tuple((trial_name(each), *(stated(each.measures.get(name)) for name in known.values())) for each in done)
    interval = percent(facts.study.statistics.confidence)
    return [Table(f"{caption}, with {interval} intervals over patients", ("Trial", *known), rows)]


def side_by_side(facts: Facts) -> Passage:
    """For an external validation: what the change of patients costs."""
    if facts.external is None:
        return []
    names = {"auc": "AUC", "brier": "Brier score", "calibration_slope": "Calibration slope"}
    rows = tuple(
        (f"{each.backbone}, {each.strategy}, seed {each.seed}", names[each.measure], stated(each.internal),
         stated(each.external), stated(each.difference))
        for each in facts.external.compared
        if each.measure in names and each.point is None
    )  # fmt: skip
    heading = ("Trial", "Measure", "Development cohort (test patients)", "Validation cohort", "Difference")
    return [Table("Internal and external evaluation of the same models", heading, rows)] if rows else []


def recalibrated(facts: Facts) -> Passage:
    """Calibration before and after recalibration."""
    if facts.external is None:
        return []
    rows = tuple(
        (f"{each.backbone}, {each.strategy}, seed {each.seed}",
         f"{each.method}{f', fitted on {each.fitted_on} images' if each.fitted_on else ''}",
         *(stated(each.measures.get(name)) for name in _RISKS.values()))
        for each in facts.external.recalibrated
    )  # fmt: skip
    return [Table("Calibration in the validation cohort", ("Trial", "Risks", *_RISKS), rows)] if rows else []


def analysed(facts: Facts) -> Passage:
    """How many patients and positives each step used."""
    cohort = (facts.development or facts.results).cohort
    test = facts.results.cohort
    steps = {
        "Training": (cohort, "train"),
        "Choice of epoch and thresholds": (cohort, "val"),
        "Evaluation": (test, "test"),
    }
    rows = tuple(
        (name, *(counted(column.get(split)) for column in (of.images, of.positive, of.patients, of.positive_patients)))
        for name, (of, split) in steps.items()
        if split in of.images
    )
    return [Table("Used in each step", ("Step", "Images", "Positive images", "Patients", "Positive patients"), rows)]


def wrong_calls(facts: Facts) -> Passage:
    """How often each trial was wrong, by label, and where to look at these images."""
    rows = []
    for trial in _done(facts):
        sensitivity, specificity = trial.measures.get("sensitivity"), trial.measures.get("specificity")
        rates = [each.value for each in (sensitivity, specificity) if each is not None and each.value is not None]
        if len(rates) == 2 and trial.n_positive is not None and trial.n_images is not None:
            negative = trial.n_images - trial.n_positive
            missed, alarms = (
                round((1 - rate) * n) for rate, n in zip(rates, (trial.n_positive, negative), strict=True)
            )
            rows.append((trial_name(trial), f"{missed} of {trial.n_positive}", f"{alarms} of {negative}"))
    if not rows:
        return []
    heading = ("Trial", "Positive images called negative", "Negative images called positive")
    return [
        Table("Wrong calls on the test images at the threshold from validation", heading, tuple(rows)),
        "The page of each trial shows all test images with their maps, and can show the wrong calls alone.",
    ]


def limits(facts: Facts) -> Passage:
    """Limits that follow from what the run knows."""
    cohort, done = facts.results.cohort, _done(facts)
    found = ["Training and test images come from one source."] if facts.external is None else []
    if facts.study.cohort.synthetic is not None:
        found.append("The images are synthetic, so the results say nothing about patients.")
    positives = cohort.positive_patients.get("test")
    if positives is not None:
        fewest = min([positives, *(trial.n_negative_patients or positives for trial in done)])
        if fewest < FEWEST:
            found.append(f"A class has only {number(fewest, 'test patient')}.")
    unshown = sum(trial.predicts is False for trial in done)
    if unshown:
        found.append(f"{unshown} of {len(done)} trials are not shown to predict better than chance.")
    if len(facts.study.seeds) == 1:
        found.append("Each cell was trained once: differences between trials include chance in training.")
    if cohort.left_out:
        found.append(f"{number(cohort.left_out, 'image')} could not be used.")
    return [" ".join(found)] if found else []


def handling(facts: Facts) -> Passage:
    """What the program does with poor input."""
    return [
        "The command `predict` refuses files that cannot be used as an image, for the same reasons as in this run. It "
        "gives a score to every other image, also to one of poor quality or of another part of the eye."
    ]
