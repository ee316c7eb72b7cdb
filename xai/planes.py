"""The regions of an image's coverage planes, in their order along the second axis of a (B, 4, H, W) array."""

REGIONS = ("artery", "vein", "vessel", "fov")
