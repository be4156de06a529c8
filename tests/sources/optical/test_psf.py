"""Profiles of stars: their light adds up, their widths are as said, and drawing them loses nothing."""

import astropy.units as u
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import dblquad

from astrolearn.sources.optical import EmpiricalPSF, MoffatPSF
from astrolearn.sources.optical.psf import add_stars

STEP = np.arange(-150, 151)


def on_grid(psf, x=0.0, y=0.0):
    return psf((STEP - x)[None, :], (STEP - y)[:, None])


@settings(max_examples=20, deadline=None)
@given(
    st.floats(1.2, 7), st.sampled_from([2.5, 3.5, np.inf]), st.floats(0, 0.3), st.floats(0, 180), st.floats(-0.5, 0.5)
)
def test_all_light_arrives_wherever_the_star_is(fwhm, beta, ellipticity, angle, shift):
    light = on_grid(MoffatPSF(fwhm, beta, ellipticity, angle * u.deg), shift, -shift)
    lost = 0 if np.isinf(beta) else (1 + 4 * (150 / fwhm) ** 2 * (2 ** (1 / beta) - 1)) ** (1 - beta)
    assert light.sum() == pytest.approx(1 - lost, abs=3e-4)
    if fwhm > 2.5:  # sharper ones lose their centre to the pixels
        assert (light.sum(axis=0) @ STEP) / light.sum() == pytest.approx(shift, abs=2e-3)


def test_light_in_a_pixel_is_the_integral_over_it():
    """An undersampled star half a pixel off: the centre of the pixel would be wrong by a lot."""
    psf = MoffatPSF(1.5, 3.0)
    core = 1.5**2 / (4 * (2 ** (1 / 3) - 1))
    exact = dblquad(lambda y, x: 2 / (np.pi * core) * (1 + (x**2 + y**2) / core) ** -3, -0.1, 0.9, -0.6, 0.4)[0]
    assert psf(np.array([0.4]), np.array([-0.1]))[0] == pytest.approx(exact, rel=2e-3)


def test_width_and_direction():
    """Half of the peak's light at half of the width, along the axes of a wide ellipse."""
    psf = MoffatPSF(20, 3.0, ellipticity=0.5, angle="30 deg")
    peak = psf(0.0, 0.0)
    for angle, reach in ((30, 10 * np.sqrt(2)), (120, 10 / np.sqrt(2))):
        x, y = reach * np.cos(np.deg2rad(angle)), reach * np.sin(np.deg2rad(angle))
        assert psf(x, y) / peak == pytest.approx(0.5, abs=0.005)


def test_a_measured_profile_is_interpolated():
    """A Gaussian given as an array, five elements to the pixel, against the Gaussian itself."""
    fine = np.arange(-75, 76) / 5
    gaussian = MoffatPSF(3.0, np.inf)
    sampled = np.exp(-4 * np.log(2) * (fine[:, None] ** 2 + fine**2) / 9)
    empirical = EmpiricalPSF(sampled, oversampling=5)
    place = STEP[140:161] - 0.37
    difference = empirical(place[None], place[:, None]) - gaussian(place[None], place[:, None])
    assert np.abs(difference).max() < 2e-4
    assert empirical.fwhm == pytest.approx(3.15, abs=0.1)  # the pixel makes it wider
    assert empirical(np.array([80.0]), np.array([0.0]))[0] == 0


def test_stars_are_drawn_to_the_faintest_light():
    image, psf = np.zeros((301, 301)), MoffatPSF(3.0, 3.0)
    add_stars(image, psf, np.array([150.0, 150.0]), np.array([150.0, 150.0]), np.array([1.0, 1e5]), 1e-3)
    np.testing.assert_allclose(image, (1e5 + 1) * on_grid(psf), rtol=1e-3, atol=1e-3)
    beside = np.zeros((301, 301))
    add_stars(beside, psf, np.array([-3.0, 305.0]), np.array([150.0, -2.0]), np.array([1e4, 1e4]), 1e-3)
    assert beside[150, 0] == pytest.approx(1e4 * psf(3.0, 0.0)) and beside[0, 300] > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MoffatPSF(0), "fwhm=0 must be positive"),
        (lambda: MoffatPSF(3, beta=1), "beta=1 above 1"),
        (lambda: MoffatPSF(3, ellipticity=1), "ellipticity=1 in"),
        (lambda: EmpiricalPSF(np.ones((4, 5))), "must be odd"),
        (lambda: EmpiricalPSF(np.ones((5, 5)), oversampling=2), "must be odd"),
        (lambda: EmpiricalPSF(np.zeros((5, 5))), "no positive sum"),
    ],
)
def test_what_is_no_profile_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
