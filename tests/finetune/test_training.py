"""The training loop learns, stops, keeps the best epoch, and comes out the same from cache or photographs."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score

import backbones
from finetune.inputs import Embeddings, Images, plan_views
from finetune.recipe import Recipe
from finetune.strategies import STRATEGIES, open_strategy
from finetune.training import Split, positive_score, predict_logits, train

CPU = torch.device("cpu")
N = 72
SPLIT = Split(train=np.arange(48), val=np.arange(48, N), labels=np.arange(N) % 2)
RECIPE = Recipe(epochs=12, batch_size=16, views=3)


def normalise(images):
    return (images - 0.5) / 0.25


@pytest.fixture(scope="module")
def photographs():
    """Noise; the positives brighter in the middle, which flips and rotations leave where it is."""
    generator = np.random.default_rng(0)
    pictures = generator.integers(60, 160, (N, 32, 32, 3))
    pictures[SPLIT.labels == 1, 8:24, 8:24] += 60
    return Images(pictures.astype(np.uint8), normalise, seed=0, device=CPU)


@pytest.fixture(scope="module")
def noise():
    """Features that say nothing of the label."""
    store = np.random.default_rng(1).normal(size=(N, 32)).astype(np.float16)
    return Embeddings(store, np.arange(N)[:, None], CPU)


@pytest.fixture(scope="module")
def constant():
    """The same features for every image, and one positive in eight."""
    labels = (np.arange(64) % 8 == 0).astype(int)
    split = Split(train=np.arange(32), val=np.arange(32, 64), labels=labels)
    return Embeddings(np.ones((64, 32), np.float16), np.arange(64)[:, None], CPU), split


def cached(photographs, tower, block, dtype):
    """What enters a block, for the views of the recipe."""
    entry = plan_views(N, SPLIT.train, RECIPE.views)
    rows, views = np.nonzero(entry >= 0)
    order = np.argsort(entry[rows, views])
    with torch.inference_mode():
        store = backbones.encode_until(tower, photographs.batch(rows[order], views[order]), block)
    return Embeddings(store.numpy().astype(dtype), entry, CPU)


def trained(tower, inputs, *, strategy="classifier_only", start=0, recipe=RECIPE, rate=5e-3, seed=0, split=SPLIT):
    module = open_strategy(strategy).apply(tower, seed)
    return module, train(module, tower, start, inputs, split, recipe, rate, seed)


def best_of(history):
    return max(history, key=lambda epoch: (epoch.val_auc, -epoch.val_loss))


def without_time(history):
    return [asdict(replace(epoch, seconds=0)) for epoch in history]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_learns(new_tower, photographs, strategy):
    tower = new_tower()
    module, history = trained(tower, photographs, strategy=strategy)
    assert max(epoch.val_auc for epoch in history) > 0.9
    assert history[-1].train_loss < history[0].train_loss
    assert not module.training


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_it_ends_with_the_weights_of_the_best_epoch(new_tower, photographs, strategy):
    """Labels are shuffled and the rate is high, so that the last epoch is not the best."""
    labels = np.random.default_rng(3).permutation(SPLIT.labels)
    split = replace(SPLIT, labels=labels)
    tower = new_tower()
    module, history = trained(tower, photographs, strategy=strategy, rate=2e-2, split=split)
    best = best_of(history)
    assert best.epoch < len(history)

    logits = predict_logits(module, tower, 0, photographs, split.val, batch_size=16)
    assert roc_auc_score(labels[split.val], positive_score(logits)) == pytest.approx(best.val_auc)
    weights = torch.tensor([0.5 / (labels[split.train] == label).mean() for label in (0, 1)]).float()
    loss = F.cross_entropy(logits, torch.from_numpy(labels[split.val]), weight=weights)
    assert loss.item() == pytest.approx(best.val_loss, abs=1e-5)


def test_it_stops_when_patience_is_over(new_tower, noise):
    """At a rate of zero no epoch betters the first."""
    recipe = replace(RECIPE, views=1, epochs=10, patience=3)
    _, history = trained(new_tower(), noise, start=3, recipe=recipe, rate=0.0)
    assert [epoch.epoch for epoch in history] == [1, 2, 3, 4]


def test_a_better_epoch_renews_patience(new_tower, constant):
    """The AUC stays at 1/2; at a low rate the loss falls epoch after epoch."""
    inputs, split = constant
    recipe = Recipe(epochs=15, batch_size=32, views=1, patience=1)
    _, history = trained(new_tower(), inputs, start=3, recipe=recipe, rate=1e-4, split=split)
    assert len(history) == 15
    assert {epoch.val_auc for epoch in history} == {0.5}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_same_seed_gives_the_same_training(new_tower, photographs, strategy):
    recipe = replace(RECIPE, epochs=2)
    runs = []
    for seed in (4, 4, 5):
        module, history = trained(new_tower(), photographs, strategy=strategy, recipe=recipe, seed=seed)
        runs.append((without_time(history), module.state_dict()))
        torch.rand(3)  # whatever else a process draws
    first, again, other = runs
    assert first[0] == again[0]
    assert all(torch.equal(first[1][key], again[1][key]) for key in first[1])
    assert first[0] != other[0]


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-4), (np.float16, 1e-2)])
@pytest.mark.parametrize("pooling", ["token", "avg"])
@pytest.mark.parametrize("strategy", ["classifier_only", "partial"])
def test_training_from_the_cache_equals_training_from_photographs(
    new_tower, photographs, strategy, pooling, dtype, tolerance
):
    recipe = replace(RECIPE, epochs=4)
    start = open_strategy(strategy).frozen_blocks(3)
    scores = []
    for from_cache in (False, True):
        tower = new_tower(global_pool=pooling).eval()
        inputs = cached(photographs, tower, start, dtype) if from_cache else photographs
        block = start if from_cache else 0
        module, history = trained(tower, inputs, strategy=strategy, start=block, recipe=recipe, rate=1e-3)
        scores.append(positive_score(predict_logits(module, tower, block, inputs, SPLIT.val, batch_size=24)))
    assert len(history) == 4
    assert np.std(scores[0]) > 0.01, "predictions that all agree would prove nothing"
    np.testing.assert_allclose(scores[1], scores[0], atol=tolerance)


def test_classes_weigh_the_same_whatever_their_number(new_tower, constant):
    """The fair score is 1/2, not the positives' share of one in eight."""
    inputs, split = constant
    recipe = Recipe(epochs=60, batch_size=32, views=1, patience=60)
    tower = new_tower()
    module, _ = trained(tower, inputs, start=3, recipe=recipe, rate=2e-2, split=split)
    scores = positive_score(predict_logits(module, tower, 3, inputs, split.val, batch_size=32))
    assert scores == pytest.approx(np.full(32, 0.5), abs=0.02)


def test_weight_decay_spares_norms_and_biases(new_tower, photographs):
    tower = new_tower()
    before = tower.blocks[0].attn.qkv.weight.norm().item()
    trained(tower, photographs, strategy="full", recipe=replace(RECIPE, epochs=1, weight_decay=50.0), rate=1e-3)
    assert tower.blocks[0].attn.qkv.weight.norm().item() < 0.95 * before
    assert tower.blocks[0].norm1.weight.min().item() > 0.98


def test_the_rate_warms_up_and_falls_as_a_cosine(new_tower, noise):
    recipe = replace(RECIPE, views=1, epochs=10, warmup=0.2, patience=10)
    _, history = trained(new_tower(), noise, start=3, recipe=recipe, rate=1e-3)
    rates = np.array([epoch.learning_rate for epoch in history])
    assert rates[0] < rates[1] == rates.max() == pytest.approx(1e-3)
    falling = 0.5e-3 * (1 + np.cos(np.pi * np.arange(9) / 8))
    assert rates[1:] == pytest.approx(falling)


def test_an_epoch_sees_every_photograph_once_in_a_new_order_and_validates_on_view_0(new_tower, noise):
    read = []

    class Recorded:
        def batch(self, rows, views):
            read.append((rows, views))
            return noise.batch(rows, np.zeros_like(views))

    recipe = Recipe(epochs=2, batch_size=20, views=3)
    trained(new_tower(), Recorded(), start=3, recipe=recipe)
    batches = [len(rows) for rows, _ in read]
    assert batches == [20, 20, 8, 20, 4] * 2
    orders = []
    for epoch in (read[:5], read[5:]):
        rows, views = (np.concatenate(part) for part in zip(*epoch, strict=True))
        np.testing.assert_array_equal(np.sort(rows[:48]), SPLIT.train)
        assert set(views[:48]) == {0, 1, 2}
        np.testing.assert_array_equal(rows[48:], SPLIT.val)
        assert not views[48:].any()
        orders.append(rows[:48].tolist())
    assert orders[0] != orders[1] != sorted(orders[1])


def test_every_epoch_is_told_as_it_ends(new_tower, noise):
    tower, told = new_tower(), []
    module = open_strategy("classifier_only").apply(tower)
    recipe = replace(RECIPE, views=1, epochs=3)
    history = train(module, tower, 3, noise, SPLIT, recipe, learning_rate=1e-3, seed=0, on_epoch=told.append)
    assert told == history
    assert [epoch.epoch for epoch in history] == [1, 2, 3]
    assert all(epoch.seconds > 0 for epoch in history)


def test_a_loss_that_is_no_number_ends_the_training(new_tower):
    inputs = Embeddings(np.full((N, 32), np.nan, np.float16), np.arange(N)[:, None], CPU)
    with pytest.raises(FloatingPointError, match=r"no longer finite in epoch 1; lower the learning rate"):
        trained(new_tower(), inputs, start=3, recipe=replace(RECIPE, views=1))


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_split_needs_both_classes(part):
    rows = {"train": np.arange(4), "val": np.arange(4), part: np.array([0, 2])}
    with pytest.raises(ValueError, match=rf"the {part} split needs images of both classes .* its labels are \[0\]"):
        Split(**rows, labels=np.array([0, 1, 0, 1]))


def test_predictions_do_not_depend_on_the_size_of_a_batch(new_tower, photographs):
    tower = new_tower()
    module = open_strategy("full").apply(tower)
    rows = np.array([5, 3, 70, 11, 0])
    together = predict_logits(module, tower, 0, photographs, rows, batch_size=5)
    assert together.shape == (5, 2)
    assert together.dtype == torch.float32
    torch.testing.assert_close(predict_logits(module, tower, 0, photographs, rows, 2), together, atol=1e-6, rtol=1e-5)


def test_the_score_is_the_probability_of_the_positive_class():
    logits = torch.tensor([[0.0, 0.0], [1.0, 3.0], [80.0, -80.0]])
    expected = [0.5, 1 / (1 + np.exp(-2)), np.exp(-160)]
    np.testing.assert_allclose(positive_score(logits), expected, rtol=1e-12)
