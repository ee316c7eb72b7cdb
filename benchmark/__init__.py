"""Run a study: configuration, cohort, images, run directory, scheduling on Ray and leaderboard.

`load_study`, `run_study` and `read_results` are the Python interface. This example runs one cell on ten synthetic
patients; it takes minutes on two CPU cores:

    >>> from pathlib import Path
    >>> from benchmark import load_study, read_results, run_study
    >>> from benchmark.shipped import DEMO
    >>> study = load_study(
    ...     DEMO,
    ...     {
    ...         "name": "small",
    ...         "cohort": {"synthetic": {"patients": 10}},
    ...         "backbones": ["dinov2-tiny"],
    ...         "strategies": ["classifier_only"],
    ...         "training": {"epochs": 1},
    ...         "controls": {"draws": 20, "seeds": 1, "images": 4},
    ...         "statistics": {"resamples": 100},
    ...     },
    ... )
    >>> leaderboard = run_study(study, Path("runs/small"))
    >>> results = read_results(Path("runs/small"))
    >>> [(trial.backbone, trial.strategy, trial.status) for trial in results.trials]
    [('dinov2-tiny', 'classifier_only', 'ok')]

The three functions are imported on first use, so that importing this package is quick and needs neither torch nor
Ray.
"""

import importlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.report.results import read_results
    from benchmark.stages.pipeline import run_study
    from benchmark.study.config import load_study

__version__ = "0.1.0"
__all__ = ["load_study", "read_results", "run_study"]

_FROM = {
    "load_study": "benchmark.study.config",
    "read_results": "benchmark.report.results",
    "run_study": "benchmark.stages.pipeline",
}

# A container's user may have no entry in /etc/passwd and no HOME. Some libraries look up the home folder on import
# and fail; "/" is what Docker itself sets in that case.
try:
    Path.home()
except RuntimeError:
    os.environ["HOME"] = "/"

# If the home folder cannot be written, Matplotlib uses a temporary folder; users do not need its two lines about it.
logging.getLogger("matplotlib").setLevel(logging.ERROR)


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_FROM[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_FROM})
