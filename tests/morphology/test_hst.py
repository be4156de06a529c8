"""HST's bands and PSFs: against Tiny Tim, optics on paper, and themselves."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from scipy import ndimage
from scipy.special import j1

from astrolearn.morphology.hst import BANDS, Camera, PointSpread, hst_psf

LETTERS = {"F160W": "h", "F125W": "j", "F606W": "v", "F850LP": "z"}
PERFECT = Camera(pixel=1e-4, secondary=0, spider=0, outer=1, rotation=0, wavefront=(0,) * 8, diffusion=((1, 0, 0),))


def encircled(psf, radius):
    """Share of the light within a radius (pixels) of the central pixel, whose pieces count by their own centres."""
    n, pieces = len(psf), 15
    place = np.abs((np.arange(n * pieces) + 0.5) / pieces - n / 2)
    inside = np.hypot(place[:, None], place[None, :]) < radius
    share = inside.reshape(n, pieces, n, pieces).mean(axis=(1, 3))
    return (share * psf).sum() / psf.sum()


def noise_equivalent_pixels(psf):
    """Noise-equivalent number of pixels, 1 / sum(p^2): the area that matched filters feel."""
    return psf.sum() ** 2 / (psf**2).sum()


@pytest.mark.parametrize("name", BANDS)
def test_tiny_tim(name, shared_data):
    path = shared_data / "morphology" / "tinytim_psf.npz"
    if not path.is_file():
        pytest.skip("needs PSFs of Tiny Tim: morphology/tinytim_psf.npz in the folder of observations")
    reference = np.load(path)[LETTERS[name]].astype(float)
    row, column = np.unravel_index(reference.argmax(), reference.shape)
    half = min(row, column, *(np.array(reference.shape) - 1 - (row, column)))
    reference = reference[row - half : row + half + 1, column - half : column + half + 1]
    # these are in pixels of the detector, 0.13 and 0.05 arcsec
    psf = hst_psf(name, pixel_scale=None, n_pixels=len(reference))
    assert psf.max() == pytest.approx(reference.max() / reference.sum(), rel=0.1)
    assert noise_equivalent_pixels(psf) == pytest.approx(noise_equivalent_pixels(reference), rel=0.15)
    for radius in (0.1, 0.15, 0.2, 0.3, 0.5, 1.0):
        pixels = radius / BANDS[name].camera.pixel
        assert encircled(psf, pixels) == pytest.approx(encircled(reference, pixels), abs=0.025), radius


def test_airy():
    # a clear aperture of one wavelength: (2 J1(x) / x)^2, whose first zero is at 1.22 lambda / D
    band = replace(BANDS["F160W"], limits=(1.6, 1.6 + 1e-9), camera=PERFECT)
    scale = 0.012
    psf = hst_psf(band, pixel_scale=scale, n_pixels=61, pixfrac=0)
    lambda_over_d = (1.6e-6 / 2.4 * u.rad).to_value(u.arcsec)
    row, column = np.mgrid[-30:31, -30:31]
    x = np.pi * np.hypot(row, column) * scale / lambda_over_d + 1e-9
    airy = (2 * j1(x) / x) ** 2
    np.testing.assert_allclose(psf / psf.max(), airy, atol=0.02)
    profile = psf[30, 30:]
    first_zero = np.argmax(np.diff(profile) > 0) * scale
    assert first_zero == pytest.approx(1.22 * lambda_over_d, abs=scale)


@pytest.mark.parametrize(("name", "fwhm"), [("F160W", 0.18), ("F125W", 0.17), ("F606W", 0.10), ("F850LP", 0.10)])
def test_mosaic_psf(name, fwhm):
    psf = hst_psf(name)
    assert psf.shape == (101, 101)
    assert psf.sum() == pytest.approx(1)
    assert np.unravel_index(psf.argmax(), psf.shape) == (50, 50)
    # sampled finely, and smeared by pixels of 0.06 arcsec: the widths of stars in the mosaics of CANDELS
    fine = hst_psf(name, pixel_scale=0.012, n_pixels=125)
    smeared = ndimage.uniform_filter(fine, 5)
    half = np.interp(-smeared.max() / 2, -smeared[62, 62:90], np.arange(28)) * 2 * 0.012
    assert half == pytest.approx(fwhm, rel=0.1)


def test_spikes_are_where_the_vanes_put_them():
    psf = hst_psf(replace(BANDS["F160W"], camera=replace(BANDS["F160W"].camera, rotation=0, wavefront=(0,) * 8)))
    step = np.arange(25, 45)
    diagonal = 50 + np.rint(step / np.sqrt(2)).astype(int)
    assert psf[50, 50 + step].mean() > 3 * psf[diagonal, diagonal].mean()
    bare = replace(BANDS["F160W"], camera=replace(BANDS["F160W"].camera, rotation=0, spider=0, wavefront=(0,) * 8))
    assert hst_psf(bare)[50, 50 + step].mean() < 0.7 * psf[50, 50 + step].mean()


def test_between_pixels():
    spread = PointSpread.of_band(BANDS["F606W"], 0.06)
    psf = hst_psf("F606W")
    np.testing.assert_allclose(spread.star(0, 0, 0), psf, atol=1e-4)
    np.testing.assert_allclose(spread.star(1, -2, 0)[:-3, 1:], psf[2:-1, :-1], atol=2e-4)
    row, column = np.mgrid[-50:51, -50:51]
    for x, y, angle in ((0.3, -0.4, 0), (-0.5, 0.5, 1), (0.25, 0, 2.5)):
        star = spread.star(x, y, angle)
        assert star.sum() == pytest.approx(1, abs=1e-5)
        near = np.hypot(row, column) < 8
        centroid = [(star * axis)[near].sum() / star[near].sum() for axis in (column, row)]
        unshifted = spread.star(0, 0, angle)
        origin = [(unshifted * axis)[near].sum() / unshifted[near].sum() for axis in (column, row)]
        assert np.subtract(centroid, origin) == pytest.approx([x, y], abs=0.05)
    # light in pixels is convolved with a PSF that is narrower by the pixel
    assert noise_equivalent_pixels(spread.kernel(0)) < noise_equivalent_pixels(psf)
    quarter = spread.star(0, 0, np.pi / 2)
    np.testing.assert_allclose(np.rot90(spread.star(0, 0, 0), -1), quarter, atol=1e-5)


def test_own_psf():
    own = np.zeros((5, 5))
    own[2, 2], own[2, 3] = 3, 1
    spread = PointSpread.of_image(own, "F160W")
    np.testing.assert_allclose(spread.kernel(1.0), own / 4, atol=1e-6)
    for wrong in (np.ones((4, 4)), np.ones(5), np.ones((3, 5))):
        with pytest.raises(ValueError, match="the psf of F160W has the shape"):
            PointSpread.of_image(wrong, "F160W")
    for wrong in (np.zeros((3, 3)), np.full((3, 3), np.nan)):
        with pytest.raises(ValueError, match="must be finite and have a positive sum"):
            PointSpread.of_image(wrong, "F160W")


def test_errors():
    with pytest.raises(ValueError, match="unknown band 'F999W': choose from F160W"):
        hst_psf("F999W")
    with pytest.raises(ValueError, match="n_pixels=10 is not odd"):
        hst_psf("F160W", n_pixels=10)
    with pytest.raises(ValueError, match="has no camera"):
        hst_psf(replace(BANDS["F160W"], camera=None))
    for wrong, message in (
        ({"correlation": 0.8}, "the correlation of F160W, 0.8, is not between"),
        ({"exposure": 0}, "the exposure of F160W, 0, is not positive"),
        ({"limits": (2, 1)}, "the limits of F160W, .2, 1., do not increase"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(BANDS["F160W"], **wrong)
    with pytest.raises(u.UnitConversionError, match="pixel_scale"):
        hst_psf("F160W", pixel_scale="1 s")
