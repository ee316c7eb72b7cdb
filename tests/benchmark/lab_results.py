"""results.json of labs, written by hand."""

from benchmark.report.provenance import Machine, Program, Software
from benchmark.report.results import CohortResult, Number, Results, TrialResult, methods
from benchmark.study.config import Controls, Statistics

SOFTWARE = Software(program=Program(version="0.1.0", commit=None, changed=None), python="3.11.2", packages={})
MACHINE = Machine(nodes=1, cpus=2, gpus=0, accelerators=[], processor=None, memory=None)


def results_of(study="carotid", cohort="lab_a.csv", patients="ab", weights=None, notices=(), **aucs):
    """A run whose cells are `backbone__strategy=AUC`; None: the cell failed.

    patients: the first part of the digest of the test patients; weights, notices: as in `Results`.
    """
    cells = []
    for name, auc in aucs.items():
        backbone, _, strategy = name.partition("__")
        named = {"backbone": backbone, "strategy": strategy, "seed": 0}
        if auc is None:
            cells.append(TrialResult(**named, status="train: out of memory"))
            continue
        measures = {
            "auc": Number(value=auc, low=auc - 0.05, high=auc + 0.04, n=80, method="patients"),
            "vessel_ratio": Number(value=1 + auc, low=auc, high=2 + auc, n=75, method="patients"),
        }
        counts = {
            "n_images": 80,
            "n_patients": 40,
            "n_positive": 30,
            "n_positive_patients": 16,
            "n_negative_patients": 25,
        }
        cells.append(TrialResult(**named, status="ok", **counts, measures=measures))
    split = {"train": 200, "val": 40, "test": 80}
    return Results(
        study=study,
        finished="2026-01-02T03:04:05+00:00",
        notices=list(notices),
        cohort=CohortResult(
            source=cohort, images=split, patients=split, positive=split, left_out=0, test_sha256=patients.ljust(64, "0")
        ),
        methods=methods(Statistics(), Controls()),
        trials=cells,
        comparisons=[],
        correlations=[],
        seeds=[],
        weights=weights or {},
        vessels={},
        software=SOFTWARE,
        machine=MACHINE,
        seconds={},
        configuration={},
    )
