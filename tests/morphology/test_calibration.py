"""Vector scaling finds what was done to logits, and leaves good ones alone."""

import numpy as np
import pytest
from scipy.special import log_softmax

from astrolearn.morphology.calibration import calibrated, fit_calibration


def drawn(n=60_000, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (3, n))
    p = np.exp(log_softmax(logits, axis=0))
    one = (p.cumsum(0) > rng.random(n)).argmax(0)
    return logits, np.eye(3)[one].T, rng


def test_finds_slope_and_shift():
    logits, labels, rng = drawn()
    distorted = 2.5 * logits + np.array([[1.0], [-2.0], [0.5]])
    found = fit_calibration(distorted, labels, rng)
    assert found["slope"] == pytest.approx(0.4, rel=0.05)
    np.testing.assert_allclose(calibrated(distorted, found), log_softmax(logits, axis=0), atol=0.35)
    error = np.exp(calibrated(distorted, found)) - np.exp(log_softmax(logits, axis=0))
    assert np.abs(error).max() < 0.02


def test_leaves_calibrated_logits():
    logits, labels, rng = drawn()
    found = fit_calibration(logits, labels, rng)
    assert found["slope"] == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(found["shift"], 0, atol=0.06)
    assert found["shift"][-1] == 0


def test_pixels_without_labels_do_not_count():
    logits, labels, rng = drawn(4000)
    labels[:, 2000:] = 0
    expected = fit_calibration(logits[:, :2000], labels[:, :2000], rng)
    found = fit_calibration(logits, labels, rng)
    assert found["slope"] == pytest.approx(expected["slope"])
    np.testing.assert_allclose(found["shift"], expected["shift"])
    nothing = fit_calibration(logits[:, 2000:], labels[:, 2000:], rng)
    assert nothing["slope"] == pytest.approx(1)


def test_none_is_plain_softmax():
    logits = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    found = calibrated(logits, None)
    np.testing.assert_allclose(np.exp(found).sum(0), 1, rtol=1e-6)
    assert calibrated(logits, {"slope": 2.0, "shift": np.array([1.0, 0, 0])}).dtype == np.float32
