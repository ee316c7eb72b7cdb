"""The search for learning rates: a stand-in for training under real Ray Tune, and one tiny real study."""

import io
import math
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmark.report.progress import Reporter
from benchmark.scheduling.cluster import Cluster, connect
from benchmark.stages import search as stage
from benchmark.stages.run import Run
from benchmark.stages.search import learning_rates, search
from benchmark.storage.rundir import RunDirectory, write_array, write_json, write_parquet
from benchmark.study.config import Search, Study
from benchmark.study.trials import trials_of
from benchmark.trial.fit import chosen_learning_rate
from benchmark.trial.fit import fit as fit_in_earnest


@given(own=st.floats(1e-6, 1), span=st.floats(1.1, 1e3), candidates=st.integers(2, 12))
def test_rates_lie_evenly_around_the_strategys_own(own, span, candidates):
    rates = learning_rates(own, Search(candidates=candidates, span=span))
    assert len(rates) == candidates
    assert rates[0] == pytest.approx(own / span, rel=1e-5)
    assert rates[-1] == pytest.approx(own * span, rel=1e-5)
    steps = np.diff(np.log(rates))
    assert (steps > 0).all()
    assert np.ptp(steps) < 1e-4
    assert math.prod(rates) == pytest.approx(own**candidates, rel=1e-3)


def test_three_rates_over_a_span_of_ten():
    assert learning_rates(5e-4, Search(candidates=3, span=10)) == [5e-5, 5e-4, 5e-3]


def test_a_candidate_reports_the_best_epoch_so_far(monkeypatch):
    """Training keeps the best epoch's weights, so a candidate is judged by its best epoch."""

    def fit(study, directory, trial, learning_rate, on_epoch):
        losses = [0.6, 0.5, 0.1, 0.4, 0.3]
        for number, (val_auc, val_loss) in enumerate(zip([0.6, 0.8, 0.7, 0.9, 0.9], losses, strict=True), start=1):
            on_epoch(SimpleNamespace(epoch=number, val_auc=val_auc, val_loss=val_loss, seconds=1.0))

    monkeypatch.setattr(stage, "fit", fit)
    reports = []
    stage._work(None, None, {"only": stage.Candidate(None, 1e-3)}, "only", reports.append)
    assert [report["val_auc"] for report in reports] == [0.6, 0.8, 0.8, 0.9, 0.9]
    assert [report["val_loss"] for report in reports] == [0.6, 0.5, 0.5, 0.4, 0.3], "the loss is the best epoch's"
    assert [report["epoch"] for report in reports] == [1, 2, 3, 4, 5]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with connect(None, log_file=tmp_path_factory.mktemp("ray") / "ray.log", cpus=2) as connected:
        yield connected


def study_of(**changes):
    return Study.model_validate(
        {
            "name": "tiny",
            "cohort": {"synthetic": {"patients": 24}},
            "backbones": ["dinov2-tiny", "retfound-tiny"],
            "strategies": ["classifier_only"],
            "seeds": [3, 1],
            "training": {"epochs": 9, "batch_size": 8, "views": 1},
            "search": {"candidates": 3, "span": 10, "grace": 2, "reduction": 3},
            "resources": {"cpus": 2, "gpus": 0},  # one candidate at a time: the same ones end early every time
        }
        | changes
    )


def run_of(study, folder, cluster=None):
    directory, cluster = RunDirectory(folder), cluster or Cluster(1, 2, 0, None, (), is_local=True)
    if study.search is not None:
        write_parquet(directory.cohort, pl.DataFrame({"split": ["train", "val"]}))
    return Run(study, directory, cluster, Reporter(Console(file=io.StringIO(), width=200), ["search"]))


def table(run, trial):
    return pl.read_csv(run.directory.search(trial))


def learn(study, directory, candidates, name, report):
    """A stand-in for training: lower rates are better, and dinov2's worst is better than retfound's best."""
    tried = candidates[name]
    relative = round(math.log10(tried.learning_rate / tried.trial.strategy.open().learning_rate))
    level = {"dinov2-tiny": 0.8, "retfound-tiny": 0.4}[tried.trial.backbone.name]
    for epoch in range(1, study.training.epochs + 1):
        if relative == 1 and tried.trial.backbone.name == "retfound-tiny" and epoch == 2:
            raise FloatingPointError("the loss is no longer finite")
        report({"epoch": epoch, "val_auc": level - 0.1 * relative + 0.001 * epoch, "val_loss": 0.5, "seconds": 1.0})


@pytest.fixture(scope="module")
def searched(cluster, tmp_path_factory):
    run = run_of(study_of(), tmp_path_factory.mktemp("run"), cluster)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stage, "_work", learn)
        search(run)
    return run


def test_a_cell_is_judged_by_itself(searched):
    """The default rate runs first and to its end; so does a better one; a worse one ends after the grace period."""
    dinov2, retfound = (table(searched, trial) for trial in trials_of(searched.study) if trial.seed == 3)
    assert dinov2["epochs"].to_list() == [9, 9, 2]
    assert dinov2["val_auc"].to_list() == pytest.approx([0.909, 0.809, 0.702])
    assert dinov2["error"].null_count() == 3
    assert retfound["epochs"][:2].to_list() == [9, 9]
    assert retfound["val_auc"][:2].to_list() == pytest.approx([0.509, 0.409])


def test_a_candidate_that_fails_is_noted(searched):
    _, retfound = (table(searched, trial) for trial in trials_of(searched.study) if trial.seed == 3)
    assert retfound["val_auc"].is_null().to_list() == [False, False, True]
    assert retfound["error"].to_list() == [None, None, "FloatingPointError: the loss is no longer finite"]


def test_the_best_rate_is_chosen_for_every_seed(searched):
    for trial in trials_of(searched.study):
        chosen = chosen_learning_rate(searched.study, searched.directory, trial)
        assert chosen == pytest.approx(trial.strategy.open().learning_rate / 10), trial.name


def test_what_is_found_is_kept(searched):
    again = run_of(searched.study, searched.directory.path)
    kept = {path: path.stat().st_mtime_ns for path in again.directory.path.glob("search/*")}
    assert len(kept) == 2
    search(again)
    assert kept == {path: path.stat().st_mtime_ns for path in again.directory.path.glob("search/*")}
    assert "every cell has a learning rate" in again.reporter.console.file.getvalue()


def test_no_search_no_line(tmp_path):
    run = run_of(study_of(search=None), tmp_path)
    search(run)
    assert run.reporter.console.file.getvalue() == ""
    assert list(tmp_path.iterdir()) == []


def test_a_cell_without_a_rate_fails_its_trials_alone(tmp_path, monkeypatch):
    def trials(names, work, *, on_report, on_end, **options):
        for name in names:
            if name.startswith("dinov2"):
                on_end(name, "ValueError: no rate will do")
            else:
                on_report(name, {"epoch": 1, "val_auc": 0.5, "val_loss": 0.7, "seconds": 1.0})
                on_end(name, None)

    monkeypatch.setattr(stage, "run_trials", trials)
    run = run_of(study_of(), tmp_path)
    search(run)
    assert [trial.name for trial in run.trials()] == [
        "retfound-tiny-classifier_only-s3",
        "retfound-tiny-classifier_only-s1",
    ]
    assert [path.name for path in tmp_path.glob("search/*")] == ["retfound-tiny-classifier_only.csv"]
    for trial in set(trials_of(run.study)) - set(run.trials()):
        reason = run.directory.trial(trial).failure.read_text()
        assert reason.startswith("search: every learning rate failed")
        assert "no rate will do" in reason
    run.directory.trial(trials_of(run.study)[0]).failure.unlink()  # as a resumed run does
    tried_again = []
    monkeypatch.setattr(stage, "run_trials", lambda names, work, **options: tried_again.extend(names))
    search(run)
    assert len(tried_again) == 3


def test_ctrl_c_keeps_the_cells_that_are_complete(tmp_path, monkeypatch):
    def trials(names, work, *, on_report, on_end, **options):
        for name in names[:-1]:
            on_report(name, {"epoch": 1, "val_auc": 0.5, "val_loss": 0.7, "seconds": 1.0})
            on_end(name, None)
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, "run_trials", trials)
    run = run_of(study_of(), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        search(run)
    assert [path.name for path in tmp_path.glob("search/*")] == ["dinov2-tiny-classifier_only.csv"]
    assert len(run.trials()) == 4, "nothing has failed"


@pytest.mark.slow
def test_a_study_in_earnest(cluster, tmp_path):
    """The label shows as brightness; training with the best rate alone gives the same AUC again."""
    study = study_of(
        backbones=["dinov2-tiny"],
        strategies=["classifier_only", {"name": "partial", "blocks": 1}],
        training={"epochs": 2, "batch_size": 8, "views": 1},
        search={"candidates": 2, "span": 3, "grace": 5, "reduction": 2},
    )
    run = run_of(study, tmp_path, cluster)
    labels = np.arange(12) % 2
    noise = np.random.default_rng(0).integers(0, 120, (12, 224, 224, 3))
    write_array(run.directory.images, (noise + 90 * labels[:, None, None, None]).astype(np.uint8))
    splits = ["train"] * 6 + ["val"] * 6
    write_parquet(run.directory.cohort, pl.DataFrame({"row": np.arange(12), "label": labels, "split": splits}))
    write_json(run.directory.weights, {"dinov2-tiny": None})
    search(run)
    for trial in [trial for trial in trials_of(study) if trial.seed == 3]:
        own, tried = trial.strategy.open().learning_rate, table(run, trial)
        assert tried["learning_rate"].to_list() == pytest.approx([own / 3, own * 3], rel=1e-5)
        assert tried["error"].to_list() == [None, None]
        chosen = chosen_learning_rate(study, run.directory, trial)
        alone = fit_in_earnest(study, run.directory, trial, chosen, on_epoch=lambda epoch: None)
        found = tried.row(by_predicate=pl.col("learning_rate") == chosen, named=True)
        assert found["val_auc"] == pytest.approx(alone.best.val_auc)
        assert found["epochs"] == len(alone.history) == 2
