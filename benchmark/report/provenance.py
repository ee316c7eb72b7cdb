"""Which program made a run, from what, on what machine: facts that a reader needs to make it again."""

import platform
import subprocess
from pathlib import Path

from benchmark import __version__
from benchmark.shipped import ROOT
from benchmark.trial.costs import main_memory

GIT_SECONDS = 60  # git reads the whole checkout, which may lie on a slow file server; a busy machine must not lose it


def program(root: Path = ROOT) -> str:
    """Version of this program, with the commit where its folder is a git repository, and whether it was changed."""
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return __version__
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    told = ", changes unknown" if changed is None else " with changes" if changed else ""
    return f"{__version__}, commit {commit}{told}"


def processor() -> str:
    """The processor of this machine, as it calls itself, and its memory."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {main_memory() / 2**30:.0f} GiB"


def _git(root: Path, *arguments: str) -> str | None:
    """What git says of a folder; None where it is no repository, or there is no git."""
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), *arguments]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=GIT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout.strip()
