"""Work on one model: training it, its controls, figures, weights, cache and device."""
