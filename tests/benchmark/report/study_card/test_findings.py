"""Every number of the results on the card is that of results.json."""

from benchmark.report.study_card import findings
from tests.benchmark.report.study_card.runs import (
    cohort_of,
    external_run,
    manifest_run,
    synthetic_run,
    trial_of,
    without_results,
)

THIN = "\N{NARROW NO-BREAK SPACE}"
MANIFEST, SYNTHETIC, EXTERNAL, EMPTY = manifest_run(), synthetic_run(), external_run(), without_results()


def test_the_best_trial_and_its_optimism():
    (found,) = findings.best(MANIFEST)
    assert found.replace(THIN, ",") == (
        "The highest AUC was 0.850 (0.800 to 0.900), of dinov2-tiny, lora, seed 0, on 1,234 test images of 620 "
        "patients. It is the highest of 3 trials and therefore probably too high; corrected for this, it is 0.840. "
        "2 of 3 trials were shown to predict better than chance."
    )
    assert findings.best(EMPTY) == []


def test_tables_have_one_row_per_trial_with_results():
    for fill in (findings.performance, findings.calls, findings.saliency):
        table = fill(MANIFEST)[0]
        assert [row[0] for row in table.rows] == [
            f"dinov2-tiny, {name}, seed 0" for name in ("lora", "partial", "classifier_only")
        ]
        assert "95 % intervals over patients" in table.caption
        assert all(len(row) == len(table.heading) for row in table.rows)
        assert fill(EMPTY) == []


def test_values_are_those_of_the_results():
    (table,) = findings.performance(MANIFEST)
    first = dict(zip(table.heading, table.rows[0], strict=True))
    assert first["AUC"] == "0.850 (0.800 to 0.900)"
    assert first["Calibration intercept"] == "−0.250 (−0.300 to −0.200)"
    (calls,) = findings.calls(MANIFEST)
    assert calls.rows[0][1:4] == ("0.438", "0.750 (0.700 to 0.800)", "0.500 (0.450 to 0.550)")
    nobody = manifest_run(trials=[trial_of("lora", 0.8, threshold=None)])
    assert findings.calls(nobody)[0].rows[0][1] == "none"
    saliency = findings.saliency(MANIFEST)
    assert saliency[0].rows[0][1:4] == ("1.300 (1.250 to 1.350)", "1.200 (1.150 to 1.250)", "1.100")
    assert "Spearman −0.30 (−0.70 to 0.20)" in saliency[1]


def test_a_measure_that_no_trial_has_is_no_column():
    bare = trial_of("lora", 0.8)
    measures = {name: value for name, value in bare.measures.items() if name not in ("brier", "auc_drop_erased")}
    facts = manifest_run(trials=[bare.model_copy(update={"measures": measures})], correlations=[])
    assert "Brier score" not in findings.performance(facts)[0].heading
    assert "AUC lost without vessels" not in findings.saliency(facts)[0].heading


def test_wrong_calls_are_counted():
    """A sensitivity of 0.75 of 612 and a specificity of 0.5 of 622."""
    table = findings.wrong_calls(MANIFEST)[0]
    assert table.rows[0] == ("dinov2-tiny, lora, seed 0", "153 of 612", "311 of 622")
    assert findings.wrong_calls(EMPTY) == []


def test_patients_of_every_step():
    (table,) = findings.analysed(MANIFEST)
    assert [row[0] for row in table.rows] == ["Training", "Choice of epoch and thresholds", "Evaluation"]
    (external,) = findings.analysed(EXTERNAL)
    assert external.rows[0][1].replace(THIN, ",") == "2,400", "the development cohort"
    assert external.rows[2][1:] == ("140", "70", "70", "35")


def test_internal_and_external_side_by_side():
    (table,) = findings.side_by_side(EXTERNAL)
    assert [row[1] for row in table.rows] == ["AUC", "Brier score"]
    assert table.rows[0][2:] == ("0.850 (0.800 to 0.900)", "0.750 (0.700 to 0.800)", "−0.100 (−0.150 to −0.050)")
    (calibration,) = findings.recalibrated(EXTERNAL)
    assert [row[1] for row in calibration.rows] == [
        "carried over", "logistic, fitted on validation images", "isotonic, fitted on external images",
    ]  # fmt: skip
    assert findings.side_by_side(MANIFEST) == findings.recalibrated(MANIFEST) == []


def test_limits_follow_from_the_run():
    (found,) = findings.limits(MANIFEST)
    assert "come from one source" in found
    assert "1 of 3 trials are not shown" in found
    assert "26 images could not be used" in found
    assert "synthetic" not in found and "trained once" not in found
    (drawn,) = findings.limits(SYNTHETIC)
    assert "synthetic" in drawn and "trained once" in drawn
    few = manifest_run(cohort=cohort_of(positive_patients={"test": 4}))
    assert "A class has only 4 test patients." in findings.limits(few)[0]
    assert "one source" not in " ".join(findings.limits(EXTERNAL))
    assert "refuses files" in findings.handling(MANIFEST)[0]
