"""The files that open_clip publishes: their names, and the conversion of the image encoder to timm's keys."""

from backbones.backbone import without_classifier
from backbones.hub import HubFile
from backbones.loading import State

# Prefixes of the keys of a CLIP model outside its image encoder.
TEXT = ("positional_embedding", "transformer.", "token_embedding.", "ln_final.", "text_projection", "text.", "logit_")
# Names of the image encoder's parts in open_clip and in timm.
RENAMED = {
    "class_embedding": "cls_token",
    "positional_embedding": "pos_embed",
    "conv1.": "patch_embed.proj.",
    "ln_pre.": "norm_pre.",
    "ln_post.": "norm.",
    "transformer.resblocks.": "blocks.",
    ".ln_1.": ".norm1.",
    ".ln_2.": ".norm2.",
    ".ls_1.": ".ls1.",
    ".ls_2.": ".ls2.",
    ".attn.in_proj_": ".attn.qkv.",
    ".attn.out_proj.": ".attn.proj.",
    ".mlp.c_fc.": ".mlp.fc1.",
    ".mlp.c_proj.": ".mlp.fc2.",
}


def image_encoder(state: State) -> State:
    """The state dict of the image encoder under timm's keys, without the projection to the text embedding.

    Args:
        state: the state dict of timm's encoder or of one of open_clip's complete CLIP models.
    """
    if "visual.class_embedding" not in state:
        return without_classifier(state)
    model = {}
    for key, value in state.items():
        if key.startswith(TEXT) or key == "visual.proj":
            continue
        key = key.removeprefix("visual.")
        for theirs, ours in RENAMED.items():
            key = key.replace(theirs, ours)
        model[key] = value
    model["cls_token"] = model["cls_token"].reshape(1, 1, -1)
    model["pos_embed"] = model["pos_embed"].unsqueeze(0)
    return model


def published_by_open_clip(repository: str) -> HubFile:
    """The weights file in a repository of open_clip's layout; older repositories contain only a pickle of it."""
    return HubFile(repository, "open_clip_model.safetensors", fallback="open_clip_pytorch_model.bin")
