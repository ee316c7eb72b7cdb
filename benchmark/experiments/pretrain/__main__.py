"""Make one of the miniature foundation models.

    python -m benchmark.experiments.pretrain retfound-tiny
    python -m benchmark.experiments.pretrain dinov2-tiny
    python -m benchmark.experiments.pretrain openclip-tiny
    python -m benchmark.experiments.pretrain openclip-tiny --without-vessels --out runs/wordless.safetensors

The weights are stored as float16, and the file's header records how they were made. The same command on the same
machine with the same number of threads gives the same file.
"""

import time
from functools import partial
from pathlib import Path

import click
import torch
from safetensors.torch import save_file

import backbones
from backbones.tiny import shipped_file
from benchmark.experiments.pretrain import contrastive, distilled, masked
from benchmark.experiments.pretrain.cohorts import cohorts, draw_images

METHODS = {
    "retfound-tiny": masked.pretrain,
    "dinov2-tiny": distilled.pretrain,
    "openclip-tiny": contrastive.pretrain,
}


@click.command(help=__doc__)
@click.argument("name", type=click.Choice(list(METHODS)))
@click.option("--out", type=click.Path(path_type=Path), help="Output file; by default the file that the project ships.")
@click.option("--patients", default=1400, show_default=True, help="Number of patients to draw, with two eyes each.")
@click.option("--steps", type=int, help="Number of training steps, if not the recipe's.")
@click.option("--seed", default=0, show_default=True)
@click.option("--threads", default=2, show_default=True, help="Number of threads for drawing and for PyTorch.")
@click.option("--without-vessels", is_flag=True, help="openclip-tiny only: leave the arteries out of the captions.")
def main(
    name: str, out: Path | None, patients: int, steps: int | None, seed: int, threads: int, without_vessels: bool
) -> None:
    if without_vessels and name != "openclip-tiny":
        raise click.UsageError(f"--without-vessels concerns captions, and {name} uses none: omit it")
    if without_vessels and out is None:
        raise click.UsageError("--without-vessels makes a variant: give its file with --out")
    torch.set_num_threads(threads)
    started = time.perf_counter()
    drawn = draw_images(cohorts(patients), threads)
    print(f"{len(drawn)} images drawn in {time.perf_counter() - started:.0f} s", flush=True)
    method = partial(contrastive.pretrain, vessels=False) if without_vessels else METHODS[name]
    started = time.perf_counter()
    model, losses = method(backbones.get(f"{name}-untrained"), drawn, seed, steps)
    seconds = time.perf_counter() - started
    made = {
        "model": name,
        "photographs": str(len(drawn)),
        "steps": str(len(losses)),
        "seconds": f"{seconds:.0f}",
        "threads": str(threads),
        "seed": str(seed),
        "loss": f"{sum(losses[-50:]) / len(losses[-50:]):.4f}",
        "torch": torch.__version__,
    }
    path = out or shipped_file(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.half().contiguous() for key, value in model.state_dict().items()}, path, metadata=made)
    print(f"{path}: {path.stat().st_size:,} bytes, SHA-256 {backbones.sha256(path)}, {seconds:.0f} s of training")


if __name__ == "__main__":
    main()
