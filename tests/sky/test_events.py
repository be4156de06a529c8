import gzip

import astropy.units as u
import healpy as hp
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable, Table
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolearn.sky import SkyMap, bin_events, bin_events_in_time, read_events


@pytest.fixture
def events():
    """Photons in the way of an FT1 file."""
    rng = np.random.default_rng(3)
    coord = SkyCoord(rng.uniform(0, 360, 500), np.rad2deg(np.arcsin(rng.uniform(-1, 1, 500))), unit="deg")
    return Table({
        "ENERGY": 10 ** rng.uniform(3, 5, 500), "RA": coord.ra.deg, "DEC": coord.dec.deg, "L": coord.galactic.l.deg,
        "B": coord.galactic.b.deg, "CONVERSION_TYPE": rng.integers(0, 2, 500).astype(np.int16),
    })


@pytest.fixture
def photon_file(events, tmp_path):
    """An FT1 file: EVENTS with fermitools' units, then GTI."""
    table = fits.BinTableHDU.from_columns([
        fits.Column("ENERGY", "E", unit="MeV", array=events["ENERGY"]),
        fits.Column("RA", "E", unit="deg", array=events["RA"]),
        fits.Column("DEC", "E", unit="deg", array=events["DEC"]),
        fits.Column("CONVERSION_TYPE", "I", array=events["CONVERSION_TYPE"]),
        fits.Column("EVENT_CLASS", "32X", array=np.ones((len(events), 32), dtype=bool)),
    ], name="EVENTS")
    table.header["TELESCOP"] = "GLAST"
    gti = fits.BinTableHDU.from_columns([fits.Column("START", "D", unit="s", array=[0.0])], name="GTI")
    path = tmp_path / "photons.fits"
    fits.HDUList([fits.PrimaryHDU(), table, gti]).writeto(path)
    return path


def test_counts_are_those_of_a_histogram(events):
    skymap = SkyMap.from_events(events, "1, 10, 100 GeV", 16)
    pixels = hp.ang2pix(16, events["L"], events["B"], lonlat=True)
    expected = np.histogram2d(events["ENERGY"], pixels, bins=[[1e3, 1e4, 1e5], np.arange(3073)])[0]
    np.testing.assert_array_equal(skymap.data, expected)
    assert skymap.data.dtype == np.float32
    assert skymap.unit == u.ct
    assert skymap.meta["n_events"] == 500
    assert skymap.meta["n_outside_energy"] == 0


@pytest.mark.parametrize("frame", ["galactic", "icrs"])
@pytest.mark.parametrize("columns", [("L", "B"), ("RA", "DEC"), ("coord",)])
def test_positions_of_every_kind(events, frame, columns):
    expected = bin_events(events, "1, 100 GeV", 8, frame=frame, nest=True)
    events["coord"] = SkyCoord(events["RA"], events["DEC"], unit="deg")
    part = events[["ENERGY", *columns]]
    for name in part.colnames:
        part[name].info.name = name.lower()
    skymap = bin_events(part, "1, 100 GeV", 8, frame=frame, nest=True)
    np.testing.assert_array_equal(skymap.data, expected.data)
    assert skymap.nest


def test_file_and_event_types(events, photon_file):
    both = bin_events(photon_file, "1, 100 GeV", 8)
    front, back = (bin_events(str(photon_file), "1, 100 GeV", 8, event_type=kind) for kind in ("front", "back"))
    np.testing.assert_array_equal(both.data, front.data + back.data)
    assert front.data.sum() == np.sum(events["CONVERSION_TYPE"] == 0)
    assert front.meta["n_event_type"] == front.data.sum()
    assert front.meta["event_type"] == "front"
    assert both.meta["TELESCOP"] == "GLAST"


def test_units_are_converted(events):
    expected = bin_events(events, "1, 10, 100 GeV", 8)
    in_units = QTable({"ENERGY": events["ENERGY"] * u.MeV, "RA": events["RA"] * u.deg, "DEC": events["DEC"] * u.deg})
    in_units["ENERGY"] = in_units["ENERGY"].to(u.TeV)
    in_units["RA"] = in_units["RA"].to(u.rad)
    np.testing.assert_array_equal(bin_events(in_units, [1e9, 1e10, 1e11] * u.eV, 8).data, expected.data)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(10, 1e6), min_size=1, max_size=30), st.integers(0, 2**31))
def test_every_photon_is_counted_once_or_outside(energies, seed):
    rng = np.random.default_rng(seed)
    events = Table({"ENERGY": energies, "L": rng.uniform(-180, 360, len(energies)),
                    "B": rng.uniform(-90, 90, len(energies))})
    edges = np.append(np.sort(rng.uniform(20, 1e6, 3)), 2e6) * u.MeV
    inside = np.sum((events["ENERGY"] >= edges[0].value) & (events["ENERGY"] < edges[-1].value))
    if inside == 0:
        with pytest.raises(ValueError, match="no photons between"):
            bin_events(events, edges, 4)
        return
    skymap = bin_events(events, edges, 4)
    assert skymap.data.sum() == inside
    assert skymap.meta["n_outside_energy"] == len(energies) - inside


def test_edges_of_bins():
    events = Table({"ENERGY": [1000.0, 10000.0, 100000.0], "L": [0, 0, 0], "B": [0, 0, 0]})
    assert bin_events(events, "1, 10, 100 GeV", 1).data.sum(axis=1).tolist() == [1, 1]


@pytest.mark.parametrize(("change", "message"), [
    (lambda t: t["RA", "DEC"], "no column ENERGY; it has RA, DEC"),
    (lambda t: t["ENERGY", "RA"], "no positions .*it has ENERGY, RA"),
    (lambda t: t["ENERGY", "L", "DEC"], "no positions"),
    (lambda t: t[:0], "empty"),
    (lambda t: Table(), "empty"),
    (lambda t: t[t["ENERGY"] < 1200], "no photons between 2 GeV and 50 GeV: they have 1"),
])
def test_bad_tables(events, change, message):
    with pytest.raises(ValueError, match=message):
        bin_events(change(events), "2, 50 GeV", 8)


def test_bad_values(events):
    broken = events.copy()
    broken["ENERGY"][3] = np.nan
    with pytest.raises(ValueError, match="column ENERGY has 1 values that are not finite"):
        bin_events(broken, "1, 100 GeV", 8)
    masked = Table(events, masked=True)
    masked["L"].mask[0] = True
    with pytest.raises(ValueError, match="column L has masked values"):
        bin_events(masked, "1, 100 GeV", 8)
    events["ENERGY"].unit = "cm"
    with pytest.raises(u.UnitConversionError, match="column ENERGY has the unit 'cm'"):
        bin_events(events, "1, 100 GeV", 8)
    with pytest.raises(ValueError, match="no column CONVERSION_TYPE"):
        bin_events(events["ENERGY", "L", "B"], "1, 100 GeV", 8, event_type="front")


@pytest.mark.parametrize("options", [{"event_type": "FRONT+BACK"}, {"frame": "altaz"}, {"nside": 100, "nest": True},
                                     {"nside": 0}])
def test_bad_options(events, options):
    with pytest.raises(ValueError, match="event_type|altaz|nside"):
        bin_events(events, "1, 100 GeV", **({"nside": 8} | options))


def test_bad_files(photon_file, tmp_path):
    def binned(path):
        return bin_events(path, "1, 100 GeV", 8)

    with pytest.raises(FileNotFoundError, match=r"nothing\.fits: no such file"):
        binned(tmp_path / "nothing.fits")
    with pytest.raises(IsADirectoryError):
        binned(tmp_path)
    whole = photon_file.read_bytes()
    for name, content in {"cut": whole[: len(whole) // 2], "short": whole[:100], "empty": b"",
                          "text": b"not FITS\n" * 99, "cut.gz": gzip.compress(whole)[:3000]}.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(OSError, match=rf"^[^\n]*{name}: not a readable FITS file[^\n]*$"):
            binned(path)
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(tmp_path / "image.fits")
    with pytest.raises(ValueError, match=r"image\.fits: no table"):
        binned(tmp_path / "image.fits")
    Table({"x": [1]}).write(tmp_path / "other.fits")
    with pytest.raises(ValueError, match=r"other\.fits: .*has none of the columns.*it has x"):
        binned(tmp_path / "other.fits")
    fits.setval(photon_file, "TUNIT1", value="bogus", ext=1)
    with pytest.raises(ValueError, match=r"photons\.fits: ENERGY has the unit 'bogus'"):
        binned(photon_file)


def test_real_photons(shared_data):
    path = shared_data / "gamma" / "fermi_lat_50gev_events_north.fits.gz"
    skymap = SkyMap.from_events(path, "50, 171, 585, 2000 GeV", 64)
    assert skymap.data.sum() + skymap.meta["n_outside_energy"] == 30339
    assert skymap.data[:, skymap.pixel_coords().b.deg < -1].sum() == 0
    # Mkn 421 is the brightest source of the northern sky at these energies
    with_position = Table.read(path)
    mkn = SkyCoord(166.1138, 38.2088, unit="deg")
    near = SkyCoord(with_position["RA"], with_position["DEC"], unit="deg").separation(mkn) < 0.5 * u.deg
    vector = hp.ang2vec(mkn.galactic.l.deg, mkn.galactic.b.deg, lonlat=True)
    pixels = hp.query_disc(64, vector, np.deg2rad(0.5), inclusive=True)
    assert skymap.data[:, pixels].sum() >= near.sum() > 100


# -- intervals of time ------------------------------------------------------------------------------------------------
def test_intervals_are_those_of_a_histogram(events):
    times = np.random.default_rng(4).uniform(0, 100, 500)
    times[:3] = 10, 50, 80  # on the edges: in the first, the second and the last interval
    events["TIME"] = times
    edges = [10, 50, 70, 80]
    maps = bin_events_in_time(events, "1, 10, 100 GeV", 4, edges * u.s, nest=True)
    pixels = hp.ang2pix(4, events["L"], events["B"], nest=True, lonlat=True)
    sample = np.column_stack([times, events["ENERGY"], pixels])
    expected = np.histogramdd(sample, bins=[edges, [1e3, 1e4, 1e5], np.arange(193)])[0]
    np.testing.assert_array_equal([skymap.data for skymap in maps], expected)
    assert all(skymap.nest and skymap.data.dtype == np.float32 for skymap in maps)
    assert [skymap.meta["n_events"] for skymap in maps] == expected.sum(axis=(1, 2)).tolist()


def test_an_interval_may_be_empty(events):
    events["TIME"] = np.r_[np.zeros(250), np.full(250, 9.0)] * u.h
    maps = bin_events_in_time(events, "1, 5 GeV", 4, [0, 3.6, 7.2, 10.8] * u.ks, event_type="front")
    front = np.array(events["CONVERSION_TYPE"][:250] == 0)
    inside = np.array(events["ENERGY"][:250] < 5e3)
    assert [skymap.data.sum() for skymap in maps] == [np.sum(front & inside), 0, 0]
    assert maps[0].meta["n_event_type"] == front.sum()
    assert maps[0].meta["n_outside_energy"] == np.sum(front & ~inside)
    assert maps[1].meta["n_events"] == 0


@pytest.mark.parametrize(("times", "edges", "message"), [
    (None, [0, 1] * u.s, "no column TIME"),
    ([0, np.nan], [0, 1] * u.s, "column TIME has 1 values that are not finite"),
    ([0, 1] * u.m, [0, 1] * u.s, "column TIME has the unit 'm'"),
    ([0, 1], [0, 1] * u.m, "time_edges has the unit 'm'"),
    ([0, 1], [0, 1], "time_edges has the unit ''"),
    ([0, 1], [1, 0] * u.s, "time_edges must be at least two increasing values"),
    ([0, 1], [1] * u.s, "time_edges must be at least two increasing values"),
])
def test_bad_times(events, times, edges, message):
    events = events[:2]
    if times is not None:
        events["TIME"] = times
    with pytest.raises(ValueError, match=message):
        bin_events_in_time(events, "1, 100 GeV", 4, edges)


def test_times_are_read(photon_file, events):
    with fits.open(photon_file) as hdus:
        columns = hdus["EVENTS"].columns + fits.Column("Time", "D", unit="d", array=np.arange(500.0))
        fits.BinTableHDU.from_columns(columns, name="EVENTS").writeto(photon_file.with_name("timed.fits"))
    read = read_events(photon_file.with_name("timed.fits"))
    np.testing.assert_array_equal(read["TIME"], np.arange(500) * u.d)
    assert "TIME" not in read_events(photon_file).colnames
