import astropy.units as u
import healpy as hp
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.wcs import WCS

from astrolearn.sky import RadialPSF, SkyMap, read_exposure, read_psf

ENERGIES = np.geomspace(100, 1e6, 41)  # MeV


@pytest.fixture
def exposure_file(tmp_path):
    """An equatorial exposure cube that grows with log(energy) and towards the pole, as gtexpcube2 writes them."""
    declination = hp.pix2ang(16, np.arange(3072), lonlat=True)[1]
    pattern = 1e11 * (2 + np.sin(np.deg2rad(declination)))
    table = fits.BinTableHDU.from_columns([
        fits.Column(f"ENERGY{i}", "E", array=pattern * np.log10(e)) for i, e in enumerate(ENERGIES, start=1)],
        name="HPXEXPOSURES")
    table.header.update({"PIXTYPE": "HEALPIX", "ORDERING": "RING", "NSIDE": 16})
    energies = fits.BinTableHDU.from_columns([fits.Column("Energy", "D", array=ENERGIES)], name="ENERGIES")
    fits.HDUList([fits.PrimaryHDU(), table, energies]).writeto(tmp_path / "exposure.fits")
    return tmp_path / "exposure.fits"


@pytest.mark.parametrize("frame", ["galactic", "icrs"])
def test_exposure_follows_the_sky(exposure_file, frame):
    skymap = SkyMap(np.zeros((2, hp.nside2npix(32)), dtype="f4"), frame=frame, nest=True,
                    energy_edges=[0.999, 1.001, 10] * u.GeV)
    exposure = read_exposure(exposure_file, skymap)
    assert exposure.unit == u.cm**2 * u.s
    assert exposure.dtype == np.float32
    expected = 1e11 * (2 + np.sin(skymap.pixel_coords().icrs.dec.rad))
    np.testing.assert_allclose(exposure[0].value, 3 * expected, rtol=0.01)
    # the mean of log10(E / GeV) between 1 and 10 GeV for dN/dE = E^-2.2
    energy = np.geomspace(1, 10, 100001)
    mean = np.trapezoid(np.log10(energy) * energy**-1.2, np.log(energy)) / np.trapezoid(energy**-1.2, np.log(energy))
    np.testing.assert_allclose(exposure[1].value, (3 + mean) * expected, rtol=0.01)
    skymap.exposure = exposure


@pytest.mark.parametrize(("projection", "scale"), [("TAN", 0.5), ("AIT", 8.2)])
def test_exposure_of_an_image(exposure_file, projection, scale):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"GLON-{projection}", f"GLAT-{projection}"]
    wcs.wcs.cdelt, wcs.wcs.crpix = [-scale, scale], [20.5, 10.5]
    image = CCDData(np.zeros((2, 20, 40)), unit="ct", wcs=wcs, meta={"energy_edges": [0.999, 1.001, 10] * u.GeV})
    exposure = read_exposure(exposure_file, image)
    assert exposure.shape == image.shape
    centres = wcs.pixel_to_world(*np.meshgrid(np.arange(40), np.arange(20))).icrs.dec.rad
    expected = np.nan_to_num(1e11 * (2 + np.sin(centres)))
    np.testing.assert_allclose(exposure[0].value, 3 * expected, rtol=0.01)
    assert (exposure[0] == 0).any() == (projection == "AIT")
    for missing, message in (({"energy_edges": None}, "no energy_edges"), ({}, "no celestial WCS")):
        bare = CCDData(image.data, unit="ct", wcs=wcs if missing else None, meta=missing)
        with pytest.raises(ValueError, match=message):
            read_exposure(exposure_file, bare)


def test_what_is_no_exposure(exposure_file, tmp_path):
    bare = SkyMap(np.zeros(768))
    with pytest.raises(ValueError, match="no energy_edges"):
        read_exposure(exposure_file, bare)
    beyond = SkyMap(np.zeros(768), energy_edges=[0.5, 2] * u.TeV)
    with pytest.raises(ValueError, match=r"exposure\.fits: the energies reach from 100 MeV to 1e\+06 MeV"):
        read_exposure(exposure_file, beyond)
    beyond.write(tmp_path / "counts.fits")
    with pytest.raises(ValueError, match=r"counts\.fits: not an exposure cube"):
        read_exposure(tmp_path / "counts.fits", beyond)
    with pytest.raises(FileNotFoundError):
        read_exposure(tmp_path / "nothing.fits", beyond)


@pytest.fixture
def psf_file(tmp_path):
    """A table of Gaussian PSFs that become narrower with energy, as gtpsf writes them."""
    theta = np.concatenate([[0], np.geomspace(1e-3, 30, 300)])
    sigma = 0.5 * (ENERGIES / 1000) ** -0.5
    psf = fits.BinTableHDU.from_columns([
        fits.Column("Energy", "D", array=ENERGIES), fits.Column("Exposure", "D", array=np.ones(len(ENERGIES))),
        fits.Column("Psf", "301D", array=np.exp(-0.5 * (theta / sigma[:, None]) ** 2) / sigma[:, None] ** 2),
    ], name="PSF")
    angles = fits.BinTableHDU.from_columns([fits.Column("Theta", "D", array=theta)], name="THETA")
    fits.HDUList([fits.PrimaryHDU(), psf, angles]).writeto(tmp_path / "psf.fits")
    return tmp_path / "psf.fits"


def test_psf(psf_file):
    psf = read_psf(psf_file, [0.999, 1.001, 9.99, 10.01] * u.GeV)
    expected = RadialPSF.gaussian([0.5 * 1.5096, 0.5, 0.5 * 1.5096 / np.sqrt(10)] * u.deg).containment_radius()
    np.testing.assert_allclose(psf.containment_radius()[[0, 2]], expected[[0, 2]], rtol=0.01)
    # a wide bin lies between its ends, closer to the low one, where the photons are
    wide, = read_psf(psf_file, "1, 10 GeV").containment_radius()
    assert np.sqrt(expected[0] * expected[2]) < wide < expected[0]


def test_what_is_no_psf(psf_file, exposure_file, tmp_path):
    with pytest.raises(ValueError, match=r"exposure\.fits: there is no extension PSF; there are PRIMARY, HPXEXPOSURES"):
        read_psf(exposure_file, "1, 10 GeV")
    with pytest.raises(ValueError, match=r"psf\.fits: the energies reach from"):
        read_psf(psf_file, "1, 10 PeV")
    with pytest.raises(u.UnitConversionError, match="'s'"):
        read_psf(psf_file, [1, 2] * u.s)
    with fits.open(psf_file) as hdus:
        hdus["PSF"].columns.change_name("Psf", "Other")
        hdus.writeto(tmp_path / "other.fits")
    with pytest.raises(ValueError, match=r"other\.fits: PSF has no column Psf; it has Energy, Exposure, Other"):
        read_psf(tmp_path / "other.fits", "1, 10 GeV")


def test_real_responses(shared_data):
    gamma = shared_data / "gamma"
    skymap = SkyMap(np.zeros((2, 768)), energy_edges=[10, 20, 2000] * u.GeV)
    exposure = read_exposure(gamma / "fermi_3fhl_exposure_cube_hpx.fits.gz", skymap)
    assert 2e11 < exposure.value.min() < exposure.value.max() < 5e11
    # the LAT looks at the northern celestial pole most
    assert skymap.pixel_coords([exposure[0].argmax()]).icrs.dec > 60 * u.deg
    # 10 GeV: 0.152 deg, 37 GeV: 0.100 deg
    radius = read_psf(gamma / "fermi_3fhl_psf_gc.fits.gz", skymap.energy_edges).containment_radius()
    assert 0.12 * u.deg < radius[0] < 0.152 * u.deg
    assert 0.09 * u.deg < radius[1] < 0.12 * u.deg
