"""Seconds per epoch: this project's training compared with a plain timm + PEFT loop without caches.

    python -m tests.speed.epochs [--images 160] [--epochs 3] [--model vit_small_patch16_224] [--strategies lora]

Both loops train the same model (random weights) on the same images, already cropped and in memory, with AdamW, the same
batch size and the same kind of augmentation, and validate after every epoch. They take turns, strategy by strategy; the
table gives medians and, in brackets, the range.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import peft
import timm
import torch
from sklearn.metrics import roc_auc_score
from torchvision.transforms import v2

import backbones
from finetune.inputs import Embeddings, Images, plan_views
from finetune.prepared import Prepared
from finetune.recipe import Recipe
from finetune.strategies import open_strategy
from finetune.training import Split, train

STRATEGIES = ("classifier_only", "partial", "lora", "full")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def plain_epochs(architecture, strategy, pictures, split, normalise, batch_size):
    """A plain training loop: every image passes through the whole model in every epoch; yields seconds."""
    model = timm.create_model(architecture, num_classes=2)
    if strategy == "lora":
        targets = open_strategy("lora").targets
        model = peft.get_peft_model(
            model, peft.LoraConfig(r=8, lora_alpha=16, target_modules=targets, modules_to_save=["head"])
        )
    elif strategy != "full":
        model.requires_grad_(False)
        for part in (model.head, *((*model.blocks[-2:], model.norm) if strategy == "partial" else ())):
            part.requires_grad_(True)
    model = model.to(DEVICE)
    augmenting = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomRotation(15), v2.ColorJitter(0.15, 0.15)])
    scaled = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Lambda(lambda one: normalise(one[None])[0])])
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2)

    def loader(rows, transform, shuffle):
        data = [(transform, pixels[row], int(split.labels[row])) for row in rows]
        collate = lambda items: (torch.stack([change(one) for change, one, _ in items]),  # noqa: E731
                                 torch.tensor([label for *_, label in items]))  # fmt: skip
        return torch.utils.data.DataLoader(data, batch_size=batch_size, shuffle=shuffle, collate_fn=collate)

    training = loader(split.train, v2.Compose([augmenting, scaled]), shuffle=True)
    validation = loader(split.val, scaled, shuffle=False)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    while True:
        began = time.perf_counter()
        model.train()
        for images, labels in training:
            with backbones.autocast(DEVICE):
                loss = torch.nn.functional.cross_entropy(model(images.to(DEVICE)).float(), labels.to(DEVICE))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.inference_mode(), backbones.autocast(DEVICE):
            logits = torch.cat([model(images.to(DEVICE)).float().cpu() for images, _ in validation])
        roc_auc_score(split.labels[split.val], logits.softmax(1)[:, 1].double())
        yield time.perf_counter() - began


def own_epochs(backbone, strategy, images, split, batch_size, folder):
    """This project's training: yields the seconds of the pass that fills the cache (0 without), then of each epoch."""
    chosen = open_strategy(strategy)
    start, recipe = chosen.frozen_blocks(backbone.depth), Recipe(batch_size=batch_size, views=4)
    inputs, passed = images, 0.0
    if start:
        model, began = backbone.build().to(DEVICE), time.perf_counter()
        entry = plan_views(len(images.store), split.train, recipe.views)
        rows, views = np.nonzero(entry >= 0)
        with torch.inference_mode(), backbones.autocast(DEVICE):
            parts = [
                backbones.encode_until(model, images.batch(rows[i : i + 32], views[i : i + 32]), start).half().cpu()
                for i in range(0, len(rows), 32)
            ]
        store = torch.empty((len(rows), *parts[0].shape[1:]), dtype=torch.float16)
        store[torch.from_numpy(entry[rows, views])] = torch.cat(parts)
        np.save(folder / "block.npy", store.numpy())
        inputs = Embeddings.open(folder / "block.npy", entry, torch.float16, DEVICE)
        passed = time.perf_counter() - began
    yield passed
    while True:
        model = backbone.build().to(DEVICE)
        backbones.attach_classifier(model, classes=2, seed=0)
        module = chosen.apply(model.to(DEVICE)).to(DEVICE)
        # An epoch of milliseconds is the median of several, because the first also sets up the optimizer.
        epochs = 15 if start == backbone.depth else 1
        repeated = replace(recipe, epochs=epochs, patience=epochs)
        history = train(Prepared(module, model, start), inputs, split, repeated, 1e-4, 0, chosen.layer_decay)
        yield statistics.median(epoch.seconds for epoch in history)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="vit_small_patch16_224")
    options.add_argument("--images", type=int, default=160)
    options.add_argument("--epochs", type=int, default=3)
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--strategies", nargs="+", default=STRATEGIES)
    chosen = options.parse_args()

    backbone = replace(backbones.get(f"timm:{chosen.model}"), weights=None)
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (chosen.images, 224, 224, 3), dtype=np.uint8)
    labels = np.arange(chosen.images) % 2
    split = Split(np.arange(chosen.images * 4 // 5), np.arange(chosen.images * 4 // 5, chosen.images), labels)
    images = Images(pictures, backbone.normalise, seed=0, device=DEVICE)

    print(f"{chosen.model}, {len(split.train)} + {len(split.val)} images, batch {chosen.batch}, {DEVICE}, "
          f"{torch.get_num_threads()} threads, torch {torch.__version__}")  # fmt: skip
    print(f"{'strategy':16} {'plain loop s/epoch':>26} {'here s/epoch':>30} {'times':>8} {'one pass s':>11}")
    with tempfile.TemporaryDirectory() as folder:
        for strategy in chosen.strategies:
            by_hand = plain_epochs(chosen.model, strategy, pictures, split, backbone.normalise, chosen.batch)
            here = own_epochs(backbone, strategy, images, split, chosen.batch, Path(folder))
            passed = next(here)
            next(by_hand), next(here)  # warm up
            plain, own = zip(*((next(by_hand), next(here)) for _ in range(chosen.epochs)), strict=True)
            ratio = statistics.median(plain) / statistics.median(own)
            print(f"{strategy:16} {_spread(plain):>26} {_spread(own):>30} {ratio:8.2f} {passed:11.1f}", flush=True)


def _spread(seconds):
    return f"{statistics.median(seconds):.4g} ({min(seconds):.4g}-{max(seconds):.4g})"


if __name__ == "__main__":
    main()
