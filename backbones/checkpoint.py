"""Finds, checks and reads checkpoint files without running any code in them."""

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
# Keys under which training scripts save the weights, next to optimizer state, epoch and arguments.
WRAPPERS = ("model", "state_dict", "teacher", "model_state_dict")
# One part of a checkpoint that Hugging Face transformers split: model-00001-of-00002.safetensors.
PART = re.compile(r"-\d{5}-of-\d{5}\.")


def find_checkpoint(place: Path, names: Sequence[str]) -> Path:
    """The checkpoint at a path.

    Args:
        place: a file or a folder.
        names: file names to look for in a folder, best first.

    Returns:
        `place` itself if it is a file. In a folder, the first of `names` that exists, or else the only checkpoint.

    Raises:
        WeightsError: `place` does not exist or cannot be read, or the folder contains no or several checkpoints.
    """
    with _readable(place):
        if place.is_file():
            return place
        if not place.is_dir():
            if place.is_symlink():
                raise WeightsError(
                    f"{place}: a link to {place.readlink()}, which does not exist; name the file itself as `weights:`"
                )
            raise WeightsError(f"{place}: no such weights file or folder; correct the path in `weights:`")
        for name in names:
            if (place / name).is_file():
                return place / name
        held = sorted(path for path in place.iterdir() if path.is_file())
    found = [path for path in held if path.suffix in SUFFIXES]
    if len(found) == 1:
        return found[0]
    if found and all(PART.search(path.name) for path in found):
        raise WeightsError(
            f"{place}: a checkpoint in {len(found)} parts; join the parts into one .safetensors file and name that file"
        )
    expected = f"contains no {' or '.join(names)}" if names else "this backbone has no expected file name"
    others = f"but several other checkpoints: {listed([path.name for path in found])}" if found else "and no checkpoint"
    raise WeightsError(f"{place}: {expected}, {others}; name the file itself as `weights:`")


def require_kind(path: Path) -> None:
    """Checks, by its first bytes, that a file is not of a kind known to contain no PyTorch weights.

    Raises:
        WeightsError: the file is of such a kind; the message names the kind and the fix.
    """
    with _readable(path):
        refused = refusal(path)
    if refused is not None:
        raise WeightsError(f"{path}: {refused}")


def read_state(path: Path) -> State:
    """Reads the state dict in a checkpoint file, without the training script's wrappers. Pickled code is not run.

    The format is recognised by the file's content, not by its suffix. Apart from tensors and plain containers, an
    `argparse.Namespace` of plain values is accepted: training scripts such as RETFound's save their arguments in one,
    and it contains no code.

    Returns:
        Tensors by key, on the CPU.

    Raises:
        WeightsError: the file is not a checkpoint, is damaged, contains other Python objects, or contains no state
            dict.
    """
    require_kind(path)
    with _readable(path), path.open("rb") as file:
        start = file.read(16)
    if not is_safetensors(start) and not start.startswith((b"PK", b"\x80")):  # torch.save's zip, a bare pickle
        raise WeightsError(f"{path}: not a checkpoint; download it again")
    try:
        if is_safetensors(start):
            return load_file(path)
        # An open file, because torch.load chooses the format of a path by its suffix.
        with safe_globals([argparse.Namespace]), path.open("rb") as file:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(f"{path}: {_unread(error, start)}") from error
    return _unwrap(content, path)


def _unread(error: Exception, start: bytes) -> str:
    """The reason why a checkpoint that begins with `start` could not be read, and the fix."""
    message = next((line for line in str(error).splitlines() if line.strip()), "")[:120]
    # An unknown operand means damage only in pickle protocol 2, whose set of operands PyTorch knows.
    damaged = "Unsupported operand" in str(error) and start.startswith(b"\x80\x02")
    if isinstance(error, pickle.UnpicklingError) and not damaged:
        return (
            "contains Python objects other than tensors, which are never loaded; "
            "save its state dict as .safetensors and name that file"
        )
    if isinstance(error, MemoryError) or "allocate memory" in message:
        return "does not fit into this machine's memory; use a machine with more memory"
    if "unknown variant" in message:  # a dtype in a safetensors header
        return f"contains numbers of an unknown type ({message}); use the model's weights in float32"
    return f"not a readable checkpoint ({type(error).__name__}: {message}); download it again"


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns the operating system's errors on reading `path` into a WeightsError."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise WeightsError(f"{path}: cannot be read ({why}); check its path and its permissions") from error


def _unwrap(content: Any, path: Path) -> State:
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise WeightsError(f"{path}: contains a {kind}, not a state dict; save the model's state_dict()")
    for key in WRAPPERS:
        if isinstance(content.get(key), dict):
            return _unwrap(content[key], path)
    other = [f"{key} ({type(value).__name__})" for key, value in content.items() if not isinstance(value, Tensor)]
    if other or not content:
        held = f"entries that are not tensors, {listed(other)}" if other else "nothing"
        raise WeightsError(f"{path}: contains {held}; save the model's state_dict(), alone or under {WRAPPERS[0]!r}")
    parallel = "module."  # the prefix that DistributedDataParallel adds to every key
    if all(key.startswith(parallel) for key in content):
        return {key.removeprefix(parallel): value for key, value in content.items()}
    return content


def sha256(path: Path) -> str:
    """Hex SHA-256 digest of a file, which is read in pieces.

    Raises:
        WeightsError: the file cannot be read.
    """
    with _readable(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_digest(path: Path, expected: str) -> None:
    """Checks a file's SHA-256.

    Args:
        path: the file.
        expected: hex digest, in either case.

    Raises:
        WeightsError: the file has another digest, or cannot be read.
    """
    found = sha256(path)
    if found != expected.lower():
        raise WeightsError(
            f"{path}: its SHA-256 begins with {found[:12]}, not {expected[:12]} as expected; "
            "download it again, or correct the backbone's `sha256:`"
        )
