import re

import numpy as np
import polars as pl
import pytest

from benchmark.report.charts.trial_panels import learning_curves, score_histogram
from tests.benchmark.report.charts.frames import drawn, texts

TRIAL = "dinov2, lora, seed 0"
HISTORY = pl.DataFrame(
    {
        "epoch": [1, 2, 3],
        "train_loss": [0.7, 0.6, 0.5],
        "val_loss": [0.8, 0.6, 0.65],
        "val_auc": [0.6, 0.8, 0.8],
    }
)


def test_learning_curves_state_their_ends_and_the_epoch_that_is_kept():
    loss, auc = learning_curves(HISTORY, TRIAL)
    assert "training 0.700 in the first and 0.500 in the last" in loss.alt
    assert "validation 0.800 in the first and 0.650 in the last" in loss.alt
    assert "validation 0.600 in the first and 0.800 in the last" in auc.alt
    assert all("epoch 2, whose weights are kept" in chart.alt for chart in (loss, auc)), "of equal AUCs, the lower loss"
    assert {"training", "validation"} <= set(texts(loss))


def test_one_epoch_is_drawn():
    assert len(learning_curves(HISTORY.head(1), TRIAL)) == 2


def test_bars_are_the_shares_of_each_label():
    """Of label 0 three quarters have one score and a quarter another, of label 1 all have one; the axis ends at 1."""
    labels, scores = np.array([0, 0, 0, 0, 1, 1]), np.array([0.03, 0.03, 0.03, 0.48, 0.98, 0.98])
    chart = score_histogram(labels, scores, 0.5, TRIAL)
    assert "the median is 0.03 of label 0 and 0.98 of label 1" in chart.alt
    assert "threshold 0.500" in chart.alt
    found = {}
    for _, _, bar in drawn(chart, "path", opacity="0.55"):
        left, height, share = re.fullmatch(r"M([\d.]+),[\d.]+h([\d.]+)v([\d.]+)h.*", bar.attrib["d"]).groups()
        if float(share):
            found[bar.attrib["fill"], round(float(left) / float(height))] = float(share) / 200
    grey, brown = "var(--series-1)", "var(--series-2)"
    assert found == pytest.approx({(grey, 0): 0.75, (grey, 9): 0.25, (brown, 19): 1.0})


def test_ticks_are_labelled_with_their_values():
    """The highest bar has 3 of 20 images, so the axis ends at 0.15."""
    scores = np.concatenate([np.linspace(0.2, 0.99, 17), [0.03, 0.03, 0.03]])
    chart = score_histogram(np.zeros(20), scores, 0.5, TRIAL)
    labels = [text for text in texts(chart) if re.fullmatch(r"[\d.]+", text)]
    assert labels == ["0", "0.2", "0.4", "0.6", "0.8", "1", "0", "0.05", "0.1", "0.15"]


def test_a_threshold_that_no_score_reaches_has_no_line():
    labels, scores = np.array([0, 1]), np.array([0.2, 0.8])
    with_line, without = (score_histogram(labels, scores, at, TRIAL) for at in (0.5, float("inf")))
    count = [len(list(drawn(chart, "line", stroke_dasharray="1,3"))) for chart in (with_line, without)]
    assert count[0] == count[1] + 1


@pytest.mark.parametrize("label", [0, 1])
def test_one_label_alone_is_drawn(label):
    assert f"of label {label}" in score_histogram(np.array([label]), np.array([0.5]), 0.5, TRIAL).alt
