"""The demo and its counterpart: what the documentation says of them (docs/demo.md) is what they show."""

from pathlib import Path

import polars as pl
import pytest

from benchmark.stages.pipeline import run_study
from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import load_study

CONFIGS = Path(__file__).parents[3] / "configs"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(6000)]


def cells_of(name: str, directory: Path) -> pl.DataFrame:
    """The run's leaderboard beside its `planted.csv`, one row per cell."""
    run_study(load_study(CONFIGS / f"{name}.yaml"), directory)
    run = RunDirectory(directory)
    board, planted = (pl.read_csv(run.table(table)) for table in ("leaderboard", "planted"))
    verdicts = [name for name in planted.columns if name.endswith(("_verdict", "_outcome"))]
    cell = ["backbone", "strategy", "seed"]
    return board.join(planted.select(*cell, *verdicts), on=cell, how="left", validate="1:1")


def test_the_models_of_the_demo_have_learned_and_erasure_names_the_vessels(tmp_path):
    cells = cells_of("demo", tmp_path)
    assert len(cells) == 9 and set(cells["status"]) == {"ok"}
    assert cells["auc"].max() >= 0.80
    better = cells.filter("predicts").group_by("strategy").agg(pl.col("backbone").n_unique())
    assert dict(better.iter_rows()).keys() == {"classifier_only", "partial", "lora"} and better["backbone"].min() >= 2
    assert (cells["n_ratio"] >= 0.95 * cells["n_images"]).all()
    assert cells["depends"].sum() >= 7 and not cells["erased_reversed"].any()
    # Grad-CAM of the condition avoids the arteries that it fades; the other class's maps lie on them.
    assert (cells["vessel_ratio_fov_high"] < 1).all() and not cells["above_null"].any()
    assert (cells["vessel_ratio_fov_other"] > cells["vessel_ratio_fov_other_null"]).all()
    assert "wrong" not in set(cells["erasure_outcome"])


def test_with_the_signal_elsewhere_no_model_is_said_to_need_the_vessels(tmp_path):
    cells = cells_of("demo-periphery", tmp_path)
    assert len(cells) == 9 and set(cells["status"]) == {"ok"}
    assert cells["auc"].max() >= 0.80 and cells["predicts"].all()
    assert not cells["depends"].any()
    assert set(cells["erasure_outcome"]) == {"right"}
    # Some AUCs fall all the same, to below chance: those models are misled.
    misled = cells.filter("erased_reversed")
    assert len(misled) and (misled["auc_drop_difference_low"] > 0).all()
    assert (cells["permutation_outcome"] == "wrong").any(), "a ratio above chance where no signal is"
