"""PSF tables against the closed forms of the Gaussian."""

import astropy.units as u
import healpy as hp
import numpy as np
import pytest

from astrolearn.sky import RadialPSF

SIGMA_OF_R68 = 1 / np.sqrt(-2 * np.log(0.32))


def test_gaussian_containment():
    psf = RadialPSF.gaussian([0.3, 1.2] * u.deg)
    np.testing.assert_allclose(psf.containment_radius().to_value("deg"), [0.3, 1.2], rtol=1e-3)
    r95 = np.array([0.3, 1.2]) * SIGMA_OF_R68 * np.sqrt(-2 * np.log(0.05))
    np.testing.assert_allclose(psf.containment_radius(0.95).to_value("deg"), r95, rtol=2e-3)


def test_gaussian_window():
    sigma = np.deg2rad(1.0) * SIGMA_OF_R68
    ell = np.arange(301)
    window = RadialPSF.gaussian(1 * u.deg).beam_window(300)[0]
    np.testing.assert_allclose(window, np.exp(-0.5 * ell * (ell + 1) * sigma**2), atol=2e-3)
    np.testing.assert_allclose(window, hp.gauss_beam(sigma * np.sqrt(8 * np.log(2)), 300), atol=2e-3)


def test_samples_follow_the_profile():
    psf = RadialPSF.gaussian(1 * u.deg)
    radii = psf.sample(100_000, 0, np.random.default_rng(0))
    assert np.mean(radii < np.deg2rad(1.0)) == pytest.approx(0.68, abs=0.005)
    sigma = np.deg2rad(1.0) * SIGMA_OF_R68
    assert np.mean(radii**2) == pytest.approx(2 * sigma**2, rel=0.02)


def test_pixels_widen_by_their_variance():
    psf, pixel = RadialPSF.gaussian(0.4 * u.deg), np.deg2rad(0.5)
    wide = psf.pixelised(pixel)
    theta = wide.theta.to_value("rad")
    profile = wide.evaluate(theta, 0)
    mean_square = np.trapezoid(profile * theta**3, theta) / np.trapezoid(profile * theta, theta)
    sigma = np.deg2rad(0.4) * SIGMA_OF_R68
    assert mean_square == pytest.approx(2 * (sigma**2 + pixel**2 / 12), rel=0.03)


def test_merged_bins_average_their_profiles():
    psf = RadialPSF.gaussian([0.3, 0.6, 1.2] * u.deg)
    merged = psf.combine([[0], [1, 2]], [1, 3, 1])
    expected = (3 * psf.evaluate(0.005, 1) + psf.evaluate(0.005, 2)) / 4
    assert merged.n_energy == 2
    assert merged.evaluate(0.005, 1) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("theta", "profile", "message"),
    [
        ([0, 1, 2], [[1, 1]], "do not fit"),
        ([1, 2], [1, 1], "start at 0"),
        ([0, 0], [1, 1], "increase"),
        ([0, 1], [1, -1], "not negative"),
        ([0, 1], [1, np.nan], "finite"),
        ([0, 1], [0, 0], "zero everywhere"),
    ],
)
def test_bad_tables_are_refused(theta, profile, message):
    with pytest.raises(ValueError, match=message):
        RadialPSF(theta * u.deg, profile)


def test_radii_must_be_angles():
    with pytest.raises(u.UnitConversionError):
        RadialPSF.gaussian(1 * u.m)
    with pytest.raises(ValueError, match="positive"):
        RadialPSF.gaussian(0 * u.deg)
