"""The numbers of a leaderboard from the Parquet files of a trial, computed without the code of the project."""

import polars as pl
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)


def recomputed(trial, trained_in=None):
    """auc, f1, threshold, ratios, counts and the comparison within labels, for one trial directory.

    `trained_in`: for an external cohort, the run directory in which the trial was trained.
    """
    predictions = pl.read_parquet(trial / "predictions.parquet")
    validation = predictions.filter(pl.col("split") == "val")
    test = predictions.filter(pl.col("split") == "test")
    candidates = sorted(validation["score"].unique(), reverse=True)
    scored = [(f1_score(validation["label"], validation["score"] >= t), t) for t in candidates]
    threshold = max(scored, key=lambda pair: pair[0])[1]  # the first of several maxima: the highest threshold
    saliency = pl.read_parquet(trial / "saliency.parquet")
    ratios = {}
    for region in ("artery", "vein", "vessel"):
        for suffix in ("", "_fov"):
            per_image = saliency[region] / saliency[f"non_vessel{suffix}"]
            ratios[f"{region}_ratio{suffix}"] = per_image.drop_nulls().drop_nans().mean()
    chance = {}
    if (trial / "vessel_permutation.parquet").is_file():  # every trial with several patients with vessels
        by_image = pl.read_parquet(trial / "vessel_permutation.parquet").drop_nulls("vessel_ratio_fov")
        for null in ("null", "turned"):
            mean = by_image[f"vessel_ratio_fov_{null}"].mean()
            chance |= {f"vessel_ratio_fov_{null}": mean}
            chance |= {f"vessel_ratio_fov_over_{null}": by_image["vessel_ratio_fov"].mean() / mean}
    if (trial / "other_class.parquet").is_file():
        by_image = pl.read_parquet(trial / "other_class.parquet").drop_nulls("vessel_ratio_fov")
        ratio, mean = by_image["vessel_ratio_fov"].mean(), by_image["vessel_ratio_fov_null"].mean()
        chance |= {
            "vessel_ratio_fov_other": ratio,
            "vessel_ratio_fov_other_null": mean,
            "vessel_ratio_fov_other_over_null": ratio / mean,
        }
    called = test["score"] >= threshold
    within = _within(test, saliency, called)
    run = trained_in or trial.parent.parent
    trained = pl.read_parquet(run / "cohort.parquet").filter(pl.col("split") == "train")["label"]
    odds = test["score"] / (1 - test["score"]) * trained.sum() / (len(trained) - trained.sum())
    risk = odds / (1 + odds)  # classes had equal weight in training
    return {
        "auc": roc_auc_score(test["label"], test["score"]),
        "average_precision": average_precision_score(test["label"], test["score"]),
        "brier": brier_score_loss(test["label"], risk),
        "f1": f1_score(test["label"], called),
        "sensitivity": recall_score(test["label"], called),
        "specificity": recall_score(test["label"], called, pos_label=0),
        "balanced_accuracy": balanced_accuracy_score(test["label"], called),
        **({"ppv": precision_score(test["label"], called)} if called.any() else {}),
        "threshold": threshold,
        "n_images": len(test),
        "n_patients": test["patient_id"].n_unique(),
        "n_positive": test["label"].sum(),
        "n_positive_patients": test.filter(label=1)["patient_id"].n_unique(),
        "n_negative_patients": test.filter(label=0)["patient_id"].n_unique(),
        **ratios,
        **within,
        **chance,
    }


def _within(test, saliency, called):
    """For each label, the probability that a right image has a higher ratio than a wrong one, and both counts."""
    joined = test.with_columns(right=called == (test["label"] == 1)).join(
        saliency.select("image", ratio=pl.col("vessel") / pl.col("non_vessel")), on="image"
    )
    known = joined.drop_nulls("ratio").drop_nans("ratio")
    found = {}
    for name, label in (("positive", 1), ("negative", 0)):
        right, ratio = known.filter(label=label)["right"], known.filter(label=label)["ratio"]
        counts = int(right.sum()), int((~right).sum())
        found |= {f"n_right_{name}": counts[0], f"n_wrong_{name}": counts[1]}
        found[f"right_by_ratio_{name}"] = roc_auc_score(right, ratio) if min(counts) >= 5 else None
    return found
