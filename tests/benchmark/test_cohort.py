"""A manifest as a study needs it."""

import pytest

from benchmark.cohort import read_cohort
from benchmark.config import Study
from benchmark.errors import UserError


def study(source):
    return Study.model_validate(
        {
            "name": "x",
            "cohort": {"manifest": "unused.csv"},
            "vessels": {"source": source},
            "backbones": ["dinov2-tiny"],
            "strategies": ["lora"],
        }
    )


@pytest.fixture
def manifest(tmp_path):
    path = tmp_path / "cohort.csv"
    path.write_text("image,label,patient_id\n" + "".join(f"{i}.jpg,{i % 2},p{i}\n" for i in range(20)))
    return path


def test_every_person_gets_a_split(manifest):
    assert sorted(read_cohort(study("wnet"), manifest)["split"].unique()) == ["test", "train", "val"]


def test_masks_that_nobody_named_are_missed_before_anything_runs(manifest):
    with pytest.raises(UserError, match=r"cohort\.csv: names no artery_mask .* --vessels wnet"):
        read_cohort(study("masks"), manifest)
