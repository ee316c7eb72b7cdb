"""The resources of a machine, compared with those that a study needs."""

import os
import re
from dataclasses import replace

import pytest
import torch

from benchmark.errors import UserError
from benchmark.preflight.doctor import machine
from benchmark.preflight.doctor.finding import Status
from benchmark.storage.lock import hold
from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import Study
from benchmark.trial.costs import GIB, Machine

PASS, WARN, FAIL = Status


def test_a_machine_without_a_gpu_is_a_warning(monkeypatch, case, statuses):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    (finding,) = machine.check_device(case())
    assert (finding.status, "no GPU" in finding.detail) == (WARN, True)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    (finding,) = machine.check_device(case())
    assert "nvidia-smi exists" in finding.detail
    assert "driver" in finding.fix
    assert statuses(machine.check_device(case(address="auto"))) == [PASS]


def test_the_resources_of_ray_are_reported(case, with_ray):
    (finding,) = machine.check_ray(with_ray(case()))
    assert (finding.status, finding.detail) == (PASS, "starts here: 4 CPUs, no GPU")
    nodes = {"nodes": 3, "gpus": 2, "gpu_memory": 80.0, "accelerators": ("H100",), "is_local": False}
    (finding,) = machine.check_ray(with_ray(case("auto"), **nodes))
    assert (finding.status, finding.detail) == (PASS, "joined, 3 nodes: 4 CPUs, 2 GPUs (H100)")


@pytest.mark.parametrize(("is_local", "status"), [(True, FAIL), (False, WARN)])
def test_a_trial_that_asks_for_more_than_there_is_would_wait(is_local, status, case, with_ray):
    greedy = case(resources={"cpus": 8, "gpus": 1})
    (finding,) = machine.check_ray(with_ray(greedy, is_local=is_local))
    assert finding.status is status
    assert "requests 8 CPUs and 1 GPUs and would wait forever" in finding.detail
    assert finding.fix.startswith("lower resources.cpus and resources.gpus in the configuration")


def test_a_cluster_that_is_not_there(case):
    absent = case(address="127.0.0.1:1")
    (finding,) = machine.check_ray(absent)
    assert finding.status is FAIL
    assert "no Ray cluster runs at 127.0.0.1:1: start one" in finding.detail
    with pytest.raises(UserError, match="no Ray cluster"):
        machine.check_memory(absent)


def test_a_container_with_little_shared_memory(statuses):
    assert statuses(machine.judge_shared_memory(8 * GIB)) == [PASS]
    (finding,) = machine.judge_shared_memory(64 * 2**20)
    assert (finding.status, "--shm-size" in finding.fix) == (WARN, True)


def test_a_temporary_folder_that_is_passed_over_is_a_warning(monkeypatch, case, tmp_path):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("x" * 81)))
    (finding,) = machine.check_temporary_folder(case())
    assert finding.status is WARN
    assert f"RAY_TMPDIR={tmp_path}" in finding.detail
    assert not machine.check_temporary_folder(case(address="auto"))


def test_no_temporary_folder(monkeypatch, case):
    monkeypatch.setattr("benchmark.scheduling.local_ray.TEMPORARY_BYTES", 2**62)
    (finding,) = machine.check_temporary_folder(case())
    assert (finding.status, "set RAY_TMPDIR" in finding.detail) == (FAIL, True)
    (finding,) = machine.check_ray(case())
    assert (finding.status, "set RAY_TMPDIR" in finding.detail) == (FAIL, True)


def test_memory_that_others_hold(monkeypatch, case, statuses):
    assert statuses(machine.judge_free_memory(8 * GIB, 16 * GIB)) == [PASS]
    (finding,) = machine.judge_free_memory(1 * GIB, 16 * GIB)
    assert (finding.status, " GiB" in finding.fix) == (WARN, True)
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.0001")
    for check in (machine.check_free_memory, machine.check_ray):
        (finding,) = check(case())
        assert (finding.status, "this machine is short of memory" in finding.detail) == (FAIL, True)


def test_few_open_files(statuses):
    assert statuses(machine.judge_open_files(1024)) == statuses(machine.judge_open_files(-1)) == [PASS]
    (finding,) = machine.judge_open_files(256)
    assert (finding.status, "ulimit -Hn" in finding.fix) == (WARN, True)


@pytest.fixture
def two_trials(case):
    """One frozen and one half-trained trial, with a batch size."""

    def made(batch_size: int) -> Study:
        chosen = {"backbones": ["dinov2-tiny"], "strategies": ["classifier_only", "partial"]}
        return case(**chosen, training={"batch_size": batch_size}).study

    return made


def room(gib: float, device: str = "cpu", trials: int = 1) -> Machine:
    return Machine(torch.device(device), device, trials, threads=1, memory=gib * GIB, half=False)


def test_enough_memory(two_trials):
    (finding,) = machine.judge_memory(two_trials(32), room(4))
    assert finding.status is PASS
    assert "4.0 GiB of main memory per trial; all 2 trials fit with 32 images at once" in finding.detail


def test_little_memory_is_reported_with_the_setting_that_fits(two_trials):
    fits, smaller = machine.judge_memory(two_trials(32), room(0.78, "cuda"))
    assert (fits.status, "1 trials fit with 32 images" in fits.detail) == (PASS, True)
    assert (smaller.status, "do these fit: dinov2-tiny-partial-s0" in smaller.detail) == (WARN, True)
    assert re.search(r"training: \{micro_batch: \d+(, checkpointing: true)?\}", smaller.fix)
    assert "by itself" in smaller.fix
    _, on_cpu = machine.judge_memory(two_trials(32), room(0.78, trials=2))
    assert "the system kills a CPU trial" in on_cpu.fix
    assert "fewer than 2 trials at once (resources.cpus)" in on_cpu.fix


def test_too_little_memory(two_trials):
    (finding,) = machine.judge_memory(two_trials(1), room(0.5))
    assert finding.status is FAIL
    assert "0.5 GiB of main memory per trial; even one image at a time" in finding.detail
    assert "dinov2-tiny-classifier_only-s0, dinov2-tiny-partial-s0" in finding.detail


def test_disk(tmp_path, case):
    (finding,) = machine.check_disk(case(backbones=["dinov2-tiny"]))
    assert finding.status is PASS
    assert f"free at {tmp_path}; the study needs" in finding.detail
    assert not (tmp_path / "run").exists()


def test_a_budget_that_leaves_embeddings_out(case):
    _, finding = machine.check_disk(case(embeddings={"max_gib": 0.001}, backbones=["dinov2-tiny"]))
    assert finding.status is WARN
    assert "embeddings of dinov2-tiny-partial-s0 do not fit into embeddings.max_gib (0.001)" in finding.detail


def test_a_full_disk(monkeypatch, case):
    monkeypatch.setattr(machine, "free_bytes", lambda path: 10 * 2**20)
    (finding,) = machine.check_disk(case(backbones=["dinov2-tiny"]))
    assert (finding.status, "choose another --out" in finding.fix) == (FAIL, True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_to_write(tmp_path, case):
    tmp_path.chmod(0o500)
    (finding,) = machine.check_run_directory(case())
    assert (finding.status, finding.fix) == (FAIL, "choose another --out")


@pytest.mark.parametrize("out", ["file", "file/run", "x" * 300])
def test_a_run_directory_that_cannot_be_made(tmp_path, case, out):
    (tmp_path / "file").touch()
    (finding,) = machine.check_run_directory(replace(case(), out=tmp_path / out))
    assert (finding.status, finding.fix) == (FAIL, "choose another --out")
    assert f"{tmp_path / out}: cannot be used as a run directory" in finding.detail
    assert len(machine.check_disk(replace(case(), out=tmp_path / out))) == 1, "the disk can still be judged"


def test_a_run_directory_that_can_be_made_is_not(tmp_path, case, statuses):
    assert statuses(machine.check_run_directory(case())) == [PASS]
    assert list(tmp_path.iterdir()) == []


def test_a_run_directory_that_holds_a_run(tmp_path, case, statuses):
    demo = case()
    RunDirectory(demo.out).claim(demo.study.dump(), resume=False)
    (finding,) = machine.check_run_directory(demo)
    assert finding.status is FAIL
    assert "already holds a run: add --resume to continue it" in f"{finding.detail}: {finding.fix}"
    assert statuses(machine.check_run_directory(replace(demo, resume=True))) == [PASS]
    RunDirectory(demo.out).complete("prepare")
    other = replace(case(cohort={"shares": {"seed": 7}}), resume=True)
    (finding,) = machine.check_run_directory(other)
    assert "different values of cohort.shares.seed (0, now 7)" in finding.detail
    assert finding.fix == "restore them, or choose another --out"


def test_a_run_directory_in_use(case):
    demo = replace(case(), resume=True)
    RunDirectory(demo.out).claim(demo.study.dump(), resume=False)
    with hold(RunDirectory(demo.out).lock):
        (finding,) = machine.check_run_directory(demo)
    assert finding.status is FAIL
    assert f"has been in use by process {os.getpid()}" in finding.detail
    assert finding.fix.startswith("wait until it has ended")


def test_without_ray_the_processors_of_this_machine_count(case):
    (finding,) = machine.check_ray(replace(case(resources={"cpus": 10_000}), quick=True))
    assert finding.status is FAIL
    assert "a trial requests 10000 CPUs" in finding.detail
