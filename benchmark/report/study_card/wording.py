"""Numbers and lists as they are written in a methods section."""

from collections.abc import Iterable

from benchmark.report.flow_words import grouped
from benchmark.report.results import Number, TrialResult

SPLITS = {"train": "training", "val": "validation", "test": "test"}


def listed(words: Iterable[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    found = list(words)
    return " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)


def percent(share: float) -> str:
    """A share in percent, without decimals that are zero."""
    return f"{100 * share:.3g} %"


def stated(number: Number | None, digits: int = 3) -> str:
    """An estimate with its interval: "0.812 (0.700 to 0.900)"; a dash if there is none."""
    if number is None or number.value is None:
        return "–"
    value = f"{number.value:.{digits}f}"
    if number.low is not None and number.high is not None:
        value += f" ({number.low:.{digits}f} to {number.high:.{digits}f})"
    return value.replace("-", "\N{MINUS SIGN}")


def counted(count: int | None) -> str:
    """A count with its thousands apart; a dash if it is not known."""
    return "–" if count is None else grouped(count)


def trial_name(trial: TrialResult) -> str:
    """The name of a trial, as on the pages."""
    return f"{trial.backbone}, {trial.strategy}, seed {trial.seed}"
