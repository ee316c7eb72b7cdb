"""Loads a state dict into a model. All keys and shapes must match; otherwise one message names the mismatch."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

State = dict[str, Tensor]


TRUE_NUMBERS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
COUNTS = (torch.int64, torch.int32, torch.bool)  # dtypes of position indices and batch counters
# Layouts that timm does not read: a pattern of their keys, their origin, and the fix.
LAYOUTS = (
    (r"lora_[AB]\.|\.adapter_", "an adapter's, not a whole model's", "merge it into its model and save that model"),
    (
        r"(^|\.)(encoder\.layers?\.\d+\.|embeddings\.(cls_token|class_embedding|patch_embed))",
        "those of Hugging Face transformers, not timm's",
        "use the same model's file in timm's layout, usually from huggingface.co/timm",
    ),
    (
        r"^(encoder\.layers\.encoder_layer_\d+\.|conv_proj\.)",
        "those of torchvision, not timm's",
        "use the same model's file in timm's layout, usually from huggingface.co/timm",
    ),
    (
        r"(^|\.)layer[1-4]\.\d+\.(conv|bn)\d\.",
        "those of a ResNet, not of a vision transformer",
        "name the file that belongs to this backbone",
    ),
    (
        r"(^|\.)transformer\.resblocks\.\d+\.",
        "those of a CLIP model in open_clip's layout",
        "use the backbone open_clip:<model>/<tag> for it",
    ),
)


class WeightsError(RuntimeError):
    """Weights are not available or do not fit the model; the message names the file and the fix."""


def load_model(
    model: VisionTransformer, state: State, fresh: Collection[str], source: Path, resampling: Mapping[str, Any]
) -> None:
    """Loads a model without a classifier, in place, from any layout that timm reads.

    Position embeddings of another grid are resampled to the model's grid; no other tensor may have another shape.

    Args:
        model: the network.
        state: tensors by key.
        fresh: keys that may be missing.
        source: the file, named in messages.
        resampling: options of timm's `checkpoint_filter_fn` for resampling position embeddings.

    Raises:
        WeightsError: the state dict belongs to another architecture, or keys are missing or unexpected.
    """
    for key, value in state.items():
        if value.dtype not in COUNTS:  # checked before timm computes with the values
            _require_type(key, value, source)
    own = model.patch_embed.proj.weight
    # timm would silently resample the patch embedding too. It is the only 4-dimensional tensor with 3 input channels.
    for kernel in (value for value in state.values() if value.ndim == 4 and value.shape[1] == 3):
        _require_equal("patches of {} pixels", kernel.shape[-1], own.shape[-1], source)
        _require_equal("a width of {}", kernel.shape[0], own.shape[0], source)
    try:
        state = checkpoint_filter_fn(dict(state), model, **resampling)
    except RuntimeError as error:
        raise WeightsError(
            f"{source}: its position embedding does not fit a square grid of this model's patches; "
            "name the file that belongs to this backbone"
        ) from error
    blocks = [int(match[1]) for key in state if (match := re.match(r"blocks\.(\d+)\.", key))]
    if blocks:
        _require_equal("a depth of {} blocks", max(blocks) + 1, len(model.blocks), source)
    _require_layout(model.state_dict(), state, source)
    load_strictly(model, state, fresh, source)


def _require_layout(own: Mapping[str, Tensor], state: Mapping[str, Tensor], source: Path) -> None:
    """Raises WeightsError for another library's keys, because a list of missing keys would not explain them."""
    left = [key for key in state if key not in own]
    for pattern, whose, fix in LAYOUTS:
        key = next((key for key in left if re.search(pattern, key)), None)
        if key is not None:
            raise WeightsError(f"{source}: its keys are {whose} ({key}); {fix}")


def _require_equal(what: str, found: int, own: int, source: Path) -> None:
    if found != own:
        raise WeightsError(
            f"{source}: from another architecture: it has {what.format(found)}, the backbone {what.format(own)}; "
            "name the file that belongs to this backbone, or the backbone that belongs to the file"
        )


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], fresh: Collection[str], source: Path) -> None:
    """Loads a state dict in place. Only the keys in `fresh` may be missing, and none may be unexpected.

    Args:
        module: the module to load into.
        state: tensors by key, in float16, bfloat16, float32 or float64 where the module's parameter is floating-point.
        fresh: keys that may be missing.
        source: the file, named in messages.

    Raises:
        WeightsError: keys or shapes do not fit, or values are of another type, NaN or infinite; the message names them.
    """
    own = module.state_dict()
    require_fit(own, state, fresh, source)
    for key, value in state.items():
        if own[key].is_floating_point():
            _require_type(key, value, source)
            _require_finite(key, value, source)
    module.load_state_dict(state, strict=False)


def _require_type(key: str, value: Tensor, source: Path) -> None:
    """Raises WeightsError for types that loading would silently convert to other numbers."""
    if value.is_meta:
        raise WeightsError(f"{source}: {key} has no values; save the model's state_dict() again, with its weights")
    if value.is_quantized or value.layout != torch.strided or value.dtype not in TRUE_NUMBERS:
        kind = f"{value.dtype}, {value.layout}".replace("torch.", "").removesuffix(", strided")
        raise WeightsError(f"{source}: {key} is of type {kind}; use the model's weights in float32")


def _require_finite(key: str, value: Tensor, source: Path) -> None:
    if not torch.isfinite(value.float()).all():  # float64 beyond the range of float32 becomes infinite as well
        raise WeightsError(
            f"{source}: {key} contains NaN or infinite values, so its training failed or the file is damaged; "
            "use another checkpoint"
        )


def require_fit(own: Mapping[str, Tensor], state: Mapping[str, Tensor], fresh: Collection[str], source: Path) -> None:
    """Checks that a state dict has the keys and shapes of a module.

    Args:
        own: the module's state dict.
        state: the state dict to check.
        fresh: keys that may be missing.
        source: the file, named in the message.

    Raises:
        WeightsError: keys are missing or unexpected, or shapes differ; the message names them.
    """
    missing = sorted(set(own) - set(state) - set(fresh))
    unexpected = sorted(set(state) - set(own))
    misshapen = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in sorted(set(own) & set(state))
        if own[key].shape != state[key].shape
    ]
    faults = [
        f"{what}: {listed(keys)}"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
        if keys
    ]
    if faults:
        raise WeightsError(f"{source}: the checkpoint does not fit the architecture; {'; '.join(faults)}")


def listed(keys: Sequence[str]) -> str:
    """The first eight keys, and the number of the others."""
    return f"{', '.join(keys[:8])}{f' and {len(keys) - 8} more' if len(keys) > 8 else ''}"
