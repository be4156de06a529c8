import copy

import astropy.units as u
import numpy as np
import pytest
from astropy.nddata import CCDData, NDData, StdDevUncertainty, VarianceUncertainty
from astropy.table import QTable
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolearn.sky import RadialPSF, SkyMap, stack_maps
from astrolearn.sources.fermi import LATSkySimulator, SourcePopulation

NSIDE, N_PIX = 8, 768
EDGES = [1, 3, 10] * u.GeV
AREA_TIME = u.cm**2 * u.s


def sky(seed=0, **changes):
    rng = np.random.default_rng(seed)
    options = {"energy_edges": EDGES, "exposure": rng.uniform(1e11, 2e11, (2, N_PIX)) * AREA_TIME,
               "background": rng.uniform(1, 5, (2, N_PIX)), "psf": [1, 0.5] * u.deg, "meta": {"years": 1.0}}
    return SkyMap(rng.poisson(5, (2, N_PIX)).astype(np.float32), **(options | changes))


def image_wcs(ctype=("GLON-CAR", "GLAT-CAR"), scale=0.5):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crpix, wcs.wcs.cdelt = ctype, (4.5, 3.5), (-scale, scale)
    return wcs


def image(seed=0, **changes):
    rng = np.random.default_rng(seed)
    meta = {"energy_edges": EDGES, "exposure": [1e11, 2e11] * AREA_TIME, "background": rng.uniform(1, 5, (2, 6, 8)),
            "psf": RadialPSF.gaussian([1, 0.5] * u.deg), "years": 1.0}
    meta |= {key: value for key, value in changes.items() if key not in {"wcs", "mask", "uncertainty"}}
    own = {"wcs": image_wcs()} | {key: changes[key] for key in ("wcs", "mask", "uncertainty") if key in changes}
    return CCDData(rng.poisson(5, (2, 6, 8)).astype(np.float32), unit=u.ct, meta=meta, **own)


def everything(skymap):
    """All numbers of a map, to see whether they have changed."""
    return copy.deepcopy((skymap.data, skymap.mask, skymap.exposure, skymap.background, skymap.meta))


# -- HEALPix maps -----------------------------------------------------------------------------------------------------
def test_sum():
    maps = [sky(seed) for seed in range(3)]
    before = [everything(one) for one in maps]
    total = stack_maps(maps)
    np.testing.assert_array_equal(total.data, sum(one.data for one in maps))
    np.testing.assert_allclose(total.exposure, sum(one.exposure for one in maps), rtol=1e-12)
    np.testing.assert_allclose(total.background, sum(one.background for one in maps), rtol=1e-12)
    assert (total.nside, total.frame, total.nest, total.unit) == (NSIDE, "galactic", False, u.ct)
    assert total.data.dtype == np.float32
    assert total.energy_edges is not None
    assert total.psf == maps[0].psf
    assert total.mask is None
    assert total.meta == {"years": 3.0}
    for one, was in zip(maps, before, strict=True):
        for now, then in zip(everything(one), was, strict=True):
            np.testing.assert_equal(now, then)


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("make", [sky, image])
def test_a_map_alone_is_copied(make, alone):
    one = make()
    result = stack_maps(one if alone else [one])
    assert type(result) is type(one)
    np.testing.assert_array_equal(result.data, one.data)
    result.data[:] = 0
    result.meta["years"] = 7
    assert one.data.any()
    assert one.meta["years"] == 1


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(4)), st.integers(0, 2**31), st.data())
def test_order_and_grouping_do_not_matter(order, seed, data):
    masks = [np.random.default_rng(seed + i).random(N_PIX) < 0.1 for i in range(4)]
    nest = data.draw(st.lists(st.booleans(), min_size=4, max_size=4))
    maps = [sky(seed + i, mask=mask, psf=[1 + i, 0.5] * u.deg).to_order(n)
            for i, (mask, n) in enumerate(zip(masks, nest, strict=True))]
    whole = stack_maps(maps)
    cut = data.draw(st.integers(1, 3))
    shuffled = [maps[i] for i in order]
    for other in (stack_maps(shuffled), stack_maps([stack_maps(shuffled[:cut]), stack_maps(shuffled[cut:])])):
        other = other.to_order(whole.nest)
        np.testing.assert_array_equal(other.mask, whole.mask)
        seen = whole.observed
        np.testing.assert_array_equal(other.data[seen], whole.data[seen])
        np.testing.assert_allclose(other.exposure[seen], whole.exposure[seen], rtol=1e-6)
        np.testing.assert_allclose(other.background[seen], whole.background[seen], rtol=1e-6)
        assert other.meta == whole.meta == {"years": 4.0}
    # of the groups' PSFs the exposures differ a little by what each has masked
    np.testing.assert_allclose(other.psf.containment_radius(), whole.psf.containment_radius(), rtol=0.02)


def test_a_pixel_must_be_seen_in_every_map():
    first = sky(0, mask=np.arange(N_PIX) < 10)
    by_bin = np.zeros((2, N_PIX), bool)
    by_bin[1, 500:] = True
    total = stack_maps([first, sky(1, mask=by_bin), sky(2)])
    expected = by_bin.copy()
    expected[:, :10] = True
    np.testing.assert_array_equal(total.mask, expected)
    alone = stack_maps([first, sky(2)])
    alone.mask[:] = True
    assert first.mask.sum() == 10


def test_pixel_order_of_the_first():
    first, second = sky(0), sky(1)
    expected = stack_maps([first, second])
    mixed = stack_maps([first, second.to_order(True)])
    assert not mixed.nest
    np.testing.assert_array_equal(mixed.data, expected.data)
    np.testing.assert_array_equal(mixed.exposure, expected.exposure)
    nested = stack_maps([first.to_order(True), second])
    assert nested.nest
    np.testing.assert_array_equal(nested.to_order(False).data, expected.data)


@pytest.mark.parametrize("name", ["exposure", "background", "psf"])
@pytest.mark.parametrize("make", [sky, image])
def test_what_one_map_lacks_the_sum_lacks(make, name):
    total = stack_maps([make(0), make(1, **{name: None}), make(2)])
    has = {key: getattr(total, key) if make is sky else total.meta.get(key)
           for key in ("exposure", "background", "psf")}  # fmt: skip
    assert [key for key, value in has.items() if value is None] == [name]


def test_compact_exposure_stays_compact():
    total = stack_maps([sky(exposure=[1e11, 2e11]), sky(exposure=[3e11, 4e11])])
    assert total._exposure.shape == (2, 1)
    np.testing.assert_allclose(total.exposure[:, 5].value, [4e11, 6e11])


def test_psf_is_weighted_by_exposure():
    # a source sends three photons of four through the narrow PSF
    narrow, wide = (sky(psf=[r, r] * u.deg, exposure=exposure) for r, exposure in ((0.5, [3e11, 0]), (2, [1e11, 0])))
    psf = stack_maps([narrow, wide]).psf
    theta = np.deg2rad([0, 0.3, 1, 2])
    for energy_bin, share in ((0, 0.75), (1, 0.5)):  # without exposure in a bin, all maps count the same
        expected = share * narrow.psf.evaluate(theta, energy_bin) + (1 - share) * wide.psf.evaluate(theta, energy_bin)
        np.testing.assert_allclose(psf.evaluate(theta, energy_bin), expected, rtol=2e-3)
    # the share of photons within 0.5 deg: 68 % of the narrow one's, and 1 - 0.32^(1/16) of the wide one's
    inside = 0.75 * 0.68 + 0.25 * (1 - 0.32 ** (1 / 16))
    assert psf.containment_radius(inside)[0].to_value(u.deg) == pytest.approx(0.5, rel=2e-3)


def test_psf_weights_are_of_pixels_that_all_have_seen():
    north = np.arange(N_PIX) < N_PIX // 2
    exposure = np.where(north, 1e11, 9e11) * np.ones((2, 1))
    narrow = sky(psf=[0.5, 0.5] * u.deg, exposure=exposure, mask=~north)
    wide = sky(psf=[2, 2] * u.deg, exposure=np.full((2, N_PIX), 1e11))
    centre = stack_maps([narrow, wide]).psf.evaluate(0, 0)
    assert centre == pytest.approx((narrow.psf.evaluate(0, 0) + wide.psf.evaluate(0, 0)) / 2, rel=2e-3)


def test_meta():
    maps = [sky(meta={"years": 1.0, "year": year, "run": year}) for year in range(2)]
    assert stack_maps(maps).meta == {"years": 2.0, "run": 0}
    del maps[1].meta["years"]
    assert stack_maps(maps).meta == {"run": 0}
    assert maps[0].meta == {"years": 1.0, "year": 0, "run": 0}


def test_sources_only_if_shared():
    truth, maps = QTable({"flux": [1.0]}), [sky(0), sky(1)]
    for one in maps:
        one.sources = truth
    assert stack_maps(maps).sources is truth
    maps[1].sources = truth.copy()
    assert stack_maps(maps).sources is None
    shared, other = (image(seed, sources=truth) for seed in range(2))
    assert stack_maps([shared, other]).meta["sources"] is truth
    assert "sources" not in stack_maps([shared, image(1)]).meta


@pytest.mark.parametrize(("other", "message"), [
    (SkyMap(np.zeros((2, 12 * 16)), energy_edges=EDGES), "map 3 has nside 4, the first one 8: bin"),
    (sky(frame="icrs"), "map 3 is in the icrs frame, the first one in the galactic one"),
    (SkyMap(np.zeros((1, N_PIX)), energy_edges=[1, 3]), "map 3 has 1 energy bins, the first one 2: merge"),
    (sky(energy_edges=[1, 3, 11]), "map 3 has the energy edges .*11.* GeV, the first one .*10.* GeV"),
    (sky(energy_edges=None), "map 3 has no energy edges, the first one has .*10"),
    (sky(unit="1/s"), "map 3 is in '1 / s', the first one in 'ct'"),
    (image(), "map 3 is a CCDData, the first one a SkyMap"),
    (sky(psf=[1, 2] * u.deg, exposure=None), "map 3 has another PSF .* without the exposure"),
])  # fmt: skip
def test_what_does_not_fit(other, message):
    with pytest.raises(ValueError, match=message):
        stack_maps([sky(0), sky(1), other])


def test_nothing_and_no_maps():
    with pytest.raises(ValueError, match="no maps to sum"):
        stack_maps([])
    with pytest.raises(TypeError, match="map 2 is a ndarray"):
        stack_maps([sky(), np.zeros((2, N_PIX))])


def test_edges_of_rounded_headers_and_other_units():
    assert stack_maps([sky(0), sky(1, energy_edges=[1000, 3001, 9999] * u.MeV)]).energy_edges is not None


# -- images -----------------------------------------------------------------------------------------------------------
def test_images():
    uncertainty = np.full((2, 6, 8), 2.0)
    maps = [image(0, uncertainty=StdDevUncertainty(uncertainty), mask=np.arange(96).reshape(2, 6, 8) % 8 == 3),
            image(1, uncertainty=VarianceUncertainty(uncertainty),
                  exposure=np.full((2, 6, 8), 1e7) * u.m**2 * u.s, background=np.full((2, 6, 8), 2.0) * u.ct)]
    maps[1].data[1, 2, 2] = np.nan
    total = stack_maps(maps)
    assert type(total) is CCDData
    assert total.unit == u.ct
    assert total.meta["exposure"].unit == AREA_TIME
    np.testing.assert_allclose(total.meta["exposure"][:, 1, 1].value, [2e11, 3e11])
    np.testing.assert_allclose(total.meta["background"], maps[0].meta["background"] + 2)
    np.testing.assert_array_equal(total.data[0], maps[0].data[0] + maps[1].data[0])
    np.testing.assert_allclose(total.uncertainty.array, np.sqrt(2**2 + 2))
    assert total.meta["years"] == 2
    assert total.meta["psf"] == maps[0].meta["psf"]
    expected = np.zeros((2, 6, 8), bool)
    expected[..., 3] = expected[1, 2, 2] = True
    np.testing.assert_array_equal(total.mask, expected)
    assert total.wcs is not maps[0].wcs
    assert maps[0].meta["exposure"].shape == (2,)
    assert maps[0].meta["years"] == 1
    assert maps[0].mask.sum() == 12


def test_plain_image_without_anything():
    total = stack_maps([NDData(np.full((4, 5), 2)), NDData(np.full((4, 5), 3))])
    assert type(total) is NDData
    np.testing.assert_array_equal(total.data, np.full((4, 5), 5.0))
    assert total.meta == {}
    assert total.mask is None
    assert total.unit is None
    assert total.uncertainty is None


def test_flat_image_with_radius_and_exposure():
    maps = [CCDData(np.ones((4, 5)), unit=u.ct, wcs=image_wcs(), meta={"psf": r * u.deg, "exposure": [1e11]})
            for r in (0.5, 2)]  # fmt: skip
    total = stack_maps(maps)
    assert total.shape == total.meta["exposure"].shape == (4, 5)
    assert 0.5 < total.meta["psf"].containment_radius()[0].value < 2


def test_wcs_written_differently():
    matrix = image_wcs()
    matrix.wcs.cdelt = 1, 1
    matrix.wcs.cd = [[-0.5, 0], [0, 0.5]]
    dated = image_wcs()
    dated.wcs.dateobs = "2020-01-01"
    assert stack_maps([image(0), image(1, wcs=matrix), image(2, wcs=dated)]).meta["years"] == 3


def test_whole_sky_with_corners_beyond_it():
    wcs = image_wcs(("GLON-AIT", "GLAT-AIT"), 45)
    assert not np.isfinite(wcs.pixel_to_world(0, 0).l.deg)
    assert stack_maps([image(0, wcs=wcs), image(1, wcs=wcs.deepcopy())]).meta["years"] == 2


def shifted():
    wcs = image_wcs()
    wcs.wcs.crpix = 4.6, 3.5
    return wcs


@pytest.mark.parametrize(("other", "message"), [
    (image(wcs=shifted()), r"map 2 has another WCS than the first one: positions differ by up to 0\.1 pixels"),
    (image(wcs=image_wcs(("RA---CAR", "DEC--CAR"))), "map 2 has another WCS"),
    (image(wcs=None), "map 2 has no WCS, the first one has one"),
    (image(wcs=WCS(naxis=2)), "map 2 or the first one has a WCS without celestial axes"),
    (image(energy_edges=[1, 4, 10] * u.GeV), "map 2 has the energy edges"),
    (image(energy_edges=[3, 2, 1]), r"meta\['energy_edges'\] of map 2 must be positive"),
    (image(exposure=np.ones((3, 8))), r"meta\['exposure'\] of map 2 has the shape \(3, 8\), the map \(2, 6, 8\)"),
    (image(exposure=[1, 2] * u.s), r"meta\['exposure'\] of map 2: 's'"),
    (image(psf=[1, 2, 3] * u.deg), r"meta\['psf'\] of map 2 has 3 energy bins, the map 2"),
    (CCDData(np.ones((2, 6, 8)), unit=u.adu, wcs=image_wcs(), meta={"energy_edges": EDGES}), "map 2 is in 'adu'"),
    (CCDData(np.ones((2, 6, 7)), unit=u.ct, wcs=image_wcs()), r"map 2 has the shape \(2, 6, 7\), the first one \(2, 6"),
    (sky(), "map 2 is a SkyMap, the first one a CCDData"),
])  # fmt: skip
def test_images_that_do_not_fit(other, message):
    with pytest.raises(ValueError, match=message):
        stack_maps([image(0), other])


# -- simulated years --------------------------------------------------------------------------------------------------
def test_simulated_years_stack_to_the_whole():
    simulator = LATSkySimulator([1, 3, 30], nside=32, years=3, population=SourcePopulation(flux_min=1e-9))
    whole, years = simulator.sample_yearly(random_state=1)[0]
    total = stack_maps(years)
    np.testing.assert_array_equal(total.data, whole.data)
    np.testing.assert_allclose(total.exposure, whole.exposure, rtol=1e-5)
    np.testing.assert_allclose(total.background, whole.background, rtol=1e-5)
    assert total.psf == whole.psf
    assert total.meta.keys() == whole.meta.keys()
    assert total.meta["years"] == pytest.approx(3)
    assert total.sources is None
