"""What a leaderboard says, in a few sentences, and what its numbers cannot carry."""

import re
from collections.abc import Sequence

import polars as pl

from benchmark.analysis.comparisons import EQUIVALENT, NOT_KNOWN, TRIAL
from benchmark.analysis.leaderboard import OK, Leaderboard
from benchmark.analysis.planted import INDICATORS, OUTCOMES, Planted
from benchmark.study.patients import OfEachClass, too_few
from benchmark.synthetic.population import Signal
from stats.jackknife import TAIL

FEW = 0.8  # of the test images with a ratio, below which a cell is said to have few
MUCH = 0.2  # of a map outside the field of view, above which it is said

PLANTED: dict[Signal, str] = {
    "vessels": "in the arteries",
    "periphery": "in spots of the periphery, away from the vessels",
}

AVERAGED = (("cells", "seeds"), ("strategies", "backbones"), ("backbones", "strategies"))  # family, averaged over


def conclusions(board: Leaderboard, margin: float = 0.03) -> list[str]:
    """Which cells are shown to predict and to depend on the vessels, and whether the best differ from the others.

    margin: two AUCs that differ by less count as equivalent.
    """
    done = board.trials.filter(status=OK)
    if done.is_empty():
        return []
    able = done.filter("predicts")
    told = [
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
    ]
    return [sentence for sentence in told if sentence]


def cautions(board: Leaderboard) -> list[str]:
    """Few patients of a class, cells whose ratio rests on some images alone, maps of where there is nothing to see."""
    done = board.trials.filter(status=OK)
    few = done.filter(pl.col("n_ratio") < FEW * pl.col("n_images"))
    outside = done.filter(pl.col("outside_share") > MUCH)
    told = [sentence for sentence in [_few_patients(done)] if sentence]
    if len(few):
        least = few.row(few["n_ratio"].arg_min() or 0, named=True)
        told.append(
            f"{_cells(len(few), len(done))} {_have(len(few))} a ratio for less than {100 * FEW:.0f} % of the test "
            f"images, the least for {least['n_ratio']} of {least['n_images']} ({least['n_images'] - least['n_map']} of "
            "its maps have no positive value)."
        )
    if len(outside):
        most = max(outside["outside_share"].to_list())
        told.append(
            f"In {_cells(len(outside), len(done), capital=False)} more than {100 * MUCH:.0f} % of the maps, up to "
            f"{100 * most:.0f} %, lie outside the field of view, where there is nothing to see: read the ratios inside "
            "it."
        )
    return told + [sentence for sentence in [_heavy_tails(done)] if sentence]


def _heavy_tails(done: pl.DataFrame) -> str:
    """Cells in which a few patients carry the mean ratio, which makes its interval too narrow."""
    heavy = done.filter(pl.max_horizontal("vessel_ratio_skewness", "vessel_ratio_fov_skewness") > TAIL)
    if heavy.is_empty():
        return ""
    return (
        f"The interval of the vessel ratio is likely too narrow in {_cells(len(heavy), len(done), capital=False)}: "
        "a few patients have much higher ratios than the others. Use the geometric mean instead (“Does the convention "
        "matter?”, ratios.csv)."
    )


def _few_patients(done: pl.DataFrame) -> str:
    """What few patients of a class in the test set do to every cell alike."""
    if done.is_empty():
        return ""
    return too_few(OfEachClass(*done.select("n_positive_patients", "n_negative_patients").row(0)))


def risk_stated(board: Leaderboard) -> str:
    """How the scores of the cells became the probabilities that calibration, Brier score and net benefit are of."""
    made = board.trials.filter(status=OK).select("risk_intercept", "risk_slope")
    balanced = made.filter((pl.col("risk_slope") == 1) & (pl.col("risk_intercept") != 0))
    recalibrated = made.filter(pl.col("risk_slope") != 1)
    told = []
    if len(recalibrated):
        told.append(
            f"Risks: scores recalibrated on validation ({_cells(len(recalibrated), len(made), capital=False)})."
        )
    if len(balanced):
        told.append(
            "Risks: scores from which the balancing of the classes in training is removed "
            f"({balanced['risk_intercept'][0]:+.2f} on the logit scale), so they refer to the share of positives among "
            "the training images."
        )
    return " ".join(told) or "Risks: the scores as the models give them."


def planted_found(planted: Planted) -> str:
    """Where a synthetic study's signal is, and for how many cells that predict each measure names the vessels."""
    if not planted.has_signal:
        why = "the best possible AUC is 0.5" if planted.cohort.effect else "severity does not show (effect 0)"
        return f"No signal was planted: {why}, so no measure is judged."
    signal, done = planted.cohort.signal, planted.trials
    where = f"The signal is {PLANTED[signal]}."
    able = done.filter("predicts")
    if able.is_empty():
        why = "a model cannot use what it has not learned"
        return f"{where} No cell is shown to predict better than chance, so no measure is judged: {why}."
    told = f"{where} {_cells(len(able), len(done))} {_are(len(able))} shown to predict better than chance."
    verdicts = [(each.called, able[f"{each.name}_verdict"].drop_nulls().to_list()) for each in INDICATORS]
    counts = [(called, _named_of(found, signal)) for called, found in verdicts if found]
    if not counts:
        return f"{told} No measure has a verdict."
    (first, count), *others = counts
    names = "names the vessels" if OUTCOMES[signal]["vessels"] == "right" else "wrongly names the vessels"
    return f"{told} {_capital(_listed([f'{first} {names} {count}', *(' '.join(other) for other in others)]))}."


def _named_of(verdicts: Sequence[str], signal: Signal) -> str:
    count, elsewhere = verdicts.count("vessels"), verdicts.count("elsewhere")
    how = {"right": "rightly", "wrong": "wrongly"}[OUTCOMES[signal]["elsewhere"]]
    told = f"for {count or 'none'} of {len(verdicts)}"
    return f"{told} (it {how} points elsewhere for {elsewhere})" if elsewhere else told


def _prediction(done: pl.DataFrame, able: pl.DataFrame) -> str:
    if able.is_empty() and done["predicts"].has_nulls():
        return ""
    how = "AUC against 0.5" + (f", adjusted for {len(done)} cells" if len(done) > 1 else "")
    if able.is_empty():
        who = "The cell is not" if len(done) == 1 else "No cell is"
        return f"{who} shown to predict better than chance ({how})."
    return f"{_cells(len(able), len(done))} {_are(len(able))} shown to predict better than chance ({how})."


def _unknown(done: pl.DataFrame) -> str:
    unknown = done.filter(pl.col("predicts").is_null())
    if unknown.is_empty():
        return ""
    who = f"{_cells(len(unknown), len(done))} {_have(len(unknown))}"
    return f"{who} no interval of the AUC: it is 0 or 1, or too few patients are of one class."


def _best(board: Leaderboard, done: pl.DataFrame) -> str:
    """Of single trainings; where cells have several, `_averages` says more."""
    others = len(done) - 1
    if not others or _of_several_seeds(board):
        return ""
    best, different = done.row(0, named=True), len(done) - done.filter("tied_best").height
    if not different:
        return "Among these trained models, no AUC differs significantly from the highest."
    name = f"{best['backbone']}, {best['strategy']}" + (f", seed {best['seed']}" if done["seed"].n_unique() > 1 else "")
    return f"Highest AUC of these trained models: {name}, {best['auc']:.3f}; {_differ(different, others)}."


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
    told = f"{family.capitalize()}, averaged over {averaged_over}: "
    told += f"highest AUC {name}, {best['mean']:.3f}; {_differ(different, len(others))}"
    return f"{told} (holds for {best['holds_for']})."


def _differ(different: int, others: int) -> str:
    if different == others:
        return "the other differs significantly" if others == 1 else f"all {others} others differ significantly"
    return f"{different or 'none'} of {others} others {'differs' if different < 2 else 'differ'} significantly"


def _letters(group: str) -> set[str]:
    return set(re.findall(r"[a-z]'*", group))


def _equivalent(board: Leaderboard, done: pl.DataFrame, margin: float) -> str:
    """Of the trained models that are not shown to differ from the highest: how many are shown to be as good."""
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
        return f"Whether {which} is equivalent to the highest within {margin:g} of AUC is not known: {neither}."
    told = f"Of the {others}, {equivalent} {_are(equivalent)} equivalent to the highest within {margin:g} of AUC"
    return f"{told}; for {unknown}, {neither}." if unknown else f"{told}."


def _optimism(done: pl.DataFrame) -> str:
    best = done.row(0, named=True)
    if len(done) < 2 or best["auc_corrected"] is None:
        return ""
    return (
        f"The highest of {len(done)} AUCs, {best['auc']:.3f}, is too high on average, because it was chosen as the "
        f"highest; corrected for this it is {best['auc_corrected']:.3f}."
    )


def _erasure(able: pl.DataFrame) -> str:
    erased = able.filter(pl.col("depends").is_not_null())
    if erased.is_empty():
        return ""
    count = erased.filter("depends").height
    why = "the AUC falls without vessels, and falls more than with as much painted elsewhere"
    if len(erased) == 1:
        return f"It is shown to depend on the vessels: {why}." if count else "It is not shown to depend on the vessels."
    those = f"Of the {len(erased)} cells that predict and were tested without vessels"
    if not count:
        return f"{those}, none is shown to depend on the vessels."
    return f"{those}, {count} {_are(count)} shown to depend on the vessels: {why}."


def _misled(able: pl.DataFrame) -> str:
    misled = able.filter("erased_reversed")
    if misled.is_empty():
        return ""
    return (
        f"Without vessels {_named(misled, able)} {'rank' if len(misled) > 1 else 'ranks'} patients the wrong way round "
        "(AUC below 0.5): painted images mislead rather than lack something, so whether the vessels are needed is "
        "not known."
    )


def _disagreements(able: pl.DataFrame) -> list[str]:
    """Cells whose map and erasure point to different answers, by name."""
    both = able.drop_nulls(["depends", "above_null"]).filter(~pl.col("erased_reversed").fill_null(False))
    only_map, only_erasure = (
        both.filter("above_null", ~pl.col("depends")),
        both.filter("depends", ~pl.col("above_null")),
    )
    told = []
    if len(only_map):
        told.append(
            f"Map and erasure do not agree for {_named(only_map, able)}: the vessel ratio is above that with other "
            f"patients’s vessels, but {_it(only_map)} not shown to depend on the vessels."
        )
    if len(only_erasure):
        told.append(
            f"Map and erasure do not agree for {_named(only_erasure, able)}: {_it(only_erasure)} shown to depend on "
            "the vessels, but the vessel ratio is not shown to be above that with other patients’s vessels."
        )
    return told


def _ratios(done: pl.DataFrame, able: pl.DataFrame) -> str:
    marked = done.filter(~pl.col("predicts"), pl.col("vessel_ratio").is_not_null())
    if marked.is_empty():
        return ""
    who = (
        "Vessel ratios"
        if able.is_empty() and len(marked) == len(done)
        else f"Vessel ratios of the {len(marked)} cells marked †"
        if len(marked) > 1
        else f"The vessel ratio of {_named(marked, done)} (marked †)"
    )
    verb = "is" if who.startswith("The vessel ratio ") else "are"
    return f"{who} {verb} hard to interpret: an untrained model can also highlight vessels."


def _named(cells: pl.DataFrame, among: pl.DataFrame) -> str:
    """The names of cells in a sentence."""
    seeds = among["seed"].n_unique() > 1
    names = [
        f"{backbone} {strategy}" + (f" seed {seed}" if seeds else "")
        for backbone, strategy, seed in cells.select(*TRIAL).iter_rows()
    ]
    return _listed(names)


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _it(cells: pl.DataFrame) -> str:
    return "the model is" if len(cells) == 1 else "the models are"


def _others(count: int) -> str:
    return "other cell" if count == 1 else f"{count} other cells"


def _cells(count: int, of: int, capital: bool = True) -> str:
    words = f"{count} of {of} cells" if count < of else "the cell" if of == 1 else f"all {of} cells"
    return _capital(words) if capital else words


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
