"""Radio images from arrays, NDData and files: units, what headers say, and what is unlike the training."""

import warnings
from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.constants import c, k_B
from astropy.io import fits
from astropy.nddata import CCDData, NDData, NDDataRef
from astropy.utils.exceptions import AstropyUserWarning
from astropy.utils.masked import Masked
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolearn.counts import Instrument, RadioSkySimulator
from astrolearn.counts.images import read_radio_images

EMU = Instrument.preset("emu")
FITS_UNITS = ("Jy/beam", "JY/BEAM", "mJy/beam", "K")
BEAM = np.pi * (15 * u.arcsec) ** 2 / (4 * np.log(2))


@pytest.fixture(scope="module")
def sky():
    return RadioSkySimulator(n_pixels=64).sample(1, random_state=0)[0]


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(0, 25e-6, (3, 20, 30)).astype(np.float32)


def header(**changes):
    """As of a continuum image of an interferometer, with axes of Stokes and frequency."""
    cards = {
        "BUNIT": "JY/BEAM", "BMAJ": 15 / 3600, "BMIN": 15 / 3600, "BPA": 0.0,
        "CTYPE1": "RA---SIN", "CRVAL1": 30.0, "CRPIX1": 15.5, "CDELT1": -5 / 3600, "CUNIT1": "deg",
        "CTYPE2": "DEC--SIN", "CRVAL2": -40.0, "CRPIX2": 10.5, "CDELT2": 5 / 3600, "CUNIT2": "deg",
        "CTYPE3": "FREQ", "CRVAL3": 843e6, "CRPIX3": 0.0, "CDELT3": 101e6, "CUNIT3": "Hz",
        "CTYPE4": "STOKES", "CRVAL4": 1.0, "CRPIX4": 1.0, "CDELT4": 1.0,
    }  # fmt: skip
    return fits.Header({key: value for key, value in (cards | changes).items() if value is not None})


def write(path, values, **changes):
    fits.PrimaryHDU(np.asarray(values)[None, None], header(**changes)).writeto(path)
    return path


# -- arrays -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("form", [
    lambda x: x, lambda x: x.astype(">f8"), lambda x: x * (u.Jy / u.beam), lambda x: (1e3 * x) * (u.mJy / u.beam),
    lambda x: (1e6 * x) * (u.uJy / u.beam), lambda x: list(x * (u.Jy / u.beam)), lambda x: x.tolist(),
    lambda x: [x[0], (1e3 * x[1]) * (u.mJy / u.beam), x[2].tolist()], lambda x: np.ma.MaskedArray(x),
    lambda x: Masked(x * (u.Jy / u.beam)),
])  # fmt: skip
def test_bare_arrays_are_as_in_the_training(values, form):
    x = form(values)
    images = read_radio_images(x, trained=EMU)
    assert len(images) == 3
    for image, expected in zip(images.values, values, strict=True):
        assert image.dtype == np.float32
        assert image.dtype.isnative
        np.testing.assert_allclose(image, expected, rtol=1e-6)
    assert (images.beam_major, images.beam_minor, images.pixel_scale) == (15 * u.arcsec, 15 * u.arcsec, 5 * u.arcsec)
    assert images.frequency == 0.944 * u.GHz
    np.testing.assert_allclose(images.noise.to_value(u.uJy / u.beam), [25, 25, 25])
    np.testing.assert_allclose(images.area.to_value(u.arcsec**2), 600 * 25)


def test_one_array_is_one_image(values):
    for x in (values[0], values[0].tolist(), values[:1], values[None, :1], values[0] * (u.Jy / u.beam)):
        images = read_radio_images(x, trained=EMU)
        assert len(images) == 1
        np.testing.assert_array_equal(images.values[0], values[0])


def test_input_is_left_alone(values):
    x = values.copy()
    images = read_radio_images(x, trained=EMU)
    images.values[0][:] = 0
    np.testing.assert_array_equal(x, values)


def test_blank_pixels(values):
    x, mask = values.copy(), np.zeros(values.shape, bool)
    x[0, :5], mask[1, :, :10] = np.nan, True
    for form in (np.ma.MaskedArray(x, mask), Masked(x * (u.Jy / u.beam), mask)):
        images = read_radio_images(form, trained=EMU)
        np.testing.assert_allclose(images.area.to_value(u.arcsec**2) / 25, [450, 400, 600])
        assert np.isnan(images.values[1][:, :10]).all()
        np.testing.assert_array_equal(images.values[1][:, 10:], x[1, :, 10:])


def in_kelvin(x, frequency=944 * u.MHz, solid_angle=BEAM):
    """Rayleigh and Jeans."""
    return (x * u.Jy / solid_angle.to(u.sr) * c**2 / (2 * k_B * frequency**2)).to(u.K, u.dimensionless_angles())


@pytest.mark.parametrize("form", [
    in_kelvin, lambda x: in_kelvin(x).to(u.mK), lambda x: x * u.Jy / BEAM, lambda x: (x * u.Jy / BEAM).to(u.MJy / u.sr),
    lambda x: x * (25 * u.arcsec**2 / BEAM).to_value(u.one) * (u.Jy / u.pix),
])  # fmt: skip
def test_units_of_brightness(values, form):
    images = read_radio_images(form(values), trained=EMU, beam="15 arcsec", frequency="944 MHz", pixel_scale=5)
    np.testing.assert_allclose(np.array(images.values), values, rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(major=st.floats(14.4, 15.6), ratio=st.floats(0.0, 1.0), frequency=st.floats(0.8, 1.1))
def test_kelvin_of_any_beam(major, ratio, frequency):
    minor = 14.4 + ratio * (major - 14.4)
    x = np.array([[1e-4, -2e-5], [3e-6, 1.0]])
    solid_angle = np.pi * major * minor * u.arcsec**2 / (4 * np.log(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)
        kelvin = in_kelvin(x, frequency * u.GHz, solid_angle)
        images = read_radio_images(kelvin, trained=EMU, beam=(major, minor) * u.arcsec, frequency=frequency)
    np.testing.assert_allclose(images.values[0], x, rtol=1e-5)
    assert images.beam_minor.value == pytest.approx(minor)


def test_plain_jansky_needs_a_beam(values):
    with pytest.raises(ValueError, match="X has the unit 'mJy', for which its beam must be known: pass beam=..."):
        read_radio_images(values * u.mJy, trained=EMU)
    with pytest.warns(AstropyUserWarning, match="X has the unit 'mJy' and a beam: taken as mJy/beam"):
        images = read_radio_images(1e3 * values * u.mJy, trained=EMU, beam=15)
    np.testing.assert_allclose(np.array(images.values), values, rtol=1e-6)


@pytest.mark.parametrize(("x", "keywords", "message"), [
    (np.zeros((4, 4)) * u.K, {}, "'K', for which its beam and frequency must be known: pass beam=..., frequency=..."),
    (np.zeros((4, 4)) * u.K, {"beam": 15}, "'K', for which its frequency must be known"),
    (np.zeros((4, 4)) * u.Jy / u.sr, {}, "for which its beam must be known"),
    (np.zeros((4, 4)) * u.Jy / u.pix, {"beam": 15}, "for which its pixel_scale must be known"),
    (np.zeros((4, 4)) * u.m, {}, "X has the unit 'm', which is no brightness"),
    ([np.zeros((4, 4)), np.zeros((4, 4)) * u.ct], {}, r"X\[1\] has the unit 'ct', which is no brightness"),
    (np.zeros((4, 4)) * u.one, {}, "which is no brightness"),
    (np.zeros(4), {}, r"X has the shape \(4,\); images are \(height, width\)"),
    (np.zeros((2, 2, 4, 4)), {}, r"X has the shape \(2, 2, 4, 4\)"),
    ([np.zeros((2, 4, 4)), np.zeros((2, 3, 4, 4))], {}, r"X\[1\] has the shape"),
    ([], {}, "X is empty"), (np.zeros((0, 4, 4)), {}, "X is empty"), (np.zeros((4, 0)), {}, "X is empty"),
    (np.full((4, 4), np.nan), {}, "image 0 of X has no pixel that is not NaN or masked"),
    (np.ma.masked_all((2, 4, 4)), {}, "image 0 of X has no pixel"),
    (np.full((4, 4), np.inf), {}, "infinite"), (np.full((4, 4), "a"), {}, "must be real numbers"),
    (np.zeros((4, 4)), {"beam": -15}, "beam=-15 must be a positive width"),
    (np.zeros((4, 4)), {"beam": [15, 15.1]}, r"\(major, minor\)"),
    (np.zeros((4, 4)), {"beam": [15, 15, 15]}, r"\(major, minor\)"),
    (np.zeros((4, 4)), {"beam": "15 Jy"}, "beam has the unit 'Jy'"),
    (np.zeros((4, 4)), {"frequency": 0}, "frequency=0 must be positive"),
    (np.zeros((4, 4)), {"pixel_scale": np.nan}, "pixel_scale=nan is not finite"),
    (np.zeros((4, 4)), {"noise": [25e-6, 25e-6]}, "noise has the shape"),
    (np.zeros((4, 4)), {"noise": "25 uJy"}, "noise has the unit 'uJy'"),
    (np.zeros((4, 4)), {"noise": -25e-6}, "has a noise of -2.5e-05"),
])  # fmt: skip
def test_input_that_cannot_be_used(x, keywords, message):
    with pytest.raises(ValueError, match=message):
        read_radio_images(x, trained=EMU, **keywords)


# -- what images state ------------------------------------------------------------------------------------------------
def test_simulated_images(sky):
    images = read_radio_images([sky, sky], trained=EMU)
    np.testing.assert_array_equal(images.values[1], sky.data)
    assert images.pixel_scale.to_value(u.arcsec) == pytest.approx(5, rel=1e-6)
    assert images.frequency.to_value(u.MHz) == pytest.approx(944)
    assert images.beam_minor.to_value(u.arcsec) == pytest.approx(15)
    np.testing.assert_allclose(images.noise.to_value(u.uJy / u.beam), [25, 25])
    images.check_scatter()
    part = NDDataRef(sky)[10:30, 5:60]  # its WCS is a slice, not a WCS of FITS
    images = read_radio_images(part, trained=EMU)
    np.testing.assert_array_equal(images.values[0], sky.data[10:30, 5:60])
    assert images.pixel_scale.to_value(u.arcsec) == pytest.approx(5, rel=1e-6)


@pytest.mark.parametrize("unit", FITS_UNITS)
def test_files(tmp_path, values, unit):
    expected = values[0].copy()
    expected[:3] = np.nan
    stored = {"mJy/beam": 1e3 * expected, "K": in_kelvin(expected).value}.get(unit, expected)
    noise = {"mJy/beam": 0.025, "K": in_kelvin(25e-6).value}.get(unit, 25e-6)
    path = write(tmp_path / "sky.fits", stored, BUNIT=unit, RMS=noise)
    for x in (path, str(path), [path]):
        images = read_radio_images(x, trained=EMU)
        np.testing.assert_allclose(images.values[0], expected, rtol=1e-5)
        assert images.frequency.to_value(u.MHz) == pytest.approx(944)  # of the channel, not of the reference pixel
        assert images.pixel_scale.to_value(u.arcsec) == pytest.approx(5, rel=1e-6)
        assert images.noise.to_value(u.uJy / u.beam)[0] == pytest.approx(25)
        assert images.area.to_value(u.arcsec**2)[0] == pytest.approx(25 * 17 * 30)
    ccd = CCDData.read(path) if unit != "JY/BEAM" else CCDData.read(path, unit="Jy/beam")
    for x in (ccd, [ccd[:, :, 3:, 5:]]):
        images = read_radio_images(x, trained=EMU)
        assert images.frequency.to_value(u.MHz) == pytest.approx(944)
        assert images.pixel_scale.to_value(u.arcsec) == pytest.approx(5, rel=1e-6)
    np.testing.assert_allclose(images.values[0], expected[3:, 5:], rtol=1e-5)


def test_frequencies_of_headers(tmp_path, values):
    no_axis = dict.fromkeys(("CTYPE3", "CRVAL3", "CDELT3", "CRPIX3", "CUNIT3"))
    cases = [({"RESTFRQ": 1.4e9}, 944), ({**no_axis, "RESTFRQ": 960e6}, 960), ({"FREQ": 950e6}, 950)]
    for i, (changes, expected) in enumerate(cases):
        path = write(tmp_path / f"{i}.fits", values[0], **changes)
        images = read_radio_images(path, trained=EMU)
        assert images.frequency.to_value(u.MHz) == pytest.approx(expected)
        assert np.isnan(images.noise).all()
    assert read_radio_images(path, trained=EMU, frequency=0.94, noise=26e-6).frequency.to_value(u.MHz) == 940


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(0.5, 60), declination=st.floats(-89, 89), shape=st.tuples(st.integers(2, 9), st.integers(2, 9)),
       angle=st.floats(0, 6.3), projection=st.sampled_from(["TAN", "SIN", "ZEA"]))  # fmt: skip
def test_pixels_of_any_wcs(scale, declination, shape, angle, projection):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"RA---{projection}", f"DEC--{projection}"]
    wcs.wcs.crval, wcs.wcs.crpix = [10, declination], [shape[1] / 2, shape[0] / 2]
    wcs.wcs.cdelt = [-scale / 3600, scale / 3600]
    wcs.wcs.pc = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    tool = replace(EMU, beam_major=3 * scale, beam_minor=3 * scale, pixel_scale=scale)
    image = NDData(np.zeros(shape), wcs=wcs, unit="Jy/beam", meta={"BMAJ": 3 * scale / 3600, "FREQ": 944e6})
    images = read_radio_images(image, trained=tool)
    assert images.pixel_scale.to_value(u.arcsec) == pytest.approx(scale, rel=1e-5)


def test_pixels_that_are_not_quite_square(tmp_path, values):
    path = write(tmp_path / "sky.fits", values[0], CDELT1=-5.05 / 3600, CDELT2=4.95 / 3600)
    images = read_radio_images(path, trained=EMU)
    assert images.area.to_value(u.arcsec**2)[0] == pytest.approx(600 * 5.05 * 4.95, rel=1e-5)


def test_what_is_not_stated_is_said(tmp_path, values):
    path = write(tmp_path / "sky.fits", values[0], BMAJ=None, BMIN=None, BUNIT=None)
    with pytest.warns(AstropyUserWarning) as caught:
        read_radio_images(path, trained=EMU)
    text = " ".join(str(warning.message) for warning in caught)
    assert f"{path} states no unit (BUNIT): taken as Jy/beam" in text
    assert f"{path} does not state all that is needed; taken from the training: beam=15 arcsec" in text
    with pytest.warns(AstropyUserWarning) as caught:
        read_radio_images([NDData(values[0])] * 3, trained=EMU)
    assert sorted(str(warning.message) for warning in caught) == [
        "X[2] does not state all that is needed; taken from the training: beam=15 arcsec, pixel_scale=5 arcsec, "
        "frequency=0.944 GHz",
        "X[2] states no unit: taken as Jy/beam",
    ]
    kelvin = write(tmp_path / "kelvin.fits", values[0], BMAJ=0.0, BMIN=0.0, BUNIT="K")
    with pytest.raises(ValueError, match="kelvin.fits has the unit 'K', for which its beam must be known"):
        read_radio_images(kelvin, trained=EMU)


def test_beams_per_channel(tmp_path, values):
    path = write(tmp_path / "casa.fits", values[0], BMAJ=None, BMIN=None, CASAMBM=True)
    with pytest.raises(ValueError, match="casa.fits has a beam per channel"):
        read_radio_images(path, trained=EMU)
    assert read_radio_images(path, trained=EMU, beam=15).beam_major == 15 * u.arcsec


@pytest.mark.parametrize(("changes", "message"), [
    ({"BUNIT": "ct"}, "has the unit 'ct', which is no brightness"),
    ({"BUNIT": "furlong/beam"}, "sky.fits: the image has the unit 'furlong/beam', which is not known"),
    ({"CDELT1": -6 / 3600}, "sky.fits has pixels of 6 x 5 arcsec: resample to square ones"),
    ({"CDELT1": -7 / 3600, "CDELT2": 7 / 3600}, "has pixel_scale=7 arcsec; this was trained for 5 arcsec: resample"),
    ({"BMAJ": "wide"}, "BMAJ of .*sky.fits='wide' is not a number"),
    ({"RMS": 1e-3}, "image 0 of X has a noise of 0.001 Jy/beam; this was trained for 2.381e-05 to 2.625e-05 Jy/beam"),
])  # fmt: skip
def test_files_that_cannot_be_used(tmp_path, values, changes, message):
    with pytest.raises(ValueError, match=message):
        read_radio_images(write(tmp_path / "sky.fits", values[0], **changes), trained=EMU)


def test_no_image_in_a_file(tmp_path, values):
    with pytest.raises(FileNotFoundError, match="none.fits: no such file"):
        read_radio_images(tmp_path / "none.fits", trained=EMU)
    (tmp_path / "text.fits").write_text("no image")
    with pytest.raises(OSError, match="text.fits: not a readable FITS file"):
        read_radio_images(tmp_path / "text.fits", trained=EMU)
    fits.PrimaryHDU().writeto(tmp_path / "nothing.fits")
    with pytest.raises(ValueError, match="nothing.fits: no map or image"):
        read_radio_images([tmp_path / "nothing.fits"], trained=EMU)
    fits.PrimaryHDU(values, header(CTYPE4=None, CRVAL4=None, CRPIX4=None, CDELT4=None)).writeto(tmp_path / "cube.fits")
    with pytest.raises(ValueError, match=r"cube.fits has the shape \(3, 20, 30\)"):
        read_radio_images(tmp_path / "cube.fits", trained=EMU)


def test_images_read_together(tmp_path, values, sky):
    path = write(tmp_path / "a.fits", values[0])
    images = read_radio_images([path, sky, values[1:], sky], trained=EMU)
    assert [image.shape for image in images.values] == [(20, 30), (64, 64), (20, 30), (20, 30), (64, 64)]
    np.testing.assert_allclose(images.noise.to_value(u.uJy / u.beam), [np.nan, 25, 25, 25, 25])
    other = write(tmp_path / "b.fits", values[0], BMAJ=14.8 / 3600, BMIN=14.8 / 3600)
    with pytest.raises(ValueError, match="a.fits and .*b.fits differ in beam_major, 15 and 14.8 arcsec"):
        read_radio_images([path, other], trained=EMU)


# -- unlike the training ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("keywords", "text", "remedy"), [
    ({"beam": 15.5}, "beam_major=15.5 arcsec; this was trained for 15 arcsec", None),
    ({"beam": (15, 14.5)}, "beam_minor=14.5 arcsec; this was trained for 15 arcsec", None),
    ({"pixel_scale": 5.1}, "pixel_scale=5.1 arcsec; this was trained for 5 arcsec", None),
    ({"frequency": "1 GHz"}, "frequency=1 GHz; this was trained for 0.944 GHz", None),
    ({"beam": 10}, "beam_major=10 arcsec; this was trained for 15 arcsec", "convolve the image to that beam"),
    ({"beam": (20, 15)}, "beam_major=20 arcsec; this was trained for 15 arcsec", "use other weights"),
    ({"pixel_scale": 2.5}, "pixel_scale=2.5 arcsec; this was trained for 5 arcsec", "resample the image"),
    ({"frequency": 1.4}, "frequency=1.4 GHz; this was trained for 0.944 GHz", "use other weights"),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore:X has beam_m:astropy.utils.exceptions.AstropyUserWarning")
def test_another_instrument(values, keywords, text, remedy):
    if remedy is None:
        with pytest.warns(AstropyUserWarning, match=text):
            read_radio_images(values, trained=EMU, **keywords)
    else:
        with pytest.raises(ValueError, match=f"{text}: {remedy}"):
            read_radio_images(values, trained=EMU, **keywords)


def test_another_noise(values):
    images = read_radio_images(values, trained=EMU, noise=[24, 25, 26] * u.uJy / u.beam)
    np.testing.assert_allclose(images.noise.to_value(u.uJy / u.beam), [24, 25, 26])
    with pytest.raises(ValueError, match="image 1 of X has a noise of 3e-05 Jy/beam; this was trained for 2.381e-05"):
        read_radio_images(values, trained=EMU, noise=[25e-6, 30e-6, 25e-6])
    wide = [20, 30] * u.uJy / u.beam
    images = read_radio_images(values, trained=EMU, noise="30 uJy/beam", noise_range=wide)
    np.testing.assert_allclose(images.noise.to_value(u.uJy / u.beam), [30, 30, 30])
    with pytest.raises(ValueError, match="noise of 3.1e-05 Jy/beam; this was trained for 2e-05 to 3e-05 Jy/beam"):
        read_radio_images(values, trained=EMU, noise="31 uJy/beam", noise_range=wide)
    silent = read_radio_images(values, trained=replace(EMU, noise=0))
    assert (silent.noise == 0).all()
    silent.check_scatter()


def test_pixels_that_do_not_scatter_as_the_noise(values):
    read_radio_images(values, trained=EMU).check_scatter()
    for factor in (1e3, 1e-3):
        wrong = np.concatenate([values, factor * values])
        with pytest.raises(ValueError, match=r"image 3 scatter by .* its noise is 2.5e-05 Jy/beam: check the unit"):
            read_radio_images(wrong, trained=EMU).check_scatter()


def test_real_images(shared_data):
    """Old names of projections and of the frequency axis, and a field far from the reference point."""
    scorpio = Instrument(frequency=1.447, beam_major=6.5, pixel_scale=1.5, noise=30e-6)
    with pytest.warns(AstropyUserWarning, match="pixel_scale=1.48105 arcsec; this was trained for 1.5 arcsec"):
        images = read_radio_images(shared_data / "counts" / "ScorpioS17Field.fits", trained=scorpio)
    assert images.frequency.to_value(u.Hz) == pytest.approx(1.44746065140e9)
    assert images.beam_major.to_value(u.deg) == pytest.approx(1.80555554107e-3)
    assert images.values[0].shape == (1000, 1000)
    parkes = Instrument(frequency=1.42, beam_major=864, pixel_scale=250, noise=10e-3)
    images = read_radio_images(shared_data / "counts" / "1904-66_SIN.fits", trained=parkes)
    # rho = sin(angle) stretches pixels along the radius by 1 / cos(angle)
    radius = np.hypot(96.5 + 237.19, 96.5 - 7.69) * np.radians(1 / 15)
    expected = 240 / np.sqrt(np.cos(np.arcsin(radius)))
    assert images.pixel_scale.to_value(u.arcsec) == pytest.approx(expected, rel=1e-3)
    assert images.frequency.to_value(u.GHz) == pytest.approx(1.42040575)
