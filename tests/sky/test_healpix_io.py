import os

import astropy.units as u
import healpy as hp
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits, registry
from astropy.table import QTable, Table
from astropy.utils.exceptions import AstropyUserWarning
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astrolearn.sky import SkyMap, read_map, read_skymap

NSIDE = 8
N_PIX = 768
N_ENERGY = 11  # so that CHANNEL10 sorts after CHANNEL9


def hpx_table(columns, name="SKYMAP", **header):
    """A HEALPix table as other programs write it."""
    table = fits.BinTableHDU.from_columns(
        [fits.Column(key, f"{values.dtype.char.upper().replace('F', 'E').replace('L', 'K')}", array=values)
         for key, values in columns.items()], name=name)
    table.header.update({"PIXTYPE": "HEALPIX", "ORDERING": "RING", "NSIDE": NSIDE, "COORDSYS": "GAL"} | header)
    return table


def ebounds(name="EBOUNDS", unit="keV", edges=None):
    edges = np.geomspace(1e6, 1e8, N_ENERGY + 1) if edges is None else np.asarray(edges, dtype=float)
    return fits.BinTableHDU.from_columns([
        fits.Column("CHANNEL", "I", array=np.arange(1, len(edges))),
        fits.Column("E_MIN", "D", unit=unit, array=edges[:-1]),
        fits.Column("E_MAX", "D", unit=unit, array=edges[1:])], name=name)


@pytest.fixture
def counts():
    return np.random.default_rng(0).poisson(5, (N_ENERGY, N_PIX)).astype(float)


@pytest.fixture
def save(tmp_path):
    def save(*hdus, name="map.fits"):
        fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / name)
        return tmp_path / name
    return save


def channels(counts, first=1, name="CHANNEL"):
    return {f"{name}{number}": row for number, row in enumerate(counts, start=first)}


@pytest.mark.parametrize(("ordering", "nest"), [("RING", False), ("NESTED", True), ("NEST", True)])
@pytest.mark.parametrize(("coordsys", "frame"), [("GAL", "galactic"), ("EQU", "icrs"), ("CEL", "icrs"),
                                                ("G", "galactic"), ("C", "icrs")])
def test_gtbin_cube(save, counts, ordering, nest, coordsys, frame):
    table = hpx_table(channels(counts), ORDERING=ordering, COORDSYS=coordsys, INDXSCHM="IMPLICIT", ORDER=3,
                      TELESCOP="GLAST")
    skymap = SkyMap.read(save(table, ebounds()))
    np.testing.assert_array_equal(skymap.data, counts)
    assert (skymap.nest, skymap.frame, skymap.unit, skymap.mask) == (nest, frame, u.ct, None)
    assert skymap.meta == {"TELESCOP": "GLAST"}
    assert skymap.energy_edges[0] == 1 * u.GeV
    assert skymap.energy_edges[-1] == 100 * u.GeV


@pytest.mark.parametrize("pixel_column", ["PIX", "INDEX", "PIXEL"])
@pytest.mark.parametrize("order", ["RING", "NESTED"])
def test_explicit_pixels(save, counts, pixel_column, order):
    pixels = np.random.default_rng(1).permutation(N_PIX)[:100]
    table = hpx_table({pixel_column: pixels, **channels(counts[:, pixels])}, INDXSCHM="EXPLICIT", ORDERING=order)
    skymap = SkyMap.read(save(table, ebounds()))
    np.testing.assert_array_equal(skymap.data[:, pixels], counts[:, pixels])
    observed = np.zeros(N_PIX, dtype=bool)
    observed[pixels] = True
    np.testing.assert_array_equal(skymap.mask, ~observed)
    assert skymap.data[:, ~observed].sum() == 0


@pytest.mark.parametrize("region", ["", "DISK(30.,40.,20.)"])
def test_sparse_pixels_of_gadf(save, counts, region):
    counts = counts[:3] * (counts[:3] > 4)
    inside = np.ones(N_PIX, dtype=bool)
    if region:
        inside[:] = False
        inside[hp.query_disc(NSIDE, hp.ang2vec(30, 40, lonlat=True), np.deg2rad(20))] = True
    channel, pixel = np.nonzero(counts * inside)
    table = hpx_table({"PIX": pixel, "CHANNEL": channel, "VALUE": counts[channel, pixel]}, INDXSCHM="SPARSE",
                      HPX_REG=region, BANDSHDU="SKYMAP_BANDS")
    skymap = SkyMap.read(save(table, ebounds("SKYMAP_BANDS", "TeV", [1, 2, 3, 4])))
    np.testing.assert_array_equal(skymap.data, counts * inside)
    np.testing.assert_array_equal(skymap.observed[0], inside)
    np.testing.assert_array_equal(skymap.energy_edges, [1, 2, 3, 4] * u.TeV)


@pytest.mark.parametrize("first", [0, 1])
def test_gadf_and_galprop_names(save, counts, first):
    gadf = SkyMap.read(save(hpx_table(channels(counts, first), HPX_CONV="GADF"), ebounds("SKYMAP_BANDS", "MeV"),
                            name="gadf.fits"))
    np.testing.assert_array_equal(gadf.data, counts)
    assert gadf.energy_edges.unit == u.MeV
    table = hpx_table(channels(counts, first, "Bin"), "SKYMAP2", HPX_CONV="GALPROP")
    del table.header["COORDSYS"]
    table.header["HIERARCH COORDTYPE"] = "CEL"
    energies = fits.BinTableHDU.from_columns([fits.Column("MeV", "D", array=np.arange(5.0))], name="ENERGIES")
    galprop = SkyMap.read(save(table, energies, name="galprop.fits"), unit="cm-2 s-1 sr-1")
    np.testing.assert_array_equal(galprop.data, counts)
    assert (galprop.unit, galprop.frame) == (u.Unit("cm-2 s-1 sr-1"), "icrs")


@pytest.mark.parametrize(("coordsys", "frame"), [(None, "icrs"), ("GAL", "galactic")])
def test_exposure_cube(save, counts, coordsys, frame):
    table = hpx_table(channels(counts, name="ENERGY"), "HPXEXPOSURES", COORDSYS=coordsys or "")
    if coordsys is None:
        del table.header["COORDSYS"]
    energies = fits.BinTableHDU.from_columns([fits.Column("Energy", "D", array=np.arange(1.0, 12))], name="ENERGIES")
    cube = SkyMap.read(save(table, energies))
    assert cube.unit == u.cm**2 * u.s
    assert cube.frame == frame
    assert cube.energy_edges is None
    np.testing.assert_array_equal(cube.meta["energies"], np.arange(1, 12) * u.MeV)


@pytest.mark.parametrize("nest", [False, True])
@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("coord", [None, "G", "C"])
def test_files_of_healpy(tmp_path, nest, partial, coord):
    nside = 64 if not partial else NSIDE  # healpy writes rows of 1024 pixels where it can
    values = np.random.default_rng(0).normal(size=hp.nside2npix(nside))
    values[: len(values) // 2] = hp.UNSEEN
    path = tmp_path / "healpy.fits"
    hp.write_map(path, values, nest=nest, partial=partial, coord=coord, dtype=np.float64)
    skymap = SkyMap.read(path)
    observed = values != hp.UNSEEN
    np.testing.assert_array_equal(skymap.data[0], np.where(observed, values, 0))
    np.testing.assert_array_equal(skymap.mask, ~observed)
    assert skymap.nest == nest
    assert skymap.frame == ("icrs" if coord == "C" else "galactic")
    assert SkyMap.read(path, frame="icrs").frame == "icrs"


def test_named_columns(save, counts):
    table = hpx_table({"counts": counts[0], "exposure": counts[1] + 1, "other": counts[2]})
    path = save(table)
    skymap = SkyMap.read(path, energy_edges="2, 20 GeV")
    np.testing.assert_array_equal(skymap.data[0], counts[0])
    np.testing.assert_array_equal(skymap.exposure[0].value, counts[1] + 1)
    np.testing.assert_array_equal(SkyMap.read(path, column=["other", "exposure"]).data, counts[[2, 1]] + [[0], [1]])
    with pytest.raises(ValueError, match="no column what; there are counts, exposure, other"):
        SkyMap.read(path, column="what")


def full_map(nest=False, frame="galactic", dtype="f4", seed=0):
    rng = np.random.default_rng(seed)
    data = rng.poisson(3, (3, N_PIX)).astype(dtype)
    mask = rng.random((3, N_PIX)) < 0.1
    skymap = SkyMap(data, frame=frame, nest=nest, mask=mask, energy_edges=[0.3, 1, 3, 1000] * u.GeV,
                    exposure=rng.uniform(1e10, 1e11, (3, N_PIX)).astype(dtype), background=rng.random((3, N_PIX)),
                    psf=[1, 0.5, 0.2] * u.deg,
                    meta={"n_events": 5, "fraction": 0.1, "note": "it's", "list": [1, 2], "nothing": None,
                          "year": np.float32(2.5), "time": [1, 2] * u.s, "nested": {"a": True}})
    skymap.sources = QTable({"coord": SkyCoord([1, 2], [3, 4], unit="deg", frame="galactic"), "name": ["a", "bc"],
                             "flux": [1, 2] / u.cm**2 / u.s, "counts": rng.poisson(3, (2, 3))})
    return skymap


def assert_same(a, b):
    for name in ("data", "mask", "energy_edges", "exposure", "background"):
        one, other = getattr(a, name), getattr(b, name)
        assert (one is None) == (other is None), name
        if one is not None:
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
    assert (a.frame, a.nest, a.unit) == (b.frame, b.nest, b.unit)


@pytest.mark.parametrize("nest", [False, True])
@pytest.mark.parametrize("frame", ["galactic", "icrs"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_round_trip(tmp_path, nest, frame, dtype):
    skymap = full_map(nest, frame, dtype)
    path = tmp_path / "map.fits.gz"
    skymap.write(path)
    back = SkyMap.read(path)
    assert_same(skymap, back)
    np.testing.assert_allclose(back.psf.theta, skymap.psf.theta)
    np.testing.assert_allclose(back.psf.profile, skymap.psf.profile)
    assert list(back.sources.colnames) == list(skymap.sources.colnames)
    assert back.sources["coord"].frame.name == "galactic"
    np.testing.assert_allclose(back.sources["coord"].l.deg, [1, 2])
    np.testing.assert_array_equal(back.sources["flux"], skymap.sources["flux"])
    np.testing.assert_array_equal(back.sources["counts"], skymap.sources["counts"])


def test_round_trip_of_meta(tmp_path):
    skymap = full_map()
    skymap.write(tmp_path / "map.fits")
    meta = SkyMap.read(tmp_path / "map.fits").meta
    np.testing.assert_array_equal(meta.pop("time"), skymap.meta["time"])
    expected = {key: value for key, value in skymap.meta.items() if key != "time"}
    assert meta == expected


def test_meta_that_fits_nowhere(tmp_path):
    skymap = SkyMap(np.zeros(N_PIX), meta={"good": 1, "bad": object()})
    with pytest.warns(AstropyUserWarning, match="left out: bad"):
        skymap.write(tmp_path / "map.fits")
    assert SkyMap.read(tmp_path / "map.fits").meta == {"good": 1}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**31), st.booleans(), st.sampled_from(["ct", "", "cm2 s", "1 / (cm2 s sr)"]),
       st.sampled_from([None, "flat", "bins", "pixels"]))
def test_round_trip_of_bare_maps(tmp_path, seed, nest, unit, attached):
    rng = np.random.default_rng(seed)
    n_energy = int(rng.integers(1, 4))
    data = rng.normal(size=(n_energy, N_PIX)).astype(rng.choice(["f4", "f8"]))
    data[rng.random(data.shape) < 0.1] = hp.UNSEEN
    array = {None: None, "flat": 2.0, "bins": rng.random(n_energy), "pixels": rng.random((n_energy, N_PIX))}[attached]
    skymap = SkyMap(data, unit=unit, nest=nest, exposure=array, background=array)
    path = tmp_path / f"{seed}.fits"
    skymap.write(path, overwrite=True)
    back = SkyMap.read(path)
    assert_same(skymap, back)
    assert back.psf is back.sources is None
    assert back.meta == {}


def test_other_programs_see_what_was_not_observed(tmp_path):
    skymap = SkyMap(np.ones((2, N_PIX), dtype="f4"), energy_edges="1, 3, 10 GeV")
    skymap = SkyMap(np.where(np.arange(N_PIX) < 5, np.nan, skymap.data), energy_edges=skymap.energy_edges, nest=True)
    path = tmp_path / "map.fits"
    skymap.write(path)
    by_healpy = hp.read_map(path, field=(0, 1), nest=True)
    np.testing.assert_array_equal(by_healpy == hp.UNSEEN, np.broadcast_to(np.arange(N_PIX) < 5, (2, N_PIX)))
    with fits.open(path) as hdus:
        assert hdus["EBOUNDS"].columns["E_MIN"].unit == "keV"
        np.testing.assert_allclose(hdus["EBOUNDS"].data["E_MIN"], [1e6, 3e6])


def test_sources_may_be_coordinates(tmp_path):
    skymap = SkyMap(np.zeros(N_PIX))
    skymap.sources = SkyCoord([1, 2], [3, 4], unit="deg")
    skymap.write(tmp_path / "map.fits")
    np.testing.assert_allclose(SkyMap.read(tmp_path / "map.fits").sources["coord"].ra.deg, [1, 2])


def test_empty_table_of_sources(tmp_path):
    skymap = full_map()
    skymap.sources = skymap.sources[:0]
    skymap.write(tmp_path / "map.fits")
    back = SkyMap.read(tmp_path / "map.fits").sources
    assert len(back) == 0
    assert back.colnames == skymap.sources.colnames


def test_registry_and_read_map(tmp_path):
    skymap = full_map()
    registry.write(skymap, tmp_path / "map.fits", format="fits")
    assert_same(registry.read(SkyMap, tmp_path / "map.fits", format="fits"), skymap)
    assert_same(read_map(tmp_path / "map.fits"), skymap)
    assert_same(SkyMap.read(str(tmp_path / "map.fits"), format="fits"), skymap)


def test_overwriting(tmp_path):
    path = tmp_path / "map.fits"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="overwrite"):
        full_map().write(path)
    assert path.read_text() == "precious"
    full_map().write(path, overwrite=True)
    assert SkyMap.read(path).n_energy == 3
    assert os.listdir(tmp_path) == ["map.fits"]
    with pytest.raises(FileNotFoundError, match="folder"):
        full_map().write(tmp_path / "nowhere" / "map.fits")


def test_failed_write_leaves_the_old_file(tmp_path):
    skymap = full_map()
    skymap.write(tmp_path / "map.fits")
    before = (tmp_path / "map.fits").read_bytes()
    skymap.sources = Table({"x": [object()]})
    with pytest.raises((TypeError, ValueError, AttributeError)):
        skymap.write(tmp_path / "map.fits", overwrite=True)
    assert (tmp_path / "map.fits").read_bytes() == before
    assert os.listdir(tmp_path) == ["map.fits"]


def test_damaged_files(tmp_path):
    full_map().write(tmp_path / "map.fits")
    full_map().write(tmp_path / "map.fits.gz")
    for name in ("map.fits", "map.fits.gz"):
        whole = (tmp_path / name).read_bytes()
        for part in (0.0, 0.01, 0.3, 0.6, 0.9, 0.999):
            path = tmp_path / f"{part}-{name}"
            path.write_bytes(whole[: int(part * len(whole))])
            with pytest.raises((OSError, ValueError), match=rf"^[^\n]*{path.name}: [^\n]+$"):
                read_skymap(path)


@pytest.mark.parametrize(("header", "message"), [
    ({"NSIDE": 16}, "768 values for 3072 pixels"),
    ({"NSIDE": 7, "ORDERING": "NESTED"}, "NSIDE is 7"),
    ({"ORDERING": "SPIRAL"}, "ORDERING is 'SPIRAL'"),
    ({"COORDSYS": "E"}, "frame 'e'"),
    ({"INDXSCHM": "LOCAL"}, "INDXSCHM is 'LOCAL'"),
    ({"INDXSCHM": "EXPLICIT"}, "no column PIX; there are CHANNEL1"),
    ({"BUNIT": "bogus"}, "unit 'bogus'"),
    ({"PIXTYPE": "CUBE"}, "no map or image|no HEALPix map"),
])
def test_headers_that_make_no_sense(save, counts, header, message):
    path = save(hpx_table(channels(counts), **header), ebounds())
    with pytest.raises(ValueError, match=rf"map\.fits: .*({message})"):
        SkyMap.read(path)


def test_contents_that_make_no_sense(save, counts):
    def fails(message, *hdus):
        path = save(*hdus, name=f"{len(message)}.fits")
        with pytest.raises(ValueError, match=rf"{path.name}: .*{message}"):
            SkyMap.read(path)

    fails("energy_edges has 4 values; 11 bins need 12", hpx_table(channels(counts)), ebounds(edges=[1, 2, 3, 4]))
    gap = ebounds()
    gap.data["E_MAX"][2] *= 1.5
    fails("bins of EBOUNDS are not contiguous", hpx_table(channels(counts)), gap)
    fails("pixels beyond those of NSIDE", hpx_table({"PIX": np.array([1, 768]), "CHANNEL1": np.ones(2)}))
    fails("which column is the map", hpx_table({"a": counts[0], "b": counts[1]}))
    fails("channels up to 5 for 3", hpx_table({"PIX": np.array([1]), "CHANNEL": np.array([5]), "VALUE": np.ones(1)},
                                              INDXSCHM="SPARSE"), ebounds(edges=[1, 2, 3, 4]))
    fails("is not DISK", hpx_table({"PIX": np.array([1]), "VALUE": np.ones(1)}, INDXSCHM="SPARSE", HPX_REG="ALL"))
    fails("no HEALPix map in this file")


def test_choice_of_extension(save, counts):
    path = save(hpx_table(channels(counts[:1]), "ONE"), hpx_table(channels(counts[1:2]), "TWO"))
    np.testing.assert_array_equal(SkyMap.read(path, hdu="TWO").data, counts[1:2])
    np.testing.assert_array_equal(SkyMap.read(path, hdu=2).data, counts[1:2])
    for hdu in ("THREE", 5, 0):
        with pytest.raises(ValueError, match="map.fits: "):
            SkyMap.read(path, hdu=hdu)


def test_real_map(shared_data):
    skymap = SkyMap.read(shared_data / "gamma" / "fermi_lat_2-20gev_nside128_north.fits.gz", energy_edges="2, 20 GeV")
    assert (skymap.nside, skymap.frame, skymap.nest) == (128, "galactic", False)
    latitude = skymap.pixel_coords().b.deg
    np.testing.assert_array_equal(skymap.mask, latitude <= 0)
    assert skymap.data[0, latitude <= 0].sum() == 0
    assert skymap.data.sum() > 5e5
    assert 4e10 < skymap.exposure[skymap.observed].value.min() < skymap.exposure.value.max() < 1e11
