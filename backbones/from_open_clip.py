"""`open_clip:<model>/<tag>`: the image encoder of any plain CLIP model of open_clip, without registration.

The encoder has the same parts as timm's `VisionTransformer` under other names, so it is built as one.
"""

from functools import cache, partial
from typing import Any

import timm
import torch
from timm.layers import LayerNorm

from backbones.backbone import Backbone
from backbones.loading import State
from backbones.naming import did_you_mean
from backbones.open_clip_layout import image_encoder, published_by_open_clip

PREFIX = "open_clip:"
# timm's CLIP encoder; all options in which CLIP models differ are overridden.
ARCHITECTURE = "vit_base_patch16_clip_224"
# Keys of open_clip's configuration that timm's model has too, or that do not affect its output.
UNDERSTOOD = {
    "layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size", "ls_init_value", "patch_dropout",
    "no_ln_pre", "pos_embed_type", "final_ln_after_pool", "pool_type", "output_tokens", "norm_kwargs",
}  # fmt: skip


@cache
def from_open_clip(given: str) -> Backbone:
    """The backbone for one of open_clip's published image encoders, at 224x224 whatever its training resolution.

    Args:
        given: `<model>/<tag>`, as listed by `open_clip.list_pretrained()`.

    Raises:
        ValueError: the model or tag does not exist (the message names similar ones), or the encoder is not a plain
            vision transformer.
    """
    import open_clip  # takes seconds to import and is needed only here

    named, _, tag = given.partition("/")
    if named not in open_clip.list_models():
        released = dict(open_clip.list_pretrained())
        known = [name for name in released if _plain(open_clip.get_model_config(name)["vision_cfg"])]
        hint = did_you_mean(named, known, "open_clip.list_pretrained() lists them")
        raise ValueError(f"open_clip has no model {named!r}; {hint}")
    config = open_clip.get_model_config(named)
    vision = config["vision_cfg"]
    if not _plain(vision):
        raise ValueError(f"{PREFIX}{named}: {_refusal(vision)}; only plain vision transformers are supported")
    published = open_clip.get_pretrained_cfg(named, tag)
    if not published:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(named)) or "none"
        asked = f"has no weights tagged {tag!r}" if tag else "needs the tag of its weights after a slash"
        raise ValueError(f"{PREFIX}{named} {asked}; known tags: {tags}")
    overrides = _overrides(vision, bool(config.get("quick_gelu") or published.get("quick_gelu")))
    with torch.device("meta"):
        model = timm.create_model(ARCHITECTURE, pretrained=False, img_size=224, num_classes=0, **overrides)
    repository = published["hf_hub"].strip("/")
    return Backbone(
        name=f"{PREFIX}{given}",
        family="openclip",
        architecture=ARCHITECTURE,
        mean=published["mean"],
        std=published["std"],
        parameters=sum(p.numel() for p in model.parameters()),
        width=model.embed_dim,
        depth=len(model.blocks),
        licence=f"see huggingface.co/{repository}",
        pretraining=f"contrastive image-text, open_clip tag {tag}",
        weights=published_by_open_clip(repository),
        overrides=overrides,
        convert=partial(_completed, vision=vision),
    )


def _plain(vision: dict[str, Any]) -> bool:
    return vision.keys() <= UNDERSTOOD and isinstance(vision["layers"], int) and vision.get("pool_type") != "none"


def _refusal(vision: dict[str, Any]) -> str:
    trunk = vision.get("timm_model_name")
    if trunk in timm.list_models(module="vision_transformer"):
        return f"its image encoder is a timm model; use timm:{trunk} instead"
    if trunk:
        return f"its image encoder is timm's {trunk}"
    if not isinstance(vision["layers"], int):
        return "its image encoder is a ResNet"
    return f"its image encoder has {', '.join(sorted(vision.keys() - UNDERSTOOD)) or 'no pooling'}"


def _overrides(vision: dict[str, Any], quick_gelu: bool) -> dict[str, Any]:
    """Arguments of timm's constructor; the defaults are open_clip's."""
    width = vision["width"]
    average = vision.get("pool_type") == "avg"
    return {
        "patch_size": vision.get("patch_size", 16),
        "embed_dim": width,
        "depth": vision["layers"],
        "num_heads": width // vision.get("head_width", 64),
        "mlp_ratio": vision.get("mlp_ratio", 4.0),
        "init_values": vision.get("ls_init_value"),
        "pre_norm": not vision.get("no_ln_pre", False),
        "norm_layer": partial(LayerNorm, eps=vision.get("norm_kwargs", {}).get("eps", 1e-5)),
        "act_layer": "quick_gelu" if quick_gelu else "gelu",
        "global_pool": "avg" if average else "token",
        "fc_norm": average and vision.get("final_ln_after_pool", False),
    }


def _completed(state: State, vision: dict[str, Any]) -> State:
    """`image_encoder`, with the keys that timm's model needs for average pooling or without the first norm."""
    model = image_encoder(state)
    overrides = _overrides(vision, quick_gelu=False)
    if overrides["fc_norm"]:
        model = {f"fc_{key}" if key.startswith("norm.") else key: value for key, value in model.items()}
    if not overrides["pre_norm"]:  # timm's patch embedding then has a bias
        model.setdefault("patch_embed.proj.bias", torch.zeros(vision["width"]))
    return model
