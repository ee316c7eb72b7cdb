"""segment: test photographs at full resolution -> the share of every crop pixel that is artery, vein, vessel, FOV."""

from pathlib import Path

import numpy as np
import polars as pl

from benchmark.config import Resources, Study
from benchmark.device import worker_device
from benchmark.errors import UserError
from benchmark.manifest import FILES
from benchmark.photos import IMAGE_SIZE, PhotoError, read_fov, read_mask, read_photo
from benchmark.run import Run
from benchmark.rundir import create_array, write_parquet
from benchmark.streaming import Each, Row, stream
from benchmark.tables import read_parquet
from xai.crop import Square, coverage
from xai.vessels import Photo, VesselSource, open_source, regions
from xai.vessels.quality import quality_flags

BLOCK = 4  # photographs at full resolution travel in a block


def open_vessels(study: Study) -> VesselSource:
    """The study's vessel source on the CPU, to see that it can be had.

    Raises:
        UserError: no such source, or its weights are missing or do not fit.
    """
    settings = study.vessels
    try:
        return open_source(settings.source, weights=settings.weights, size=settings.size, device="cpu")
    except (ValueError, OSError) as error:
        raise UserError(f"vessels: {error}") from error


def segment(run: Run) -> None:
    """Fill `vessels/`, once a study."""
    if run.directory.completed("segment") is not None:
        run.reporter.skip("segment", "complete")
        return
    test = read_parquet(run.directory.cohort).filter(pl.col("split") == "test").with_row_index("position")
    planes = create_array(run.directory.regions, (len(test), 4, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    discs = None  # where no photograph has a mask of it
    if test["disc_mask"].count():
        discs = create_array(run.directory.disc, (len(test), IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    rows = test.select(
        "position", "image", "path", "top", "left", "side", *(pl.col(column).fill_null("") for column in FILES)
    ).to_dicts()
    settings = run.study.vessels
    provenance = open_vessels(run.study).provenance
    needed = run.study.resources
    # Without a GPU, reading asks for what an actor asks for, and Ray Data fuses the two: no task waits for a CPU that
    # the actors hold. With one, reading runs beside the actors.
    loading = Each(load_row, cpus=1 if needed.gpus else needed.cpus)
    options = {"source": settings.source, "weights": settings.weights, "size": settings.size, "resources": needed}
    segmenting = run.batched(SegmentWorker, options, beside=1 if needed.gpus else 0)
    found = []
    with run.reporter.stage("segment", len(rows), "images") as stage:
        for result in stream(rows, [loading, segmenting], BLOCK, on_wait=stage.note):
            planes[result["position"]] = result["planes"]
            if discs is not None:
                discs[result["position"]] = result["disc"]
            found.append(_summary(result))
            stage.advance()
    planes.flush()
    if discs is not None:
        discs.flush()
    write_parquet(
        run.directory.vessels, test.select("position", "image").join(_table(found), on="position").sort("position")
    )
    run.directory.complete("segment", source=provenance, failed=sum(row["error"] is not None for row in found))


def load_row(row: Row) -> Row:
    """Streaming step: the photograph, its field of view and optic disc; the reason in `error` where that fails."""
    try:
        rgb = read_photo(Path(row["path"]))
        fov, named = read_fov(row["fov_mask"], rgb), row["disc_mask"]
        disc = read_mask("disc_mask", named, rgb) if named else np.zeros_like(fov)
        return row | {"rgb": rgb, "fov": fov, "disc": disc, "error": ""}
    except (PhotoError, ValueError) as error:
        nothing = np.zeros((1, 1), bool)
        return row | {"rgb": np.zeros((1, 1, 3), np.uint8), "fov": nothing, "disc": nothing, "error": str(error)}


class SegmentWorker:
    """Streaming step: vessel masks of a few photographs, as coverage of the crop's pixels."""

    def __init__(self, source: str, weights: Path | None, size: int | None, resources: Resources) -> None:
        self.source = open_source(source, weights=weights, size=size, device=str(worker_device(resources)))

    def __call__(self, rows: list[Row]) -> list[Row]:
        return [self._one(row) for row in rows]

    def _one(self, row: Row) -> Row:
        planes, error = np.zeros((4, IMAGE_SIZE, IMAGE_SIZE), np.uint8), str(row["error"])
        disc = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
        disagreement = None
        if not error:
            files = {column: str(row[column]) or None for column in FILES}
            photo = Photo(rgb=row["rgb"], fov=row["fov"], row={"image": str(row["image"])} | files)
            try:
                (masks,) = self.source.segment([photo])
                square = Square(int(row["top"]), int(row["left"]), int(row["side"]))
                planes = regions(masks, photo.fov, square, IMAGE_SIZE)
                disc = coverage(row["disc"] & photo.fov, square, IMAGE_SIZE)
                disagreement = masks.disagreement
            except (PhotoError, ValueError) as fault:
                error = str(fault)
        told = np.nan if disagreement is None else disagreement
        return {
            "position": row["position"], "planes": planes, "disc": disc, "disagreement": told, "error": error,
        }  # fmt: skip


def _summary(result: Row) -> Row:
    error, planes = str(result["error"]) or None, result["planes"]
    artery, vein, vessel, fov = planes.astype(np.float64).sum(axis=(1, 2)) / 255
    shares = {"artery": artery, "vein": vein, "vessel": vessel}
    (flags,) = quality_flags(planes[None]) if error is None else ((),)
    return {
        "position": result["position"],
        **{name: area / fov if fov else None for name, area in shares.items()},
        "fov": fov / IMAGE_SIZE**2,
        "disagreement": None if np.isnan(result["disagreement"]) else float(result["disagreement"]),
        "flags": ", ".join(flags),
        "error": error,
    }


def _table(found: list[Row]) -> pl.DataFrame:
    numbers = dict.fromkeys(("artery", "vein", "vessel", "fov", "disagreement"), pl.Float64)
    texts = dict.fromkeys(("flags", "error"), pl.String)
    schema: dict[str, type[pl.DataType]] = {"position": pl.UInt32, **numbers, **texts}
    return pl.DataFrame(found, schema=schema)
