"""Morpheus' inference: every pixel is classified by all windows that have it among their inner pixels."""

import numpy as np
import pytest
from scipy.special import softmax

from astrolearn.morphology.bands import read_bands
from astrolearn.morphology.morpheus import standardised
from astrolearn.morphology.windows import classify_windows, count_windows

BANDS = ("H", "V")


def network(windows):
    """Three logits per pixel that depend on the pixel and on its window."""
    level = windows.max((1, 2, 3))[:, None, None]
    return np.stack([windows[:, 0], windows[:, 1] * level, 0.3 * windows[:, 0] + 0.4], axis=1)


def run(batches):
    return (network(batch) for batch in batches)


def by_hand(image, stride):
    """The published loops, one window at a time."""
    n_classes, (height, width) = 3, image.shape[1:]
    n, votes, mean = np.zeros((height, width), int), np.zeros((3, height, width)), np.zeros((3, height, width))
    for y in range(0, height - 39, stride):
        for x in range(0, width - 39, stride):
            window = image[None, :, y : y + 40, x : x + 40]
            probability = softmax(network(standardised(window)), axis=1)[0, :, 5:35, 5:35]
            rank = probability.argsort(axis=0).argsort(axis=0)
            part = (slice(y + 5, y + 35), slice(x + 5, x + 35))
            n[part] += 1
            votes[:, *part] += rank == n_classes - 1
            mean[:, *part] += probability
    return n, votes / np.maximum(n, 1), mean / np.maximum(n, 1)


def classify(image, stride, planes=("votes",), batch_size=7, **options):
    field = read_bands(dict(zip(BANDS, image, strict=True)), BANDS)
    return classify_windows(field, run, 3, stride=stride, batch_size=batch_size, planes=planes, **options)


@pytest.mark.parametrize("stride", [1, 3])
def test_as_published(stride):
    image = np.random.default_rng(1).normal(size=(2, 46, 52)).astype(np.float32)
    sums, n = classify(image, stride, ("votes", "probability"))
    expected_n, votes, mean = by_hand(image, stride)
    np.testing.assert_array_equal(n, expected_n)
    covered = n > 0
    np.testing.assert_allclose(sums[:3, covered], votes[:, covered], atol=1e-6)
    np.testing.assert_allclose(sums[3:, covered], mean[:, covered], atol=1e-6)
    assert np.isnan(sums[:, ~covered]).all()
    assert not covered[:5].any() and not covered[:, :5].any()
    np.testing.assert_allclose(sums[:3, covered].sum(0), 1, atol=1e-6)


def test_most_votes_and_the_outer_pixels():
    image = np.random.default_rng(2).normal(size=(2, 75, 75)).astype(np.float32)
    _, n = classify(image, 1)
    assert n.max() == 900
    assert n[37, 37] == 900
    assert (n > 0).sum() == 65**2


def test_the_last_windows_end_with_the_image():
    image = np.random.default_rng(3).normal(size=(2, 61, 40)).astype(np.float32)
    _, n = classify(image, 8)
    assert (n[5:-5, 5:-5] > 0).all()
    assert count_windows((61, 40), 8) == 4


def test_what_is_not_observed_has_no_class_and_no_influence():
    image = np.random.default_rng(4).normal(size=(2, 60, 60)).astype(np.float32)
    image[0, 20:23, 30:50] = np.nan
    image[1, 40, 10] = np.nan
    found, n = classify(image, 4)
    missing = np.isnan(image).any(0)
    assert (n[missing] == 0).all()
    assert np.isnan(found[:, missing]).all()
    assert np.isfinite(found[:, 5:-5, 5:-5][:, ~missing[5:-5, 5:-5]]).all()
    image[1, 20:23, 30:50] = 1e6  # the other band of a pixel that is not known in all
    np.testing.assert_array_equal(classify(image, 4)[0], found)


def test_batches_and_the_place_of_the_result_do_not_matter(tmp_path):
    image = np.random.default_rng(5).normal(size=(2, 130, 45)).astype(np.float32)
    expected, _ = classify(image, 2, batch_size=64)
    out = np.memmap(tmp_path / "votes.dat", np.float32, "w+", shape=(3, 130, 45))
    found, _ = classify(image, 2, batch_size=5, out=out)
    assert found is out
    np.testing.assert_array_equal(found, expected)


def test_too_small_images():
    with pytest.raises(ValueError, match="39 x 60 pixels, but Morpheus needs 40 x 40"):
        classify(np.ones((2, 39, 60), np.float32), 1)
