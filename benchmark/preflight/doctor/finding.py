"""One line of the diagnosis, and how it is printed."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from rich.console import Console
from rich.markup import escape
from rich.table import Table


class Status(StrEnum):
    """Whether a finding is fine, worth knowing, or stops the study."""

    PASS = "PASS"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis; `fix` is what to do, or empty if nothing needs to be done."""

    status: Status
    what: str
    detail: str
    fix: str = ""


_COLOURS = {Status.PASS: "green", Status.WARN: "yellow", Status.FAIL: "bold red"}


def print_in_lines(findings: list[Finding], console: Console) -> int:
    """Print each finding in one line, which a terminal may wrap, failures last; return the number of failures."""
    order = list(Status)
    for finding in sorted(findings, key=lambda finding: order.index(finding.status)):
        fix = f" [bold]→[/] {escape(finding.fix)}" if finding.fix else ""
        status = f"[{_COLOURS[finding.status]}]{finding.status}[/]"
        console.print(f"{status} {finding.what}: {escape(finding.detail)}{fix}", soft_wrap=True)
    return sum(finding.status is Status.FAIL for finding in findings)


def print_findings(findings: Iterator[Finding], console: Console, width: int) -> int:
    """Print findings one below the other, then the numbers of warnings and failures; return the number of failures.

    Args:
        width: the width of the column that names the check.
    """
    counts = dict.fromkeys(Status, 0)
    for finding in findings:
        counts[finding.status] += 1
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_column(width=4, style=_COLOURS[finding.status])
        line.add_column(width=width)
        line.add_column(overflow="fold")
        fix = f"\n[bold]→[/] {escape(finding.fix)}" if finding.fix else ""
        line.add_row(finding.status, finding.what, escape(finding.detail) + fix)
        console.print(line)
    totals = [
        f"{count} {noun}{'' if count == 1 else 's'}"
        for count, noun in ((counts[Status.WARN], "warning"), (counts[Status.FAIL], "failure"))
        if count
    ]
    console.print(f"[bold]{', '.join(totals) or 'Everything is in order'}[/]")
    return counts[Status.FAIL]
