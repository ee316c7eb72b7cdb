"""results.json is complete and readable, and a wrong file is refused with a message of one line."""

import json
import math
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmark.analysis.leaderboard import build
from benchmark.analysis.measures import MEASURES
from benchmark.analysis.planted import compare_with_truth
from benchmark.errors import UserError
from benchmark.report.provenance import Machine, Program, Software
from benchmark.report.results import (
    Average,
    CohortResult,
    Comparison,
    Contrast,
    Correlation,
    Method,
    Number,
    OperatingPoint,
    OverSeeds,
    PatientComparison,
    PatientCounts,
    PatientLevel,
    PlantedResult,
    PlantedTrial,
    RatioResult,
    Repeatability,
    Results,
    TrialResult,
    average_results,
    comparison_results,
    contrast_results,
    correlation_results,
    methods,
    operating_results,
    patient_comparison_results,
    planted_results,
    read_results,
    repeatability_results,
    seed_results,
    trial_results,
)
from benchmark.storage.rundir import RunDirectory, write_json, write_parquet
from benchmark.study.config import Controls, Statistics
from benchmark.study.controls import ERASURE
from benchmark.study.patients import OfEachPatient
from benchmark.synthetic import SyntheticCohort
from tests.benchmark.lab_results import MACHINE, SOFTWARE
from tests.benchmark.trials import change, one_trial, write_cohort, write_trial
from xai.saliency import RATIOS

SETTINGS = Statistics(resamples=200)
NAMES = ("backbone", "strategy", "seed")


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """Two cells with two seeds each and a failed trial; the first trial has controls and fewer artery ratios."""
    directory = write_cohort(RunDirectory(tmp_path_factory.mktemp("run")))
    cells = [one_trial(strategy, seed) for strategy in ("partial", "lora") for seed in (0, 1)]
    for number, which in enumerate(cells):
        write_trial(directory, which, strength=number, ratio=1 + number / 2, seed=number)
    first = directory.trial(cells[0])
    place = pl.int_range(pl.len())
    change(first.saliency, pl.when(place < 25).then(None).otherwise(pl.col("artery_ratio")).alias("artery_ratio"))
    scores = pl.read_parquet(first.predictions).filter(split="test")
    noise = np.random.default_rng(0).normal(size=(2, 80))
    scores = scores.with_columns(erased=pl.lit(pl.Series(noise[0])), control=pl.lit(pl.Series(noise[1])))
    write_parquet(first.erasure, scores.filter(pl.col("patient_id") != "p0"))
    null = {"null": 1.1, "p_value": 0.25, "n_disc": 60, "turned": {"null": 1.05, "p_value": 0.125}}
    write_json(
        first.vessel_permutation, {"vessel_ratio": null, "vessel_ratio_fov": {"reason": "one patient with vessels"}}
    )
    saliency = pl.read_parquet(first.saliency).select("image", "patient_id", "vessel_ratio")
    chance = {"_null": 1.1, "_given": 1.1, "_turned": 1.05}
    write_parquet(
        first.chance, saliency.with_columns(pl.lit(value).alias(f"vessel_ratio{end}") for end, value in chance.items())
    )
    steps = [{"rank_correlation": 0.4}, {"rank_correlation": 0.125}]
    write_json(
        first.parameter_randomisation,
        {"n_images": 32, "steps": steps, "other_images": {"rank_correlation": 0.25, "n_pairs": 200}},
    )
    return build(directory, [*cells, one_trial("full")], SETTINGS)


@pytest.fixture(scope="module")
def results(board):
    training = {("dinov2-tiny", "partial", 0): {"seconds": 1.5, "losses": [0.7, math.nan]}}
    return Results(
        study="Tiny",
        finished="2026-01-01T00:00:00+00:00",
        cohort=CohortResult(
            source="cohort.csv",
            images={"val": 20, "test": 80},
            patients={"val": 20, "test": 40},
            positive={"val": 10, "test": 40},
            of_patients={"test": PatientCounts(**OfEachPatient(40, 0, 40, 0, None, 2, 2.0, 2)._asdict())},
            left_out=0,
            test_sha256="0" * 64,
        ),
        methods=methods(SETTINGS, Controls()),
        trials=trial_results(board, training),
        comparisons=comparison_results(board),
        patient_comparisons=patient_comparison_results(board),
        correlations=correlation_results(board),
        seeds=seed_results(board),
        averages=average_results(board),
        contrasts=contrast_results(board),
        repeatability=repeatability_results(board),
        weights={"dinov2-tiny": None},
        vessels={"source": "masks"},
        software=SOFTWARE,
        machine=MACHINE,
        seconds={"train": 1 / 3},
        configuration={"name": "Tiny", "statistics": SETTINGS.model_dump()},
    )


@pytest.fixture
def written(results, tmp_path):
    (tmp_path / "results.json").write_text(results.model_dump_json(indent=1), encoding="utf-8")
    return tmp_path / "results.json"


def numbers_in(values):
    """Every number of nested lists and dictionaries."""
    if isinstance(values, dict | list):
        inside = values.values() if isinstance(values, dict) else values
        return [number for value in inside for number in numbers_in(value)]
    return [values] if isinstance(values, int | float) else []


def test_round_trip(results, written):
    read = Results.model_validate_json(written.read_text(encoding="utf-8"))
    assert read.model_dump_json() == results.model_dump_json()
    assert read.comparisons == results.comparisons
    assert read_results(written) == read_results(written.parent) == read


def test_json_has_no_nan_and_no_infinity(written):
    def refuse(name):
        pytest.fail(f"{name} is not JSON")

    values = json.loads(written.read_text(encoding="utf-8"), parse_constant=refuse)
    noted = next(cell["training"] for cell in values["trials"] if cell["training"])
    assert noted == {"seconds": 1.5, "losses": [0.7, None]}


def test_every_number_of_the_leaderboard_is_in_its_cell(board, written):
    cells = json.loads(written.read_text(encoding="utf-8"))["trials"]
    assert [[cell[name] for name in NAMES] for cell in cells] == [
        list(row) for row in board.trials.select(NAMES).rows()
    ]
    for row, found in zip(board.trials.to_dicts(), cells, strict=True):
        assert found["status"] == row["status"]
        known = {name: value for name, value in row.items() if isinstance(value, int | float)}
        inside = set(numbers_in(found))
        assert {name for name, value in known.items() if value not in inside} == set()
        assert len(known) >= 70 or row["status"] == "not finished"


def parts(number, *names):
    return [number[name] for name in ("value", "low", "high", "p_value", *names)]


def test_every_number_of_the_other_tables_is_in_its_place(board, written):
    values = json.loads(written.read_text(encoding="utf-8"))
    by_cell = [([cell[name] for name in NAMES], cell) for cell in values["trials"]]
    convention = ("region", "against", "scaling", "average", "images")
    tables = {
        "comparisons": [
            (
                *(row["measure"], *row["a"], *row["b"], *parts(row["difference"]), row["p_holm"]),
                *(row["p_equivalent"], row["p_equivalent_holm"], row["verdict"], row["difference"]["n"]),
            )
            for row in values["comparisons"]
        ],
        "patients": [
            (
                *(*named, *(level[name] for name in ("level", "n", "n_positive", "n_called", "threshold"))),
                *(part for number in level["measures"].values() for part in parts(number)[:3]),
                *(level["risk_intercept"], level["risk_slope"]),
            )
            for named, cell in by_cell
            for level in cell["patients"]
        ],
        "patient_pairs": [
            (
                *(row["level"], *row["a"], *row["b"], *parts(row["difference"]), row["p_holm"]),
                *(row["p_equivalent"], row["p_equivalent_holm"], row["verdict"], row["difference"]["n"]),
            )
            for row in values["patient_comparisons"]
        ],
        "correlation": [
            (
                row["performance"],
                row["explainability"],
                row["coefficient"],
                *parts(row["estimate"])[:3],
                *parts(row["over_cells"])[:3],
                row["not_known"],
                row["estimate"]["p_value"],
                row["estimate"]["n"],
                row["n_predicting"],
            )
            for row in values["correlations"]
        ],
        "seeds": [
            (row["backbone"], row["strategy"], row["measure"], row["n_seeds"], value, row["sd"], low, high)
            for row in values["seeds"]
            for value, low, high, _ in [parts(row["mean"])]
        ],
        "averages": [
            (
                *(row[name] for name in ("family", "backbone", "strategy", "measure")),
                *(*parts(row["mean"])[:3], row["group"], row["n_cells"], row["mean"]["n"]),
                *(row["missing"], row["holds_for"]),
            )
            for row in values["averages"]
        ],
        "contrasts": [
            (
                *(row["family"], row["measure"], *row["a"], *row["b"], *parts(row["difference"]), row["p_holm"]),
                *(row["error_patients"], row["error_trainings"], row["n_cells"], row["difference"]["n"]),
                row["holds_for"],
            )
            for row in values["contrasts"]
        ],
        "repeatability": [
            (
                *(row["measure"], *parts(row["icc"])[:3], row["sd_cells"], row["sd_trainings"]),
                *(row["icc"]["n"], row["n_trainings"]),
            )
            for row in values["repeatability"]
        ],
        "ratios": [
            (
                *named,
                *(row[part] for part in convention),
                *parts(row["ratio"])[:3],
                row["ratio"]["n"],
                row["n_patients"],
            )
            for named, cell in by_cell
            for row in cell["ratios"]
        ],
        "operating": [
            (*named, point["point"], point["threshold"], name, *parts(number)[:3], number["n"])
            for named, cell in by_cell
            for point in cell["operating"]
            for name, number in point["measures"].items()
        ],
    }
    for name, rows in tables.items():
        expected = board.tables()[name].drop("method", strict=False).rows()
        if name == "patients":
            expected = [row for row in expected if "image" not in row]  # the trial's own measures
        if name in ("ratios", "operating", "patients"):  # trials have another order there
            rows, expected = sorted(rows, key=str), sorted(expected, key=str)
        assert rows == expected, name
        assert rows


SKEWNESS = ("vessel_ratio_skewness", "vessel_ratio_fov_skewness")


def test_numbers_of_patients_count_patients(results):
    for cell in results.trials[:-1]:
        of_means = next(level for level in cell.patients if level.level == "patient_mean")
        n = {name: number.n for name, number in of_means.measures.items()}
        assert (n["auc"], n["sensitivity"], n["specificity"]) == (of_means.n, 20, 20) == (40, 20, 20)
        assert (n["ppv"], n["npv"]) == (of_means.n_called, 40 - of_means.n_called)
    assert {pair.difference.n for pair in results.patient_comparisons} == {40}


def test_what_a_cell_holds(results):
    first = next(cell for cell in results.trials if (cell.strategy, cell.seed) == ("partial", 0))
    highest = {"auc_corrected"}  # only the first trial has it
    assert [set(cell.measures) & highest for cell in results.trials] == [highest] + [set()] * (len(results.trials) - 1)
    assert set(first.measures) - highest == {
        "rank", *MEASURES, "auc_delong", *SKEWNESS, "vessel_ratio_null", "vessel_ratio_turned",
        "vessel_ratio_over_null", "vessel_ratio_over_turned", "parameter_randomisation_classifier",
        "parameter_randomisation", "parameter_randomisation_others", *ERASURE.estimates,
    }  # fmt: skip
    assert (first.n_images, first.n_patients, first.n_positive) == (80, 40, 40)
    assert (first.n_positive_patients, first.n_negative_patients) == (20, 20)
    null = first.measures["vessel_ratio_null"]
    assert (null.value, null.p_value, null.method, null.low) == (1.1, 0.25, "vessel_permutation", None)
    turned, others = first.measures["vessel_ratio_turned"], first.measures["parameter_randomisation_others"]
    assert (turned.value, turned.p_value, turned.method) == (1.05, 0.125, "turned_vessels")
    assert (others.value, others.method) == (0.25, "parameter_randomisation")
    ratio, over = first.measures["vessel_ratio"], first.measures["vessel_ratio_over_turned"]
    assert (over.value, over.low, over.high) == pytest.approx((ratio.value / 1.05, ratio.low / 1.05, ratio.high / 1.05))
    assert first.measures["auc_delong"].value == first.measures["auc"].value
    assert first.measures["auc_delong"].low == pytest.approx(first.measures["auc"].low, abs=0.01)  # not moderated
    other = next(cell for cell in results.trials if cell.strategy == "lora")
    assert set(other.measures) - highest == {"rank", *MEASURES, "auc_delong", *SKEWNESS}
    failed = results.trials[-1]
    assert (failed.strategy, failed.status, failed.measures, failed.n_images) == ("full", "not finished", {}, None)


def test_n_counts_the_images_behind_the_number(results):
    first = next(cell for cell in results.trials if (cell.strategy, cell.seed) == ("partial", 0))
    expected = {"auc": 80, "artery_ratio": 55, "vessel_ratio": 75, "right_by_ratio": 75, "vessel_ratio_null": 75}
    expected |= {"vessel_ratio_turned": 75, "vessel_ratio_over_null": 75} | {
        "auc_drop_erased": 78,
        "parameter_randomisation": 32,
        "rank": 80,
    }
    assert {name: first.measures[name].n for name in expected} == expected
    of_pairs = {(row.measure, "partial" in row.a and 0 in row.a): row.difference.n for row in results.comparisons}
    assert of_pairs["auc", True] == 80
    assert of_pairs["artery_ratio", False] == of_pairs["vein_ratio", False] == 75
    with_first = [row for row in results.comparisons if ("dinov2-tiny", "partial", 0) in (row.a, row.b)]
    assert {row.difference.n for row in with_first if row.measure == "artery_ratio"} == {55}


def test_every_number_names_a_method_that_is_described(results):
    numbers = [number for cell in results.trials for number in cell.measures.values()]
    numbers += [row.difference for row in results.comparisons] + [row.estimate for row in results.correlations]
    numbers += [row.mean for row in results.seeds] + [row.mean for row in results.averages]
    numbers += [row.over_cells for row in results.correlations] + [row.difference for row in results.contrasts]
    numbers += [row.icc for row in results.repeatability]
    assert {number.method for number in numbers} - {None} == set(results.methods)


@pytest.mark.parametrize(
    ("interval", "name", "resamples", "seed"),
    [
        ("t", "Student's t", None, None),
        ("percentile", "percentile bootstrap", 300, 4),
        ("bca", "BCa bootstrap", 300, 4),
    ],
)
def test_methods_say_how_intervals_were_made(interval, name, resamples, seed):
    found = methods(Statistics(resamples=300, confidence=0.9, seed=4, interval=interval), Controls(draws=77))
    for key in ("patients", "paired", "seeds"):
        assert name in found[key].name, key
        assert (found[key].confidence, found[key].resamples, found[key].seed) == (0.9, resamples, seed), key
    assert found["patients"].name.startswith(f"{name} over patients, ")
    assert (found["delong"].confidence, found["delong"].resamples) == (0.9, None)
    assert (found["vessel_permutation"].resamples, found["vessel_permutation"].seed) == (77, 0)
    assert found["correlation"].resamples == 300
    assert (found["ranks"].confidence, found["ranks"].resamples, found["ranks"].seed) == (0.9, None, None)


def test_a_threshold_that_nothing_reaches_is_null():
    point = {"point": "specificity_90", "threshold": math.inf, "measure": "f1", "value": 0.0, "low": None, "high": None}
    point["n_images"] = 80
    operating = pl.DataFrame([point], schema_overrides={"low": pl.Float64, "high": pl.Float64})
    (found,) = operating_results(operating)
    assert (found.point, found.threshold, found.measures["f1"].value) == ("specificity_90", None, 0)


def test_of_a_synthetic_study_every_verdict_with_what_comes_of_it(board, results):
    assert results.planted is None, "the truth of real images is unknown"
    cells = board.trials.with_columns(predicts=pl.lit(True), vessel_ratio_fov_low=1.1, vessel_ratio_fov_high=1.4)
    table = compare_with_truth(cells, SyntheticCohort(signal="periphery", effect=1.5, best_auc=0.95))
    found = planted_results(table)
    assert (found.signal, found.effect, found.best_auc, len(found.trials)) == ("periphery", 1.5, 0.95, 4)
    for read, row in zip(found.trials, table.trials.to_dicts(), strict=True):
        assert [getattr(read, name) for name in (*NAMES, "predicts")] == [row[name] for name in (*NAMES, "predicts")]
        assert read.verdicts == {
            name: row[f"{name}_verdict"] for name in ("erasure", "permutation", "other_class", "ratio")
        }
        assert read.outcomes == {
            name: row[f"{name}_outcome"] for name in ("erasure", "permutation", "other_class", "ratio")
        }
        assert (read.verdicts["ratio"], read.outcomes["ratio"]) == ("vessels", "wrong")
    with_truth = results.model_copy(update={"planted": found})
    assert Results.model_validate_json(with_truth.model_dump_json()).planted == found


def changed(**changes):
    return lambda values: values | changes


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (changed(schema_name="other"), "expected retina-benchmark/results version 2, found ('other', 2)"),
        (changed(version=3), "expected retina-benchmark/results version 2, found ('retina-benchmark/results', 3)"),
        (lambda values: [values], "expected retina-benchmark/results version 2, found None"),
        (lambda values: {}, "expected retina-benchmark/results version 2, found (None, None)"),
        (changed(trials=[{"backbone": "x"}]), "trials.0.strategy: Field required"),
        (changed(seconds={"train": "long"}), "seconds.train: Input should be a valid number"),
        (changed(version=1), "expected retina-benchmark/results version 2, found ('retina-benchmark/results', 1)"),
        (changed(software={}), "software.program: Field required"),
        (changed(machine={"nodes": 1, "cpus": "two"}), "machine.cpus: Input should be a valid integer"),
    ],
)
def test_another_schema_or_version_is_refused_with_one_line(written, change, expected):
    written.write_text(json.dumps(change(json.loads(written.read_text(encoding="utf-8")))), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_results(written.parent)
    message = str(caught.value)
    assert message.startswith(f"{written}: ")
    assert expected in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", None])
def test_a_file_that_is_not_json_is_refused_with_one_line(tmp_path, content):
    file = tmp_path / "results.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match="not JSON" if content is not None else "cannot be read") as caught:
        read_results(file)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith(f"{file}: ")


def test_a_field_that_was_added_later_is_ignored(results, written):
    values = json.loads(written.read_text(encoding="utf-8"))
    values["new"] = values["trials"][0]["new"] = values["methods"]["patients"]["new"] = 1
    written.write_text(json.dumps(values), encoding="utf-8")
    assert read_results(written).model_dump_json() == results.model_dump_json()


DOCUMENTED = Path(__file__).resolve().parents[3] / "docs" / "results.md"


def test_every_field_is_documented(results):
    text = DOCUMENTED.read_text(encoding="utf-8").replace("the same with `_fov`", " ".join(f"`{r}`" for r in RATIOS))
    measures = {name for cell in results.trials for name in cell.measures}
    models = (
        Results, TrialResult, CohortResult, OperatingPoint, RatioResult,
        PatientLevel, PatientComparison, PatientCounts,
        Comparison, Correlation, OverSeeds, Average, Contrast, Repeatability,
        PlantedTrial, PlantedResult, Number, Method, Program, Software, Machine,
    )  # fmt: skip
    fields = {name for model in models for name in model.model_fields}
    assert {name for name in fields | measures if f"`{name}`" not in text} == set()


def test_the_documented_example_runs(written, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENTED.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(written.parent)
    exec(code, {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("dinov2-tiny lora seed 1: AUC 0.")
    assert "n = 80; Student's t over patients, standard error by jackknife" in lines[0]
