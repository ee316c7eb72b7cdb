"""The figures of an explained trial: mean maps, and panels of images chosen by rule."""

from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl
import torch

from benchmark.storage.rundir import RunDirectory, open_array, write_csv, write_image
from benchmark.study.config import Study
from benchmark.study.images import IMAGE_SIZE
from benchmark.study.splits import of_split
from benchmark.study.trials import Trial
from benchmark.tables import read_parquet
from xai.examples import choose
from xai.gradcam import saliency_maps
from xai.palette import colours
from xai.panels import mean_maps, mean_panel, mirrored_mean, panel, with_arcades

CHOSEN_BY = "vessel_ratio"
_NAMES = {"gradcam": "Grad-CAM", "rollout": "Rollout", "input_gradient": "Input gradient"}
SCHEMA: dict[str, type[pl.DataType]] = {
    "file": pl.String,
    "group": pl.String,
    "rank": pl.Int64,
    "ranked": pl.Int64,
    "image": pl.String,
    "patient_id": pl.String,
    "label": pl.Int64,
    "score": pl.Float64,
    "vessel_ratio": pl.Float64,
    "top": pl.Float64,  # of `mean_cam.png`: the value at the upper end of its colours
    "alt": pl.String,
}


def method_name(name: str) -> str:
    """The display name of a method of `xai.methods`."""
    return _NAMES.get(name, name)


def draw_figures(
    study: Study, directory: RunDirectory, trial: Trial, test: pl.DataFrame, cams: np.ndarray, saliency: pl.DataFrame
) -> None:
    """Write `mean_cam.png` and, into `figures/`, the mean panel, the example panels and their list.

    Args:
        test: the cohort's test images.
        cams: their signed maps (n, rows, columns).
        saliency: their measures.
    """
    folder = directory.trial(trial)
    folder.figures.parent.mkdir(parents=True, exist_ok=True)
    settings, method = study.explain, method_name(study.explain.method)
    rows, mirrored = test["row"].to_numpy(), (test["eye"] == "left").fill_null(False).to_numpy()
    images, regions = open_array(directory.images), open_array(directory.regions)

    means = mean_maps(cams, test["label"].to_numpy(), mirrored, IMAGE_SIZE, settings.scaling)
    of_all = means["all"].values
    top = float(of_all.max())
    image = mirrored_mean(images, rows, mirrored)
    vessels = mirrored_mean(regions[:, 2], np.arange(len(test)), mirrored)
    write_image(folder.mean_cam, with_arcades(colours(of_all, top), vessels).astype(np.uint8))
    title = f"{trial.backbone.name}, {trial.strategy.name}, seed {trial.seed}"
    caption = "mean over the test images with a map, left eyes mirrored onto right ones"
    figure = mean_panel(means, image, vessels, title, caption, method)
    write_image(folder.figure("mean"), figure.rgb)
    listed = [{"file": folder.figure("mean").name, "group": "mean", "top": top, "alt": figure.alt}]

    scores = test.select("image").join(
        of_split(read_parquet(folder.predictions), "test").select("image", "score"),
        on="image",
        how="left",
        maintain_order="left",
    )["score"]
    ratios = saliency[CHOSEN_BY].cast(pl.Float64).fill_null(np.nan).to_numpy()
    flags = read_parquet(directory.vessels)["flags"].fill_null("no_vessels")
    counted: dict[str, int] = {}
    for example in choose(
        ratios, test["patient_id"].to_list(), flags.str.contains("no_vessels").to_numpy(), settings.examples
    ):
        counted[example.group] = counted.get(example.group, 0) + 1
        file = folder.figure(f"{example.group}-{counted[example.group]}")
        place = example.index
        facts = test.row(place, named=True) | {"score": scores[place], "flags": flags[place]} | asdict(example)
        facts |= {"file": file.name, CHOSEN_BY: example.ratio}
        signed = torch.from_numpy(cams[place : place + 1])
        figure = panel(
            images[facts["row"]],
            saliency_maps(signed, IMAGE_SIZE, settings.scaling)[0].numpy(),
            settings.masks(regions[place]),
            facts["image"],
            _caption(facts),
            method,
        )
        write_image(file, figure.rgb)
        listed.append({name: facts[name] for name in SCHEMA if name in facts} | {"alt": figure.alt})
    write_csv(folder.figures, pl.DataFrame(listed, schema=SCHEMA))


def _caption(facts: dict[str, Any]) -> str:
    caption = "label {label}, score {score:.3f}, vessel ratio {vessel_ratio:.2f} (rank {rank} of {ranked})".format(
        **facts
    )
    return caption + ("" if not facts["flags"] else f"; {facts['flags'].replace('_', ' ')}")
