"""Comparison of runs: paired if they tested the same patients, and only then."""

import shutil

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from benchmark.analysis.compare import SCHEMA, compare_runs
from benchmark.analysis.comparisons import COMPARED
from benchmark.analysis.leaderboard import build
from benchmark.errors import UserError
from benchmark.storage.rundir import RunDirectory, write_parquet
from benchmark.study.config import Statistics, Study
from stats.delong import delong_test
from stats.multiple import holm
from tests.benchmark.trials import change, one_trial, write_cohort, write_trial


def write_run(path, strengths, ratio=1.2, seed=0, **statistics):
    """A run with a trained trial for each strategy -> strength; None: a trial that is not finished."""
    directory = RunDirectory(path)
    study = Study.model_validate(
        {
            "name": path.name,
            "cohort": {"manifest": "x.csv"},
            "backbones": ["dinov2-tiny"],
            "strategies": list(strengths),
            "statistics": {"resamples": 200, **statistics},
        }
    )
    directory.claim(study.dump(), resume=False)
    write_cohort(directory)
    for strategy, strength in strengths.items():
        if strength is not None:
            write_trial(directory, one_trial(strategy), strength, ratio, seed)
    return path


@pytest.fixture
def first(tmp_path):
    return write_run(tmp_path / "first", {"lora": 1.0, "partial": 2.0})


def only(table, **named):
    (row,) = table.filter(**named).to_dicts()
    return row


def test_the_same_patients_are_paired(first, tmp_path):
    second = write_run(tmp_path / "second", {"lora": 3.0, "partial": 2.0}, ratio=1.5)
    table = compare_runs([first, second])
    assert table.columns == list(SCHEMA)
    assert table.select("measure", "strategy").rows() == [(m, s) for m in COMPARED for s in ("lora", "partial")]
    assert set(table.select("run_a", "run_b").rows()) == {(str(first), str(second))}

    trials = [RunDirectory(path).trial(one_trial("lora")) for path in (first, second)]
    a, b = (pl.read_parquet(trial.predictions).filter(split="test").sort("image") for trial in trials)
    row = only(table, measure="auc", strategy="lora")
    assert row["a"] == pytest.approx(roc_auc_score(a["label"], a["score"]), abs=1e-12)
    assert row["b"] == pytest.approx(roc_auc_score(b["label"], b["score"]), abs=1e-12)
    assert row["difference"] == pytest.approx(row["b"] - row["a"], abs=1e-12)
    assert 0 < row["low"] < row["difference"] < row["high"]
    patients = a["patient_id"].to_numpy()
    expected = delong_test(a["label"].to_numpy(), b["score"].to_numpy(), a["score"].to_numpy(), patients)
    assert (row["p_value"], row["method"]) == (pytest.approx(expected.p_value), "DeLong, clustered by patient")
    ratio = only(table, measure="vessel_ratio", strategy="lora")
    assert ratio["difference"] == pytest.approx(0.3, abs=1e-9)
    assert (ratio["low"], ratio["p_value"]) == (None, None), "no patient changes the difference"


def test_values_and_intervals_are_those_of_the_runs_own_leaderboards(first, tmp_path):
    second = write_run(tmp_path / "second", {"lora": 3.0}, seed=1)
    table = compare_runs([first, second]).filter(strategy="lora")
    for side, path in (("a", first), ("b", second)):
        own = build(RunDirectory(path), [one_trial("lora")], Statistics(resamples=200)).trials.row(0, named=True)
        for end in ("", "_low", "_high"):
            found = dict(table.select("measure", f"{side}{end}").iter_rows())
            assert found == pytest.approx({measure: own[f"{measure}{end}"] for measure in COMPARED})


def test_n_counts_the_images_behind_a_number(first, tmp_path):
    """Five of 80 test images have no ratio, and in the second run five more have no vein."""
    second = write_run(tmp_path / "second", {"lora": 1.0})
    without = pl.when(pl.int_range(pl.len()) < 10).then(None).otherwise("vein_ratio")
    change(RunDirectory(second).trial(one_trial("lora")).saliency, without.alias("vein_ratio"))
    table = compare_runs([first, second])
    counts = {row["measure"]: (row["n_a"], row["n_b"]) for row in table.filter(strategy="lora").to_dicts()}
    ratios = dict.fromkeys(("artery_ratio", "vessel_ratio", "vessel_ratio_fov"), (75, 75))
    assert counts == {"auc": (80, 80), "f1": (80, 80), "vein_ratio": (75, 70)} | ratios
    assert only(table, strategy="lora", measure="vein_ratio")["n_images"] == 70, "those that have it in both"
    alone = only(table, strategy="partial", measure="auc")
    assert (alone["n_b"], alone["n_images"]) == (None, None)


def test_a_run_and_its_copy_differ_by_nothing_in_whatever_order_the_images_come(first, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(first, copy)
    directory = RunDirectory(copy)
    write_parquet(directory.cohort, pl.read_parquet(directory.cohort).sample(fraction=1, shuffle=True, seed=3))
    table = compare_runs([first, copy])
    assert table.select("low", "difference", "high").to_numpy() == pytest.approx(np.zeros((12, 3)), abs=1e-12)
    aucs = table.filter(measure="auc")
    assert aucs["p_value"].to_list() == aucs["p_holm"].to_list() == [1, 1]


@pytest.mark.parametrize("what", ["label", "patient_id", "image"])
def test_other_patients_labels_or_images_are_not_paired(first, tmp_path, what):
    other = tmp_path / "other"
    shutil.copytree(first, other)
    files = [RunDirectory(other).cohort]
    files += [
        getattr(RunDirectory(other).trial(one_trial(s)), f)
        for s in ("lora", "partial")
        for f in ("predictions", "saliency")
    ]
    last = (pl.col("image") == "79.png") & (pl.col("patient_id") == "p39")
    for file in files:
        if what in pl.read_parquet_schema(file):
            new = 1 - pl.col(what) if what == "label" else pl.col(what) + "-"
            change(file, pl.when(last).then(new).otherwise(pl.col(what)).alias(what))
    table = compare_runs([first, other])
    assert table["method"].unique().to_list() == ["other test patients"]
    assert table.select("difference", "low", "high", "p_value", "p_holm").null_count().row(0) == (len(table),) * 5
    alone = table.select("a", "a_low", "a_high", "n_a", "b", "b_low", "b_high", "n_b")
    assert alone.null_count().row(0) == (0,) * 8, "the reader sees this instead of a difference"
    row = only(table, measure="auc", strategy="lora")
    assert (row["a"] == row["b"]) == (what != "label")


def test_a_cell_in_one_run_only_stands_alone(first, tmp_path):
    second = write_run(tmp_path / "second", {"lora": 1.0, "partial": None, "full": 1.0})
    table = compare_runs([first, second]).filter(measure="auc")
    found = {row["strategy"]: row for row in table.to_dicts()}
    assert list(found) == ["lora", "partial", "full"]
    assert found["partial"]["method"] == found["full"]["method"] == "in one run only"
    for strategy, side in (("partial", "b"), ("full", "a")):
        assert {found[strategy][name] for name in (side, f"{side}_low", f"{side}_high", f"n_{side}")} == {None}
    assert found["partial"]["a"] > 0.5 < found["full"]["b"]
    assert found["partial"]["difference"] is found["full"]["p_holm"] is None
    assert found["lora"]["difference"] == 0


def test_every_later_run_is_held_against_the_first_and_all_pairs_are_adjusted_for(first, tmp_path):
    others = [write_run(tmp_path / name, {"lora": s, "partial": s}) for name, s in (("second", 1.2), ("third", 0.8))]
    table = compare_runs([first, *others])
    assert table.select("run_a", "run_b").unique(maintain_order=True).rows() == [
        (str(first), str(other)) for other in others
    ]
    for (_,), of_measure in table.group_by("measure"):
        assert len(of_measure) == 4
        assert of_measure["p_holm"].to_list() == pytest.approx(holm(of_measure["p_value"]).tolist())


def test_statistics_are_those_of_the_first_run(first, tmp_path):
    second = write_run(tmp_path / "second", {"lora": 2.0}, interval="percentile")
    forth, back = (compare_runs(pair).filter(strategy="lora") for pair in ([first, second], [second, first]))
    assert (forth["difference"] + back["difference"]).abs().max() < 1e-12
    assert only(forth, measure="f1")["method"] == "Student's t over patients"
    assert only(back, measure="f1")["method"] == "percentile bootstrap over patients, p from its standard error"
    assert only(forth, measure="f1")["low"] != -only(back, measure="f1")["high"]


def test_a_ratio_that_a_run_lacks_has_no_difference(first, tmp_path):
    second = tmp_path / "second"
    shutil.copytree(first, second)
    change(RunDirectory(second).trial(one_trial("lora")).saliency, pl.lit(None, dtype=pl.Float64).alias("vessel_ratio"))
    row = only(compare_runs([first, second]), strategy="lora", measure="vessel_ratio")
    assert (row["b"], row["difference"], row["p_value"], row["method"]) == (None, None, None, "undefined")
    assert row["a"] > 1


def test_one_run_alone_or_twice_is_refused(first, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(first)
    for paths in ([], [first], [first, first], [first, first.relative_to(tmp_path)], [first, tmp_path / "link"]):
        with pytest.raises(UserError, match="two or more different run directories"):
            compare_runs(paths)


def test_what_is_no_finished_run_is_refused_with_one_line(first, tmp_path):
    empty, unfinished = tmp_path / "empty", write_run(tmp_path / "unfinished", {"lora": None})
    empty.mkdir()
    started = write_run(tmp_path / "started", {"lora": 1.0})
    RunDirectory(started).cohort.unlink()
    for path, message in (
        (empty, "not a run directory (it has no study.yaml); give the folder passed to --out"),
        (tmp_path / "nothing", "not a run directory"),
        (started, "the run has no images yet; finish it with --resume"),
        (unfinished, "no trial of the run is finished; continue it with --resume"),
    ):
        for pair in ([first, path], [path, first]):
            with pytest.raises(UserError) as caught:
                compare_runs(pair)
            assert str(caught.value).startswith(f"{path}: {message}")
            assert len(str(caught.value).splitlines()) == 1
