"""PointSourceFinder on optical images: the promises of every estimator, its catalogue, and what must not matter."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData, NDData
from astropy.table import QTable
from astropy.wcs import WCS
from estimator_checks import Case, parametrize
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score

from astrolearn import PointSourceFinder
from astrolearn.sky import match
from astrolearn.sources.optical import Artefacts, MoffatPSF, StarFieldSimulator

COLUMNS = ["probability", "significance", "flux", "flux_error", "x_centroid", "y_centroid", "centroid_error"]


def field(seed=0, shape=(128, 128), n_stars=60, significance=(8, 500), **settings):
    options = {"psf": MoffatPSF(2.5, 3.5), "n_stars": n_stars, "significance": significance} | settings
    return StarFieldSimulator(shape, **options).sample(random_state=seed)[0]


def make_finder(**parameters):
    options = {"kind": "optical", "width": 6, "max_epochs": 2, "batch_size": 4, "threshold": 0.02, "random_state": 0}
    return PointSourceFinder(**options | parameters)


def changed(image, **changes):
    """A copy with other data, unit, mask ..."""
    kept = {"data": image.data, "unit": image.unit, "mask": image.mask, "meta": dict(image.meta), "wcs": image.wcs}
    return CCDData(**kept | changes)


IMAGE = field(0)
NO_SOURCES = changed(IMAGE, meta={})

case = Case(
    name="PointSourceFinder of optical images",
    make=make_finder,
    fit_args=(field(1),),
    predict_args=(IMAGE,),
    methods=("predict", "predict_map"),
    bad_inputs={
        "wrong_unit": ((changed(IMAGE, meta={"SATURATE": 3 * u.s}),), "SATURATE.*'s'.*does not convert to 'adu'"),
        "wrong_shape": ((CCDData(np.ones((1, 32, 32)), unit=u.adu),), r"must be \(height, width\)"),
        "nan": ((changed(IMAGE, data=np.full(IMAGE.shape, np.nan)),), "no valid pixels"),
        "empty": ((CCDData(np.ones((0, 32)), unit=u.adu),), "empty"),
        "all_masked": ((changed(IMAGE, mask=np.ones(IMAGE.shape, bool)),), "no valid pixels"),
    },
    bad_fit_inputs={
        "numbers": (([IMAGE, IMAGE], [IMAGE.meta["sources"]]), "2 maps but 1 lists"),
        "unknown_sources": ((NO_SOURCES,), "no known sources"),
        "no_wcs": ((IMAGE, SkyCoord([1] * u.deg, [2] * u.deg)), "the image has no celestial WCS"),
        "no_positions": ((IMAGE, QTable({"a": [1, 2]})), "no positions"),
        "no_images": (([],), "no maps"),
    },
    equal_inputs={
        "big_endian": (changed(IMAGE, data=IMAGE.data.astype(">f4")),),
        "double": (changed(IMAGE, data=IMAGE.data.astype(np.float64)),),
        "masked": (changed(IMAGE, mask=np.zeros(IMAGE.shape, bool)),),
    },
)


@parametrize(case)
def test_promises(check, case):
    check(case)


@pytest.fixture(scope="module")
def finder():
    """Trained for some seconds: finds what stands out, and no more is asked of it."""
    spoilt = Artefacts(cosmic_rays=10, full_well=600)
    images = [field(seed, artefacts=spoilt, psf=MoffatPSF(1.7 + seed % 4 * 0.6)) for seed in range(10, 26)]
    return make_finder(width=12, max_epochs=25, lr=6e-3, threshold=0.5).fit(images)


@pytest.fixture(scope="module")
def image():
    return field(50, (200, 240), n_stars=100, significance=(15, 500))


def test_stars_are_found_where_they_are(finder, image):
    catalogue, truth = finder.predict(image), image.meta["sources"]
    assert catalogue.colnames == COLUMNS
    assert catalogue["flux"].unit == catalogue["flux_error"].unit == u.adu
    assert np.all(np.diff(catalogue["probability"]) <= 0) and catalogue["probability"].min() >= 0.5
    result = match(catalogue[COLUMNS[4:6]], truth, 1.0, n_shifts=2)
    assert result.f1 > 0.85
    found, true = catalogue[result.catalogue_index], truth[result.reference_index]
    bright = true["significance"] > 50
    for axis in ("x_centroid", "y_centroid"):
        assert np.sqrt(np.median((found[axis] - true[axis])[bright] ** 2)) < 0.1  # of a toy network
    ratio = (found["flux"] / true["flux"]).value[bright]
    assert np.median(ratio) == pytest.approx(0.95, abs=0.12)
    assert 0.7 < np.median(found["significance"] / true["significance"]) < 1.05  # a toy network sees double
    assert catalogue.meta["fwhm"] == pytest.approx(2.7, abs=0.2) and catalogue.meta["threshold"] == 0.5


def rows_of(catalogue):
    order = np.argsort(catalogue["x_centroid"])
    return {name: np.asarray(catalogue[name])[order] for name in COLUMNS}


@pytest.mark.parametrize(
    ("scale", "offset", "unit"),
    [(3.7, 0.0, u.electron), (1e-12, 0.0, u.erg / u.s / u.cm**2), (0.25, -2000.0, None), (1e6, 5e9, u.ct)],
)
def test_gain_unit_and_pedestal_do_not_matter(finder, image, scale, offset, unit):
    data = image.data.astype(np.float64) * scale + offset
    ours, other = finder.predict(image), finder.predict(NDData(data, unit=unit))
    assert other["flux"].unit == (unit or u.dimensionless_unscaled)
    one, two = rows_of(ours), rows_of(other)
    assert len(ours) == len(other) > 50
    for name in COLUMNS:
        factor = scale if name.startswith("flux") else 1
        np.testing.assert_allclose(two[name], one[name] * factor, rtol=2e-3, atol=2e-3 * factor)


def test_integers_are_images_too(finder, image):
    counts = np.clip(np.rint(image.data * 8), 0, 65535).astype(">u2")
    found = finder.predict(CCDData(counts, unit=u.adu))
    assert match(found[COLUMNS[4:6]], finder.predict(image)[COLUMNS[4:6]], 0.2, n_shifts=2).f1 > 0.97


def test_a_celestial_wcs_gives_coordinates(finder, image):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [150, 2], [100, 120]
    wcs.wcs.cdelt = [-0.2 / 3600, 0.2 / 3600]
    placed = changed(image, wcs=wcs)
    catalogue = finder.predict(placed)
    assert catalogue.colnames == [*COLUMNS, "coord", "coord_error"]
    sky = wcs.pixel_to_world(catalogue["x_centroid"], catalogue["y_centroid"])
    assert catalogue["coord"].separation(sky).max() < 1e-3 * u.arcsec
    np.testing.assert_allclose(
        catalogue["coord_error"].to_value(u.arcsec), 0.2 * 1.5096 * catalogue["centroid_error"], rtol=1e-3
    )
    truth = image.meta["sources"]
    in_sky = QTable({"coord": wcs.pixel_to_world(truth["x_centroid"], truth["y_centroid"])})
    in_pixels = truth["x_centroid", "y_centroid"]
    assert finder.score(placed, in_sky) == pytest.approx(finder.score(placed, in_pixels), abs=1e-12)
    assert finder.predict_map(placed).wcs.wcs.compare(wcs.wcs)


def test_an_image_without_stars_gives_an_empty_table_with_the_same_columns(finder, image):
    for empty in (field(1, n_stars=0), CCDData(np.full((50, 70), 3.0), unit=u.adu)):
        catalogue = finder.predict(empty)
        assert len(catalogue) <= 1
        catalogue = finder.set_params(threshold=1.0).predict(empty)
        finder.set_params(threshold=0.5)
        assert len(catalogue) == 0 and catalogue.colnames == COLUMNS
        assert [catalogue[c].unit for c in COLUMNS] == [finder.predict(image)[c].unit for c in COLUMNS]


def test_map_of_probability(finder, image):
    image = changed(image, mask=np.zeros(image.shape, bool))
    image.mask[:30] = True
    probability = finder.predict_map(image)
    assert isinstance(probability, CCDData) and probability.shape == image.shape
    assert probability.unit == u.dimensionless_unscaled
    assert np.all(probability.mask == image.mask) and np.all(probability.data[:30] == 0)
    catalogue = finder.predict(image)
    at = tuple(np.rint(catalogue[c]).astype(int) for c in ("y_centroid", "x_centroid"))
    assert np.median(probability.data[at]) > 0.3 > 10 * np.median(probability.data)
    assert np.all(catalogue["y_centroid"] > 29.5)


def test_tiles_and_batches_do_not_show(finder, monkeypatch):
    image = field(7, (150, 210), n_stars=80)
    whole = finder.predict_map(image)
    monkeypatch.setattr("astrolearn.sources.optical.star_images._TILE", 64)
    np.testing.assert_allclose(finder.predict_map(image).data, whole.data, atol=1e-3)


def test_images_of_any_size(finder):
    for shape in ((1, 1), (3, 40), (65, 9)):
        assert len(finder.predict(CCDData(np.random.default_rng(0).normal(size=shape), unit=u.adu))) <= 1
        assert finder.predict_map(NDData(np.ones(shape))).data.shape == shape


def test_faint_stars_and_galaxies_are_neither_right_nor_wrong(finder, image):
    truth = image.meta["sources"].copy()
    all_asked = finder.score(image, truth)
    truth["significance"][::2] = 1.0
    truth["kind"][1] = "galaxy"
    assert finder.score(image, truth) == pytest.approx(all_asked, abs=0.1)
    assert finder.score(image, truth["x_centroid", "y_centroid"]) == pytest.approx(all_asked, abs=1e-12)
    moved = truth.copy()
    moved["x_centroid"] += 5
    assert finder.score(image, moved) < 0.3


def test_localizers(finder, image):
    truth = image.meta["sources"]
    rms = {}
    for localizer in ("windowed", "offset"):
        found = finder.set_params(localizer=localizer).predict(image)
        result = match(found[COLUMNS[4:6]], truth, 1.0, n_shifts=2)
        rms[localizer] = np.sqrt(np.mean(np.square(result.separation.value)))
    finder.set_params(localizer=None)
    assert rms["windowed"] < rms["offset"]
    with pytest.raises(ValueError, match="localizer='kmeans' is not one for optical images: windowed, offset"):
        clone(finder).set_params(localizer="kmeans").fit(image)


def test_parameters_with_units(finder, image):
    one = clone(finder).set_params(max_epochs=1, match_radius="1.5 pix", psf=2.7 * u.pix).fit(image).predict(image)
    two = clone(finder).set_params(max_epochs=1, match_radius=1.5, psf="2.7").fit(image).predict(image)
    np.testing.assert_array_equal(one["probability"], two["probability"])
    assert one.meta["fwhm"] == 2.7
    with pytest.raises(u.UnitConversionError, match="match_radius"):
        clone(finder).set_params(match_radius="3 arcsec").fit(image)


def test_defaults_are_those_of_the_kind():
    counts, optical = PointSourceFinder(), PointSourceFinder(kind="optical")
    assert counts.setting("match_radius") == "0.3 deg" and optical.setting("match_radius") == 1.0
    assert counts.setting("min_significance") == 2.5 and optical.setting("min_significance") == 5.0
    assert PointSourceFinder(kind="optical", threshold=0.0).setting("threshold") == 0.0
    with pytest.raises(ValueError, match="kind"):
        PointSourceFinder(kind="radio").fit(IMAGE)


def test_calibration_on_other_images(finder):
    network = finder.predict_map(IMAGE).data
    before = finder.calibration_
    other = [field(seed, n_stars=80, significance=(4, 300)) for seed in range(70, 78)]
    assert finder.calibrate(other) is finder
    assert finder.calibration_ != before and set(finder.calibration_) == set(before)
    np.testing.assert_array_equal(finder.predict_map(IMAGE).data, network)
    finder.calibration_ = before


def test_search_and_validation():
    images = [field(seed) for seed in range(4)]
    search = GridSearchCV(make_finder(), {"threshold": [0.02, 0.3]}, cv=2).fit(images)
    assert search.best_params_["threshold"] in (0.02, 0.3)
    scores = cross_val_score(make_finder(), images, [image.meta["sources"] for image in images], cv=2)
    assert scores.shape == (2,) and np.all((scores >= 0) & (scores <= 1))


def test_a_list_of_images(finder, image):
    one, two = finder.predict([image, IMAGE])
    assert len(one) == len(finder.predict(image)) and len(two) == len(finder.predict(IMAGE))


@pytest.mark.parametrize(("parameters", "message"), [
    ({"psf": 0}, "psf=0: the width of stars must be between 0.8 and 15 pixels"), ({"psf": "99 pix"}, "psf='99 pix'"),
    ({"match_radius": 0}, "match_radius=0 is not positive"),
])  # fmt: skip
def test_widths_and_radii_that_cannot_be(parameters, message):
    with pytest.raises(ValueError, match=message):
        make_finder(**parameters).fit(field(1))
