"""How findings are printed."""

import io

from rich.console import Console

from benchmark.preflight.doctor.finding import Finding, Status, print_findings

PASS, WARN, FAIL = Status


def printed(*findings: Finding) -> tuple[list[str], int]:
    console = Console(file=io.StringIO(), width=80)
    failures = print_findings(iter(findings), console, width=13)
    return [line.rstrip() for line in console.file.getvalue().splitlines()], failures


def test_findings_read_well_without_colours_at_80_columns():
    lines, failures = printed(
        Finding(PASS, "Python", "3.11.7"),
        Finding(WARN, "shared memory", "little [of it]", "more"),
        Finding(WARN, "disk", "/a" * 60),
        Finding(FAIL, "weights", "[red]gone[/]"),
    )
    assert failures == 1
    assert lines[0] == "PASS  Python         3.11.7"
    assert lines[1:3] == ["WARN  shared memory  little [of it]", " " * 21 + "→ more"]
    assert max(map(len, lines)) <= 80
    assert "".join(line[21:] for line in lines[3:6]) == "/a" * 60  # nothing is cut off
    assert lines[-2] == "FAIL  weights        [red]gone[/]"
    assert lines[-1] == "2 warnings, 1 failure"


def test_nothing_to_fix():
    assert printed(Finding(PASS, "Python", "3.11.7")) == (["PASS  Python         3.11.7", "Everything is in order"], 0)
