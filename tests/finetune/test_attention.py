"""Attention finds the eye that carries the signal, and every number of the network is that of its formula."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from finetune.attention import (
    AttentionRecipe,
    Bags,
    GatedAttention,
    attend,
    load_attention,
    save_attention,
    train_attention,
)

C = 12
RECIPE = AttentionRecipe(width=16, epochs=60, learning_rate=5e-3)


def planted(patients, seed):
    """2 to 6 images per patient, of which one, marked by feature 0, has the sign of the label in feature 1.

    In all other images feature 1 has the same size and a random sign, so that their mean hides the signal.
    """
    rng = np.random.default_rng(seed)
    counts = rng.integers(2, 7, patients)
    patient = np.repeat(np.arange(patients), counts)
    labels = rng.permutation(np.arange(patients) % 2)
    features = rng.normal(size=(len(patient), C))
    carrier = np.cumsum(counts) - counts + rng.integers(0, counts)
    features[:, 0] = 0.2 * features[:, 0]
    features[:, 1] = rng.choice([-2, 2], len(patient)) + 0.2 * features[:, 1]
    features[carrier, 0] += 3
    features[carrier, 1] = 2 * (2 * labels - 1) + rng.normal(size=patients)
    return features, patient, labels, carrier


@pytest.fixture(scope="module")
def trained():
    train, val = (planted(patients, seed) for patients, seed in ((300, 0), (100, 1)))
    return train_attention(Bags.of(*train[:2]), train[2], Bags.of(*val[:2]), val[2], RECIPE, seed=0)


def means(features, patient):
    return (
        np.stack([np.bincount(patient, weights=column) for column in features.T], axis=1)
        / np.bincount(patient)[:, None]
    )


def test_attention_finds_the_eye_that_carries_the_signal(trained):
    features, patient, labels, carrier = planted(200, seed=2)
    scores, weights = attend(trained.network, Bags.of(features, patient))
    train = planted(300, seed=0)
    of_means = LogisticRegression().fit(means(*train[:2]), train[2]).decision_function(means(features, patient))
    assert roc_auc_score(labels, scores) > 0.95 > 0.85 > roc_auc_score(labels, of_means)
    assert weights[carrier].mean() > 0.9
    assert np.bincount(patient, weights=weights) == pytest.approx(1, abs=1e-6)


def test_before_training_every_image_has_the_same_weight():
    features, patient, *_ = planted(20, seed=0)
    _, weights = attend(GatedAttention(C, 8), Bags.of(features, patient))
    assert weights == pytest.approx(1 / np.bincount(patient)[patient], abs=1e-6)


def test_the_network_is_the_formula_of_ilse_et_al(trained):
    """Equation 9, image by image, in NumPy."""
    features, patient, *_ = planted(15, seed=4)
    state = {name: value.double().numpy() for name, value in trained.network.state_dict().items()}
    scores, weights = attend(trained.network, Bags.of(features, patient))
    h = (features - state["mean"]) / state["scale"]
    value = np.tanh(h @ state["value.weight"].T + state["value.bias"])
    gate = 1 / (1 + np.exp(-(h @ state["gate.weight"].T + state["gate.bias"])))
    raw = np.exp((value * gate) @ state["weight.weight"][0])
    expected = raw / np.bincount(patient, weights=raw)[patient]
    assert weights == pytest.approx(expected, abs=1e-5)
    pooled = np.stack([np.bincount(patient, weights=expected * column) for column in h.T], axis=1)
    logits = pooled @ state["classifier.weight"][0] + state["classifier.bias"][0]
    assert scores == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-5)


def test_the_same_seed_gives_the_same_network_and_leaves_random_numbers_alone(trained):
    train, val = (planted(patients, seed) for patients, seed in ((300, 0), (100, 1)))
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    again, other = (
        train_attention(Bags.of(*train[:2]), train[2], Bags.of(*val[:2]), val[2], RECIPE, seed) for seed in (0, 1)
    )
    assert torch.equal(before, torch.random.get_rng_state())
    states = [each.network.state_dict() for each in (trained, again, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["value.weight"], states[2]["value.weight"])
    assert (again.best_epoch, again.val_auc) == (trained.best_epoch, trained.val_auc)


def test_the_weights_of_the_best_epoch_are_kept():
    """Labels are noise, so the validation AUC soon falls."""
    rng = np.random.default_rng(3)
    (features, patient, labels, _), (others, of_other, _, _) = planted(60, seed=5), planted(40, seed=6)
    val_labels = rng.permutation(np.arange(40) % 2)
    val, recipe = Bags.of(others, of_other), AttentionRecipe(width=8, epochs=40, learning_rate=0.02, patience=5)
    found = train_attention(Bags.of(features, patient), rng.permutation(labels), val, val_labels, recipe, seed=0)
    assert found.best_epoch <= 35
    assert roc_auc_score(val_labels, attend(found.network, val)[0]) == pytest.approx(found.val_auc)


def test_balanced_classes_shift_scores_up_where_positives_are_rare():
    features, patient, labels, _ = planted(200, seed=7)
    rare = labels * (np.arange(200) % 5 == 0)
    bags = Bags.of(features, patient)
    recipes = [AttentionRecipe(8, 40, learning_rate=0.01, balanced=balanced) for balanced in (True, False)]
    found = [train_attention(bags, rare, bags, rare, recipe, seed=0).network for recipe in recipes]
    balanced, plain = (attend(network, bags)[0].mean() for network in found)
    assert balanced > plain + 0.05


@given(st.lists(st.integers(1, 4), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_images_and_the_other_patients_do_not_matter(counts, random):
    generator = torch.Generator().manual_seed(0)
    network = GatedAttention(3, 4)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    patient = np.repeat(np.arange(len(counts)), counts)
    features = torch.randn(len(patient), 3, generator=generator).numpy()
    scores, weights = attend(network, Bags.of(features, patient), batch=3)
    order = np.array(random.sample(range(len(patient)), len(patient)))
    shuffled, of_shuffled = attend(network, Bags.of(features[order], patient[order]))
    assert shuffled == pytest.approx(scores, abs=1e-6)
    assert of_shuffled == pytest.approx(weights[order], abs=1e-6)
    alone, _ = attend(network, Bags.of(features[patient == 0], patient[patient == 0]))
    assert alone[0] == pytest.approx(scores[0], abs=1e-6)


def test_a_constant_feature_is_harmless():
    features, patient, labels, _ = planted(40, seed=8)
    features[:, 5] = 7.0
    bags = Bags.of(features, patient)
    found = train_attention(bags, labels, bags, labels, AttentionRecipe(8, 3), seed=0)
    assert np.isfinite(attend(found.network, bags)[0]).all()


def test_saved_and_loaded_it_is_the_same(trained, tmp_path):
    features, patient, *_ = planted(10, seed=9)
    bags, file = Bags.of(features, patient), tmp_path / "attention.safetensors"
    save_attention(trained, file, backbone="dinov2-tiny")
    loaded = load_attention(file, backbone="dinov2-tiny")
    assert attend(loaded.network, bags)[0].tolist() == attend(trained.network, bags)[0].tolist()
    assert (loaded.best_epoch, loaded.val_auc) == (trained.best_epoch, trained.val_auc)
    with pytest.raises(ValueError, match="trained on backbone dinov2-tiny, not on openclip-tiny"):
        load_attention(file, backbone="openclip-tiny")


@pytest.mark.parametrize("labels", [(0, 0, 0, 0), (1, 1, 1, 1)])
def test_one_class_is_refused(labels):
    bags, both = Bags.of(np.random.default_rng(0).normal(size=(4, 3)), np.arange(4)), np.arange(4) % 2
    with pytest.raises(ValueError, match="attention needs training patients of both classes"):
        train_attention(bags, np.array(labels), bags, both, RECIPE, seed=0)
    with pytest.raises(ValueError, match="attention needs validation patients of both classes"):
        train_attention(bags, both, bags, np.array(labels), RECIPE, seed=0)


def test_bad_features_are_refused():
    with pytest.raises(ValueError, match="features of image 1 are not finite"):
        Bags.of(np.array([[0.0], [np.inf]]), np.arange(2))
    with pytest.raises(ValueError, match="features has 2 images, patient has 3"):
        Bags.of(np.zeros((2, 3)), np.arange(3))
