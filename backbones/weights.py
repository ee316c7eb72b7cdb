"""Checkpoint files: found on disk or on the hub, read without running any code in them, loaded strictly."""

import argparse
import hashlib
import pickle
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.serialization import safe_globals

# What a download gone wrong (a web page, a Git LFS pointer) does not begin with: torch.save's zip, and a bare pickle.
_PICKLE_STARTS = (b"PK", b"\x80")


class WeightsError(RuntimeError):
    """Weights that cannot be had or do not fit; the message says what to do."""


@dataclass(frozen=True)
class HubFile:
    """A file in a Hugging Face repository."""

    repository: str
    file: str
    gated: bool = False

    def __str__(self) -> str:
        return f"{self.repository}/{self.file}"

    def cached(self) -> Path | None:
        """Where the hub's cache holds the file, or None."""
        path = try_to_load_from_cache(self.repository, self.file)
        return Path(path) if isinstance(path, str) else None

    def fetch(self) -> Path:
        """The file, from the hub's cache or downloaded."""
        mend = f"download {self.file} from huggingface.co/{self.repository} and name it as `weights:` of the backbone"
        try:
            return Path(hf_hub_download(self.repository, self.file))
        except GatedRepoError as error:
            raise WeightsError(
                f"{self} is gated: accept its terms on huggingface.co/{self.repository}, then set HF_TOKEN; or {mend}"
            ) from error
        except RepositoryNotFoundError as error:
            raise WeightsError(f"{self} was not found on the hub; {mend}") from error
        except LocalEntryNotFoundError as error:
            raise WeightsError(f"{self} is not in the hub's cache and the hub cannot be reached; {mend}") from error
        except (HfHubHTTPError, OSError) as error:
            raise WeightsError(f"{self} could not be downloaded ({type(error).__name__}); {mend}") from error


def read_state(path: Path) -> dict[str, Tensor]:
    """Everything a checkpoint file holds; pickled code is refused, not run.

    Besides tensors and plain containers an `argparse.Namespace` of plain values passes: training scripts, RETFound's
    among them, keep their arguments in one, and it has no code of its own.

    Raises:
        WeightsError: no such file, damaged, holding other Python objects, or no dictionary.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with safe_globals([argparse.Namespace]):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        with path.open("rb") as file:
            if not file.read(2).startswith(_PICKLE_STARTS):
                raise WeightsError(f"{path}: not a checkpoint at all; download it again") from error
        raise WeightsError(
            f"{path}: holds Python objects besides tensors, which are never loaded; "
            "save its state dict as .safetensors and name that file"
        ) from error
    except Exception as error:
        raise WeightsError(f"{path}: not a readable checkpoint ({error!r}); download it again") from error
    if not isinstance(state, dict):
        raise WeightsError(f"{path}: holds a {type(state).__name__}, not a state dict; save the model's state_dict()")
    return state


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], fresh: Collection[str], source: Path) -> None:
    """Load `state`; only the keys in `fresh` may be missing, none may be left over.

    Raises:
        WeightsError: naming the keys or shapes that do not fit.
    """
    require_fit(module.state_dict(), state, fresh, source)
    module.load_state_dict(state, strict=False)


def require_fit(own: Mapping[str, Tensor], state: Mapping[str, Tensor], fresh: Collection[str], source: Path) -> None:
    """Check that `state` has the keys and shapes of a module's `own`, save for those in `fresh`, which may be missing.

    Raises:
        WeightsError: naming the keys or shapes that do not fit.
    """
    missing = sorted(set(own) - set(state) - set(fresh))
    unexpected = sorted(set(state) - set(own))
    misshapen = [f"{key} {tuple(state[key].shape)} for {tuple(own[key].shape)}" for key in sorted(set(own) & set(state))
                 if own[key].shape != state[key].shape]  # fmt: skip
    faults = [
        f"{what}: {', '.join(keys[:8])}{f' and {len(keys) - 8} more' if len(keys) > 8 else ''}"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
        if keys
    ]
    if faults:
        raise WeightsError(f"{source}: the checkpoint does not fit the architecture; {'; '.join(faults)}")


def sha256(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
