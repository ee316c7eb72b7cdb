"""Short measurements of a study's work on this machine: seconds for one image, one map, one pair of eyes.

Each calls the function that a run calls, on one image. Models have random weights, so nothing is downloaded.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from benchmark import synthetic
from benchmark.errors import OF_ONE_ROW, UserError
from benchmark.preflight.scratch import scratch_folder
from benchmark.stages.segment import load_row, open_vessels
from benchmark.study.config import Study
from benchmark.study.images import IMAGE_SIZE, crop_row
from benchmark.study.manifest import FILES
from benchmark.study.splits import of_split
from benchmark.trial.costs import Machine
from finetune.inputs import Images
from xai.controls.erasure import erase_all
from xai.controls.parameter_randomisation import rank_correlation, structural_similarity
from xai.controls.turned_vessels import turned_vessels
from xai.controls.vessel_permutation import vessel_permutation
from xai.crop import crop_image, square_around
from xai.panels import panel
from xai.saliency_row import measure
from xai.vessels import FundusImage, VesselMasks, VesselSource, open_source, regions
from xai.vessels.alignment import alignment
from xai.vessels.bfnet import BFNetSource

ENOUGH, LONG = 0.05, 0.2  # seconds of the processor: when a measurement ends, and when the first call is enough
VIEWS = 4  # augmented views at once
FEW, MANY = 8, 48  # eyes whose vessels are exchanged in pairs
GRID = 16  # cells along each side of a map, as of a ViT with patches of 14 pixels
SMALL = 176  # side in pixels of BF-Net's input here: 24 networks at 720 pixels take minutes on a CPU


@dataclass(frozen=True)
class Pace:
    """Seconds for one piece of each kind of work, with the threads of one trial and a processor of its own.

    Attributes:
        draw: drawing and writing a synthetic eye; 0 if the cohort is not synthetic.
        crop: reading an image and cropping it.
        segment: reading a test image and finding its vessels; NaN if it fails.
        view: an augmented and normalised view of an image.
        measures: the saliency of a map inside all regions.
        panel: one figure of an example.
        erase: painting over the vessels of an image, and the control.
        exchange: preparing one map for the exchange of vessels.
        pair: the ratio of one map on the vessels of another eye.
        turned: the ratios of one map on its own vessels in all positions.
        likeness: the similarity of two maps.
        slowdown: how many times as long work takes now, at least 1, because other programs use the processors.
    """

    draw: float
    crop: float
    segment: float
    view: float
    measures: float
    panel: float
    erase: float
    exchange: float
    pair: float
    turned: float
    likeness: float
    slowdown: float


_PIECES = tuple(each.name for each in fields(Pace) if each.name != "slowdown")


@dataclass
class _Clock:
    """Measures calls, and how much of a processor they got.

    Attributes:
        on_gpu: whether work may wait for a GPU, so that processor time says nothing.
        passed: seconds of all measurements.
        used: seconds of the processor in them.
        pieces: seconds per piece, by name.
    """

    on_gpu: bool
    passed: float = 0.0
    used: float = 0.0
    pieces: dict[str, float] = field(default_factory=dict)

    def measure(self, name: str, call: Callable[[], Any], pieces: float = 1) -> None:
        """Note the mean seconds per piece; a first call only warms up, unless it is long."""
        passed, used = _timed(call)
        count = 1
        if used < LONG:
            passed = used = 0.0
            count = 0
            while used < ENOUGH:
                more, processor = _timed(call)
                passed, used, count = passed + more, used + processor, count + 1
        self.passed += passed
        self.used += used
        self.pieces[name] = (passed if self.on_gpu else min(passed, used)) / count / pieces


def _timed(call: Callable[[], Any]) -> tuple[float, float]:
    """Seconds, and seconds of the processor."""
    began, processor = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - began, time.process_time() - processor


def calibrate(study: Study, cohort: pl.DataFrame, machine: Machine) -> Pace:
    """Measure the pace of a study's work here, for a few seconds."""
    before = torch.get_num_threads()
    torch.set_num_threads(machine.threads)
    try:
        with scratch_folder() as scratch:
            return _calibrated(study, cohort, machine, scratch)
    finally:
        torch.set_num_threads(before)


def _calibrated(study: Study, cohort: pl.DataFrame, machine: Machine, scratch: Path) -> Pace:
    clock = _Clock(machine.device.type == "cuda")
    # 1. Images: a synthetic eye, and an image of the cohort.
    drawn = study.cohort.synthetic or synthetic.SyntheticCohort()
    plain = synthetic.SyntheticCohort(**asdict(drawn))
    row = synthetic.plan(plain)[0]
    clock.measure("draw", lambda: synthetic.write_eye(plain, row, scratch))
    if study.cohort.synthetic is not None:
        files = {column: str(scratch / row[column]) for column in FILES if column in row}
        listed = {"image": row["image"], "path": str(scratch / row["image"])} | files
    else:
        clock.pieces["draw"] = 0.0
        listed = _listed(cohort)
    read = {"row": 0, "path": listed["path"], "fov_mask": listed.get("fov_mask") or ""}
    clock.measure("crop", lambda: crop_row(read))
    _segment(clock, study, listed, machine)

    # 2. One eye on the square crop, for everything after that.
    eye = synthetic.draw_eye(plain, row["patient_id"], row["eye"], row["severity"], row["low_quality"])
    square = square_around(eye.fov)
    image = crop_image(eye.rgb, square, IMAGE_SIZE)
    planes = regions(VesselMasks(eye.artery, eye.vein, eye.artery & eye.vein), eye.fov, square, IMAGE_SIZE)
    store = np.repeat(image[None], VIEWS, axis=0)
    views = Images(store, study.backbones[0].open().normalise, 0, machine.device)
    numbers = np.arange(VIEWS)
    clock.measure("view", lambda: views.batch(numbers, numbers + 1), VIEWS)

    # 3. Maps and controls.
    rng = np.random.default_rng(0)
    signed = torch.from_numpy(rng.standard_normal((FEW, GRID, GRID)).astype(np.float32))
    maps = torch.nn.functional.interpolate(signed[:, None].relu(), IMAGE_SIZE, mode="bilinear")[:, 0].numpy()
    eyes = np.repeat(planes[None], FEW, axis=0)
    sides: list[str | None] | None = [row["eye"]] * FEW if _has_sides(cohort) else None
    clock.measure("measures", lambda: measure(signed, eyes, study.explain.scaling, sides), FEW)
    clock.measure("panel", lambda: panel(image, maps[0], planes, "image", "facts"))
    clock.measure("erase", lambda: erase_all(image[None], planes[None]))
    for count in (FEW, MANY):
        clock.measure(f"exchange of {count}", partial(_exchange, maps, planes, count, row["eye"] if sides else None))
    clock.pieces |= _line_and_square(clock.pieces[f"exchange of {FEW}"], clock.pieces[f"exchange of {MANY}"])
    clock.measure("turned", lambda: turned_vessels(maps[:1], eyes[:1], ["patient"], 1, 0, sides and sides[:1]))
    flat = signed.numpy()
    clock.measure(
        "likeness", lambda: (rank_correlation(flat, flat[::-1]), structural_similarity(maps, maps[::-1])), FEW
    )
    pieces = {name: clock.pieces[name] for name in _PIECES}
    return Pace(**pieces, slowdown=1.0 if clock.on_gpu else max(1.0, clock.passed / clock.used))


def _exchange(maps: np.ndarray, planes: np.ndarray, count: int, side: str | None) -> None:
    patients = [str(number) for number in range(count)]
    several = np.resize(maps, (count, *maps.shape[1:]))
    vessel_permutation(several, np.repeat(planes[None], count, axis=0), patients, 1, 0, [side] * count)


def _line_and_square(few: float, many: float) -> dict[str, float]:
    """Seconds per map and per pair of maps, from the times of `FEW` and `MANY` maps, both at least 0."""
    pair = max(0.0, (many / MANY - few / FEW) / (MANY - FEW))
    return {"exchange": max(0.0, few / FEW - FEW * pair), "pair": pair}


def _has_sides(cohort: pl.DataFrame) -> bool:
    """Whether the side of every eye is known: else each pair of eyes is compared in both orientations."""
    return "eye" in cohort.columns and cohort["eye"].null_count() == 0


def _listed(cohort: pl.DataFrame) -> dict[str, Any]:
    """The row of a test image whose file exists, if there is one."""
    test = of_split(cohort, "test").to_dicts()
    return next((row for row in test if Path(row["path"]).is_file()), test[0])


def _segment(clock: _Clock, study: Study, listed: dict[str, Any], machine: Machine) -> None:
    files = {column: listed.get(column) for column in FILES}
    row = {"path": listed["path"]} | {column: path or "" for column, path in files.items()}
    clock.pieces["segment"] = math.nan
    try:
        source, times = _reduced(study, machine)
        loaded = load_row(row)
        image = FundusImage(loaded["rgb"], loaded["fov"], {"image": listed["image"]} | files, loaded["orientation"])
        square = square_around(image.fov)
        found: list[VesselMasks] = []
        clock.measure("network", lambda: found.extend(source.segment([image])), 1 / times)

        def around() -> None:
            load_row(row)
            regions(found[0], image.fov, square, IMAGE_SIZE)
            alignment(image.rgb, image.fov, found[0].artery | found[0].vein | found[0].uncertain)

        clock.measure("around", around)
        clock.pieces["segment"] = clock.pieces["network"] + clock.pieces["around"]
    except (UserError, *OF_ONE_ROW):  # the checks report it
        return


def _reduced(study: Study, machine: Machine) -> tuple[VesselSource, float]:
    """The study's vessel source, and by how much its time has to be multiplied.

    One member of BF-Net's ensemble is measured on a small input: the time grows with the members and the pixels.
    """
    if machine.device.type == "cpu":
        source = open_vessels(study)
    else:
        settings = study.vessels
        source = open_source(settings.source, settings.weights, settings.size, str(machine.device))
    if not isinstance(source, BFNetSource):
        return source, 1.0
    members, size = len(source.members), source.size
    source.members, source.size = source.members[:1], min(size, SMALL)
    return source, members * (size / source.size) ** 2
