"""The run directory: every file name and format of a study is defined here, and nowhere else.

    study.yaml                     the configuration the run was started with
    run.json                       `benchmark.report.provenance.RunRecord`: versions, machine, seconds per stage
    .lock                          the process that currently works here
    logs/run.log                   everything that is not shown on the screen
    synthetic/                     the synthetic cohort, if the study has one
    cohort.parquet                 one row per accepted image; `row` is its index in images.npy; paths of files in this
                                   folder are relative to it, others absolute
    covariates.parquet             image and the study's covariates, of every accepted image; absent if there are none
    rejected.csv                   images left out, with the reason
    repeated.csv                   images with the same pixels as an image listed earlier
    images.npy                     (n, 224, 224, 3) uint8
    vessels/regions.npy            (test images, 4, 224, 224) uint8, share of a pixel inside artery, vein, vessel, fov
    vessels/vessels.parquet        one row per test image, in the same order: vessel fractions, quality flags,
                                   correlation with dark lines, or the reason why it has no masks or no disc
    vessels/disc.npy               (test images, 224, 224) uint8, share of a pixel inside the optic disc; only if the
                                   manifest names disc masks
    vessels/erased.npy             (test images, 2, 224, 224, 3) uint8: without the vessels, and the control
    vessels/erased.parquet         image, share of the field of view that was painted over; null: no answer
    weights.json                   the weights file of each backbone: path, SHA-256, revision
    embeddings/<backbone>/         block<k>.npy: the input of block k for every image and view, indexed by entry.npy;
                                   test<k>.npy: the same for the test images only, in the order of the test rows
    search/<backbone>-<strategy>.csv   learning rates tried and the validation AUC that each reached
    trials/<trial>/                 weights, history.csv, predictions.parquet, trial.json; events.out.tfevents.*: the
                                   history for TensorBoard; cam.npy, saliency.parquet, mean_cam.png, figures/;
                                   vessel_permutation.json, vessel_permutation.parquet, other_class.json,
                                   other_class.parquet, parameter_randomisation.json,
                                   parameter_randomisation.parquet, erasure.parquet; failed.txt where it failed;
                                   index.html, browser.js: its page, and what the page's image browser reads;
                                   attention.safetensors, attention.parquet: attention over a patient's images, if
                                   the study asks for it;
                                   README.md, config.json: its model card, and how to build and read the model
    folds/r<repeat>-f<fold>/       with cross-validation: one run directory per fold, with its own cohort.parquet,
                                   vessels/ and trials/; images, embeddings and weights are those of this folder.
                                   .fold.json: which fold it is
    folds.csv, cross_validated.csv, variance.csv: with cross-validation, in place of leaderboard.csv
    browser/                       images/ and masks/ of the test images, which all image browsers share
    leaderboard.csv|parquet|html|tex, results.json; mean_image.png
    operating.csv, curves.csv, ratios.csv, comparisons.csv, seeds.csv, correlation.csv; averages.csv, contrasts.csv,
    repeatability.csv, flow.csv; planted.csv for a synthetic cohort; covariates.csv, subgroups.csv, heterogeneity.csv,
    image_adds.csv, score_predicts.csv for a study with covariates
    study_card.md|html             the items of TRIPOD+AI and CLAIM 2024, filled in from the run where it knows them

The folder of an external cohort is a run directory in which all images are test images. Its trials were trained in
another run, which `.trained_in.json` names: their weights and histories stay there. In addition it has

    external.csv, recalibration.csv, shifts.csv    its results next to those of the test images of that run

and a run with external cohorts has

    external/<name>/               the folder of that cohort
    external/index.html, cohorts.csv, pooled.csv, results.json    all of them on one page

Each step writes one file last, and is complete when that file exists: `.<stage>.json` for prepare and segment,
`block<k>.npy` or `test<k>.npy` for an embedding, `trial.json` for a trial, `saliency.parquet` for its explanation,
`erased.parquet` for the erased images, `attention.parquet` for the attention, and the control's own file for a
control.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

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
from benchmark.synthetic.population import MANIFEST
from benchmark.tables import csv_text

_PATHS = ("path", *FILES)  # the columns of the cohort table that contain paths


@dataclass(frozen=True)
class TrialDirectory:
    """The files of one trial."""

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
        """List of the figures: file, group, image, label, score, ratio and its rank, description."""
        return self.path / "figures" / "figures.csv"

    def figure(self, name: str) -> Path:
        """`mean`: the mean maps; `best-1`, `median-1`, `worst-1`, …: the panels of examples."""
        return self.path / "figures" / f"{name}.png"

    @property
    def vessel_permutation(self) -> Path:
        """Per ratio: the test against other patients' vessels, and `turned`, the test against the eye's own vessels
        rotated; or the reason why there is no answer."""
        return self._control(VESSEL_PERMUTATION, "json")

    @property
    def chance(self) -> Path:
        """image, patient_id; each ratio's observed value and its means by chance: `_null` with other patients' vessels,
        `_turned` with the eye's own vessels rotated, `_given` for other patients' maps on these vessels."""
        return self._control(VESSEL_PERMUTATION, "parquet")

    @property
    def other_class(self) -> Path:
        """The same for the maps of the other class, without `turned`."""
        return self._control(OTHER_CLASS, "json")

    @property
    def other_class_chance(self) -> Path:
        """The same for the maps of the other class, without `_turned`."""
        return self._control(OTHER_CLASS, "parquet")

    @property
    def parameter_randomisation(self) -> Path:
        """Similarity of the maps to the trained model's after each step of re-initialisation, and between images."""
        return self._control(PARAMETER_RANDOMISATION, "json")

    @property
    def randomised(self) -> Path:
        """image, patient_id; each ratio's observed value and its mean over models with random weights (`_random`)."""
        return self._control(PARAMETER_RANDOMISATION, "parquet")

    @property
    def erasure(self) -> Path:
        """image, patient_id, label; score of the image, erased, and control; share painted over. Null: no answer."""
        return self._control(ERASURE, "parquet")

    def control(self, name: str) -> Path:
        """The result of the control of that name: the file that it writes last."""
        return self._control(CONTROLS[name], CONTROLS[name].written_last)

    def _control(self, control: Control, suffix: str) -> Path:
        return self.path / f"{control.name}.{suffix}"

    def control_failure(self, name: str) -> Path:
        """The reason why that control failed, if it did."""
        return self.path / f"{name}.failed.txt"

    @property
    def attention(self) -> Path:
        """Validation and test images: image, patient_id, split; label and score of the patient, weight of the image."""
        return self.path / "attention.parquet"

    @property
    def attention_network(self) -> Path:
        """The network that gave these scores, as `finetune.attention.save_attention` writes it."""
        return self.path / "attention.safetensors"

    @property
    def attention_failure(self) -> Path:
        """The reason why there is no attention, if it failed."""
        return self.path / "attention.failed.txt"

    EVENTS: ClassVar[str] = "events"  # the first part of the name of an event file

    @property
    def events(self) -> list[Path]:
        """TensorBoard's files with the curves of the training."""
        return list(self.path.glob(f"{self.EVENTS}.out.tfevents.*"))

    @property
    def page(self) -> Path:
        """The trial in detail; what it loads lies in the run directory."""
        return self.path / "index.html"

    @property
    def browser(self) -> Path:
        """What the page's image browser reads: values and maps of the test images, as a script."""
        return self.path / "browser.js"

    @property
    def card(self) -> Path:
        """The model card, in the form of the Hugging Face hub."""
        return self.path / "README.md"

    @property
    def config(self) -> Path:
        """What a program needs to apply the model: backbone, preprocessing, threshold; no path of this machine."""
        return self.path / "config.json"

    @property
    def record(self) -> Path:
        """How the trial was trained; written last, so training is complete if it exists."""
        return self.path / "trial.json"

    @property
    def is_trained(self) -> bool:
        return self.record.is_file()

    @property
    def is_explained(self) -> bool:
        return self.saliency.is_file()

    @property
    def has_failed(self) -> bool:
        return self.failure.is_file()

    def has_control(self, name: str) -> bool:
        """Whether the control of that name is complete."""
        return self.control(name).is_file()

    @property
    def failure(self) -> Path:
        """The reason why the trial failed, if it did."""
        return self.path / "failed.txt"


@dataclass(frozen=True)
class EmbeddingDirectory:
    """The outputs of one backbone's frozen blocks for every image and view."""

    path: Path

    @property
    def entry(self) -> Path:
        """(images, views) int64: index of that view in `block`, -1 if there is none; exists with any cache."""
        return self.path / "entry.npy"

    def block(self, block: int) -> Path:
        """(entries, ...) float16, or bfloat16 as int16: the input of the block; exists only when complete."""
        return self.path / f"block{block}.npy"

    def test(self, block: int) -> Path:
        """(test images, ...): the same for the test images only, when nothing needs `block` for all images."""
        return self.path / f"test{block}.npy"

    @staticmethod
    def draft(file: Path) -> Path:
        """The name of such a file while it is being written."""
        return file.with_suffix(f"{DRAFT}.npy")


@dataclass(frozen=True)
class RunDirectory:
    """One study's folder. On a cluster it must be on a file system that every node mounts under the same path."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(os.path.realpath(self.path)))  # a loop of links fails later

    def fold(self, name: str) -> "RunDirectory":
        """The run directory of one fold of this run."""
        return RunDirectory(self.path / "folds" / name)

    @property
    def is_fold(self) -> bool:
        """Whether this is a fold of another run; `completed("fold")` has its repeat and fold, and their numbers."""
        return self.completed("fold") is not None

    @property
    def shared(self) -> "RunDirectory":
        """The run directory with images, embeddings and weights: itself, or, for a fold, the run of all folds."""
        return RunDirectory(self.path.parents[1]) if self.is_fold else self

    @property
    def log(self) -> Path:
        return self.path / "logs" / "run.log"

    @property
    def _trained_elsewhere(self) -> Path:
        return self.path / ".trained_in.json"

    @property
    def is_external(self) -> bool:
        """Whether the trials of another run are applied here."""
        return self._trained_elsewhere.is_file()

    @property
    def trained_in(self) -> "RunDirectory":
        """The run directory in which the trials were trained."""
        if not self.is_external:
            return self
        return RunDirectory(self.path / json.loads(self._trained_elsewhere.read_text(encoding="utf-8"))["run"])

    @property
    def recalibrated_share(self) -> float | None:
        """For an external cohort, the share of its patients on which recalibrations may be fitted."""
        notes = json.loads(self._trained_elsewhere.read_text(encoding="utf-8")) if self.is_external else {}
        return notes.get("recalibrate")

    def apply(self, source: "RunDirectory", recalibrate: float | None) -> None:
        """Make this folder that of an external cohort to which the trials of `source` are applied."""
        inside = self.path.is_relative_to(source.path)  # both may then be moved together
        run = os.path.relpath(source.path, self.path) if inside else str(source.path)
        write_json(self._trained_elsewhere, {"run": run, "recalibrate": recalibrate})

    def external(self, name: str) -> "RunDirectory":
        """The folder of an external cohort; without a name, see `external_summary`."""
        return RunDirectory(self.path / "external" / name)

    @property
    def external_summary(self) -> Path:
        """The folder of all external cohorts, with the page over them."""
        return self.path / "external"

    @property
    def lock(self) -> Path:
        """The process that currently works in the folder (`benchmark.storage.lock`)."""
        return self.path / ".lock"

    @property
    def study(self) -> Path:
        return self.path / "study.yaml"

    @property
    def run(self) -> Path:
        return self.path / "run.json"

    @property
    def synthetic(self) -> Path:
        return self.shared.path / "synthetic"

    @property
    def drawn(self) -> Path:
        """The manifest of a synthetic cohort, with the severity of every eye (`benchmark.synthetic.write_manifest`)."""
        return self.synthetic / MANIFEST

    @property
    def cohort(self) -> Path:
        return self.path / "cohort.parquet"

    @property
    def covariates(self) -> Path:
        """image and one column per covariate, Float64 or String, in the order of the cohort; null: not known."""
        return self.path / "covariates.parquet"

    @property
    def rejected(self) -> Path:
        return self.path / "rejected.csv"

    @property
    def repeated(self) -> Path:
        """image, patient_id, label, split; same_as, its_patient_id, its_label: the first image with the same pixels."""
        return self.path / "repeated.csv"

    @property
    def images(self) -> Path:
        return self.shared.path / "images.npy"

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
        """Ray Tune's own files."""
        return self.path / "logs" / "tune"

    @property
    def weights(self) -> Path:
        """Per backbone, what identifies its weights: path, sha256, revision; null for an untrained one."""
        return self.shared.path / "weights.json"

    def search(self, trial: Trial) -> Path:
        """One row per candidate: learning_rate, epochs, val_auc and val_loss of the best epoch (null if it failed),
        error. Written when all candidates have ended."""
        return self.path / "search" / f"{trial.cell}.csv"

    def embeddings(self, backbone: str) -> EmbeddingDirectory:
        return EmbeddingDirectory(self.shared.path / "embeddings" / safe(backbone))

    @property
    def embedded_bytes(self) -> int:
        """Size of the embeddings on disk."""
        return sum(file.stat().st_size for file in self.path.glob("embeddings/*/*.npy"))

    def uses(self, backbone: str) -> bool:
        """Whether anything has been computed from a backbone's weights."""
        name = safe(backbone)
        traces = f"embeddings/{name}/entry.npy", f"search/{name}-*.csv", f"trials/{name}-*/trial.json"
        return self.is_external or self._any(*traces)

    def _any(self, *traces: str) -> bool:
        """Whether a file matches one of these patterns, here or in a fold."""
        return any(any(self.path.glob(f"{place}{trace}")) for trace in traces for place in ("", "folds/*/"))

    def trial(self, trial: Trial) -> TrialDirectory:
        return TrialDirectory(self.path / "trials" / trial.name)

    def leaderboard(self, suffix: str) -> Path:
        return self.path / f"leaderboard.{suffix}"

    @property
    def mean_image(self) -> Path:
        return self.path / "mean_image.png"

    def table(self, name: str) -> Path:
        """One of the report's tables other than the leaderboard, such as `ratios`."""
        return self.path / f"{name}.csv"

    def study_card(self, suffix: str) -> Path:
        """The items of the reporting guidelines, filled in from the run; `md` or `html`."""
        return self.path / f"study_card.{suffix}"

    @property
    def results(self) -> Path:
        """Every number with its sample size and method; `benchmark.report.results.Results`."""
        return self.path / "results.json"

    def inward(self, table: pl.DataFrame) -> pl.DataFrame:
        """A cohort's table with paths below this folder made relative to it, so that the folder can be moved.

        Those of a fold are relative to the run of all folds.
        """
        return table.with_columns(pl.col(_PATHS).str.strip_prefix(f"{self.shared.path}/"))

    def outward(self, table: pl.DataFrame) -> pl.DataFrame:
        """A cohort's table with those paths made absolute again."""
        path = pl.col(_PATHS)
        return table.with_columns(
            pl.when(path.str.starts_with("/")).then(path).otherwise(f"{self.shared.path}/" + path)
        )

    def completed(self, part: str) -> dict[str, Any] | None:
        """The notes that a finished stage left, or None if it has not finished."""
        marker = self.path / f".{part}.json"
        return json.loads(marker.read_text()) if marker.is_file() else None

    def complete(self, part: str, **notes: Any) -> None:
        """Note that a stage has finished."""
        write_json(self.path / f".{part}.json", notes)

    def check(self, configuration: dict[str, Any], resume: bool) -> None:
        """Check that the folder can be used for this study; nothing is written.

        Raises:
            UserError: the folder holds a run that is not to be resumed, or that has another configuration.
        """
        if self.is_fold:
            raise UserError(f"{self.path} is a fold of the run in {self.shared.path}: name that run with --out")
        if self.study.is_file():
            if not resume:
                raise UserError(
                    f"{self.path} already holds a run: add --resume to continue it, or choose another --out"
                )
            changed = self._changes(yaml.safe_load(self.study.read_text(encoding="utf-8")), configuration)
            if changed:
                raise UserError(
                    f"{self.path}: the run was started with different values of {', '.join(changed)}; "
                    "restore them, or choose another --out"
                )
        elif resume and not self.path.is_dir():
            raise UserError(f"{self.path}: no run to resume; omit --resume to start one")

    def earlier_study(self) -> Study | None:
        """The study of the run in this folder; None if there is none that this version can read."""
        if not self.study.is_file():
            return None
        try:
            return Study.model_validate(yaml.safe_load(self.study.read_text(encoding="utf-8")))
        except ValidationError:
            return None

    def claim(self, configuration: dict[str, Any], resume: bool) -> None:
        """Set the folder up for this study.

        Raises:
            UserError: as `check`; or the folder cannot be created.
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
        """Delete the half-written files of a run that was killed; they can be large."""
        for draft in (*self.path.rglob(f"*{DRAFT}"), *self.path.glob(f"embeddings/*/*{DRAFT}.npy")):
            draft.unlink(missing_ok=True)

    def _changes(self, before: dict[str, Any], now: dict[str, Any]) -> list[str]:
        """Keys whose change would mix two studies, each with its value before and now.

        Trials may be added, and statistics and resources may change. So may any setting from which nothing has been
        computed yet, such as a manifest that was refused. Backbones are checked in stages/weights.py.
        """
        before = _with_defaults(before)
        used = {
            "cohort": (".prepare.json",),
            "splits": (".prepare.json",),
            "vessels": (".segment.json",),
            "training": ("embeddings/*/entry.npy", "search/*.csv", "trials/*/trial.json"),
            "embeddings": ("embeddings/*/entry.npy",),
            "search": ("search/*.csv", "trials/*/trial.json"),
            "explain": ("trials/*/saliency.parquet",),
            "controls": tuple(f"trials/*/{control.name}.json" for control in CONTROLS.values() if control.settings),
        }
        changed = [
            line
            for key, traces in used.items()
            if self._any(*traces)
            for line in _differences(key, _numbers(before, key), _numbers(now, key))
        ]
        named = {choice["name"]: choice for choice in before["strategies"]}
        for choice in now["strategies"]:
            name = choice["name"]
            if self._any(f"trials/*-{name}-s*/trial.json", f"search/*-{name}.csv"):
                changed += _differences(f"strategies.{name}", named.get(name, choice), choice)
        return changed


# These settings decide what fits or what is computed, not the results: a user who ran out of memory or disk may change
# them and continue.
_WITHOUT_EFFECT = {
    "training": {"micro_batch", "checkpointing"},
    "embeddings": {"max_gib"},
    "controls": set(SWITCHES),  # each control has its own file
    "splits": {"repeats"},  # a further repeat does not change the folds of the others
}


def _with_defaults(configuration: dict[str, Any]) -> dict[str, Any]:
    """A configuration written by an earlier version, with the keys that it lacks set to their defaults."""
    try:
        return Study.model_validate(configuration).dump()
    except ValidationError:  # it has keys or backbones that are unknown to this version
        return configuration


def _numbers(configuration: dict[str, Any], section: str) -> Any:
    """A section without the keys that do not affect its results."""
    values = configuration.get(section)
    if section not in _WITHOUT_EFFECT or values is None:
        return values
    return {key: value for key, value in values.items() if key not in _WITHOUT_EFFECT[section]}


def _differences(key: str, before: Any, now: Any) -> list[str]:
    """The keys at and below `key` whose values differ, as "cohort.shares.seed (0, now 1)"."""
    if before == now:
        return []
    if isinstance(before, dict) and isinstance(now, dict):
        inner = dict.fromkeys([*before, *now])
        return [line for name in inner for line in _differences(f"{key}.{name}", before.get(name), now.get(name))]
    return [f"{key} ({_short(before)}, now {_short(now)})"]


def _short(value: Any) -> str:
    """A value in a message; a section that is present in only one of two configurations is not spelled out."""
    if isinstance(value, dict):
        return "given"
    return "none" if value is None else str(value)


def unusable(path: Path, error: OSError) -> UserError:
    """The error for a path that cannot be a run directory."""
    reason = error.strerror or str(error)
    return UserError(f"{path}: cannot be used as a run directory ({reason}); choose another --out")


def write_text(path: Path, text: str) -> None:
    """Whole or not at all; bytes of file names that are not UTF-8 are escaped."""
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
    """A new `.npy`, all zero, to be filled row by row; its disk space is reserved at once.

    Raises:
        benchmark.storage.disk.DiskFull: there is not enough space.
    """
    return ArrayFile(path, shape, dtype)


def open_array(path: Path) -> np.ndarray:
    """A memory-mapped `.npy`, read only."""
    return np.load(path, mmap_mode="r", allow_pickle=False)
