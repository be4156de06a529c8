"""Instruments: the beam and its transform, units of brightness, the point-spread function."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.constants import c
from astropy.coordinates import EarthLocation
from astropy.io import fits
from scipy import fft
from scipy.special import j0

from astrolearn.counts import Instrument, gaussian_beam_area, synthesised_psf


@pytest.fixture
def emu():
    return Instrument.preset("emu")


def test_presets(emu):
    assert (emu.frequency.to_value(u.GHz), emu.beam_major, emu.beam_minor) == (0.944, 15 * u.arcsec, 15 * u.arcsec)
    assert (emu.noise.to_value(u.Jy / u.beam), emu.clean_threshold.value) == (25e-6, pytest.approx(125e-6))
    assert emu.pixel_scale == 5 * u.arcsec
    assert (2560 * Instrument.preset("regis2022").pixel_scale).to_value(u.deg) == pytest.approx(5)
    with pytest.raises(ValueError, match="'vla' is neither an Instrument nor one of 'emu', 'regis2022'"):
        Instrument.preset("vla")


def test_solid_angles(emu):
    # 1.1331 FWHM^2; 15 arcsec: 254.95 arcsec^2
    assert gaussian_beam_area(15 * u.arcsec).to_value(u.arcsec**2) == pytest.approx(254.95, abs=0.01)
    assert gaussian_beam_area("1 arcmin", 30).to_value(u.arcsec**2) == pytest.approx(1.13309 * 1800, rel=1e-5)
    assert emu.pixels_per_beam == pytest.approx(254.95 / 25, abs=1e-3)


def test_strings_numbers_and_copies():
    one = Instrument(
        frequency="1400 MHz", beam_major="0.1 arcmin", pixel_scale=1, noise="3 uJy/beam", beam_pa="0.5 rad"
    )
    assert one.frequency.to_value(u.GHz) == pytest.approx(1.4)
    assert one.beam_minor.to_value(u.arcsec) == pytest.approx(6)
    deeper = replace(one, noise=1e-6, clean_threshold="4 uJy/beam")
    assert (deeper.noise.value, deeper.clean_threshold.value) == (1e-6, pytest.approx(4e-6))
    assert deeper.beam_pa == one.beam_pa


@pytest.mark.parametrize(("minor", "pa"), [(20, 0), (14, 0), (14, 30), (12, 100)])
def test_transfer_is_the_transform_of_the_beam(minor, pa):
    tool = Instrument(frequency=1, beam_major=20, beam_minor=minor, beam_pa=pa, pixel_scale=3, noise=0)
    # position angles run from north (up) to east (left)
    y, x = np.mgrid[-32:32, -32:32] * 3.0
    angle = np.deg2rad(pa)
    along, across = -x * np.sin(angle) + y * np.cos(angle), x * np.cos(angle) + y * np.sin(angle)
    beam = np.exp(-4 * np.log(2) * ((along / 20) ** 2 + (across / minor) ** 2))
    expected = fft.rfft2(fft.ifftshift(beam))
    transfer = tool.beam_transfer((64, 64))
    np.testing.assert_allclose(transfer, expected, atol=2e-4 * tool.pixels_per_beam)
    assert transfer[0, 0] == pytest.approx(tool.pixels_per_beam)
    assert transfer.dtype == np.float32


def test_brightness(emu):
    image = [1, 2] * (u.mJy / u.beam)
    # 1.222e6 K per Jy/beam, GHz^-2, arcsec^-2: the formula in the notes on the VLA
    kelvin = emu.convert(image, "K")
    np.testing.assert_allclose(kelvin.value, 1.222e3 * np.array([1, 2]) / 0.944**2 / 225, rtol=1e-3)
    np.testing.assert_allclose(emu.convert(image, "Jy/pix").value, 1e-3 * np.array([1, 2]) / emu.pixels_per_beam)
    np.testing.assert_allclose(emu.convert(image, "Jy/sr").value, 1e-3 * np.array([1, 2]) / emu.beam_area.value)
    for unit in ("K", "Jy/pix", "MJy/sr", "mJy/beam"):
        np.testing.assert_allclose(emu.convert(emu.convert(image, unit), "mJy/beam").value, [1, 2])
    for wrong in (1 * u.Jy, 1 * u.m):
        with pytest.raises(u.UnitConversionError):
            emu.convert(wrong, "K")
    with pytest.raises(u.UnitConversionError):
        emu.convert(1 * u.K, "Jy")


def toy_psf(size=33):
    y, x = np.mgrid[:size, :size] - size // 2
    radius = np.hypot(x, y)
    return np.exp(-(radius**2) / 3.3) + 0.05 * np.cos(radius) * np.exp(-radius / 5) * (radius > 3)


def test_psf(emu, tmp_path):
    psf = toy_psf()
    np.save(tmp_path / "psf.npy", psf)
    fits.writeto(tmp_path / "psf.fits", psf[None, None].astype(">f4"))
    given = (psf, tmp_path / "psf.npy", str(tmp_path / "psf.fits"))
    transfers = [replace(emu, psf=one).psf_transfer((64, 48)) for one in given]
    for transfer in transfers:
        np.testing.assert_allclose(transfer, transfers[0], atol=1e-5)
    # a point comes out as the psf, less its mean over the image: no interferometer measures that
    point = np.zeros((64, 48))
    point[20, 30] = 1
    image = fft.irfft2(fft.rfft2(point) * transfers[0], s=point.shape)
    assert image.mean() == pytest.approx(0, abs=1e-8)
    np.testing.assert_allclose(image[4:37, 14:47] + psf.sum() / image.size, psf, atol=1e-5)


def test_psf_of_askap(shared_data, emu):
    tool = replace(emu, psf=shared_data / "counts" / "askap_psf_5arcsec_257.npy")
    transfer, beam = tool.psf_transfer((512, 512)), tool.beam_transfer((512, 512))
    # from 1.5 to 10 arcmin the dirty beam passes what the fitted Gaussian does, to a fifth
    y, x = fft.fftfreq(512)[:, None], fft.rfftfreq(512)
    middle = (np.hypot(y, x) > 5 / 600) & (np.hypot(y, x) < 5 / 90)
    assert np.median(transfer[middle] / beam[middle]) == pytest.approx(1, abs=0.2)


def test_psf_of_two_antennas_at_the_pole_is_a_ring_of_fringes():
    # seen from the pole for half a day, a baseline of 1000 wavelengths to the east covers a circle: J0(2 pi r 1000)
    antennas = [[6.4e6, 0, 0], [6.4e6, 300, 0]] * u.m
    wavelength = 0.3 * u.m
    psf = synthesised_psf(
        antennas, frequencies=[(c / wavelength).to(u.GHz).value], pixel_scale=10, declination=90, duration=12,
        robust=-2, taper=0, n_pixels=65,
    )  # fmt: skip
    y, x = np.mgrid[-32:33, -32:33] * (10 * u.arcsec).to_value(u.rad)
    radius = np.hypot(x, y)
    np.testing.assert_allclose(psf, j0(2 * np.pi * 1000 * radius), atol=0.12)
    assert psf[32, 32] == 1


def test_psf_of_a_short_track_shows_the_direction_of_the_baseline():
    # at the meridian, a baseline to the north-east makes fringes that run from north-west to south-east
    antennas = [[6.4e6, 0, 0], [6.4e6, 1000, 1000]]
    psf = synthesised_psf(
        antennas, frequencies=[1.0], pixel_scale=10, declination=0, duration=0.01, taper=0, n_pixels=65
    )
    diagonal = np.arange(65)
    # x is to the west: the diagonal of increasing x and y runs to the north-west
    np.testing.assert_allclose(psf[diagonal, diagonal], 1, atol=0.01)
    assert psf[diagonal, 64 - diagonal].min() < -0.99


def test_psf_of_askap_from_its_antennas(shared_data):
    antennas = np.loadtxt(shared_data / "counts" / "askap36_antennas_itrf.csv", delimiter=",", skiprows=2)
    options = {"frequencies": np.linspace(0.8, 1.088, 8), "pixel_scale": 5}
    psf = synthesised_psf(antennas, **options)
    # of the same array, track, weights and taper, by an independent gridder whose first axis points east
    other = np.load(shared_data / "counts" / "askap_psf_5arcsec_257.npy").T[:, ::-1]
    assert np.corrcoef(psf.ravel(), other.ravel())[0, 1] > 0.995
    assert np.corrcoef(psf[:100].ravel(), other[:100].ravel())[0, 1] > 0.8  # the distant sidelobes alone
    located = EarthLocation.from_geocentric(*antennas.T, unit=u.m)
    np.testing.assert_allclose(synthesised_psf(located, **options), psf, atol=1e-6)
    Instrument(frequency=0.944, beam_major=15, pixel_scale=5, noise=0, psf=psf)
    narrow = synthesised_psf(antennas, robust=-2, taper=0, **options)
    assert narrow[128, 130] < 0.5 * psf[128, 130]


def test_bad_arrays_are_refused():
    options = {"frequencies": [1.0], "pixel_scale": 5}
    with pytest.raises(ValueError, match="at least two antennas"):
        synthesised_psf([[1.0, 2, 3]], **options)
    with pytest.raises(ValueError, match="odd n_pixels"):
        synthesised_psf([[1.0, 2, 3], [2, 3, 4]], n_pixels=64, **options)
    with pytest.raises(ValueError, match="expected"):
        synthesised_psf([[1.0, 2], [2, 3]], **options)
    with pytest.raises(ValueError, match="all baselines are longer"):
        synthesised_psf([[0.0, 1e6, 0], [1e6, 0, 0]], **options)
    with pytest.raises(u.UnitConversionError, match="antennas"):
        synthesised_psf([[1.0, 2, 3], [2, 3, 4]] * u.s, **options)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"noise": -1}, ValueError, "noise must not be negative"),
        ({"frequency": 0}, ValueError, "frequency must be positive"),
        ({"beam_minor": 20}, ValueError, "larger than beam_major"),
        ({"pixel_scale": 8}, ValueError, "at most half"),
        ({"noise": 1 * u.K}, u.UnitConversionError, "noise has the unit 'K'"),
        ({"beam_major": "wide"}, ValueError, "beam_major"),
        ({"psf": np.zeros((4, 4))}, ValueError, "odd"),
        ({"psf": np.zeros((3, 5))}, ValueError, "square"),
        ({"psf": np.roll(toy_psf(), 1, axis=0)}, ValueError, "peak of 1 in the middle"),
        ({"psf": 2 * toy_psf()}, ValueError, "peak of 1 in the middle"),
    ],
)
def test_bad_instruments_are_refused(emu, change, error, message):
    with pytest.raises(error, match=message):
        replace(emu, **change)


def test_psf_is_missing_or_too_large(emu):
    with pytest.raises(ValueError, match="needs the point-spread function"):
        emu.psf_transfer((64, 64))
    with pytest.raises(ValueError, match="the image only 32"):
        replace(emu, psf=toy_psf()).psf_transfer((32, 64))
