"""Networks and losses: against densities of scipy, the definition of the pinball loss, and known optima."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from astrolearn.counts.networks import (
    EarthMoverLoss,
    EarthMoverNetwork,
    HistogramNetwork,
    NormalLoss,
    Regis2022Network,
    n_normal,
    read_normal,
)

N_BINS = 5
MEAN, SCALE, LOG_FLUX = np.linspace(14, 6, N_BINS), np.full(N_BINS, 0.4), np.linspace(-6, -2, N_BINS)


def outputs(n, seed=0):
    return torch.randn(n, n_normal(N_BINS), generator=torch.Generator().manual_seed(seed))


def test_normal_loss_is_that_of_the_distribution_that_is_read():
    output = outputs(7)
    target = torch.randn(7, N_BINS, generator=torch.Generator().manual_seed(1))
    mean, covariance = read_normal(output.numpy(), N_BINS)
    logs = [multivariate_normal(m, c).logpdf(t) for m, c, t in zip(mean, covariance, target.numpy(), strict=True)]
    expected = -np.mean(logs) - N_BINS / 2 * np.log(2 * np.pi)
    assert NormalLoss()(output, target).item() == pytest.approx(expected, rel=1e-4)


def test_normal_begins_as_the_prior():
    network = HistogramNetwork(3, 2, N_BINS, n_normal(N_BINS))
    output = network(torch.randn(4, 3), torch.randn(4, 2)).detach().numpy()
    covariance = read_normal(output, N_BINS)[1]
    np.testing.assert_allclose(covariance, np.tile(np.eye(N_BINS), (4, 1, 1)), atol=1e-6)


def test_widths_are_bounded_and_covariances_positive():
    output = 100 * outputs(50).numpy()
    output[:, 2 * N_BINS :] /= 100
    _, covariance = read_normal(output, N_BINS)
    assert np.isfinite(covariance).all()
    assert (np.linalg.eigvalsh(covariance) > 0).all()


def test_network_learns_mean_and_correlated_errors():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((4000, 2))
    shared = 0.3 * rng.standard_normal((4000, 1))
    seen = truth + shared * [1, -1] + 0.1 * rng.standard_normal((4000, 2))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = HistogramNetwork(2, 1, 2, n_normal(2), width=32)
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    x, y = (torch.tensor(part, dtype=torch.float32) for part in (seen, truth))
    for _ in range(400):
        loss = NormalLoss()(network(x, torch.zeros(len(x), 1)), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        mean, covariance = read_normal(network(x[:500], torch.zeros(500, 1)).numpy(), 2)
    # the posterior of a Gaussian truth with Gaussian errors
    error = 0.09 * np.array([[1, -1], [-1, 1]]) + 0.01 * np.eye(2)
    posterior = np.linalg.inv(np.eye(2) + np.linalg.inv(error))
    np.testing.assert_allclose(covariance.mean(axis=0), posterior, atol=0.006)
    np.testing.assert_allclose(mean, seen[:500] @ (posterior @ np.linalg.inv(error)).T, atol=0.1)


def test_earth_mover_loss_by_its_definition():
    loss = EarthMoverLoss(MEAN, SCALE, LOG_FLUX)
    network = EarthMoverNetwork(3, 2, N_BINS)
    rng = np.random.default_rng(0)
    target = torch.tensor(rng.standard_normal((6, N_BINS)), dtype=torch.float32)
    output = network.train()(torch.randn(6, 3), torch.randn(6, 2)) + torch.tensor([0.3] * (N_BINS + 1) + [0])
    tau = output[:, -1].detach().numpy().astype(float)
    assert len(np.unique(tau)) == 6
    assert ((tau > 0) & (tau < 1)).all()
    n = 10 ** loss.log_n(output).detach().numpy().astype(float)
    true = 10 ** (target.numpy() * SCALE + MEAN)
    rows = []
    for t, values, wanted in zip(tau, n * 10 ** (2 * LOG_FLUX), true * 10 ** (2 * LOG_FLUX), strict=True):
        off = np.cumsum(wanted) / wanted.sum() - np.cumsum(values) / values.sum()
        off = np.append(off, np.log10(wanted.sum()) - np.log10(values.sum()))
        rows.append(np.where(off > 0, t * off, (t - 1) * off).mean())
    assert loss(output, target).item() == pytest.approx(np.mean(rows), rel=1e-4)
    assert (network.eval()(torch.randn(2, 3), torch.randn(2, 2))[:, -1] == 0.5).all()


def test_earth_mover_loss_vanishes_for_the_truth():
    loss = EarthMoverLoss(MEAN, SCALE, LOG_FLUX)
    usual = 10 ** (MEAN + 2 * LOG_FLUX)
    inverse = np.log(np.expm1(np.ones(N_BINS)))  # of the softplus
    output = torch.tensor([[*inverse, 0.0, 0.3]], dtype=torch.float32)
    assert loss(output, torch.zeros(1, N_BINS)).item() == pytest.approx(0, abs=1e-6)
    share, log_total = loss.brightness(output)
    np.testing.assert_allclose(share.numpy()[0], usual / usual.sum(), rtol=1e-4)
    assert log_total.item() == pytest.approx(np.log10(usual.sum()), abs=1e-5)


@pytest.mark.parametrize("shape", [(128, 128), (24, 40), (5, 5)])
def test_published_network_takes_cutouts_of_its_shape(shape):
    network = Regis2022Network(12, shape)
    assert network(torch.zeros(2, 1, *shape)).shape == (2, 12)


def test_published_network_has_the_stated_size():
    n = sum(p.numel() for p in Regis2022Network(12, (128, 128)).parameters())
    assert round(n, -4) == 510_000
