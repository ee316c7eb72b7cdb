"""Facts of runs made by hand: of a manifest, synthetic, external, without results, and with hostile names."""

from typing import Any

from benchmark.report.provenance import Machine, Program, Software
from benchmark.report.results import (
    ClassCount,
    CohortResult,
    Compared,
    Correlation,
    ExternalResult,
    Number,
    Recalibrated,
    Results,
    TrialResult,
    methods,
)
from benchmark.report.study_card.items import Facts
from benchmark.study.config import Study
from tests.benchmark.report.flows import DRAWN, EXTERNAL, FOLDER

HOSTILE = "<b>*a_ | `b`\n# [c](d)"
SHA256 = "d3ba76fbb9b25a8daa68d1369b27c296b5c3b504a1617e5ab174642c0aa890b1"
PATH = "/home/anna/secret"
SOFTWARE = Software(
    program=Program(version="0.1.0", commit="0123abc", changed=True), python="3.11.2", packages={"torch": "2.15.0"}
)
MACHINE = Machine(nodes=1, cpus=16, gpus=1, accelerators=["H200"], processor="EPYC", memory=2**37)


def study_of(**changes: Any) -> Study:
    return Study.model_validate(
        {
            "name": "carotid",
            "cohort": {"manifest": f"{PATH}/cohort.csv", "positive": ["mild", "severe"], "covariates": ["age", "sex"]},
            "backbones": ["dinov2-tiny", "dinov2-tiny-untrained"],
            "strategies": ["classifier_only", {"name": "partial", "blocks": 2}, {"name": "lora", "rank": 4}, "full"],
            "seeds": [0, 7],
        }
        | changes
    )


def number(value: float, n: int = 1234, width: float = 0.05) -> Number:
    return Number(value=value, low=value - width, high=value + width, n=n, method="patients")


def trial_of(strategy: str, auc: float, **changes: Any) -> TrialResult:
    measures = {
        "auc": number(auc), "average_precision": number(auc - 0.1), "f1": number(0.7), "brier": number(0.2),
        "sensitivity": number(0.75, 612), "specificity": number(0.5, 622), "ppv": number(0.6), "npv": number(0.66),
        "calibration_intercept": number(-0.25), "calibration_slope": number(0.9),
        "vessel_ratio": number(1.3), "vessel_ratio_fov": number(1.2),
        "vessel_ratio_fov_null": Number(value=1.1, n=1190), "auc_drop_erased": number(0.04),
        "auc_corrected": Number(value=auc - 0.01, n=1234, method="selection"),
    }  # fmt: skip
    training = {
        "learning_rate": 1e-3, "inputs": "images", "epochs": 9, "best_epoch": 7, "trainable_parameters": 12345,
        "seconds": 61.4,
    }  # fmt: skip
    counts = {"n_images": 1234, "n_patients": 620, "n_positive": 612, "n_positive_patients": 308}
    counts |= {"n_negative_patients": 312}
    named = {"backbone": "dinov2-tiny", "strategy": strategy, "seed": 0, "status": "ok"}
    values = named | counts | {"threshold": 0.4375, "predicts": auc > 0.6, "training": training, "measures": measures}
    return TrialResult(**values | changes)


def cohort_of(**changes: Any) -> CohortResult:
    classes = [("normal", 0), ("mild", 1), ("severe", 1)]
    counted = {"train": 800, "val": 200, "test": 411}
    values = {
        "source": "cohort.csv",
        "classes": {"0": "normal", "1": "mild, severe"},
        "by_class": [ClassCount(name=name, label=label, images=counted, patients=counted) for name, label in classes],
        "files_left_out": {"with the ending .txt": 38, "hidden": 2},
        "splits_given": False,
        "repeated": 17,
        "manifest_sha256": SHA256,
        "images": {"train": 2400, "val": 600, "test": 1234},
        "patients": {"train": 1200, "val": 300, "test": 620},
        "positive": {"train": 800, "val": 200, "test": 612},
        "positive_patients": {"train": 400, "val": 100, "test": 308},
        "left_out": 26,
        "test_sha256": "0" * 64,
    }
    return CohortResult(**values | changes)


def results_of(configured: Study, **changes: Any) -> Results:
    failed = TrialResult(backbone="dinov2-tiny", strategy="full", seed=7, status="train: out of memory")
    estimate = Number(value=-0.3, low=-0.7, high=0.2, p_value=0.4, n=3, method="correlation")
    values = {
        "study": configured.name,
        "finished": "2026-01-02T03:04:05+00:00",
        "notices": ["Backbones are small."],
        "cohort": cohort_of(),
        "flow": FOLDER,
        "methods": methods(configured.statistics, configured.controls),
        "trials": [trial_of("lora", 0.85), trial_of("partial", 0.8), trial_of("classifier_only", 0.52), failed],
        "comparisons": [],
        "correlations": [
            Correlation(performance="auc", explainability="vessel_ratio", coefficient="spearman", estimate=estimate,
                        n_predicting=2)
        ],
        "seeds": [],
        "weights": {
            "dinov2-tiny": {"path": f"{PATH}/dinov2.safetensors", "sha256": SHA256},
            "retfound": {"path": PATH, "sha256": "1" * 64, "repository": "lab/x", "file": "x.pth", "revision": "abc"},
            "dinov2-tiny-untrained": None,
        },
        "vessels": {"name": "masks"},
        "software": SOFTWARE,
        "machine": MACHINE,
        "seconds": {"train": 100.5, "explain": 20.0},
        "configuration": configured.dump(),
    }  # fmt: skip
    return Results(**values | changes)


def manifest_run(**changes: Any) -> Facts:
    """A run of a manifest: three trials with results and one that failed."""
    study = study_of()
    return Facts(study, results_of(study, **changes))


def synthetic_run() -> Facts:
    """A run of a synthetic cohort, in which nothing is left out."""
    study = study_of(cohort={"synthetic": {"patients": 200, "seed": 3}}, seeds=[0])
    of = {"train": 200, "val": 60, "test": 140}
    half = {split: count // 2 for split, count in of.items()}
    cohort = cohort_of(
        source="synthetic", classes=None, by_class=[], files_left_out={}, splits_given=None, repeated=0, left_out=0,
        manifest_sha256=None, images=of, patients=half, positive=half,
        positive_patients={"train": 50, "val": 15, "test": 35},
    )  # fmt: skip
    return Facts(study, results_of(study, cohort=cohort, flow=DRAWN, trials=[trial_of("lora", 0.85)]))


def external_run(with_development: bool = True) -> Facts:
    """The models of `manifest_run`, applied to 70 patients of another hospital."""
    study = study_of(cohort={"manifest": "/data/other.csv"})
    trial = {"backbone": "dinov2-tiny", "strategy": "lora", "seed": 0}
    compared = [
        Compared(
            **trial, measure=measure, internal=number(inside), external=number(outside),
            difference=number(outside - inside),
        )
        for measure, inside, outside in (("auc", 0.85, 0.75), ("brier", 0.2, 0.25), ("ece", 0.1, 0.2))
    ]  # fmt: skip
    recalibrated = [
        Recalibrated(
            **trial, method=method, fitted_on=fitted, n_fitted_images=60, n_fitted_patients=30, n_patients=70,
            measures={"brier": number(0.24), "calibration_intercept": number(0.1), "calibration_slope": number(0.8)},
        )
        for method, fitted in (("carried over", ""), ("logistic", "validation"), ("isotonic", "external"))
    ]  # fmt: skip
    external = ExternalResult(
        run="carotid",
        trained_patients=1200,
        internal_patients=620,
        compared=compared,
        recalibrated=recalibrated,
        shifts=[],
    )
    cohort = cohort_of(
        source="other.csv", classes=None, by_class=[], files_left_out={}, splits_given=False, repeated=0, left_out=0,
        images={"test": 140}, patients={"test": 70}, positive={"test": 70}, positive_patients={"test": 35},
    )  # fmt: skip
    results = results_of(
        study, study="other hospital", cohort=cohort, flow=EXTERNAL, external=external, trials=[trial_of("lora", 0.75)]
    )
    return Facts(study, results, manifest_run().results if with_development else None)


def without_results() -> Facts:
    """A run in which every trial failed, reported by an earlier version that counted no flow."""
    failed = [TrialResult(backbone="dinov2-tiny", strategy="lora", seed=0, status="train: out of memory")]
    return manifest_run(trials=failed, flow=None, correlations=[])


def hostile_run() -> Facts:
    """A run with markup in every name of the user."""
    study = study_of(name=HOSTILE.replace("/", ""))
    cohort = cohort_of(source=HOSTILE, classes={"0": HOSTILE, "1": HOSTILE})
    failed = TrialResult(backbone=HOSTILE, strategy=HOSTILE, seed=0, status=HOSTILE)
    trials = [trial_of(HOSTILE, 0.8), failed]
    return Facts(study, results_of(study, cohort=cohort, notices=[HOSTILE], trials=trials))


RUNS = {
    "manifest": manifest_run,
    "synthetic": synthetic_run,
    "external": external_run,
    "external alone": lambda: external_run(with_development=False),
    "without results": without_results,
    "hostile": hostile_run,
}
