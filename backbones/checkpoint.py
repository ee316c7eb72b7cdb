"""Checkpoint files: found in a folder, checked, and read without running any code in them."""

import argparse
import hashlib
import pickle
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import safe_globals

from backbones.formats import is_safetensors, refusal
from backbones.loading import State, WeightsError, listed

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
# Under which key training scripts keep the weights, beside optimizers, epochs and arguments.
WRAPPERS = ("model", "state_dict", "teacher", "model_state_dict")
# One part of a checkpoint that transformers' scripts cut: model-00001-of-00002.safetensors.
PART = re.compile(r"-\d{5}-of-\d{5}\.")


def find_checkpoint(place: Path, names: Sequence[str]) -> Path:
    """A file itself; of a folder the first of `names` that it holds, else the only checkpoint in it.

    Raises:
        WeightsError: nothing there, nothing that can be read, or several checkpoints to choose from.
    """
    with _readable(place):
        if place.is_file():
            return place
        if not place.is_dir():
            if place.is_symlink():
                raise WeightsError(
                    f"{place}: a link to {place.readlink()}, which does not exist; name the file itself as `weights:`"
                )
            raise WeightsError(f"{place}: no such weights file or folder")
        for name in names:
            if (place / name).is_file():
                return place / name
        held = sorted(path for path in place.iterdir() if path.is_file())
    found = [path for path in held if path.suffix in SUFFIXES]
    if len(found) == 1:
        return found[0]
    if found and all(PART.search(path.name) for path in found):
        raise WeightsError(
            f"{place}: a checkpoint in {len(found)} parts; join the parts into one .safetensors file and name that"
        )
    looked = f"{' or '.join(names)} is not there" if names else "nothing says which file to take"
    others = f"but several others are: {listed([path.name for path in found])}" if found else "and no other checkpoint"
    raise WeightsError(f"{place}: {looked}, {others}; name the file itself as `weights:`")


def require_kind(path: Path) -> None:
    """Check, by a few bytes, that a file is not of a kind that is known to hold no weights for PyTorch.

    Raises:
        WeightsError: saying what it is instead, and what to do.
    """
    with _readable(path):
        refused = refusal(path)
    if refused is not None:
        raise WeightsError(f"{path}: {refused}")


def read_state(path: Path) -> State:
    """The state dict in a checkpoint file, taken out of the training script's wrappers; pickled code is not run.

    The file's content says which format it has, not its suffix. Besides tensors and plain containers an
    `argparse.Namespace` of plain values passes: training scripts, RETFound's among them, keep their arguments in one,
    and it has no code of its own.

    Raises:
        WeightsError: of another kind, damaged, holding other Python objects, or no state dict.
    """
    require_kind(path)
    with _readable(path), path.open("rb") as file:
        start = file.read(16)
    if not is_safetensors(start) and not start.startswith((b"PK", b"\x80")):  # torch.save's zip, a bare pickle
        raise WeightsError(f"{path}: not a checkpoint at all; download it again")
    try:
        if is_safetensors(start):
            return load_file(path)
        # As an open file: of a path, torch.load believes the suffix.
        with safe_globals([argparse.Namespace]), path.open("rb") as file:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(f"{path}: {_unread(error, start)}") from error
    return _unwrap(content, path)


def _unread(error: Exception, start: bytes) -> str:
    """Why a checkpoint could not be read, and the fix; `start`: how it begins."""
    told = next((line for line in str(error).splitlines() if line.strip()), "")[:120]
    # The oldest pickles alone have few enough operands that an unknown one means damage.
    damaged = "Unsupported operand" in str(error) and start.startswith(b"\x80\x02")
    if isinstance(error, pickle.UnpicklingError) and not damaged:
        return (
            "holds Python objects besides tensors, which are never loaded; "
            "save its state dict as .safetensors and name that file"
        )
    if isinstance(error, MemoryError) or "allocate memory" in told:
        return "does not fit into this machine's memory; use one with more"
    if "unknown variant" in told:  # a type of number in a safetensors header
        return f"holds numbers of a type that is not known here ({told}); take the model's weights in float32"
    return f"not a readable checkpoint ({type(error).__name__}: {told}); download it again"


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raises a WeightsError for what the system does not let us read."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise WeightsError(f"{path}: cannot be read ({why}); check its path and its permissions") from error


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
    """Hex digest of a file, read in pieces.

    Raises:
        WeightsError: the system does not let us read it.
    """
    with _readable(path), path.open("rb") as file:
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
