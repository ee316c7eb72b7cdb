"""erase: the test images without their vessels, and painted over elsewhere, for the erasure control.

Apart from the other controls: these tasks need no torch, which takes a worker seconds to import.
"""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from benchmark.errors import OF_ONE_ROW, named
from benchmark.scheduling.streaming import Each, Row, stream
from benchmark.storage.rundir import RunDirectory, create_array, open_array, write_parquet
from benchmark.study.images import IMAGE_SIZE
from benchmark.study.splits import of_split
from benchmark.tables import read_parquet
from xai.controls.erasure import erase_all

if TYPE_CHECKING:
    from benchmark.stages.run import Run

BLOCK = 16


def erase(run: "Run") -> str:
    """Fill `erased.npy` and `erased.parquet`, once per study: the images are the same for every trial.

    Returns:
        The reason for the first image that failed, in which case `erased.parquet` is not written; else "".
    """
    test = of_split(read_parquet(run.directory.cohort), "test").select("row", "image")
    store = create_array(run.directory.erased, (len(test), 2, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    painted, failed = np.full(len(test), np.nan), ""
    rows = test.with_row_index("position").select("position", "row").to_dicts()
    with run.reporter.stage("erase", len(rows), "images") as stage:
        for result in stream(rows, [Each(partial(erase_row, run.directory))], BLOCK, on_wait=stage.note):
            stage.advance()
            if result["error"]:
                failed = failed or f"{test['image'][int(result['position'])]}: {result['error']}"
                continue
            store[result["position"]] = result["versions"]
            painted[result["position"]] = result["share"]
    store.flush()
    if not failed:
        write_parquet(run.directory.painted, test.select("image", pl.Series("painted", painted).fill_nan(None)))
    return failed


def erase_row(directory: RunDirectory, row: Row) -> Row:
    """Streaming step: a test image -> its two erased versions, and the share of the field of view painted over.

    `versions` (2, 224, 224, 3) uint8: without its vessels, and painted over elsewhere. `share` is NaN if there are no
    vessels to erase. If the step fails, the reason is in `error`.
    """
    try:
        image = open_array(directory.images)[row["row"]]
        planes = open_array(directory.regions)[row["position"]]
        erased, elsewhere, share = erase_all(image[None], planes[None])
    except OF_ONE_ROW as error:
        blank = np.zeros((2, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        return {"position": row["position"], "versions": blank, "share": np.nan, "error": named(error)}
    versions = np.stack([erased[0], elsewhere[0]])
    return {"position": row["position"], "versions": versions, "share": share[0], "error": ""}
