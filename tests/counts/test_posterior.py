"""Widths that hold what they say, and what they say about the prior."""

import numpy as np
import pytest
from scipy.stats import norm

from astrolearn.counts.posterior import (
    ONE_SIGMA,
    combine_widths,
    conformal_widths,
    information,
    quantiles,
    spread_of_residuals,
)


def test_conformal_widths_cover():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(400):
        true_width = np.array([0.5, 1.0, 3.0])
        widths = conformal_widths(true_width * rng.standard_normal((30, 3)), np.ones((30, 3)))
        held.append(np.abs(true_width * rng.standard_normal((100, 3))) < widths)
    # at least the stated share, and one part in 31 more at most
    coverage = np.concatenate(held).mean(axis=0)
    assert (coverage > ONE_SIGMA - 0.01).all()
    assert (coverage < ONE_SIGMA + 1 / 31 + 0.01).all()


def test_few_real_skies_say_little_and_many_everything():
    real, expected = np.array([2.0, 1.0]), np.array([1.0, 1.1])
    np.testing.assert_allclose(combine_widths(real, 10**6, expected), real, rtol=1e-3)
    np.testing.assert_allclose(combine_widths(real, 1, expected), expected, rtol=0.04)
    assert 1.2 < combine_widths(real, 20, expected)[0] < 1.6


def test_the_error_of_a_width_is_as_stated():
    rng = np.random.default_rng(3)
    widths = conformal_widths(rng.standard_normal((100, 5000)), np.ones((100, 5000)))
    assert np.log(widths).std() == pytest.approx(0.96 / np.sqrt(100), rel=0.05)


def test_one_held_out_sky_gives_a_width():
    np.testing.assert_allclose(conformal_widths(np.array([[0.2, 0.0]]), np.array([[0.1, 0.1]])), [2, 1e-3])


def test_spread_tells_common_from_own_errors():
    rng = np.random.default_rng(1)
    common = rng.multivariate_normal([0, 0], [[0.09, 0.05], [0.05, 0.16]], 600)
    own = np.array([[0.25, -0.1], [-0.1, 0.25]])
    residuals = np.repeat(common, 8, axis=0) + rng.multivariate_normal([0, 0], own, 4800)
    spread = spread_of_residuals(residuals, np.split(np.arange(4800), 600))
    np.testing.assert_allclose(spread[0], [[0.09, 0.05], [0.05, 0.16]], atol=0.02)
    np.testing.assert_allclose(spread[1], own, atol=0.015)


def test_spread_of_few_skies_is_a_covariance():
    rng = np.random.default_rng(2)
    spread = spread_of_residuals(rng.standard_normal((3, 12)), [np.array([i]) for i in range(3)])
    assert (np.linalg.eigvalsh(spread[0]) > 0).all()
    assert not spread[1].any()


def test_quantiles_are_those_of_a_log_normal():
    mean, sigma = np.array([[12.0, 8.0]]), np.array([[0.4, 0.01]])
    q = (0.1, 0.5, 0.9)
    values = quantiles(mean, sigma, q)
    assert values.shape == (1, 2, 3)
    np.testing.assert_allclose(norm(mean[..., None], sigma[..., None]).cdf(np.log10(values))[0], [q, q], atol=1e-9)
    np.testing.assert_array_equal(quantiles(mean, sigma, 0.9), values[..., 2])


@pytest.mark.parametrize("q", [0, 1, -0.1, [0.5, 2], [[0.5]], np.nan])
def test_probabilities_are_checked(q):
    with pytest.raises(ValueError, match="between 0 and 1"):
        quantiles(np.zeros((1, 1)), np.ones((1, 1)), q)


def test_information_is_between_nothing_and_everything():
    np.testing.assert_allclose(information(np.array([0.4, 0.5, 0.2, 0.004]), 0.4), [0, 0, 0.75, 0.9999])
