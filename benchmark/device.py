"""Where a worker computes: the GPU that Ray gave it, else as many CPU threads as it asked for."""

import torch


def worker_device(cpus: int) -> torch.device:
    """The device of this worker process; also sets its number of threads."""
    torch.set_num_threads(cpus)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
