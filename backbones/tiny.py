"""The size of the demo's towers: a family's architecture in everything but width and depth."""

# 96 wide: DINOv2's SwiGLU needs an even hidden width, which its ratio of 5.33 gives at multiples of 96.
# Untrained, timm's default initialisation leaves the class token almost blind to the picture; Xavier's does not.
WIDTH = 96
DEPTH = 4
TINY = {"embed_dim": WIDTH, "depth": DEPTH, "num_heads": 4, "weight_init": "jax"}
