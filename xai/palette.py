"""The colours of maps, and of what is drawn on them."""

import numpy as np

ARTERY_COLOUR, VEIN_COLOUR = (240, 112, 100), (116, 170, 245)
LINE_COLOUR = (205, 212, 220)


def colours(saliency: np.ndarray, top: float) -> np.ndarray:
    """A map in the colours of inferno.

    Args:
        saliency: (H, W) float, at least 0.
        top: value at the upper end of the colour scale, which starts at 0.

    Returns:
        (H, W, 3) float in 0..255.
    """
    import matplotlib  # imported here, so that the rest of this package runs without it

    return 255 * matplotlib.colormaps["inferno"](np.asarray(saliency, dtype=float) / (top or 1))[..., :3]
