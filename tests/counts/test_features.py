"""Histograms of skies: bins, stretching about the median, and the numbers that networks take."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from astrolearn.counts.features import EDGES, HistogramFeatures, cumulative_histogram, moved

NOISE = 25e-6


def normal(shift=0.0, sigma=1.0):
    """Histograms of normal distributions."""
    shift, sigma = np.broadcast_arrays(np.atleast_1d(shift), sigma)
    return ndtr((EDGES - shift[:, None]) / sigma[:, None])


def test_bins_hold_every_pixel_of_any_radio_image():
    assert (np.diff(EDGES) > 0).all()
    assert EDGES[0] < -100
    assert EDGES[-1] > 1 / NOISE  # a source of 1 Jy
    assert 0 in EDGES
    assert np.diff(EDGES).min() < 0.21


def test_histogram_is_about_the_median_and_in_units_of_the_noise():
    rng = np.random.default_rng(0)
    values = (3 + rng.standard_normal((300, 400)).astype(np.float32)) * np.float32(NOISE)
    values[:50] = np.nan
    cumulative, median = cumulative_histogram([values[:100], values[100:]], NOISE)
    valid = values[50:] / NOISE - np.median(values[50:]) / NOISE
    assert median == np.median(values[50:])
    direct = [np.mean(valid < edge) for edge in EDGES]
    np.testing.assert_allclose(cumulative, direct, atol=1e-4)
    assert (cumulative[0], cumulative[-1]) == (0, 1)


def test_pixels_beyond_the_bins_are_in_the_last_ones():
    image = np.zeros((10, 10), np.float32)
    image[0, 0], image[0, 1] = 1e3, -1e3
    cumulative, _ = cumulative_histogram([image], NOISE)
    assert cumulative[1] == pytest.approx(0.01)
    assert cumulative[-2] == pytest.approx(0.99)


def test_blank_sky_is_refused():
    with pytest.raises(ValueError, match="without a pixel"):
        cumulative_histogram([np.full((3, 3), np.nan, np.float32)], NOISE)


@settings(deadline=None, max_examples=30)
@given(st.floats(-1, 1), st.floats(1, 3), st.floats(0.8, 1.25))
def test_moved_histogram_is_that_of_moved_pixels(shift, sigma, stretch):
    result = moved(normal(shift, sigma), np.array([stretch]))
    np.testing.assert_allclose(result, normal(0, sigma * stretch), atol=3e-5)
    np.testing.assert_array_equal(moved(result[[0, 0]])[0], moved(result)[0])


def test_moving_keeps_the_tail_of_bright_sources():
    tail = np.where(EDGES > 5, 1 - 0.02 * np.maximum(EDGES, 5) ** -1.5, normal()[0] * (1 - 0.02 * 5**-1.5))
    result = moved(tail[None], 1.2)[0]
    expected = 1 - 0.02 * (EDGES[80:110] / 1.2) ** -1.5
    np.testing.assert_allclose(1 - result[80:110], 1 - expected, rtol=0.01)


def skies(n, n_samples, seed=0):
    """Multinomial histograms of normal distributions of various widths, and the widths."""
    rng = np.random.default_rng(seed)
    sigma = np.exp(0.03 * rng.standard_normal(n))
    fraction = np.diff(normal(0, sigma), axis=1)
    counts = rng.multinomial(n_samples, fraction / fraction.sum(axis=1, keepdims=True))
    return np.concatenate([np.zeros((n, 1)), np.cumsum(counts, axis=1) / n_samples], axis=1), sigma


def test_features_keep_what_differs_and_leave_out_the_noise():
    cumulative, sigma = skies(2000, 10**6)
    features = HistogramFeatures.fit(cumulative, 10**6)
    numbers = features.transform(cumulative, 10**6)
    assert numbers.shape == (2000, features.n_features)
    np.testing.assert_allclose(numbers.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(numbers.std(axis=0), 1, rtol=0.01)
    # the first direction is the width, to the precision that a million pixels have: 1 / sqrt(2 n)
    fit = np.polynomial.Polynomial.fit(numbers[:, 0], np.log(sigma), 3)
    assert (np.log(sigma) - fit(numbers[:, 0])).std() < 1.3 / np.sqrt(2 * 10**6)
    # of 146 bins, those within five standard deviations hold pixels
    assert features.n_features < 50


def test_features_of_small_skies_have_the_same_scale():
    cumulative, _ = skies(500, 10**6)
    features = HistogramFeatures.fit(cumulative, 10**6)
    small, _ = skies(500, 10**4, seed=1)
    numbers = features.transform(small, 10**4)
    assert 0.5 < numbers[:, 0].std() < 2
    assert numbers.std(axis=0).max() < 2
    np.testing.assert_allclose(features.scale(10**6)[0], features.state["size"])
    assert (features.scale(10**4) > features.scale(10**6)).all()


def test_one_sky_has_features():
    cumulative, _ = skies(1, 10**4)
    features = HistogramFeatures.fit(cumulative, 10**4)
    np.testing.assert_allclose(features.transform(cumulative, 10**4), 0, atol=1e-9)
    assert features.n_features == 1
