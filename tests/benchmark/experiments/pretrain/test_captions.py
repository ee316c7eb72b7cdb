"""Captions describe what was drawn, in varied words, and do not contain the label."""

from dataclasses import replace

import numpy as np
import pytest

from benchmark.experiments.pretrain import captions
from benchmark.experiments.pretrain.captions import caption
from benchmark.synthetic import SyntheticCohort, draw_eye

HEALTHY = draw_eye(SyntheticCohort(image_size=96), "p0001", "right", 0.0, False).traits


def many(traits, **options):
    rng = np.random.default_rng(0)
    return [caption(traits, "right", rng, **options) for _ in range(200)]


@pytest.mark.parametrize(("severity", "step"), [(-2.5, 0), (0.0, 1), (1.0, 2), (2.0, 3), (4.5, 4)])
def test_arteries_are_described_as_they_are(severity, step):
    texts = many(replace(HEALTHY, severity=severity))
    assert all(any(words in text for words in captions.ARTERIES[step]) for text in texts)
    others = [words for i, kind in enumerate(captions.ARTERIES) if i != step for words in kind]
    assert not any(f", {words}" in text.replace(words, "") for text in texts for words in others)
    assert len(set(texts)) > 100


def test_arteries_can_be_left_out():
    texts = many(replace(HEALTHY, severity=4.5), vessels=False)
    assert not any(word in text for text in texts for word in ("arter", "vein", "wir", "narrow"))


def test_spots_are_counted_where_they_are_the_signal():
    few, many_spots = (many(replace(HEALTHY, signal="periphery", severity=s)) for s in (-2.5, 4.5))
    assert all(any(words in text for words in captions.SPOTS[0]) for text in few)
    assert all(any(words in text for words in captions.SPOTS[3]) for text in many_spots)


def test_sides_are_the_photographs():
    rng = np.random.default_rng(0)
    for side, other in (("right", "left"), ("left", "right")):
        texts = [caption(HEALTHY, side, rng) for _ in range(100)]
        assert any(side in text for text in texts)
        assert not any(other in text for text in texts)


def test_faults_of_the_exposure_are_named():
    dark = replace(HEALTHY, quality=replace(HEALTHY.quality, exposure=0.4))
    assert any(words in text for text in many(dark) for words in captions.FAULTS["dim"])
    assert not any(words in text for text in many(dark) for words in captions.GOOD)
    assert any(words in text for text in many(HEALTHY) for words in captions.GOOD)
