"""The training loop learns, stops, keeps the best epoch, and gives the same result from a cache and from images."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score

import backbones
from finetune.inputs import Embeddings, FrozenFront, Images, plan_views
from finetune.prepared import Prepared
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
def images():
    """Noise, with positives brighter in the middle, which flips and rotations do not move."""
    generator = np.random.default_rng(0)
    pictures = generator.integers(60, 160, (N, 32, 32, 3))
    pictures[SPLIT.labels == 1, 8:24, 8:24] += 60
    return Images(pictures.astype(np.uint8), normalise, seed=0, device=CPU)


@pytest.fixture(scope="module")
def noise():
    """Features that are independent of the label."""
    store = torch.randn(N, 32, generator=torch.Generator().manual_seed(1))
    return Embeddings(store, np.arange(N)[:, None], CPU)


@pytest.fixture(scope="module")
def constant():
    """The same features for every image, and one positive in eight."""
    labels = (np.arange(64) % 8 == 0).astype(int)
    split = Split(train=np.arange(32), val=np.arange(32, 64), labels=labels)
    return Embeddings(torch.ones(64, 32), np.arange(64)[:, None], CPU), split


def cached(images, model, block, dtype, folder):
    """The inputs of a block for the views of the recipe, written to disk."""
    entry = plan_views(N, SPLIT.train, RECIPE.views)
    rows, views = np.nonzero(entry >= 0)
    order = np.argsort(entry[rows, views])
    with torch.inference_mode():
        store = backbones.encode_until(model, images.batch(rows[order], views[order]), block).to(dtype)
    np.save(folder / "block.npy", (store.view(torch.int16) if dtype == torch.bfloat16 else store).numpy())
    return Embeddings.open(folder / "block.npy", entry, dtype, CPU)


def trained(model, inputs, *, strategy="classifier_only", start=0, recipe=RECIPE, rate=5e-3, seed=0, split=SPLIT):
    module = open_strategy(strategy).apply(model, seed)
    return module, train(Prepared(module, model, start), inputs, split, recipe, rate, seed)


def best_of(history):
    return max(history, key=lambda epoch: (epoch.val_auc, -epoch.val_loss))


def without_time(history):
    return [asdict(replace(epoch, seconds=0)) for epoch in history]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_learns(new_model, images, strategy):
    model = new_model()
    module, history = trained(model, images, strategy=strategy)
    assert max(epoch.val_auc for epoch in history) > 0.9
    assert history[-1].train_loss < history[0].train_loss
    assert not module.training


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_it_ends_with_the_weights_of_the_best_epoch(new_model, images, strategy):
    """Labels are shuffled and the rate is high, so that the last epoch is not the best."""
    labels = np.random.default_rng(3).permutation(SPLIT.labels)
    split = replace(SPLIT, labels=labels)
    model = new_model()
    module, history = trained(model, images, strategy=strategy, rate=2e-2, split=split)
    best = best_of(history)
    assert best.epoch < len(history)

    logits = predict_logits(Prepared(module, model, 0), images, split.val, batch_size=16)
    assert roc_auc_score(labels[split.val], positive_score(logits)) == pytest.approx(best.val_auc)
    weights = torch.tensor([0.5 / (labels[split.train] == label).mean() for label in (0, 1)]).float()
    loss = F.cross_entropy(logits, torch.from_numpy(labels[split.val]), weight=weights)
    assert loss.item() == pytest.approx(best.val_loss, abs=1e-5)


def test_it_stops_when_patience_is_over(new_model, noise):
    """With a learning rate of 0 no epoch is better than the first."""
    recipe = replace(RECIPE, views=1, epochs=10, patience=3)
    _, history = trained(new_model(), noise, start=3, recipe=recipe, rate=0.0)
    assert [epoch.epoch for epoch in history] == [1, 2, 3, 4]


def test_a_better_epoch_renews_patience(new_model, constant):
    """The AUC stays at 1/2, and with a low learning rate the loss falls in each epoch."""
    inputs, split = constant
    recipe = Recipe(epochs=15, batch_size=32, views=1, patience=1)
    _, history = trained(new_model(), inputs, start=3, recipe=recipe, rate=1e-4, split=split)
    assert len(history) == 15
    assert {epoch.val_auc for epoch in history} == {0.5}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_same_seed_gives_the_same_training(new_model, images, strategy):
    recipe = replace(RECIPE, epochs=2)
    runs = []
    for seed in (4, 4, 5):
        module, history = trained(new_model(), images, strategy=strategy, recipe=recipe, seed=seed)
        runs.append((without_time(history), module.state_dict()))
        torch.rand(3)  # other random numbers in the process
    first, again, other = runs
    assert first[0] == again[0]
    assert all(torch.equal(first[1][key], again[1][key]) for key in first[1])
    assert first[0] != other[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("pooling", ["token", "avg"])
@pytest.mark.parametrize("strategy", ["classifier_only", "partial"])
def test_training_from_the_cache_equals_training_from_images(new_model, images, strategy, pooling, dtype, tmp_path):
    recipe = replace(RECIPE, epochs=6)
    start = open_strategy(strategy).frozen_blocks(3)
    scores = []
    for from_cache in (False, True):
        model = new_model(global_pool=pooling).eval()
        if from_cache:
            inputs = cached(images, model, start, dtype, tmp_path)
        else:
            inputs = FrozenFront(images, model, start, dtype)
        module, history = trained(model, inputs, strategy=strategy, start=start, recipe=recipe, rate=1e-3)
        scores.append(positive_score(predict_logits(Prepared(module, model, start), inputs, SPLIT.val, batch_size=24)))
    assert len(history) == 6
    assert np.std(scores[0]) > 0.01, "predictions that all agree would prove nothing"
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-4)


@pytest.mark.parametrize(("micro_batch", "checkpointing"), [(5, False), (1, False), (16, True), (7, True)])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_neither_accumulation_nor_checkpointing_changes_the_result(
    new_model, images, strategy, micro_batch, checkpointing
):
    """Classes are unequal, so a mean of the micro-batches' means would not be the mean of the batch."""
    split = replace(SPLIT, labels=(np.arange(N) % 5 == 0).astype(int))
    whole = replace(RECIPE, epochs=2)
    pieces = replace(whole, micro_batch=micro_batch, checkpointing=checkpointing)
    states, losses = [], []
    for recipe in (whole, pieces):
        module, history = trained(new_model(), images, strategy=strategy, recipe=recipe, rate=1e-3, split=split)
        states.append(module.state_dict())
        losses.append([epoch.train_loss for epoch in history])
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    for key, value in states[0].items():
        torch.testing.assert_close(states[1][key], value, atol=2e-4, rtol=1e-3)


class Cramped:
    """Inputs on a device with memory for `room` images, or four times as many with checkpointing."""

    def __init__(self, inputs, room):
        self.inputs, self.room, self.sizes = inputs, room, []

    def batch(self, rows, views):
        self.sizes.append(len(rows))
        if len(rows) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has none")
        return self.inputs.batch(rows, views)


def test_running_out_of_memory_halves_the_batch_and_changes_nothing_else(new_model, images):
    recipe = replace(RECIPE, epochs=2)
    module, history = trained(new_model(), images, strategy="full", recipe=recipe, rate=1e-3)
    cramped = Cramped(images, room=3)
    other, reported = trained(new_model(), cramped, strategy="full", recipe=recipe, rate=1e-3)
    assert cramped.sizes[:5] == [16, 8, 8, 4, 2], "at 8, gradient checkpointing is tried before 4"
    assert {epoch.micro_batch for epoch in reported} == {2}
    assert all(epoch.checkpointing for epoch in reported)
    assert [epoch.train_loss for epoch in reported] == pytest.approx([epoch.train_loss for epoch in history], abs=1e-5)
    for key, value in module.state_dict().items():
        torch.testing.assert_close(other.state_dict()[key], value, atol=2e-4, rtol=1e-3)


def test_if_a_single_image_does_not_fit_the_message_names_the_fix(new_model, images):
    with pytest.raises(torch.OutOfMemoryError, match=r"one image at a time .* use a larger GPU, a smaller backbone"):
        trained(new_model(), Cramped(images, room=0), strategy="full")


def test_sampling_draws_both_classes_equally_often(new_model, noise):
    read = []

    class Recorded:
        def batch(self, rows, views):
            read.extend(rows.tolist())
            return noise.batch(rows, np.zeros_like(views))

    labels = (np.arange(N) % 6 == 0).astype(int)
    recipe = Recipe(epochs=40, batch_size=48, views=1, patience=40, balance="sampling")
    trained(new_model(), Recorded(), start=3, recipe=recipe, split=replace(SPLIT, labels=labels))
    drawn = np.array(read)
    drawn = drawn[drawn < 48]
    assert len(drawn) == 40 * 48
    assert labels[drawn].mean() == pytest.approx(0.5, abs=0.05)
    assert set(drawn) == set(range(48)), "every image comes up in time"


def test_without_balance_the_score_is_the_share_of_positives(new_model, constant):
    inputs, split = constant
    recipe = Recipe(epochs=60, batch_size=32, views=1, patience=60, balance="none")
    model = new_model()
    module, _ = trained(model, inputs, start=3, recipe=recipe, rate=2e-2, split=split)
    scores = positive_score(predict_logits(Prepared(module, model, 3), inputs, split.val, batch_size=32))
    assert scores == pytest.approx(np.full(32, 1 / 8), abs=0.02)


def test_earlier_blocks_move_less_by_the_layer_decay(new_model, images):
    """AdamW's first step has the size of the learning rate, whatever the gradient."""
    model = new_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    module = open_strategy("full").apply(model)
    recipe = Recipe(epochs=1, batch_size=48, views=1, warmup=0, weight_decay=0)
    train(Prepared(module, model, 0), images, SPLIT, recipe, learning_rate=1e-3, seed=0, layer_decay=0.5)
    moved = {name: (value - before[name]).abs().max().item() for name, value in model.state_dict().items()}
    expected = {"head.weight": 1, "blocks.2.mlp.fc1.weight": 1 / 2, "blocks.1.mlp.fc1.weight": 1 / 4,
                "blocks.0.mlp.fc1.weight": 1 / 8, "patch_embed.proj.weight": 1 / 16, "pos_embed": 1 / 16}  # fmt: skip
    assert {name: moved[name] / 1e-3 for name in expected} == pytest.approx(expected, rel=0.02)


def test_the_global_random_state_is_left_alone(new_model, noise):
    before = torch.get_rng_state()
    trained(new_model(), noise, start=3, recipe=replace(RECIPE, views=1, epochs=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_frozen_in_front_does_not_drop_out(new_model, images):
    """Its output is the content of a cache, so it must be the same in every epoch."""
    model, modes = new_model(proj_drop_rate=0.5), []
    model.blocks[1].register_forward_hook(lambda block, *_: modes.append(block.training))
    inputs = FrozenFront(images, model, 2, torch.float16)
    trained(model, inputs, strategy="partial", start=2, recipe=replace(RECIPE, epochs=1))
    assert modes
    assert not any(modes)


def test_classes_weigh_the_same_whatever_their_number(new_model, constant):
    """The score must be 1/2, not the share of positives (one in eight)."""
    inputs, split = constant
    recipe = Recipe(epochs=60, batch_size=32, views=1, patience=60)
    model = new_model()
    module, _ = trained(model, inputs, start=3, recipe=recipe, rate=2e-2, split=split)
    scores = positive_score(predict_logits(Prepared(module, model, 3), inputs, split.val, batch_size=32))
    assert scores == pytest.approx(np.full(32, 0.5), abs=0.02)


def test_weight_decay_spares_norms_biases_and_embeddings(new_model, images):
    model = new_model()
    before = model.blocks[0].attn.qkv.weight.norm().item()
    embedded = model.pos_embed.norm().item()
    trained(model, images, strategy="full", recipe=replace(RECIPE, epochs=1, weight_decay=50.0), rate=1e-3)
    assert model.blocks[0].attn.qkv.weight.norm().item() < 0.95 * before
    assert model.blocks[0].norm1.weight.min().item() > 0.98
    assert model.pos_embed.norm().item() == pytest.approx(embedded, rel=0.02)


def test_the_rate_warms_up_and_falls_as_a_cosine(new_model, noise):
    recipe = replace(RECIPE, views=1, epochs=10, warmup=0.2, patience=10)
    _, history = trained(new_model(), noise, start=3, recipe=recipe, rate=1e-3)
    rates = np.array([epoch.learning_rate for epoch in history])
    assert rates[0] < rates[1] == rates.max() == pytest.approx(1e-3)
    falling = 0.5e-3 * (1 + np.cos(np.pi * np.arange(9) / 8))
    assert rates[1:] == pytest.approx(falling)


def test_an_epoch_sees_every_image_once_in_a_new_order_and_validates_on_view_0(new_model, noise):
    read = []

    class Recorded:
        def batch(self, rows, views):
            read.append((rows, views))
            return noise.batch(rows, np.zeros_like(views))

    recipe = Recipe(epochs=2, batch_size=20, views=3)
    trained(new_model(), Recorded(), start=3, recipe=recipe)
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


def test_every_epoch_is_reported_when_it_ends(new_model, noise):
    model, reported = new_model(), []
    module = open_strategy("classifier_only").apply(model)
    recipe = replace(RECIPE, views=1, epochs=3)
    history = train(
        Prepared(module, model, 3), noise, SPLIT, recipe, learning_rate=1e-3, seed=0, on_epoch=reported.append
    )
    assert reported == history
    assert [epoch.epoch for epoch in history] == [1, 2, 3]
    assert all(epoch.seconds > 0 for epoch in history)


def test_a_loss_that_is_not_finite_ends_the_training(new_model):
    inputs = Embeddings(torch.full((N, 32), torch.nan), np.arange(N)[:, None], CPU)
    with pytest.raises(FloatingPointError, match=r"no longer finite in epoch 1; lower the learning rate"):
        trained(new_model(), inputs, start=3, recipe=replace(RECIPE, views=1))


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_split_needs_both_classes(part):
    rows = {"train": np.arange(4), "val": np.arange(4), part: np.array([0, 2])}
    with pytest.raises(ValueError, match=rf"the {part} split needs images of both classes .* its labels are \[0\]"):
        Split(**rows, labels=np.array([0, 1, 0, 1]))


def test_predictions_do_not_depend_on_the_size_of_a_batch(new_model, images):
    model = new_model()
    module = open_strategy("full").apply(model)
    rows = np.array([5, 3, 70, 11, 0])
    together = predict_logits(Prepared(module, model, 0), images, rows, batch_size=5)
    assert together.shape == (5, 2)
    assert together.dtype == torch.float32
    torch.testing.assert_close(
        predict_logits(Prepared(module, model, 0), images, rows, 2), together, atol=1e-6, rtol=1e-5
    )


def test_the_score_is_the_probability_of_the_positive_class():
    logits = torch.tensor([[0.0, 0.0], [1.0, 3.0], [80.0, -80.0]])
    expected = [0.5, 1 / (1 + np.exp(-2)), np.exp(-160)]
    np.testing.assert_allclose(positive_score(logits), expected, rtol=1e-12)
