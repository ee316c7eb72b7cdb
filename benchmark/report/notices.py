"""Notices at the top of a page: what a reader must know before any number of a run."""

from collections.abc import Mapping
from typing import Any

from benchmark.report.sections import SECTIONS
from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import Study
from benchmark.study.splits import of_split
from benchmark.tables import read_csv, read_parquet
from stats.metrics import auc

DOUBTFUL = 0.1  # share of the test images with flagged vessel masks above which there is a notice


def notices(study: Study, directory: RunDirectory) -> list[str]:
    """One paragraph per notice, for a run whose explain stage is complete."""
    paragraphs = []
    if of_fold := directory.completed("fold"):
        paragraphs.append(
            f"This is fold {of_fold['fold']} of {of_fold['folds']} in repeat {of_fold['repeat']} of "
            f"{of_fold['repeats']}, with the test patients of this fold alone. The page of the cross-validation, "
            "leaderboard.html two folders up, has the results of all folds."
        )
    drawn = study.cohort.synthetic
    if drawn is not None:
        where = {"vessels": "in the vessels", "periphery": "in the periphery, away from the vessels"}[drawn.signal]
        paragraphs.append(
            f"Data are synthetic: the signal of the label is {where} and exaggerated (effect {drawn.effect:g}). The "
            f"best possible model has an AUC of {drawn.best_auc:.2f} in expectation ({_oracle(directory):.3f} on these "
            "test images)."
        )
    chosen = [choice.open() for choice in study.backbones]
    untrained = [
        b.name for b, choice in zip(chosen, study.backbones, strict=True) if b.untrained and choice.weights is None
    ]
    if untrained:
        paragraphs.append(
            f"Backbones are untrained ({', '.join(untrained)}): the numbers show that the pipeline works, "
            "not how good a model is."
        )
    caution = (directory.completed("segment") or {}).get("source", {}).get("caution")
    paragraphs += [caution] if caution else []
    flags = read_parquet(directory.vessels)["flags"]
    doubtful = int((flags != "").sum())
    if doubtful > DOUBTFUL * len(flags):
        paragraphs.append(
            f"Vessel masks of {doubtful} of {len(flags)} test images look wrong (see “{SECTIONS['facts'].heading}”). "
            f"The ratios include these images; “{SECTIONS['conventions'].heading}” gives the ratios without them."
        )
    paragraphs += _repeated(directory.completed("prepare") or {})
    paragraphs += [f"{b.name}: the weights are under {b.licence}." for b in chosen if "non-commercial" in b.licence]
    return paragraphs


def _repeated(prepared: Mapping[str, Any]) -> list[str]:
    """A notice of duplicate images within a split; the prepare stage refuses duplicates across splits."""
    repeated, contradictory = prepared.get("repeated", 0), prepared.get("contradictory", 0)
    if not repeated:
        return []
    labels = f"; {contradictory} of them with the other label" if contradictory else ""
    return [
        f"{repeated} of {prepared['images']} images have the same pixels as another image of their split{labels} "
        "(repeated.csv). They are counted as separate images. Correct the manifest."
    ]


def _oracle(directory: RunDirectory) -> float:
    """The AUC of the true severity on the test images."""
    patients = read_csv(directory.drawn).select("image", "severity")
    test = of_split(read_parquet(directory.cohort), "test").join(patients, on="image")
    return auc(test["label"].to_numpy(), test["severity"].to_numpy())
