"""MorphologySegmenter: the promises of every estimator, tiles, what it makes of fields it has not seen."""

import astropy.units as u
import numpy as np
import pytest
from astropy.nddata import CCDData, NDData
from astropy.table import QTable
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS
from estimator_checks import Case, parametrize
from morphology.blobs import BANDS, CLASSES, blobs
from photutils.segmentation import SegmentationImage
from scipy.ndimage import gaussian_filter
from sklearn.base import clone

from astrolearn import MorphologySegmenter
from astrolearn.morphology import segmenter as module
from astrolearn.morphology.bands import read_bands
from astrolearn.morphology.catalogues import make_catalogue

IMAGES, LABELS = (list(parts) for parts in zip(*(blobs(i) for i in range(10)), strict=True))
FIELD, TRUTH = blobs(100)
SMALL = {"bands": BANDS, "classes": CLASSES, "width": 8, "batch_size": 8}


def changed(function):
    return {band: function(image) for band, image in FIELD.items()}


def case(name, **options):
    if name == "morpheus":
        options |= {"stride": 20, "batch_size": 16}
    return Case(
        name=f"MorphologySegmenter-{name}",
        make=lambda **parameters: MorphologySegmenter(
            **SMALL | {"architecture": name, "max_epochs": 1} | options | parameters),
        fit_args=(IMAGES[:2], LABELS[:2]),
        predict_args=(FIELD,),
        methods=("predict", "predict_proba", "segment", "catalog"),
        same=assert_same_answers,
        bad_inputs={
            "wrong_unit": (({"H": FIELD["H"] * u.m, "V": FIELD["V"] * u.Jy},), "has the unit 'Jy', .* to 'm'"),
            "wrong_shape": (({"H": FIELD["H"], "V": FIELD["V"][1:]},), "differ in shape"),
            "missing_band": (({"H": FIELD["H"]},), r"lacks the band\(s\) V"),
            "empty": ((changed(lambda image: image[:0]),), "is empty"),
            "nothing": (([],), "has 0 images for the band"),
        },
        bad_fit_inputs={
            "number": ((IMAGES[:2], LABELS[:1]), "2 fields of images, but 1 of labels"),
            "labels": ((IMAGES[:1], [LABELS[0][:2]]), r"labels\[0\] has the shape \(2, 96, 96\); expected \(3, 96"),
            "fractions": ((IMAGES[:1], [2 * LABELS[0]]), r"labels\[0\] must be fractions that add up to 1"),
            "classes": ((IMAGES[:1], [np.full((96, 96), 3)]), r"labels\[0\] must be fractions .* from -1 to 2"),
        },
        equal_inputs={
            "big_endian": (changed(lambda image: image.astype(">f8")),),
            "list": ([FIELD["H"], FIELD["V"]],),
            "array": (np.stack([FIELD["H"], FIELD["V"]]),),
            "nothing_masked": (changed(lambda image: NDData(image, mask=np.zeros(image.shape, bool))),),
        },
        exclusions={
            "bad_inputs[nan]": "not classified; see test_what_is_not_observed",
            "bad_inputs[masked]": "not classified; see test_what_is_not_observed",
        },
    )  # fmt: skip


def assert_same_answers(a, b):
    """Of catalogues, what was measured: the time is another."""
    assert type(a) is type(b)
    if isinstance(a, QTable):
        assert a.colnames == b.colnames
        for name in a.colnames:
            np.testing.assert_array_equal(np.asarray(a[name]), np.asarray(b[name]))
    else:
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@parametrize(case("unet"), case("morpheus"))
def test_promises_are_kept(check, case):
    check(case)


@pytest.fixture(scope="module")
def trained():
    return MorphologySegmenter(**SMALL, max_epochs=60, lr=5e-3, random_state=0).fit(IMAGES, LABELS)


def test_finds_and_classifies(trained):
    assert trained.score(FIELD, TRUTH) > 0.6
    catalogue = trained.catalog(FIELD)
    big = catalogue[catalogue["area"] > 60 * u.pix**2]
    truth = TRUTH.argmax(0)
    x, y = (np.rint(big[name]).astype(int) for name in ("x_centroid", "y_centroid"))
    expected = np.array([*CLASSES, "background"])[truth[y, x]]
    assert len(big) >= 4
    assert (big["class"] == expected).mean() >= 0.75
    assert trained.score(IMAGES[:2], LABELS[:2]) > 0.6


def test_probabilities(trained):
    probability = trained.predict_proba(FIELD)
    assert probability.dtype == np.float32
    np.testing.assert_allclose(probability.sum(0), 1, atol=1e-5)
    np.testing.assert_array_equal(trained.predict(FIELD), probability.argmax(0))
    # calibrated on two fields that took no part in the training: more or less so on others
    scenes = [blobs(i) for i in range(200, 216)]
    p = np.concatenate([trained.predict_proba(images).reshape(3, -1) for images, _ in scenes], axis=1)
    true = np.concatenate([labels.reshape(3, -1) for _, labels in scenes], axis=1)
    for i in range(3):
        near = (p[i] > 0.3) & (p[i] < 0.7)
        assert abs(true[i][near].mean() - p[i][near].mean()) < 0.15
    assert np.abs(true.mean(1) - p.mean(1)).max() < 0.03


@pytest.mark.parametrize("shape", [(96, 96), (130, 77)])
def test_tiles_are_answered_like_the_whole(trained, monkeypatch, shape):
    rng = np.random.default_rng(0)
    field = {band: np.pad(image, [(0, 50)] * 2, mode="wrap")[: shape[0], : shape[1]] for band, image in FIELD.items()}
    field["H"][5:9, 3:30] = np.nan
    field = {band: image + rng.normal(0, 0.1, shape) for band, image in field.items()}
    whole = trained.predict_proba(field)
    monkeypatch.setattr(module, "_TILE", 32)
    tiled = trained.predict_proba(field)
    np.testing.assert_allclose(tiled, whole, atol=1e-4)


def test_a_large_image_needs_tiles(trained, monkeypatch):
    # far enough across for tiles whose halo is within the image on both sides
    rng = np.random.default_rng(1)
    field = {band: np.tile(image, (1, 5)) + rng.normal(0, 0.1, (96, 480)) for band, image in FIELD.items()}
    whole = trained.predict_proba(field)
    monkeypatch.setattr(module, "_TILE", 64)
    np.testing.assert_allclose(trained.predict_proba(field), whole, atol=1e-4)


@pytest.mark.parametrize("architecture", ["unet", "morpheus"])
def test_what_is_not_observed(trained, architecture):
    if architecture == "morpheus":
        trained = case("morpheus").fitted
    mask = np.zeros((96, 96), bool)
    mask[20:26, 10:40] = mask[70, 50] = True
    hidden = np.where(mask, np.float32(np.nan), FIELD["H"])
    expected = trained.predict_proba({"H": hidden, "V": FIELD["V"]})
    # what stands under the mask has no influence, in either band
    other = {band: NDData(np.where(mask, 1e9, image).astype(np.float32), mask=mask) for band, image in FIELD.items()}
    np.testing.assert_array_equal(trained.predict_proba(other), expected)
    assert np.isnan(expected[:, mask]).all()
    inner = ~mask
    if architecture == "morpheus":
        inner[:5] = inner[-5:] = inner[:, :5] = inner[:, -5:] = False
    assert np.isfinite(expected[:, inner]).all()
    assert (trained.predict(other)[mask] == -1).all()
    assert (trained.segment(other).data[mask] == 0).all()
    catalogue = trained.catalog(other)
    for name in ("p_round", "flux_H", "flux_error_V", "x_centroid", "orientation"):
        assert np.isfinite(catalogue[name].value if name.startswith("f") else np.asarray(catalogue[name])).all()


def test_gain_and_unit_do_not_matter(trained):
    expected = trained.predict_proba(FIELD)
    scaled = {band: image.astype(float) * 128 * u.adu for band, image in FIELD.items()}
    np.testing.assert_allclose(trained.predict_proba(scaled), expected, atol=1e-5)
    catalogue, other = trained.catalog(FIELD), trained.catalog(scaled)
    assert other["flux_H"].unit == u.adu
    np.testing.assert_allclose(other["flux_H"].value, 128 * catalogue["flux_H"].value, rtol=1e-3)


def test_out_may_be_a_file(trained, tmp_path):
    out = np.memmap(tmp_path / "p.dat", np.float32, "w+", shape=(3, 96, 96))
    assert trained.predict_proba(FIELD, out=out) is out
    np.testing.assert_array_equal(out, trained.predict_proba(FIELD))
    with pytest.raises(ValueError, match=r"out has the shape \(3, 96, 95\); expected \(3, 96, 96\)"):
        trained.predict_proba(FIELD, out=out[:, :, 1:])
    with pytest.raises(ValueError, match="out is for the images of one field"):
        trained.predict_proba(IMAGES[:2], out=out)


def test_several_fields(trained):
    both = trained.predict(IMAGES[:2])
    assert len(both) == 2
    np.testing.assert_array_equal(both[1], trained.predict(IMAGES[1]))
    assert [len(part) for part in trained.catalog(IMAGES[:2])] == [len(trained.catalog(one)) for one in IMAGES[:2]]
    assert len(trained.analyze(IMAGES[:2])) == len(trained.to_regions(IMAGES[:2])) == 2


def test_empty_fields(trained):
    rng = np.random.default_rng(5)
    field = {band: rng.normal(0, 1, (64, 80)).astype(np.float32) for band in BANDS}
    segments = trained.segment(field)
    assert isinstance(segments, SegmentationImage)
    assert segments.n_labels == 0
    catalogue, full = trained.catalog(field), trained.catalog(FIELD)
    assert len(catalogue) == 0
    assert catalogue.colnames == full.colnames
    assert catalogue["flux_H"].unit == full["flux_H"].unit
    assert len(trained.to_regions(field)) == 0


def test_positions_and_regions(trained):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = (53, -28), (48, 48), (-1e-4, 1e-4)
    images = {band: CCDData(image, unit="electron/s", wcs=wcs) for band, image in FIELD.items()}
    catalogue, plain = trained.catalog(images), trained.catalog(FIELD)
    assert "coord" not in plain.colnames
    there = wcs.pixel_to_world(plain["x_centroid"], plain["y_centroid"])
    assert (catalogue["coord"].separation(there) < 1e-6 * u.arcsec).all()
    assert catalogue["flux_H"].unit == u.electron / u.s
    on_sky, in_pixels = trained.to_regions(images), trained.to_regions(FIELD)
    for row, ellipse, other in zip(plain, on_sky, in_pixels, strict=True):
        assert ellipse.meta["text"] == row["class"]
        assert other.center.x == pytest.approx(row["x_centroid"])
        assert other.width >= other.height
        back = ellipse.to_pixel(wcs)
        assert back.width == pytest.approx(other.width, rel=1e-3)
        assert np.cos(np.deg2rad(2 * (back.angle - other.angle).to_value("deg"))) > 0.99


def test_labels_may_be_numbers():
    numbers = [np.where(label.max(0) > 0.6, label.argmax(0), -1) for label in LABELS[:3]]
    shares = [(np.arange(3)[:, None, None] == number).astype(float) for number in numbers]
    a, b = (MorphologySegmenter(**SMALL, max_epochs=1, random_state=0).fit(IMAGES[:3], y) for y in (numbers, shares))
    np.testing.assert_array_equal(a.predict_proba(FIELD), b.predict_proba(FIELD))
    assert a.score(IMAGES[:3], numbers) == b.score(IMAGES[:3], shares)


def test_one_field_and_one_band():
    segmenter = MorphologySegmenter(**SMALL | {"bands": ("H",)}, max_epochs=1, random_state=0)
    segmenter.fit(FIELD["H"], TRUTH)
    assert segmenter.predict(FIELD["H"]).shape == (96, 96)
    with pytest.raises(ValueError, match=r"lacks the band\(s\) V"):
        clone(segmenter).set_params(bands=BANDS).fit({"H": FIELD["H"]}, TRUTH)


def test_windows_and_their_statistics(trained):
    morpheus = case("morpheus").fitted
    statistics = morpheus.window_statistics(FIELD)
    np.testing.assert_array_equal(statistics.votes, morpheus.predict_proba(FIELD))
    np.testing.assert_array_equal(statistics.mean, clone_fitted(morpheus, aggregate="mean").predict_proba(FIELD))
    covered = statistics.n > 0
    assert (statistics.variance[:, covered] >= 0).all()
    # one window has no variance, and its vote is its most probable class
    alone = statistics.n == 1
    np.testing.assert_allclose(statistics.variance[:, alone], 0, atol=1e-6)
    np.testing.assert_array_equal(statistics.votes[:, alone].argmax(0), statistics.mean[:, alone].argmax(0))
    with pytest.raises(ValueError, match="only the architecture 'morpheus' has windows"):
        trained.window_statistics(FIELD)


def clone_fitted(segmenter, **parameters):
    import copy

    return copy.deepcopy(segmenter).set_params(**parameters)


def test_what_is_not_observed_is_not_learnt():
    images, labels = blobs(50)
    images["H"][10:40] = np.nan
    segmenter = MorphologySegmenter(**SMALL, max_epochs=1, random_state=0).fit([images, IMAGES[0]], [labels, LABELS[0]])
    changed_labels = labels.copy()
    changed_labels[:, 10:40] = np.array([1, 0, 0])[:, None, None]
    other = clone(segmenter).fit([images, IMAGES[0]], [changed_labels, LABELS[0]])
    np.testing.assert_array_equal(segmenter.predict_proba(FIELD), other.predict_proba(FIELD))


def test_a_constant_sky_changes_nothing(trained):
    raised = {band: image + np.float32(64) for band, image in FIELD.items()}
    a, b = trained.catalog(FIELD), trained.catalog(raised)
    assert len(a) == len(b)
    for name in ("flux_H", "flux_error_H", "p_round", "x_centroid"):
        np.testing.assert_allclose(np.asarray(a[name]), np.asarray(b[name]), rtol=2e-3, atol=0.05)
    assert "H 6" in b.meta["sky"]


@pytest.mark.parametrize("smoothing", [0, 0.6])
def test_errors_of_fluxes(trained, smoothing):
    rng = np.random.default_rng(0)
    sky = rng.normal(0, 1, (400, 400))
    sky = gaussian_filter(sky, smoothing) if smoothing else sky
    field = read_bands([sky, sky], BANDS)
    for side in (4, 8, 16):
        labels = np.zeros((400, 400), int)
        for number, (y, x) in enumerate(np.ndindex(400 // (side + 24), 400 // (side + 24))):
            labels[y * (side + 24) :, x * (side + 24) :][:side, :side] = number + 1
        table = make_catalogue(field, np.full((3, 400, 400), 1 / 3), SegmentationImage(labels), CLASSES)
        pulls = table["flux_H"] / table["flux_error_H"]
        assert float(np.std(np.asarray(pulls))) == pytest.approx(1, abs=4 / np.sqrt(2 * len(pulls)))


def test_other_pixel_scales_are_warned_of(trained, tmp_path):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cdelt = ["RA---TAN", "DEC--TAN"], (-0.06 / 3600, 0.06 / 3600)
    images = [{band: CCDData(image, unit="Jy", wcs=wcs) for band, image in one.items()} for one in IMAGES[:1]]
    segmenter = MorphologySegmenter(**SMALL, max_epochs=1, random_state=0).fit(images, LABELS[:1])
    assert segmenter.pixel_scale_ == pytest.approx(0.06)
    segmenter.save(tmp_path / "a.safetensors")
    assert MorphologySegmenter.load(tmp_path / "a.safetensors").pixel_scale_ == segmenter.pixel_scale_
    segmenter.predict(images)
    segmenter.predict(FIELD)
    wcs.wcs.cdelt = (-0.08 / 3600, 0.08 / 3600)
    finer = {band: CCDData(image, unit="Jy", wcs=wcs) for band, image in FIELD.items()}
    with pytest.warns(AstropyUserWarning, match=r"0\.08 arcsec wide, those of the training were 0\.06 arcsec"):
        segmenter.predict(finer)


def test_units_of_morpheus():
    images = [{band: image * u.mJy for band, image in one.items()} for one in IMAGES[:2]]
    segmenter = case("morpheus").make().fit(images, LABELS[:2])
    assert segmenter.unit_ == "mJy"
    expected = segmenter.predict_proba({band: image * u.mJy for band, image in FIELD.items()})
    converted = segmenter.predict_proba({band: (image * 1e3) * u.uJy for band, image in FIELD.items()})
    np.testing.assert_allclose(converted, expected, atol=1e-3)
    with pytest.raises(u.UnitConversionError, match="'adu', which does not convert to 'mJy' of the training images"):
        segmenter.predict({band: image * u.adu for band, image in FIELD.items()})


@pytest.mark.parametrize("parameters", [{"bands": ("H", "H")}, {"bands": ()}, {"classes": ("source", "disk")},
                                        {"classes": ("background",)}])  # fmt: skip
def test_names_that_are_refused(parameters):
    with pytest.raises(ValueError, match="must be one or more different names"):
        MorphologySegmenter(**SMALL | parameters, max_epochs=1).fit(IMAGES[:1], LABELS[:1])


def test_two_processes_answer_like_one(trained, monkeypatch):
    expected = trained.predict_proba(FIELD)
    monkeypatch.setattr(module, "_TILE", 48)
    both = clone_fitted(trained, n_jobs=2).predict_proba(FIELD)
    np.testing.assert_allclose(both, expected, atol=1e-5)


def test_outputs_and_scores_that_do_not_fit(trained):
    with pytest.raises(ValueError, match="out must be an array of floating-point numbers"):
        trained.predict_proba(FIELD, out=np.zeros((3, 96, 96), int))
    with pytest.raises(ValueError, match="2 fields of images, but 1 of labels"):
        trained.score(IMAGES[:2], LABELS[:1])


def test_flat_images_have_no_sources():
    flat = {band: np.ones((60, 60), np.float32) for band in BANDS}
    morpheus = case("morpheus").fitted
    assert set(morpheus.catalog(flat).colnames) == set(morpheus.catalog(FIELD).colnames)
