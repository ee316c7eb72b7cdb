"""What every file of tests takes: `pytest --by-file` prints the most expensive ones."""

import os
from collections import Counter
from collections.abc import Generator

import pytest

SHOWN = 10
_used = 0.0  # by this process, and by those that it started and waited for; of Ray's it waits for few


def pytest_collection_finish() -> None:
    """Importing every file of tests is the cost of none."""
    global _used
    _used = sum(os.times()[:4])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note the processor time of a test's setup, call or teardown; it comes from the processes of pytest-xdist, too."""
    global _used
    report = yield
    before, _used = _used, sum(os.times()[:4])
    report.user_properties.append(("processor", _used - before))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Two columns of seconds, by the clock and of processors, and the names of the files."""
    clock, processor = Counter[str](), Counter[str]()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                file = report.nodeid.partition("::")[0]
                clock[file] += report.duration
                processor[file] += dict(report.user_properties).get("processor", 0)
    terminalreporter.section("seconds by file: by the clock, of processors")
    for file, seconds in clock.most_common(SHOWN):
        terminalreporter.write_line(f"{seconds:7.1f} {processor[file]:7.1f}  {file}")
    terminalreporter.write_line(f"{clock.total():7.1f} {processor.total():7.1f}  all {len(clock)} files")
