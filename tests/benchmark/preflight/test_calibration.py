"""Short measurements on this machine."""

import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.preflight import calibration
from benchmark.preflight.calibration import FEW, MANY, calibrate
from benchmark.preflight.expected import expected_cohort
from benchmark.study.config import load_study
from benchmark.trial.costs import GIB, Machine
from xai.vessels.bfnet import BFNetSource

DEMO = Path(__file__).resolve().parents[3] / "configs" / "demo.yaml"
CPU = Machine(torch.device("cpu"), "CPU", trials=1, threads=1, memory=8 * GIB, half=False)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(calibration, "ENOUGH", 0.001)
    monkeypatch.setattr(calibration, "LONG", 0.0)  # every first call counts


def test_every_kind_of_work_is_measured():
    study = load_study(DEMO, {})
    before = torch.get_num_threads()
    pace = asdict(calibrate(study, expected_cohort(study).images, replace(CPU, threads=before + 1)))
    assert torch.get_num_threads() == before
    assert pace.pop("slowdown") >= 1
    assert all(0 <= seconds < 60 for seconds in pace.values()), pace
    assert all(pace[name] > 0 for name in ("draw", "crop", "segment", "view", "measures", "erase", "turned"))


def test_masks_that_cannot_be_read_leave_the_time_of_segment_unknown(tmp_path):
    """The checks report the fault; the other stages are estimated."""
    rows = [f"{patient}.png,{patient % 2},p{patient},a{patient}.png,v{patient}.png" for patient in range(40)]
    manifest = tmp_path / "cohort.csv"
    manifest.write_text("\n".join(["image,label,patient_id,artery_mask,vein_mask", *rows]) + "\n", encoding="utf-8")
    study = load_study(DEMO, {"cohort": {"manifest": manifest, "synthetic": None}})
    pace = calibrate(study, expected_cohort(study).images, CPU)
    assert math.isnan(pace.segment)
    assert pace.draw == 0
    assert pace.erase > 0


def test_times_per_map_and_per_pair_follow_from_two_numbers_of_maps():
    of = {count: 0.5 * count + 0.25 * count**2 for count in (FEW, MANY)}
    found = calibration._line_and_square(of[FEW], of[MANY])
    assert (found["exchange"], found["pair"]) == (pytest.approx(0.5), pytest.approx(0.25))


def test_an_ensemble_is_measured_in_part(monkeypatch):
    """One member on a quarter of the side takes a 32nd of two members on the whole."""
    source = object.__new__(BFNetSource)
    source.members, source.size = [object(), object()], 4 * calibration.SMALL
    monkeypatch.setattr(calibration, "open_vessels", lambda study: source)
    reduced, times = calibration._reduced(load_study(DEMO, {}), CPU)
    assert (len(reduced.members), reduced.size, times) == (1, calibration.SMALL, 32)


def test_time_that_other_programs_take_does_not_count(monkeypatch):
    """Of two seconds that pass, one is the processor's."""
    clock = calibration._Clock(on_gpu=False)
    monkeypatch.setattr(calibration, "_timed", lambda call: (2.0, 1.0))
    clock.measure("work", lambda: None, pieces=4)
    assert (clock.pieces["work"], clock.passed / clock.used) == (0.25, 2)
    waiting = calibration._Clock(on_gpu=True)
    waiting.measure("work", lambda: None)
    assert waiting.pieces["work"] == 2
    assert np.isfinite(waiting.used)
