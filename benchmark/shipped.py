"""Files of the project that are not code, and where they are.

A checkout has them next to the packages, the wheel has them inside this one (pyproject.toml says which). Nothing here
needs a checkout, so the program runs in the same way from an installation and from packages that were copied.
"""

from pathlib import Path

_HERE = Path(__file__).resolve().parent
ROOT = _HERE.parent  # the folder that holds the packages: a checkout, site-packages or a copy


def shipped(name: str) -> Path:
    """The path of a file or folder that is in every wheel and in every checkout; a bare copy may lack it.

    Args:
        name: its path from the root of the project, such as `configs/demo.yaml`.
    """
    inside = _HERE / "data" / name
    return inside if inside.exists() else ROOT / name  # site-packages may hold another project's `configs`


DEMO = shipped("configs/demo.yaml")
COMMAND = "python run_benchmark.py" if (ROOT / "run_benchmark.py").is_file() else "retina-benchmark"
