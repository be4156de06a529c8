"""Weighted sums under the PSF: the same on the sphere and in images, checked by adding up photons."""

import astropy.units as u
import healpy as hp
import numpy as np
import pytest
from astropy.wcs import WCS

from astrolearn.sky.convolve import correlate, kernel_sum
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
def test_functions_of_the_weights(r68):
    lattice = NestedLattice(NSIDE)
    psf = RadialPSF.gaussian(r68 * u.deg).pixelised(lattice.pixel_size)
    delta = np.zeros(lattice.shape, np.float32)
    delta[12345] = 1
    once, twice, log = correlate(lattice, [delta] * 3, psf, 0, [np.positive, np.square, np.log1p])
    bright = once > 0.02 * once.max()
    np.testing.assert_allclose(twice[bright], once[bright] ** 2, rtol=0.2, atol=0.02 * once.max() ** 2)
    np.testing.assert_allclose(log[bright], np.log1p(once[bright]), rtol=0.15, atol=0.02 * once.max())
    for kernel, sums in ((np.positive, once), (np.square, twice), (np.log1p, log)):
        assert kernel_sum(lattice, psf, 0, kernel) == pytest.approx(sums.sum(), rel=0.03)


@pytest.mark.parametrize("kind", ["sphere", "image"])
def test_quarters_are_centred_on_the_finer_pixels(kind):
    """The map of a narrow source is brightest at the quarter where it lies, and their mean is the map of pixels."""
    lattice = NestedLattice(NSIDE) if kind == "sphere" else image()
    psf = RadialPSF.gaussian(np.rad2deg(lattice.pixel_size) * 0.4 * u.deg).pixelised(lattice.pixel_size)
    pixel = lattice.coords.size // 3 + 17
    for dx, dy in ((-0.3, -0.3), (-0.3, 0.3), (0.3, -0.3), (0.3, 0.3)):
        source = lattice.positions(np.array([pixel]), np.array([dx]), np.array([dy]))
        distance = lattice.coords.ravel().separation(source[0]).rad.reshape(lattice.shape)
        values = psf.evaluate(distance, 0).astype(np.float32)
        quarters = correlate(lattice, [values], psf, 0, quarters=True)[0]
        finer = lattice.finer
        brightest = np.argmax(lattice.interleave(quarters))
        assert brightest == finer.offsets(source)[0][0]
    wide = RadialPSF.gaussian(np.rad2deg(lattice.pixel_size) * 3 * u.deg)
    assert correlate(lattice, [values], wide, 0, quarters=True).shape == (1, 1, *lattice.shape)


def test_weights_of_an_image_add_to_one():
    lattice = image()
    psf = RadialPSF.gaussian(0.5 * u.deg).pixelised(lattice.pixel_size)
    delta = np.zeros((1, *lattice.shape), np.float32)
    delta[0, 48, 48] = 7
    light = correlate(lattice, delta, psf, 0)[0]
    assert light.sum() == pytest.approx(7, rel=1e-5)
    inside = np.hypot(*(np.indices(lattice.shape) - 48)) * 0.2 <= psf.containment_radius()[0].to_value("deg")
    assert light[inside].sum() == pytest.approx(7 * 0.68, rel=0.03)
