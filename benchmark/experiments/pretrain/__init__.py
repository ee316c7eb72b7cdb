"""Pre-training of the miniature foundation models, each with its family's method, on synthetic images."""
