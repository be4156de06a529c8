"""Weighted sums under the PSF: the same on the sphere and in images, checked by adding up photons."""

import astropy.units as u
import healpy as hp
import numpy as np
import pytest
from astropy.wcs import WCS

from astrolearn.sky.convolve import correlate
from astrolearn.sky.lattice import ImageLattice, NestedLattice
from astrolearn.sky.psf import RadialPSF

NSIDE = 64


def image(n=96, scale=0.2):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cdelt = ["GLON-TAN", "GLAT-TAN"], [-scale, scale]
    wcs.wcs.crval, wcs.wcs.crpix = [0, 0], [n / 2, n / 2]
    return ImageLattice((n, n), wcs)


@pytest.mark.parametrize("r68", [0.5, 1.0, 2.5])  # pixels of 0.92 deg: summed over neighbours, and by harmonics
def test_sums_on_the_sphere_match_a_direct_sum(r68):
    lattice = NestedLattice(NSIDE)
    psf = RadialPSF.gaussian(r68 * u.deg).pixelised(lattice.pixel_size)
    values = np.random.default_rng(0).poisson(3.0, lattice.shape).astype(np.float32)
    found = correlate(lattice, [values], psf, 0)[0]
    vectors = np.array(hp.pix2vec(NSIDE, np.arange(lattice.shape[0]), nest=True)).T
    for pixel in (0, 4095, 20000, 33333, 49151):
        weight = psf.evaluate(np.arccos(np.clip(vectors @ vectors[pixel], -1, 1)), 0) * lattice.pixel_size**2
        assert found[pixel] == pytest.approx(weight @ values / weight.sum(), rel=0.03)


def test_both_ways_agree_where_they_meet():
    lattice = NestedLattice(NSIDE)
    rng = np.random.default_rng(1)
    values = rng.poisson(3.0, lattice.shape).astype(np.float32)[None]
    narrow, wide = (RadialPSF.gaussian(r * u.deg).pixelised(lattice.pixel_size) for r in (1.09, 1.13))
    assert (
        narrow.containment_radius().to_value("rad")[0]
        < 1.3 * lattice.pixel_size
        < wide.containment_radius().to_value("rad")[0]
    )
    a, b = correlate(lattice, values, narrow, 0), correlate(lattice, values, wide, 0)
    # the two kernels differ by 4 % in width; ringing or a wrong distance would show far above that
    assert np.std(a - b) < 0.08 * np.std(a)


@pytest.mark.parametrize("r68", [0.6, 2.0])
def test_squared_weights(r68):
    lattice = NestedLattice(NSIDE)
    psf = RadialPSF.gaussian(r68 * u.deg).pixelised(lattice.pixel_size)
    delta = np.zeros((1, *lattice.shape), np.float32)
    delta[0, 12345] = 1
    once, twice = correlate(lattice, delta, psf, 0, squared=delta)
    bright = once > 0.02 * once.max()
    np.testing.assert_allclose(twice[bright], once[bright] ** 2, rtol=0.15, atol=0.02 * once.max() ** 2)
    assert twice.sum() == pytest.approx((once**2).sum(), rel=0.03)


def test_weights_of_an_image_add_to_one():
    lattice = image()
    psf = RadialPSF.gaussian(0.5 * u.deg).pixelised(lattice.pixel_size)
    delta = np.zeros((1, *lattice.shape), np.float32)
    delta[0, 48, 48] = 7
    light = correlate(lattice, delta, psf, 0)[0]
    assert light.sum() == pytest.approx(7, rel=1e-5)
    inside = np.hypot(*(np.indices(lattice.shape) - 48)) * 0.2 <= psf.containment_radius()[0].to_value("deg")
    assert light[inside].sum() == pytest.approx(7 * 0.68, rel=0.03)
