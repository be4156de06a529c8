"""Light curves: how they are made, and whether they are those of 4FGL-DR2."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from astrolearn.sources.fermi import light_curves
from astrolearn.sources.fermi.variability import AMPLITUDES, YEARLY_CORRELATION
from benchmarks.variability import catalogued, correlation, observed, scatter

N = 20_000
STEADY = ("psr", "pwn", "snr", "spp", "unk", "msp", "")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["bll", "fsrq", *STEADY]), max_size=20), st.integers(1, 15), st.integers(0, 2**32 - 1))
def test_curves_are_positive_with_a_mean_of_one(classes, n_years, seed):
    curves = light_curves(classes, n_years, seed)
    assert curves.shape == (len(classes), n_years)
    assert np.all(curves > 0)
    assert_allclose(curves.mean(axis=1), 1)
    steady = np.isin(np.array(classes, dtype=str), STEADY)
    assert np.all(curves[steady] == 1)
    if n_years > 1:
        assert np.all(curves[~steady].std(axis=1) > 0)


def test_seeds_and_spelling():
    classes = ["bll", "fsrq", "psr"] * 5
    first = light_curves(classes, 10, 3)
    assert np.array_equal(first, light_curves(classes, 10, np.random.default_rng(3)))
    assert not np.array_equal(first, light_curves(classes, 10, 4))
    # catalogues write firm identifications in capitals
    assert np.array_equal(first, light_curves(np.char.upper(classes), 10, 3))
    with pytest.raises(ValueError, match="at least one year, not 0"):
        light_curves(classes, 0)


@pytest.mark.parametrize("name", AMPLITUDES)
def test_logarithms_are_an_autoregressive_process(name):
    # differences of logs do not know the mean that was divided out: for a process of standard deviation s and
    # correlation r per year, their mean square over a gap of k years is 2 s^2 (1 - r^k)
    logs = np.log10(light_curves([name] * N, 12, 1))
    amplitude = AMPLITUDES[name]
    drawn = np.minimum(amplitude.median * 10 ** (amplitude.scatter * np.random.default_rng(0).normal(size=10**6)),
                       amplitude.most)
    for gap in (1, 2, 4, 8):
        expected = 2 * np.mean(drawn**2) * (1 - YEARLY_CORRELATION**gap)
        assert_allclose(np.mean((logs[:, gap:] - logs[:, :-gap]) ** 2), expected, rtol=0.03)
    # stationary: the same forwards and backwards (the first and last year are less like the mean than the others)
    assert_allclose(np.median(logs, axis=0), np.median(logs, axis=0)[::-1], atol=0.01)
    assert_allclose(logs.std(axis=0), logs.std(axis=0)[::-1], rtol=0.03)
    # the sources differ: over many years the scatter of each is its amplitude
    long = np.log10(light_curves([name] * 2000, 400, 1)).std(axis=1)
    assert_allclose(np.median(long), amplitude.median, rtol=0.03)
    assert_allclose(np.log10(long).std(), amplitude.scatter, rtol=0.1)


@pytest.fixture(scope="module")
def catalogue(shared_data):
    """Yearly over mean fluxes and their errors, by class, of sources whose yearly fluxes are known to 20 %."""
    if not (shared_data / "gamma/4fgl_dr2_north.fits.gz").is_file():
        pytest.skip("needs gamma/4fgl_dr2_north.fits.gz")
    return catalogued(shared_data / "gamma")


# Twice the standard errors of the catalogued numbers, from 400 bootstrap samples of the sources. One of them, in this
# order: BL Lacs 0.010, 0.004, 0.017; 0.028, 0.056; 0.037; FSRQs 0.012, 0.013, 0.013; 0.011, 0.056; 0.028.
@pytest.mark.parametrize(("name", "scatters", "ratios", "lag"), [
    ("bll", [(0.147, 0.020), (0.080, 0.008), (0.246, 0.034)], [(0.383, 0.056), (1.789, 0.11)], (0.30, 0.07)),
    ("fsrq", [(0.300, 0.022), (0.195, 0.026), (0.378, 0.026)], [(0.166, 0.022), (2.614, 0.12)], (0.36, 0.06)),
])
def test_blazars_vary_as_in_the_catalogue(catalogue, name, scatters, ratios, lag):
    ratio, error = catalogue[name]
    assert len(ratio) > 150
    ours, our_error = observed(name, error)
    for q, (expected, tolerance) in zip((50, 16, 84), scatters, strict=True):
        assert_allclose(np.percentile(scatter(ratio, error), q), expected, atol=0.002)
        assert_allclose(np.percentile(scatter(ours, our_error), q), expected, atol=tolerance)
    for q, (expected, tolerance) in zip((5, 95), ratios, strict=True):
        assert_allclose(np.percentile(ratio, q), expected, atol=0.002)
        assert_allclose(np.percentile(ours, q), expected, atol=tolerance)
    expected, tolerance = lag
    assert_allclose(correlation(ratio), expected, atol=0.01)
    assert_allclose(correlation(ours), expected, atol=tolerance)


def test_pulsars_and_nebulae_are_steady_within_the_errors_of_the_catalogue(catalogue):
    # twice the bootstrap error of the 84th percentile
    for name, tolerance in (("psr", 0.010), ("snr, pwn, spp", 0.020)):
        ratio, error = catalogue[name]
        ours, our_error = observed(name, error)
        percentiles = np.percentile(scatter(ratio, error), (50, 84))
        assert_allclose(percentiles, np.percentile(scatter(ours, our_error), (50, 84)), atol=tolerance)
        assert percentiles[0] < 0.005


def test_scatter_of_log_flux_at_large(catalogue):
    # an earlier measurement over the whole sky: scatter of a typical source's log10 of yearly over mean flux
    for name, expected in (("fsrq", 0.32), ("bll", 0.16), ("psr", 0.036)):
        ratio = observed(name, catalogue[name][1])[0]
        assert_allclose(np.median(np.log10(np.maximum(ratio, 0.03)).std(axis=1)), expected, rtol=0.1)
