from types import SimpleNamespace

import astropy.units as u
import healpy as hp
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import CCDData, NDData
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS

from astrolearn.sky import SkyMap, as_map, read_map


@pytest.fixture
def header():
    """An image 20 x 10 deg around the Galactic centre, as gtbin makes it."""
    return fits.Header({"CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR", "CRPIX1": 20.5, "CRPIX2": 10.5, "CRVAL1": 0.0,
                        "CRVAL2": 0.0, "CDELT1": -0.5, "CDELT2": 0.5, "CUNIT1": "deg", "CUNIT2": "deg",
                        "TELESCOP": "GLAST"})


@pytest.fixture
def cube():
    return np.random.default_rng(0).poisson(3, (3, 20, 40)).astype(np.int32)


def ebounds(name="EBOUNDS", unit="keV"):
    edges = ([1, 3, 10, 30] * u.GeV).to_value(unit)
    return fits.BinTableHDU.from_columns([
        fits.Column("CHANNEL", "I", array=np.arange(1, 4)), fits.Column("E_MIN", "1E", unit=unit, array=edges[:-1]),
        fits.Column("E_MAX", "1E", unit=unit, array=edges[1:])], name=name)


def test_gtbin_cube(tmp_path, header, cube):
    header.update({"CTYPE3": "Energy", "CRPIX3": 1, "CRVAL3": 1000.0, "CDELT3": 2000.0, "CUNIT3": "MeV"})
    path = tmp_path / "ccube.fits"
    fits.HDUList([fits.PrimaryHDU(cube, header), ebounds()]).writeto(path)
    image = read_map(path)
    assert isinstance(image, CCDData)
    np.testing.assert_array_equal(image.data, cube)
    assert image.data.dtype == np.float32
    assert image.unit == u.ct
    assert image.mask is None
    np.testing.assert_allclose(image.meta["energy_edges"].to_value(u.GeV), [1, 3, 10, 30], rtol=1e-6)
    assert image.meta["TELESCOP"] == "GLAST"
    assert image.wcs.naxis == 2
    centre = image.wcs.pixel_to_world(19.5, 9.5)
    assert centre.separation(SkyCoord(0, 0, unit="deg", frame="galactic")) < 1e-6 * u.deg


def test_gadf_cube(tmp_path, header, cube):
    header["BANDSHDU"] = "PRIMARY_BANDS"
    fits.HDUList([fits.PrimaryHDU(cube.astype(">f8"), header), ebounds("PRIMARY_BANDS", "GeV")]).writeto(
        tmp_path / "gadf.fits")
    image = as_map(tmp_path / "gadf.fits")
    assert image.data.dtype == np.float64
    np.testing.assert_array_equal(image.meta["energy_edges"], [1, 3, 10, 30] * u.GeV)


@pytest.mark.parametrize("shape", [(20, 40), (1, 20, 40), (1, 1, 20, 40)])
def test_images(tmp_path, header, shape):
    data = np.ones(shape, dtype=np.float32)
    data[..., 3, 4] = np.nan
    header.update({"BUNIT": "adu", "EXTNAME": "SCI"})
    path = tmp_path / "image.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data, header)]).writeto(path)
    for image in (read_map(path), read_map(path, hdu="SCI")):
        assert image.shape == (20, 40)
        assert image.unit == u.adu
        assert np.argwhere(image.mask).tolist() == [[3, 4]]
        assert image.wcs.wcs.ctype[0] == "GLON-CAR"
        assert "energy_edges" not in image.meta
    assert read_map(path, unit="ct").unit == u.ct


def test_image_without_coordinates(tmp_path):
    fits.PrimaryHDU(np.zeros((4, 5), dtype=np.uint8)).writeto(tmp_path / "plain.fits")
    image = read_map(tmp_path / "plain.fits")
    assert image.wcs is None
    assert image.shape == (4, 5)


def test_sip_leftovers(tmp_path, header):
    header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-2,
                   "B_0_2": 1e-2})
    fits.PrimaryHDU(np.zeros((20, 40)), header).writeto(tmp_path / "tan.fits")
    with pytest.warns(AstropyUserWarning, match="SIP distortion coefficients .* are ignored"):
        image = read_map(tmp_path / "tan.fits")
    for key in ("A_ORDER", "B_ORDER", "A_2_0", "B_0_2"):
        del header[key]
    expected = WCS(header).pixel_to_world(0, 0)
    assert image.wcs.pixel_to_world(0, 0).separation(expected) < 1e-9 * u.deg
    # where the CTYPE announces them they count
    header.update({"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-2})
    fits.PrimaryHDU(np.zeros((20, 40)), header).writeto(tmp_path / "sip.fits")
    assert read_map(tmp_path / "sip.fits").wcs.pixel_to_world(0, 0).separation(expected) > 0.1 * u.deg


def test_bad_files(tmp_path, header, cube):
    with pytest.raises(FileNotFoundError, match=r"none\.fits: no such file"):
        read_map(tmp_path / "none.fits")
    fits.HDUList([fits.PrimaryHDU(), ebounds()]).writeto(tmp_path / "table.fits")
    with pytest.raises(ValueError, match=r"table\.fits: no map or image"):
        read_map(tmp_path / "table.fits")
    fits.HDUList([fits.PrimaryHDU(cube[:2], header), ebounds()]).writeto(tmp_path / "planes.fits")
    with pytest.raises(ValueError, match=r"planes\.fits: the image has 2 planes, but the file 3 energy bins"):
        read_map(tmp_path / "planes.fits")
    with pytest.raises(ValueError, match=r"planes\.fits: extension 1 is no image"):
        read_map(tmp_path / "planes.fits", hdu=1)
    fits.PrimaryHDU(np.zeros((2, 3, 4, 5))).writeto(tmp_path / "hyper.fits")
    with pytest.raises(ValueError, match=r"hyper\.fits: .*\(2, 3, 4, 5\)"):
        read_map(tmp_path / "hyper.fits")
    whole = (tmp_path / "planes.fits").read_bytes()
    (tmp_path / "cut.fits").write_bytes(whole[:5000])
    with pytest.raises(OSError, match=r"cut\.fits: not a readable FITS file"):
        read_map(tmp_path / "cut.fits")


def hpx_geom(nside, nest, axes, pixels=None):
    """What gammapy's HpxGeom says of itself."""
    pixels = np.arange(hp.nside2npix(nside)) if pixels is None else pixels
    image = SimpleNamespace(get_idx=lambda flat: (pixels,))
    return SimpleNamespace(is_hpx=True, nside=np.array([nside]), nest=nest, frame="icrs", axes=axes,
                           to_image=lambda: image)


def test_gammapy_maps(header, cube):
    energy = SimpleNamespace(name="energy", edges=[1, 3, 10, 30] * u.TeV)
    data = np.random.default_rng(0).random((3, 768)).astype(np.float32)
    whole = as_map(SimpleNamespace(geom=hpx_geom(8, True, [energy]), data=data, unit=u.Unit("")))
    assert isinstance(whole, SkyMap)
    assert (whole.unit, whole.frame, whole.nest, whole.mask) == (u.ct, "icrs", True, None)
    np.testing.assert_array_equal(whole.data, data)
    assert whole.energy_edges[-1] == 30 * u.TeV

    pixels = np.array([5, 3, 100])
    part = as_map(SimpleNamespace(geom=hpx_geom(8, False, [], pixels), data=data[0, :3], unit=u.Unit("s")))
    np.testing.assert_array_equal(part.data[0, pixels], data[0, :3])
    assert part.observed.sum() == 3
    assert part.unit == u.s

    flat = SimpleNamespace(is_hpx=False, axes=[energy], wcs=WCS(header))
    image = as_map(SimpleNamespace(geom=flat, data=cube.astype(float), unit=""))
    assert isinstance(image, CCDData)
    assert image.meta["energy_edges"] is not None
    assert image.wcs.wcs.ctype[0] == "GLON-CAR"

    flat.axes = [SimpleNamespace(name="rad", edges=[0, 1] * u.deg)]
    with pytest.raises(ValueError, match=r"axes \['rad'\]"):
        as_map(SimpleNamespace(geom=flat, data=cube, unit=""))


def test_maps_are_taken_as_they_are():
    for skymap in (SkyMap(np.zeros(12)), NDData(np.zeros((3, 3))), CCDData(np.zeros((3, 3)), unit="ct")):
        assert as_map(skymap) is skymap
    with pytest.raises(TypeError, match="not ndarray"):
        as_map(np.zeros((3, 3)))


def test_real_images(shared_data):
    template = read_map(shared_data / "gamma" / "gll_iem_v07_allsky_lowres.fits.gz", unit="cm-2 s-1 sr-1 MeV-1")
    assert template.shape == (28, 131, 240)
    assert template.meta["energies"].unit == u.MeV
    radio = read_map(shared_data / "counts" / "1904-66_SIN.fits")
    assert radio.data.ndim == 2
    assert radio.wcs.has_celestial
    assert radio.unit == u.Jy / u.beam
    hubble = read_map(next((shared_data / "morphology").glob("GDS_*_h.fits")))
    assert hubble.unit == u.electron / u.s
    assert hubble.wcs.has_celestial
    old = read_map(shared_data / "optical" / "sep_image.fits")
    assert old.wcs is None
    assert old.shape == (256, 256)
