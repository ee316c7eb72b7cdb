"""A user's images and masks: valid, missing or unreadable."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.preflight.doctor import data
from benchmark.preflight.doctor.finding import Status

PASS, WARN, FAIL = Status


@pytest.fixture
def manifest(tmp_path) -> Path:
    """40 images of 40 patients with their masks."""
    side = np.linspace(-1, 1, 96)
    disc = (side[:, None] ** 2 + side**2 < 0.8)[..., None] * np.array([180, 90, 40])
    for patient in range(40):
        Image.fromarray((disc + patient).astype(np.uint8)).save(tmp_path / f"{patient}.png")
        for vessel in "av":
            (tmp_path / f"{vessel}{patient}.png").touch()
    rows = [f"{patient}.png,{patient % 2},p{patient},a{patient}.png,v{patient}.png" for patient in range(40)]
    path = tmp_path / "cohort.csv"
    path.write_text("\n".join(["image,label,patient_id,artery_mask,vein_mask", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def own(manifest, case):
    """A study of these images, with other settings of its cohort."""
    return lambda **cohort: case(cohort={"manifest": manifest, "synthetic": None, **cohort})


def test_a_cohort_in_order(statuses, own):
    study = own()
    (cohort,) = data.check_cohort(study)
    assert cohort.status == PASS
    counts = (
        "train 20 (10 positive, from 10 patients), val 6 (3 positive, from 3 patients), "
        "test 14 (7 positive, from 7 patients)"
    )
    assert f"40 images from 40 patients; {counts}" in cohort.detail
    (images,) = data.check_images(study)
    assert (images.status, "9 of them were decoded" in images.detail) == (PASS, True)
    assert statuses(data.check_vessels(study)) == [PASS]


def test_how_precise_a_small_test_set_can_be(statuses, own):
    findings = data.check_test_set(own())
    assert statuses(findings) == [WARN, PASS]
    assert "14 test patients, 7 positive" in findings[0].detail
    assert "The test images are from 7 positive and 7 negative patients. With fewer than 10 " in findings[0].detail
    assert findings[0].fix.startswith("add test patients of that class")
    assert "calibration slope" in findings[1].detail


def test_a_large_test_set_is_fine(statuses, case):
    large = case(cohort={"synthetic": {"patients": 4000}})
    assert statuses(data.check_test_set(large)) == [PASS, PASS]
    small = case(cohort={"synthetic": {"patients": 200}})
    first, _ = data.check_test_set(small)
    assert (first.status, first.fix.startswith("add test patients, or")) == (WARN, True)


def test_copies_under_two_patients_fail(manifest, statuses, own):
    (manifest.parent / "8.png").write_bytes((manifest.parent / "3.png").read_bytes())
    findings = data.check_cohort(own())
    assert statuses(findings) == [PASS, FAIL]
    assert "row 10: image 8.png is a copy of 3.png in row 5" in findings[1].detail


def test_the_positive_class_is_shown(manifest, statuses, own):
    named = manifest.read_text(encoding="utf-8").replace(",0,p", ",normal,p").replace(",1,p", ",glaucoma,p")
    manifest.write_text(named, encoding="utf-8")
    _, classes = data.check_cohort(own(positive="glaucoma"))
    assert (classes.status, classes.detail) == (PASS, "Classes: label 1 = glaucoma (positive), label 0 = normal")
    _, classes = data.check_cohort(own(positive="normal"))
    assert (classes.status, "--positive glaucoma" in classes.detail) == (WARN, True)


def test_the_demo_draws_its_images(case, statuses):
    demo = case()
    for check in (data.check_cohort, data.check_images, data.check_vessels):
        assert statuses(check(demo)) == [PASS]


def test_every_fault_of_a_manifest_is_a_finding(manifest, statuses, own):
    with manifest.open("a", encoding="utf-8") as file:
        file.write("x.png,yes,p90,,\ny.png,1,,,\n")
    findings = data.check_cohort(own())
    assert statuses(findings) == [FAIL, FAIL]
    assert "row 42 (x.png): label is 'yes'" in findings[0].detail
    assert "row 43: patient_id is empty" in findings[1].detail


def test_one_class_alone(manifest, own):
    manifest.write_text("\n".join(manifest.read_text(encoding="utf-8").splitlines()[:5]) + "\n", encoding="utf-8")
    findings = data.check_cohort(own())
    assert all(finding.status is FAIL for finding in findings)
    assert "4 patients cannot be divided into train, val and test so that each has both labels" in findings[0].detail


def test_images_that_cannot_be_read(statuses, own):
    study = own()
    first = Path(study.cohort.filter(split="test")["path"][0])
    first.write_bytes(b"no picture")
    (finding,) = data.check_images(study)
    assert finding.status is WARN
    assert f"{first}: not a readable picture" in finding.detail
    assert "5%" in finding.fix
    for path in study.cohort["path"]:
        Path(path).write_bytes(b"no picture")
    findings = data.check_images(study)
    assert statuses(findings) == [FAIL] * 9
    assert [bool(finding.fix) for finding in findings] == [False] * 8 + [True]


def test_images_are_refused_as_in_a_run(own):
    """HzFu/EyeQ#2: files that can be read but show nothing."""
    study = own()
    blank, tiny, third = study.cohort.filter(split="train")["path"][:3]
    Image.new("RGB", (96, 96), (128, 128, 128)).save(blank)
    Image.new("RGB", (1, 1)).save(tiny)
    Image.open(third).convert("CMYK").save(third, "TIFF")
    findings = data.check_images(study)
    assert [finding.detail.split(": ", 1)[1] for finding in findings] == [
        "a blank frame (grey levels from 128 to 128 of 255 only)",
        "1x1 pixels: too small to show vessels (at least 64 per side)",
    ]


@pytest.mark.parametrize(("allowed", "status"), [(0.05, WARN), (0, FAIL)])
def test_files_that_are_missing(allowed, status, manifest, own):
    (manifest.parent / "7.png").unlink()
    (finding,) = data.check_images(own(max_rejected=allowed))
    assert finding.status is status
    assert f"1 of 40 files are missing, the first: {manifest.parent / '7.png'}" in finding.detail


def test_masks_that_are_missing(statuses, own):
    study = own()
    test = study.cohort.filter(split="test")
    Path(test["vein_mask"][0]).unlink()
    _, finding = data.check_vessels(study)
    assert (finding.status, finding.detail) == (WARN, "13 of 14 test images have both mask files")
    for path in test["artery_mask"]:
        Path(path).unlink()
    assert statuses(data.check_vessels(study)) == [PASS, FAIL]


def test_a_vessel_network_without_weights(case):
    (finding,) = data.check_vessels(case(vessels={"source": "wnet"}))
    assert (finding.status, "needs weights" in finding.detail) == (FAIL, True)


def test_images_that_share_a_map_of_automorph(case, manifest, tmp_path):
    """rmaphoh/AutoMorph#14: maps are named by the file's name up to the first dot."""
    (tmp_path / "M0").mkdir()
    (tmp_path / "M2" / "artery_vein" / "raw").mkdir(parents=True)
    rows = "".join(f"{patient}.png,40,48,30\n" for patient in range(40))
    (tmp_path / "M0" / "crop_info.csv").write_text(f"Name,centre_w,centre_h,radius\n{rows}")
    settings = {
        "cohort": {"manifest": manifest, "synthetic": None},
        "vessels": {"source": "automorph_results", "weights": tmp_path},
    }
    (finding,) = data.check_vessels(case(**settings))
    assert finding.status is PASS
    text = manifest.read_text(encoding="utf-8")
    more = [f"left/{patient}.png,{patient % 2},p{patient},b{patient}.png,w{patient}.png\n" for patient in range(40)]
    manifest.write_text(text + "".join(more), encoding="utf-8")
    (finding,) = data.check_vessels(case(**settings))
    assert finding.status is FAIL
    assert "share AutoMorph's map" in finding.detail
