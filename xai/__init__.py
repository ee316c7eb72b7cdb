"""Where a model looks: Grad-CAM, vessel masks, and saliency inside arteries and veins."""
