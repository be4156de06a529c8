"""What the network is told: stars where they are, nothing where nothing counts."""

import numpy as np
import pytest

from astrolearn.sources.optical import StarFieldSimulator
from astrolearn.sources.optical.images import read_image
from astrolearn.sources.optical.patches import SIDE, PatchDataset, StarPatches, draw_targets

ALL = np.ones((20, 24), bool)


def test_targets_of_a_star():
    heat, match, dx, dy, counts, weight = draw_targets(ALL, np.array([10.3]), np.array([5.8]), np.array([True]), 1.0)
    assert np.unravel_index(np.argmax(heat), heat.shape) == (6, 10)
    assert heat[6, 10] == pytest.approx(np.exp(-0.5 * (0.3**2 + 0.2**2) / 0.49))
    assert match.sum() == 3 and match[6, 10] == match[5, 10] == match[6, 11] == 1
    assert (dx[6, 10], dy[6, 10]) == (pytest.approx(0.3), pytest.approx(-0.2))
    assert counts[6, 11] == 1 and counts[6, 13] == 0
    assert np.all(weight == 1)


def test_the_nearest_star_has_the_last_word():
    x, y = np.array([8.0, 10.0]), np.array([8.0, 8.0])
    heat, _, dx, *_ = draw_targets(ALL, x, y, np.array([True, True]), 1.0)
    assert heat[8, 8] == heat[8, 10] == 1 and heat[8, 9] < 0.5
    assert dx[8, 8] == dx[8, 10] == 0 and abs(dx[8, 9]) == 1


def test_near_faint_stars_nothing_counts_unless_a_bright_one_is_there():
    x, y = np.array([5.0, 15.0, 16.0]), np.array([5.0, 15.0, 15.0])
    target = draw_targets(ALL, x, y, np.array([False, True, False]), 1.0)
    assert target[5, 5, 5] == 0 and target[5, 5, 8] == 1
    assert target[5, 15, 15] == target[5, 15, 16] == 1 and target[0, 15, 15] == 1
    assert np.all(target[0, 5, 3:8] == 0)


def test_what_is_not_valid_does_not_count():
    valid = ALL.copy()
    valid[:, :10] = False
    target = draw_targets(valid, np.array([9.0, 18.0]), np.array([9.0, 9.0]), np.array([True, True]), 1.0)
    assert np.all(target[:, :, :10] == 0) and target[0, 9, 18] == 1
    assert np.all(draw_targets(ALL, np.zeros(0), np.zeros(0), np.zeros(0, bool), 1.0)[:5] == 0)


def test_patches_cover_the_image():
    """Every star is in exactly one patch, at its place; beyond the image nothing counts."""
    (image,) = StarFieldSimulator((150, 300), n_stars=40, significance=(10, 500)).sample(random_state=2)
    truth = image.meta["sources"]
    x, y = np.asarray(truth["x_centroid"]), np.asarray(truth["y_centroid"])
    seen = read_image(image)
    seen.valid[:, :20] = False
    part = StarPatches(seen, x, y, np.ones(40, bool), 1.0)
    assert len(part) == 6
    data = PatchDataset([part, part])
    assert len(data) == 12
    whole = np.zeros((2 * SIDE, 3 * SIDE))
    channels = np.zeros((2 * SIDE, 3 * SIDE))
    for index, (row, column) in enumerate(part.corners):
        inputs, target = data[index + 6]
        assert inputs["image"].shape == (4, SIDE, SIDE) and target.shape == (6, SIDE, SIDE)
        assert inputs["image"].dtype == target.dtype == np.float32
        whole[row : row + SIDE, column : column + SIDE] = target[0] * (target[0] > 0.75)
        channels[row : row + SIDE, column : column + SIDE] = inputs["image"][0]
        np.testing.assert_array_equal(target[5] == 0, inputs["image"][3] == 0)
    hot_row, hot_column = np.nonzero(whole)
    distance = np.hypot(hot_column[:, None] - x, hot_row[:, None] - y).min(axis=1)
    assert len(hot_row) > 25 and distance.max() < 0.6
    np.testing.assert_allclose(channels[:150, :300], seen.channels()[0], rtol=2e-3, atol=2e-3)
    assert np.all(channels[150:] == 0)
