"""The record of a run: the program, the machine and the time. Numbers are stored as measured, not as text."""

import importlib.metadata
import json
import platform
import subprocess
from pathlib import Path

from pydantic import BaseModel

from benchmark import __version__
from benchmark.shipped import ROOT

GIT_SECONDS = 60  # git reads the whole checkout, perhaps from a slow file server on a busy machine
PACKAGES = (
    "ray", "torch", "timm", "peft", "open-clip-torch", "grad-cam", "scikit-learn", "scipy", "polars", "numpy",
    "pillow", "opencv-python-headless",
)  # fmt: skip


class Program(BaseModel, frozen=True):
    """The version of this program."""

    version: str | None  # null: an earlier version did not record it
    commit: str | None  # null: not in a git repository
    changed: bool | None  # whether files differ from the commit; null: not known


class Software(BaseModel, frozen=True):
    """The software that computed the numbers."""

    program: Program
    python: str
    packages: dict[str, str]  # name -> version


class Machine(BaseModel, frozen=True):
    """The machine of the study; processor and memory are those of the node on which the report stage ran."""

    nodes: int
    cpus: int
    gpus: int
    accelerators: list[str]  # Ray's names of the GPUs, "H100"
    processor: str | None
    memory: int | None  # bytes that processes on this node may use


class RunRecord(BaseModel, frozen=True):
    """The content of run.json."""

    finished: str  # end of the report, ISO 8601, UTC
    software: Software
    machine: Machine
    seconds: dict[str, float]  # by stage, of the run that completed it


def program(root: Path = ROOT) -> Program:
    """The version; in a git repository also the commit, and whether files differ from it."""
    commit = _git(root, "rev-parse", "HEAD")
    status = None if commit is None else _git(root, "status", "--porcelain", "--untracked-files=no")
    return Program(version=__version__, commit=commit, changed=None if status is None else bool(status))


def software() -> Software:
    """This program, Python, and the packages that numbers depend on."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return Software(program=program(), python=platform.python_version(), packages=versions)


def processor() -> str:
    """The name of the processor of this machine."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def seconds_before(file: Path) -> dict[str, float]:
    """The seconds by stage in an earlier run.json; a resumed run does not repeat complete stages."""
    if not file.is_file():
        return {}
    values = json.loads(file.read_text(encoding="utf-8"))
    found = values["seconds"] if "seconds" in values else values.get("Seconds per stage", {})  # up to version 0.1
    return {stage: float(seconds) for stage, seconds in found.items()}


def _git(root: Path, *arguments: str) -> str | None:
    """The output of git for a folder; None if the folder is not a repository or git is missing."""
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), *arguments]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=GIT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
