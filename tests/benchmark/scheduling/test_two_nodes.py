"""The same study on this machine alone and on a cluster of two nodes: the same numbers."""

import pytest

from benchmark.stages.pipeline import run_study
from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import Study


@pytest.mark.slow
def test_a_cluster_gives_the_same_leaderboard(two_nodes, tmp_path):
    study = Study.model_validate(
        {
            "name": "tiny",
            "cohort": {"synthetic": {"patients": 20, "image_size": 128}},
            "backbones": ["dinov2-tiny"],
            "strategies": ["classifier_only", {"name": "lora", "rank": 2}],
            "training": {"epochs": 2, "batch_size": 8, "views": 2},
            "statistics": {"resamples": 200},
        }
    )
    run_study(study, tmp_path / "local")
    run_study(study, tmp_path / "cluster", cluster=two_nodes)
    local, cluster = (RunDirectory(tmp_path / name).leaderboard("csv").read_text() for name in ("local", "cluster"))
    assert local.count("ok") == 2
    assert cluster == local
