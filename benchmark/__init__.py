"""The study: configuration, cohort, images, run directory, scheduling on Ray, leaderboard.

`load_study`, `run_study` and `read_results` are the way in from Python. What follows runs one cell on ten synthetic
patients, in minutes on two CPU cores:

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
    >>> [(cell.backbone, cell.strategy, cell.status) for cell in results.trials]
    [('dinov2-tiny', 'classifier_only', 'ok')]

The three are imported when they are first asked for, so that importing this package is quick and needs neither torch
nor Ray.
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

# A container's user may have no entry in /etc/passwd and no HOME. Some libraries ask for it on import and fail; "/" is
# what Docker itself sets in that case.
try:
    Path.home()
except RuntimeError:
    os.environ["HOME"] = "/"

# Where the home cannot be written, Matplotlib uses a temporary folder; its two lines about it are not for the screen.
logging.getLogger("matplotlib").setLevel(logging.ERROR)


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_FROM[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_FROM})
