"""The tables of planted truth, compared with the same numbers computed from the runs' files by other means."""

import itertools
import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest, spearmanr
from sklearn.metrics import roc_auc_score

from benchmark.analysis.leaderboard import build
from benchmark.errors import UserError
from benchmark.experiments.planted_truth import (
    MEASURES,
    SIGNALS,
    area,
    cell_rows,
    correlation,
    groups,
    lowest_trusted,
    main,
    read_trials,
    share_right,
)
from benchmark.storage.rundir import RunDirectory, write_json, write_parquet, write_text
from benchmark.study.config import Study
from benchmark.study.trials import trials_of
from benchmark.trial.compute_controls import COMPUTE
from tests.benchmark import explained
from tests.benchmark.trials import write_cohort, write_trial

# For each seed, how strongly scores follow the label. The first learns nothing.
STRENGTHS = (0.0, 0.6, 1.0, 2.5)
TOLERANCE = 0.06  # of bounds between some resamples and all


def study_of(signal, **changes):
    return Study.model_validate(
        {
            "name": f"planted-{signal}",
            "cohort": {"synthetic": {"patients": 40, "image_size": 128, "signal": signal, "seed": 3}},
            "backbones": ["dinov2-tiny", "retfound-tiny"],
            "strategies": ["partial", "lora"],
            "seeds": list(range(len(STRENGTHS))),
            "statistics": {"resamples": 200},
        }
        | changes
    )


def write_run(path, signal, rng):
    """Trials as the stages write them; maps and erasure show where the signal is, more clearly for higher AUCs.

    One trial has no controls, and one has failed.
    """
    directory, study = write_cohort(RunDirectory(path)), study_of(signal)
    write_text(directory.study, study.model_dump_json())
    towards = 1 if signal == "vessels" else -1
    cells = trials_of(study)
    for place, cell in enumerate(cells[:-1]):
        strength = STRENGTHS[cell.seed]
        ratio = 1 + towards * (0.12 * strength + rng.uniform(0, 0.03)) if strength else 1.4
        folder = write_trial(directory, cell, strength, ratio, seed=100 + place)
        if place == 0:
            continue
        for file, mean in ((folder.vessel_permutation, ratio), (folder.other_class, 2.2 - ratio + rng.normal(0, 0.05))):
            null, sd = 1.1 + rng.normal(0, 0.02), 0.02
            deviations = abs(mean - null) / sd
            p_value = 0.002 if deviations > 3 else 0.03 if deviations > 2 else 0.4
            found = {"ratio": mean, "null": null, "null_sd": sd, "p_value": 0.5, "p_two_sided": p_value}
            write_json(file, {"vessel_ratio_fov": found})
        test = pl.read_parquet(folder.predictions).filter(split="test")
        ratios = pl.read_parquet(folder.saliency).select("image", "patient_id", "vessel_ratio_fov")[::2]
        random = pl.Series("vessel_ratio_fov_random", 1.0 + 0.02 * rng.normal(size=len(ratios)))
        write_parquet(folder.randomised, ratios.with_columns(random))
        noise = rng.normal(size=len(test))
        lost = {"erased": noise if signal == "vessels" else test["score"] + 0.01 * noise, "control": test["score"]}
        write_parquet(folder.erasure, test.with_columns(**lost))
    write_text(directory.trial(cells[-1]).failure, "out of memory")
    write_parquet(directory.leaderboard("parquet"), build(directory, cells, study.statistics).trials)
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    rng = np.random.default_rng(1)
    return {signal: write_run(tmp_path_factory.mktemp(signal), signal, rng) for signal in SIGNALS}


@pytest.fixture(scope="module")
def trials(runs):
    return [trial for signal in SIGNALS for trial in read_trials(runs[signal])]


@pytest.fixture(scope="module")
def files(runs):
    """By signal, backbone, strategy and seed: the files' numbers, with the claims that a reader of a page makes."""
    found = []
    for signal, path in runs.items():
        for row in pl.read_parquet(path / "leaderboard.parquet").filter(status="ok").iter_rows(named=True):
            folder = path / "trials" / "{backbone}-{strategy}-s{seed}".format(**row)
            mine = {"signal": signal, "cell": (row["backbone"], row["strategy"]), "auc": row["auc"]}
            mine |= {"predicts": row["auc_p_holm"] <= 0.05 and row["auc"] > 0.5, "claims": {}, "scores": {}}
            claims, scores = mine["claims"], mine["scores"]
            claims["ratio"], scores["ratio"] = row["vessel_ratio_fov_low"] > 1, row["vessel_ratio_fov"]
            if (folder / "vessel_permutation.json").is_file():
                either = []
                for name, file in (("ratio", "vessel_permutation.json"), ("other class", "other_class.json")):
                    null = json.loads((folder / file).read_text())["vessel_ratio_fov"]
                    higher, name = null["ratio"] - null["null"], f"{name}, permutation test"
                    claims[name], scores[name] = null["p_two_sided"] < 0.05 and higher > 0, higher / null["null_sd"]
                    either.append((null["p_two_sided"] < 0.025 and higher > 0, scores[name]))
                name = "either class, permutation test"
                claims[name], scores[name] = any(above for above, _ in either), max(score for _, score in either)
                random = pl.read_parquet(folder / "parameter_randomisation.parquet").drop_nulls()
                name = "ratio, random weights"
                claims[name], scores[name] = bootstrap_ratio(random)
                erased = pl.read_parquet(folder / "erasure.parquet")
                auc = {name: roc_auc_score(erased["label"], erased[name]) for name in ("score", "erased", "control")}
                name, scores["erasure difference"] = "erasure difference", auc["control"] - auc["erased"]
                claims[name] = row["auc_drop_difference_low"] > 0
                name = "erasure, both drops"
                lost = row["auc_drop_difference_low"] > 0 and row["auc_drop_erased_low"] > 0
                claims[name] = lost and row["auc_erased_high"] >= 0.5
                scores[name] = min(auc["control"] - auc["erased"], auc["score"] - auc["erased"])
            found.append(mine)
    return found


def bootstrap_ratio(table):
    """Whether the ratio of the means, resampled over patients, lies above 1, and the ratio."""
    rng = np.random.default_rng(0)
    by_patient = table.group_by("patient_id", maintain_order=True).agg(pl.col("^vessel.*$").sum())
    sums = by_patient.select("vessel_ratio_fov", "vessel_ratio_fov_random").to_numpy()
    drawn = sums[rng.integers(len(sums), size=(2000, len(sums)))].sum(axis=1)
    own, random = sums.sum(axis=0)
    return np.quantile(drawn[:, 0] / drawn[:, 1], 0.025) > 1, own / random


def chosen(files, group):
    """The trials of a group."""
    low, high = {"all": (0, 1), "AUC above 0.5": (0, 1)}.get(group) or map(float, group[4:].split(" to "))
    return [
        row
        for row in files
        if (low <= row["auc"] < high or row["auc"] == high == 1) and (group != "AUC above 0.5" or row["predicts"])
    ]


def test_every_trial_with_results_is_read(trials, files):
    assert [(trial.signal, (trial.backbone, trial.strategy), trial.auc) for trial in trials] != []
    assert len(trials) == len(files) == 2 * (4 * len(STRENGTHS) - 1), "one of each run failed"
    assert {trial.seed for trial in trials} == set(range(len(STRENGTHS)))
    assert 0 < sum(trial.predicts for trial in trials) < len(trials)
    asked = {name: sum(trial.findings[name].verdict != "no answer" for trial in trials) for name in MEASURES}
    assert asked == dict.fromkeys(MEASURES, len(trials) - 2) | {"ratio": len(trials)}, "one of each has no control"


@pytest.mark.parametrize("measure", MEASURES)
def test_how_often_a_measure_is_right(trials, files, measure):
    """Vessels are named if the signal is in them, and not otherwise; Wilson's interval as in SciPy."""
    counted = 0
    for group, members in groups(trials).items():
        for signal in SIGNALS:
            rows = [row for row in chosen(files, group) if row["signal"] == signal and measure in row["claims"]]
            right = [row for row in rows if row["claims"][measure] == (signal == "vessels")]
            found = share_right([trial for trial in members if trial.signal == signal], measure)
            assert (found.right, found.n) == (len(right), len(rows)), (group, signal)
            assert found.cells == len({row["cell"] for row in rows})
            if not rows:
                continue
            counted += group.startswith("AUC 0")
            wilson = binomtest(len(right), len(rows)).proportion_ci(method="wilson")
            assert found.of_trials == pytest.approx((wilson.low, wilson.high))
            assert found.of_cells[0] <= found.of_trials[0] and found.of_cells[1] >= found.of_trials[1]
    assert counted >= 4, "bands of either study have trials"


def test_an_interval_over_cells_is_that_of_as_many_trials(trials):
    """Four cells with three trials each, half of them right."""
    ratio = [trial for trial in trials if trial.signal == "vessels" and trial.seed in (0, 1, 2)]
    found = share_right(ratio, "ratio")
    assert (found.n, found.cells) == (12, 4)
    z, share = 1.959964, found.right / 12
    centre, margin = share + z**2 / 8, z * np.sqrt(share * (1 - share) / 4 + z**2 / 64)
    expected = [(centre + side * margin) / (1 + z**2 / 4) for side in (-1, 1)]
    assert found.of_cells == pytest.approx(expected, abs=1e-5)


def resampled_cells(rows, statistic):
    """95 % interval of a statistic over all 256 ways to draw four cells with replacement, each with its rows."""
    of_cells = [[row for row in rows if row["cell"] == cell] for cell in sorted({row["cell"] for row in rows})]
    places = range(len(of_cells))
    of_each = {  # in whatever order the cells are drawn
        drawn: statistic([row for place in drawn for row in of_cells[place]])
        for drawn in itertools.combinations_with_replacement(places, len(of_cells))
    }
    values = [of_each[tuple(sorted(drawn))] for drawn in itertools.product(places, repeat=len(of_cells))]
    return np.nanquantile(values, [0.025, 0.975])


def auc_of(rows, measure):
    labels = [row["signal"] == "vessels" for row in rows]
    return roc_auc_score(labels, [row["scores"][measure] for row in rows]) if len(set(labels)) == 2 else np.nan


@pytest.mark.parametrize("measure", MEASURES)
def test_how_well_a_score_tells_the_studies_apart(trials, files, measure):
    for group, members in groups(trials).items():
        rows = [row for row in chosen(files, group) if measure in row["scores"]]
        value, _ = area(members, measure)
        assert value == pytest.approx(auc_of(rows, measure), rel=1e-9, nan_ok=True)
    rows = [row for row in files if measure in row["scores"]]
    value, interval = area(trials, measure)
    assert interval == pytest.approx(resampled_cells(rows, lambda drawn: auc_of(drawn, measure)), abs=TOLERANCE)
    assert interval[0] < value < interval[1]


def rho_of(rows, measure):
    points = np.round([(row["auc"], row["scores"][measure]) for row in rows], 12)  # equal AUCs are ties
    constant = len(points) < 3 or np.ptp(points, axis=0).min() == 0
    return np.nan if constant else spearmanr(points).statistic


@pytest.mark.parametrize("measure", ["ratio", "erasure difference"])
@pytest.mark.parametrize("signal", SIGNALS)
def test_the_auc_with_a_measure(trials, files, signal, measure):
    rows = [row for row in files if row["signal"] == signal and measure in row["scores"]]
    mine = [trial for trial in trials if trial.signal == signal]
    rho, interval, n = correlation(mine, measure, means=False)
    assert (rho, n) == (pytest.approx(rho_of(rows, measure)), len(rows))
    assert interval == pytest.approx(resampled_cells(rows, lambda drawn: rho_of(drawn, measure)), abs=TOLERANCE)

    means = []
    for cell in sorted({row["cell"] for row in rows}):
        of_cell = [row for row in rows if row["cell"] == cell]
        score = np.mean([row["scores"][measure] for row in of_cell])
        means.append({"cell": cell, "auc": np.mean([row["auc"] for row in of_cell]), "scores": {measure: score}})
    rho, interval, n = correlation(mine, measure, means=True)
    assert (rho, n) == (pytest.approx(rho_of(means, measure)), 4)


def test_the_auc_from_which_a_measure_can_be_trusted(trials, files):
    bands = {0.8: "AUC 0.8 to 1", 0.7: "AUC 0.7 to 0.8", 0.6: "AUC 0.6 to 0.7", 0.0: "AUC 0 to 0.6"}
    found = {}
    for measure in MEASURES:
        lowest = np.nan
        for low, group in bands.items():
            rows = [row for row in chosen(files, group) if measure in row["claims"]]
            shares = [
                [row["claims"][measure] == (signal == "vessels") for row in rows if row["signal"] == signal]
                for signal in SIGNALS
            ]
            if min(np.mean(share or [False]) for share in shares) < 0.8:
                break
            lowest = low
        found[measure] = lowest_trusted(trials, measure)
        assert found[measure] == pytest.approx(lowest, nan_ok=True), measure
    assert 0 < found["ratio"] < 1, "a ratio that is high although nothing was learned is not trusted"
    of_one = [trial for trial in trials if trial.signal == "vessels"]
    assert np.isnan(lowest_trusted(of_one, "ratio")), "nothing is known of the other study"


def test_the_tables_say_the_numbers(runs, files, capsys):
    main([runs["periphery"], runs["vessels"]])
    printed = [line for line in capsys.readouterr().out.splitlines() if line]
    blocks = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in printed]
    [row] = [row for row in blocks if row[:2] == ["periphery", "retfound-tiny, partial, effect 1"]]
    mine = [one for one in files if one["signal"] == "periphery" and one["cell"] == ("retfound-tiny", "partial")]
    aucs = [one["auc"] for one in mine]
    assert row[2:4] == ["4", str(sum(one["predicts"] for one in mine))]
    assert row[4] == f"{np.median(aucs):.2f} ({min(aucs):.2f} to {max(aucs):.2f})"
    assert row[5].startswith(f"{np.mean([one['scores']['ratio'] for one in mine]):.2f} (")
    assert row[7].startswith(f"{np.mean([one['scores']['erasure difference'] for one in mine]):z.3f} (")
    above, below, neither = map(int, row[6].split(" / "))
    assert above == sum(one["claims"]["ratio, permutation test"] for one in mine) and above + below + neither == 4
    assert below >= 1, "where the map leaves the vessels out"

    [row] = [row for row in blocks if row[:2] == ["ratio", "all"]]
    right = sum(one["claims"]["ratio"] for one in files if one["signal"] == "vessels")
    assert row[2].startswith(f"{right}/15 of 4 cells, {100 * right / 15:.0f} % (")
    assert row[4].startswith(f"{auc_of(files, 'ratio'):.2f} (")
    assert len([row for row in blocks if row[0] in MEASURES]) == 7 * len(MEASURES)
    assert len([row for row in blocks if row[2:3] in (["ratio"], ["erasure difference"])]) == 8


def test_runs_of_one_signal_are_told_apart_by_its_effect(runs, trials):
    weaker = [replace(trial, effect=0.5) for trial in trials]
    cells = {row[1] for row in cell_rows([*trials, *weaker])}
    assert cells == {
        f"{trial.backbone}, {trial.strategy}, effect {effect}" for trial in trials for effect in ("1", "0.5")
    }


def test_a_missing_signal_and_unfinished_or_real_runs_are_refused(runs, tmp_path):
    with pytest.raises(UserError, match="no run has its signal in the vessels"):
        main([runs["periphery"], runs["periphery"]])
    with pytest.raises(UserError, match=r"no leaderboard\.parquet"):
        main([runs["vessels"], tmp_path])
    real = study_of("vessels", cohort={"manifest": "cohort.csv"})
    write_text(RunDirectory(tmp_path).study, real.model_dump_json())
    write_parquet(RunDirectory(tmp_path).leaderboard("parquet"), pl.DataFrame({"status": ["ok"]}))
    with pytest.raises(UserError, match="the cohort is not synthetic"):
        main([runs["vessels"], tmp_path])


@pytest.mark.slow
def test_what_the_controls_write_is_what_is_read(tmp_path, capsys):
    """For two seeds of an untrained model, in each run; without Ray."""
    for signal in SIGNALS:
        cohort = {"synthetic": {"patients": 10, "signal": signal}}
        study = explained.study_of(
            cohort=cohort, seeds=[0, 1], controls={"draws": 50, "seeds": 2, "images": explained.N}
        )
        run = explained.write_trained(study, tmp_path / signal)
        for cell in explained.write_explained(study, run):
            for find in COMPUTE.values():
                find(cell)
        write_text(run.study, study.model_dump_json())
        write_parquet(run.leaderboard("parquet"), build(run, trials_of(study), study.statistics).trials)
    trials = [trial for signal in SIGNALS for trial in read_trials(tmp_path / signal)]
    assert len(trials) == 4
    verdicts = {finding.verdict for trial in trials for finding in trial.findings.values()}
    assert verdicts <= {"above", "below", "not shown"}
    for trial in trials:
        folder = tmp_path / trial.signal / "trials" / f"{trial.backbone}-{trial.strategy}-s{trial.seed}"
        table = pl.read_parquet(folder / "parameter_randomisation.parquet").drop_nulls()
        assert 2 <= len(table) < explained.N, "one image has no vessels, and some maps have no positive value"
        expected = table["vessel_ratio_fov"].mean() / table["vessel_ratio_fov_random"].mean()
        assert trial.findings["ratio, random weights"].score == pytest.approx(expected)
    main([tmp_path / signal for signal in SIGNALS])
    assert "| periphery | dinov2-tiny, classifier_only, effect 1 | 2 |" in capsys.readouterr().out
