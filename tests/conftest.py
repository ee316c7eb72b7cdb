"""Shared fixtures, the two profiles of property tests, and what keeps the suite quick on a small or busy machine."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import seconds

# On two cores, threads of several processes stand in each other's way. Read when torch is first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Ray starts its workers with niceness 15: next to busy programs they would get a hundredth of the machine.
os.environ.setdefault("RAY_worker_niceness", "0")

ROOT = Path(__file__).resolve().parent.parent

# "fixed" tries the same examples in every run, so that a failure is the fault of a change; `make test-random` looks for
# new ones. Neither measures time: a busy machine is not a fault of the code.
_UNTIMED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("fixed", derandomize=True, database=None, **_UNTIMED)
settings.register_profile("random", derandomize=False, max_examples=1000, print_blob=True, **_UNTIMED)
settings.load_profile("fixed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--by-file", action="store_true", help="print which files of tests take most")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("by_file"):
        config.pluginmanager.register(seconds)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start Ray come first: they take longest, and the others then fill up both processes evenly."""
    items.sort(key=lambda item: item.path.parent.name not in ("scheduling", "stages"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Every test, and every fixture that it is the first to ask for, starts from the same random weights."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference outputs and images next to the checkout; tests that need it skip without it."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the reference folder ../shared next to the checkout")
    return folder
