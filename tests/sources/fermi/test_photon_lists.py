import astropy.units as u
import healpy as hp
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table

from astrolearn.sources.fermi import lat_psf
from astrolearn.sources.fermi.photon_lists import choose_edges, choose_nside, map_photons


@pytest.mark.parametrize(("low", "high", "expected"), [
    (0.03, 1200, [0.3, 0.5, 1, 2, 7, 20, 1200]),
    (0.1000001, 998.2, [0.3, 0.5, 1, 2, 7, 20, 1000]),
    (1.00003, 499.9, [1, 2, 7, 20, 500]),
    (0.47, 300, [0.47, 1, 2, 7, 20, 300]),  # no narrow bin below 0.5 GeV
    (50.002, 1873, [50, 168, 565, 1900]),
    (30, 5000, [30, 122, 493, 2000]),
    (2, 20, [2, 4.31, 9.28, 20]),
    (5, 5.01, [5, 5.31, 5.65, 6]),
])
def test_edges_suit_the_photons(low, high, expected):
    energies = np.geomspace(low, high, 50) * u.GeV
    for given in (energies, energies.to(u.MeV), energies.astype(np.float32)):
        edges = choose_edges(given)
        assert edges.unit == u.GeV
        np.testing.assert_allclose(edges.value, expected, rtol=1e-9)


def test_no_photons_to_choose_from():
    with pytest.raises(ValueError, match=r"no photons between 0\.3 and 2000 GeV"):
        choose_edges([10, 200] * u.MeV)


@pytest.mark.parametrize(("edges", "event_type", "nside"), [
    ([0.3, 0.5, 1, 2, 7, 20, 1000], "FRONT", 256), ([0.3, 0.5, 1, 2, 7, 20, 1000], "BACK", 256),
    ([50, 171, 585, 2000], "FRONT+BACK", 512), ([0.3, 0.5, 1], "BACK", 64), ([0.1, 0.2], "BACK", 64)])
def test_pixels_suit_the_psf(edges, event_type, nside):
    assert choose_nside(edges * u.GeV, lat_psf(edges, event_type)) == nside


@pytest.fixture
def write_events(tmp_path):
    def write(energy=(1e3, 2.5e3, 5e4, 7e3), unit="MeV", **keywords):
        table = Table({"Energy": np.array(energy, dtype=np.float32), "RA": np.linspace(80, 85, len(energy)),
                       "DEC": np.linspace(20, 24, len(energy)), "CONVERSION_TYPE": np.arange(len(energy)) % 2})
        hdu = fits.table_to_hdu(table)
        hdu.name = "EVENTS"
        hdu.columns["Energy"].unit = unit
        hdu.header.update(keywords)
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "events.fits", overwrite=True)
        return tmp_path / "events.fits"
    return write


def test_map_of_photons(write_events):
    skymap = map_photons(write_events())
    np.testing.assert_array_equal(skymap.energy_edges.value, [1, 2, 7, 20, 50])
    assert skymap.nside == choose_nside(skymap.energy_edges, skymap.psf)
    assert skymap.nest
    assert skymap.mask is None
    np.testing.assert_array_equal(skymap.data.sum(axis=1), [1, 1, 1, 0])  # 50 GeV is not below the last edge
    assert skymap.psf == lat_psf(skymap.energy_edges, "FRONT+BACK")


def test_what_is_asked_for(write_events):
    skymap = map_photons(write_events(), energy_edges="1, 100 GeV", nside=32, event_type="FRONT")
    assert skymap.nside == 32
    assert skymap.data.sum() == 2
    assert skymap.psf == lat_psf([1, 100] * u.GeV, "FRONT")


def test_cone_of_the_selection(write_events):
    path = write_events(DSTYP1="TIME", DSVAL1="TABLE", DSTYP2="POS(RA,DEC)", DSVAL2="circle(83.63,22.01,5)")
    skymap = map_photons(path, nside=64)
    assert skymap.observed[0].mean() == pytest.approx((1 - np.cos(np.deg2rad(5))) / 2, rel=0.05)
    centre = SkyCoord(83.63, 22.01, unit="deg")
    assert skymap.pixel_coords(np.flatnonzero(skymap.observed[0])).separation(centre).max() < 5 * u.deg
    whole = map_photons(write_events(DSTYP1="POS(RA,DEC)", DSVAL1="CIRCLE(0,0,180)"), nside=hp.order2nside(5))
    assert whole.observed.all()
    assert map_photons(write_events(DSTYP1="POS(RA,DEC)", DSVAL1="BOX"), nside=32).mask is None


def test_errors_name_the_file(write_events):
    for wrong, message in (({"energy": []}, "the photon list is empty"),
                           ({"unit": "cm"}, "column ENERGY has the unit 'cm'"),
                           ({"energy": [10, 20]}, r"no photons between 0\.3 and 2000 GeV")):
        with pytest.raises(ValueError, match=rf"events\.fits: {message}"):
            map_photons(write_events(**wrong))
    path = write_events()
    for options, message in (({"nside": 100}, "nside=100"), ({"energy_edges": "0.5, 5 TeV"}, "energy_edges .* leave"),
                             ({"energy_edges": "100, 500 GeV"}, "no photons between")):
        with pytest.raises(ValueError, match=rf"events\.fits: {message}"):
            map_photons(path, **options)
