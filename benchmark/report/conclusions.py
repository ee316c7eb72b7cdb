"""Conclusions that a leaderboard supports, in a few sentences, and cautions about its numbers."""

import re
from collections.abc import Sequence

import polars as pl

from benchmark.analysis.comparisons import EQUIVALENT, NOT_KNOWN, TRIAL
from benchmark.analysis.leaderboard import OK, Leaderboard
from benchmark.analysis.planted import INDICATORS, OUTCOMES, Planted
from benchmark.report import covariates
from benchmark.study.patients import OfEachClass, too_few
from benchmark.synthetic.population import Signal
from stats.jackknife import TAIL

FEW = 0.8  # share of the test images with a ratio; a trial with less gets a caution
MUCH = 0.2  # share of a map outside the field of view; a trial with more gets a caution

PLANTED: dict[Signal, str] = {
    "vessels": "in the arteries",
    "periphery": "in spots of the periphery, away from the vessels",
}

AVERAGED = (("cells", "seeds"), ("strategies", "backbones"), ("backbones", "strategies"))  # family, averaged over


def conclusions(board: Leaderboard, margin: float = 0.03) -> list[str]:
    """Which trials are shown to predict and to depend on the vessels, and whether the best differs from the others.

    Args:
        board: the leaderboard.
        margin: two AUCs that differ by less than this count as equivalent.
    """
    done = board.trials.filter(status=OK)
    if done.is_empty():
        return []
    able = done.filter("predicts")
    sentences = [
        _prediction(done, able),
        _unknown(done),
        _ratios(done, able),
        _erasure(able),
        _misled(able),
        *_disagreements(able),
        _best(board, done),
        _equivalent(board, done, margin),
        _optimism(done),
        *(_averages(board, *each) for each in AVERAGED),
        covariates.added(board),
        covariates.differing(board),
    ]
    return [sentence for sentence in sentences if sentence]


def cautions(board: Leaderboard) -> list[str]:
    """Few patients of a class, trials with a ratio for few images, maps outside the field of view, heavy tails."""
    done = board.trials.filter(status=OK)
    few = done.filter(pl.col("n_ratio") < FEW * pl.col("n_images"))
    outside = done.filter(pl.col("outside_share") > MUCH)
    sentences = [_few_patients(done)]
    if len(few):
        least = few.row(few["n_ratio"].arg_min() or 0, named=True)
        sentences.append(
            f"{_trials(len(few), len(done))} {_have(len(few))} a ratio for less than {100 * FEW:.0f} % of the test "
            f"images; the fewest are {least['n_ratio']} of {least['n_images']}, where "
            f"{least['n_images'] - least['n_map']} maps have no positive value."
        )
    if len(outside):
        most = max(outside["outside_share"].to_list())
        sentences.append(
            f"In {_trials(len(outside), len(done), capital=False)}, more than {100 * MUCH:.0f} % of the saliency "
            f"(up to {100 * most:.0f} %) lies outside the field of view, where there is no retina. Use the ratios "
            "inside the field of view instead."
        )
    sentences.append(_heavy_tails(done))
    return [sentence for sentence in sentences if sentence]


def _heavy_tails(done: pl.DataFrame) -> str:
    """Trials in which a few patients dominate the mean ratio, which makes its interval too narrow."""
    heavy = done.filter(pl.max_horizontal("vessel_ratio_skewness", "vessel_ratio_fov_skewness") > TAIL)
    if heavy.is_empty():
        return ""
    return (
        f"The interval of the vessel ratio is likely too narrow in {_trials(len(heavy), len(done), capital=False)}: "
        "a few patients have much higher ratios than the others. Use the geometric mean instead (“Does the convention "
        "matter?”, ratios.csv)."
    )


def _few_patients(done: pl.DataFrame) -> str:
    """A caution about few patients of a class in the test set, which affect every trial."""
    if done.is_empty():
        return ""
    return too_few(OfEachClass(*done.select("n_positive_patients", "n_negative_patients").row(0)))


def risk_stated(board: Leaderboard) -> str:
    """How scores were converted to the risks from which calibration, Brier score and net benefit are computed."""
    made = board.trials.filter(status=OK).select("risk_intercept", "risk_slope")
    balanced = made.filter((pl.col("risk_slope") == 1) & (pl.col("risk_intercept") != 0))
    recalibrated = made.filter(pl.col("risk_slope") != 1)
    sentences = []
    if len(recalibrated):
        sentences.append(
            f"Risks are scores recalibrated on validation ({_trials(len(recalibrated), len(made), capital=False)})."
        )
    if len(balanced):
        sentences.append(
            "Risks are scores corrected for the balancing of classes in training "
            f"({balanced['risk_intercept'][0]:+.2f} on the logit scale), so they refer to the share of positives among "
            "the training images."
        )
    return " ".join(sentences) or "Risks are the uncorrected scores of the models."


def planted_found(planted: Planted) -> str:
    """Where the signal of a synthetic study is, and for how many trials that predict each measure indicates vessels."""
    if not planted.has_signal:
        why = "the best possible AUC is 0.5" if planted.cohort.effect else "severity does not show (effect 0)"
        return f"No signal was planted: {why}, so no measure is judged."
    signal, done = planted.cohort.signal, planted.trials
    where = f"The signal is {PLANTED[signal]}."
    able = done.filter("predicts")
    if able.is_empty():
        why = "a model cannot use what it has not learned"
        return f"{where} No trial is shown to predict better than chance, so no measure is judged: {why}."
    found = f"{where} {_trials(len(able), len(done))} {_are(len(able))} shown to predict better than chance."
    verdicts = [(each.called, able[f"{each.name}_verdict"].drop_nulls().to_list()) for each in INDICATORS]
    counts = [(called, _indicated_in(given, signal)) for called, given in verdicts if given]
    if not counts:
        return f"{found} No measure has a verdict."
    (first, count), *others = counts
    indicates = "indicates the vessels" if OUTCOMES[signal]["vessels"] == "right" else "wrongly indicates the vessels"
    return f"{found} {_capital(_listed([f'{first} {indicates} {count}', *(' '.join(other) for other in others)]))}."


def _indicated_in(verdicts: Sequence[str], signal: Signal) -> str:
    count, elsewhere = verdicts.count("vessels"), verdicts.count("elsewhere")
    how = {"right": "rightly", "wrong": "wrongly"}[OUTCOMES[signal]["elsewhere"]]
    text = f"for {count or 'none'} of {len(verdicts)}"
    return f"{text} (it {how} indicates another place for {elsewhere})" if elsewhere else text


def _prediction(done: pl.DataFrame, able: pl.DataFrame) -> str:
    if able.is_empty() and done["predicts"].has_nulls():
        return ""
    how = "AUC against 0.5" + (f", adjusted for {len(done)} trials" if len(done) > 1 else "")
    if able.is_empty():
        who = "The trial is not" if len(done) == 1 else "No trial is"
        return f"{who} shown to predict better than chance ({how})."
    return f"{_trials(len(able), len(done))} {_are(len(able))} shown to predict better than chance ({how})."


def _unknown(done: pl.DataFrame) -> str:
    unknown = done.filter(pl.col("predicts").is_null())
    if unknown.is_empty():
        return ""
    who = _trials(len(unknown), len(done), capital=False)
    return f"The AUC of {who} has no interval: it is 0 or 1, or one class has too few patients."


def _best(board: Leaderboard, done: pl.DataFrame) -> str:
    """The highest AUC of single trainings; where cells have several trainings, `_averages` compares their means."""
    others = len(done) - 1
    if not others or _of_several_seeds(board):
        return ""
    best, different = done.row(0, named=True), len(done) - done.filter("tied_best").height
    if not different:
        return "Among these trained models, no AUC differs significantly from the highest."
    name = f"{best['backbone']}, {best['strategy']}" + (f", seed {best['seed']}" if done["seed"].n_unique() > 1 else "")
    highest = f"The highest AUC of these trained models is {best['auc']:.3f} ({name})"
    return f"{highest}; {_differ(different, others)} from it."


def _of_several_seeds(board: Leaderboard) -> bool:
    return not board.averages.filter(family="cells").is_empty()


def _averages(board: Leaderboard, family: str, averaged_over: str) -> str:
    """Which level of a family has the highest mean AUC, and how many others differ from it."""
    rows = board.averages.filter(family=family, measure="auc").sort("mean", descending=True).to_dicts()
    if not rows:
        return ""
    best, *others = rows
    own = _letters(best["group"])
    different = sum(own.isdisjoint(_letters(row["group"])) for row in others)
    name = ", ".join(best[side] for side in ("backbone", "strategy") if best[side])
    text = f"{family.capitalize()}, averaged over {averaged_over}: the highest AUC is {best['mean']:.3f} ({name}); "
    return f"{text}{_differ(different, len(others))} from it (this holds for {best['holds_for']})."


def _differ(different: int, others: int) -> str:
    if different == others:
        all_others = {1: "the other differs", 2: "both others differ"}.get(others, f"all {others} others differ")
        return f"{all_others} significantly"
    return f"{different or 'none'} of {others} others {'differs' if different < 2 else 'differ'} significantly"


def _letters(group: str) -> set[str]:
    return set(re.findall(r"[a-z]'*", group))


def _equivalent(board: Leaderboard, done: pl.DataFrame, margin: float) -> str:
    """How many of the trained models that do not differ from the highest are shown to be equivalent to it."""
    if len(done) < 2 or _of_several_seeds(board):
        return ""
    best = done.row(0, named=True)
    of_best = [pl.all_horizontal(pl.col(f"{name}_{side}") == best[name] for name in TRIAL) for side in "ab"]
    verdicts = board.comparisons.filter(pl.any_horizontal(of_best), measure="auc")["verdict"].to_list()
    equivalent, unknown = verdicts.count(EQUIVALENT), verdicts.count(NOT_KNOWN)
    if not equivalent and not unknown:
        return ""
    others = _others(len(done) - 1)
    neither = "neither a difference nor equivalence is shown"
    if not equivalent:
        which = f"the {others}" if len(done) == 2 else f"any of the {others}"
        return f"Whether {which} is equivalent to the highest (AUC within {margin:g}) is not known: {neither}."
    text = f"Of the {others}, {equivalent} {_are(equivalent)} equivalent to the highest (AUC within {margin:g})"
    return f"{text}; for {unknown}, {neither}." if unknown else f"{text}."


def _optimism(done: pl.DataFrame) -> str:
    best = done.row(0, named=True)
    if len(done) < 2 or best["auc_corrected"] is None:
        return ""
    return (
        f"The highest of {len(done)} AUCs, {best['auc']:.3f}, is too high on average, because it was selected for "
        f"being the highest; corrected for this selection, it is {best['auc_corrected']:.3f}."
    )


def _erasure(able: pl.DataFrame) -> str:
    erased = able.filter(pl.col("depends").is_not_null())
    if erased.is_empty():
        return ""
    count = erased.filter("depends").height
    why = "the AUC falls without vessels, and falls more than when as much is painted out elsewhere"
    if len(erased) == 1:
        that = "The one trial that predicts and was tested without vessels"
        return f"{that} is shown to depend on them: {why}." if count else f"{that} is not shown to depend on them."
    those = f"Of the {len(erased)} trials that predict and were tested without vessels"
    if not count:
        return f"{those}, none is shown to depend on them."
    return f"{those}, {count} {_are(count)} shown to depend on them: {why}."


def _misled(able: pl.DataFrame) -> str:
    misled = able.filter("erased_reversed")
    if misled.is_empty():
        return ""
    return (
        f"Without vessels, {_named(misled, able)} {'rank' if len(misled) > 1 else 'ranks'} patients in reverse order "
        "(AUC below 0.5): the painted images mislead the model instead of only lacking information, so it is not known "
        "whether the vessels are needed."
    )


def _disagreements(able: pl.DataFrame) -> list[str]:
    """Name the trials in which the map and the erasure test give different answers."""
    both = able.drop_nulls(["depends", "above_null"]).filter(~pl.col("erased_reversed").fill_null(False))
    only_map, only_erasure = (
        both.filter("above_null", ~pl.col("depends")),
        both.filter("depends", ~pl.col("above_null")),
    )
    sentences = []
    if len(only_map):
        sentences.append(
            f"Map and erasure do not agree for {_named(only_map, able)}: the vessel ratio is higher than with other "
            f"patients’ vessels, but {_it(only_map)} not shown to depend on the vessels."
        )
    if len(only_erasure):
        sentences.append(
            f"Map and erasure do not agree for {_named(only_erasure, able)}: {_it(only_erasure)} shown to depend on "
            "the vessels, but the vessel ratio is not shown to be higher than with other patients’ vessels."
        )
    return sentences


def _ratios(done: pl.DataFrame, able: pl.DataFrame) -> str:
    marked = done.filter(~pl.col("predicts"), pl.col("vessel_ratio").is_not_null())
    if marked.is_empty():
        return ""
    who = (
        "Vessel ratios"
        if able.is_empty() and len(marked) == len(done)
        else f"The vessel ratios of the {len(marked)} trials marked †"
        if len(marked) > 1
        else f"The vessel ratio of {_named(marked, done)} (marked †)"
    )
    verb = "is" if who.startswith("The vessel ratio of") else "are"
    return f"{who} {verb} hard to interpret: an untrained model can also highlight vessels."


def _named(trials: pl.DataFrame, among: pl.DataFrame) -> str:
    """The names of trials in a sentence."""
    seeds = among["seed"].n_unique() > 1
    names = [
        f"{backbone} {strategy}" + (f" seed {seed}" if seeds else "")
        for backbone, strategy, seed in trials.select(*TRIAL).iter_rows()
    ]
    return _listed(names)


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _it(trials: pl.DataFrame) -> str:
    return "the model is" if len(trials) == 1 else "the models are"


def _others(count: int) -> str:
    return "other trial" if count == 1 else f"{count} other trials"


def _trials(count: int, of: int, capital: bool = True) -> str:
    words = f"{count} of {of} trials" if count < of else "the trial" if of == 1 else f"all {of} trials"
    return _capital(words) if capital else words


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
