"""The controls of one explained trial: functions that do not depend on scheduling; docs/controls.md explains them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

import backbones
from benchmark.storage.rundir import RunDirectory, open_array, write_json, write_parquet
from benchmark.study.config import Study
from benchmark.study.images import IMAGE_SIZE
from benchmark.study.splits import of_split
from benchmark.study.trials import Trial
from benchmark.tables import read_parquet
from benchmark.trial.device import worker_device
from benchmark.trial.fit import trained_model
from finetune.inputs import Images, batches
from finetune.prepared import Prepared
from finetune.training import positive_score, predict_logits
from xai.controls.null import FOV_RATIO, TESTED_RATIOS, Null
from xai.controls.parameter_randomisation import cascade, mean_sd, others, rank_correlation, structural_similarity
from xai.controls.turned_vessels import turned_vessels
from xai.controls.vessel_permutation import vessel_permutation
from xai.division import divide_or_nan
from xai.gradcam import saliency_maps
from xai.saliency import vessel_saliency

_STEPS = 10  # maximum number of depths of re-initialisation, including the first ones and the last


@dataclass(frozen=True, eq=False)
class Explained:
    """A trial with its maps and the data that its controls need."""

    study: Study
    directory: RunDirectory
    trial: Trial

    @cached_property
    def test(self) -> pl.DataFrame:
        """The test images, in the order of `cam.npy` and of the vessel masks."""
        return of_split(read_parquet(self.directory.cohort), "test")

    @cached_property
    def device(self) -> torch.device:
        return worker_device(self.study.resources)

    @cached_property
    def model(self) -> VisionTransformer:
        """The trained model on the device, without gradients for its parameters."""
        return trained_model(self.trial, self.directory).requires_grad_(False).to(self.device)

    def images(self, store: np.ndarray) -> Images:
        """Images (n, 224, 224, 3) uint8 as inputs of the model, unaugmented for view 0."""
        return Images(store, self.trial.backbone.open().normalise, 0, self.device)


def find_vessel_permutation(explained: Explained) -> None:
    """Write `vessel_permutation.json` and `vessel_permutation.parquet`: the trial's ratios next to those by chance.

    Chance means the same maps with other patients' vessels, and with the eye's own vessels, rotated.
    """
    folder = explained.directory.trial(explained.trial)
    signed = torch.from_numpy(np.load(folder.cams))
    found, of_images = _by_chance(
        explained, signed, TESTED_RATIOS, {"exchanged": vessel_permutation, "turned": turned_vessels}
    )
    write_json(folder.vessel_permutation, found)
    write_parquet(folder.chance, of_images)


def find_other_class(explained: Explained) -> None:
    """Write `other_class.json` and `other_class.parquet`: the ratio of the maps of the class that is not explained.

    The files also have the ratio that these maps have by chance, with other patients' vessels.
    """
    folder = explained.directory.trial(explained.trial)
    signed = _signed_maps(
        explained, explained.model, explained.test["row"].to_numpy(), 1 - explained.study.explain.target_class
    )
    found, of_images = _by_chance(explained, signed, (FOV_RATIO,), {"exchanged": vessel_permutation})
    write_json(folder.other_class, found)
    write_parquet(folder.other_class_chance, of_images)


def _by_chance(
    explained: Explained, signed: Tensor, ratios: Sequence[str], tests: dict[str, Callable[..., dict[str, Null]]]
) -> tuple[dict[str, dict[str, Any]], pl.DataFrame]:
    """The content of `TrialDirectory.vessel_permutation` and `TrialDirectory.chance`, from maps of all test images."""
    settings, directory = explained.study.explain, explained.directory
    maps = saliency_maps(signed, IMAGE_SIZE, settings.scaling).numpy()
    planes = settings.masks(open_array(directory.regions))
    disc = open_array(directory.disc) if directory.disc.is_file() else None
    patients, eyes = explained.test["patient_id"].to_numpy(), explained.test["eye"].to_list()
    found: dict[str, dict[str, Any]] = {ratio: {} for ratio in ratios}
    of_images: dict[str, np.ndarray] = {}
    for name, test in tests.items():
        try:
            nulls = test(maps, planes, patients, explained.study.controls.draws, 0, eyes, disc, ratios)
        except ValueError as error:  # for example blank maps, or one patient with vessels: keep the reason
            for ratio in ratios:
                found[ratio] |= {"reason": str(error)} if name == "exchanged" else {name: {"reason": str(error)}}
            continue
        for ratio, null in nulls.items():
            of_images |= {ratio: null.ratios} | (
                {f"{ratio}_null": null.expected, f"{ratio}_given": null.given}
                if name == "exchanged"
                else {f"{ratio}_turned": null.expected}
            )
            known = np.isfinite(null.ratios)
            counts = {"n_images": int(known.sum()), "n_disc": 0 if disc is None else int(_any(disc)[known].sum())}
            numbers = _numbers(null) | counts
            found[ratio] |= numbers if name == "exchanged" else {name: numbers}
    columns = [pl.Series(name, of).fill_nan(None) for name, of in of_images.items()]
    return found, explained.test.select("image", "patient_id").with_columns(columns)


def _numbers(null: Null) -> dict[str, Any]:
    return {
        "ratio": null.observed,
        "null": null.mean,
        "null_sd": _number(null.sd),
        "p_value": null.p_greater,
        "p_two_sided": null.p_two_sided,
        "draws": len(null.draws),
    }


def _any(masks: np.ndarray) -> np.ndarray:
    """(n,) bool: which of the masks (n, H, W) are not empty, read one by one."""
    return np.array([mask.any() for mask in masks])


def find_parameter_randomisation(explained: Explained) -> None:
    """Write `parameter_randomisation.json` and `parameter_randomisation.parquet`.

    The first has the similarity of the maps to the trained model's at each step of re-initialisation, and the
    similarity between the trained model's maps of different patients' images. The second has the ratios with trained
    and with random weights.
    """
    settings = explained.study.controls
    rows = explained.test["row"].to_numpy()
    spread = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), settings.images)).round().astype(int))
    depth = len(explained.model.blocks)
    steps = depths(depth + 2)
    target_class = explained.study.explain.target_class
    trained = _signed_maps(explained, explained.model, rows[spread], target_class)
    likeness = {step: np.full((settings.seeds, 2, len(spread)), np.nan) for step in steps}
    ratios, random = _ratios(explained, trained, spread), []
    for seed in range(settings.seeds):
        for step, model in cascade(explained.model, seed):
            if step in likeness:
                signed = _signed_maps(explained, model, rows[spread], target_class)
                # The absolute value, because a random classifier is equally likely to reverse the sign of a map.
                likeness[step][seed, 0] = abs(rank_correlation(signed.numpy(), trained.numpy()))
                stretched = (saliency_maps(maps, IMAGE_SIZE, "minmax").numpy() for maps in (signed, trained))
                likeness[step][seed, 1] = structural_similarity(*stretched)
                if step == depth + 2:
                    random.append(_ratios(explained, signed, spread))
    of_images = ratios | {
        f"{name}_random": _mean_of_seeds(np.stack([of_seed[name] for of_seed in random])) for name in ratios
    }
    write_parquet(
        explained.directory.trial(explained.trial).randomised,
        explained.test[spread]
        .select("image", "patient_id")
        .with_columns(pl.Series(name, of).fill_nan(None) for name, of in of_images.items()),
    )
    table = []
    for step, found in likeness.items():
        row: dict[str, Any] = {"step": step, "reinitialised": _reinitialised(step, depth)}
        for name, values in zip(("rank_correlation", "ssim"), found.swapaxes(0, 1), strict=True):
            row[name], row[f"{name}_sd"] = map(_number, mean_sd(_mean_of_seeds(values)))
        table.append(row)
    write_json(
        explained.directory.trial(explained.trial).parameter_randomisation,
        {
            "n_images": len(spread),
            "seeds": settings.seeds,
            "steps": table,
            "other_images": _other_images(trained, explained.test[spread]),
        },
    )


def _ratios(explained: Explained, signed: Tensor, spread: np.ndarray) -> dict[str, np.ndarray]:
    """Each of `TESTED_RATIOS` (n,) for the signed maps of some test images; NaN if an image has none."""
    settings = explained.study.explain
    maps = saliency_maps(signed, IMAGE_SIZE, settings.scaling).numpy()
    found = vessel_saliency(maps, settings.masks(open_array(explained.directory.regions)[spread]))
    return {name: found[name] for name in TESTED_RATIOS}


def _other_images(trained: Tensor, test: pl.DataFrame) -> dict[str, Any]:
    """Similarity between the trained model's maps of different patients' images, left eyes mirrored."""
    left = (test["eye"] == "left").fill_null(False).to_numpy()
    signed = trained.clone()
    signed[left] = signed[left].flip(-1)
    stretched = saliency_maps(signed, IMAGE_SIZE, "minmax").numpy()
    pairs = others(test["patient_id"].to_numpy())
    found: dict[str, Any] = {"n_pairs": len(pairs)}
    one, other = pairs.T
    values = {
        "rank_correlation": abs(rank_correlation(signed.numpy()[one], signed.numpy()[other])),
        "ssim": structural_similarity(stretched[one], stretched[other]),
    }
    for name, of_pairs in values.items():
        found[name], found[f"{name}_sd"] = map(_number, mean_sd(of_pairs))
    return found


def find_erasure(explained: Explained) -> None:
    """Write `erasure.parquet`: the score of each image as it is, without its vessels, and painted over elsewhere."""
    rows, size = explained.test["row"].to_numpy(), explained.study.resources.batch_size
    erased = open_array(explained.directory.erased)
    versions = {"score": (open_array(explained.directory.images), rows)} | {
        name: (erased[:, index], np.arange(len(rows))) for index, name in enumerate(("erased", "control"))
    }
    prepared = Prepared.whole(explained.model)
    scores = {
        name: positive_score(predict_logits(prepared, explained.images(store), which, size))
        for name, (store, which) in versions.items()
    }
    painted = read_parquet(explained.directory.painted)["painted"]
    without_answer = painted.is_null().to_numpy()
    table = explained.test.select("image", "patient_id", "label").with_columns(
        pl.Series(name, np.where(without_answer, np.nan, values)).fill_nan(None) for name, values in scores.items()
    )
    write_parquet(explained.directory.trial(explained.trial).erasure, table.with_columns(painted))


# By the name of the control (`benchmark.study.controls.CONTROLS`).
COMPUTE: dict[str, Callable[[Explained], None]] = {
    "vessel_permutation": find_vessel_permutation,
    "other_class": find_other_class,
    "parameter_randomisation": find_parameter_randomisation,
    "erasure": find_erasure,
}


def _signed_maps(explained: Explained, model: VisionTransformer, rows: np.ndarray, target_class: int) -> Tensor:
    """(len(rows), rows, columns) float32 on the CPU; computed from images, because any block may have changed."""
    method = explained.study.explain.open()
    images = explained.images(open_array(explained.directory.images))
    parts = []
    for piece in batches(len(rows), explained.study.resources.batch_size):
        chosen = rows[piece]
        with backbones.autocast(explained.device):
            with torch.inference_mode():
                batch = images.batch(chosen, np.zeros_like(chosen))
                inputs = backbones.encode_until(model, batch, method.start(len(model.blocks)))
            parts.append(method(model, inputs, target_class))
    return torch.cat(parts).float().cpu()


def depths(last: int) -> list[int]:
    """The depths to compute: all in a shallow model; in a deep one 1, 2, 3 and others spread evenly up to the last."""
    if last <= _STEPS:
        return list(range(1, last + 1))
    return [1, 2, *np.linspace(3, last, _STEPS - 2).round().astype(int).tolist()]


def _reinitialised(step: int, depth: int) -> str:
    """The re-initialised part of the model, in words."""
    if step == depth + 2:
        return "everything"
    blocks = {1: "", 2: " and last block"}.get(step, f" and last {step - 1} blocks")
    return f"classifier{blocks}"


def _mean_of_seeds(values: np.ndarray) -> np.ndarray:
    """(seeds, n) -> (n,), the mean over the seeds that have a value; NaN if none has."""
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis=0)
    return divide_or_nan(total, known.sum(axis=0))


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return value if np.isfinite(value) else None
