"""What the card says about the evaluation: methods of the results, controls that are on, and precision by formula."""

from benchmark.report.study_card import evaluation
from benchmark.report.study_card.items import Facts
from stats.sample_size import auc_width, patients_for_auc_width, patients_for_slope_width
from tests.benchmark.report.study_card.runs import (
    cohort_of,
    external_run,
    manifest_run,
    study_of,
    synthetic_run,
    without_results,
)

THIN = "\N{NARROW NO-BREAK SPACE}"
MANIFEST, SYNTHETIC, EXTERNAL = manifest_run(), synthetic_run(), external_run()


def text(passage):
    return " ".join(passage).replace(THIN, ",")


def changed(**changes):
    return Facts(study_of(**changes), MANIFEST.results)


def test_intervals_and_comparisons_are_those_of_the_results():
    assert MANIFEST.results.methods["patients"].name in text(evaluation.uncertainty(MANIFEST))
    assert "patients and seeds" in text(evaluation.uncertainty(MANIFEST))
    assert "seeds" not in text(evaluation.uncertainty(SYNTHETIC))
    found = text(evaluation.comparisons(changed(statistics={"confidence": 0.9, "equivalence_margin": 0.05})))
    assert "is below 0.1." in found and "less than 0.05" in found
    assert "90 % intervals" in text(evaluation.uncertainty(changed(statistics={"confidence": 0.9})))
    assert "decision curves" in text(evaluation.measures(MANIFEST))


def test_the_explanation_is_that_of_the_configuration():
    assert "the positive class were explained by Grad-CAM" in text(evaluation.explanation(MANIFEST))
    other = changed(
        explain={"method": "layercam", "target_class": 0, "scaling": "raw", "coverage": "binary"},
        vessels={"source": "wnet", "weights": "w.safetensors"},
    )
    found = text(evaluation.explanation(other))
    for said in ("the negative class", "layercam", "not scaled", "as all or none", "W-Net"):
        assert said in found


def test_only_controls_that_are_on_are_named():
    every = text(evaluation.controls(MANIFEST))
    assert "other patients' vessels" in every and "painted out" in every
    some = changed(controls={"erasure": False, "vessel_permutation": False})
    assert "painted out" not in text(evaluation.controls(some))
    assert "Adebayo" in text(evaluation.controls(some))
    assert "erasure" not in text(evaluation.robustness(some))
    off = dict.fromkeys(("erasure", "vessel_permutation", "other_class", "parameter_randomisation"), False)
    assert evaluation.controls(changed(controls=off)) == ["No control of the vessel ratios was computed."]


def test_sample_size_by_formula():
    """620 test patients, 308 of them positive."""
    first, found = evaluation.sample_size(MANIFEST)
    first = first.replace(THIN, ",")
    share = 308 / 620
    assert "620 patients, of whom 308 are positive" in first
    assert f"about {auc_width(0.75, 308, 312):.2f} or {auc_width(0.85, 308, 312):.2f} wide" in first
    needed = [f"{patients_for_auc_width(auc, share, 0.1):,}" for auc in (0.75, 0.85)]
    assert f"needs about {needed[0]} or {needed[1]} patients" in first
    assert f"about {patients_for_slope_width(0.75, share, 0.2):,} patients for the calibration slope" in first
    assert found == "The intervals of the AUCs in this run are 0.10 to 0.10 wide."
    one_class = manifest_run(cohort=cohort_of(positive_patients={"test": 0}))
    assert evaluation.sample_size(one_class) == ["All usable images were used; the program set no sample size."]
    assert len(evaluation.sample_size(without_results())) == 1


def test_internal_external_and_updating():
    assert "from 620 test patients of the same source" in text(evaluation.internal(MANIFEST))
    assert "not tested on external data" in text(evaluation.external(MANIFEST))
    assert "No model and no threshold was changed" in text(evaluation.updating(MANIFEST))
    assert "evaluated on 620 test patients" in text(evaluation.internal(EXTERNAL))
    assert "models of carotid were applied to 70 patients of other.csv" in text(evaluation.external(EXTERNAL))
    assert (
        "recalibrated (isotonic on a share of these patients and logistic on the validation images of the development "
        "study)" in text(evaluation.updating(EXTERNAL))
    )
    bare = EXTERNAL.results.external.model_copy(update={"recalibrated": []})
    without = Facts(EXTERNAL.study, EXTERNAL.results.model_copy(update={"external": bare}))
    assert "not recalibrated" in text(evaluation.updating(without))


def test_covariates_are_named_as_clusters():
    assert "age and sex" in text(evaluation.clusters(MANIFEST))
    assert evaluation.clusters(SYNTHETIC) == []
