"""Optical images as arrays: background, noise and width of stars come out, whatever the image's numbers are in."""

import astropy.units as u
import numpy as np
import pytest
from astropy.nddata import CCDData, InverseVariance, NDData, NDDataRef, StdDevUncertainty, VarianceUncertainty
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS

from astrolearn.sky import SkyMap
from astrolearn.sources.optical import Artefacts, MoffatPSF, StarFieldSimulator
from astrolearn.sources.optical.images import filter_image, read_image
from astrolearn.sources.optical.psf import add_stars
from astrolearn.sources.optical.seeing import measure_fwhm


def field(seed=0, shape=(256, 256), **settings):
    options = {"n_stars": 200, "psf": MoffatPSF(3.0, np.inf), "significance": (3, 1000)} | settings
    return StarFieldSimulator(shape, **options).sample(random_state=seed)[0]


def test_background_and_noise():
    """On a slope: 6 standard deviations across the image, on top of the noise of its photons."""
    image = field(gradient=6.0, n_stars=100, uncertainty=True)
    noise = np.median(image.uncertainty.array)
    image.uncertainty = None
    seen = read_image(image)
    assert np.median(seen.noise) * seen.scale == pytest.approx(noise, rel=0.12)
    ratio = seen.light / seen.noise
    assert abs(np.median(ratio)) < 0.1 and 0.9 < np.percentile(ratio, 84) < 1.25
    corners = [ratio[:64, :64], ratio[-64:, -64:], ratio[:64, -64:]]
    assert np.max(np.abs([np.median(corner) for corner in corners])) < 0.5


@pytest.mark.parametrize("fwhm", [1.8, 3.0, 5.5])
def test_width_of_stars_among_cosmic_rays_and_galaxies(fwhm):
    """Of the Gaussian that was drawn, widened by the pixel: fwhm^2 + 8 ln 2 / 12."""
    spoilt = Artefacts(cosmic_rays=60, hot_pixels=30)
    image = field(3, (512, 512), psf=MoffatPSF(fwhm, np.inf), n_stars=600, n_galaxies=20, artefacts=spoilt)
    seen = read_image(image)
    assert seen.fwhm == pytest.approx(np.sqrt(fwhm**2 + 8 * np.log(2) / 12), rel=0.04)
    assert seen.n_stars > 20
    given = read_image(image, 4.5)
    assert given.fwhm == 4.5 and given.n_stars is None


def test_without_stars_a_width_is_assumed():
    assert read_image(field(n_stars=0)).fwhm == 3.0
    assert measure_fwhm(np.zeros((64, 64)), np.ones((64, 64), bool)) == (None, 0)


def test_matched_filter_gives_the_significance():
    image = field(1, n_stars=30, significance=(49, 51), sky=2000.0)
    seen = read_image(image)
    significance = filter_image(seen.light / seen.noise, seen.valid, seen.fwhm)
    truth = image.meta["sources"]
    row, column = (np.clip(np.rint(truth[c]).astype(int), 1, 254) for c in ("y_centroid", "x_centroid"))
    peaks = np.max([significance[row + i, column + j] for i in (-1, 0, 1) for j in (-1, 0, 1)], axis=0)
    assert np.median(peaks) == pytest.approx(48, rel=0.06)
    assert np.std(significance[significance < 4]) == pytest.approx(1, abs=0.15)


def test_what_is_not_seen_does_not_count():
    image = field(2)
    seen = read_image(image)
    image.data[40, 50], image.data[41, 50] = np.nan, 1e9
    image.mask = np.zeros(image.shape, bool)
    image.mask[:20] = image.mask[41, 50] = True
    image.uncertainty = StdDevUncertainty(np.full(image.shape, 12.0), unit=u.adu)
    image.uncertainty.array[80, 80] = 0
    again = read_image(image)
    assert np.array_equal(~again.valid, image.mask | ~np.isfinite(image.data) | (image.uncertainty.array == 0))
    assert np.all(again.light[~again.valid] == 0) and np.all(np.isfinite(again.channels()))
    assert np.median(again.noise[again.valid]) * again.scale == pytest.approx(12.0)
    assert np.median(again.light[30:]) * again.scale == pytest.approx(np.median(seen.light[30:]) * seen.scale, abs=0.5)
    variance = CCDData(image, uncertainty=VarianceUncertainty(np.full(image.shape, 144.0), unit=u.adu**2))
    assert np.median(read_image(variance).noise[30:]) * again.scale == pytest.approx(12.0, rel=1e-3)


def test_saturated_pixels_are_not_seen():
    image = field(4, artefacts=Artefacts(full_well=60), significance=(5, 3000))
    full = image.data >= image.meta["SATURATE"]
    assert full.sum() > 5
    np.testing.assert_array_equal(read_image(image).valid, ~full)
    other = image.copy()
    other.meta["SATURATE"] = image.meta["SATURATE"] * u.adu
    np.testing.assert_array_equal(read_image(other).valid, ~full)
    other.meta["SATURATE"] = 3 * u.s
    with pytest.raises(u.UnitConversionError, match="SATURATE.*'s', which does not convert to 'adu'"):
        read_image(other)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.astype(">f4"),
        lambda d: d.astype(">f8"),
        lambda d: np.asfortranarray(d),
        lambda d: d * 1e-9,
        lambda d: d.astype(np.float64) * 4096.0 - 1e7,
    ],
)
def test_channels_do_not_depend_on_how_the_image_is_stored(change):
    data = field(5).data
    one, other = (read_image(NDData(d)).channels() for d in (data, change(data)))
    np.testing.assert_allclose(other, one, atol=2e-3)


def test_constant_and_tiny_images():
    for shape in ((64, 64), (5, 7), (1, 1)):
        seen = read_image(NDData(np.full(shape, 7.0)))
        assert np.all(seen.light == 0) and np.all(np.isfinite(seen.channels()))


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.ones((5, 5)), TypeError, "stars in a ndarray"),
        (NDData(np.ones((2, 5, 5))), ValueError, r"must be \(height, width\), not \(2, 5, 5\)"),
        (NDData(np.ones((0, 5))), ValueError, "empty"),
        (NDData(np.full((5, 5), np.nan)), ValueError, "no valid pixels"),
    ],
)
def test_what_is_no_image_is_refused(image, error, message):
    with pytest.raises(error, match=message):
        read_image(image)


@pytest.mark.parametrize("kind", [StdDevUncertainty, VarianceUncertainty, InverseVariance])
def test_uncertainty_in_a_unit_of_its_own(kind):
    image = field()
    sigma = np.full(image.shape, 12.0)
    power = {StdDevUncertainty: 1, VarianceUncertainty: 2, InverseVariance: -2}[kind]
    image.uncertainty = StdDevUncertainty(sigma)
    expected = read_image(image)
    image.uncertainty = kind((1e3 * sigma) ** power * (1e-3 * image.unit) ** power)
    np.testing.assert_allclose(read_image(image).noise, expected.noise, rtol=1e-5)


def test_weights_of_zero_are_not_observed():
    image = field()
    weights = np.full(image.shape, 0.01)
    weights[:10] = 0
    image.uncertainty = InverseVariance(weights)
    seen = read_image(image)
    assert not seen.valid[:10].any() and seen.valid[10:].all()


def test_noise_of_the_stars_does_not_make_them_wider():
    image = field(4, n_stars=300, uncertainty=True, sky=200.0)
    with_errors = read_image(image)
    image.uncertainty = None
    without = read_image(image)
    assert with_errors.fwhm == pytest.approx(without.fwhm, rel=0.02)
    assert np.median(with_errors.noise / without.noise) == pytest.approx(1, abs=0.1)
    # but it is in the errors
    assert with_errors.errors.max() > 2 * with_errors.noise.max()
    assert without.errors is None


def test_zeros_beyond_what_was_observed():
    image = field(5)
    image.data[:, :100] = 0
    with pytest.warns(AstropyUserWarning, match="39.1% of the pixels in the image are exactly 0"):
        seen = read_image(image)
    assert not seen.valid[:, :100].any() and seen.valid[:, 100:].all()


def test_wcs_of_a_slice_is_not_lost():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    image = NDDataRef(field().data, wcs=wcs)
    assert read_image(image).wcs is not None
    with pytest.raises(ValueError, match="has a WCS of the type SlicedLowLevelWCS"):
        read_image(image[10:200, 20:200])


def test_maps_of_the_sphere_are_refused():
    with pytest.raises(TypeError, match="cannot look for stars in a SkyMap"):
        read_image(SkyMap(np.ones((3, 3072)), energy_edges=[1, 2, 3, 4] * u.GeV))


def test_a_few_wide_stars_tell_their_width():
    image = StarFieldSimulator((256, 256), psf=MoffatPSF(6.0, np.inf), n_stars=0, sky=500.0).sample(random_state=3)[0]
    noise = read_image(image).scale
    image.data = image.data.astype(float)
    add_stars(image.data, MoffatPSF(6.0, np.inf), np.array([60.2, 130.7, 190.1]), np.array([70.0, 180.3, 60.6]),
              np.full(3, 1200.0 * noise), 1e-3 * noise)  # fmt: skip
    seen = read_image(image)
    assert seen.n_stars >= 2
    assert seen.fwhm == pytest.approx(6.1, rel=0.1)
