"""Label-free pre-training of a tiny tower, for the planted-truth study: `docs/planted-truth.md`.

    python -m tests.planted.pretrain retfound-tiny runs/retfound-tiny.safetensors

From each patch's token a linear reader predicts how much fine contrast the patch holds. Photographs are synthetic, of
another seed than the studies', one half with either signal; no label is used.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torchvision.transforms.functional import gaussian_blur

import backbones
from benchmark.photos import IMAGE_SIZE
from benchmark.synthetic import SyntheticCohort, draw_eye, plan
from benchmark.synthetic.cohort import Signal
from xai.crop import crop_photo, square_around

SIGNALS: tuple[Signal, ...] = ("vessels", "periphery")
PEOPLE, STEPS, BATCH, RATE = 200, 300, 16, 1.5e-3


def photographs() -> Iterator[np.ndarray]:
    """Crops (224, 224, 3) uint8."""
    for signal in SIGNALS:
        cohort = SyntheticCohort(PEOPLE, 320, signal, best_auc=0.999, low_quality=0, seed=1000)
        for row in plan(cohort):
            eye = draw_eye(cohort, row["patient_id"], row["eye"], row["severity"], low_quality=False)
            yield crop_photo(eye.rgb, square_around(eye.fov), IMAGE_SIZE)


def contrast(images: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """(B, 8, *grid): log mean of either sign of two differences of Gaussians, red and green, of images in 0..1."""
    bands, fine = [], images[:, :2]
    for sigma in (1.0, 2.0):
        coarse = gaussian_blur(images[:, :2], 13, sigma)
        bands += [(fine - coarse).clamp(min=0), (coarse - fine).clamp(min=0)]
        fine = coarse
    return F.adaptive_avg_pool2d(torch.cat(bands, 1), grid).clamp(min=1e-4).log()


def main(name: str, path: Path) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)  # the same weights on every machine with the same build of torch
    images = np.stack(list(photographs()))
    backbone = backbones.get(name)
    tower = backbone.build().train()
    grid = tower.patch_embed.grid_size
    reader = torch.nn.Sequential(torch.nn.LayerNorm(tower.embed_dim), torch.nn.Linear(tower.embed_dim, 8))
    optimizer = torch.optim.AdamW([*tower.parameters(), *reader.parameters()], RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, STEPS, pct_start=0.1)
    mean = std = torch.zeros(8)
    for step in range(STEPS):
        rows = torch.randint(len(images), (BATCH,)).numpy()
        batch = torch.from_numpy(images[rows]).permute(0, 3, 1, 2) / 255
        # Patches at the rim are left out: its contrast, the strongest of all, is the camera's.
        inside = F.adaptive_avg_pool2d((batch.amax(1, keepdim=True) > 0.15).float(), grid)[:, 0] > 0.95
        target = contrast(batch, grid).movedim(1, 3)[inside]
        if step == 0:
            mean, std = target.mean(0), target.std(0)
        tokens = tower.forward_features(backbone.normalise(batch))[:, tower.num_prefix_tokens :]
        loss = F.mse_loss(reader(tokens)[inside.flatten(1)], (target - mean) / std)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % 50 == 0:
            print(f"step {step + 1} of {STEPS}: loss {loss.item():.3f}", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tower.state_dict(), path)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
