"""Passages on the evaluation: measures, intervals, tests, explanations and their controls, and sample size."""

from benchmark.report.flow_words import number
from benchmark.report.study_card.items import Facts, Passage
from benchmark.report.study_card.wording import counted, listed, percent
from benchmark.study.controls import CONTROLS
from benchmark.trial.figures import method_name
from stats.sample_size import (
    auc_width,
    patients_for_auc_width,
    patients_for_observed_expected_width,
    patients_for_slope_width,
)

AUCS = (0.75, 0.85)  # assumed for the precision to expect
WIDTH, CALIBRATION_WIDTH = 0.1, 0.2  # of intervals that a study may aim at
_CONTROLS = {
    "vessel_permutation": "the ratio of the same maps on other patients' vessels, and on the eye's own vessels rotated",
    "other_class": "the ratio of the maps of the other class",
    "parameter_randomisation": "the similarity of the maps to those of models whose weights were set to random values "
    "(Adebayo et al. 2018)",
    "erasure": "the AUC on images from which the vessels were painted out, compared with images from which as much was "
    "painted out elsewhere",
}

_SOURCES = {
    "masks": "files named in the listing",
    "wnet": "W-Net (lwnet)",
    "bfnet": "AutoMorph's BF-Net ensemble",
    "automorph_results": "the results of an AutoMorph run",
}


def measures(facts: Facts) -> Passage:
    """Measures and plots of performance, and how trials were compared."""
    return [
        "Discrimination: AUC, average precision, ROC curves. Decisions at thresholds from validation: F1, sensitivity, "
        "specificity, positive and negative predictive value, balanced accuracy. Calibration: intercept, slope, "
        "calibration curves, expected calibration error, Brier score. Clinical utility: decision curves with net "
        "benefit. All are computed over the test images."
    ]


def comparisons(facts: Facts) -> Passage:
    """How trials were compared with each other."""
    margin = facts.study.statistics.equivalence_margin
    return [
        f"Trials were compared in pairs on the same patients ({facts.results.methods['paired'].name}). p-values were "
        "adjusted for all pairs of a measure (Holm 1979). An AUC counts as above chance if its p-value, adjusted for "
        f"all trials, is below {1 - facts.study.statistics.confidence:.2g}. Two AUCs that differ by less than "
        f"{margin:g} count as equivalent."
    ]


def uncertainty(facts: Facts) -> Passage:
    """How intervals were computed."""
    confidence = percent(facts.study.statistics.confidence)
    method = facts.results.methods["patients"].name
    several = len(facts.study.seeds) > 1
    seeds = " Intervals of means over seeds cover patients and seeds." if several else ""
    return [
        f"Intervals are {confidence} intervals over patients, because images of one patient are similar: {method}."
        f"{seeds}"
    ]


def explanation(facts: Facts) -> Passage:
    """How maps were made, and how they were compared with the vessels."""
    explain = facts.study.explain
    which = "positive" if explain.target_class else "negative"
    scaling = "scaled to 0..1 per image" if explain.scaling == "minmax" else "not scaled"
    source = _SOURCES.get(facts.study.vessels.source, facts.study.vessels.source)
    share = "by the share of it that is vessel" if explain.coverage == "share" else "as all or none"
    return [
        f"Predictions of the {which} class were explained by {method_name(explain.method)} at {explain.open().layer} "
        f"for every test image; maps were {scaling}. The vessel ratio of an image is the mean of its map inside "
        f"vessels divided by the mean elsewhere, in the whole image and inside the field of view; a pixel counts "
        f"{share}. Vessel masks: {source}."
    ]


def controls(facts: Facts) -> Passage:
    """How explanations were validated."""
    on = [_CONTROLS[name] for name in CONTROLS if getattr(facts.study.controls, name)]
    if not on:
        return ["No control of the vessel ratios was computed."]
    return [f"The explanations were controlled by {'; '.join(on)}."]


def robustness(facts: Facts) -> Passage:
    """What was varied."""
    seeds = len(facts.study.seeds)
    varied = [
        "the vessel ratio under other conventions (field of view, scaling of maps, average over patients, ratio of "
        "sums, without flagged masks; ratios.csv)",
        *(["training seeds (seeds.csv, repeatability.csv)"] if seeds > 1 else []),
        *(["images without vessels (erasure)"] if facts.study.controls.erasure else []),
    ]
    return [f"Sensitivity analyses: {'; '.join(varied)}."]


def internal(facts: Facts) -> Passage:
    """Evaluation on patients of the same source."""
    if facts.external is not None:
        return [
            f"In the study {facts.external.run}, the models were evaluated on "
            f"{number(facts.external.internal_patients, 'test patient')} of the source on which they were trained; the "
            "page of this cohort has both evaluations side by side."
        ]
    patients = facts.results.cohort.patients.get("test", 0)
    return [
        f"All reported measures are from {number(patients, 'test patient')} of the same source who were used neither "
        "for training nor for validation (split sample; one division of the patients)."
    ]


def external(facts: Facts) -> Passage:
    """Evaluation on patients of another source."""
    if facts.external is not None:
        patients = facts.results.cohort.patients.get("test", 0)
        return [
            f"The models of {facts.external.run} were applied to {number(patients, 'patient')} of "
            f"{facts.results.cohort.source}, with weights, thresholds and preprocessing unchanged. A cohort "
            "with a patient id of the development cohort is refused."
        ]
    return ["This card is of a run without images of another source: its models were not tested on external data here."]


def updating(facts: Facts) -> Passage:
    """Whether a model was changed after its evaluation."""
    unchanged = "No model and no threshold was changed after it was applied to the test images."
    if facts.external is None:
        return [unchanged]
    ways = {(each.method, each.fitted_on) for each in facts.external.recalibrated if each.fitted_on}
    if not ways:
        return [f"{unchanged} Risks were not recalibrated."]
    where = {"validation": "the validation images of the development study", "external": "a share of these patients"}
    named = listed(f"{method} on {where.get(fitted, fitted)}" for method, fitted in sorted(ways))
    return [
        f"{unchanged} In addition, risks were recalibrated ({named}) and are reported next to those carried over, on "
        "patients on whom nothing was fitted."
    ]


def sample_size(facts: Facts) -> Passage:
    """What the number of test patients allows, and what more precision needs."""
    cohort = facts.results.cohort
    patients, positives = cohort.patients.get("test", 0), cohort.positive_patients.get("test", 0)
    whole = "All usable images were used; the program set no sample size."
    if not 0 < positives < patients:
        return [whole]
    confidence, prevalence = facts.study.statistics.confidence, positives / patients
    widths = [auc_width(auc, positives, patients - positives, confidence) for auc in AUCS]
    needed = [patients_for_auc_width(auc, prevalence, WIDTH, confidence) for auc in AUCS]
    slope = patients_for_slope_width(AUCS[0], prevalence, CALIBRATION_WIDTH, confidence)
    ratio = patients_for_observed_expected_width(prevalence, CALIBRATION_WIDTH, confidence)
    return [
        f"{whole} The test set has {number(patients, 'patient')}, of whom {counted(positives)} are positive. With "
        f"these numbers, the {percent(confidence)} interval of an AUC of {AUCS[0]:.2f} or {AUCS[1]:.2f} is expected to "
        f"be about {widths[0]:.2f} or {widths[1]:.2f} wide. A width of {WIDTH:.2f} needs about {counted(needed[0])} or "
        f"{counted(needed[1])} patients with this share of positives (Hanley & McNeil 1982). For an AUC of "
        f"{AUCS[0]:.2f}, a width of {CALIBRATION_WIDTH:.1f} needs about {counted(slope)} patients for the calibration "
        f"slope and {counted(ratio)} for observed / expected positives (Riley et al. 2021).",
        *_found(facts),
    ]


def _found(facts: Facts) -> Passage:
    """The widths that the intervals have."""
    aucs = [trial.measures["auc"] for trial in facts.results.trials if "auc" in trial.measures]
    widths = [auc.high - auc.low for auc in aucs if auc.low is not None and auc.high is not None]
    if not widths:
        return []
    return [f"The intervals of the AUCs in this run are {min(widths):.2f} to {max(widths):.2f} wide."]


def clusters(facts: Facts) -> Passage:
    """Clusters other than patients."""
    named = list(facts.study.cohort.covariates)
    if not named:
        return []
    return [f"The manifest's columns {listed(named)} were read as covariates."]
