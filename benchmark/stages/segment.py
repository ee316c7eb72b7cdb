"""segment: test images at full resolution -> the share of each crop pixel inside artery, vein, vessel and FOV."""

from pathlib import Path

import numpy as np
import polars as pl

from benchmark.errors import OF_ONE_ROW, UserError, stop_when_full
from benchmark.scheduling.streaming import Each, Row, stream
from benchmark.stages.run import Run
from benchmark.storage.rundir import create_array, write_parquet
from benchmark.study.config import Resources, Study
from benchmark.study.images import IMAGE_SIZE, load_image, one_line
from benchmark.study.manifest import FILES
from benchmark.study.splits import of_split
from benchmark.tables import read_parquet
from benchmark.trial.device import worker_device
from xai.crop import Square, coverage
from xai.decoding import stored_orientation
from xai.landmarks import read_disc
from xai.vessels import ChecksImages, FundusImage, VesselSource, open_source, regions
from xai.vessels.alignment import Alignment, alignment
from xai.vessels.quality import quality_flags

BLOCK = 4  # images per block, at full resolution


def open_vessels(study: Study) -> VesselSource:
    """The study's vessel source on the CPU, opened to check that it is available.

    Raises:
        UserError: no such source, or its weights are missing or do not fit.
    """
    settings = study.vessels
    try:
        return open_source(settings.source, weights=settings.weights, size=settings.size, device="cpu")
    except (ValueError, OSError) as error:
        raise UserError(f"vessels: {error}") from error


def require_own_masks(source: VesselSource, cohort: pl.DataFrame) -> None:
    """Check before a run that the source has a separate mask for each test image of the cohort.

    Raises:
        UserError: two images would share a mask, or all masks belong to another cohort.
    """
    if not isinstance(source, ChecksImages):
        return
    try:
        source.check(
            of_split(cohort, "test")["image"].to_list(), cohort.filter(pl.col("split") != "test")["image"].to_list()
        )
    except ValueError as error:
        raise UserError(f"vessels: {error}") from error


def segment(run: Run) -> None:
    """Fill `vessels/`, once per study.

    Raises:
        UserError: no test image has usable vessel masks.
    """
    if run.directory.completed("segment") is not None:
        run.reporter.skip("segment", "complete")
        return
    cohort = run.directory.outward(read_parquet(run.directory.cohort))
    test = of_split(cohort, "test").with_row_index("position")
    planes = create_array(run.directory.regions, (len(test), 4, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    discs = None  # if no image has a disc mask
    if test["disc_mask"].count():
        discs = create_array(run.directory.disc, (len(test), IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    rows = test.select(
        "position", "image", "path", "top", "left", "side", *(pl.col(column).fill_null("") for column in FILES)
    ).to_dicts()
    settings = run.study.vessels
    provenance = open_vessels(run.study).provenance
    needed = run.study.resources
    # Without a GPU, reading requests the same resources as an actor, and Ray Data fuses the two: no task waits for a
    # CPU that the actors hold. With a GPU, reading runs in parallel with the actors.
    loading = Each(load_row, cpus=1 if needed.gpus else needed.cpus)
    options = {"source": settings.source, "weights": settings.weights, "size": settings.size, "resources": needed}
    segmenting = run.batched(SegmentWorker, options, feeding=1 if needed.gpus else 0)
    found = []
    with run.reporter.stage("segment", len(rows), "images") as stage:
        for result in stream(rows, [loading, segmenting], BLOCK, on_wait=stage.note):
            stop_when_full(str(result["error"]))
            planes[result["position"]] = result["planes"]
            if discs is not None:
                discs[result["position"]] = result["disc"]
            found.append(_summary(result))
            stage.advance()
    planes.flush()
    if discs is not None:
        discs.flush()
    vessels = test.select("position", "image").join(_table(found), on="position").sort("position")
    write_parquet(run.directory.vessels, vessels)
    failed = vessels.drop_nulls("error")
    if len(failed) == len(vessels):  # stop before hours of training: there would be no ratio to average
        first = failed.row(0, named=True)
        raise UserError(
            f"none of {len(vessels)} test images has usable vessel masks; the first: {first['image']}: "
            f"{first['error']}; correct the masks, then continue with --resume"
        )
    run.directory.complete("segment", source=provenance, failed=len(failed))


def load_row(row: Row) -> Row:
    """Streaming step: the image, its field of view and optic disc; if reading fails, the reason is in `error`.

    If only the disc mask cannot be read, only the disc is left out; the reason is in `disc_error`.
    """
    path = Path(row["path"])
    try:
        rgb, fov = load_image(path, row["fov_mask"])
    except OF_ONE_ROW as error:
        nothing = np.zeros((1, 1), bool)
        blank = {"rgb": np.zeros((1, 1, 3), np.uint8), "fov": nothing, "disc": nothing, "orientation": 1}
        return row | blank | {"error": one_line(error), "disc_error": ""}
    read = {"rgb": rgb, "fov": fov, "orientation": stored_orientation(path), "error": ""}
    try:
        return row | read | {"disc": read_disc(row["disc_mask"], rgb, fov, path), "disc_error": ""}
    except OF_ONE_ROW as error:
        return row | read | {"disc": np.zeros_like(fov), "disc_error": one_line(error)}


class SegmentWorker:
    """Streaming step: vessel masks of a few images, as coverage of the crop's pixels."""

    def __init__(self, source: str, weights: Path | None, size: int | None, resources: Resources) -> None:
        self.source = open_source(source, weights=weights, size=size, device=str(worker_device(resources)))

    def __call__(self, rows: list[Row]) -> list[Row]:
        return [self._one(row) for row in rows]

    def _one(self, row: Row) -> Row:
        planes, error = np.zeros((4, IMAGE_SIZE, IMAGE_SIZE), np.uint8), str(row["error"])
        disc = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
        disagreement, note, fit = None, "", Alignment(np.nan, np.nan)
        if not error:
            files = {column: str(row[column]) or None for column in FILES}
            image = FundusImage(row["rgb"], row["fov"], {"image": str(row["image"])} | files, int(row["orientation"]))
            try:
                (masks,) = self.source.segment([image])
                square = Square(int(row["top"]), int(row["left"]), int(row["side"]))
                # All are assigned together: an image with an error has no masks.
                planes, disc, fit = (
                    regions(masks, image.fov, square, IMAGE_SIZE),
                    coverage(row["disc"] & image.fov, square, IMAGE_SIZE),
                    alignment(image.rgb, image.fov, masks.artery | masks.vein | masks.uncertain),
                )
                disagreement, note = masks.disagreement, masks.note
            except OF_ONE_ROW as fault:
                error = one_line(fault)
        disagreement = np.nan if disagreement is None else disagreement
        return {
            "position": row["position"], "planes": planes, "disc": disc, "disagreement": disagreement,
            "on_vessels": fit.upright, "on_vessels_turned": fit.turned,
            "note": note, "error": error, "disc_error": str(row["disc_error"]),
        }  # fmt: skip


def _summary(result: Row) -> Row:
    error, planes = str(result["error"]) or None, result["planes"]
    artery, vein, vessel, fov = planes.astype(np.float64).sum(axis=(1, 2)) / 255
    shares = {"artery": artery, "vein": vein, "vessel": vessel}
    fit = Alignment(float(result["on_vessels"]), float(result["on_vessels_turned"]))
    (flags,) = quality_flags(planes[None], [fit]) if error is None else ((),)
    measured = {
        "disagreement": result["disagreement"],
        "on_vessels": fit.upright,
        "on_vessels_turned": fit.turned,
    }
    return {
        "position": result["position"],
        **{name: area / fov if fov else None for name, area in shares.items()},
        "fov": fov / IMAGE_SIZE**2,
        **{name: None if np.isnan(value) else float(value) for name, value in measured.items()},
        "flags": ", ".join(flags),
        "note": str(result["note"]),
        "error": error,
        "disc_error": str(result["disc_error"]) or None,
    }


def _table(found: list[Row]) -> pl.DataFrame:
    numbers = ("artery", "vein", "vessel", "fov", "disagreement", "on_vessels", "on_vessels_turned")
    texts = ("flags", "note", "error", "disc_error")
    schema: dict[str, type[pl.DataType]] = {"position": pl.UInt32}
    schema |= dict.fromkeys(numbers, pl.Float64) | dict.fromkeys(texts, pl.String)
    return pl.DataFrame(found, schema=schema)
