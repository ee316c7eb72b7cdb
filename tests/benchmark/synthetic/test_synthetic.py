"""The synthetic cohort is reproducible, with the set strength, and its signal is where the configuration puts it."""

import csv
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr
from skimage.morphology import skeletonize
from sklearn.metrics import roc_auc_score

from benchmark.synthetic import SyntheticCohort, draw_eye, draw_patients, plan, write_cohort, write_eye, write_manifest
from benchmark.synthetic.eye import shown
from benchmark.synthetic.render import artery_profile

SMALL = SyntheticCohort(patients=6, image_size=160, seed=3)


def _dilated(mask: np.ndarray, pixels: int) -> np.ndarray:
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * pixels + 1, 2 * pixels + 1))) > 0


def _same(a, b) -> bool:
    return all(np.array_equal(getattr(a, part), getattr(b, part)) for part in ("rgb", "artery", "vein", "fov"))


def test_a_row_draws_the_same_eye_whenever_it_is_drawn():
    rows = plan(SMALL)[:4]
    forwards = [draw_eye(SMALL, r["patient_id"], r["eye"], r["severity"], r["low_quality"]) for r in rows]
    backwards = [draw_eye(SMALL, r["patient_id"], r["eye"], r["severity"], r["low_quality"]) for r in rows[::-1]]
    assert all(_same(a, b) for a, b in zip(forwards, backwards[::-1], strict=True))
    assert not any(_same(forwards[0], other) for other in forwards[1:])
    other_seed = replace(SMALL, seed=4)
    assert not _same(forwards[0], draw_eye(other_seed, "p0001", "right", rows[0]["severity"], False))


@pytest.mark.parametrize("best_auc", [0.5, 0.75, 0.9])
def test_severity_reaches_the_set_auc_and_no_more(best_auc):
    patients = draw_patients(SyntheticCohort(patients=40_000, best_auc=best_auc, seed=1))
    auc = roc_auc_score([p.label for p in patients], [p.severity for p in patients])
    assert auc == pytest.approx(best_auc, abs=4 * 0.003)  # four standard errors of an AUC from 20,000 against 20,000


def test_shares_are_exact_and_low_quality_is_blind_to_the_label():
    cohort = SyntheticCohort(patients=2000, positives=0.3, low_quality=0.15)
    rows = plan(cohort)
    assert sum(p.label for p in draw_patients(cohort)) == 600
    assert sum(r["low_quality"] for r in rows) == 600
    poor_positives = np.mean([r["label"] for r in rows if r["low_quality"]])
    assert poor_positives == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 0.7 / 600))


def test_the_plan_has_both_eyes_of_everybody_with_one_severity():
    rows = plan(SMALL)
    assert len(rows) == 12
    assert len({r["image"] for r in rows}) == 12
    for right, left in zip(rows[::2], rows[1::2], strict=True):
        assert (right["eye"], left["eye"]) == ("right", "left")
        assert right["patient_id"] == left["patient_id"]
        assert isinstance(right["patient_id"], str)
        assert (right["severity"], right["label"]) == (left["severity"], left["label"])


def test_the_disc_is_pale_round_and_on_the_nasal_side():
    for eye, sign in (("right", 1), ("left", -1)):
        drawn = draw_eye(replace(SMALL, image_size=224), "p7", eye, 0.0, False)
        rows, columns = np.nonzero(drawn.disc)
        middle = drawn.rgb.shape[1] / 2
        assert sign * (columns.mean() - middle) > 0.3 * 112
        assert np.ptp(rows) == pytest.approx(np.ptp(columns), rel=0.25)
        off_vessels = ~(drawn.artery | drawn.vein)
        around = (_dilated(drawn.disc, 12) & ~_dilated(drawn.disc, 4)) & off_vessels
        green = drawn.rgb[..., 1].astype(float)
        assert green[drawn.disc & off_vessels].mean() > green[around].mean() + 20


def test_masks_lie_in_the_field_of_view_and_on_dark_vessels():
    for eye in ("right", "left"):
        drawn = draw_eye(SyntheticCohort(), "p0001", eye, severity=0.0, low_quality=False)
        assert drawn.rgb.shape == (448, 515, 3)
        assert drawn.rgb.dtype == np.uint8
        assert drawn.rgb[~_dilated(drawn.fov, 3)].max() == 0
        inside = cv2.erode(drawn.fov.astype(np.uint8), np.ones((21, 21))) > 0
        for mask in (drawn.artery, drawn.vein):
            assert 0.01 < mask.sum() / drawn.fov.sum() < 0.15
            assert not (mask & ~drawn.fov).any()
        crossings = drawn.artery & drawn.vein
        assert 0 < crossings.sum() < 0.3 * drawn.artery.sum()

        green = drawn.rgb[..., 1].astype(float)
        vessels = drawn.artery | drawn.vein
        around = cv2.blur(np.where(vessels, 0, green), (25, 25)) / cv2.blur((~vessels).astype(float), (25, 25))
        for mask, least in ((drawn.vein, 0.95), (drawn.artery & ~drawn.vein, 0.85)):
            darker = (green < around)[mask & inside].mean()
            assert darker > least
        # Arteries are brighter than veins.
        vein, artery = (
            1 - (green / around.clip(1))[m & inside].mean() for m in (drawn.vein, drawn.artery & ~drawn.vein)
        )
        assert vein > 1.2 * artery > 0


@pytest.mark.parametrize(("eye", "nasal"), [("right", 1), ("left", -1)])
def test_the_disc_is_nasal(eye, nasal):
    for patient in ("p0001", "p0002", "p0003"):
        drawn = draw_eye(SMALL, patient, eye, severity=0.0, low_quality=False)
        brightness = cv2.GaussianBlur(drawn.rgb[..., 1].astype(float), (0, 0), 4)
        column = np.unravel_index(brightness.argmax(), brightness.shape)[1]
        assert nasal * (column - drawn.rgb.shape[1] / 2) > 0.15 * drawn.rgb.shape[0]


def test_severity_in_vessels_changes_nothing_away_from_the_arteries():
    cohort = replace(SMALL, image_size=320)
    # A vein is nicked up to 4 pixels from its crossing, and blur spreads the nick.
    for low_quality, reach_of_blur in ((False, 7), (True, 15)):
        mild, severe = (draw_eye(cohort, "p0002", "left", s, low_quality) for s in (-2.0, 3.0))
        assert np.array_equal(mild.vein, severe.vein)
        assert np.array_equal(mild.fov, severe.fov)
        away = ~_dilated(mild.artery | severe.artery, reach_of_blur)
        assert away[mild.fov].mean() > 0.1
        assert np.array_equal(mild.rgb[away], severe.rgb[away])
        assert not np.array_equal(mild.rgb, severe.rgb)


def test_severity_in_the_periphery_changes_nothing_on_or_near_vessels():
    cohort = replace(SMALL, signal="periphery")
    mild, severe = (draw_eye(cohort, "p0002", "left", s, False) for s in (-2.5, 3.0))
    assert np.array_equal(mild.artery, severe.artery)
    assert np.array_equal(mild.vein, severe.vein)
    changed = (mild.rgb != severe.rgb).any(axis=2)
    assert 0.005 < changed.sum() / mild.fov.sum() < 0.2
    assert changed[mild.artery | mild.vein].mean() < 0.02  # the blur of a neighbouring spot, by a grey level
    rows, columns = np.nonzero(changed)
    centre = np.array([m.mean() for m in np.nonzero(mild.fov)])
    radius = np.sqrt(mild.fov.sum() / np.pi)
    assert np.hypot(rows - centre[0], columns - centre[1]).min() > 0.5 * radius


@pytest.mark.parametrize("signal", ["vessels", "periphery"])
def test_effect_is_how_strongly_severity_shows_and_nothing_else(signal):
    def change(effect: float) -> float:
        cohort = replace(SMALL, signal=signal, effect=effect)
        mild, severe = (draw_eye(cohort, "p0002", "left", s, False).rgb.astype(float) for s in (0.0, 2.0))
        return float(abs(mild - severe).mean())

    assert change(0.0) == 0
    assert change(0.5) < change(1.0) < change(2.0)
    weak, strong = (replace(SMALL, signal=signal, effect=effect) for effect in (0.5, 2.0))
    assert draw_patients(weak) == draw_patients(strong)
    assert all(-3 <= shown(severity, 2.0) <= 5 for severity in (-50, 0, 50))


def test_severe_arteries_reflect_and_nick_the_veins_they_cross():
    cohort = replace(SMALL, image_size=448)
    mild, severe = (draw_eye(cohort, "p0002", "right", s, False) for s in (-1.0, 4.0))
    assert np.array_equal(mild.vein, severe.vein)
    near = _dilated(severe.vein & severe.artery, 3) & severe.vein & ~_dilated(mild.artery | severe.artery, 1)
    green = [eye.rgb[..., 1].astype(float) for eye in (mild, severe)]
    assert near.sum() > 100
    assert (green[1] > green[0])[near].mean() > 0.85  # less visible blood
    healthy, silver = artery_profile(0.0), artery_profile(1.0)
    assert silver[-1][0] > 2 * healthy[-1][0]  # the pale line is wider
    assert silver[-1][1] < healthy[-1][1]
    assert all(wide[0] > narrow[0] for profile in (healthy, silver) for wide, narrow in pairwise(profile))


def test_arterial_calibre_ranks_severity_only_where_it_is_the_signal():
    severities = np.linspace(-2.5, 4.0, 22)

    def calibres(cohort: SyntheticCohort) -> list[float]:
        masks = [draw_eye(cohort, f"p{i}", "right", s, False).artery for i, s in enumerate(severities)]
        return [mask.sum() / skeletonize(mask).sum() for mask in masks]

    cohort = SyntheticCohort(image_size=224)
    assert spearmanr(calibres(cohort), severities)[0] < -0.9
    assert abs(spearmanr(calibres(replace(cohort, signal="periphery")), severities)[0]) < 0.5  # 2.3 standard errors


def test_low_quality_loses_vessel_contrast():
    def sharpness(low_quality: bool) -> float:
        eyes = [draw_eye(SMALL, f"p{i}", "right", 0.0, low_quality) for i in range(6)]
        return float(np.mean([e.rgb[..., 1][_dilated(e.vein, 1)].std() for e in eyes]))

    assert sharpness(True) < 0.8 * sharpness(False)


def test_a_written_cohort_reads_back(tmp_path):
    cohort = replace(SMALL, patients=2, image_size=96)
    manifest = write_cohort(cohort, tmp_path / "serial")
    with manifest.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [r["image"] for r in rows] == [r["image"] for r in plan(cohort)]
    assert "ynthetic" in (manifest.parent / "README.txt").read_text(encoding="utf-8")
    for row, planned in zip(rows, plan(cohort), strict=True):
        drawn = draw_eye(cohort, row["patient_id"], row["eye"], float(row["severity"]), row["low_quality"] == "1")
        assert (row["label"], row["low_quality"]) == (str(planned["label"]), str(int(planned["low_quality"])))
        image = np.asarray(Image.open(manifest.parent / row["image"]).convert("RGB")).astype(float)
        assert image.shape == drawn.rgb.shape
        assert abs(image - drawn.rgb).mean() < 4  # JPEG
        for mask in ("artery", "vein", "disc", "fov"):
            stored = np.asarray(Image.open(manifest.parent / row[f"{mask}_mask"]))
            assert np.array_equal(stored, getattr(drawn, mask) * 255)

    for row in plan(cohort)[::-1]:
        write_eye(cohort, row, tmp_path / "any order")
    write_manifest(plan(cohort), tmp_path / "any order")
    files = sorted(p.relative_to(tmp_path / "serial") for p in (tmp_path / "serial").rglob("*.*"))
    assert len(files) == 4 * 5 + 2
    assert all((tmp_path / "serial" / f).read_bytes() == (tmp_path / "any order" / f).read_bytes() for f in files)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("patients", 1),
        ("image_size", 32),
        ("signal", "fovea"),
        ("effect", -0.5),
        ("effect", float("inf")),
        ("best_auc", 0.4),
        ("best_auc", 1.0),
        ("positives", 0.0),
        ("positives", 1.0),
        ("low_quality", 1.2),
        ("seed", -1),
    ],
)
def test_values_out_of_range_are_named(field, value):
    with pytest.raises(ValueError, match=field):
        SyntheticCohort(**{field: value})
