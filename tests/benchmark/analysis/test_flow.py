"""Every box of the flow is the sum of what is below it, whatever is left out of a cohort, and each count is counted."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.analysis.flow import NO_MAP, NO_RATIO, TABLE, Box, Counts, boxes, flow_of, flow_table, kind_of, read_flow
from benchmark.storage.rundir import RunDirectory, write_csv
from tests.benchmark.trials import change, one_trial, write_cohort, write_trial

IMAGES = {"image": pl.String, "patient_id": pl.String, "label": pl.Int8, "split": pl.String}
REASONS = {"image": pl.String, "reason": pl.String}
REJECTED = IMAGES | {"reason": pl.String}
TESTED = {"image": pl.String, "mapped": pl.Boolean, "ratio": pl.Boolean}


def fields(counts):
    return [counts.images, counts.patients, counts.positive, counts.positive_patients]


def require_sums(flow):
    """Each box is the sum of its parts and of what is left out, and reasons add up to what they explain."""
    for box in boxes(flow):
        below = [*([box.left_out.counts] if box.left_out else []), *(part.counts for part in box.parts)]
        if box.left_out is not None:
            assert box.left_out.counts.images > 0
            assert sum(box.left_out.reasons.values()) == box.left_out.counts.images, box.left_out.name
        if box.parts:
            for name, total, *parts in zip(
                ("images", "patients", "positive", "positive_patients"),
                fields(box.counts), *map(fields, below), strict=True,
            ):  # fmt: skip
                if total is not None:
                    assert total == sum(parts), (box.name, name)
                    assert min(parts) >= 0, (box.name, name)


@st.composite
def studies(draw):
    """The tables of a run: any patients in any splits, both labels within a patient too, and any losses."""
    rows = [
        {
            "image": f"{patient}-{eye}.png",
            "patient_id": f"p{patient}",
            "label": draw(st.integers(0, 1)),
            "split": split,
            "reason": draw(st.sampled_from((None, None, None, "a blank frame", "no such file"))),
        }
        for patient in range(draw(st.integers(1, 12)))
        for split in [draw(st.sampled_from(("train", "val", "test", "test")))]
        for eye in range(draw(st.integers(1, 3)))
    ]
    listed = pl.DataFrame(rows, schema=REJECTED)
    cohort = listed.filter(pl.col("reason").is_null()).drop("reason")
    rejected = listed.filter(pl.col("reason").is_not_null())
    test = cohort.filter(split="test")["image"].to_list()
    unmasked = [{"image": image, "reason": "no artery_mask"} for image in test if draw(st.booleans())]
    tested = []
    for _ in range(draw(st.integers(0, 3))):
        rows = []
        for image in test[draw(st.integers(0, 1)) :]:
            mapped = draw(st.booleans())
            rows.append({"image": image, "mapped": mapped, "ratio": mapped and draw(st.booleans())})
        tested.append(pl.DataFrame(rows, schema=TESTED))
    files = draw(st.dictionaries(st.sampled_from(("hidden", "with the ending .txt")), st.integers(1, 9)))
    return cohort, rejected, pl.DataFrame(unmasked, schema=REASONS), tested, files


@given(studies())
def test_every_box_is_the_sum_of_those_below(made):
    cohort, rejected, unmasked, tested, files = made
    flow = flow_of(cohort, rejected, unmasked, tested, files_left_out=files)
    require_sums(flow)
    by_name = {box.name: box for box in boxes(flow)}
    assert by_name["listed"].counts.images == len(cohort) + len(rejected)
    assert by_name["used"].counts.patients == cohort["patient_id"].n_unique()
    for split in ("train", "val", "test"):
        images = cohort.filter(split=split)
        assert (split in by_name) == bool(len(images))
        if len(images):
            positive = images.filter(label=1)
            expected = [len(images), images["patient_id"].n_unique(), len(positive), positive["patient_id"].n_unique()]
            assert fields(by_name[split].counts) == expected
    if tested and "test" in by_name:
        without = set(unmasked["image"])
        explained = [
            image for image in cohort.filter(split="test")["image"]
            if image not in without and all(image in set(each.filter("ratio")["image"]) for each in tested)
        ]  # fmt: skip
        assert by_name["explained"].counts.images == len(explained)
    table = flow_table(flow)
    assert table.schema == pl.Schema(TABLE)
    assert len(table.filter(~pl.col("left_out"))) == len(by_name)


@pytest.fixture
def directory(tmp_path):
    """40 test patients with two images each; five test images have no ratio in either of two trials."""
    directory = write_cohort(RunDirectory(tmp_path))
    change(directory.vessels, pl.lit(None, dtype=pl.String).alias("error"))
    rejected = {"image": ["x.png", "y.png"], "patient_id": ["p0", "new"], "label": [0, 1], "split": ["test", "val"]}
    write_csv(directory.rejected, pl.DataFrame(rejected | {"path": "", "reason": "no such file"}))
    for seed in (0, 1):
        write_trial(directory, one_trial(seed=seed), 1.0, 1.2, seed)
    return directory


def test_the_flow_of_a_run(directory):
    trials = [one_trial(seed=seed) for seed in (0, 1)]
    flow = read_flow(directory, trials)
    require_sums(flow)
    by_name = {box.name: box for box in boxes(flow)}
    assert list(by_name) == ["listed", "used", "val", "test", "scored", "masked", "explained"]
    assert by_name["listed"].counts == Counts(102, 61, 51, 31)
    # Patient p0 has two other images, so only "new" is lost.
    assert by_name["listed"].left_out.counts == Counts(2, 1, 1, 1)
    assert by_name["listed"].left_out.reasons == {"no such file": 2}
    assert by_name["masked"].counts.images == 80
    assert by_name["masked"].left_out.counts == Counts(5, 2, 2, 1)
    assert by_name["masked"].left_out.reasons == {NO_RATIO: 5}


def test_an_image_counts_as_analysed_only_if_every_trial_has_it(directory):
    first, second = (directory.trial(one_trial(seed=seed)) for seed in (0, 1))
    last = pl.col("image") == "79.png"
    change(first.predictions, pl.when(last).then(None).otherwise(pl.col("score")).alias("score"))
    nothing = [pl.when(pl.col("image") == "70.png").then(None).otherwise(pl.col(name)).alias(name)
               for name in ("outside_share", "vessel_ratio")]  # fmt: skip
    change(second.saliency, *nothing)
    broken = pl.when(pl.col("image") == "60.png").then(pl.lit("60.png: no vein_mask in the manifest: fill the column"))
    change(directory.vessels, broken.alias("error"))
    directory.complete("prepare", left_out={"hidden": 3}, repeated=2)
    flow = read_flow(directory, [one_trial(seed=seed) for seed in (0, 1)], drawn=True)
    require_sums(flow)
    by_name = {box.name: box for box in boxes(flow)}
    assert list(by_name)[:2] == ["found", "drawn"]
    assert by_name["found"].counts == Counts(105)
    assert by_name["used"].repeated == 2
    assert by_name["test"].left_out.counts.images == 1
    assert by_name["scored"].left_out.reasons == {"no vein_mask in the manifest": 1}
    assert by_name["masked"].left_out.reasons == {NO_RATIO: 5, NO_MAP: 1}
    assert by_name["explained"].counts.images == 80 - 1 - 1 - 6


def test_without_results_nothing_is_analysed(directory):
    flow = read_flow(directory, [])
    assert [box.name for box in boxes(flow)] == ["listed", "used", "val", "test"]
    assert isinstance(flow, Box)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("no such file", "no such file"),
        ("not a readable picture (image file is truncated)", "not a readable picture"),
        ("12x40 pixels: too small to show vessels (at least 64 per side)", "too small to show vessels"),
        ("a blank frame (grey levels from 3 to 5 of 255 only)", "a blank frame"),
        ("fov_mask /home/anna/my eyes/p7.png: the field of view is less than 64 pixels wide: too small",
         "fov_mask: the field of view is less than 64 pixels wide"),
        ("p7 left.png: no artery_mask in the manifest: fill the column", "no artery_mask in the manifest"),
        ("p7.png: artery_mask /d/a.png and vein_mask /d/v.png mark the same pixels: name a mask of the arteries",
         "artery_mask and vein_mask mark the same pixels"),
        ("DICOM: cannot be read (unexpected tag)", "DICOM: cannot be read"),
        ("IM0001: the image has no red", "the image has no red"),
        ("truncated", "truncated"),
        ("/d/crop_info.csv", "another reason"),
    ],
)  # fmt: skip
def test_equal_kinds_of_reasons_are_counted_without_names_of_files(reason, kind):
    assert kind_of(reason) == kind
