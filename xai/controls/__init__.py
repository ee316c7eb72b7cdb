"""What a saliency ratio would be by chance, without the trained weights, and whether the model needs the vessels."""
