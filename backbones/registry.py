"""The registry of backbones by name."""

from backbones import from_open_clip, from_timm
from backbones.backbone import Backbone
from backbones.naming import Registry

_BACKBONES: Registry[Backbone] = Registry("backbone")
_SOURCES = {from_timm.PREFIX: from_timm.from_timm, from_open_clip.PREFIX: from_open_clip.from_open_clip}


def register(backbone: Backbone) -> Backbone:
    """Registers a backbone under its name and returns it.

    Raises:
        ValueError: the name is already registered.
    """
    return _BACKBONES.register(backbone.name, backbone)


def names() -> list[str]:
    """All registered names, sorted."""
    return sorted(_BACKBONES)


def get(name: str) -> Backbone:
    """The backbone of a name.

    Args:
        name: a registered name, `timm:<model>` for any of timm's vision transformers, or `open_clip:<model>/<tag>` for
            the image encoder of any of open_clip's plain CLIP models.

    Raises:
        ValueError: the name is unknown (the message names similar ones), or the model is not a plain vision
            transformer.
    """
    for prefix, source in _SOURCES.items():
        if name.startswith(prefix):
            return source(name.removeprefix(prefix))
    try:
        return _BACKBONES.find(name)
    except ValueError as error:
        others = "timm:<model> and open_clip:<model>/<tag> name any of their vision transformers"
        raise ValueError(f"{error} ({others})") from None
