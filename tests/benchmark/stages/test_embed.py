"""Which caches the disk budget allows; the pass itself runs in test_pipeline.py and test_trial.py."""

import pytest

import backbones
from benchmark.config import Study
from benchmark.stages.embed import entry_shape, frozen_fronts, plan_cache

GIB = 2**30


def study_of(max_gib, views=4):
    return Study.model_validate(
        {
            "name": "x",
            "cohort": {"manifest": "x.csv"},
            "backbones": ["dinov2-vit-g14", "retfound-vit-l16"],
            "strategies": ["classifier_only", {"name": "partial", "blocks": 2}, "lora", "full"],
            "training": {"views": views},
            "embeddings": {"max_gib": max_gib},
        }
    )


@pytest.mark.parametrize("name", ["dinov2-tiny", "openclip-tiny", "retfound-tiny"])
def test_shapes_are_those_that_come_out(name):
    import torch

    tower = backbones.get(name).build()
    with torch.inference_mode():
        reached = backbones.encode_at(tower, torch.rand(1, 3, 224, 224), (2, 4))
    assert {block: tuple(values.shape[1:]) for block, values in reached.items()} == {
        block: entry_shape(name, block) for block in (2, 4)
    }


def test_strategies_that_train_the_whole_tower_have_no_cache():
    assert frozen_fronts(study_of(100), "dinov2-vit-g14") == [38, 40]


# 1,000 images, 700 of them for training with 4 views: 3,100 entries. RETFound's tokens take 197 * 1024 * 2 bytes an
# entry, 1.16 GiB together, DINOv2's 257 * 1536 * 2 bytes, 2.28 GiB; pooled features 16 MiB together.
@pytest.mark.parametrize(
    ("max_gib", "free", "dinov2", "retfound"),
    [
        (100, 100 * GIB, [40, 38], [24, 22]),
        (3.4, 100 * GIB, [40], [24, 22]),
        (3.5, 100 * GIB, [40, 38], [24, 22]),
        (1, 100 * GIB, [40], [24]),
        (100, 1.35 * GIB, [40], [24, 22]),
        (100, 1.25 * GIB, [40], [24]),
        (0, 100 * GIB, [], []),
    ],
)
def test_the_budget_takes_the_smallest_first(max_gib, free, dinov2, retfound):
    planned = plan_cache(study_of(max_gib), images=1000, train_images=700, free_bytes=free)
    assert planned == {"dinov2-vit-g14": dinov2, "retfound-vit-l16": retfound}
