import numpy as np
import pytest

from stats.resamples import draw_patients


def test_one_positive_image_makes_a_positive_patient_and_strata_keep_their_size():
    patients = np.array(["ann", "ann", "bob", "bob", "cid", "dot", "eve"])
    labels = np.array([0, 1, 0, 0, 1, 0, 0])
    resamples = draw_patients(patients, labels, resamples=500, seed=0)
    assert resamples.patient_of_image.tolist() == [0, 0, 1, 1, 2, 3, 4]
    assert set(resamples.counts[:, [0, 2]].sum(axis=1).tolist()) == {2}
    assert set(resamples.counts[:, [1, 3, 4]].sum(axis=1).tolist()) == {3}
    assert resamples.strata.tolist() == [True, False, True, False, False]


@pytest.mark.parametrize("label", [0, 1])
def test_patients_of_one_class_are_one_stratum(label):
    resamples = draw_patients(np.arange(5), np.full(5, label), resamples=60, seed=0)
    assert (resamples.counts.sum(axis=1) == 5).all()
    assert (resamples.strata == label).all()


def test_patients_are_drawn_evenly_and_with_replacement():
    counts = draw_patients(np.arange(50), np.arange(50) < 10, resamples=20_000, seed=2).counts
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.05)
    # A multinomial count has variance 1 - 1/size of its stratum.
    np.testing.assert_allclose(counts[:, :10].var(axis=0), 0.9, atol=0.05)
    np.testing.assert_allclose(counts[:, 10:].var(axis=0), 0.975, atol=0.05)
    assert counts.dtype == np.uint8


def test_the_seed_decides():
    patients, labels = np.arange(30), np.arange(30) < 9
    one, same, other = (draw_patients(patients, labels, resamples=50, seed=seed).counts for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


@pytest.mark.parametrize(
    ("patients", "labels", "resamples", "message"),
    [
        (["a", "b"], [0, 1, 1], 10, "patients has 2, labels has 3"),
        (["a", None], [0, 1], 10, "no id at position 1"),
        (["a", "b"], [0, 2], 10, "found 2 at position 1"),
        (["a", "b"], [0, 1], 0, "at least 1"),
    ],
)
def test_patients_that_cannot_be_drawn(patients, labels, resamples, message):
    with pytest.raises(ValueError, match=message):
        draw_patients(patients, labels, resamples, seed=0)
