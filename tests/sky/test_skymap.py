import pickle
import warnings

import astropy.units as u
import healpy as hp
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.nddata import NDDataRef
from astropy.table import QTable
from astropy.utils.masked import Masked
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolearn.sky import RadialPSF, SkyMap

NSIDE = 8
N_PIX = 768
EDGES = [1, 3, 10, 30] * u.GeV


@pytest.fixture
def counts():
    return np.random.default_rng(0).poisson(5, (3, N_PIX)).astype(np.float32)


@pytest.fixture
def full_map(counts):
    exposure = np.random.default_rng(1).uniform(1e11, 2e11, (3, N_PIX)) * u.cm**2 * u.s
    skymap = SkyMap(counts, energy_edges=EDGES, exposure=exposure, background=np.full((3, N_PIX), 4.0),
                    psf=[1, 0.5, 0.3] * u.deg, mask=np.arange(N_PIX) < 10, meta={"run": 1})
    skymap.sources = QTable({"coord": SkyCoord([1, 2], [3, 4], unit="deg"), "flux": [1, 2] / u.cm**2 / u.s})
    return skymap


def test_attributes(full_map, counts):
    assert (full_map.nside, full_map.n_energy, full_map.n_pix) == (NSIDE, 3, N_PIX)
    assert (full_map.frame, full_map.nest, full_map.unit) == ("galactic", False, u.ct)
    assert full_map.data.dtype == np.float32
    assert np.shares_memory(full_map.data, counts)
    assert full_map.exposure.unit == u.cm**2 * u.s
    assert full_map.exposure.shape == full_map.background.shape == (3, N_PIX)
    np.testing.assert_allclose(full_map.psf.containment_radius().value, [1, 0.5, 0.3], rtol=1e-3)
    assert full_map.mask.shape == (N_PIX,)
    assert full_map.observed.sum() == 3 * (N_PIX - 10)
    assert full_map.meta == {"run": 1}
    assert repr(full_map) == ("<SkyMap nside=8 RING galactic, 3 bins at [1, 3, 10, 30] GeV, ct; exposure, background, "
                              "psf, sources, 0.013 of the pixels masked>")


def test_one_bin_and_defaults():
    skymap = SkyMap(np.zeros(N_PIX))
    assert skymap.data.shape == (1, N_PIX)
    for name in ("energy_edges", "exposure", "background", "psf", "mask", "sources"):
        assert getattr(skymap, name) is None
    assert skymap.observed.all()
    assert repr(skymap) == str(skymap) == "<SkyMap nside=8 RING galactic, 1 bin, ct>"


@pytest.mark.parametrize(("given_dtype", "dtype"), [
    ("f4", "f4"), ("f8", "f8"), (">f4", "f4"), (">f8", "f8"), ("i8", "f4"), (">i2", "f4"), ("u1", "f4"), ("f2", "f4"),
    ("?", "f4"),
])
def test_data_types(given_dtype, dtype):
    data = np.ones((2, N_PIX), dtype=given_dtype)
    skymap = SkyMap(data)
    assert skymap.data.dtype == np.dtype(dtype)
    assert skymap.data.dtype.isnative
    np.testing.assert_array_equal(skymap.data, 1)


def test_large_integers_stay_exact():
    data = np.full(N_PIX, 2**24 + 1)
    np.testing.assert_array_equal(SkyMap(data).data[0], data)


def test_unit_of_a_quantity():
    assert SkyMap(np.ones(N_PIX) / u.s).unit == 1 / u.s
    assert SkyMap(np.ones(N_PIX), unit="s-1").unit == 1 / u.s


@pytest.mark.parametrize(("name", "frame"), [
    ("GAL", "galactic"), ("g", "galactic"), ("fk5", "icrs"), ("equatorial", "icrs"), ("C", "icrs"), ("EQU", "icrs"),
    (SkyCoord(0, 0, unit="deg").frame, "icrs"),
])
def test_frames(name, frame):
    assert SkyMap(np.zeros(N_PIX), frame=name).frame == frame


@pytest.mark.parametrize("bad", [hp.UNSEEN, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_bad_pixels_are_masked_and_zero(bad, dtype):
    data = np.ones((2, N_PIX), dtype=dtype)
    data[1, 5] = bad
    original = data.copy()
    skymap = SkyMap(data, mask=np.arange(N_PIX) == 7)
    np.testing.assert_array_equal(data, original)
    assert skymap.data[1, 5] == 0
    assert skymap.data[1, 7] == 1  # masked by the user: kept
    assert np.argwhere(skymap.mask).tolist() == [[0, 7], [1, 5], [1, 7]]


def test_masked_arrays():
    data = np.arange(N_PIX, dtype=float)
    mask = data < 3
    for masked in (np.ma.array(data, mask=mask), Masked(data, mask=mask), Masked(data * u.ct, mask=mask)):
        skymap = SkyMap(masked)
        np.testing.assert_array_equal(skymap.mask, mask)
        assert skymap.unit == u.ct
    assert SkyMap(np.ma.array(data)).mask is None


def test_attached_arrays_broadcast(counts):
    skymap = SkyMap(counts, exposure=[1, 2, 3] * u.m**2 * u.s, background=2.0)
    np.testing.assert_allclose(skymap.exposure[:, 5].value, [1e4, 2e4, 3e4])
    np.testing.assert_array_equal(skymap.background, np.full((3, N_PIX), 2))
    assert SkyMap(counts, exposure=[1, 2, 3]).exposure.unit == u.cm**2 * u.s
    assert SkyMap(counts[0], exposure=np.ones(N_PIX)).exposure.shape == (1, N_PIX)
    with pytest.raises(ValueError, match="read-only"):
        skymap.background[0, 0] = 1


def test_attached_arrays_are_zero_where_not_observed(counts):
    background = np.ones((3, N_PIX))
    background[:, 0] = hp.UNSEEN
    mask = np.arange(N_PIX) == 0
    assert SkyMap(counts, background=background, mask=mask).background[0, 0] == 0
    with pytest.raises(ValueError, match="background is negative or not finite on observed pixels"):
        SkyMap(counts, background=background)


def test_negative_counts_are_allowed():
    assert SkyMap(np.full(N_PIX, -1.0)).data.min() == -1


@pytest.mark.parametrize(("options", "message"), [
    ({"energy_edges": [1, 3] * u.GeV}, "energy_edges has 2 values; 3 bins need 4"),
    ({"energy_edges": [4, 3, 2, 1] * u.GeV}, "increasing"),
    ({"exposure": np.ones((3, 5))}, r"exposure has the shape \(3, 5\)"),
    ({"exposure": [1, -2, 3]}, "exposure is negative"),
    ({"exposure": [1, np.nan, 3]}, "exposure is negative or not finite"),
    ({"exposure": ["a", "b", "c"]}, "numbers"),
    ({"background": np.ones(4)}, "background has the shape"),
    ({"psf": [1, 2] * u.deg}, "psf has 2 energy bins, the map 3"),
    ({"psf": [1, 2, -3] * u.deg}, "r68 must be positive"),
    ({"mask": np.zeros(N_PIX)}, "mask must be of type bool"),
    ({"mask": np.zeros(5, dtype=bool)}, r"mask has the shape \(5,\)"),
    ({"frame": "ecliptic"}, "ecliptic"),
])
def test_bad_arguments(counts, options, message):
    with pytest.raises(ValueError, match=message):
        SkyMap(counts, **options)


@pytest.mark.parametrize(("options", "message"), [
    ({"energy_edges": [1, 2, 3, 4] * u.s}, "energy_edges has the unit 's'"),
    ({"exposure": [1, 2, 3] * u.cm}, "exposure has the unit 'cm'"),
    ({"background": np.ones(3) * u.Jy}, "background has the unit 'Jy'"),
    ({"psf": [1, 2, 3] * u.s}, "deg"),
])
def test_wrong_units(counts, options, message):
    with pytest.raises(u.UnitConversionError, match=message):
        SkyMap(counts, **options)


@pytest.mark.parametrize("data", [np.zeros(100), np.zeros((0, N_PIX)), np.zeros((1, 1, N_PIX)), 3.0])
def test_bad_shapes(data):
    with pytest.raises(ValueError, match="shape|HEALPix"):
        SkyMap(data)


def test_odd_nside_has_no_nest_order():
    assert SkyMap(np.zeros(12 * 9)).nside == 3
    with pytest.raises(ValueError, match="HEALPix"):
        SkyMap(np.zeros(12 * 9), nest=True)
    with pytest.raises(ValueError, match="power of 2"):
        SkyMap(np.zeros(12 * 9)).to_order(True)


def test_attributes_can_be_set(full_map):
    full_map.exposure = None
    full_map.psf = RadialPSF.gaussian([1, 1, 1] * u.deg)
    full_map.mask = np.ones((3, N_PIX), dtype=bool)
    full_map.energy_edges = [1, 2, 3, 4] * u.TeV
    assert full_map.exposure is None
    assert full_map.energy_edges.unit == u.TeV
    with pytest.raises(ValueError, match="mask"):
        full_map.mask = np.ones(3, dtype=bool)


@pytest.mark.parametrize("frame", ["galactic", "icrs"])
@pytest.mark.parametrize("nest", [False, True])
def test_pixels_and_positions(frame, nest):
    skymap = SkyMap(np.zeros(N_PIX), frame=frame, nest=nest)
    coords = skymap.pixel_coords()
    assert coords.frame.name == frame
    np.testing.assert_array_equal(skymap.coord_to_pixel(coords.fk5), np.arange(N_PIX))
    lon, lat = hp.pix2ang(NSIDE, 100, nest=nest, lonlat=True)
    one = skymap.pixel_coords([100])
    np.testing.assert_allclose([one.spherical.lon.deg[0], one.spherical.lat.deg[0]], [lon, lat])


def test_order(full_map):
    nested = full_map.to_order(True)
    assert nested.nest
    for array in ("data", "background"):
        np.testing.assert_array_equal(getattr(nested, array), hp.reorder(getattr(full_map, array), r2n=True))
    np.testing.assert_array_equal(nested.exposure.value, hp.reorder(full_map.exposure.value, r2n=True))
    np.testing.assert_array_equal(nested.mask, hp.reorder(full_map.mask, r2n=True))
    assert nested.sources is full_map.sources
    assert nested.meta == full_map.meta
    assert nested.to_order(True) is nested
    np.testing.assert_array_equal(nested.to_order(False).data, full_map.data)
    assert not full_map.nest


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 4), st.booleans(), st.sampled_from(["f4", "f8"]), st.integers(0, 2**31))
def test_positions_survive_reordering(order, nest, dtype, seed):
    rng = np.random.default_rng(seed)
    skymap = SkyMap(rng.random((2, 12 * 4**order)).astype(dtype), nest=nest, mask=rng.random(12 * 4**order) < 0.2)
    other = skymap.to_order(not nest)
    coords = SkyCoord(rng.uniform(0, 360, 50), rng.uniform(-90, 90, 50), unit="deg")
    here, there = skymap.coord_to_pixel(coords), other.coord_to_pixel(coords)
    np.testing.assert_array_equal(skymap.data[:, here], other.data[:, there])
    np.testing.assert_array_equal(skymap.observed[:, here], other.observed[:, there])
    assert other.data.dtype == skymap.data.dtype


def test_rebin(full_map, counts):
    merged = full_map.rebin([1000, 10000, 30000] * u.MeV)
    np.testing.assert_array_equal(merged.data, [counts[0] + counts[1], counts[2]])
    np.testing.assert_allclose(merged.background, [[8.0] * N_PIX, [4.0] * N_PIX])
    np.testing.assert_array_equal(merged.energy_edges, [1, 10, 30] * u.GeV)
    # a source with dN/dE = E^-2.2 sends this into the first two bins
    flux = (np.array([1, 3]) ** -1.2 - np.array([3, 10]) ** -1.2) / 1.2
    photons = flux @ full_map.exposure[:2].value
    np.testing.assert_allclose(merged.exposure[0].value * flux.sum(), photons, rtol=1e-6)
    inside = [0.5 * u.deg, 0.2 * u.deg]  # the containment is the photons' average as well
    weights = flux * full_map.exposure[:2].mean(axis=1).value
    for radius in inside:
        theta = merged.psf.theta
        contained = np.interp(radius, theta, merged.psf._containment[0])
        each = [np.interp(radius, full_map.psf.theta, c) for c in full_map.psf._containment[:2]]
        assert contained == pytest.approx(np.average(each, weights=weights), rel=1e-6)
    assert merged.sources is full_map.sources
    np.testing.assert_array_equal(full_map.data, counts)


def test_rebin_a_part_and_by_groups(full_map, counts):
    part = full_map.rebin([3, 10] * u.GeV)
    np.testing.assert_array_equal(part.data, counts[1:2])
    np.testing.assert_array_equal(full_map.rebin(groups=[[0, 1, 2]]).data[0], counts.sum(axis=0))
    bare = SkyMap(counts, exposure=[1, 2, 4])
    np.testing.assert_allclose(bare.rebin(groups=[(0, 1), (2,)]).exposure[:, 0].value, [1.5, 4])


def test_rebin_mask_is_the_union(counts):
    mask = np.zeros((3, N_PIX), dtype=bool)
    mask[0, 3] = mask[2, 4] = True
    merged = SkyMap(counts, mask=mask).rebin(groups=[[0, 1], [2]])
    assert np.argwhere(merged.mask).tolist() == [[0, 3], [1, 4]]


@pytest.mark.parametrize("options", [
    {}, {"edges": [1, 30] * u.GeV, "groups": [[0]]}, {"edges": [1, 5] * u.GeV}, {"groups": []}, {"groups": [[]]},
    {"groups": [[0], [2]]}, {"groups": [[1, 0]]}, {"groups": [[2, 3]]}, {"groups": [[-1]]},
])
def test_bad_rebinning(full_map, options):
    with pytest.raises(ValueError, match="edges|groups"):
        full_map.rebin(**options)


def test_rebin_without_edges(counts):
    with pytest.raises(ValueError, match="no energy_edges"):
        SkyMap(counts).rebin([1, 3] * u.GeV)


def test_slices(full_map, counts):
    assert np.shares_memory(full_map[1:].data, counts)
    np.testing.assert_array_equal(full_map[1:].data, counts[1:])
    np.testing.assert_array_equal(full_map[-1].data, counts[2:])
    np.testing.assert_array_equal(full_map[-1].energy_edges, [10, 30] * u.GeV)
    np.testing.assert_allclose(full_map[[0, 1]].psf.containment_radius().value, [1, 0.5], rtol=1e-3)
    assert [one.n_energy for one in full_map] == [1, 1, 1]
    with pytest.raises(ValueError, match="consecutive"):
        full_map[::2]
    for nothing in (3, slice(3, 5), []):
        with pytest.raises(IndexError):
            full_map[nothing]


def test_copy_and_pickle(full_map):
    for other in (full_map.copy(), pickle.loads(pickle.dumps(full_map))):
        assert repr(other) == repr(full_map)
        assert not np.shares_memory(other.data, full_map.data)
        np.testing.assert_array_equal(other.data, full_map.data)
        np.testing.assert_array_equal(other.exposure, full_map.exposure)
        np.testing.assert_array_equal(other.background, full_map.background)
        assert other.psf == full_map.psf
        assert (other.sources == full_map.sources).all()


def test_astropy_arithmetic(full_map):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Not setting psf")
        total = NDDataRef(full_map).add(NDDataRef(full_map))
    np.testing.assert_array_equal(total.data, 2 * full_map.data)
    assert total.unit == u.ct
