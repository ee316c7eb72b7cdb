"""Check the version of Python, and compare the packages with the lock file."""

import importlib.metadata
import re
import shlex
import sys
import tomllib

from benchmark.preflight.doctor.case import Case
from benchmark.preflight.doctor.finding import Finding, Status
from benchmark.shipped import shipped

PYTHONS = ((3, 11), (3, 12), (3, 13), (3, 14))
MAIN_PACKAGES = ("ray", "torch", "timm", "peft", "polars")


def check_python(case: Case) -> list[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] in PYTHONS:
        return [Finding(Status.PASS, "Python", version)]
    return [Finding(Status.FAIL, "Python", version, "use Python 3.11 to 3.14; `make demo` looks for one")]


def check_packages(case: Case) -> list[Finding]:
    project, lock = shipped("pyproject.toml"), shipped("requirements.lock")
    try:
        return compare_packages(project.read_text(encoding="utf-8"), lock.read_text(encoding="utf-8"), str(lock))
    except FileNotFoundError as error:  # the packages were copied without it
        fix = "copy it from a checkout of this version to check the packages"
        return [Finding(Status.WARN, "packages", f"not checked: {error.filename} is missing", fix)]


def compare_packages(project: str, lock: str, file: str = "requirements.lock") -> list[Finding]:
    """The installed versions of the packages that a `pyproject.toml` names, compared with a lock file.

    Args:
        project: text of the `pyproject.toml`.
        lock: text of the lock file.
        file: its path, as `pip install -r` takes it.
    """
    names = [re.split(r"[^\w.-]", wanted)[0] for wanted in tomllib.loads(project)["project"]["dependencies"]]
    locked: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", lock, flags=re.MULTILINE):
        locked.setdefault(name, []).append(version)  # several if they differ between versions of Python
    installed, missing, other = {}, [], []
    for name in names:
        try:
            installed[name] = importlib.metadata.version(name).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
            continue
        if installed[name] not in locked.get(name, []):
            other.append(f"{name} {installed[name]} instead of {' or '.join(locked.get(name, ['none']))}")
    fix = f"install them with `python -m pip install --require-hashes -r {shlex.quote(file)}`"
    if missing:
        return [Finding(Status.FAIL, "packages", f"missing: {', '.join(missing)}", fix)]
    if other:
        return [Finding(Status.WARN, "packages", f"different from requirements.lock: {', '.join(other)}", fix)]
    main = [f"{name} {installed[name]}" for name in MAIN_PACKAGES if name in installed]
    return [Finding(Status.PASS, "packages", f"all {len(names)} match the lock file: {', '.join(main)}")]
