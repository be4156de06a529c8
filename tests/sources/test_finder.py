"""PointSourceFinder: the promises of every estimator, its catalogue's columns, and the maps it takes."""

import warnings

import astropy.units as u
import healpy as hp
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData
from astropy.table import QTable
from estimator_checks import Case, assert_same, parametrize
from regions import CircleSkyRegion
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from toy import R68, toy_image, toy_sky

from astrolearn import PointSourceFinder
from astrolearn.sky import EnergyRebinner, RegionMask, SkyMap, match

COLUMNS = [
    "coord",
    "coord_error",
    "probability",
    "significance",
    "counts",
    "counts_error",
    "bin_counts",
    "bin_counts_error",
]
FLUXES = ["flux", "flux_error", "bin_flux", "bin_flux_error"]
SKY = toy_sky(0, n_sources=15)


def make_finder(**parameters):
    return PointSourceFinder(
        **{"width": 4, "max_epochs": 2, "batch_size": 4, "match_radius": "2 deg", "threshold": 0.02, "random_state": 0}
        | parameters
    )


def masked(skymap, pixels):
    return SkyMap(
        skymap.data,
        nest=True,
        energy_edges=skymap.energy_edges,
        psf=skymap.psf,
        background=skymap.background,
        exposure=skymap.exposure,
        mask=pixels,
    )


def with_data(data, unit=u.ct):
    return SkyMap(
        data,
        unit=unit,
        nest=True,
        energy_edges=SKY.energy_edges,
        psf=SKY.psf,
        background=SKY.background,
        exposure=SKY.exposure,
    )


case = Case(
    name="PointSourceFinder",
    make=make_finder,
    fit_args=(toy_sky(1),),
    predict_args=(SKY,),
    methods=("predict", "predict_map"),
    bad_inputs={
        "wrong_unit": ((with_data(SKY.data, u.Jy),), "the map is in Jy.*counts .ct."),
        "wrong_shape": ((CCDData(np.ones((1, 2, 32, 32)), unit=u.ct, wcs=toy_image().wcs),), "must be .height, width."),
        "nan": ((with_data(np.full(SKY.data.shape, np.nan)),), "no valid pixels"),
        "empty": ((CCDData(np.ones((2, 0, 0)), unit=u.ct, wcs=toy_image().wcs),), "empty"),
        "all_masked": ((masked(SKY, np.ones(SKY.n_pix, bool)),), "no valid pixels"),
        "negative": ((with_data(SKY.data - 10),), "negative counts"),
    },
    bad_fit_inputs={
        "numbers": (([SKY, SKY], [SKY.sources]), "2 maps but 1 lists"),
        "unknown_sources": ((with_data(SKY.data),), "no known sources"),
        "no_positions": ((SKY, QTable({"x": [1, 2]})), "no positions"),
        "no_maps": (([],), "no maps"),
    },
    equal_inputs={
        "big_endian": (with_data(SKY.data.astype(">f8")),),
        "integers": (with_data(SKY.data.astype(np.int32)),),
        "masked": (masked(SKY, np.zeros(SKY.n_pix, bool)),),
    },
)


@parametrize(case)
def test_promises(check, case):
    check(case)


@pytest.fixture(scope="module")
def finder():
    """Trained for some seconds: finds strong sources on flat backgrounds, and no more is asked of it."""
    return make_finder(width=8, max_epochs=25, lr=5e-3, threshold=0.5).fit([toy_sky(seed) for seed in range(10, 19)])


def test_strong_sources_are_found(finder):
    skymap = toy_sky(50, counts=(150, 400))
    catalogue = finder.predict(skymap)
    result = match(catalogue, skymap.sources, 2 * u.deg)
    assert result.purity > 0.8 and result.completeness > 0.7
    assert np.median(result.separation.to_value(u.deg)) < 0.5 * 1.83  # half a pixel
    found, true = catalogue[result.catalogue_index], skymap.sources[result.reference_index]
    pulls = (found["bin_counts"].value - true["counts"]) / found["bin_counts_error"].value
    assert abs(np.median(pulls)) < 1.0
    np.testing.assert_allclose(found["flux"].value, found["counts"].value / 1e10, rtol=1e-5)


def test_columns_and_units(finder):
    catalogue = finder.predict(toy_sky(50))
    assert catalogue.colnames == COLUMNS + FLUXES
    assert isinstance(catalogue["coord"], SkyCoord)
    assert catalogue["coord_error"].unit == u.deg and catalogue["counts"].unit == u.ct
    assert catalogue["flux"].unit.is_equivalent(1 / (u.cm**2 * u.s))
    assert catalogue["bin_counts"].shape == (len(catalogue), 2)
    assert np.all(np.diff(catalogue["probability"]) <= 0) and catalogue["probability"].min() >= 0.5
    assert np.all(catalogue["coord_error"] > 0)


def test_an_image_has_centroids(finder):
    image = toy_image(5, counts=(200, 400))
    catalogue = finder.predict(image)
    assert catalogue.colnames == [*COLUMNS, "x_centroid", "y_centroid"]
    sky = image.wcs.pixel_to_world(catalogue["x_centroid"], catalogue["y_centroid"])
    assert catalogue["coord"].separation(sky).max() < 1 * u.arcsec
    assert match(catalogue, image.meta["sources"], 2 * u.deg).completeness > 0.6


def test_an_empty_sky_gives_an_empty_table_with_the_same_columns(finder):
    empty = toy_sky(0, n_sources=0)
    assert empty.sources is not None
    catalogue = finder.set_params(threshold=0.999).predict(empty)
    finder.set_params(threshold=0.5)
    assert len(catalogue) == 0
    full = finder.predict(toy_sky(50))
    assert catalogue.colnames == full.colnames
    assert [catalogue[c].unit for c in COLUMNS[1:]] == [full[c].unit for c in COLUMNS[1:]]


def test_maps_of_small_patches_are_not_mixed_with_others():
    with pytest.raises(ValueError, match="patches of 32 and 64 pixels"):
        make_finder().fit([toy_sky(1, nside=32), toy_sky(2, nside=64)])


def test_score_counts_matches_within_the_radius(finder):
    """Against sources moved by more than the radius it falls to what chance gives."""
    skymap = toy_sky(54)
    moved = SkyCoord(skymap.sources["coord"]).directional_offset_by(0 * u.deg, 6 * u.deg)
    assert finder.score(skymap) > 0.5 > finder.score(skymap, moved) + 0.2


def test_threshold_needs_no_refit(finder):
    skymap = toy_sky(51, counts=(15, 200))
    loose, strict = (finder.set_params(threshold=t).predict(skymap) for t in (0.0, 0.95))
    finder.set_params(threshold=0.5)
    assert len(loose) > len(strict)
    assert match(strict, loose, 0.01 * u.deg).purity == 1


def test_no_template_no_exposure(finder):
    skymap = toy_sky(52, template=False)
    skymap.exposure = None
    catalogue = finder.predict(skymap)
    assert catalogue.colnames == COLUMNS
    assert match(catalogue, skymap.sources, 2 * u.deg).completeness > 0.4


def test_nothing_is_found_where_nothing_was_seen(finder):
    skymap = toy_sky(53)
    mask = skymap.pixel_coords().b < 10 * u.deg
    catalogue = finder.predict(masked(skymap, mask))
    assert len(catalogue) and np.all(~mask[skymap.coord_to_pixel(catalogue["coord"])])
    probability = finder.predict_map(masked(skymap, mask))
    assert np.all(probability.data[0, mask] == 0) and np.all(~probability.observed[0, mask])


@pytest.mark.parametrize("nest", [True, False])
def test_map_of_probability_is_of_the_same_kind(finder, nest):
    skymap = toy_sky(54).to_order(nest=nest)
    probability = finder.predict_map(skymap)
    assert isinstance(probability, SkyMap) and probability.nest is nest and probability.data.shape == (1, skymap.n_pix)
    assert probability.data.min() >= 0 and probability.data.max() <= 1
    catalogue = finder.predict(skymap)
    here = probability.data[0, skymap.coord_to_pixel(catalogue["coord"])]
    assert np.median(here) > 20 * np.median(probability.data)


def test_map_of_probability_of_an_image(finder):
    image = toy_image(5)
    probability = finder.predict_map(image)
    assert isinstance(probability, CCDData) and probability.shape == image.shape[1:]
    assert probability.wcs.wcs.compare(image.wcs.celestial.wcs)


def test_order_of_pixels_does_not_matter(finder):
    skymap = toy_sky(55)
    assert_same(finder.predict(skymap.to_order(nest=False)), finder.predict(skymap))


def test_other_instruments(finder):
    """Other bins, pixels and PSF than it was trained on: it answers, and finds what stands out."""
    skymap = toy_sky(56, nside=64, counts=(400, 900), background=1.0)
    one = SkyMap(skymap.data.sum(axis=0), nest=True, energy_edges=[1, 10] * u.GeV, psf=R68[:1])
    catalogue = finder.predict(one)
    assert match(catalogue, skymap.sources, 2 * u.deg).completeness > 0.4


def on_masked(skymap, coords):
    """Whether positions lie on masked pixels of a SkyMap (nested) or image, or off the image."""
    mask = np.asarray(skymap.mask)
    mask = mask.reshape(-1, mask.shape[-1]).any(axis=0) if isinstance(skymap, SkyMap) else mask.any(axis=0)
    if isinstance(skymap, SkyMap):
        sky = coords.transform_to(skymap.frame).spherical
        return mask[hp.ang2pix(skymap.nside, sky.lon.deg, sky.lat.deg, nest=skymap.nest, lonlat=True)]
    x, y = (np.rint(c).astype(int) for c in skymap.wcs.celestial.world_to_pixel(coords))
    inside = (x >= 0) & (y >= 0) & (x < mask.shape[1]) & (y < mask.shape[0])
    return ~inside | mask[np.clip(y, 0, mask.shape[0] - 1), np.clip(x, 0, mask.shape[1] - 1)]


@pytest.mark.parametrize("nside", [16, 32, 128])  # searched at quarters, as it is, summed 2 x 2
@pytest.mark.parametrize("pattern", ["region", "random"])
def test_masked_pixels_are_never_reported_on(finder, nside, pattern):
    scale = (nside / 32) ** 2
    skymap = toy_sky(60, nside=nside, background=3 / scale)
    pixels = np.arange(skymap.n_pix)
    mask = (pixels // (skymap.n_pix // 48)) % 3 == 0
    if pattern == "random":
        mask = np.random.default_rng(2).random(skymap.n_pix) < 0.3
    hidden = masked(skymap, mask)
    catalogue = finder.set_params(threshold=0.02).predict(hidden)
    finder.set_params(threshold=0.5)
    assert len(catalogue) > (10 if nside > 16 else 0)  # of a coarse map a toy network finds few on some processors
    assert not on_masked(hidden, catalogue["coord"]).any()
    assert np.isfinite(catalogue["flux"]).all()
    probability = finder.predict_map(hidden)
    assert np.all(np.asarray(probability.mask).ravel()[mask])
    assert np.mean(np.asarray(probability.mask)) < mask.mean() + 0.05


def test_the_rim_of_an_image(finder):
    """Odd sides, a mask and sources at the rim: nothing is reported beside the image or under the mask."""
    image = toy_image(61, shape=(75, 101), n_sources=30)
    mask = np.zeros(image.shape, bool)
    mask[:, 20:40, 30:70] = True
    image.mask = mask
    catalogue = finder.set_params(threshold=0.02).predict(image)
    finder.set_params(threshold=0.5)
    assert len(catalogue) > 5 and not on_masked(image, catalogue["coord"]).any()
    assert finder.predict_map(image).shape == image.shape[1:]


def test_sources_on_wide_pixels_are_found():
    """Pixels of 3.7 deg and a PSF of 1 to 1.6: searched at their quarters, and located to a fraction of a pixel."""
    skies = [toy_sky(seed, nside=16, background=12.0, counts=(150, 500)) for seed in range(61, 72)]
    skymap = skies.pop(0)
    finder = make_finder(width=8, max_epochs=25, lr=5e-3, threshold=0.4).fit(skies)
    catalogue = finder.predict(skymap)
    result = match(catalogue, skymap.sources, 2 * u.deg)
    assert result.completeness > 0.7 and result.purity > 0.7
    assert np.median(result.separation) < 0.7 * u.deg
    probability = finder.predict_map(skymap)
    assert probability.nside == 16 and probability.data.max() > 0.5


def test_bins_without_exposure(finder):
    skymap = toy_sky(63)
    skymap.exposure = [0, 1e10] * u.cm**2 * u.s
    catalogue = finder.predict(skymap)
    assert match(catalogue, skymap.sources, 2 * u.deg).completeness > 0.3
    skymap.exposure = [0, 0] * u.cm**2 * u.s
    assert len(finder.predict(skymap))


def test_calibration_on_other_maps():
    """The network stays; probabilities become those of the maps given, each kind of map by itself."""
    finder = make_finder(width=8, max_epochs=15, lr=5e-3).fit([toy_sky(1), toy_sky(2)])
    before = finder.predict_map(SKY).data
    first = finder.calibration_
    maps = [toy_sky(seed) for seed in range(70, 78)] + [toy_image(seed, n_sources=25) for seed in range(12)]
    assert finder.calibrate(maps) is finder
    np.testing.assert_array_equal(finder.predict_map(SKY).data, before)
    assert finder.calibration_["sphere"] != first["sphere"] != finder.calibration_["image"]
    right = total = 0.0
    for skymap in (toy_sky(seed) for seed in range(80, 86)):
        found = finder.predict(skymap)
        right += match(found, skymap.sources, 2 * u.deg).purity * len(found)
        total += found["probability"].sum()
    assert total == pytest.approx(right, rel=0.15)


def test_psf_as_text():
    """A grid search takes strings, not Quantities."""
    skymap = toy_sky(3)
    skymap.psf = None
    one, other = (make_finder(psf=psf).fit(toy_sky(2)).predict(skymap) for psf in (R68, "1.6, 1.0 deg"))
    assert_same(one, other)
    with pytest.raises(ValueError, match="neither an event type"):
        make_finder(psf="sharp").fit([toy_sky(2)]).predict(skymap)


def test_sources_of_a_catalogue_file():
    """Positions in GLON and GLAT, as LAT catalogues have them."""
    skymap = toy_sky(1)
    coords = skymap.sources["coord"]
    other = QTable({"GLON": coords.l, "GLAT": coords.b})
    assert_same(make_finder().fit(skymap, other).predict(SKY), make_finder().fit(skymap).predict(SKY))


def test_tiles_and_batches_do_not_show(finder):
    image = toy_image(6, shape=(160, 200), n_sources=25)
    whole = finder.predict_map(image)
    part = CCDData(
        image.data[:, 32:, 64:],
        unit=u.ct,
        wcs=image.wcs[:, 32:, 64:] if image.wcs.naxis == 3 else image.wcs[32:, 64:],
        meta=image.meta | {"background": image.meta["background"][:, 32:, 64:]},
    )
    finder.set_params(batch_size=2)
    again = finder.predict_map(image)
    finder.set_params(batch_size=4)
    np.testing.assert_allclose(again.data, whole.data, atol=1e-5)
    assert finder.predict_map(part).shape == (128, 136)


def test_localizers(finder):
    skymap = toy_sky(57, counts=(150, 400))
    for localizer in ("offset", "log", "kmeans"):
        catalogue = finder.set_params(localizer=localizer).predict(skymap)
        assert match(catalogue, skymap.sources, 2 * u.deg).completeness > 0.5
    finder.set_params(localizer="offset")


def test_faint_simulated_sources_are_not_asked_for():
    skymap = toy_sky(1)
    truth = skymap.sources.copy()
    truth["significance"] = np.where(np.arange(len(truth)) < 10, 9.0, 1.0)
    finder = make_finder().fit(toy_sky(2))
    few, all_of_them = finder.score(skymap, truth), finder.score(skymap, truth[:10])
    assert few == all_of_them


def test_pipeline_and_search():
    """What the user guide promises of scikit-learn's tools."""
    maps = [toy_sky(seed) for seed in range(4)]
    disc = CircleSkyRegion(SkyCoord(0, 0, unit="deg", frame="galactic"), 10 * u.deg)
    chain = make_pipeline(RegionMask(disc), EnergyRebinner([1, 10] * u.GeV), make_finder(threshold=0.0)).fit(maps[:2])
    catalogue = chain.predict(maps[3])
    assert catalogue["bin_counts"].shape[1] == 1
    masked_map = chain[0].transform(maps[3])
    assert not on_masked(masked_map, catalogue["coord"]).any()
    search = GridSearchCV(make_finder(), {"threshold": [0.02, 0.3]}, cv=2).fit(maps)
    assert search.best_params_["threshold"] in (0.02, 0.3) and np.all(
        np.isfinite(search.cv_results_["mean_test_score"])
    )
    scores = cross_val_score(make_finder(), maps, [m.sources for m in maps], cv=2)
    assert scores.shape == (2,) and np.all((scores >= 0) & (scores <= 1))


def test_a_map_without_psf_takes_the_instruments():
    skymap = toy_sky(3)
    skymap.psf = None
    finder = make_finder(psf=R68).fit(toy_sky(2))
    assert len(finder.predict(skymap).colnames) == len(COLUMNS + FLUXES)
    finder.set_params(psf="FRONT").predict(skymap)
    skymap.energy_edges = None
    with pytest.raises(ValueError, match="neither a PSF nor energy_edges"):
        finder.predict(skymap)


def test_a_generator_of_maps_is_read_once():
    one = make_finder().fit(toy_sky(seed) for seed in (1, 2))
    other = make_finder().fit([toy_sky(1), toy_sky(2)])
    assert_same(one.predict(SKY), other.predict(SKY))


def test_no_warnings_on_a_plain_map(finder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        finder.predict(toy_sky(58))
