"""The facts about a study that the checks need."""

import pytest

from benchmark.trial.costs import GIB


def test_a_clusters_gpus_give_the_memory(case, with_ray):
    joined = with_ray(case("auto"), cpus=64, gpus=4, gpu_memory=24.0, accelerators=("A10G",), is_local=False)
    assert (joined.machine.name, joined.machine.trials) == ("A10G", 4)
    assert joined.machine.memory == pytest.approx(0.9 * 24 * GIB)
