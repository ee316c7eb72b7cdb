"""The colours of the maps from 0 to their highest value."""

import numpy as np
from markupsafe import Markup

from xai.palette import colours

_STEPS = 48


def colour_ramp() -> Markup:
    """An SVG of the colours from left to right; it has no text and may be stretched."""
    shades = colours(np.linspace(0, 1, _STEPS)[None], 1)[0].round().astype(int)
    steps = (
        Markup('<rect x="{}" width="1" height="1" fill="#{:02x}{:02x}{:02x}"/>').format(place, *shade)
        for place, shade in enumerate(shades.tolist())
    )
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} 1" preserveAspectRatio="none" '
        'shape-rendering="crispEdges" aria-hidden="true">{}</svg>'
    ).format(_STEPS, Markup("").join(steps))
