"""What a leaderboard says, in a few sentences, and what its numbers cannot carry."""

import re

import polars as pl

from benchmark.leaderboard import OK, Leaderboard
from benchmark.measures import CHANCE

FEW = 0.8  # of the test images with a ratio, below which a cell is said to have few
MUCH = 0.2  # of a map outside the field of view, above which it is said

AVERAGED = (("cells", "seeds"), ("strategies", "backbones"), ("backbones", "strategies"))  # family, averaged over


def conclusions(board: Leaderboard) -> list[str]:
    """Whether cells predict, whether they need vessels, and whether the best differ from the others."""
    done = board.cells.filter(status=OK)
    if done.is_empty():
        return []
    able = done.filter(pl.col("auc_low") > CHANCE)
    told = [_prediction(done, able), _unknown(done), _ratios(done, able), _erasure(able), _best(board, done)]
    told += [_averages(board, *each) for each in AVERAGED]
    return [sentence for sentence in told if sentence]


def cautions(board: Leaderboard) -> list[str]:
    """Cells whose ratio rests on some of the images alone, and maps of where there is nothing to see."""
    done = board.cells.filter(status=OK)
    few = done.filter(pl.col("n_ratio") < FEW * pl.col("n_images"))
    outside = done.filter(pl.col("outside_share") > MUCH)
    told = []
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
    return told


def risk_stated(board: Leaderboard) -> str:
    """How the scores of the cells became the probabilities that calibration, Brier score and net benefit are of."""
    made = board.cells.filter(status=OK).select("risk_intercept", "risk_slope")
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


def _prediction(done: pl.DataFrame, able: pl.DataFrame) -> str:
    if able.is_empty() and done["auc_low"].has_nulls():
        return ""
    if able.is_empty():
        none = "The cell does not predict" if len(done) == 1 else f"None of {len(done)} cells predicts"
        return f"{none} better than chance: the interval of the AUC holds 0.5 or lies below it."
    if len(able) == len(done):
        return f"{_cells(len(able), len(done))} {_predict(len(able))} better than chance."
    return f"{_cells(len(able), len(done))} {_predict(len(able))} better than chance (interval of the AUC above 0.5)."


def _unknown(done: pl.DataFrame) -> str:
    unknown = done.filter(pl.col("auc_low").is_null())
    if unknown.is_empty():
        return ""
    who = f"{_cells(len(unknown), len(done))} {_have(len(unknown))}"
    return f"{who} no interval of the AUC: it is 0 or 1, or too few people are of one class."


def _best(board: Leaderboard, done: pl.DataFrame) -> str:
    """Of single trainings; where cells have several, `_averages` says more."""
    others = len(done) - 1
    if not others or not board.averages.filter(family="cells").is_empty():
        return ""
    best, different = done.row(0, named=True), len(done) - done.filter("tied_best").height
    if not different:
        return "Among these trained models, no AUC differs significantly from the highest."
    name = f"{best['backbone']}, {best['strategy']}" + (f", seed {best['seed']}" if done["seed"].n_unique() > 1 else "")
    return f"Highest AUC of these trained models: {name}, {best['auc']:.3f}; {_differ(different, others)}."


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


def _erasure(able: pl.DataFrame) -> str:
    erased = able.drop_nulls("auc_drop_difference_low")
    if erased.is_empty():
        return ""
    need = erased.filter(pl.col("auc_drop_difference_low") > 0).height
    why = "without vessels the AUC falls more than with as much painted elsewhere"
    if len(erased) == 1:
        return f"It needs the vessels: {why}." if need else "It is not shown to need the vessels."
    those = f"Of the {len(erased)} that predict and were tried without vessels"
    return f"{those}, {need or 'none'} {'needs' if need < 2 else 'need'} the vessels: {why}."


def _ratios(done: pl.DataFrame, able: pl.DataFrame) -> str:
    if able.is_empty() and not done["auc_low"].has_nulls() and done["vessel_ratio"].is_not_null().any():
        return "Vessel ratios then say little: a model that has learned nothing can look at vessels, too."
    return ""


def _cells(count: int, of: int, capital: bool = True) -> str:
    words = f"{count} of {of} cells" if count < of else "the cell" if of == 1 else f"all {of} cells"
    return words[0].upper() + words[1:] if capital else words


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _predict(count: int) -> str:
    return "predicts" if count == 1 else "predict"
