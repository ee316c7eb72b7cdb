"""Where a worker computes."""

import os

import torch

from benchmark.study.config import Resources

CPU_BATCH = 8  # of 32 images each takes about a tenth longer (ViT-S), for fewer activations stay in the cache


def forward_batch(device: torch.device, batch_size: int) -> int:
    """How many of a batch of images go through a model at once where nothing is learned: on a CPU few, all on a GPU."""
    return min(batch_size, CPU_BATCH) if device.type == "cpu" else batch_size


def worker_device(resources: Resources) -> torch.device:
    """The device of this worker process: the GPU it was granted, else the CPU; also sets its number of threads, and
    has everything computed in an order that is the same every time.

    What was granted decides, not what can be seen: a Ray worker that asked for no GPU sees them all the same.
    """
    torch.set_num_threads(resources.cpus)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses to be deterministic
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return torch.device("cuda" if resources.gpus and torch.cuda.is_available() else "cpu")
