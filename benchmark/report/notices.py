"""What a reader must know before any number of a run."""

from collections.abc import Mapping
from typing import Any

from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import Study
from benchmark.study.splits import of_split
from benchmark.tables import read_csv, read_parquet
from stats.metrics import auc

DOUBTFUL = 0.1  # share of the test images whose vessel masks are flagged, above which it is said first


def notices(study: Study, directory: RunDirectory) -> list[str]:
    """One paragraph each, of a run that is explained."""
    told = []
    drawn = study.cohort.synthetic
    if drawn is not None:
        where = {"vessels": "in the vessels", "periphery": "in the periphery, away from the vessels"}[drawn.signal]
        told.append(
            f"Data are synthetic: the label's signal is {where}, exaggerated (effect {drawn.effect:g}); no model could "
            f"do better than an AUC of {drawn.best_auc:.2f} in expectation "
            f"({_oracle(directory):.3f} on these test images)."
        )
    chosen = [choice.open() for choice in study.backbones]
    untrained = [
        b.name for b, choice in zip(chosen, study.backbones, strict=True) if b.untrained and choice.weights is None
    ]
    if untrained:
        told.append(
            f"Backbones are untrained ({', '.join(untrained)}): the numbers show that the chain works, "
            "not how good a model is."
        )
    caution = (directory.completed("segment") or {}).get("source", {}).get("caution")
    told += [caution] if caution else []
    flags = read_parquet(directory.vessels)["flags"]
    doubtful = int((flags != "").sum())
    if doubtful > DOUBTFUL * len(flags):
        told.append(
            f"Vessel masks of {doubtful} of {len(flags)} test images look wrong (“How it was made”); they count, and "
            "“Does the convention matter?” has the ratios without them."
        )
    told += _repeated(directory.completed("prepare") or {})
    told += [f"{b.name}: weights under {b.licence}." for b in chosen if "non-commercial" in b.licence]
    return told


def _repeated(prepared: Mapping[str, Any]) -> list[str]:
    """Of the same picture twice in one split; in two splits, prepare refuses it."""
    repeated, contradictory = prepared.get("repeated", 0), prepared.get("contradictory", 0)
    if not repeated:
        return []
    labels = f"; {contradictory} of them with the other label" if contradictory else ""
    return [
        f"{repeated} of {prepared['images']} images have the same pixels as another image of their split{labels} "
        "(repeated.csv). They count as images of their own: correct the manifest."
    ]


def _oracle(directory: RunDirectory) -> float:
    """The AUC that severity itself has on the test images."""
    patients = read_csv(directory.drawn).select("image", "severity")
    test = of_split(read_parquet(directory.cohort), "test").join(patients, on="image")
    return auc(test["label"].to_numpy(), test["severity"].to_numpy())
