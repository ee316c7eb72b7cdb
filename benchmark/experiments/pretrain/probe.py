"""How well a model's features predict the label before fine-tuning: a linear probe on patients of another seed.

    python -m benchmark.experiments.pretrain.probe retfound-tiny retfound-tiny-untrained
    python -m benchmark.experiments.pretrain.probe openclip-tiny openclip-tiny=runs/wordless.safetensors

Logistic regression is fitted on half of the patients, in eight random splits, and its AUC is computed on the other
half. Its inputs are the features that a classifier uses, or the mean and standard deviation of the patch tokens.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import backbones
from benchmark.experiments.pretrain.cohorts import EFFECT, SEED, draw_images
from benchmark.experiments.pretrain.schedule import pixels
from benchmark.synthetic import SyntheticCohort, plan

PATIENTS, HALVINGS = 300, 8
STRENGTHS = np.logspace(-5, 0, 6)  # inverse regularisation, chosen by cross-validation within the training half


def opened(name: str) -> backbones.Backbone:
    """A backbone by name, or `NAME=FILE` with the weights of a file that `benchmark.experiments.pretrain` made."""
    name, _, file = name.partition("=")
    backbone = backbones.get(name)
    return replace(backbone, shipped=Path(file)) if file else backbone


@torch.inference_mode()
def features(backbone: backbones.Backbone, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pooled features (n, C), and mean and standard deviation of the patches' tokens (n, 2 C)."""
    model = backbone.build()
    pooled, spread = [], []
    for start in range(0, len(images), 64):
        rows = np.arange(start, min(start + 64, len(images)))
        tokens = model.forward_features(backbone.normalise(pixels(images, rows)))
        patches = tokens[:, model.num_prefix_tokens :]
        pooled.append(model.forward_head(tokens, pre_logits=True))
        spread.append(torch.cat([patches.mean(1), patches.std(1)], 1))
    return torch.cat(pooled).numpy(), torch.cat(spread).numpy()


def auc(values: np.ndarray, labels: np.ndarray, patients: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation, over the splits, of the AUC on patients not used for fitting."""
    names, found = np.unique(patients), []
    for seed in range(HALVINGS):
        learned = np.isin(patients, np.random.default_rng(seed).permutation(names)[: len(names) // 2])
        folds = list(GroupKFold(4).split(values[learned], groups=patients[learned]))
        regression = LogisticRegressionCV(Cs=STRENGTHS, cv=folds, scoring="roc_auc", max_iter=300)
        model = make_pipeline(StandardScaler(), regression).fit(values[learned], labels[learned])
        found.append(roc_auc_score(labels[~learned], model.decision_function(values[~learned])))
    return float(np.mean(found)), float(np.std(found))


def main(names: list[str], threads: int) -> None:
    torch.set_num_threads(threads)
    print("| model | signal | pooled features | mean and spread of tokens | severity itself |")
    print("| --- | --- | --- | --- | --- |")
    for offset, signal in enumerate(("vessels", "periphery"), start=10):
        cohort = SyntheticCohort(PATIENTS, 384, signal, EFFECT, 0.95, seed=SEED + offset)  # type: ignore[arg-type]
        rows, images = plan(cohort), draw_images([cohort], threads).images
        labels, patients = (np.array([row[key] for row in rows]) for key in ("label", "patient_id"))
        best = roc_auc_score(labels, [row["severity"] for row in rows])
        for name in names:
            aucs = (auc(values, labels, patients) for values in features(opened(name), images))
            pooled, spread = (f"{mean:.2f} ± {deviation:.2f}" for mean, deviation in aucs)
            print(f"| {name} | {signal} | {pooled} | {spread} | {best:.2f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME", help="a backbone, or NAME=FILE with a weights file")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    main(given.names, given.threads)
