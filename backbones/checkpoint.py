"""Checkpoint files: found in a folder, checked, and read without running any code in them."""

import argparse
import hashlib
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import safe_globals

from backbones.weights import State, WeightsError, listed

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
# Under which key training scripts keep the weights, beside optimizers, epochs and arguments.
WRAPPERS = ("model", "state_dict", "teacher")


def find_checkpoint(place: Path, names: Sequence[str]) -> Path:
    """A file itself; of a folder the first of `names` that it holds, else the only checkpoint in it.

    Raises:
        WeightsError: nothing there, or several checkpoints to choose from.
    """
    if place.is_file():
        return place
    if not place.is_dir():
        raise WeightsError(f"{place}: no such weights file or folder")
    for name in names:
        if (place / name).is_file():
            return place / name
    found = sorted(path for path in place.iterdir() if path.suffix in SUFFIXES and path.is_file())
    if len(found) == 1:
        return found[0]
    looked = f"{' or '.join(names)} is not there" if names else "nothing says which file to take"
    held = f"but several others are: {listed([path.name for path in found])}" if found else "and no other checkpoint"
    raise WeightsError(f"{place}: {looked}, {held}; name the file itself as `weights:`")


def read_state(path: Path) -> State:
    """The state dict in a checkpoint file, taken out of the training script's wrappers; pickled code is not run.

    Besides tensors and plain containers an `argparse.Namespace` of plain values passes: training scripts, RETFound's
    among them, keep their arguments in one, and it has no code of its own.

    Raises:
        WeightsError: damaged, holding other Python objects, or no state dict.
    """
    _refuse_stand_in(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: holds Python objects besides tensors, which are never loaded; "
            "save its state dict as .safetensors and name that file"
        ) from error
    except Exception as error:
        told = (str(error).splitlines() or [""])[0]
        raise WeightsError(
            f"{path}: not a readable checkpoint ({type(error).__name__}: {told[:120]}); download it again"
        ) from error
    return _unwrap(content, path)


def _refuse_stand_in(path: Path) -> None:
    """What lies under a checkpoint's name after a download gone wrong."""
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        raise WeightsError(f"{path}: empty; download it again")
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise WeightsError(f"{path}: a web page, not a checkpoint; download the file itself, logged in if it is gated")
    if start.startswith(b"version https://git-lfs."):
        raise WeightsError(f"{path}: a Git LFS pointer, not the weights; run `git lfs pull` in its folder")
    if path.suffix != ".safetensors" and not start.startswith((b"PK", b"\x80")):  # torch.save's zip, a bare pickle
        raise WeightsError(f"{path}: not a checkpoint at all; download it again")


def _unwrap(content: Any, path: Path) -> State:
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: holds a {type(content).__name__}, not a state dict; save the model's state_dict()")
    for key in WRAPPERS:
        if isinstance(content.get(key), dict):
            return _unwrap(content[key], path)
    other = [f"{key} ({type(value).__name__})" for key, value in content.items() if not isinstance(value, Tensor)]
    if other or not content:
        held = f"entries that are no tensors, {listed(other)}" if other else "nothing"
        raise WeightsError(f"{path}: holds {held}; save the model's state_dict(), alone or under {WRAPPERS[0]!r}")
    parallel = "module."  # what DistributedDataParallel puts before every key
    if all(key.startswith(parallel) for key in content):
        return {key.removeprefix(parallel): value for key, value in content.items()}
    return content


def sha256(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_digest(path: Path, expected: str) -> None:
    """Check a file's SHA-256.

    Raises:
        WeightsError: another digest.
    """
    found = sha256(path)
    if found != expected.lower():
        raise WeightsError(
            f"{path}: its SHA-256 begins {found[:12]}, expected was {expected[:12]}; "
            "download it again, or correct `sha256:` of the backbone"
        )
