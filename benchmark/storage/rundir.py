"""The run directory: every file name and format of a study is decided here, and nowhere else.

    study.yaml                     the configuration the run was started with
    run.json                       `benchmark.report.provenance.RunRecord`: versions, machine, seconds per stage
    .lock                          the process that works here, while one does
    logs/run.log                   everything that is not for the screen
    synthetic/                     the synthetic cohort, where there is one
    cohort.parquet                 one row an accepted image; `row` is its place in images.npy; paths of files in this
                                   folder are relative to it, others absolute
    rejected.csv                   images left out, with the reason
    repeated.csv                   images whose pixels are those of an image listed before
    images.npy                     (n, 224, 224, 3) uint8
    vessels/regions.npy            (test images, 4, 224, 224) uint8, share of a pixel inside artery, vein, vessel, fov
    vessels/vessels.parquet        one row a test image, in the same order: vessel fractions, quality flags,
                                   correlation with dark lines, or why it has no masks or no disc
    vessels/disc.npy               (test images, 224, 224) uint8, share of a pixel inside the optic disc; only where the
                                   manifest names masks of it
    vessels/erased.npy             (test images, 2, 224, 224, 3) uint8: without the vessels, and the control
    vessels/erased.parquet         image, share of the field of view that was painted; null: no answer
    weights.json                   which weights file each backbone has: path, SHA-256, revision
    embeddings/<backbone>/         block<k>.npy: what enters block k, of every image and view, as entry.npy has them;
                                   test<k>.npy: the same of the test images alone, in the order of the test rows
    search/<backbone>-<strategy>.csv   learning rates tried and the validation AUC each reached
    trials/<trial>/                 weights, history.csv, predictions.parquet, trial.json; cam.npy, saliency.parquet,
                                   mean_cam.png, figures/; vessel_permutation.json, vessel_permutation.parquet,
                                   other_class.json, other_class.parquet, parameter_randomisation.json,
                                   parameter_randomisation.parquet, erasure.parquet; failed.txt where it failed;
                                   index.html, browser.js: its page, and what the page's image browser reads
    browser/                       images/ and masks/ of the test images, which all image browsers share
    leaderboard.csv|parquet|html|tex, results.json; mean_image.png
    operating.csv, curves.csv, ratios.csv, comparisons.csv, seeds.csv, correlation.csv; averages.csv, contrasts.csv,
    repeatability.csv; planted.csv of a synthetic cohort

prepare and segment are complete when their marker `.<stage>.json` exists, an embedding when its `block<k>.npy` or
`test<k>.npy` does, a trial when its `trial.json` does, its explanation when its `saliency.parquet` does, erased
images when their `erased.parquet` does, a control when its file does: each is written last.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from numpy.typing import DTypeLike
from PIL import Image
from pydantic import ValidationError

from benchmark.errors import UserError, WriteError
from benchmark.storage.disk import DRAFT, ArrayFile, whole
from benchmark.study.config import SWITCHES, Study
from benchmark.study.controls import (
    CONTROLS,
    ERASURE,
    OTHER_CLASS,
    PARAMETER_RANDOMISATION,
    VESSEL_PERMUTATION,
    Control,
)
from benchmark.study.manifest import FILES
from benchmark.study.trials import Trial, safe
from benchmark.tables import csv_text

_PATHS = ("path", *FILES)  # the columns of a cohort that name files


@dataclass(frozen=True)
class TrialDirectory:
    """What one trial leaves behind."""

    path: Path

    @property
    def history(self) -> Path:
        return self.path / "history.csv"

    @property
    def predictions(self) -> Path:
        """image, patient_id, label, score, split; validation and test images."""
        return self.path / "predictions.parquet"

    @property
    def cams(self) -> Path:
        """(test images, rows, columns) float32: signed Grad-CAM on the patch grid, in the order of the test rows."""
        return self.path / "cam.npy"

    @property
    def saliency(self) -> Path:
        """Test images: image, patient_id, and the columns of `xai.saliency_row`."""
        return self.path / "saliency.parquet"

    @property
    def mean_cam(self) -> Path:
        return self.path / "mean_cam.png"

    @property
    def figures(self) -> Path:
        """What is in the folder: file, group, image, label, score, ratio and its rank, description."""
        return self.path / "figures" / "figures.csv"

    def figure(self, name: str) -> Path:
        """`mean`: the mean maps; `best-1`, `median-1`, `worst-1`, …: the panels of examples."""
        return self.path / "figures" / f"{name}.png"

    @property
    def vessel_permutation(self) -> Path:
        """By ratio: what it is against the vessels of other patients, and `turned`: against the own ones turned; or the
        reason why it has no answer."""
        return self._control(VESSEL_PERMUTATION, "json")

    @property
    def chance(self) -> Path:
        """image, patient_id; of each ratio what it is, and its mean by chance: `_null` against other patients' vessels,
        `_turned` against the own ones turned; `_given`: of other patients' maps against these vessels."""
        return self._control(VESSEL_PERMUTATION, "parquet")

    @property
    def other_class(self) -> Path:
        """The same of the maps of the other class, without `turned`."""
        return self._control(OTHER_CLASS, "json")

    @property
    def other_class_chance(self) -> Path:
        """The same of the maps of the other class, without `_turned`."""
        return self._control(OTHER_CLASS, "parquet")

    @property
    def parameter_randomisation(self) -> Path:
        """How like the trained model's the maps are after each step of re-initialisation, and maps of other images."""
        return self._control(PARAMETER_RANDOMISATION, "json")

    @property
    def randomised(self) -> Path:
        """image, patient_id; of each ratio what it is, and its mean over the models with random weights (`_random`)."""
        return self._control(PARAMETER_RANDOMISATION, "parquet")

    @property
    def erasure(self) -> Path:
        """image, patient_id, label; score of the image, erased, and control; share painted. Null: no answer."""
        return self._control(ERASURE, "parquet")

    def control(self, name: str) -> Path:
        """What the control of that name found, the file that it writes last."""
        return self._control(CONTROLS[name], CONTROLS[name].written_last)

    def _control(self, control: Control, suffix: str) -> Path:
        return self.path / f"{control.name}.{suffix}"

    def control_failure(self, name: str) -> Path:
        """Why that control could not be computed, where it could not."""
        return self.path / f"{name}.failed.txt"

    @property
    def page(self) -> Path:
        """The trial in detail; what it loads lies in the run directory."""
        return self.path / "index.html"

    @property
    def browser(self) -> Path:
        """What the page's image browser reads: values and maps of the test images, as a script."""
        return self.path / "browser.js"

    @property
    def record(self) -> Path:
        """How the trial was trained; written last, so its presence says that training is complete."""
        return self.path / "trial.json"

    @property
    def failure(self) -> Path:
        """Why the trial failed, where it did."""
        return self.path / "failed.txt"


@dataclass(frozen=True)
class EmbeddingDirectory:
    """What one backbone's frozen front made of every image and view."""

    path: Path

    @property
    def entry(self) -> Path:
        """(images, views) int64: which entry of `block` is that view, -1 where there is none; there with any cache."""
        return self.path / "entry.npy"

    def block(self, block: int) -> Path:
        """(entries, ...) float16, or bfloat16 as int16: what enters the block; there only when complete."""
        return self.path / f"block{block}.npy"

    def test(self, block: int) -> Path:
        """(test images, ...): the same of the test images alone, where `block` would be more than is needed."""
        return self.path / f"test{block}.npy"

    @staticmethod
    def draft(file: Path) -> Path:
        """One of them while it is being written."""
        return file.with_suffix(f"{DRAFT}.npy")


@dataclass(frozen=True)
class RunDirectory:
    """One study's folder. On a cluster it lies on a file system that every node sees under the same path."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(os.path.realpath(self.path)))  # a loop of links is met later

    @property
    def log(self) -> Path:
        return self.path / "logs" / "run.log"

    @property
    def lock(self) -> Path:
        """Which process works in the folder, while one does (`benchmark.storage.lock`)."""
        return self.path / ".lock"

    @property
    def study(self) -> Path:
        return self.path / "study.yaml"

    @property
    def run(self) -> Path:
        return self.path / "run.json"

    @property
    def synthetic(self) -> Path:
        return self.path / "synthetic"

    @property
    def drawn(self) -> Path:
        """The manifest of a synthetic cohort, with the severity of every eye (`benchmark.synthetic.write_manifest`)."""
        return self.synthetic / "cohort.csv"

    @property
    def cohort(self) -> Path:
        return self.path / "cohort.parquet"

    @property
    def rejected(self) -> Path:
        return self.path / "rejected.csv"

    @property
    def repeated(self) -> Path:
        """image, patient_id, label, split; same_as, its_patient_id, its_label: the first image of the same pixels."""
        return self.path / "repeated.csv"

    @property
    def images(self) -> Path:
        return self.path / "images.npy"

    @property
    def regions(self) -> Path:
        return self.path / "vessels" / "regions.npy"

    @property
    def vessels(self) -> Path:
        return self.path / "vessels" / "vessels.parquet"

    @property
    def browser(self) -> Path:
        """`images/` and `masks/` of the test images, for the image browsers of all trials."""
        return self.path / "browser"

    @property
    def disc(self) -> Path:
        return self.path / "vessels" / "disc.npy"

    @property
    def erased(self) -> Path:
        return self.path / "vessels" / "erased.npy"

    @property
    def painted(self) -> Path:
        return self.path / "vessels" / "erased.parquet"

    @property
    def tune(self) -> Path:
        """Ray Tune's own bookkeeping."""
        return self.path / "logs" / "tune"

    @property
    def weights(self) -> Path:
        """By backbone, what identifies its weights: path, sha256, revision; null for an untrained one."""
        return self.path / "weights.json"

    def search(self, trial: Trial) -> Path:
        """learning_rate, epochs, val_auc and val_loss of the best epoch (null where it failed), error; a row a
        candidate, written when all have ended."""
        return self.path / "search" / f"{trial.cell}.csv"

    def embeddings(self, backbone: str) -> EmbeddingDirectory:
        return EmbeddingDirectory(self.path / "embeddings" / safe(backbone))

    @property
    def embedded_bytes(self) -> int:
        """What the embeddings take on disk."""
        return sum(file.stat().st_size for file in self.path.glob("embeddings/*/*.npy"))

    def uses(self, backbone: str) -> bool:
        """Whether anything was computed from the weights of a backbone."""
        name = safe(backbone)
        return self._any(f"embeddings/{name}/entry.npy", f"search/{name}-*.csv", f"trials/{name}-*/trial.json")

    def _any(self, *traces: str) -> bool:
        """Whether a file of one of these patterns is there."""
        return any(any(self.path.glob(trace)) for trace in traces)

    def trial(self, trial: Trial) -> TrialDirectory:
        return TrialDirectory(self.path / "trials" / trial.name)

    def leaderboard(self, suffix: str) -> Path:
        return self.path / f"leaderboard.{suffix}"

    @property
    def mean_image(self) -> Path:
        return self.path / "mean_image.png"

    def table(self, name: str) -> Path:
        """One of the report's tables beside the leaderboard, such as `ratios`."""
        return self.path / f"{name}.csv"

    @property
    def results(self) -> Path:
        """Every number with what it rests on; `benchmark.report.results.Results`."""
        return self.path / "results.json"

    def inward(self, table: pl.DataFrame) -> pl.DataFrame:
        """A cohort's table with paths below this folder as they are seen from it: the folder may be moved."""
        return table.with_columns(pl.col(_PATHS).str.strip_prefix(f"{self.path}/"))

    def outward(self, table: pl.DataFrame) -> pl.DataFrame:
        """The same with absolute paths again."""
        path = pl.col(_PATHS)
        return table.with_columns(pl.when(path.str.starts_with("/")).then(path).otherwise(f"{self.path}/" + path))

    def completed(self, part: str) -> dict[str, Any] | None:
        """What a finished stage noted of itself, or None where it has not finished."""
        marker = self.path / f".{part}.json"
        return json.loads(marker.read_text()) if marker.is_file() else None

    def complete(self, part: str, **notes: Any) -> None:
        """Note that a stage has finished."""
        write_json(self.path / f".{part}.json", notes)

    def check(self, configuration: dict[str, Any], resume: bool) -> None:
        """See whether the folder may become this study's, or is; nothing is written.

        Raises:
            UserError: a run is there already and is not to be resumed, or its configuration was another.
        """
        if self.study.is_file():
            if not resume:
                raise UserError(
                    f"{self.path} holds a run already: add --resume to go on with it, or choose another --out"
                )
            changed = self._changes(yaml.safe_load(self.study.read_text(encoding="utf-8")), configuration)
            if changed:
                raise UserError(
                    f"{self.path} was started with another {', '.join(changed)}; "
                    "choose another --out, or restore what changed"
                )
        elif resume and not self.path.is_dir():
            raise UserError(f"{self.path}: no run to resume; leave --resume out to start one")

    def claim(self, configuration: dict[str, Any], resume: bool) -> None:
        """Make the folder this study's, or check that it is.

        Raises:
            UserError: as `check`; or the folder cannot be made.
        """
        self.check(configuration, resume)
        try:
            for folder in (self.log.parent, self.regions.parent):
                folder.mkdir(parents=True, exist_ok=True)
            write_text(self.study, yaml.safe_dump(configuration, sort_keys=False, allow_unicode=True))
        except WriteError:
            raise
        except OSError as error:
            raise unusable(self.path, error) from error

    def remove_drafts(self) -> None:
        """Delete what a run that was killed left half written; it may take much of the disk."""
        for draft in (*self.path.rglob(f"*{DRAFT}"), *self.path.glob(f"embeddings/*/*{DRAFT}.npy")):
            draft.unlink(missing_ok=True)

    def _changes(self, before: dict[str, Any], now: dict[str, Any]) -> list[str]:
        """Keys whose change would mix two studies.

        Trials may be added, statistics and resources chosen anew, and whatever nothing has been computed from yet may
        be
        mended: a manifest that was refused, for one. stages/weights.py looks after backbones.
        """
        before = _with_defaults(before)
        used = {
            "cohort": (".prepare.json",),
            "vessels": (".segment.json",),
            "training": ("embeddings/*/entry.npy", "search/*.csv", "trials/*/trial.json"),
            "embeddings": ("embeddings/*/entry.npy",),
            "search": ("search/*.csv", "trials/*/trial.json"),
            "explain": ("trials/*/saliency.parquet",),
            "controls": tuple(f"trials/*/{control.name}.json" for control in CONTROLS.values() if control.settings),
        }
        changed = [
            key for key, traces in used.items() if _numbers(before, key) != _numbers(now, key) and self._any(*traces)
        ]
        named = {choice["name"]: choice for choice in before["strategies"]}
        for choice in now["strategies"]:
            name = choice["name"]
            if named.get(name, choice) != choice and self._any(
                f"trials/*-{name}-s*/trial.json", f"search/*-{name}.csv"
            ):
                changed.append(f"strategies.{name}")
        return changed


# Decides what fits or what is done, not what comes out: who ran out of memory or disk may change it and go on.
_WITHOUT_EFFECT = {
    "training": {"micro_batch", "checkpointing"},
    "embeddings": {"max_gib"},
    "controls": set(SWITCHES),  # each control has its own file
}


def _with_defaults(configuration: dict[str, Any]) -> dict[str, Any]:
    """A configuration that an earlier version wrote, with the keys that it did not have at their defaults."""
    try:
        return Study.model_validate(configuration).dump()
    except ValidationError:  # it has keys, or backbones, that this version does not know
        return configuration


def _numbers(configuration: dict[str, Any], section: str) -> Any:
    """A section without the keys that its results do not depend on."""
    values = configuration.get(section)
    if section not in _WITHOUT_EFFECT or values is None:
        return values
    return {key: value for key, value in values.items() if key not in _WITHOUT_EFFECT[section]}


def unusable(path: Path, error: OSError) -> UserError:
    """Why a path cannot be a run directory."""
    reason = error.strerror or str(error)
    return UserError(f"{path}: cannot be made a run directory ({reason}); choose another --out")


def write_text(path: Path, text: str) -> None:
    """Whole or not at all; what of a file's name is no UTF-8 becomes an escape."""
    with whole(path) as draft:
        draft.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")


def write_json(path: Path, values: Any) -> None:
    """Whole or not at all."""
    with whole(path) as draft:
        draft.write_text(json.dumps(values, indent=2, default=str) + "\n", encoding="utf-8")


def write_parquet(path: Path, frame: pl.DataFrame) -> None:
    """Whole or not at all."""
    with whole(path) as draft:
        frame.write_parquet(draft)


def write_csv(path: Path, frame: pl.DataFrame) -> None:
    """Whole or not at all."""
    write_text(path, csv_text(frame))


def write_image(path: Path, rgb: np.ndarray) -> None:
    """(height, width, 3) uint8 as PNG, whole or not at all."""
    with whole(path) as draft:
        Image.fromarray(rgb).save(draft, format="PNG")


def write_array(path: Path, values: np.ndarray) -> None:
    """Whole or not at all."""
    with whole(path) as draft:
        values = np.asarray(values)
        ArrayFile(draft, values.shape, values.dtype)[:] = values


def create_array(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> ArrayFile:
    """A new `.npy`, all zero, to be filled row by row; its place on the disk is taken at once.

    Raises:
        benchmark.storage.disk.DiskFull: there is not so much space.
    """
    return ArrayFile(path, shape, dtype)


def open_array(path: Path) -> np.ndarray:
    """A memory-mapped `.npy`, read only."""
    return np.load(path, mmap_mode="r", allow_pickle=False)
