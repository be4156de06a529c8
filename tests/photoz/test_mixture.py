"""Mixtures against integrals on a fine grid, and against scipy's truncated normal distribution."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import truncnorm

from astrolearn.photoz.mixture import Mixture, MixtureLoss

BOUNDS = (0.0, 0.3)


def mixture(seed=0, n=6, n_networks=5, n_components=3, spread=1.0):
    output = spread * np.random.default_rng(seed).normal(size=(n, n_networks, 3 * n_components))
    return Mixture.from_network(output, 0.1, 0.05, BOUNDS)


def test_one_component_is_scipys_truncated_normal():
    one = Mixture(np.ones((1, 1)), np.array([[0.05]]), np.array([[0.1]]), BOUNDS)
    scipys = truncnorm((0 - 0.05) / 0.1, (0.3 - 0.05) / 0.1, 0.05, 0.1)
    z = np.linspace(0.01, 0.29, 7)
    np.testing.assert_allclose(one.pdf(z)[0], scipys.pdf(z), rtol=1e-10)
    np.testing.assert_allclose([one.cdf(np.array([x]))[0] for x in z], scipys.cdf(z), rtol=1e-10)
    np.testing.assert_allclose([one.ppf(q)[0] for q in (0.1, 0.5, 0.9)], scipys.ppf([0.1, 0.5, 0.9]), rtol=1e-9)
    mean, std = one.moments()
    np.testing.assert_allclose([mean[0], std[0]], [scipys.mean(), scipys.std()], rtol=1e-9)


def test_moments_and_draws_agree_with_the_density():
    one = mixture()
    grid = np.linspace(*BOUNDS, 20001)
    pdf = one.pdf(grid)
    mean, std = one.moments()
    np.testing.assert_allclose(np.trapezoid(pdf, grid), 1, atol=1e-6)
    np.testing.assert_allclose(mean, np.trapezoid(pdf * grid, grid), atol=1e-7)
    np.testing.assert_allclose(std**2, np.trapezoid(pdf * grid**2, grid) - mean**2, atol=1e-8)
    draws = one.sample(20000, np.random.default_rng(1))
    assert draws.min() >= BOUNDS[0]
    assert draws.max() <= BOUNDS[1]
    np.testing.assert_allclose(draws.mean(axis=1), mean, atol=5 * std.max() / np.sqrt(20000))
    np.testing.assert_allclose((draws < one.ppf(0.25)[:, None]).mean(axis=1), 0.25, atol=5 * np.sqrt(0.19 / 20000))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.1, 1e6), st.floats(0, 1))
@example(63001, 999999.0, 0.0)  # wide distributions, in whose mean differences of large numbers drowned
def test_whatever_a_network_says_the_answer_is_within_the_bounds(seed, spread, q):
    one = mixture(seed, spread=spread)
    value = one.ppf(q)
    mean, std = one.moments()
    for answer in (value, mean, one.sample(3, np.random.default_rng(0))):
        assert (answer >= BOUNDS[0]).all()
        assert (answer <= BOUNDS[1] + 1e-12).all()
    assert (std >= 0).all()
    assert np.isfinite(one.pdf(np.linspace(*BOUNDS, 11))).all()
    np.testing.assert_allclose(one.cdf(np.full(len(one), BOUNDS[1])), 1, atol=1e-9)


def test_loss_is_minus_the_logarithm_of_the_density():
    rng = np.random.default_rng(2)
    output = rng.normal(size=(4, 3, 9))
    bounds = (-2.0, 4.0)
    target = np.array([-1.0, 0.0, 1.5, 3.9])
    every = torch.tensor(np.column_stack([target, np.zeros(4)]))
    loss = MixtureLoss(bounds, [0, 1, 0])(torch.tensor(output), every)
    expected = 0.0
    for k in range(3):
        one = Mixture.from_network(output[:, k : k + 1], 0.0, 1.0, bounds)
        expected -= np.log(np.diag(one.pdf(target))).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-10)


def test_loss_of_the_ensemble_is_that_of_the_mean_of_the_networks_that_count():
    output = np.random.default_rng(4).normal(size=(3, 6, 9))  # two views of three networks
    bounds = (-2.0, 4.0)
    target = np.array([-1.0, 0.5, 3.0])
    code = np.array([0, -1, -2])  # all; those that hold out fold 0, the first and the third; fold 1, the second
    members = [[0, 1, 2, 3, 4, 5], [0, 2, 3, 5], [1, 4]]
    loss = MixtureLoss(bounds, [0, 1, 0])
    found = loss.of_ensemble(torch.tensor(output), torch.tensor(np.column_stack([target, code])))
    for row, (y, networks) in enumerate(zip(target, members, strict=True)):
        density = Mixture.from_network(output[row : row + 1, networks], 0.0, 1.0, bounds).pdf(np.array([y]))
        assert found[row].item() == pytest.approx(-np.log(density.item()), rel=1e-6)


def test_density_of_an_ensemble_is_the_mean_of_its_networks():
    output = np.random.default_rng(3).normal(size=(2, 4, 6))
    grid = np.linspace(*BOUNDS, 50)
    members = [Mixture.from_network(output[:, k : k + 1], 0.1, 0.05, BOUNDS).pdf(grid) for k in range(4)]
    np.testing.assert_allclose(Mixture.from_network(output, 0.1, 0.05, BOUNDS).pdf(grid), np.mean(members, axis=0))
