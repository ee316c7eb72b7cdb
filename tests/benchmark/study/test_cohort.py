"""A manifest, checked and split for a study."""

import hashlib

import polars as pl
import pytest

from benchmark.errors import UserError
from benchmark.study.cohort import digest, open_cohort
from benchmark.study.config import Study
from benchmark.synthetic import SyntheticCohort


def study(source, **cohort):
    return Study.model_validate(
        {
            "name": "x",
            "cohort": {"manifest": "unused.csv", **cohort},
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


def test_every_patient_gets_a_split(manifest):
    opened = open_cohort(study("wnet"), manifest)
    assert sorted(opened.images["split"].unique()) == ["test", "train", "val"]
    assert not opened.splits_given


def test_splits_of_the_manifest_are_noted(manifest):
    heading, *rows = manifest.read_text().splitlines()
    splits = ("train", "val", "test")
    given = [f"{row},{splits[number // 2 % 3]}" for number, row in enumerate(rows)]
    manifest.write_text("\n".join([f"{heading},split", *given]))
    assert open_cohort(study("wnet"), manifest).splits_given


def test_a_manifest_without_masks_is_refused_before_anything_runs(manifest):
    with pytest.raises(UserError, match=r"cohort\.csv: no test image has an artery_mask, .* --vessels wnet"):
        open_cohort(study("masks"), manifest)


@pytest.fixture
def write(tmp_path):
    """Write a CSV with these lines and return its path."""

    def write(*lines: str | bytes):
        path = tmp_path / "cohort.csv"
        path.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines))
        return path

    return write


# Unusual cohorts that are valid.
SOUND = {
    "twelve patients": [f"{i}.jpg,{i % 2},p{i}" for i in range(12)],
    "one eye": [f"{i}.jpg,{i % 2},p{i},left" for i in range(20)],
    "leading zeros": [f"{i}.jpg,{i % 2},{i:03d}" for i in range(20)],
    "both eyes of a patient": [f"{i}.jpg,{i // 2 % 2},p{i // 2}" for i in range(20)],
    "six patients": [f"{i}.jpg,{i % 2},p{i}" for i in range(6)],
    "names with spaces and umlauts": [f"Müller {i}.jpg,{i % 2},Frau M{i}" for i in range(20)],
}


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte-order mark"])
@pytest.mark.parametrize("rows", SOUND.values(), ids=SOUND.keys())
def test_small_and_unusual_cohorts_pass(write, rows, mark):
    manifest = write(
        mark + (b"image,label,patient_id,eye" if rows[0].count(",") > 2 else b"image,label,patient_id"), *rows
    )
    cohort = open_cohort(study("wnet"), manifest).images
    assert len(cohort) == len(rows)
    assert cohort.group_by("split").agg(pl.col("label").n_unique())["label"].to_list() == [2, 2, 2]


def test_a_rare_class_is_in_every_split(write):
    manifest = write("image,label,patient_id", *(f"{i}.jpg,{int(i < 4)},{i}" for i in range(200)))
    shares = {"train": 0.7, "val": 0.1, "test": 0.2}
    split = open_cohort(study("wnet", shares=shares), manifest).images.filter(label=1)["split"].to_list()
    assert [split.count(name) for name in ("train", "val", "test")] == [2, 1, 1]


def test_the_positive_class_is_the_one_that_the_configuration_names(write):
    manifest = write("image,label,patient_id", *(f"{i}.jpg,{'yes' if i < 6 else 'no'},{i}" for i in range(20)))
    opened = open_cohort(study("wnet", positive="yes"), manifest)
    assert opened.images["label"].to_list() == [1] * 6 + [0] * 14
    assert opened.classes is not None
    assert opened.classes.by_label() == {"0": "no", "1": "yes"}


def test_a_class_that_a_split_folder_lacks_is_named(tmp_path):
    for file in ("train/a/1.jpg", "train/b/2.jpg", "val/a/3.jpg", "test/a/4.jpg", "test/b/5.jpg"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    with pytest.raises(UserError) as caught:
        open_cohort(study("wnet"), tmp_path)
    fix = f"both classes are needed: correct the splits of {tmp_path.name}"
    assert str(caught.value) == f"split val has only label 0 (a) (1 images); {fix}"


def test_the_digest_changes_with_a_label_a_patient_an_image_and_not_with_the_order():
    test = pl.DataFrame({"image": ["b.png", "a.png"], "patient_id": ["é", "q"], "label": [1, 0], "row": [5, 6]})
    assert digest(test, None) == digest(test.reverse(), None) == digest(test.with_columns(row=pl.lit(0)), None)
    assert digest(test, None) == hashlib.sha256('[["a.png", "q", 0], ["b.png", "é", 1]]'.encode()).hexdigest()
    others = [
        test.with_columns(label=1 - pl.col("label")),
        test.with_columns(patient_id=pl.lit("q")),
        test.with_columns(image="x" + pl.col("image")),
        test.head(1),
    ]
    assert len({digest(frame, None) for frame in (test, *others)}) == 5
    drawn = [digest(test, SyntheticCohort(signal=signal)) for signal in ("vessels", "periphery")]
    assert len({digest(test, None), *drawn}) == 3


def test_the_digest_of_a_synthetic_cohort_without_covariates_is_that_of_earlier_versions():
    test = pl.DataFrame({"image": ["a.png"], "patient_id": ["p"], "label": [1]})
    assert digest(test, SyntheticCohort()) == "a3ad1986d5721073ea82fc11a2568cb1241a270a34f88378abaa0e3c8029ca6a"
    assert digest(test, SyntheticCohort(covariates="confounded")) != digest(test, SyntheticCohort())
