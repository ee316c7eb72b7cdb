"""Estimates compared with measurements by PyTorch and the system, with arithmetic, and with each other."""

import itertools
import json
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from benchmark.study.config import StrategyChoice, load_study
from benchmark.study.trials import trials_of
from benchmark.trial import costs
from benchmark.trial.cache import CachePlan
from benchmark.trial.costs import (
    GIB,
    PROCESS,
    Machine,
    block_seconds,
    cached_blocks,
    cost_of,
    disk_bytes,
    embedding_seconds,
    footprint_on,
    free_bytes,
    main_memory,
    memory,
    step_bytes,
    this_machine,
    trains_from_images,
)
from tests.benchmark.training_step import ON_ANY_PROCESSOR, allocated

ROOT = Path(__file__).resolve().parents[3]
CPU = Machine(torch.device("cpu"), "CPU", trials=1, threads=1, memory=8 * GIB, half=False)
GPU = Machine(torch.device("cuda"), "some GPU", trials=1, threads=1, memory=40 * GIB, half=True)
SIZES = {"train": 100, "val": 20, "test": 50}
FULL, PARTIAL, LORA, CLASSIFIER = (StrategyChoice(name=name) for name in ("full", "partial", "lora", "classifier_only"))


@pytest.fixture(scope="module")
def apart():
    """A separate process, in which torch behaves the same on every processor."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ON_ANY_PROCESSOR.items():
            patch.setenv(name, value)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            yield process


def of_twelve_blocks(strategy, checkpointing, half):
    case = ("timm:vit_tiny_patch16_224", strategy, 2, checkpointing, half)
    return pytest.param(case, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "case",
    [
        ("dinov2-tiny", "full", 8, False, False),
        ("retfound-tiny", "partial", 16, True, True),
        *itertools.starmap(of_twelve_blocks, itertools.product(["full", "partial", "lora"], *[[False, True]] * 2)),
    ],
    ids=lambda case: "-".join(map(str, case)),
)
def test_memory_of_a_step_is_what_is_allocated(case, apart):
    """Blocks are extrapolated from three and four."""
    name, strategy, *rest = case
    real = apart.submit(allocated, *case).result()
    assert step_bytes(name, StrategyChoice(name=strategy), *rest) == pytest.approx(real, rel=0.03)


@pytest.mark.slow
@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's peak of resident memory")
def test_memory_of_a_step_is_what_the_system_measures():
    cases = [
        ("dinov2-tiny", "full", 8, False, False),
        ("openclip-tiny", "partial", 16, True, True),
        ("timm:vit_tiny_patch16_224", "lora", 8, False, True),
    ]
    # The C library would keep freed memory; with this it returns it to the system at once.
    environment = os.environ | ON_ANY_PROCESSOR | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-m", "tests.benchmark.training_step", json.dumps(cases)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    for (name, strategy, *rest), real in zip(cases, json.loads(done.stdout), strict=True):
        assert step_bytes(name, StrategyChoice(name=strategy), *rest) == pytest.approx(real, rel=0.05), (strategy, rest)


def test_blocks_that_differ_are_not_extrapolated():
    """Adapters only in the last block: no activations before it are kept."""
    last = StrategyChoice(name="lora", targets=r"blocks\.3\.attn\.qkv")
    assert step_bytes("dinov2-tiny", last, 8, False, False) < 0.5 * step_bytes("dinov2-tiny", LORA, 8, False, False)


@pytest.mark.parametrize(
    "strategy",
    [PARTIAL, pytest.param(FULL, marks=pytest.mark.slow), pytest.param(LORA, marks=pytest.mark.slow)],
    ids=lambda choice: choice.name,
)
def test_smaller_pieces_and_checkpointing_take_less(strategy):
    whole, half_of_it = (step_bytes("retfound-tiny", strategy, batch, False, False) for batch in (16, 8))
    assert 0.4 * whole < half_of_it < 0.7 * whole
    assert step_bytes("retfound-tiny", strategy, 16, True, False) < whole
    assert step_bytes("retfound-tiny", strategy, 16, False, True) < whole


def study(**overrides):
    return load_study(ROOT / "configs" / "demo.yaml", overrides)


def trial(study, backbone, strategy):
    (found,) = (c for c in trials_of(study) if (c.backbone.name, c.strategy.name) == (backbone, strategy))
    return found


def test_a_classifier_on_cached_features_holds_the_model_but_no_activations():
    whole = 4 * (540_384 + 2 * 96 + 2)
    for batch in (1, 64):
        taken = memory(trial(study(), "retfound-tiny", "classifier_only"), batch, False, CPU)
        assert taken - PROCESS == pytest.approx(whole + 12 * 194, abs=100_000)


def test_main_memory_also_keeps_the_best_epoch():
    full = trial(study(strategies=["full"]), "retfound-tiny", "full")
    on_cpu, on_gpu = (memory(full, 4, False, replace(machine, half=False)) for machine in (CPU, GPU))
    assert on_cpu - on_gpu == 4 * (540_384 + 194)


def test_what_trains():
    lora = 4 * 4 * ((96 + 3 * 96) + (96 + 96))  # rank 4 on qkv and proj of four blocks
    for strategy, count in {"classifier_only": 194, "lora": lora + 194}.items():
        chosen = trial(study(), "openclip-tiny", strategy)
        assert cost_of(study(), chosen, SIZES, cached_blocks(study(), SIZES, ROOT), CPU).trainable == count


def test_time_counts_passes_through_blocks(monkeypatch):
    monkeypatch.setattr(costs, "block_seconds", lambda name, device, threads: 1.0)
    made = study(strategies=["classifier_only", {"name": "partial", "blocks": 1}, "full"], training={"epochs": 5})
    names = ("openclip-tiny", "dinov2-tiny", "retfound-tiny")
    cached, uncached = (CachePlan(dict.fromkeys(names, blocks), {n: [] for n in names}) for blocks in ([3, 4], []))

    def times(strategy, cached, study=made):
        return cost_of(study, trial(study, "dinov2-tiny", strategy), SIZES, cached, CPU)

    assert times("classifier_only", cached).epoch == 0
    assert times("classifier_only", uncached).epoch == (100 + 20) * 4
    assert times("partial", cached).epoch == 100 * 3 * 1 + 20 * 1
    assert times("partial", uncached).epoch == 100 * (3 + 3 * 1) + 20 * 4
    assert times("full", uncached).epoch == 100 * 3 * 4 + 20 * 4
    again = made.model_copy(update={"training": replace(made.training, checkpointing=True)})
    assert times("full", uncached, again).epoch == 100 * 4 * 4 + 20 * 4
    assert times("partial", cached).seconds == 5 * (100 * 3 + 20) + 50 * 1  # Grad-CAM of the test images
    assert times("partial", uncached).seconds == 5 * (100 * 6 + 20 * 4) + 50 * 4
    views = 170 + 100 * (made.training.views - 1)
    assert embedding_seconds(made, SIZES, cached, CPU) == views * 4 * 3
    assert embedding_seconds(made, SIZES, uncached, CPU) == 0
    pooled = CachePlan({"dinov2-tiny": [4]}, {"dinov2-tiny": [3]})
    assert embedding_seconds(made, SIZES, pooled, CPU) == views * 4, "in the same pass"
    further = CachePlan({"dinov2-tiny": [2]}, {"dinov2-tiny": [3]})
    assert embedding_seconds(made, SIZES, further, CPU) == views * 2 + 50 * 1
    alone = CachePlan({"dinov2-tiny": [4]}, {"dinov2-tiny": []})
    assert [times("classifier_only", plan).seconds for plan in (pooled, alone)] == [50 * 1, 50 * 4]


def test_adapters_spare_most_of_the_weights_gradients(monkeypatch):
    monkeypatch.setattr(costs, "block_seconds", lambda name, device, threads: 1.0)
    none = CachePlan({"dinov2-tiny": []}, {"dinov2-tiny": []})
    epoch = cost_of(study(), trial(study(), "dinov2-tiny", "lora"), SIZES, none, CPU).epoch
    assert 100 * 2 * 4 + 20 * 4 < epoch < 100 * 2.1 * 4 + 20 * 4


def test_a_block_is_timed_and_the_number_of_threads_given_back():
    before = torch.get_num_threads()
    assert 0 < block_seconds("openclip-tiny", torch.device("cpu"), before + 1) < 1
    assert torch.get_num_threads() == before


def test_disk():
    made = study(backbones=["retfound-tiny"])
    entries = 170 + 100 * (made.training.views - 1)
    found = disk_bytes(made, SIZES, CachePlan({"retfound-tiny": [3, 4]}, {"retfound-tiny": [2]}))
    assert found["images"] == 170 * 224 * 224 * 3
    assert found["vessels"] == 50 * 224 * 224 * 4
    # 196 patches and a class token
    assert found["embeddings"] == entries * 2 * (197 * 96 + 96) + 50 * 2 * 197 * 96
    assert found["trials"] > 4 * 194


def test_without_room_for_embeddings_trials_train_from_images(tmp_path):
    made = study(embeddings={"max_gib": 0})
    none = cached_blocks(made, SIZES, tmp_path / "runs" / "new")
    assert {c.strategy.name for c in trials_of(made) if trains_from_images(c, none)} == {"classifier_only", "partial"}
    assert not any(trains_from_images(c, cached_blocks(study(), SIZES, tmp_path)) for c in trials_of(study()))


def test_embeddings_that_are_there_need_no_further_room(tmp_path, monkeypatch):
    monkeypatch.setattr(costs, "free_bytes", lambda path: 0)
    assert not any(cached_blocks(study(), SIZES, tmp_path).every.values())
    folder = tmp_path / "embeddings" / "openclip-tiny"
    folder.mkdir(parents=True)
    with (folder / "block3.npy").open("wb") as file:
        file.truncate(GIB)  # sparse
    assert cached_blocks(study(), SIZES, tmp_path).every["openclip-tiny"] == [4, 3]


def test_a_footprint_shrinks_as_training_shrinks_it():
    made = study(strategies=["partial"], training={"batch_size": 16})
    partial = trial(made, "retfound-tiny", "partial")
    for shape in ((16, False), (8, False), (4, True)):
        found = footprint_on(made, partial, replace(CPU, memory=memory(partial, *shape, CPU)))
        assert (found.micro_batch, found.checkpointing) == shape
    single = study(strategies=["partial"], training={"batch_size": 1})
    assert footprint_on(single, partial, replace(CPU, memory=PROCESS)) is None


def test_this_machine_shares_its_memory_among_trials():
    machine = this_machine(study(resources={"gpus": 0, "cpus": 1}))
    assert machine.device.type == "cpu"
    assert machine.trials == min(9, os.cpu_count())
    assert machine.trials * machine.memory < main_memory() <= psutil.virtual_memory().total
    alone = study(resources={"gpus": 0}, backbones=["dinov2-tiny"], strategies=["full"])
    assert this_machine(alone).trials == 1


def test_gpus_are_shared_by_fractions():
    made = study(resources={"gpus": 0.5, "cpus": 1})
    machine = costs.on_gpus(made, gpus=2, name="A10G", memory=24 * GIB, at_most=3)
    assert (machine.trials, machine.device.type) == (3, "cuda")
    assert machine.memory == pytest.approx(0.9 * 12 * GIB)


def test_free_space_of_a_folder_that_will_be_made(tmp_path):
    assert free_bytes(tmp_path / "a" / "b") == pytest.approx(psutil.disk_usage(str(tmp_path)).free, rel=0.05)
