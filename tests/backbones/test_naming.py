"""Misspelt names are answered with the nearest ones."""

import pytest

from backbones.naming import Registry, did_you_mean


def test_the_nearest_names_come_first():
    known = ["retfound-vit-l16", "dinov2-vit-g14", "dinov2-tiny"]
    assert did_you_mean("dinov2-vitg14", known, "?") == "did you mean dinov2-vit-g14 or dinov2-tiny?"
    assert did_you_mean("retfond-vit-116", known, "?").startswith("did you mean retfound-vit-l16")


def test_a_name_like_no_other():
    assert did_you_mean("???", ["dinov2-tiny"], "known: dinov2-tiny") == "known: dinov2-tiny"


def test_case_does_not_matter():
    assert did_you_mean("GRADCAM", ["gradcam", "KPCA"], "?") == "did you mean gradcam?"
    assert did_you_mean("kpc", ["gradcam", "KPCA"], "?") == "did you mean KPCA?"


def test_a_registry_has_its_entries_in_order_and_each_name_once():
    colours = Registry[int]("colour")
    assert colours.register("red", 1) == 1
    colours.register("blue", 2)
    assert (list(colours), colours["red"], colours.find("blue"), "green" in colours) == (["red", "blue"], 1, 2, False)
    with pytest.raises(ValueError, match="colour 'red' is registered twice; give one of them another name"):
        colours.register("red", 3)
    assert colours["red"] == 1


def test_an_unknown_entry_is_answered_with_the_nearest_or_with_all():
    colours = Registry[int]("colour")
    for place, name in enumerate(("red", "blue")):
        colours.register(name, place)
    with pytest.raises(ValueError, match=r"^colour 'bleu' is unknown; did you mean blue\?$"):
        colours.find("bleu")
    with pytest.raises(ValueError, match=r"^colour '\?' is unknown; known: red, blue$"):
        colours.find("?")
