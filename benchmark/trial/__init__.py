"""Work on one model: its training, controls, figures, weights, cache and device."""
