"""Segments and catalogue of images whose sources are known exactly."""

import astropy.units as u
import numpy as np
import pytest
from astropy.nddata import CCDData, StdDevUncertainty

from astrolearn.morphology.bands import read_bands
from astrolearn.morphology.catalogues import make_catalogue, make_regions
from astrolearn.morphology.segments import find_segments

CLASSES = ("spheroid", "disk")
BANDS = ("H", "V")


def gaussian(x0, y0, sx, sy, flux, shape=(60, 80)):
    y, x = np.indices(shape)
    profile = np.exp(-0.5 * (((x - x0) / sx) ** 2 + ((y - y0) / sy) ** 2))
    return flux * profile / profile.sum()


@pytest.fixture
def field():
    light = gaussian(20, 30, 4, 2, 1000) + gaussian(60, 25, 2, 2, 500)
    sigma = np.full(light.shape, 0.1)
    images = [CCDData(light * factor, unit="adu", uncertainty=StdDevUncertainty(sigma)) for factor in (1, 0.5)]
    return read_bands(images, BANDS)


def probabilities(field, background_at=0.3):
    light = field.read()[0]
    source = light > background_at
    p = np.zeros((3, *light.shape), np.float32)
    p[0] = np.where(source, 0.6, 0)
    p[1] = np.where(source, 0.2, 0)
    p[2] = 1 - p[:2].sum(0)
    return p


def test_measurements(field):
    p = probabilities(field)
    segments = find_segments(field, p[-1], 0.5, 5)
    table = make_catalogue(field, p, segments, CLASSES)
    assert len(table) == segments.n_labels == 2
    np.testing.assert_allclose(np.sort(table["x_centroid"]), [20, 60], atol=0.05)
    first = table[np.argmin(table["x_centroid"])]
    inside = segments.data == first["label"]
    light = field.read()
    assert first["flux_H"].value == pytest.approx(light[0][inside].sum(), rel=1e-5)
    assert first["flux_V"].value == pytest.approx(0.5 * first["flux_H"].value, rel=1e-5)
    assert first["flux_H"].unit == u.adu
    assert first["flux_error_H"].value == pytest.approx(0.1 * np.sqrt(inside.sum()))
    assert first["area"].value == inside.sum()
    assert first["semimajor"].value == pytest.approx(4, rel=0.1)
    assert first["semiminor"].value == pytest.approx(2, rel=0.1)
    assert abs(np.sin(np.deg2rad(first["orientation"].value))) < 0.05
    assert first["p_source"] == pytest.approx(0.8)
    np.testing.assert_allclose([first["p_spheroid"], first["p_disk"]], [0.75, 0.25], rtol=1e-5)
    assert first["class"] == "spheroid"


def test_classes_are_weighted_by_flux(field):
    p = probabilities(field)
    segments = find_segments(field, p[-1], 0.5, 5)
    light = field.read()[0]
    left = segments.data == segments.data[30, 20]
    core = left & (light > 5)
    p[0, core], p[1, core] = 0, 0.8
    table = make_catalogue(field, p, segments, CLASSES)
    first = table[np.argmin(table["x_centroid"])]
    weights = light[left]
    expected = (weights * p[1][left]).sum() / (weights * p[:2, left].sum(0)).sum()
    assert first["p_disk"] == pytest.approx(expected, rel=1e-4)
    # negative light has no negative weight
    assert np.all((table["p_disk"] >= 0) & (table["p_disk"] <= 1))


def test_a_source_without_light_in_the_first_band(field):
    p = np.zeros((3, *field.shape), np.float32)
    p[2] = 1
    p[:, 40:50, 40:50] = np.array([0.1, 0.8, 0.1])[:, None, None]
    field.data[0] = np.where(p[1] > 0, -1.0, 0.0)
    segments = find_segments(field, p[-1], 0.5, 5)
    table = make_catalogue(field, p, segments, CLASSES)
    assert len(table) == 1
    assert table["p_disk"][0] == pytest.approx(0.8 / 0.9, rel=1e-5)
    assert (table["x_centroid"][0], table["y_centroid"][0]) == (44.5, 44.5)
    assert table["flux_H"][0].value == pytest.approx(-100, rel=1e-3)
    assert len(make_regions(table)) == 1


def test_blends_are_divided():
    light = gaussian(35, 30, 2.5, 2.5, 1000) + gaussian(45, 30, 2.5, 2.5, 800)
    noise = np.random.default_rng(0).normal(0, 0.05, light.shape)
    field = read_bands([light + noise, light + noise], BANDS)
    background = np.where(light > 0.3, 0.1, 0.95)
    segments = find_segments(field, background, 0.5, 5)
    assert segments.n_labels == 2
    assert segments.data[30, 35] != segments.data[30, 45]
    np.testing.assert_array_equal(segments.data > 0, light > 0.3)


def test_small_ones_are_left_out_and_the_threshold_counts():
    background = np.ones((40, 40))
    background[10:12, 10:12] = 0.2
    background[20:26, 20:26] = 0.45
    field = read_bands([np.random.default_rng(0).normal(size=(40, 40))] * 2, BANDS)
    assert find_segments(field, background, 0.5, 4).n_labels == 2
    assert find_segments(field, background, 0.5, 5).n_labels == 1
    assert find_segments(field, background, 0.4, 4).n_labels == 1
    assert find_segments(field, np.full((40, 40), np.nan), 0.5, 4).n_labels == 0
