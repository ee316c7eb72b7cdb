"""The files that open_clip publishes: their names, and the image encoder in them under timm's names."""

from backbones.backbone import without_classifier
from backbones.hub import HubFile
from backbones.loading import State

# Everything of a CLIP model that is not its image encoder.
TEXT = ("positional_embedding", "transformer.", "token_embedding.", "ln_final.", "text_projection", "text.", "logit_")
# open_clip's names of the image encoder's parts, and timm's.
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
    """timm's file, or a whole CLIP model of open_clip's: its image encoder without the projection to text."""
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
    """A repository laid out by open_clip; the older ones hold a pickle of the same tensors only."""
    return HubFile(repository, "open_clip_model.safetensors", fallback="open_clip_pytorch_model.bin")
