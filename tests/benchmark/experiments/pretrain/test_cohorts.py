"""The images for pre-training the miniature models: drawn as in a study, but from seeds that no study uses."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmark.experiments.pretrain.cohorts import SEED, cohorts, draw_images
from benchmark.synthetic import draw_eye, plan

CONFIGS = Path(__file__).parents[4] / "configs"


@pytest.fixture(scope="module")
def drawn():
    return draw_images(cohorts(4), processes=2)


def test_they_are_drawn_as_planned_by_any_number_of_processes(drawn):
    again = draw_images(cohorts(4), processes=1)
    assert drawn.images.shape == (8, 224, 224, 3)
    assert drawn.images.dtype == np.uint8
    assert np.array_equal(drawn.images, again.images)
    assert drawn.sides == again.sides == ["right", "left"] * 4
    assert drawn.traits[0].signal == "vessels"
    assert drawn.traits[-1].signal == "periphery"


def test_traits_belong_to_their_images(drawn):
    cohort = cohorts(4)[1]
    row = plan(cohort)[2]
    eye = draw_eye(cohort, row["patient_id"], row["eye"], row["severity"], row["low_quality"])
    assert drawn.traits[6].severity == eye.traits.severity
    assert drawn.traits[6].quality == eye.traits.quality


def test_no_shipped_study_draws_from_their_seeds():
    drawn = [yaml.safe_load(file.read_text(encoding="utf-8"))["cohort"] for file in sorted(CONFIGS.glob("*.yaml"))]
    seeds = [cohort["synthetic"].get("seed", 0) for cohort in drawn if "synthetic" in cohort]
    assert seeds
    assert max(seeds) < SEED
