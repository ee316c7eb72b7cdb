"""Locate the project's files that are not code.

In a checkout they are next to the packages; in the wheel they are inside this package (pyproject.toml lists them).
Nothing here needs a checkout, so the program also runs from an installation or from a copy of the packages.
"""

from pathlib import Path

_HERE = Path(__file__).resolve().parent
ROOT = _HERE.parent  # the folder that holds the packages: a checkout, site-packages or a copy


def shipped(name: str) -> Path:
    """The path of a file or folder that every wheel and every checkout contains; a bare copy may lack it.

    Args:
        name: its path from the root of the project, such as `configs/demo.yaml`.
    """
    inside = _HERE / "data" / name
    return inside if inside.exists() else ROOT / name  # site-packages may hold another project's `configs`


DEMO = shipped("configs/demo.yaml")
COMMAND = "python run_benchmark.py" if (ROOT / "run_benchmark.py").is_file() else "retina-benchmark"
