"""Sharpness, brightness, contrast and colour of fundus images."""

import cv2
import numpy as np
import pytest

from xai.image_quality import NOT_KNOWN, image_quality

SIDE = 96


@pytest.fixture
def fov():
    rows, columns = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    return rows**2 + columns**2 < (SIDE / 2 - 4) ** 2


@pytest.fixture
def eye(fov):
    """Smooth noise, reddish, black outside the field of view."""
    noise = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 60, (SIDE, SIDE)), (0, 0), 1)
    rgb = np.stack([noise + 150, noise + 90, noise + 50], axis=-1).clip(0, 255).astype(np.uint8)
    return np.where(fov[..., None], rgb, 0).astype(np.uint8)


def test_what_another_camera_changes(eye, fov):
    own = image_quality(eye, fov)
    blurred = np.where(fov[..., None], cv2.GaussianBlur(eye, (0, 0), 2), 0).astype(np.uint8)
    assert image_quality(blurred, fov).sharpness < own.sharpness - 0.5
    darker = image_quality((eye * 0.6).astype(np.uint8), fov)
    assert darker.brightness == pytest.approx(0.6 * own.brightness, rel=0.02)
    assert darker.contrast == pytest.approx(0.6 * own.contrast, rel=0.05)
    assert darker.redness == pytest.approx(own.redness, abs=0.01)
    red = image_quality((eye * np.array([1, 0.6, 0.5])).astype(np.uint8), fov)
    assert red.redness > own.redness + 0.05


def test_the_edge_of_the_field_of_view_does_not_count(eye, fov):
    """Whatever lies outside, and the sharp edge to it."""
    bright = np.where(fov[..., None], eye, 255).astype(np.uint8)
    assert image_quality(bright, fov) == image_quality(eye, fov)


def test_known_values():
    """A field of view as large as the image, of one colour: only its rim is left out."""
    flat = np.full((40, 40, 3), (120, 60, 20), np.uint8)
    found = image_quality(flat, np.ones((40, 40), bool))
    assert found.brightness == pytest.approx((0.299 * 120 + 0.587 * 60 + 0.114 * 20) / 255)
    assert found.contrast == pytest.approx(0, abs=1e-12)
    assert found.redness == pytest.approx(0.6)
    assert found.sharpness == -6


def test_no_field_of_view(eye):
    assert np.isnan(image_quality(eye, np.zeros((SIDE, SIDE), bool))).all()
    assert np.isnan(NOT_KNOWN).all()
