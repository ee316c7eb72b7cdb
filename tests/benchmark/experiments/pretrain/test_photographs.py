"""The photographs that miniature models are pre-trained on: those of a study, but of seeds that none has."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmark.experiments.pretrain.photographs import SEED, cohorts, draw_photographs
from benchmark.synthetic import draw_eye, plan

CONFIGS = Path(__file__).parents[4] / "configs"


@pytest.fixture(scope="module")
def photographs():
    return draw_photographs(cohorts(4), processes=2)


def test_they_are_drawn_as_planned_by_any_number_of_processes(photographs):
    again = draw_photographs(cohorts(4), processes=1)
    assert photographs.images.shape == (8, 224, 224, 3)
    assert photographs.images.dtype == np.uint8
    assert np.array_equal(photographs.images, again.images)
    assert photographs.sides == again.sides == ["right", "left"] * 4
    assert photographs.traits[0].signal == "vessels"
    assert photographs.traits[-1].signal == "periphery"


def test_traits_belong_to_their_photographs(photographs):
    cohort = cohorts(4)[1]
    row = plan(cohort)[2]
    eye = draw_eye(cohort, row["patient_id"], row["eye"], row["severity"], row["low_quality"])
    assert photographs.traits[6].severity == eye.traits.severity
    assert photographs.traits[6].quality == eye.traits.quality


def test_no_shipped_study_draws_from_their_seeds():
    drawn = [yaml.safe_load(file.read_text(encoding="utf-8"))["cohort"] for file in sorted(CONFIGS.glob("*.yaml"))]
    seeds = [cohort["synthetic"].get("seed", 0) for cohort in drawn if "synthetic" in cohort]
    assert seeds
    assert max(seeds) < SEED
