"""Where a worker computes."""

import torch

from benchmark.config import Resources


def worker_device(resources: Resources) -> torch.device:
    """The device of this worker process: the GPU it was granted, else the CPU; also sets its number of threads.

    What was granted decides, not what can be seen: a Ray worker that asked for no GPU sees them all the same.
    """
    torch.set_num_threads(resources.cpus)
    return torch.device("cuda" if resources.gpus and torch.cuda.is_available() else "cpu")
