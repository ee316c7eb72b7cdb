"""The device on which a worker computes."""

import os

import torch

from benchmark.study.config import Resources

CPU_BATCH = 8  # with 32, an image takes about a tenth longer (ViT-S), because fewer activations stay in the CPU cache


def forward_batch(device: torch.device, batch_size: int) -> int:
    """How many images of a batch pass through a model at once without training: few on a CPU, all on a GPU."""
    return min(batch_size, CPU_BATCH) if device.type == "cpu" else batch_size


def worker_device(resources: Resources) -> torch.device:
    """The device of this worker process: the GPU that it was granted, or else the CPU.

    This also sets the number of threads and makes computation deterministic. The resources that were granted decide,
    not the visible devices: a Ray worker that requested no GPU can still see them.
    """
    torch.set_num_threads(resources.cpus)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses to be deterministic
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return torch.device("cuda" if resources.gpus and torch.cuda.is_available() else "cpu")
