"""Trials without training: scores and ratios made by hand, as arrays or as the run directory of a study."""

import numpy as np
import polars as pl
from scipy.special import expit

from benchmark.analysis.measures import Tested
from benchmark.storage.rundir import RunDirectory, TrialDirectory, write_parquet
from benchmark.study.config import BackboneChoice, StrategyChoice
from benchmark.study.trials import Trial
from xai.saliency import MEANS, OUTSIDE, RATIOS
from xai.saliency_row import VESSEL_MEASURES

PATIENTS = np.repeat(np.arange(50), 2)
LABELS = np.repeat(np.arange(50) % 2, 2)


def make_tested(strength: float = 1.0, ratio: float = 1.2, seed: int = 0) -> Tested:
    """Two images of each of `PATIENTS`: scores follow the label with a strength, ratios scatter around `ratio`.

    Six images have no ratios. The same seed draws the same scatter, so that trials differ only in what is planted.
    """
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=50)[PATIENTS] + rng.normal(size=100)
    ratios = {name: ratio + 0.2 * rng.normal(size=100) for name in RATIOS}
    for values in ratios.values():
        values[10:16] = np.nan
    outside = rng.uniform(0.05, 0.3, size=100)
    return Tested(LABELS, expit(strength * (2 * LABELS - 1) + noise), 0.5, ratios, outside)


def one_trial(strategy: str = "lora", seed: int = 0) -> Trial:
    return Trial(BackboneChoice(name="dinov2-tiny"), StrategyChoice(name=strategy), seed)


def write_cohort(directory: RunDirectory) -> RunDirectory:
    """40 patients with two test images each, and 20 validation images."""
    cohort = pl.DataFrame(
        {
            "image": [f"{i}.png" for i in range(100)],
            "patient_id": [f"p{i // 2}" for i in range(80)] + [f"v{i}" for i in range(20)],
            "label": [i // 2 % 2 for i in range(80)] + [i % 2 for i in range(20)],
            "eye": ["left", "right"] * 50,
            "split": ["test"] * 80 + ["val"] * 20,
            "row": range(100),
        }
    )
    write_parquet(directory.cohort, cohort)
    flags = pl.when(pl.int_range(pl.len()) % 8 == 7).then(pl.lit("few_vessels")).otherwise(pl.lit(""))
    write_parquet(directory.vessels, cohort.filter(split="test").select("image", flags=flags))
    return directory


def write_trial(directory: RunDirectory, which: Trial, strength: float, ratio: float, seed: int = 0) -> TrialDirectory:
    """A trial whose scores follow the label with a strength, and whose ratios scatter around `ratio`.

    The first five test images have no ratios. Predictions are in another order, as a trial may write them.
    """
    rng = np.random.default_rng(seed)
    cohort = pl.read_parquet(directory.cohort)
    scores = expit(strength * (cohort["label"].to_numpy() - 0.5) + rng.normal(size=len(cohort)))
    folder = directory.trial(which)
    predictions = cohort.select("image", "patient_id", "label", pl.Series("score", scores), "split")
    write_parquet(folder.predictions, predictions.sample(fraction=1, shuffle=True, seed=1))
    test = cohort.filter(pl.col("split") == "test").select("image", "patient_id")
    values = {name: np.ones(len(test)) for name in MEANS}
    values |= {name: ratio + 0.1 * rng.normal(size=len(test)) for name in RATIOS}
    values[OUTSIDE] = rng.uniform(0.05, 0.3, size=len(test))
    values |= {f"{name}_raw": values[name] for name in VESSEL_MEASURES}
    without = pl.when(pl.int_range(pl.len()) < 5).then(None).otherwise(pl.col(RATIOS)).name.keep()
    write_parquet(folder.saliency, test.with_columns(**values).with_columns(without))
    return folder


def change(file, *columns: pl.Expr) -> None:
    """Rewrite a Parquet file with other columns."""
    write_parquet(file, pl.read_parquet(file).with_columns(*columns))
