"""Python, and the packages against the lock file."""

import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

from benchmark.preflight.doctor.case import Case
from benchmark.preflight.doctor.finding import Finding, Status

ROOT = Path(__file__).resolve().parents[3]
PYTHONS = ((3, 11), (3, 12))
MAIN_PACKAGES = ("ray", "torch", "timm", "peft", "polars")


def check_python(case: Case) -> list[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] in PYTHONS:
        return [Finding(Status.PASS, "Python", version)]
    return [Finding(Status.FAIL, "Python", version, "take Python 3.11 or 3.12; `make demo` looks for one")]


def check_packages(case: Case) -> list[Finding]:
    return compare_packages(
        (ROOT / "pyproject.toml").read_text(encoding="utf-8"), (ROOT / "requirements.lock").read_text(encoding="utf-8")
    )


def compare_packages(project: str, lock: str) -> list[Finding]:
    """The installed versions of the packages that a `pyproject.toml` names, against a lock file."""
    names = [re.split(r"[^\w.-]", wanted)[0] for wanted in tomllib.loads(project)["project"]["dependencies"]]
    locked: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", lock, flags=re.MULTILINE):
        locked.setdefault(name, []).append(version)  # one for each Python where they differ
    installed, missing, other = {}, [], []
    for name in names:
        try:
            installed[name] = importlib.metadata.version(name).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
            continue
        if installed[name] not in locked.get(name, []):
            other.append(f"{name} {installed[name]} for {' or '.join(locked.get(name, ['none']))}")
    mend = "install them with `python -m pip install --require-hashes -r requirements.lock`"
    if missing:
        return [Finding(Status.FAIL, "packages", f"missing: {', '.join(missing)}", mend)]
    if other:
        return [Finding(Status.WARN, "packages", f"not as in requirements.lock: {', '.join(other)}", mend)]
    told = [f"{name} {installed[name]}" for name in MAIN_PACKAGES if name in installed]
    return [Finding(Status.PASS, "packages", f"all {len(names)} as locked, {', '.join(told)}")]
