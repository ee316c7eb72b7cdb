"""An error in one row of a stream stays in that row, whichever step raises it: otherwise it would end the stream."""

import errno
import os

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.errors import OF_ONE_ROW
from benchmark.stages import control, embed, erase, explain, segment
from benchmark.stages.worker import Worker
from benchmark.study import images
from benchmark.study.config import Resources
from benchmark.study.trials import trials_of
from benchmark.synthetic import SyntheticCohort, plan
from benchmark.synthetic.eye import draw_eye
from tests.benchmark.explained import N, study_of, write_trained
from xai.crop import square_around

ERRORS = {
    "OSError": OSError(errno.EIO, os.strerror(errno.EIO)),
    "ValueError": ValueError("no such shape"),
    "RuntimeError": RuntimeError("device-side assert\nand a second line"),
    "CUDA": torch.OutOfMemoryError("CUDA out of memory"),
    "MemoryError": MemoryError(),
    "FloatingPointError": FloatingPointError("overflow"),
}


@pytest.fixture(params=ERRORS.values(), ids=ERRORS)
def spoil(request, monkeypatch):
    """Make a function raise the error at its first call; returns the error as text."""

    def spoil(where, name):
        work, left = getattr(where, name), [request.param]

        def spoilt(*args, **kwargs):
            if left:
                raise left.pop()
            return work(*args, **kwargs)

        monkeypatch.setattr(where, name, spoilt)
        return str(request.param).splitlines()[0] if str(request.param) else "emory"

    return spoil


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    study = study_of()
    return study, write_trained(study, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def eye(tmp_path_factory):
    """The row of an image with its masks, as segment and prepare read it."""
    folder = tmp_path_factory.mktemp("eye")
    cohort = SyntheticCohort(patients=4, image_size=160, seed=1)
    row = plan(cohort)[0]
    drawn = draw_eye(cohort, row["patient_id"], row["eye"], row["severity"], False)
    Image.fromarray(drawn.rgb).save(folder / "eye.png")
    files = {f"{mask}_mask": str(folder / f"{mask}.png") for mask in ("artery", "vein", "disc", "fov")}
    for mask, file in files.items():
        Image.fromarray(getattr(drawn, mask.removesuffix("_mask")).astype(np.uint8) * 255).save(file)
    square = square_around(drawn.fov)
    place = {"top": square.top, "left": square.left, "side": square.side}
    return {"row": 0, "position": 0, "image": "eye.png", "path": str(folder / "eye.png")} | place | files


def first_fails(results, reason):
    """One row for each unit, with the same columns, and a reason only in the first."""
    first, second = results
    assert reason in first["error"] and "\n" not in first["error"]
    assert second["error"] == ""
    assert first.keys() == second.keys()


def test_embed(trained, spoil):
    study, run = trained
    worker = embed.EmbedWorker(study, run, list(study.backbones), [[4]], [[]])
    unit = {"backbone": 0, "test": False, "rows": np.arange(2), "views": np.zeros(2, int)}
    reason = spoil(embed, "build_model")
    first_fails(worker([unit, unit]), reason)


@pytest.mark.parametrize("name", ["trained_model", "explained_inputs", "measure"])
def test_explain(trained, spoil, name):
    study, run = trained
    worker = explain.ExplainWorker(study, run, trials_of(study), np.arange(N), None)
    unit = {"trial": 0, "positions": np.arange(2)}
    reason = spoil(explain, name)
    first_fails(worker([unit, unit]), reason)


def test_control(trained, spoil, monkeypatch):
    study, run = trained
    computed = []
    monkeypatch.setattr(control, "_stand_in", computed.append, raising=False)
    reason = spoil(control, "_stand_in")
    monkeypatch.setitem(control.COMPUTE, "erasure", control._stand_in)
    worker = control.ControlWorker(study, run, [(trial, "erasure") for trial in trials_of(study)])
    first_fails(worker([{"unit": 0}, {"unit": 0}]), reason)
    assert len(computed) == 1


def test_erase(trained, spoil):
    reason = spoil(erase, "erase_all")
    first_fails([erase.erase_row(trained[1], {"row": row, "position": row}) for row in (0, 1)], reason)


@pytest.mark.parametrize("name", ["regions", "alignment"])
def test_segment(eye, spoil, name):
    worker = segment.SegmentWorker("masks", None, None, Resources())
    loaded = segment.load_row(eye)
    reason = spoil(segment, name)
    results = worker([loaded, loaded])
    first_fails(results, reason)
    assert [bool(result["planes"].any()) for result in results] == [False, True]


def test_segment_loads(eye, spoil):
    reason = spoil(segment, "load_image")
    first_fails([segment.load_row(eye), segment.load_row(eye)], reason)


def test_an_optic_disc_that_cannot_be_read_costs_no_image(eye, spoil):
    reason = spoil(segment, "read_disc")
    first, second = segment.load_row(eye), segment.load_row(eye)
    assert reason in first["disc_error"] and (first["error"], second["disc_error"]) == ("", "")


def test_prepare(eye, spoil):
    reason = spoil(images, "load_image")
    first_fails([images.crop_row(eye), images.crop_row(eye)], reason)


def test_what_is_wrong_with_the_program_ends_the_stream(trained, monkeypatch):
    assert not issubclass(AttributeError, OF_ONE_ROW)
    study, run = trained
    monkeypatch.setattr(embed, "build_model", lambda *_: study.no_such_key)
    worker = embed.EmbedWorker(study, run, list(study.backbones), [[4]], [[]])
    with pytest.raises(AttributeError):
        worker([{"backbone": 0, "test": False, "rows": np.arange(2), "views": np.zeros(2, int)}])


class Recorder(Worker[str]):
    """Loads what its units name; `bad` cannot be loaded."""

    def __init__(self):
        self.loads = []

    def key(self, unit):
        return unit["model"]

    def load(self, key):
        self.loads.append((key, self._loaded))
        if key == "bad":
            raise ValueError("not there")
        return key

    def work(self, loaded, unit):
        return [unit | {"by": loaded}]

    def failed(self, unit):
        return unit | {"by": ""}


def test_a_model_is_loaded_once_for_the_units_in_a_row_and_never_next_to_another():
    worker = Recorder()
    rows = worker([{"model": name} for name in ("a", "a", "b", "bad", "b")])
    assert [row["by"] for row in rows] == ["a", "a", "b", "", "b"]
    assert worker.loads == [("a", None), ("b", None), ("bad", None), ("b", None)]
