"""Controls: saliency ratios expected by chance, maps of random weights, and whether the model needs the vessels."""
