from math import comb

import astropy.units as u
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from astrolearn.counts.beam_response import BeamResponse
from astrolearn.counts.models import CountModel
from astrolearn.counts.pofd import DeflectionModel, deflection_probability

ARCSEC = np.pi / 180 / 3600
FWHM = 15.0
SIGMA = FWHM * ARCSEC / np.sqrt(8 * np.log(2))
OMEGA = 2 * np.pi * SIGMA**2
NOISE = 10e-6
LOG_FLUX = np.arange(-7.5, 0.1, 0.5)
# log10 n, 944 MHz: S^-1.5 at the faint end, falling as S^-1.9 and slower from 1 mJy
LOG_N = np.interp(LOG_FLUX, [-7.5, -7, -6, -5, -4, -3, -2, -1, 0], [16.2, 15.5, 14.2, 12.5, 10.7, 8.7, 6.8, 4.9, 2.7])
COUNTS = CountModel.from_logs(LOG_FLUX, LOG_N)
# few decades, so that low moments do not hang on the brightest sources
FEW = CountModel.from_logs([-6.0, -5.5, -5.0], [13.0, 12.5, 11.2])


def integral(counts, order, low, high):
    log_s = np.linspace(low, high, 20001)
    return np.trapezoid(10 ** (counts.log_density(log_s) + (order + 1) * log_s), log_s) * np.log(10)


def gaussian_psf(n=65, pixel=5.0):
    x = (np.arange(n) - n // 2) * pixel * ARCSEC
    return np.exp(-(x**2 + x[:, None] ** 2) / (2 * SIGMA**2))


def cumulants(p, edges):
    x, size = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    mean = p @ x
    second, third, fourth = (p @ (x - mean) ** m for m in (2, 3, 4))
    return mean, second - size**2 / 12, third, fourth - 3 * second**2


def test_normalisation_and_cumulants():
    edges = np.arange(-12, 60, 0.05) * NOISE
    p = deflection_probability(FEW, edges, beam=FWHM, noise=NOISE)
    assert p.sum() == pytest.approx(1, abs=1e-9)
    # kappa_m = integral of B^m over the sky (for a Gaussian its solid angle over m) times that of S^m n
    expected = [OMEGA / m * integral(FEW, m, -7, -4) for m in (1, 2, 3, 4)]
    expected[1] += NOISE**2
    np.testing.assert_allclose(cumulants(p, edges), expected, rtol=1e-3)


def test_whole_range_is_normalised():
    edges = 3e-5 * np.sinh(0.113 * np.arange(-25, 115))
    p = deflection_probability(COUNTS, edges, beam=FWHM, noise=25e-6)
    assert edges[-1] > 5
    assert p.sum() == pytest.approx(1, abs=1e-6)
    assert p.min() > -1e-9


def test_characteristic_function_is_the_integral_over_sky_and_flux():
    model = DeflectionModel(FEW.log_flux, BeamResponse(FWHM), NOISE, NOISE)
    w, log_phi = model.log_characteristic(FEW.log_n, 0.0, NOISE)
    log_s = np.linspace(-7, -4, 3001)
    weight = 10 ** (FEW.log_density(log_s) + log_s) * np.log(10)
    r2 = np.linspace(0, 12, 4001) ** 2  # radii squared in units of sigma
    beam = np.exp(-r2 / 2)
    for i in np.searchsorted(w, np.array([1e-3, 0.1, 1.0, 3.0]) / NOISE):
        sky = [np.trapezoid(np.exp(1j * w[i] * 10**s * beam) - 1, r2) * np.pi * SIGMA**2 for s in log_s[::10]]
        expected = np.trapezoid(sky * weight[::10], log_s[::10])
        actual = log_phi[i] + (NOISE * w[i]) ** 2 / 2 + 1j * w[i] * model.faint_mean(FEW.log_n)
        assert actual == pytest.approx(expected, rel=1e-3)


def test_without_sources_it_is_the_noise():
    none = CountModel.from_logs(LOG_FLUX, LOG_N - 30)
    edges = np.linspace(-6, 6, 101) * NOISE
    p = deflection_probability(none, edges, beam=FWHM, noise=NOISE)
    np.testing.assert_allclose(p, np.diff(norm.cdf(edges / NOISE)), atol=1e-9)


@pytest.mark.parametrize("level", [3e-3, 3e-2, 0.3])
def test_bright_pixels_are_single_sources(level):
    edges = level * np.array([1.0, 1.1])
    p = deflection_probability(COUNTS, edges, beam=FWHM, noise=1e-6)[0]
    # sources of S > x cover the solid angle per unit of ln x
    x = np.linspace(*edges, 21)
    above = [integral(COUNTS, 0, np.log10(value), 1) for value in x]
    expected = np.trapezoid(OMEGA * np.array(above) / x, x)
    assert p == pytest.approx(expected, rel=0.02 if level < 0.01 else 0.005)
    assert p > expected  # the faint sources below add some flux


def test_psf_that_is_the_beam_gives_the_same():
    edges = 1.5e-5 * np.sinh(0.2 * np.arange(-8, 60))
    beam = deflection_probability(COUNTS, edges, beam=FWHM, noise=NOISE)
    psf = deflection_probability(COUNTS, edges, beam=FWHM, noise=NOISE, psf=gaussian_psf(), pixel_scale=5)
    np.testing.assert_allclose(psf, beam, rtol=5e-4, atol=1e-8)


def test_psf_with_negative_sidelobes():
    narrow = gaussian_psf()
    psf = 1.4 * narrow - 0.4 * narrow**0.2
    edges = np.arange(-12, 30, 0.05) * NOISE
    p = deflection_probability(FEW, edges, beam=FWHM, noise=NOISE, psf=psf, pixel_scale="5 arcsec")
    # the integral of a power k of the Gaussian is its solid angle over k
    sky = [
        sum(comb(m, k) * 1.4**k * (-0.4) ** (m - k) * OMEGA / (k + 0.2 * (m - k)) for k in range(m + 1))
        for m in (1, 2, 3, 4)
    ]
    assert sky[0] < 0
    expected = np.array([area * integral(FEW, m, -7, -4) for m, area in enumerate(sky, 1)])
    expected[1] += NOISE**2
    # limited by the pixels of the PSF, three per width of the beam
    np.testing.assert_allclose(cumulants(p, edges) / expected, 1, atol=4e-3)


def test_gradient_is_the_slope():
    model = DeflectionModel(LOG_FLUX, BeamResponse(FWHM), 3e-5, 25e-6)
    model.set_bins(3e-5 * np.sinh(0.25 * np.arange(-6, 40)))
    x = np.concatenate([LOG_N, [0.1, 0.02]])

    def probability(x):
        return model.probability(x[:-2], x[-2] * model.width, 25e-6 * np.exp(x[-1]))

    p, slopes = model.probability(LOG_N, 0.1 * model.width, 25e-6 * np.exp(0.02), gradient=True)
    np.testing.assert_allclose(p, probability(x), rtol=1e-12)
    for k in range(len(x)):
        step = 1e-4 * (np.arange(len(x)) == k)
        np.testing.assert_allclose(slopes[:, k], (probability(x + step) - probability(x - step)) / 2e-4, atol=1e-7)


def test_faint_mean_is_that_of_the_faint_sources():
    model = DeflectionModel(LOG_FLUX, BeamResponse(FWHM), 3e-5, 25e-6)
    assert model.faint_mean(LOG_N) == pytest.approx(OMEGA * integral(COUNTS, 1, -8.5, np.log10(3e-5)), rel=0.02)


@settings(max_examples=10, deadline=None)
@given(factor=st.floats(0.03, 30), noise=st.floats(1e-6, 1e-4))
def test_scaling_all_fluxes(factor, noise):
    edges = noise * np.sinh(0.4 * np.arange(-5, 20))
    scaled = CountModel.from_logs(LOG_FLUX + np.log10(factor), LOG_N - np.log10(factor))
    np.testing.assert_allclose(
        deflection_probability(scaled, factor * edges, beam=FWHM, noise=factor * noise),
        deflection_probability(COUNTS, edges, beam=FWHM, noise=noise), rtol=1e-5, atol=1e-9,
    )


def test_zero_level_shifts():
    edges = np.linspace(-4, 8, 50) * NOISE
    shifted = deflection_probability(COUNTS, edges + 3e-5, beam=FWHM, noise=NOISE, zero_level="30 uJy/beam")
    np.testing.assert_allclose(shifted, deflection_probability(COUNTS, edges, beam=FWHM, noise=NOISE), atol=1e-9)


def test_flux_range():
    edges = np.arange(-12, 40, 0.1) * NOISE
    low, high = 3e-6, 3e-5
    p = deflection_probability(FEW, edges, beam=FWHM, noise=NOISE, flux_range=(3 * u.uJy, 30 * u.uJy))
    expected = [OMEGA / m * integral(FEW, m, np.log10(low), np.log10(high)) for m in (1, 2, 3, 4)]
    expected[1] += NOISE**2
    np.testing.assert_allclose(cumulants(p, edges), expected, rtol=2e-3)


def test_units_and_elliptical_beams():
    edges = np.linspace(-4, 8, 50) * NOISE
    expected = deflection_probability(COUNTS, edges, beam=FWHM, noise=NOISE)
    actual = deflection_probability(
        COUNTS, (edges * 1e3) * u.mJy / u.beam, beam=(0.5 * u.arcmin, "7.5 arcsec"), noise=10 * u.uJy / u.beam
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise": 0}, "noise=0.0 Jy/beam must be positive"),
        ({"beam": -1}, "beam=-1 must be"),
        ({"beam": (1, 2, 3)}, "a pair of them"),
        ({"edges": [0, 0, 1]}, "must increase"),
        ({"edges": [0.1, 1]}, "factor of two"),
        ({"edges": [0, 1]}, "factor of two"),
        ({"edges": [0, np.nan]}, "missing"),
        ({"psf": np.ones((3, 3))}, "needs its pixel_scale"),
        ({"flux_range": 1e-3}, "two positive flux densities"),
        ({"psf": 0.5 * gaussian_psf(), "pixel_scale": 5}, "peak of 1, not 0.5"),
        ({"psf": np.ones(3), "pixel_scale": 5}, "shape"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        deflection_probability(**{"counts": COUNTS, "edges": [0, 1e-5], "beam": FWHM, "noise": NOISE} | change)


def test_wrong_units():
    with pytest.raises(u.UnitConversionError, match="edges"):
        deflection_probability(COUNTS, [0, 1] * u.K, beam=FWHM, noise=NOISE)
    with pytest.raises(u.UnitConversionError, match="noise"):
        deflection_probability(COUNTS, [0, 1], beam=FWHM, noise=1 * u.Jy)


@pytest.mark.parametrize("log_flux", [[-5.0], [-4.0, -5.0], [-5.0, np.nan]])
def test_bad_nodes(log_flux):
    with pytest.raises(ValueError, match="two or more, finite and increasing"):
        DeflectionModel(log_flux, BeamResponse(FWHM), NOISE, NOISE)
