"""Images in several bands: which is which, what is the same in all, what is not known."""

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance, NDData, NDDataRef, StdDevUncertainty
from astropy.utils.exceptions import AstropyUserWarning
from astropy.utils.masked import Masked
from astropy.wcs import WCS, Sip

from astrolearn.morphology.bands import read_bands, read_many

BANDS = ("F160W", "F606W")
RNG = np.random.default_rng(0)
H, V = (RNG.normal(0, sigma, (50, 70)).astype(np.float32) for sigma in (2, 5))
UNIT = u.electron / u.s


def wcs(shift=0.0):
    made = WCS(naxis=2)
    made.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    made.wcs.crval = 53.1, -27.8
    made.wcs.crpix = 35 + shift, 25
    made.wcs.cdelt = -0.06 / 3600, 0.06 / 3600
    return made


def ccd(data, **options):
    return CCDData(data, **{"unit": UNIT, "wcs": wcs()} | options)


@pytest.mark.parametrize("images", [
    {"F606W": V, "F160W": H}, [H, V], np.stack([H, V]), np.stack([H, V]) * UNIT, {"F160W": H * UNIT, "F606W": V},
    [ccd(H), ccd(V)], {"F160W": H.astype(">f4"), "F606W": V.astype(">f8")}, [Masked(H), np.ma.MaskedArray(V)],
    NDData(np.stack([H, V])),
    [ccd(H, meta={"FILTER": "F160W"}), ccd(V, meta={"FILTER1": "CLEAR1L", "FILTER2": "F606W"})],
])  # fmt: skip
def test_kinds_of_images(images):
    field = read_bands(images, BANDS)
    assert field.names == BANDS
    assert field.shape == (50, 70)
    values = field.read()
    assert values.dtype == np.float32 and values.dtype.isnative
    np.testing.assert_array_equal(values, [H, V])
    np.testing.assert_array_equal(field.read((slice(3, 9), slice(60, None))), np.stack([H, V])[:, 3:9, 60:])


def test_files(tmp_path):
    for name, data in (("h", H), ("v", V)):
        header = wcs().to_header()
        header.update({"BUNIT": "electron/s", "FILTER": {"h": "F160W", "v": "F606W"}[name]})
        fits.PrimaryHDU(data.astype(">f4"), header).writeto(tmp_path / f"{name}.fits")
    fits.PrimaryHDU(V).writeto(tmp_path / "bare.fits")
    paths = [tmp_path / "h.fits", str(tmp_path / "v.fits")]
    field = read_bands(paths, BANDS)
    np.testing.assert_array_equal(field.read(), [H, V])
    assert field.unit == UNIT
    assert field.wcs.pixel_to_world(34, 24).separation(wcs().pixel_to_world(34, 24)) < 1e-6 * u.arcsec
    with pytest.raises(ValueError, match=r"images\[0\] states to be F606W, but F160W is expected there"):
        read_bands(paths[::-1], BANDS)
    with pytest.raises(ValueError, match=r"images\['F160W'\] states to be F606W"):
        read_bands(dict(zip(BANDS, paths[::-1], strict=True)), BANDS)
    # what the bands are called is for the user to say
    assert read_bands({"H": paths[0], "V": paths[1]}, ("H", "V")).names == ("H", "V")
    assert read_bands([tmp_path / "bare.fits"] * 2, BANDS).unit is None
    with pytest.raises(FileNotFoundError, match=r"none\.fits"):
        read_bands([tmp_path / "none.fits", paths[1]], BANDS)


@pytest.mark.parametrize(("images", "error", "message"), [
    ({"F160W": H}, ValueError, r"lacks the band\(s\) F606W"),
    ({"F160W": H, "F606W": V, "F814W": V}, ValueError, r"unknown band\(s\) \['F814W'\]"),
    ([H], ValueError, r"has 1 image for the band\(s\) F160W, F606W"),
    (np.zeros((3, 50, 70)), ValueError, r"has 3 images for the band\(s\)"),
    (H, ValueError, r"has the shape \(50, 70\); expected \(2, h, w\)"),
    (ccd(H), ValueError, "is one image, but the bands are F160W, F606W"),
    ([H, V[1:]], ValueError, r"differ in shape: F160W \(50, 70\), F606W \(49, 70\)"),
    ([H[:0], V[:0]], ValueError, r"images\['F160W'\] is empty"),
    ([H[None], V[None]], ValueError, r"images\['F160W'\] is not an image"),
    ([H * UNIT, V * u.Jy], u.UnitConversionError, "'F606W'.* has the unit 'Jy', which does not convert to 'electron"),
    ([ccd(H), ccd(V, wcs=wcs(0.5))], ValueError, "WCS of F606W and F160W in images differ by 0.5 pixels"),
    ([H, V * 1j], ValueError, "real numbers"),
])  # fmt: skip
def test_images_that_are_refused(images, error, message):
    with pytest.raises(error, match=message):
        read_bands(images, BANDS)


def test_units_are_converted():
    field = read_bands({"F160W": H * u.uJy, "F606W": (V / 1e3) * u.mJy}, BANDS)
    assert field.unit == u.uJy
    np.testing.assert_allclose(field.read()[1], V, rtol=1e-6)


def test_what_is_not_known_in_one_band_is_not_known():
    h, v, mask = H.copy(), V.copy(), np.zeros(H.shape, bool)
    h[0, 0], v[1, 1], mask[2, 2] = np.nan, -np.inf, True
    sigma = np.ones(H.shape)
    sigma[3, 3], sigma[4, 4] = 0, np.nan
    field = read_bands([ccd(h), ccd(v, mask=mask, uncertainty=StdDevUncertainty(sigma))], BANDS)
    missing = np.zeros(H.shape, bool)
    missing[range(5), range(5)] = True
    np.testing.assert_array_equal(np.isnan(field.read()), [missing, missing])


def test_level_and_noise_of_the_sky():
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:300, :300]
    # a third of the image is full of a galaxy, as in cutouts
    galaxy = 400 * np.exp(-np.hypot(x - 150, y - 150) / 18)
    sky = [rng.normal(level, sigma, x.shape) + galaxy for level, sigma in ((0, 2), (7, 5))]
    level, noise = read_bands(sky, BANDS).statistics
    np.testing.assert_allclose(level, [0, 7], atol=1.5)
    np.testing.assert_allclose(noise, [2, 5], rtol=0.15)
    level, noise = read_bands([s - galaxy for s in sky], BANDS).statistics
    np.testing.assert_allclose(level, [0, 7], atol=0.2)
    np.testing.assert_allclose(noise, [2, 5], rtol=0.03)


def test_flat_and_empty_images():
    with pytest.raises(ValueError, match="the image in F606W has no noise"):
        read_bands([H, np.ones_like(V)], BANDS).noise()
    with pytest.raises(ValueError, match="the image in F160W has no pixels that are valid in all bands"):
        read_bands([H * np.nan, V], BANDS).noise()
    flat = read_bands([ccd(np.ones_like(H), uncertainty=StdDevUncertainty(np.full(H.shape, 2.0))), V], BANDS)
    np.testing.assert_array_equal(flat.noise()[0], 2)
    np.testing.assert_array_equal(flat.light()[0], 0)


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7])
def test_zeros_beyond_what_was_observed(share):
    rng = np.random.default_rng(3)
    image = rng.normal(0.3, 1, (200, 200)).astype(np.float32)
    image[: int(200 * share)] = 0
    with pytest.warns(AstropyUserWarning, match=rf"{share:.1%} of the pixels in F160W are exactly 0"):
        field = read_bands([image, rng.normal(0, 1, image.shape)], BANDS)
    assert field.statistics[1][0] == pytest.approx(1, abs=0.05)
    assert field.statistics[0][0] == pytest.approx(0.3, abs=0.2)
    np.testing.assert_array_equal(np.isnan(field.read()), [image == 0] * 2)
    # counts may be 0
    counts = rng.poisson(0.5, image.shape).astype(np.float32)
    assert np.isfinite(read_bands([counts, counts], BANDS).read()).all()


def test_noise_from_uncertainties():
    sigma = np.full((100, 200), 2.0)
    sigma[:, 128:] = 6
    sky = sigma.copy()
    sigma[20:40, 20:40] = 50  # a bright source, whose own noise is not that of the sky
    data = RNG.normal(0, sigma)
    images = [ccd(data, uncertainty=StdDevUncertainty(sigma)), ccd(data, uncertainty=InverseVariance(1 / sigma**2))]
    field = read_bands(images, BANDS)
    np.testing.assert_allclose(field.noise(), [sky, sky])
    np.testing.assert_allclose(field.errors(), [sigma, sigma])
    part = (slice(30, 77), slice(100, 150))
    np.testing.assert_array_equal(field.noise(part), field.noise()[:, *part])
    mixed = read_bands([images[0], ccd(data)], BANDS)
    np.testing.assert_allclose(mixed.noise()[1], mixed.statistics[1][1])


@pytest.mark.parametrize("kind", [StdDevUncertainty, InverseVariance])
def test_files_with_mask_and_uncertainty(tmp_path, kind):
    mask, sigma = np.zeros(H.shape, bool), RNG.uniform(1, 2, H.shape)
    mask[5:9, 7] = True
    values = sigma if kind is StdDevUncertainty else sigma**-2
    ccd(H, mask=mask, uncertainty=kind(values)).write(tmp_path / "h.fits")
    field = read_bands([tmp_path / "h.fits", V], BANDS)
    np.testing.assert_array_equal(np.isnan(field.read()[0]), mask)
    np.testing.assert_allclose(field.errors()[0], sigma, rtol=1e-6)
    assert field.unit == UNIT


def test_the_unit_is_that_of_the_image(tmp_path):
    weights = fits.ImageHDU(V, name="WHT")
    weights.header["BUNIT"] = "s"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(H, name="SCI"), weights]).writeto(tmp_path / "h.fits")
    field = read_bands([tmp_path / "h.fits", V], BANDS)
    assert field.unit is None
    np.testing.assert_array_equal(field.read()[0], H)


def test_planes_of_one_object():
    mask, sigma = np.zeros(H.shape, bool), RNG.uniform(1, 2, (2, *H.shape))
    mask[5, :9] = True
    images = NDData(np.stack([H, V]), mask=mask, uncertainty=StdDevUncertainty(sigma), unit=UNIT)
    fields, single = read_many(images, BANDS)
    assert single
    np.testing.assert_array_equal(np.isnan(fields[0].read()), [mask, mask])
    np.testing.assert_allclose(fields[0].errors(), sigma, rtol=1e-6)


def test_weights_of_zero_are_not_observed():
    weights = np.ones(H.shape)
    weights[3, 4] = 0
    field = read_bands([ccd(H, uncertainty=InverseVariance(weights)), V], BANDS)
    assert np.argwhere(np.isnan(field.read()[0])).tolist() == [[3, 4]]


def test_wcs_of_slices():
    whole = NDDataRef(H, wcs=wcs())
    with pytest.raises(ValueError, match=r"images\['F160W'\] has a WCS of the type SlicedLowLevelWCS"):
        read_bands([whole[5:40, 5:60], V[5:40, 5:60]], BANDS)
    part = ccd(H)[5:40, 5:60]
    there = read_bands([part, V[5:40, 5:60]], BANDS).wcs.pixel_to_world(0, 0)
    assert there.separation(wcs().pixel_to_world(5, 5)) < 1e-6 * u.arcsec


def test_another_filter_than_said():
    with pytest.raises(ValueError, match=r"images\['F160W'\] states to be F140W"):
        read_bands({"F160W": ccd(H, meta={"FILTER": "F140W"}), "F606W": V}, BANDS)


def test_another_unit_for_the_whole_field():
    field = read_bands([H * u.uJy, V], BANDS)
    np.testing.assert_allclose(field.to(u.mJy).read(), np.stack([H, V]) / 1e3, rtol=1e-6)
    assert field.to(u.uJy) is field
    with pytest.raises(u.UnitConversionError, match="'uJy', which does not convert to 'electron / s' of the training"):
        field.to(UNIT)


def test_leftovers_in_files_and_later_bands(tmp_path):
    header = wcs().to_header()
    header.update({"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-3, "B_0_2": 0.0})
    fits.PrimaryHDU(V, header).writeto(tmp_path / "v.fits")
    with pytest.warns(AstropyUserWarning, match=r"images\['F606W'\] has SIP distortion") as caught:
        read_bands([ccd(H), tmp_path / "v.fits"], BANDS)
    assert len(caught) == 1


def test_distortions_that_are_leftovers():
    image = ccd(H)
    a = np.zeros((3, 3))
    a[2, 0] = 1e-3  # 1e-3 * 34^2: 1.2 pixels of 0.06 arcsec
    image.wcs.sip = Sip(a, np.zeros((3, 3)), None, None, image.wcs.wcs.crpix)
    with pytest.warns(AstropyUserWarning, match=r"F160W.* no -SIP; they are ignored.* 1\.2 pixels \(0\.07\d+ arcsec\)"):
        field = read_bands([image, ccd(V)], BANDS)
    assert field.wcs.sip is None


def test_one_field_or_several():
    assert read_many([H, V], BANDS)[1]
    assert read_many({"F160W": H, "F606W": V}, BANDS)[1]
    fields, single = read_many([{"F160W": H, "F606W": V}, [V, H]], BANDS)
    assert not single
    np.testing.assert_array_equal(fields[1].read(), [V, H])
    fields, single = read_many(np.stack([[H, V], [V, H], [H, H]]), BANDS)
    assert (len(fields), single) == (3, False)
    assert read_many(fields[0], BANDS) == ([fields[0]], True)
    with pytest.raises(ValueError, match=r"images\[1\] has 1 image for"):
        read_many([[H, V], [H]], BANDS)
    with pytest.raises(ValueError, match="images is empty"):
        read_many(np.zeros((0, 2, 50, 70)), BANDS)


def test_a_single_band():
    for images in (H, ccd(H), {"F160W": H}, H[None]):
        fields, single = read_many(images, ("F160W",))
        assert single
        np.testing.assert_array_equal(fields[0].read(), [H])
    fields, single = read_many([H, V, ccd(H)], ("F160W",))
    assert (len(fields), single) == (3, False)
    np.testing.assert_array_equal(fields[1].read(), [V])
