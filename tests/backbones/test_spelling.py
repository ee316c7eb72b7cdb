"""Misspelt names are answered with the nearest ones."""

from backbones.spelling import did_you_mean


def test_the_nearest_names_come_first():
    known = ["retfound-vit-l16", "dinov2-vit-g14", "dinov2-tiny"]
    assert did_you_mean("dinov2-vitg14", known, "?") == "did you mean dinov2-vit-g14 or dinov2-tiny?"
    assert did_you_mean("retfond-vit-116", known, "?").startswith("did you mean retfound-vit-l16")


def test_a_name_like_no_other():
    assert did_you_mean("???", ["dinov2-tiny"], "known: dinov2-tiny") == "known: dinov2-tiny"
