import astropy.units as u
import numpy as np
import pytest
from scipy.special import sici

from astrolearn.counts.beam_response import LOG_STEP, BeamResponse
from astrolearn.counts.models import CountModel
from astrolearn.counts.pofd import deflection_probability

ARCSEC = np.pi / 180 / 3600
FWHM, PIXEL = 15.0, 5.0
OMEGA = np.pi * (FWHM * ARCSEC) ** 2 / (4 * np.log(2))
COUNTS = CountModel.from_logs([-6.0, -5.5, -5.0], [13.0, 12.5, 11.2])


def beam(width=FWHM, n=97, shift=0):
    """A Gaussian on pixels."""
    x = (np.arange(n) - n // 2) * PIXEL
    return np.exp(-4 * np.log(2) * ((x - shift * PIXEL) ** 2 + x[:, None] ** 2) / width**2)


PSF = 1.3 * beam() - 0.3 * beam(40)


def fluxes(low, n):
    return low * np.exp(LOG_STEP * np.arange(n))


def test_gaussian_kernel():
    flux = fluxes(1e-6, 41)
    frequency = np.array([1.0, 1e3, 1e6, 1e8])
    kernel = BeamResponse(FWHM).kernel(frequency, flux)
    # between grid points, S^2 n linear in ln S: n = S^-2 is summed exactly
    log_s = np.linspace(np.log(flux[0]), np.log(flux[-1]), 100001)
    for row, w in zip(kernel, frequency, strict=True):
        sine, cosine = sici(w * np.exp(log_s))
        exact = OMEGA * (cosine - np.euler_gamma - np.log(w * np.exp(log_s)) + 1j * sine)
        expected = np.trapezoid(exact * np.exp(-log_s), log_s)
        assert row @ (1 / flux) == pytest.approx(expected, rel=1e-5)


def test_psf_kernel_is_the_sum_over_its_pixels():
    flux = fluxes(1e-6, 3)
    frequency = np.array([1e4, 3e5, 2e6])
    kernel = BeamResponse(FWHM, PSF, PIXEL).kernel(frequency, flux)
    pixels = (PIXEL * ARCSEC) ** 2
    log_s = np.linspace(-LOG_STEP, LOG_STEP, 201)
    triangle = np.exp(-log_s) * (1 - np.abs(log_s) / LOG_STEP)
    for row, w in zip(kernel, frequency, strict=True):
        exact = [pixels * (np.exp(1j * w * flux[1] * np.exp(v) * PSF) - 1).sum() for v in log_s]
        assert row[1] == pytest.approx(np.trapezoid(exact * triangle, log_s), rel=3e-3)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_moments(order):
    assert BeamResponse(FWHM).moment(order) == pytest.approx(OMEGA / order)
    assert BeamResponse((10, 22.5)).moment(order) == pytest.approx(OMEGA / order)
    expected = (PIXEL * ARCSEC) ** 2 * (PSF**order).sum()
    assert BeamResponse(FWHM, PSF, PIXEL).moment(order) == pytest.approx(expected, rel=3e-3)


def test_clean_is_the_psf_below_and_the_beam_far_above_the_threshold():
    frequency = np.geomspace(1e3, 1e5, 5)
    flux = fluxes(1e-6, 201)
    cleaned = BeamResponse(FWHM, PSF, PIXEL, 1e-4 * u.Jy / u.beam)
    dirty, clean = BeamResponse(FWHM, PSF, PIXEL), BeamResponse(FWHM)
    below = flux < 0.95e-4
    kernel = cleaned.kernel(frequency, flux)
    np.testing.assert_allclose(kernel[:, below], dirty.kernel(frequency, flux)[:, below])
    np.testing.assert_allclose(cleaned.mean(flux)[below], dirty.moment(1))
    np.testing.assert_allclose(cleaned.mean(1.0), clean.moment(1) + 1e-4 * (dirty.moment(1) - clean.moment(1)))
    far = BeamResponse(FWHM, PSF, PIXEL, 1e-9).kernel(frequency, flux)
    # sampled levels leave ripples where frequency * flux is large, which vanish in sums over flux
    np.testing.assert_allclose(far, clean.kernel(frequency, flux), rtol=0.015)
    np.testing.assert_allclose(far.sum(axis=1), clean.kernel(frequency, flux).sum(axis=1), rtol=1e-3)


def test_cumulants_of_a_restored_image():
    noise, threshold = 10e-6, 8e-6
    edges = np.arange(-12, 30, 0.05) * noise
    p = deflection_probability(COUNTS, edges, beam=FWHM, noise=noise, psf=PSF, pixel_scale=PIXEL,
                               clean_threshold=threshold)
    x = (edges[1:] + edges[:-1]) / 2
    mean = p @ x
    actual = [mean, *(p @ (x - mean) ** m for m in (2, 3))]
    log_s = np.linspace(-7, -4, 1501)
    s = 10**log_s
    weight = 10 ** (COUNTS.log_density(log_s) + log_s) * np.log(10)
    expected = []
    for m in (1, 2, 3):
        restored = [((max(f - threshold, 0) * beam() + min(f, threshold) * PSF) ** m).sum() for f in s[::10]]
        expected.append((PIXEL * ARCSEC) ** 2 * np.trapezoid(np.array(restored) * weight[::10], log_s[::10]))
    expected[1] += noise**2 * (1 + 0.05**2 / 12)
    np.testing.assert_allclose(actual, expected, rtol=3e-3)
    # it matters: neither the beam nor the PSF alone has this skewness
    for other in ({}, {"psf": PSF, "pixel_scale": PIXEL}):
        q = deflection_probability(COUNTS, edges, beam=FWHM, noise=noise, **other)
        assert abs(q @ (x - q @ x) ** 3 / expected[2] - 1) > 0.01


def test_psf_off_centre():
    frequency, flux = np.geomspace(1e3, 1e6, 4), fluxes(1e-5, 21)
    middle, aside = (BeamResponse(FWHM, 1.3 * beam(shift=k) - 0.3 * beam(40, shift=k), PIXEL, 1e-5) for k in (0, 3))
    np.testing.assert_allclose(aside.kernel(frequency, flux), middle.kernel(frequency, flux), rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "beam=0 must be a positive width"),
        (((1, 2, 3),), "a pair of them"),
        ((FWHM, PSF), "needs its pixel_scale"),
        ((FWHM, PSF / 2, PIXEL), "peak of 1, not 0.5"),
        ((FWHM, PSF[0], PIXEL), "shape"),
        ((FWHM, PSF, PIXEL, 0), "clean_threshold=0 must be positive"),
        ((FWHM, None, None, 1e-4), "needs a psf"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        BeamResponse(*arguments)
