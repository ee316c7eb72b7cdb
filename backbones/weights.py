"""Loading a state dict into a tower: everything in its place, nothing left over, or one message that says why not."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

State = dict[str, Tensor]


class WeightsError(RuntimeError):
    """Weights that cannot be had or do not fit; the message says what to do."""


def load_tower(
    tower: VisionTransformer, state: State, fresh: Collection[str], source: Path, resampling: Mapping[str, Any]
) -> None:
    """Load a tower without a classifier from any layout that timm reads.

    Position embeddings of another grid are resampled to the tower's; no other tensor may change its shape.

    Args:
        fresh: keys that may be missing.
        source: the file, for messages.
        resampling: of position embeddings; options of timm's `checkpoint_filter_fn`.

    Raises:
        WeightsError: of another architecture, or with keys that are missing or left over.
    """
    own = tower.patch_embed.proj.weight
    # timm would quietly resample the patch embedding too. In a vision transformer no other tensor convolves 3 colours.
    for kernel in (value for value in state.values() if value.ndim == 4 and value.shape[1] == 3):
        _require_equal("patches of {} pixels", kernel.shape[-1], own.shape[-1], source)
        _require_equal("a width of {}", kernel.shape[0], own.shape[0], source)
    try:
        state = checkpoint_filter_fn(dict(state), tower, **resampling)
    except RuntimeError as error:
        raise WeightsError(f"{source}: its position embedding is of no square grid that this tower knows") from error
    blocks = [int(match[1]) for key in state if (match := re.match(r"blocks\.(\d+)\.", key))]
    if blocks:
        _require_equal("a depth of {} blocks", max(blocks) + 1, len(tower.blocks), source)
    load_strictly(tower, state, fresh, source)


def _require_equal(what: str, found: int, own: int, source: Path) -> None:
    if found != own:
        raise WeightsError(
            f"{source}: of another architecture: it has {what.format(found)}, the backbone {what.format(own)}; "
            "name the file that belongs to this backbone, or the backbone that belongs to the file"
        )


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
        f"{what}: {listed(keys)}"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
        if keys
    ]
    if faults:
        raise WeightsError(f"{source}: the checkpoint does not fit the architecture; {'; '.join(faults)}")


def listed(keys: Sequence[str]) -> str:
    """The first of them, and how many more."""
    return f"{', '.join(keys[:8])}{f' and {len(keys) - 8} more' if len(keys) > 8 else ''}"
