"""The names of the planes, which other modules can import without loading a vessel network."""

import subprocess
import sys

from xai import planes, vessels


def test_the_vessels_package_offers_the_same_names():
    assert vessels.REGIONS is planes.REGIONS


def test_saliency_measures_load_no_vessel_source_and_no_torch():
    script = "import sys, xai.saliency, xai.regions; print(*sorted(sys.modules))"
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert "xai.saliency" in found
    assert not [name for name in found if name.startswith(("xai.vessels", "torch", "timm", "backbones"))]
