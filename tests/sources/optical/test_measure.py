"""Fluxes and centroids: right on stars that are known, also where they overlap, and with errors that mean something."""

from dataclasses import replace

import numpy as np
import pytest

from astrolearn.sources.optical import MoffatPSF, StarFieldSimulator
from astrolearn.sources.optical.images import read_image
from astrolearn.sources.optical.measure import measure_flux, windowed_centroids
from astrolearn.sources.optical.psf import add_stars
from astrolearn.sources.optical.seeing import measure_fwhm


def image_of(x, y, flux, psf, shape=(128, 128), noise=10.0, seed=0, mask=None):
    """A StarImage of stars at known places on white noise."""
    (image,) = StarFieldSimulator(shape, n_stars=0).sample(random_state=seed)
    image.data = np.random.default_rng(seed).normal(1000, noise, shape)
    add_stars(image.data, psf, x, y, flux, 1e-3 * noise)
    image.mask = mask
    return read_image(image, np.sqrt(psf.fwhm**2 + 8 * np.log(2) / 12))  # the pixel makes stars wider


@pytest.fixture
def grid():
    """Bright stars that do not touch, at all places within a pixel."""
    rng = np.random.default_rng(1)
    x, y = (axis.ravel() * 32.0 + 16 for axis in np.meshgrid(np.arange(8), np.arange(8)))
    return x + rng.uniform(-0.5, 0.5, 64), y + rng.uniform(-0.5, 0.5, 64)


@pytest.mark.parametrize(("fwhm", "most"), [(1.5, 0.04), (2.5, 0.03), (4.0, 0.03)])
def test_centroids_of_bright_stars(grid, fwhm, most):
    """From a first guess a third of a pixel off; 0.05 pixel per axis is what is promised."""
    x, y = grid
    image = image_of(x, y, np.full(64, 3e4), MoffatPSF(fwhm, 3.5), (256, 256))
    guess = np.random.default_rng(2).uniform(-0.3, 0.3, (2, 64))
    photometry = measure_flux(image, x + guess[0], y + guess[1])
    new_x, new_y, error = windowed_centroids(image, x + guess[0], y + guess[1], photometry)
    assert np.sqrt(np.mean((new_x - x) ** 2)) < most and np.sqrt(np.mean((new_y - y) ** 2)) < most
    assert np.all(error < 0.02)


def test_errors_of_centroids_are_those_of_the_noise(grid):
    x, y = grid
    image = image_of(x, y, np.full(64, 1500.0), MoffatPSF(3.0, np.inf), (256, 256))
    new_x, new_y, error = windowed_centroids(image, x, y, measure_flux(image, x, y))
    pull = np.concatenate([new_x - x, new_y - y]) / np.tile(error, 2)
    assert np.std(pull) == pytest.approx(1, abs=0.25)


def test_flux_is_the_light_in_the_aperture(grid):
    """A Moffat star has more light than the Gaussian that fits it; errors are those of a matched filter."""
    x, y = grid
    psf = MoffatPSF(3.0, 3.0)
    flux = np.geomspace(3000, 1e5, 64)
    image = image_of(x, y, flux, psf, (256, 256))
    found = measure_flux(image, x, y)
    core = psf.fwhm**2 / (4 * (2 ** (1 / 3) - 1))
    inside = 1 - (1 + (3 * psf.fwhm) ** 2 / core) ** -2.0  # within three widths
    assert np.median(found.flux * image.scale / flux) == pytest.approx(inside, abs=0.01)
    assert np.median(found.flux / found.gaussian) > 1.05
    sigma = np.sqrt(9 + 8 * np.log(2) / 12) / 2.3548
    assert np.median(found.gaussian / found.significance * image.scale) == pytest.approx(
        10 * np.sqrt(4 * np.pi) * sigma, rel=0.06
    )


def test_overlapping_stars_share_the_light():
    """Two stars 0.75 widths apart, one five times as bright: each has its own flux, and the errors know of it."""
    psf = MoffatPSF(3.0, np.inf)
    pulls = []
    for seed in range(15):
        x, y, flux = np.array([60.0, 62.25, 20.0]), np.array([60.2, 60.0, 100.0]), np.array([2e4, 4e3, 4e3])
        image = image_of(x, y, flux, psf, seed=seed)
        found = measure_flux(image, x, y)
        assert found.flux_error[1] > 1.05 * found.flux_error[2]
        assert found.flux[1] * image.scale == pytest.approx(4e3, rel=0.35)
        new_x, new_y, _ = windowed_centroids(image, x + 0.1, y, found)
        pulls.append([(new_x - x)[0], (new_y - y)[0]])
    assert np.sqrt(np.mean(np.square(pulls))) < 0.1


def test_the_same_star_twice_does_not_blow_up():
    image = image_of(np.array([50.0]), np.array([50.0]), np.array([1e4]), MoffatPSF(3.0, np.inf))
    found = measure_flux(image, np.array([50.0, 50.05]), np.array([50.0, 50.0]))
    assert np.all(np.isfinite(found.flux)) and found.flux.sum() * image.scale == pytest.approx(1e4, rel=0.1)


def test_where_nothing_is_seen_there_is_no_centroid():
    mask = np.zeros((128, 128), bool)
    mask[48:53, 48:53] = True
    x, y = np.array([50.0, 90.0, 0.2]), np.array([50.0, 90.0, 64.0])
    image = image_of(x, y, np.full(3, 1e4), MoffatPSF(3.0), mask=mask)
    found = measure_flux(image, x, y)
    new_x, _, error = windowed_centroids(image, x, y, found)
    assert np.isnan(new_x[0]) and np.isnan(error[0])
    assert new_x[1] == pytest.approx(90.0, abs=0.05)
    assert np.isnan(new_x[2])  # half of the star is beyond the rim


def test_no_stars():
    image = image_of(np.zeros(0), np.zeros(0), np.zeros(0), MoffatPSF(3.0))
    found = measure_flux(image, np.zeros(0), np.zeros(0))
    assert len(found.flux) == len(found.significance) == 0
    assert all(len(a) == 0 for a in windowed_centroids(image, np.zeros(0), np.zeros(0), found))


@pytest.mark.parametrize("n", [1, 3, 4])
def test_fluxes_where_few_stars_are_bright(n):
    x, y = np.array([40.2, 200.4, 60.7, 190.1])[:n], np.array([50.3, 60.1, 180.6, 200.2])[:n]
    image = image_of(x, y, np.full(n, 2e4), MoffatPSF(3.0, 3.0), (256, 256))
    assert measure_flux(image, x, y).flux * image.scale == pytest.approx(np.full(n, 2e4), rel=0.06)
    # of faint ones, a typical star's light beyond the Gaussian is put on top, whose width is that of bright ones
    faint = image_of(x, y, np.full(n, 3500.0), MoffatPSF(3.0, 3.0), (256, 256), noise=25.0)
    width = measure_fwhm(image.light / image.noise, image.valid)[0] if n > 1 else 3.45
    found = measure_flux(replace(faint, fwhm=width), x, y)
    assert found.significance.max() < 40
    assert np.mean(found.flux) * faint.scale == pytest.approx(3500, rel=0.1)
