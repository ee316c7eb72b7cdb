"""Patients, covariates and subgroups on the card."""

from benchmark.report.results import Baseline, CovariateResult, ImageAdds, PatientLevel, Subgroup, SubgroupTest
from benchmark.report.study_card import groups
from tests.benchmark.report.study_card.runs import cohort_of, manifest_run, number, trial_of

THIN = "\N{NARROW NO-BREAK SPACE}"
TRIAL = {"backbone": "dinov2-tiny", "strategy": "lora", "seed": 0}


def levels():
    return [
        PatientLevel(
            level=level, n=620, n_positive=308, n_called=300, threshold=0.4, risk_intercept=0, risk_slope=1,
            measures={"auc": number(auc, 620)},
        )
        for level, auc in (("image", 0.85), ("patient_mean", 0.875), ("patient_max", 0.825))
    ]  # fmt: skip


def covariates(differs=True):
    baseline = [
        Baseline(
            covariate="age", kind="number", patients=split, n_patients=n, n_missing=missing, mean=number(mean), sd=7.25
        )
        for split, n, missing, mean in (("train", 1200, 3, 61.2), ("test", 620, 0, 63.4), ("positive", 308, 0, 66.0))
    ]
    baseline += [
        Baseline(covariate="sex", kind="category", category=category, patients="test", n_patients=620, n_missing=1,
                 count=count, share=number(share))
        for category, count, share in (("female", 341, 0.5509), ("male", 278, 0.4491))
    ]  # fmt: skip
    return CovariateResult(
        baseline=baseline,
        subgroups=[Subgroup(**TRIAL, covariate="sex", subgroup="female", measures={"auc": number(0.8, 341)})],
        heterogeneity=[
            SubgroupTest(**TRIAL, covariate="sex", measure="auc", n_subgroups=2, n_tested=2, n_missing=1, q=4.0,
                         p_value=0.01, p_holm=0.02 if differs else 0.3, differs=differs)
        ],
        image_adds=[
            ImageAdds(**TRIAL, covariates=["age", "sex"], n_missing=1, n_coefficients=5, predicts_covariates=[],
                      measures={"auc_covariates": number(0.7), "auc_both": number(0.8), "auc_gain": number(0.1)})
        ],
        score_predicts=[],
    )  # fmt: skip


def test_one_score_per_patient():
    """Not where every test patient has one image; the level of images is in another table."""
    facts = manifest_run(trials=[trial_of("lora", 0.85, patients=levels())])
    (table,) = groups.per_patient(facts)
    assert [row[1:] for row in table.rows] == [
        ("mean of a patient's scores", "620", "0.875 (0.825 to 0.925)"),
        ("highest score of a patient", "620", "0.825 (0.775 to 0.875)"),
    ]
    single = cohort_of(images={"train": 1200, "val": 300, "test": 620})
    assert groups.per_patient(manifest_run(trials=facts.results.trials, cohort=single)) == []
    assert groups.per_patient(manifest_run()) == []


def test_table_1_has_a_column_per_split():
    (table,) = groups.characteristics(manifest_run(covariates=covariates()))
    assert table.heading == ("Covariate", "training", "validation", "test")
    rows = [tuple(cell.replace(THIN, ",") for cell in row) for row in table.rows]
    assert rows == [
        ("age", "61.2 (7.25); 3 missing of 1,200", "–", "63.4 (7.25); 0 missing of 620"),
        ("sex: female", "–", "–", "341 (55.1 %)"),
        ("sex: male", "–", "–", "278 (44.9 %)"),
    ]
    assert groups.characteristics(manifest_run()) == []


def test_subgroups_with_their_test():
    table, verdict = groups.subgroups(manifest_run(covariates=covariates()))
    assert table.rows == (("dinov2-tiny, lora, seed 0", "sex: female", "0.800 (0.750 to 0.850)", "–", "–", "–"),)
    assert verdict.startswith("The AUC differs between the subgroups of sex (dinov2-tiny, lora, seed 0)")
    _, nothing = groups.subgroups(manifest_run(covariates=covariates(differs=False)))
    assert nothing.startswith("No difference of the AUC between subgroups is significant")
    assert groups.subgroups(manifest_run()) == []


def test_what_the_score_adds():
    (table,) = groups.added(manifest_run(covariates=covariates()))
    assert table.rows == (
        (
            "dinov2-tiny, lora, seed 0",
            "0.700 (0.650 to 0.750)",
            "–",
            "0.800 (0.750 to 0.850)",
            "0.100 (0.050 to 0.150)",
        ),
    )
    assert groups.added(manifest_run()) == []
