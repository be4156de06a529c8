"""Simulated galaxies: their light, their noise, and that nothing but the magnitudes tells the magnitudes."""

import astropy.units as u
import numpy as np
import pytest

from astrolearn.photoz import simulate_stamps
from astrolearn.photoz.stamps import SDSS_DEPTH

MAGNITUDES = np.tile([19.0, 18.0, 17.0, 16.5, 16.0], (60, 1))


def test_light():
    images = simulate_stamps(MAGNITUDES * u.mag, size=64, random_state=0)
    assert images.unit == u.nmgy
    assert images.shape == (60, 5, 64, 64)
    flux = images.value.sum(axis=(2, 3))
    # nanomaggies have the zero point 22.5; an image of 25 arcsec lacks the outskirts of spheroids
    share = flux / 10 ** (0.4 * (22.5 - MAGNITUDES))
    assert (share[:, 3] < 1.05).all()
    assert np.median(share[:, 3]) == pytest.approx(0.95, abs=0.04)
    # one profile in all bands: the colours are those of the magnitudes
    assert np.median(flux[:, 2] / flux[:, 3]) == pytest.approx(10**-0.2, rel=0.02)


@pytest.mark.parametrize("size", [32, 33])
def test_galaxies_are_in_the_middle(size):
    images = simulate_stamps(np.full((400, 1), 14.0), size=size, depth=(30.0,), random_state=3).value[:, 0]
    position = np.arange(size) - (size - 1) / 2
    peak = images * (images > 0.3 * images.max(axis=(1, 2), keepdims=True))
    for axis in (1, 2):
        centre = (peak.sum(axis=axis) * position).sum(axis=1) / peak.sum(axis=(1, 2))
        assert np.abs(centre).max() < 1.3
        assert centre.mean() == pytest.approx(0, abs=4 * np.sqrt(1 / 3 / 400))


def test_noise_is_that_of_the_depth():
    images = simulate_stamps(np.full((20, 5), 40.0), random_state=1).value
    # a matched filter for a point source of 1.2 arcsec measures the limit with five standard deviations
    y, x = np.mgrid[-15.5:16, -15.5:16]
    psf = np.exp(-(x**2 + y**2) / 2 / (1.2 / 2.3548 / 0.396) ** 2)
    psf /= psf.sum()
    error = images.std(axis=(0, 2, 3)) / np.sqrt((psf**2).sum())
    np.testing.assert_allclose(22.5 - 2.5 * np.log10(5 * error), SDSS_DEPTH, atol=0.02)


def test_shapes_vary_and_are_seeded():
    one, same, other = (simulate_stamps(MAGNITUDES[:20], random_state=seed).value for seed in (2, 2, 3))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1
    peak = one[:, 2].max(axis=(1, 2)) / one[:, 2].sum(axis=(1, 2))
    assert peak.max() > 2 * peak.min()


def test_bad_input():
    with pytest.raises(ValueError, match="depth has 5 bands, magnitudes 3"):
        simulate_stamps(MAGNITUDES[:, :3])
    with pytest.raises(u.UnitConversionError, match="magnitudes has the unit 'nJy'"):
        simulate_stamps(MAGNITUDES * u.nJy)
    assert simulate_stamps(MAGNITUDES[:1] * u.ABmag).shape == (1, 5, 32, 32)
    with pytest.raises(u.UnitConversionError, match="seeing"):
        simulate_stamps(MAGNITUDES, seeing="1 s")
    with pytest.raises(ValueError, match="missing"):
        simulate_stamps(np.full((2, 5), np.nan))
