"""The study of a finished run with another cohort, as `validate` reads it; trials are in test_predict.py."""

import pytest
import yaml

from benchmark.errors import UserError
from benchmark.reuse.finished import find_run
from benchmark.study.config import Study

STUDY = {
    "name": "small",
    "cohort": {"manifest": "own.csv", "labels": "eye"},
    "vessels": {"source": "wnet", "weights": "own.safetensors"},
    "backbones": ["openclip-tiny"],
    "strategies": ["classifier_only"],
    "external": [{"name": "A", "manifest": "a.csv"}],
}


@pytest.fixture
def run(tmp_path):
    values = Study.model_validate(STUDY).dump()
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return tmp_path


def test_the_cohort_replaces_those_of_the_run(run):
    study = find_run(run, {"name": "B", "manifest": run / "b.csv"}, {"external.0.columns.label": "grade"}, {})
    (external,) = study.external
    assert (external.name, external.manifest, external.vessels) == ("B", run / "b.csv", None)
    applied = external.study(study).cohort
    assert (applied.labels, applied.columns.label) == ("eye", "grade")


def test_vessels_are_completed_by_those_of_the_run(run):
    vessels = {"source": None, "weights": run / "b.safetensors"}
    study = find_run(run, {"name": "B", "manifest": run / "b.csv", "vessels": vessels}, {}, {})
    assert study.external[0].vessels.source == "wnet"
    assert study.external[0].vessels.weights == run / "b.safetensors"


def test_faults_name_the_option(run):
    cohort = {"name": "B/C", "manifest": run / "b.csv"}
    with pytest.raises(UserError, match=r"^--name: 'B/C' is not a name"):
        find_run(run, cohort, {}, {"external.0.name": "--name"})
    with pytest.raises(UserError, match=r"^--set colums.label: "):
        find_run(run, cohort | {"name": "B"}, {"external.0.colums.label": "grade"}, {})


def test_no_run(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        find_run(tmp_path, {}, {}, {})
