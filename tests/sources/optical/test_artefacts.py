"""Artefacts: charge is conserved, pixels hold no more than they can, and nothing falls outside."""

import numpy as np
import pytest

from astrolearn.sources.optical.artefacts import add_cosmic_rays, add_trails, bleed, spoil_pixels


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_charge_runs_along_the_columns_and_is_not_lost():
    image = np.full((201, 11), 10.0)
    image[100, 5] = 5000
    before = image.sum()
    full = bleed(image, 100.0)
    assert image.sum() == pytest.approx(before)
    assert image.max() == 100 and full.sum() == np.sum(image == 100)
    rows, columns = np.nonzero(full)
    assert set(columns) == {5} and rows.min() < 75 and rows.max() > 125
    assert rows.min() + rows.max() == pytest.approx(200, abs=1)  # both ways alike


def test_what_reaches_the_rim_is_gone():
    image = np.zeros((5, 3))
    image[2, 1] = 1e6
    bleed(image, 100.0)
    assert np.all(image[:, 1] == 100) and image[:, [0, 2]].sum() == 0


def test_tracks_are_sharp_and_as_many_as_asked_for(rng):
    image = np.zeros((400, 400))
    add_cosmic_rays(image, 40, 1000.0, rng)
    hit = image > 0
    assert 80 < hit.sum() < 2000
    # beside a track there is nothing: it is two or three pixels wide
    wide = sum(np.roll(hit, shift, axis) for axis in (0, 1) for shift in (-2, 2))
    assert np.mean(wide[hit] >= 3) < 0.3
    add_cosmic_rays(image, 0, 1000.0, rng)
    assert np.array_equal(image > 0, hit)


def test_a_trail_crosses_the_image(rng):
    image = np.zeros((100, 120))
    add_trails(image, 1, 50.0, 3.0, rng)
    assert image.max() > 5
    bright = image > image.max() / 4
    assert bright.any(axis=0).sum() > 60 or bright.any(axis=1).sum() > 50


def test_spoilt_pixels(rng):
    image = np.full((200, 300), 100.0)
    spoil_pixels(image, 30, 20, 0, 1000.0, rng)
    assert 25 <= np.sum(image > 100) <= 30 and 17 <= np.sum(image < 100) <= 20
    image[:] = 100.0
    spoil_pixels(image, 0, 0, 6, 1000.0, rng)
    columns = np.flatnonzero((image != 100).any(axis=0))
    assert 4 <= len(columns) <= 6
    assert set(np.unique(image)) <= {0.0, 100.0, 200.0}
