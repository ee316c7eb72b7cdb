"""What the stage computes from images, with a stand-in for Ray Data; test_pipeline.py runs it under Ray."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from rich.console import Console

from benchmark.errors import UserError
from benchmark.report.notices import _repeated
from benchmark.report.progress import Reporter
from benchmark.scheduling.cluster import Cluster
from benchmark.stages import prepare as stage
from benchmark.stages.prepare import prepare
from benchmark.stages.run import Run
from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import Study
from benchmark.tables import read_csv, read_parquet
from tests.fuzz.images import dataset

PATIENTS = 18
SPLITS = ["train"] * 10 + ["val"] * 4 + ["test"] * 4


@pytest.fixture
def images(tmp_path) -> Path:
    """A folder with one eye of each of 18 patients; no two images are equal."""
    folder = tmp_path / "images"
    folder.mkdir()
    for patient in range(PATIENTS):
        Image.fromarray(retina(patient)).save(folder / f"{patient}.png")
    return folder


def retina(patient: int) -> np.ndarray:
    """(96, 96, 3) uint8."""
    side = np.linspace(-1, 1, 96)
    light = (side[:, None] ** 2 + side**2 < 0.8) * (1 + 0.2 * np.sin((3 + patient) * side))
    return (light[..., None] * (150, 80, 40)).astype(np.uint8)


@pytest.fixture
def run(tmp_path, images, monkeypatch):
    """Prepares the folder's images, each from a different patient; more rows can be given."""

    def stream(rows, steps, batch_size, on_wait):
        (step,) = steps
        yield from reversed([step.function(row) for row in rows])  # in no particular order

    monkeypatch.setattr(stage, "stream", stream)

    def prepared(*more: str, max_rejected: float = 0.5) -> Run:
        rows = [f"{patient}.png,{patient % 2},p{patient},{split}" for patient, split in enumerate(SPLITS)]
        manifest = images / "cohort.csv"
        manifest.write_text("\n".join(["image,label,patient_id,split", *rows, *more]) + "\n", encoding="utf-8")
        study = Study.model_validate(
            {
                "name": "x",
                "cohort": {"manifest": manifest, "max_rejected": max_rejected},
                "backbones": ["dinov2-tiny"],
                "strategies": ["classifier_only"],
                "vessels": {"source": "wnet"},
            }
        )
        directory = RunDirectory(tmp_path / "run")
        directory.path.mkdir()
        cluster = Cluster(nodes=1, cpus=2, gpus=0, gpu_memory=None, accelerators=(), is_local=True)
        made = Run(study, directory, cluster, Reporter(Console(file=io.StringIO()), ["prepare"]))
        prepare(made)
        return made

    return prepared


def test_images_of_their_own(run):
    made = run()
    counted = {"images": 18, "rejected": 0, "repeated": 0, "contradictory": 0}
    assert made.directory.completed("prepare") == counted | {"classes": None, "left_out": {}, "splits_given": True}
    assert read_parquet(made.directory.cohort)["digest"].n_unique() == 18, "by which external cohorts are checked"
    assert read_csv(made.directory.repeated, infer_schema=False).is_empty()
    assert _repeated(made.directory.completed("prepare")) == []


def store_as(folder: Path, kind: str, name: str) -> str:
    """The image of patient 0 under another name and in another format."""
    path = folder / name
    if kind == "turned":
        exif = Image.Exif()
        exif[274] = 3
        Image.fromarray(retina(0)[::-1, ::-1].copy()).save(path, "PNG", exif=exif)
    elif kind == "dicom":
        made = dataset(retina(0))
        made.Rows, made.Columns = 96, 96
        made.save_as(path, enforce_file_format=True)
    else:
        Image.fromarray(retina(0)).save(path, kind)
    return name


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "turned", "dicom"])
def test_one_picture_in_two_splits_is_refused(run, images, kind):
    """JunkangZhang/RetinalSegReg#4: a training image under another number and label in the test split.

    Byte copies are found in the manifest; these files differ in their bytes.
    """
    name = store_as(images, kind, "other.png")
    with pytest.raises(UserError) as caught:
        run(f"{name},1,p99,test")
    assert str(caught.value) == (
        "other.png (patient p99, test) is the same image as 0.png (patient p0, train): remove one of them, or give "
        "both the same patient_id"
    )


def test_within_a_split_repeats_are_counted_listed_and_reported(run, images):
    made = run(f"{store_as(images, 'TIFF', 'b.tif')},1,p50,train", f"{store_as(images, 'BMP', 'c.bmp')},0,p0,train")
    noted = made.directory.completed("prepare")
    assert noted == {
        "images": 20, "rejected": 0, "repeated": 2, "contradictory": 1, "classes": None, "left_out": {},
        "splits_given": True,
    }  # fmt: skip
    listed = read_csv(made.directory.repeated).select("image", "same_as", "label", "its_label")
    assert listed.rows() == [("b.tif", "0.png", 1, 0), ("c.bmp", "0.png", 0, 0)]
    (notice,) = _repeated(noted)
    assert notice.startswith("2 of 20 images have the same pixels as another image of their split; 1 of them with the")
    assert "repeated.csv" in notice


def test_what_cannot_be_used_is_listed_with_the_reason(run, images):
    Image.new("RGB", (96, 96), (128, 128, 128)).save(images / "blank.png")
    Image.fromarray(retina(0)).resize((40, 40)).save(images / "thumbnail.png")
    (images / "half.png").write_bytes((images / "1.png").read_bytes()[:300])
    made = run("blank.png,0,p60,train", "thumbnail.png,1,p61,train", "half.png,1,p62,test", "none.png,1,p63,test")
    rejected = dict(read_csv(made.directory.rejected).select("image", "reason").iter_rows())
    assert list(rejected) == ["blank.png", "thumbnail.png", "half.png", "none.png"]
    assert rejected["blank.png"].startswith("a blank frame")
    assert rejected["thumbnail.png"].startswith("40x40 pixels: too small")
    assert rejected["half.png"].startswith("not a readable picture (image file is truncated")
    assert rejected["none.png"] == "no such file"
    assert made.directory.completed("prepare")["rejected"] == 4
    cohort = read_parquet(made.directory.cohort)
    assert cohort.filter(pl.col("image").is_in(list(rejected))).is_empty()


def external_to(prepared: Run, folder: Path) -> Run:
    """An external cohort of the images in a folder, all patients new; nothing of it is prepared yet."""
    files = sorted(folder.iterdir())
    rows = [f"{file.name},{place % 2},e{place},train,{60 + place}" for place, file in enumerate(files)]
    manifest = folder / "external.csv"
    manifest.write_text("\n".join(["image,label,patient_id,split,age", *rows]) + "\n", encoding="utf-8")
    cohort = prepared.study.cohort.model_copy(update={"manifest": manifest, "covariates": {"age": "number"}})
    directory = prepared.directory.external("B")
    directory.path.mkdir(parents=True)
    directory.apply(prepared.directory, None)
    return replace(prepared, study=prepared.study.model_copy(update={"cohort": cohort}), directory=directory)


def test_an_external_cohort_is_tested_whole(run, tmp_path):
    """Whatever its splits; and its covariates are kept in the order of the images."""
    other = tmp_path / "other"
    other.mkdir()
    for patient in range(5):
        Image.fromarray(retina(50 + patient)).save(other / f"{patient}.png")
    (other / "5.png").write_bytes(b"no picture")
    prepared = external_to(run(), other)
    prepare(prepared)
    assert read_parquet(prepared.directory.cohort)["split"].to_list() == ["test"] * 5
    covariates = read_parquet(prepared.directory.covariates)
    assert covariates.rows() == [(f"{patient}.png", 60.0 + patient) for patient in range(5)]


def test_an_image_of_the_run_is_refused_in_an_external_cohort(run, tmp_path):
    """Under another name, in another format, of another patient."""
    other = tmp_path / "other"
    other.mkdir()
    for patient in range(4):
        Image.fromarray(retina(50 + patient)).save(other / f"{patient}.png")
    Image.fromarray(retina(3)).save(other / "copy.tif")
    prepared = external_to(run(), other)
    message = r"external cohort B: 1 image \(copy.tif\) is also in .* \(copy.tif is 3.png there\)"
    with pytest.raises(UserError, match=message):
        prepare(prepared)
    assert prepared.directory.completed("prepare") is None
