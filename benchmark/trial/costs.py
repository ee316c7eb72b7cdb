"""Estimates of what a trial needs: trainable parameters, memory, time and disk, without running any of the study.

Memory is that of a training step on tensors without data, so it follows the architecture and the training code. Time is
extrapolated from one block, measured on this machine.
"""

import math
import os
import shutil
import time
import weakref
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import backbones
from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import StrategyChoice, Study
from benchmark.study.images import IMAGE_SIZE
from benchmark.study.trials import Trial, trials_of
from benchmark.trial.cache import CachePlan, entry_shape, explained_from, plan_cache, trains_from_images
from finetune.footprint import Footprint

GIB = 2**30
PROCESS = 0.7 * GIB  # a trial's memory before its first tensor: Python with PyTorch and Ray, or the context on a GPU
USABLE = 0.9  # share of a GPU's memory: the allocator loses some to fragmentation, and kernels need workspace
BESIDE_OBJECTS = 0.7  # share of main memory for trials: Ray's object store may take 30 %

Sizes = Mapping[str, int]  # split -> images; with folds, of one fold


@dataclass(frozen=True)
class Machine:
    """Where trials run.

    Attributes:
        device: PyTorch's device.
        name: the GPU's name, or `CPU`.
        trials: number of trials that run at once.
        threads: CPU threads per trial.
        memory: bytes available to each trial, on the GPU or else in main memory.
        half: whether models compute in bfloat16.
    """

    device: torch.device
    name: str
    trials: int
    threads: int
    memory: float
    half: bool


@dataclass(frozen=True)
class Cost:
    """What a trial needs on one device.

    Attributes:
        trainable: number of trainable parameters.
        memory: bytes, with the recipe's micro batch.
        epoch: seconds per epoch.
        seconds: for all epochs and Grad-CAM.
    """

    trainable: int
    memory: float
    epoch: float
    seconds: float


def this_machine(study: Study) -> Machine:
    """The GPUs that PyTorch sees here, or else the CPU."""
    needed, cpus = study.resources, os.cpu_count() or 1
    at_once = min(max(1, cpus // needed.cpus), len(trials_of(study)))
    if needed.gpus == 0 or not torch.cuda.is_available():
        memory = BESIDE_OBJECTS * main_memory() / at_once
        return Machine(torch.device("cpu"), "CPU", at_once, needed.cpus, memory, half=False)
    gpus = range(torch.cuda.device_count())
    smallest = min(torch.cuda.get_device_properties(index).total_memory for index in gpus)
    return on_gpus(study, len(gpus), torch.cuda.get_device_name(), smallest, at_once)


def on_gpus(study: Study, gpus: int, name: str, memory: float, at_most: int) -> Machine:
    """A machine or a cluster of `gpus` GPUs with `memory` bytes each, and CPUs for `at_most` trials."""
    share = study.resources.gpus or 1.0
    trials = max(1, min(at_most, int(gpus / share)))
    here = torch.cuda.is_available()  # else it is a cluster's GPU, seen from a head without one
    half = torch.cuda.is_bf16_supported(including_emulation=False) if here else True
    device = torch.device("cuda")
    return Machine(device, name, trials, study.resources.cpus, USABLE * memory * min(1.0, share), half)


def main_memory() -> float:
    """Bytes of this machine's main memory, or its container's limit if that is lower."""
    physical = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    limit = Path("/sys/fs/cgroup/memory.max")  # of a container, with cgroups of version 2
    allowed = limit.read_text(encoding="ascii").strip() if limit.is_file() else "max"
    return min(physical, float(allowed)) if allowed.isdigit() else physical


def cost_of(study: Study, trial: Trial, sizes: Sizes, cached: CachePlan, machine: Machine) -> Cost:
    """The estimate for one trial."""
    recipe = study.training
    epoch, maps = block_passes(study, trial, sizes, cached)
    block = block_seconds(trial.backbone.name, machine.device, machine.threads)
    return Cost(
        trainable=_parameters(trial.backbone.name, trial.strategy).trainable,
        memory=memory(trial, recipe.micro_batch or recipe.batch_size, recipe.checkpointing, machine),
        epoch=epoch * block,
        seconds=(recipe.epochs * epoch + maps) * block,
    )


def block_passes(study: Study, trial: Trial, sizes: Sizes, cached: CachePlan) -> tuple[float, float]:
    """The work of one epoch and of all Grad-CAM maps, in forward passes of one image through one block."""
    backbone, recipe = trial.backbone.open(), study.training
    start = trial.strategy.open().frozen_blocks(backbone.depth)
    front, trained = start if trains_from_images(trial, cached) else 0, backbone.depth - start
    # A backward pass costs one forward pass for the gradients of the inputs, and another for those of the parameters.
    passes = 2 + _parameters(trial.backbone.name, trial.strategy).share + recipe.checkpointing
    explained = backbone.depth - explained_from(study, trial, cached.blocks(trial.backbone.name))
    epoch = sizes["train"] * (front + passes * trained) + sizes["val"] * (front + trained)
    return epoch, sizes["test"] * explained


def memory(trial: Trial, micro_batch: int, checkpointing: bool, machine: Machine) -> float:
    """Bytes on the device at the peak of a trial's training.

    These are the process, the model in float32, AdamW's two moments of the trainable parameters, and the step itself;
    on a CPU also the best epoch's weights.
    """
    parameters = _parameters(trial.backbone.name, trial.strategy)
    step = step_bytes(trial.backbone.name, trial.strategy, micro_batch, checkpointing, machine.half)
    kept = 12 if machine.device.type == "cpu" else 8
    return PROCESS + 4 * parameters.whole + kept * parameters.trainable + step


def footprint_on(study: Study, trial: Trial, machine: Machine) -> Footprint | None:
    """The footprint to which training shrinks on a machine; None if not even one image at a time fits."""
    footprint = Footprint(study.training.micro_batch or study.training.batch_size, study.training.checkpointing)

    def attempt() -> None:
        if memory(trial, footprint.micro_batch, footprint.checkpointing, machine) > machine.memory:
            raise torch.OutOfMemoryError("by estimate")

    try:
        footprint.run(attempt)
    except torch.OutOfMemoryError:
        return None
    return footprint


@cache
def step_bytes(backbone: str, strategy: StrategyChoice, batch: int, checkpointing: bool, half: bool) -> float:
    """Bytes alive at the peak of one forward and backward pass: activations, gradients and casts, no parameters.

    If all blocks in the backward pass are of one kind, the result is extrapolated from three and four blocks: from the
    third block on, memory grows linearly.

    Args:
        half: bfloat16 autocast.
    """
    _, model, start = _assembled(backbone, strategy)
    trained = model.blocks[start:]
    kinds = {tuple((name, p.shape, p.requires_grad) for name, p in block.named_parameters()) for block in trained}

    def peak(blocks: int) -> int:
        return _peak(backbone, strategy, blocks, batch, checkpointing, half)

    if len(kinds) != 1 or len(trained) <= 4:
        return peak(len(trained))
    return peak(3) + (len(trained) - 3) * (peak(4) - peak(3))


def _peak(backbone: str, strategy: StrategyChoice, trained: int, batch: int, checkpointing: bool, half: bool) -> int:
    """Peak bytes of a trial's step with only `trained` of the blocks that it trains."""
    module, model, start = deepcopy(_assembled(backbone, strategy))
    shape = (batch, *entry_shape(backbone, start)) if start else (batch, 3, IMAGE_SIZE, IMAGE_SIZE)
    if trained:
        model.blocks, start = model.blocks[max(0, start - 1) : start + trained], min(1, start)
    module.train()
    with FakeTensorMode():
        for part in module.modules():
            for name, old in list(part.named_parameters(recurse=False)):
                part.register_parameter(name, nn.Parameter(torch.empty(old.shape), old.requires_grad))
        inputs, labels = torch.empty(shape), torch.zeros(batch, dtype=torch.long)
        with _Alive(module) as alive:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
                logits = backbones.finish_from(model, inputs, start, checkpointing)
            F.cross_entropy(logits.float(), labels).backward()
    return alive.peak + inputs.nbytes


class _Alive(TorchDispatchMode):
    """Counts the bytes of all live tensors except a module's own; `peak` is the maximum so far."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._bytes = {id(parameter.untyped_storage()): 0 for parameter in module.parameters()}
        self._now = self.peak = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if id(storage) in self._bytes:
            return
        self._bytes[id(storage)] = storage.nbytes()
        self._now += storage.nbytes()
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._forget, id(storage))

    def _forget(self, key: int) -> None:
        self._now -= self._bytes.pop(key)


@cache
def block_seconds(name: str, device: torch.device, threads: int) -> float:
    """Seconds for one image through one block of a backbone, the best of three batches.

    On a CPU, time that other programs take from this one does not count.
    """
    backbone = backbones.get(name)
    block = backbone.skeleton().blocks[0].to_empty(device=device).eval()
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.02)  # uninitialised memory may hold denormal numbers, which are slow
    tokens = torch.randn(8 if device.type == "cuda" else 2, backbone.tokens, backbone.width, device=device)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return min(_seconds(block, tokens) for _ in range(3)) / len(tokens)
    finally:
        torch.set_num_threads(before)


@torch.inference_mode()
def _seconds(block: nn.Module, tokens: Tensor) -> float:
    began, used = time.perf_counter(), time.process_time()
    with backbones.autocast(tokens.device):
        block(tokens)
    if tokens.device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter() - began
    return min(time.perf_counter() - began, time.process_time() - used)


def embedding_seconds(study: Study, sizes: Sizes, cached: CachePlan, machine: Machine) -> float:
    """Seconds for the one pass over all images and views that fills the cache, on one device."""
    total = 0.0
    for name, blocks in cached.every.items():
        last = max(blocks, default=0)
        further = max(0, max(cached.test[name], default=0) - last)
        if passes := entries(study, sizes) * last + tested(study, sizes) * further:
            total += passes * block_seconds(name, machine.device, machine.threads)
    return total


def cached_blocks(study: Study, sizes: Sizes, out: Path) -> CachePlan:
    """The blocks whose inputs fit into the run directory within the configuration's budget."""
    directory = RunDirectory(out)
    embedded = directory.embedded_bytes if existing_parent(out) == directory.path else 0
    free, images = free_bytes(out) + embedded, sum(sizes.values())
    trained = sizes["train"] if study.splits is None else images  # folds share the cache
    return plan_cache(study, images, trained, tested(study, sizes), free)


def disk_bytes(study: Study, sizes: Sizes, cached: CachePlan) -> dict[str, float]:
    """Bytes of each part of a run directory."""
    embeddings = sum(
        2 * count * math.prod(entry_shape(name, block))
        for count, part in ((entries(study, sizes), cached.every), (tested(study, sizes), cached.test))
        for name, blocks in part.items()
        for block in blocks
    )
    folded = study.splits is not None
    trainable = (_parameters(trial.backbone.name, trial.strategy).trainable for trial in trials_of(study))
    return {
        "images": 3 * IMAGE_SIZE**2 * sum(sizes.values()),
        # Each fold has its own copy of its test images' vessels.
        "vessels": 4 * IMAGE_SIZE**2 * (tested(study, sizes) + sizes["test"] * study.trainings * folded),
        "embeddings": embeddings,
        "trials": 4 * sum(trainable) * study.trainings,
    }


def free_bytes(path: Path) -> float:
    """Free bytes on the disk of a folder that exists or is to be created."""
    return shutil.disk_usage(existing_parent(path)).free


def existing_parent(path: Path) -> Path:
    """The folder itself, or its nearest parent that exists."""
    path = Path(os.path.realpath(path))
    try:
        return path if path.is_dir() else existing_parent(path.parent)
    except OSError:  # for example a name that is too long
        return existing_parent(path.parent)


def entries(study: Study, sizes: Sizes) -> int:
    """Number of images and augmented views; folds share those of all images."""
    trained = sizes["train"] if study.splits is None else sum(sizes.values())
    return sum(sizes.values()) + trained * (study.training.views - 1)


def tested(study: Study, sizes: Sizes) -> int:
    """Number of images that are tested in the study, or in one repeat of its folds."""
    return sizes["test"] if study.splits is None else sum(sizes.values())


@cache
def _assembled(backbone: str, strategy: StrategyChoice) -> tuple[nn.Module, VisionTransformer, int]:
    """A trial on the meta device: the module to train, the model inside it, and its first trained block."""
    model = backbones.get(backbone).skeleton(classes=2)
    opened = strategy.open()
    return opened.apply(model), model, opened.frozen_blocks(len(model.blocks))


@dataclass(frozen=True)
class _Parameters:
    """Numbers of all and of trainable parameters, and the trainable share in the blocks of the backward pass."""

    whole: int
    trainable: int
    share: float


@cache
def _parameters(backbone: str, strategy: StrategyChoice) -> _Parameters:
    module, model, start = _assembled(backbone, strategy)
    (whole, trainable), (through, changing) = (
        (sum(p.numel() for p in part.parameters()), sum(p.numel() for p in part.parameters() if p.requires_grad))
        for part in (module, model.blocks[start:])
    )
    return _Parameters(whole, trainable, changing / max(1, through))
