import warnings

import astropy.units as u
import healpy as hp
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astrolearn.sky import read_events
from astrolearn.sources.fermi import lat_psf
from astrolearn.sources.fermi.photon_lists import (
    choose_edges,
    choose_nside,
    map_photons,
    map_photons_yearly,
    selected_energies,
)


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
    for photons in (energies, energies.to(u.MeV), energies.astype(np.float32)):
        edges = choose_edges(photons)
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
    def write(energy=(1e3, 2.5e3, 5e4, 7e3), unit="MeV", times=None, **keywords):
        table = Table({"Energy": np.array(energy, dtype=np.float32), "RA": np.linspace(80, 85, len(energy)),
                       "DEC": np.linspace(20, 24, len(energy)), "CONVERSION_TYPE": np.arange(len(energy)) % 2})
        if times is not None:
            table["TIME"] = np.array(times, dtype=float)
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


# -- year by year -----------------------------------------------------------------------------------------------------
YEAR = 365.25 * 86400  # s


def test_years_add_up(write_events):
    times = np.array([0, 0.1, 1.2, 2.9]) * YEAR + 2.4e8
    path = write_events(times=times, DSTYP1="POS(RA,DEC)", DSVAL1="CIRCLE(83,22,9)")
    skymap, yearly = map_photons_yearly(path, nside=64, energy_edges="1, 10, 100 GeV")
    expected = map_photons(path, nside=64, energy_edges="1, 10, 100 GeV")
    np.testing.assert_array_equal(skymap.data, expected.data)
    np.testing.assert_array_equal(skymap.mask, expected.mask)
    np.testing.assert_array_equal(sum(one.data for one in yearly), expected.data)
    assert skymap.meta == expected.meta | {"years": pytest.approx(2.9)}
    assert skymap.data.dtype == np.float32
    assert [one.data.sum() for one in yearly] == [2, 1, 1]  # 2.9 years are three of 0.97
    for one in yearly:
        assert one.meta["years"] == pytest.approx(2.9 / 3)
        assert one.psf is skymap.psf
        assert one.mask is skymap.mask
        assert one.nest


@pytest.mark.parametrize(("times", "keywords", "expected"), [
    ([0, 1, 2, 3], {}, [1, 1, 2]),
    ([0, 1, 2, 3.49], {}, [2, 1, 1]),  # three years of 1.16
    ([0, 1, 2, 3.51], {}, [1, 1, 1, 1]),
    ([0, 0, 0, 1.51], {}, [3, 1]),
    ([0.1, 0.2, 2.4, 2.5], {"TSTART": 0, "TSTOP": 4 * YEAR}, [2, 0, 2, 0]),
    ([0.1, 0.2, 2.4, 2.6], {"TSTART": 0.0, "TSTOP": YEAR}, [2, 0, 2]),  # the header of the first of several lists
    ([0, 1, 2, 3], {"TSTART": 0, "TSTOP": 0}, [1, 1, 2]),
    ([0, 1, 2, 3], {"TSTART": "unknown", "TSTOP": 4 * YEAR}, [1, 1, 2]),
    ([0, 1, 2, 3], {"TSTOP": 9 * YEAR}, [1, 1, 2]),
])
def test_how_many_years(write_events, times, keywords, expected):
    path = write_events(times=np.array(times) * YEAR, **keywords)
    _, yearly = map_photons_yearly(path, nside=16, energy_edges="1, 100 GeV")
    assert [one.data.sum() for one in yearly] == expected


@pytest.mark.parametrize("last", [1.49, 0.1, 0])
def test_a_short_list(write_events, last):
    path = write_events(times=np.array([0, 0, 0, last]) * YEAR)
    with pytest.warns(UserWarning, match=r"events\.fits: .* less than two years: .* spectra and surroundings alone"):
        skymap, yearly = map_photons_yearly(path)
    assert len(yearly) == 1
    for one in (skymap, *yearly):
        np.testing.assert_array_equal(one.data, map_photons(path).data)
        assert one.meta.get("years", 0) == pytest.approx(last)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(times=st.lists(st.floats(0, 6e8), min_size=1, max_size=40), start=st.floats(0, 6e8), stop=st.floats(0, 6e8))
def test_no_photon_is_lost_between_years(write_events, times, start, stop):
    path = write_events(energy=np.geomspace(1.1e3, 9e4, len(times)), times=times, TSTART=start, TSTOP=stop)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* less than two years")
        skymap, yearly = map_photons_yearly(path, nside=8, energy_edges="1, 10, 100 GeV")
    np.testing.assert_array_equal(sum(one.data for one in yearly), skymap.data)
    assert skymap.data.sum() == len(times)
    longest = max(stop, *times) - min(start, *times) if start < stop else max(times) - min(times)
    assert len(yearly) == max(1, round(longest / YEAR))


def test_a_list_without_times(write_events):
    path = write_events()
    with pytest.warns(UserWarning, match=r"events\.fits: .*no times \(column TIME\).* vary .* is not known"):
        skymap, yearly = map_photons_yearly(path)
    assert yearly == [skymap]
    np.testing.assert_array_equal(skymap.data, map_photons(path).data)
    assert "years" not in skymap.meta
    path = write_events(TSTART=1e8, TSTOP=1e8 + 5 * YEAR)
    with pytest.warns(UserWarning, match="no times"):
        assert map_photons_yearly(path)[0].meta["years"] == pytest.approx(5)


def test_times_that_are_none_name_the_file(write_events):
    with pytest.raises(ValueError, match=r"events\.fits: column TIME has values that are not finite"):
        map_photons_yearly(write_events(times=[0, 1, np.nan, 2]))


def test_bins_chosen_by_a_function(write_events):
    seen = []

    def choose(events):
        seen.append(events["ENERGY"])
        return [events["ENERGY"].min().to_value("GeV"), 10, 100]

    skymap = map_photons(write_events(), energy_edges=choose, nside=16)
    np.testing.assert_allclose(skymap.energy_edges.to_value("GeV"), [1, 10, 100])
    np.testing.assert_allclose(seen[0].to_value("MeV"), [1e3, 2.5e3, 5e4, 7e3])


@pytest.mark.parametrize(("value", "unit", "expected"), [
    ("100:300000", "MeV", [0.1, 300]), ("0.1 : 3.e2", "GeV", [0.1, 300]), (" 100.0:300000.0", "MEV", [0.1, 300]),
    ("2000:10000", "MeV", [1, 50]),  # the header of one of several lists: there are photons of 1 to 50 GeV
    ("100:300000", "erg", None), ("100:300000", "", None), ("TABLE", "MeV", None), ("100:", "MeV", None),
])
def test_energies_of_the_selection(write_events, value, unit, expected):
    keywords = {"DSTYP1": "TIME", "DSVAL1": "TABLE", "DSUNI1": "s", "DSTYP4": "ENERGY", "DSVAL4": value, "DSUNI4": unit}
    selected = selected_energies(read_events(write_events(**keywords)))
    if expected is None:
        assert selected is None
    else:
        np.testing.assert_allclose(selected.to_value(u.GeV), expected, rtol=1e-6)
    assert selected_energies(read_events(write_events(DSTYP1="POS(RA,DEC)", DSVAL1="circle(1,2,3)"))) is None


def test_real_list_year_by_year(shared_data):
    """80 months, of which the northern list holds 6.5 years of photons; the LAT saw as much of the sky in each."""
    path = shared_data / "gamma" / "fermi_lat_50gev_events_north.fits.gz"
    if not path.exists():
        pytest.skip(f"needs the photon list {path.name}")
    skymap, yearly = map_photons_yearly(path, nside=64, energy_edges="50, 2000 GeV")
    assert len(yearly) == 6
    numbers = np.array([one.data.sum() for one in yearly])
    assert numbers.sum() == skymap.data.sum() == 30339
    assert np.all(np.abs(numbers / numbers.mean() - 1) < 0.15)
    # Mkn 421 is there in every year
    blazar = SkyCoord(166.11, 38.21, unit="deg")
    near = skymap.pixel_coords().separation(blazar) < 1.5 * u.deg
    assert all(one.data[0, near].sum() > 10 * one.data.sum() * near.sum() / skymap.n_pix for one in yearly)
