"""Loading a state dict into a model: everything in its place, nothing left over, or one message that says why not."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

State = dict[str, Tensor]


TRUE_NUMBERS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
COUNTS = (torch.int64, torch.int32, torch.bool)  # of positions or batches, in whatever else a file holds
# Layouts that timm does not read: a key of each, whose it is, and what to do.
LAYOUTS = (
    (r"lora_[AB]\.|\.adapter_", "an adapter's, not a whole model's", "merge it into its model and save that"),
    (
        r"(^|\.)(encoder\.layers?\.\d+\.|embeddings\.(cls_token|class_embedding|patch_embed))",
        "those of Hugging Face transformers, not timm's",
        "take the same model's file in timm's layout, from huggingface.co/timm for the most part",
    ),
    (
        r"^(encoder\.layers\.encoder_layer_\d+\.|conv_proj\.)",
        "those of torchvision, not timm's",
        "take the same model's file in timm's layout, from huggingface.co/timm for the most part",
    ),
    (
        r"(^|\.)layer[1-4]\.\d+\.(conv|bn)\d\.",
        "those of a ResNet, not of a vision transformer",
        "name the file that belongs to this backbone",
    ),
    (
        r"(^|\.)transformer\.resblocks\.\d+\.",
        "those of a CLIP model in open_clip's layout",
        "name the backbone open_clip:<model>/<tag> for it",
    ),
)


class WeightsError(RuntimeError):
    """Weights that cannot be had or do not fit; the message says what to do."""


def load_model(
    model: VisionTransformer, state: State, fresh: Collection[str], source: Path, resampling: Mapping[str, Any]
) -> None:
    """Load a model without a classifier from any layout that timm reads.

    Position embeddings of another grid are resampled to the model's; no other tensor may change its shape.

    Args:
        fresh: keys that may be missing.
        source: the file, for messages.
        resampling: of position embeddings; options of timm's `checkpoint_filter_fn`.

    Raises:
        WeightsError: of another architecture, or with keys that are missing or left over.
    """
    for key, value in state.items():
        if value.dtype not in COUNTS:  # before timm computes with them
            _require_type(key, value, source)
    own = model.patch_embed.proj.weight
    # timm would quietly resample the patch embedding too. In a vision transformer no other tensor convolves 3 colours.
    for kernel in (value for value in state.values() if value.ndim == 4 and value.shape[1] == 3):
        _require_equal("patches of {} pixels", kernel.shape[-1], own.shape[-1], source)
        _require_equal("a width of {}", kernel.shape[0], own.shape[0], source)
    try:
        state = checkpoint_filter_fn(dict(state), model, **resampling)
    except RuntimeError as error:
        raise WeightsError(f"{source}: its position embedding is of no square grid that this model knows") from error
    blocks = [int(match[1]) for key in state if (match := re.match(r"blocks\.(\d+)\.", key))]
    if blocks:
        _require_equal("a depth of {} blocks", max(blocks) + 1, len(model.blocks), source)
    _require_layout(model.state_dict(), state, source)
    load_strictly(model, state, fresh, source)


def _require_layout(own: Mapping[str, Tensor], state: Mapping[str, Tensor], source: Path) -> None:
    """Raises WeightsError for the keys of another library, which a list of what is missing would not explain."""
    left = [key for key in state if key not in own]
    for pattern, whose, fix in LAYOUTS:
        key = next((key for key in left if re.search(pattern, key)), None)
        if key is not None:
            raise WeightsError(f"{source}: its keys are {whose} ({key}); {fix}")


def _require_equal(what: str, found: int, own: int, source: Path) -> None:
    if found != own:
        raise WeightsError(
            f"{source}: of another architecture: it has {what.format(found)}, the backbone {what.format(own)}; "
            "name the file that belongs to this backbone, or the backbone that belongs to the file"
        )


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], fresh: Collection[str], source: Path) -> None:
    """Load `state`; only the keys in `fresh` may be missing, none may be left over.

    Raises:
        WeightsError: naming the keys or shapes that do not fit, or the key whose values are not numbers.
    """
    own = module.state_dict()
    require_fit(own, state, fresh, source)
    for key, value in state.items():
        if own[key].is_floating_point():
            _require_type(key, value, source)
            _require_finite(key, value, source)
    module.load_state_dict(state, strict=False)


def _require_type(key: str, value: Tensor, source: Path) -> None:
    """Raises WeightsError for types that loading would turn into other numbers without a word."""
    if value.is_meta:
        raise WeightsError(f"{source}: {key} has no values; save the model's state_dict() again, with its weights")
    if value.is_quantized or value.layout != torch.strided or value.dtype not in TRUE_NUMBERS:
        kind = f"{value.dtype}, {value.layout}".replace("torch.", "").removesuffix(", strided")
        raise WeightsError(f"{source}: {key} is of type {kind}; take the model's weights in float32")


def _require_finite(key: str, value: Tensor, source: Path) -> None:
    if not torch.isfinite(value.float()).all():  # float64 beyond float32 becomes infinite, too
        raise WeightsError(
            f"{source}: {key} holds NaN or infinite values, so its training failed or the file is damaged; "
            "take another checkpoint"
        )


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
