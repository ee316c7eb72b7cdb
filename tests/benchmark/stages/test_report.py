"""The files that the report stage writes for a run directory made by hand; the page has separate tests."""

import csv
import dataclasses
import io
import json
import shutil

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from benchmark.analysis import curves, patients, ratios
from benchmark.analysis.comparisons import COMPARISON_SCHEMA, CORRELATION_SCHEMA, SEEDS_SCHEMA
from benchmark.analysis.contrasts import AVERAGES_SCHEMA, CONTRASTS_SCHEMA, REPEATABILITY_SCHEMA
from benchmark.analysis.flow import TABLE as FLOW_TABLE
from benchmark.analysis.leaderboard import OPERATING_SCHEMA, SCHEMA
from benchmark.analysis.planted import SCHEMA as PLANTED_SCHEMA
from benchmark.report.progress import Reporter
from benchmark.report.provenance import RunRecord
from benchmark.report.results import PatientCounts, read_results
from benchmark.scheduling.cluster import Cluster
from benchmark.stages import report as stage
from benchmark.stages.run import Run
from benchmark.storage.rundir import RunDirectory, write_array, write_csv, write_json, write_parquet
from benchmark.study.cohort import digest
from benchmark.study.config import Study
from benchmark.study.patients import OfEachPatient
from benchmark.study.trials import trials_of
from benchmark.tables import read_parquet
from tests.benchmark.trials import write_cohort, write_trial

COLUMNS = {
    "leaderboard": SCHEMA,
    "operating": OPERATING_SCHEMA,
    "curves": curves.SCHEMA,
    "ratios": ratios.SCHEMA,
    "comparisons": COMPARISON_SCHEMA,
    "seeds": SEEDS_SCHEMA,
    "correlation": CORRELATION_SCHEMA,
    "averages": AVERAGES_SCHEMA,
    "contrasts": CONTRASTS_SCHEMA,
    "repeatability": REPEATABILITY_SCHEMA,
    "patients": patients.SCHEMA,
    "patient_pairs": patients.PAIRS_SCHEMA,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Four explained trials and two that failed, reported."""
    study = Study.model_validate(
        {
            "name": "Tiny & small",
            "cohort": {"manifest": "/data/lab/cohort.csv", "positive": "mild,severe"},
            "backbones": ["dinov2-tiny"],
            "strategies": ["partial", "lora", "full"],
            "seeds": [0, 1],
            "explain": {"target_class": 0},
            "statistics": {"resamples": 200, "confidence": 0.9, "equivalence_margin": 0.05},
        }
    )
    directory = RunDirectory(tmp_path_factory.mktemp("run"))
    directory.claim(study.dump(), resume=False)
    write_cohort(directory)
    several = pl.when(label=0).then(pl.lit("normal")).when(split="val").then(pl.lit("mild")).otherwise(pl.lit("severe"))
    write_parquet(directory.cohort, read_parquet(directory.cohort).with_columns(several.alias("class")))
    test = pl.read_parquet(directory.cohort).filter(split="test")
    left_out = {"image": "x.png", "patient_id": "p0", "label": 0, "split": "test", "path": "", "reason": "truncated"}
    write_csv(directory.rejected, pl.DataFrame(left_out))
    write_array(directory.images, np.zeros((100, 8, 8, 3), np.uint8))
    write_array(directory.regions, np.zeros((len(test), 4, 8, 8), np.uint8))
    nothing = {"flags": pl.lit(""), "error": pl.lit(None, dtype=pl.String)}
    write_parquet(directory.vessels, test.select("image", **nothing))
    write_json(directory.weights, {"dinov2-tiny": None})
    classes = {"0": "normal", "1": "mild, severe"}
    directory.complete("prepare", images=100, rejected=1, classes=classes, left_out={"hidden": 2})
    directory.complete("segment", source={"source": "masks"}, failed=0)
    write_json(directory.run, {"Seconds per stage": {"train": "12.5"}})

    console = Console(file=io.StringIO())
    cluster = Cluster(nodes=1, cpus=2, gpus=0, gpu_memory=None, accelerators=(), is_local=True)
    run = Run(study, directory, cluster, Reporter(console, ("report",)))
    noted = {"trainable_parameters": 5, "inputs": "images", "learning_rate": 0.1, "epochs": 3, "seconds": 1.0}
    for number, trial in enumerate(trials_of(study)):
        if trial.strategy.name == "full":
            run.fail(trial, "train: out of memory")
        else:
            folder = write_trial(directory, trial, strength=1 + number, ratio=1 + number / 10, seed=number)
            write_json(folder.record, noted | {"best_epoch": number})
            write_array(folder.cams, np.ones((len(test), 4, 4), np.float32))
            history = {"epoch": [1], "train_loss": [0.7], "val_loss": [0.6], "val_auc": [0.8]}
            write_csv(folder.history, pl.DataFrame(history))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "render", lambda content: f"{content.target_class} {content.margin}")
        stage.report(run)
    return run


def test_every_trial_with_results_has_a_model_card(run):
    for trial in trials_of(run.study):
        folder = run.directory.trial(trial)
        if trial.strategy.name == "full":
            assert not folder.card.exists()
            continue
        threshold = pl.read_csv(run.directory.leaderboard("csv")).row(
            by_predicate=(pl.col("strategy") == trial.strategy.name) & (pl.col("seed") == trial.seed), named=True
        )["threshold"]
        config = json.loads(folder.config.read_text(encoding="utf-8"))
        assert config["threshold"] == pytest.approx(threshold, rel=1e-12)
        assert config["labels"] == {"0": "normal", "1": "mild, severe"}
        card = folder.card.read_text(encoding="utf-8")
        assert "`Tiny & small`" in card, "Markdown is not escaped as HTML"
        assert "value (90 % interval)" in card
        assert "/data/lab" not in card


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_of_every_csv_are_in_the_order_of_the_schema(run, name):
    with run.directory.table(name).open(encoding="utf-8") as file:
        heading, *rows = csv.reader(file)
    assert heading == list(COLUMNS[name])
    assert rows
    assert not {value for row in rows for value in row} & {"NaN", "nan"}, "missing values are empty"


def test_only_a_synthetic_study_is_compared_with_its_truth(run, tmp_path, monkeypatch):
    assert read_results(run.directory.path).planted is None
    assert not run.directory.table("planted").exists()

    directory = RunDirectory(shutil.copytree(run.directory.path, tmp_path / "run"))
    images = pl.read_parquet(directory.cohort).select("image", severity=pl.col("label") * 1.0)
    directory.synthetic.mkdir()
    write_csv(directory.synthetic / "cohort.csv", images)
    cohort = {"synthetic": {"patients": 60, "signal": "periphery", "best_auc": 0.95}}
    study = Study.model_validate(run.study.dump() | {"cohort": cohort})
    shown = []
    monkeypatch.setattr(stage, "render", lambda content: shown.append(content.planted) or "")
    stage.report(dataclasses.replace(run, study=study, directory=directory))

    with directory.table("planted").open(encoding="utf-8") as file:
        heading, *rows = csv.reader(file)
    assert heading == list(PLANTED_SCHEMA)
    assert len(rows) == len(shown[0].trials) == 4
    planted = read_results(directory.path).planted
    assert (planted.signal, planted.best_auc) == ("periphery", 0.95)
    verdicts = [[trial.strategy, str(trial.seed), trial.verdicts["ratio"]] for trial in planted.trials]
    names = ("strategy", "seed", "ratio_verdict")
    assert [[row[heading.index(name)] for name in names] for row in rows] == verdicts


def test_csv_and_parquet_are_the_same_table(run):
    parquet = pl.read_parquet(run.directory.leaderboard("parquet"))
    assert parquet.schema == pl.Schema(SCHEMA)
    assert parquet.equals(pl.read_csv(run.directory.leaderboard("csv"), schema=SCHEMA))


def test_the_page_knows_the_class_of_the_maps_and_the_margin(run):
    assert run.directory.leaderboard("html").read_text(encoding="utf-8") == "0 0.05"


def test_results_describe_the_run(run):
    results = read_results(run.directory.path)
    cohort = pl.read_parquet(run.directory.cohort)
    assert (results.study, results.cohort.source) == ("Tiny & small", "cohort.csv")
    assert results.cohort.images == {"val": 20, "test": 80}
    assert results.cohort.patients == {"val": 20, "test": 40}
    assert results.cohort.positive == {"val": 10, "test": 40}
    assert results.cohort.of_patients == {
        "val": PatientCounts(**OfEachPatient(20, 20, 0, 0, None, 1, 1.0, 1)._asdict()),
        "test": PatientCounts(**OfEachPatient(40, 0, 40, 0, None, 2, 2.0, 2)._asdict()),
    }
    assert results.cohort.left_out == 1
    assert results.cohort.classes == {"0": "normal", "1": "mild, severe"}
    assert [(each.name, each.label, each.images, each.patients) for each in results.cohort.by_class] == [
        ("normal", 0, {"train": 0, "val": 10, "test": 40}, {"train": 0, "val": 10, "test": 20}),
        ("mild", 1, {"train": 0, "val": 10, "test": 0}, {"train": 0, "val": 10, "test": 0}),
        ("severe", 1, {"train": 0, "val": 0, "test": 40}, {"train": 0, "val": 0, "test": 20}),
    ]
    assert results.configuration["cohort"]["positive"] == ["mild", "severe"]
    assert (results.cohort.files_left_out, results.cohort.repeated) == ({"hidden": 2}, None)
    assert results.cohort.test_sha256 == digest(cohort.filter(split="test"), None)
    assert {method.confidence for method in results.methods.values()} == {0.9, None}
    assert [trial.status for trial in results.trials] == ["ok"] * 4 + ["train: out of memory"] * 2
    trained = {
        (trial.strategy, trial.seed): trial.training and trial.training["best_epoch"] for trial in results.trials
    }
    assert trained == {
        ("partial", 0): 0, ("partial", 1): 1, ("lora", 0): 2, ("lora", 1): 3, ("full", 0): None, ("full", 1): None,
    }  # fmt: skip
    assert {row.strategy for row in results.seeds} == {"partial", "lora"}
    assert results.weights == {"dinov2-tiny": None}
    assert results.vessels == {"source": "masks"}
    assert results.seconds == {"train": 12.5}
    assert {"torch", "polars"} <= set(results.software.packages)
    assert (results.machine.nodes, results.machine.cpus, results.machine.gpus) == (1, 2, 0)
    assert Study.model_validate(results.configuration) == run.study


def test_the_flow_is_in_the_results_and_in_a_table(run):
    flow = read_results(run.directory.path).flow
    assert (flow.name, flow.counts.images, flow.left_out.reasons) == ("found", 103, {"hidden": 2})
    (listed,) = flow.parts
    assert (listed.counts.images, listed.counts.patients) == (101, 60)
    assert (listed.left_out.counts.images, listed.left_out.counts.patients) == (1, 0)
    table = pl.read_csv(run.directory.table("flow"))
    assert table.columns == list(FLOW_TABLE)
    boxes = table.filter(~pl.col("left_out"))
    assert boxes["box"].to_list() == ["found", "listed", "used", "val", "test", "scored", "masked", "explained"]
    assert boxes["images"].to_list() == [103, 101, 100, 20, 80, 80, 80, 75]


def test_the_run_has_a_study_card(run):
    markdown, html = (run.directory.study_card(kind).read_text(encoding="utf-8") for kind in ("md", "html"))
    assert markdown.startswith("# Study card: Tiny & small\n")
    assert "<h1>Study card: Tiny &amp; small</h1>" in html
    for card in (markdown, html):
        assert "2 trials of 6 failed and have no results." in card
        assert "/data/lab" not in card
    assert "| Test | 80 | 40 | 40 | 20 |" in markdown


def test_results_and_tables_agree(run):
    results = read_results(run.directory.path)
    table = pl.read_csv(run.directory.leaderboard("csv")).filter(status="ok")
    for trial, row in zip(results.trials, table.to_dicts(), strict=False):
        auc = trial.measures["auc"]
        assert (trial.strategy, auc.value, auc.low, auc.high) == (
            row["strategy"], row["auc"], row["auc_low"], row["auc_high"],
        )  # fmt: skip
        of_means = trial.patients[0].measures["auc"]
        assert (of_means.value, of_means.low, of_means.n) == (row["auc_patient"], row["auc_patient_low"], 40)
    assert len(results.comparisons) == len(pl.read_csv(run.directory.table("comparisons")))
    assert len(results.patient_comparisons) == len(pl.read_csv(run.directory.table("patient_pairs")))


def test_attention_that_failed_is_on_the_page(run, tmp_path, monkeypatch):
    directory = RunDirectory(shutil.copytree(run.directory.path, tmp_path / "run"))
    trial = trials_of(run.study)[0]
    directory.trial(trial).attention_failure.write_text("ValueError: one class\n")
    shown = []
    monkeypatch.setattr(stage, "render", lambda content: shown.append(content.failed_attention) or "")
    stage.report(dataclasses.replace(run, directory=directory))
    assert shown == [{trial.name: "ValueError: one class"}]


def test_the_table_for_a_paper(run):
    tex = run.directory.leaderboard("tex").read_text(encoding="utf-8")
    assert r"\caption{Tiny \& small: " in tex
    assert r"90\,\% intervals" in tex
    assert "2 failed trials are left out." in tex
    assert tex.count(r"dinov2-tiny & ") == 4


def test_results_name_the_program(run):
    results = read_results(run.directory.path)
    assert results.software.program.version.startswith("0.")
    assert results.machine.memory > 2**28
    assert results.cohort.manifest_sha256 is None, "the manifest no longer exists"


def test_the_record_of_the_run_is_in_its_results(run):
    results = read_results(run.directory.path)
    record = RunRecord.model_validate_json(run.directory.run.read_text(encoding="utf-8"))
    assert record == RunRecord(**{name: getattr(results, name) for name in RunRecord.model_fields})


def test_a_report_made_again_has_the_seconds_of_the_stages_before_it_as_measured(run, tmp_path, monkeypatch):
    directory = RunDirectory(shutil.copytree(run.directory.path, tmp_path / "run"))
    reporter = Reporter(Console(file=io.StringIO()), ("report",))
    reporter.seconds["explain"] = 1 / 3
    monkeypatch.setattr(stage, "render", lambda content: content.facts["Seconds per stage"]["explain"])
    stage.report(dataclasses.replace(run, directory=directory, reporter=reporter))
    assert read_results(directory.path).seconds == {"train": 12.5, "explain": 1 / 3}
    assert directory.leaderboard("html").read_text(encoding="utf-8") == "0.3"


def test_every_trial_with_results_has_a_page_that_the_leaderboard_links_to(run, monkeypatch):
    shown = []
    monkeypatch.setattr(stage, "render", lambda content: shown.append(content.pages) or "")
    stage.report(run)
    done = [trial for trial in trials_of(run.study) if trial.strategy.name != "full"]
    assert shown == [
        {("dinov2-tiny", each.strategy.name, each.seed): f"trials/{each.name}/index.html" for each in done}
    ]
    for address in shown[0].values():
        page = run.directory.path / address
        assert 'href="../../leaderboard.html"' in page.read_text(encoding="utf-8")
