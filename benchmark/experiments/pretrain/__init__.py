"""Pre-training of the miniature foundation models, each in the way of its family, on synthetic images."""
