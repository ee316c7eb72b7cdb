"""Backbones by name."""

from backbones import from_open_clip, from_timm
from backbones.backbone import Backbone
from backbones.spelling import did_you_mean

_BACKBONES: dict[str, Backbone] = {}
_SOURCES = {from_timm.PREFIX: from_timm.from_timm, from_open_clip.PREFIX: from_open_clip.from_open_clip}


def register(backbone: Backbone) -> Backbone:
    """Make a backbone known under its name."""
    if backbone.name in _BACKBONES:
        raise ValueError(f"backbone {backbone.name} is registered twice")
    _BACKBONES[backbone.name] = backbone
    return backbone


def names() -> list[str]:
    """Every registered name, sorted."""
    return sorted(_BACKBONES)


def get(name: str) -> Backbone:
    """The backbone of that name.

    `timm:<model>` takes any vision transformer of timm without registration, `open_clip:<model>/<tag>` the image
    encoder of any plain CLIP model of open_clip.

    Raises:
        ValueError: unknown name, with the nearest known ones; or no plain vision transformer.
    """
    if name in _BACKBONES:
        return _BACKBONES[name]
    for prefix, source in _SOURCES.items():
        if name.startswith(prefix):
            return source(name.removeprefix(prefix))
    hint = did_you_mean(name, names(), f"known: {', '.join(names())}")
    raise ValueError(
        f"backbone {name!r} is unknown; {hint} "
        "(timm:<model> and open_clip:<model>/<tag> take any vision transformer of theirs)"
    )
