"""Comparison of denser maps: maps of trained models against the planted signal of a synthetic cohort.

    python -m benchmark.experiments.cam_resolution RUN [RUN ...] [--out FOLDER] [--patients N] [--methods NAME ...]

The input is finished runs on synthetic cohorts. For each trained trial and each of `MAPS`, the program makes a map of
every test image and measures how well the map separates the planted signal from the rest of the field of view. The
signal is the arteries if it was planted in the vessels, and the visible spots if it was planted in the periphery. The
output is Markdown; with --out the program also writes `cam_resolution.csv`, one row per trial, method and image, and an
image of the maps per trial.

Measures per image:

- AUC of the planted signal: the probability that a random point inside has a higher value than one outside (chance:
  0.5).
- AUC of vessels: the same for all arteries and veins.
- precision: share of planted signal in the 1 % of the field of view with the highest values.

Unless the method's name says otherwise, maps are of the study's target class with negative values set to 0, as in the
study. A map of zeros has an AUC of 0.5 and is counted as blank; an image without planted signal is left out.
Means are over images, and their intervals are over patients (jackknife, Student's t). Differences from Grad-CAM use the
same images, and their p-values are adjusted (Holm) over the methods of a table. Only trials that predict better than
chance show what a method can do: without any, the summary covers all trials and states this.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from PIL import Image, ImageDraw
from torch import Tensor

import backbones
from benchmark.experiments.cam_maps import BASELINE, LARGE, MAPS, Images, MapMethod, TrainedModel
from benchmark.experiments.planted_pixels import Truth, open_study, read_truth
from benchmark.storage.rundir import RunDirectory, write_csv, write_image
from benchmark.study.config import Study
from benchmark.study.trials import Trial, trials_of
from benchmark.trial.device import worker_device
from benchmark.trial.fit import trained_model
from stats.bootstrap import auc_resampled, mean_resampled
from stats.intervals import Scale, interval_at_end, student_interval, student_p_value
from stats.jackknife import leave_out_patients, spread
from stats.multiple import holm
from stats.resamples import PatientResamples, draw_patients
from xai.localisation import localised
from xai.palette import colours

TOP = 0.01  # share of the field of view, for the precision
BATCH = 8
PICTURED = 4  # images per trial in the image of its maps
HEADER = 20  # pixels, for the names above the columns of that image
MEASURES = ("auc_planted", "auc_vessel", "precision", "chance")


def trained_trials(study: Study, directory: RunDirectory) -> list[Trial]:
    """Every trial whose training is complete."""
    folders = {trial: directory.trial(trial) for trial in trials_of(study)}
    return [trial for trial, folder in folders.items() if folder.is_trained and not folder.has_failed]


def open_model(study: Study, directory: RunDirectory, trial: Trial, device: torch.device) -> TrainedModel:
    """A trained trial's model, ready to be explained as in its run."""
    model = trained_model(trial, directory).requires_grad_(False).to(device)
    return TrainedModel(model, trial.backbone.open().normalise, study.explain.target_class)


def batches(truth: Truth, device: torch.device) -> Iterator[tuple[slice, Images]]:
    """The test images in order, in batches."""
    for first in range(0, len(truth.small), BATCH):
        part = slice(first, first + BATCH)
        small, large = (
            torch.from_numpy(np.array(side[part])).to(device).permute(0, 3, 1, 2).float() / 255
            for side in (truth.small, truth.large)
        )
        yield part, Images(small, large)


@dataclass(frozen=True, eq=False)
class Made:
    """A method's maps of the test images, (n, IMAGE_SIZE, IMAGE_SIZE) float32, and milliseconds per image."""

    maps: np.ndarray
    milliseconds: float


def make_maps(trained: TrainedModel, method: MapMethod, truth: Truth) -> Made:
    """One method's maps; the time is the median over batches, in processor time if the device is the CPU."""
    device = next(trained.model.parameters()).device
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    maps, took = np.zeros(truth.fov.shape, np.float32), []
    _, first = next(batches(truth, device))
    method.maps(trained, Images(first.small[:1], first.large[:1]))  # imports and first uses are not timed
    for part, images in batches(truth, device):
        start = clock()
        with backbones.autocast(device):
            maps[part] = method.maps(trained, images).float().cpu().numpy()
        took.append(1000 * (clock() - start) / len(images.small))
    return Made(maps, float(np.median(took)))


def measure(made: Made, truth: Truth) -> pl.DataFrame:
    """One row per image: image, patient_id, label, blank, and each of `MEASURES`, NaN without planted signal.

    `chance` is the precision of an uninformative map: the planted share of the field of view.
    """
    regions = np.stack([truth.planted, truth.vessel], axis=1)
    auc, precision = localised(made.maps, regions, truth.fov, TOP)
    area = truth.fov.astype(np.float64).sum(axis=(1, 2))
    inside = np.minimum(truth.planted, truth.fov).astype(np.float64).sum(axis=(1, 2))
    found = {
        "blank": ~made.maps.any(axis=(1, 2)),
        "auc_planted": auc[:, 0],
        "auc_vessel": auc[:, 1],
        "precision": precision[:, 0],
        "chance": np.where(inside > 0, inside / area, np.nan),
    }
    return truth.table.select("image", "patient_id", "label").with_columns(
        pl.Series(name, values) for name, values in found.items()
    )


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval over patients, its p-value against 0, and its number of images."""

    value: float
    low: float
    high: float
    p: float
    n: int

    def __str__(self) -> str:
        within = "no interval" if np.isnan(self.low) else f"{self.low:.3f} to {self.high:.3f}"
        return f"{self.value:.3f} ({within})"


def estimate(
    measured: Callable[[PatientResamples], np.ndarray], patients: Sequence[str], labels: np.ndarray, scale: Scale
) -> Estimate:
    """A statistic of images in the order of `patients`; its spread is from leaving out one patient at a time."""
    drawn = draw_patients(patients, labels, resamples=1, seed=0)
    left_out = leave_out_patients(drawn)
    everyone = replace(drawn, counts=np.ones_like(drawn.counts))
    value = float(measured(everyone)[0])
    varies = spread(value, measured(left_out.resamples), left_out.strata, left_out.patients)
    low, high = student_interval(value, varies, scale=scale)
    return Estimate(value, low, high, student_p_value(value, varies), len(labels))


def mean_of(table: pl.DataFrame, column: str) -> Estimate:
    """The mean of a column over images that have a value; the unit of sampling is the patient."""
    known = table.filter(pl.col(column).is_not_null() & pl.col(column).is_not_nan())
    if known.is_empty():
        return Estimate(np.nan, np.nan, np.nan, np.nan, 0)
    values, labels = known[column].to_numpy(), known["label"].to_numpy()
    return estimate(lambda drawn: mean_resampled(values, drawn), known["patient"].to_list(), labels, "identity")


def auc_of(table: pl.DataFrame, score: str) -> Estimate:
    """The AUC of a score of the test images.

    For an AUC of 0 or 1, leaving out a patient changes nothing, so the interval is that of a share with as many
    patients as the rarer class has.
    """
    values, labels = table[score].to_numpy(), table["label"].to_numpy()
    patients = table["patient_id"].to_list()
    found = estimate(lambda drawn: auc_resampled(labels, values, drawn), patients, labels, "logit")
    if found.value not in (0, 1):
        return found
    rarer = table.group_by("label").agg(pl.col("patient_id").n_unique())["patient_id"].to_numpy().min()
    low, high = interval_at_end(found.value, int(rarer))
    return replace(found, low=low, high=high)


def better_than_chance(auc: Estimate) -> bool:
    """Whether a test AUC's interval lies above 0.5; False without an interval."""
    return auc.low > 0.5


@dataclass(frozen=True, eq=False)
class Measured:
    """The measurements of one trial.

    Attributes:
        run, name: names of its run directory and of the trial.
        signal: where it was planted.
        auc, auc_large: AUC of its predictions on the test images, and of the same model's on images of `LARGE` pixels.
        table: `measure`'s rows for every method, with the columns `method` and `patient` (cohort and patient).
        milliseconds: per image, by method.
    """

    run: str
    name: str
    signal: str
    auc: Estimate
    auc_large: Estimate
    table: pl.DataFrame
    milliseconds: dict[str, float]


def measure_run(
    directory: RunDirectory, methods: Sequence[MapMethod], patients: int | None, out: Path | None
) -> Iterator[Measured]:
    """The measurements of each trained trial of a run; with `out`, an image of its maps is written there."""
    study = open_study(directory)
    truth = read_truth(study, directory, LARGE, patients)
    device = worker_device(study.resources)
    for trial in trained_trials(study, directory):
        trained = open_model(study, directory, trial, device)
        made = {method.name: make_maps(trained, method, truth) for method in methods}
        scores = truth.table.select("patient_id", "label").with_columns(_scores(trained, truth, device))
        patient = pl.concat_str(pl.lit(f"{truth.cohort!r} "), "patient_id")
        tables = [
            measure(found, truth).with_columns(pl.lit(name).alias("method"), patient.alias("patient"))
            for name, found in made.items()
        ]
        if out is not None:
            write_image(out / f"{directory.path.name}-{trial.name}.png", picture(made, truth))
        yield Measured(
            directory.path.name,
            trial.name,
            truth.cohort.signal,
            auc_of(scores, "small"),
            auc_of(scores, "large"),
            pl.concat(tables),
            {name: found.milliseconds for name, found in made.items()},
        )


@torch.inference_mode()
def _scores(trained: TrainedModel, truth: Truth, device: torch.device) -> list[pl.Series]:
    """Difference between the two classes' logits, at both sizes."""
    found: dict[str, list[Tensor]] = {"small": [], "large": []}
    for _, images in batches(truth, device):
        with backbones.autocast(device):
            for name, logits in (
                ("small", trained.logits(images.small)),
                ("large", trained.large.logits(images.large)),
            ):
                found[name].append((logits[:, 1] - logits[:, 0]).float().cpu())
    return [pl.Series(name, torch.cat(parts).numpy()) for name, parts in found.items()]


def picture(made: dict[str, Made], truth: Truth) -> np.ndarray:
    """Positive images, their planted signal, and every method's maps: one row per image, (H, W, 3) uint8.

    Each map is scaled to its own maximum; a header names the columns.
    """
    positives = np.flatnonzero(truth.table["label"].to_numpy() == 1)[:PICTURED]
    rows = []
    for place in positives:
        planted = np.repeat(truth.planted[place][..., None], 3, axis=2)
        maps = [colours(found.maps[place], float(found.maps[place].max())) for found in made.values()]
        rows.append(np.concatenate([truth.small[place], planted, *maps], axis=1))
    width, names = truth.small.shape[2], ["image", "planted", *made]
    header = Image.new("RGB", (width * len(names), HEADER))
    for place, name in enumerate(names):
        ImageDraw.Draw(header).text((width * place + 4, 4), name)
    return np.concatenate([np.asarray(header), *rows]).astype(np.uint8)


COLUMNS = (
    "method",
    "AUC of planted signal",
    f"less {BASELINE}",
    "p (Holm)",
    "AUC of vessels",
    f"planted among the highest {TOP:.0%}",
    "images",
    "blank maps",
    "ms per image",
)


def markdown(table: pl.DataFrame, milliseconds: dict[str, float]) -> str:
    """The table of methods over the images of one or several trials.

    Args:
        table: `Measured.table`, with a column `trial` that identifies the trial of each row.
        milliseconds: per image, by method.
    """
    names = table["method"].unique(maintain_order=True).to_list()
    differences = {name: mean_of(_less_baseline(table, name), "difference") for name in names if name != BASELINE}
    adjusted = dict(zip(differences, holm([found.p for found in differences.values()]), strict=True))
    lines = [" | ".join(COLUMNS), " | ".join("---" for _ in COLUMNS)]
    for name in names:
        of_method = table.filter(pl.col("method") == name)
        planted, vessel, precision, chance = (mean_of(of_method, column) for column in MEASURES)
        trials = [
            name,
            str(planted),
            str(differences[name]) if name in differences else "",
            f"{adjusted[name]:.3g}" if name in adjusted else "",
            str(vessel),
            f"{precision}; chance {chance.value:.3f}",
            str(planted.n),
            f"{of_method['blank'].sum()} of {len(of_method)}",
            f"{milliseconds[name]:.1f}",
        ]
        lines.append(" | ".join(trials))
    return "\n".join(f"| {line} |" for line in lines)


def _less_baseline(table: pl.DataFrame, name: str) -> pl.DataFrame:
    """One row per trial and image: `difference`, the method's AUC of the planted signal minus the baseline's."""
    of_baseline = table.filter(pl.col("method") == BASELINE).select("trial", "image", baseline="auc_planted")
    paired = table.filter(pl.col("method") == name).join(of_baseline, on=["trial", "image"], maintain_order="left")
    return paired.with_columns(difference=pl.col("auc_planted") - pl.col("baseline"))


def summary(trials: Sequence[Measured], signal: str) -> str:
    """The table over all trials of a signal that predict better than chance, and each method's range over them."""
    of_signal = [trial for trial in trials if trial.signal == signal]
    chosen = [trial for trial in of_signal if better_than_chance(trial.auc)]
    scope = f"the {len(chosen)} of {len(of_signal)} trials that predict better than chance"
    if not chosen:
        chosen = of_signal
        scope = f"all {len(of_signal)} trials; none predicts better than chance, so draw no conclusion"
    table = together(chosen)
    names = table["method"].unique(maintain_order=True).to_list()
    times = {name: float(np.mean([trial.milliseconds[name] for trial in chosen])) for name in names}
    ranges = ["| method | difference by trial: lowest, highest | trials above 0 |", "| --- | --- | --- |"]
    for name in names:
        if name == BASELINE:
            continue
        by_trial = _less_baseline(table, name).group_by("trial").agg(pl.col("difference").drop_nans().mean())
        values = by_trial["difference"].drop_nulls().to_numpy()
        if len(values):
            above = f"{(values > 0).sum()} of {len(values)}"
            ranges.append(f"| {name} | {values.min():.3f}, {values.max():.3f} | {above} |")
    heading = f"## Signal: {signal}\n\nOver {scope}."
    return "\n\n".join([heading, markdown(table, times), "\n".join(ranges)])


def together(trials: Sequence[Measured]) -> pl.DataFrame:
    """The rows of several trials, with the columns `run` and `trial`, which includes the name of the run."""
    return pl.concat(
        trial.table.with_columns(run=pl.lit(trial.run), trial=pl.lit(f"{trial.run}/{trial.name}")) for trial in trials
    )


def of_trial(trial: Measured) -> str:
    """A trial's own table under its heading."""
    heading = f"### {trial.run}, {trial.name}\n\nTest AUC {trial.auc}; of the same model on {LARGE} pixels"
    return f"{heading} {trial.auc_large}.\n\n{markdown(together([trial]), trial.milliseconds)}"


def costs(methods: Sequence[MapMethod]) -> str:
    """What each method computes."""
    lines = ["| method | per image |", "| --- | --- |", *(f"| {m.name} | {m.cost} |" for m in methods)]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    options.add_argument("--out", type=Path, help="folder for cam_resolution.csv and the images of the maps")
    options.add_argument("--patients", type=int, help="use only the first N patients of each test set")
    names = [method.name for method in MAPS]
    options.add_argument("--methods", nargs="+", choices=names, default=names, help=f"{BASELINE} is always included")
    chosen = options.parse_args(arguments)
    methods = [method for method in MAPS if method.name in (BASELINE, *chosen.methods)]
    if chosen.out is not None:
        chosen.out.mkdir(parents=True, exist_ok=True)
    trials = []
    for run in chosen.runs:
        for trial in measure_run(RunDirectory(run), methods, chosen.patients, chosen.out):
            trials.append(trial)
            print(of_trial(trial), end="\n\n", flush=True)
    for signal in sorted({trial.signal for trial in trials}):
        print(summary(trials, signal), end="\n\n")
    print(costs(methods))
    if chosen.out is not None and trials:
        write_csv(chosen.out / "cam_resolution.csv", together(trials).drop("patient"))


if __name__ == "__main__":
    main()
