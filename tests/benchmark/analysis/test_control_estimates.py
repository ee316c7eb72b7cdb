"""Reading the controls' files; tests/benchmark/analysis/test_leaderboard.py checks the numbers."""

import numpy as np
import polars as pl
import pytest

from benchmark.analysis.control_estimates import READERS, SCHEMA, read_controls
from benchmark.analysis.leaderboard import SCHEMA as OF_LEADERBOARD
from benchmark.storage.rundir import TrialDirectory, write_json, write_parquet
from benchmark.study.config import Statistics
from benchmark.study.controls import CONTROLS, ERASURE
from stats.resamples import draw_patients
from tests.benchmark.trials import LABELS, PATIENTS

IMAGES = [f"i{number}" for number in range(len(LABELS))]


@pytest.fixture
def read(tmp_path):
    folder = TrialDirectory(tmp_path)
    test = pl.DataFrame({"image": IMAGES, "patient_id": [f"p{patient}" for patient in PATIENTS], "label": LABELS})
    resamples = draw_patients(PATIENTS, LABELS, 100, 0)
    return folder, test, lambda: read_controls(folder, test, resamples, Statistics())


def test_every_control_is_read():
    assert tuple(READERS) == tuple(CONTROLS)


def test_a_cell_without_controls_has_none_of_the_columns(read):
    assert read[2]() == {}


def test_the_columns_of_a_control_stand_together_in_the_leaderboard():
    first = list(OF_LEADERBOARD).index(next(iter(SCHEMA)))
    assert list(OF_LEADERBOARD)[first : first + len(SCHEMA)] == list(SCHEMA)


def test_what_is_read_is_what_the_records_announce(read):
    folder, test, columns = read
    of_ratio = {"null": 1.5, "p_value": 0.25, "n_disc": 60, "n_images": 100, "turned": {"null": 1.25, "p_value": 0.5}}
    write_json(folder.vessel_permutation, {"vessel_ratio": of_ratio, "vessel_ratio_fov": of_ratio})
    write_json(folder.other_class, {"vessel_ratio_fov": of_ratio})
    steps = [{"rank_correlation": 0.5}, {"rank_correlation": 0.125}]
    write_json(
        folder.parameter_randomisation, {"n_images": 32, "steps": steps, "other_images": {"rank_correlation": 0.25}}
    )
    drawn = np.random.default_rng(0).uniform(1, 2, size=len(test))
    by_image = {
        f"{ratio}{end}": drawn + number
        for number, end in enumerate(("_null", "_given", "_turned", ""))
        for ratio in ("vessel_ratio", "vessel_ratio_fov")
    }
    for file in (folder.chance, folder.other_class_chance):
        write_parquet(
            file, test.select("image", "patient_id").with_columns(pl.Series(k, v) for k, v in by_image.items())
        )
    scores = {
        name: np.random.default_rng(n).normal(size=len(test)) for n, name in enumerate(("score", "erased", "control"))
    }
    write_parquet(folder.erasure, test.with_columns(pl.Series(k, v) for k, v in scores.items()))
    found = columns()
    assert set(found) - {"depends_p", "erased_reversed"} == set(SCHEMA)
    assert (found["vessel_ratio_null"], found["vessel_ratio_turned_p"], found["n_disc"]) == (1.5, 0.5, 60)
    assert (found["vessel_ratio_fov_other_null"], found["n_other"]) == (1.5, 100)
    assert [
        found[name]
        for name in ("parameter_randomisation_classifier", "parameter_randomisation", "parameter_randomisation_others")
    ] == [0.5, 0.125, 0.25]
    assert found["vessel_ratio_over_null"] > 1, "the cell's ratios are the larger ones"
    assert found["n_erased"] == len(test) and np.isfinite([found[name] for name in ERASURE.estimates]).all()
