"""Which caches fit into the disk budget, and what is read from them."""

import pytest

import backbones
from benchmark.study.config import Study
from benchmark.study.trials import trials_of
from benchmark.trial.cache import CachePlan, entry_shape, explained_from, frozen_fronts, plan_cache, trains_from_images

GIB = 2**30


def study_of(max_gib, partial=2, **changes):
    return Study.model_validate(
        {
            "name": "x",
            "cohort": {"manifest": "x.csv"},
            "backbones": ["dinov2-vit-g14", "retfound-vit-l16"],
            "strategies": ["classifier_only", {"name": "partial", "blocks": partial}, "lora", "full"],
            "training": {"views": 4},
            "embeddings": {"max_gib": max_gib},
        }
        | changes
    )


def plan(study, free=100 * GIB):
    return plan_cache(study, images=1000, train_images=700, test_images=200, free_bytes=free)


@pytest.mark.parametrize("name", ["dinov2-tiny", "openclip-tiny", "retfound-tiny"])
def test_shapes_are_those_that_come_out(name):
    import torch

    model = backbones.get(name).build()
    with torch.inference_mode():
        reached = backbones.encode_at(model, torch.rand(1, 3, 224, 224), (2, 4))
    assert {block: tuple(values.shape[1:]) for block, values in reached.items()} == {
        block: entry_shape(name, block) for block in (2, 4)
    }


def test_strategies_that_train_the_whole_model_have_no_cache():
    assert frozen_fronts(study_of(100), "dinov2-vit-g14") == [38, 40]


# 1,000 images, 700 of them for training with 4 views: 3,100 entries. RETFound's tokens take 197 * 1024 * 2 bytes per
# entry, 1.16 GiB together, DINOv2's 257 * 1536 * 2 bytes, 2.28 GiB; pooled features 16 MiB together. Those of the 200
# test images, entering the last block, take 0.075 and 0.147 GiB.
@pytest.mark.parametrize(
    ("max_gib", "free", "dinov2", "retfound", "dinov2_test", "retfound_test"),
    [
        (100, 100 * GIB, [40, 38], [24, 22], [39], [23]),
        (3.4, 100 * GIB, [40], [24, 22], [39], [23]),
        (3.5, 100 * GIB, [40, 38], [24, 22], [], []),
        (3.6, 100 * GIB, [40, 38], [24, 22], [], [23]),
        (1, 100 * GIB, [40], [24], [39], [23]),
        (0.1, 100 * GIB, [40], [24], [], [23]),
        (100, 1.35 * GIB, [40], [24, 22], [], []),
        (100, 1.25 * GIB, [40], [24], [39], [23]),
        (0, 100 * GIB, [], [], [], []),
    ],
)
def test_the_budget_takes_training_first_and_of_it_the_smallest(
    max_gib, free, dinov2, retfound, dinov2_test, retfound_test
):
    found = plan(study_of(max_gib), free)
    assert found.every == {"dinov2-vit-g14": dinov2, "retfound-vit-l16": retfound}
    assert found.test == {"dinov2-vit-g14": dinov2_test, "retfound-vit-l16": retfound_test}


@pytest.mark.parametrize(
    ("strategies", "explain", "every", "test"),
    [
        (["classifier_only"], {}, [24], [23]),
        (["classifier_only"], {"block": 5}, [24], [5]),
        (["classifier_only"], {"method": "rollout"}, [24], []),
        (["classifier_only"], {"block": 0}, [24], []),
        ([{"name": "partial", "blocks": 1}], {}, [23], []),
        ([{"name": "partial", "blocks": 2}], {}, [22], []),
        ([{"name": "partial", "blocks": 2}], {"block": 5}, [22], [5]),
        ([{"name": "partial", "blocks": 2}, "classifier_only"], {"block": -2}, [24, 22], []),
        (["lora", "full"], {}, [], []),
    ],
)
def test_an_explanation_has_the_test_images_kept_where_some_trial_left_the_front_as_it_was(
    strategies, explain, every, test
):
    study = study_of(100, backbones=["retfound-vit-l16"], strategies=strategies, explain=explain)
    assert plan(study) == CachePlan({"retfound-vit-l16": every}, {"retfound-vit-l16": test})


def test_the_test_images_alone_may_fit_where_all_do_not():
    """0.075 GiB against 1.16."""
    study = study_of(0.1, backbones=["retfound-vit-l16"], strategies=[{"name": "partial", "blocks": 1}])
    found = plan(study)
    assert found == CachePlan({"retfound-vit-l16": []}, {"retfound-vit-l16": [23]})
    (trial,) = trials_of(study)
    assert trains_from_images(trial, found)
    assert explained_from(study, trial, found.blocks("retfound-vit-l16")) == 23


@pytest.mark.parametrize(
    ("strategy", "explain", "cached", "begin"),
    [
        ("classifier_only", {}, [22, 23, 24], 23),
        ("classifier_only", {}, [22, 24], 22),
        ("classifier_only", {}, [24], 0),
        ("classifier_only", {"block": 5}, [22, 23, 24], 0),
        ("classifier_only", {"method": "rollout"}, [22, 23, 24], 0),
        ("classifier_only", {"method": "input_gradient"}, [22, 23, 24], 0),
        ("partial", {}, [22, 23, 24], 22),
        ("partial", {}, [23, 24], 0),
        ("partial", {"block": 5}, [5, 22, 23], 5),
        ("lora", {}, [22, 23, 24], 0),
        ("full", {}, [22, 23, 24], 0),
    ],
)
def test_where_an_explanation_starts(strategy, explain, cached, begin):
    """Never after the first trained block, never after the method's first block."""
    study = study_of(100, backbones=["retfound-vit-l16"], explain=explain)
    (trial,) = (trial for trial in trials_of(study) if trial.strategy.name == strategy)
    assert explained_from(study, trial, cached) == begin
