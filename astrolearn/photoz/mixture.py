"""
The probability of a redshift: mixtures of normal distributions inside bounds.

A network that gives a point is silent about the two peaks of a galaxy that may be near or far; a free density may put
its tail below zero or, far from the training data, anywhere. So the networks here give weights, means and widths of
normal distributions, all cut at bounds that come from the training targets. Whatever a network says, the answer is a
density inside the bounds; quantiles, intervals and draws follow from it without a grid.

Networks see targets in units of their spread (``(y - centre) / scale``); `Mixture` speaks in those of the targets.
"""

import math

import numpy as np
import torch
from scipy.special import log_softmax, ndtr, ndtri
from torch import nn
from torch.nn.functional import softplus

from astrolearn.photoz.splits import ALL

__all__ = ["MIN_SIGMA", "Mixture", "MixtureLoss"]

MIN_SIGMA = 0.01  # of the targets' spread: a narrower peak is a galaxy learned by heart
_FLAT = 1e3  # times the range between the bounds
_LOWEST_MASS = 1e-6  # of a component between the bounds, in the loss


class MixtureLoss(nn.Module):
    """
    Mean negative logarithm of the density at the targets, summed over the networks of an ensemble.

    Parameters
    ----------
    bounds : tuple of float
        Of the targets, as the networks see them.
    held_by : sequence of int, (n_networks,)
        The fold that each network holds out.
    """

    def __init__(self, bounds, held_by):
        super().__init__()
        self.low, self.high = bounds
        self.register_buffer("code", torch.as_tensor(held_by) + 1)

    def forward(self, output, target):
        """
        Loss of output (n, n_networks, 3 * n_components) for targets (n, 2), with a code in the second column.

        The code says which networks count, see `astrolearn.photoz.splits`.
        """
        return self.of_rows(output, target).mean()

    def of_rows(self, output, target):
        """Loss (n,) of each row."""
        return -(self._log_density(output, target) * self.counts(target[:, 1])).sum(1)

    def of_ensemble(self, output, target):
        """
        Negative logarithm (n,) of the mean density of the networks that count.

        There may be several sets of networks, one after the other: output (n, n_sets * n_networks, 3 * n_components).
        """
        counts = self.counts(target[:, 1])
        counts = counts.repeat(1, output.shape[1] // counts.shape[1])
        log_density = self._log_density(output, target).masked_fill(~counts, -torch.inf)
        return torch.log(counts.sum(1)) - torch.logsumexp(log_density, 1)

    def _log_density(self, output, target):
        """That of each network, (n, n_networks)."""
        target = target[:, 0]
        logit, mean, raw = output.unflatten(-1, (3, -1)).unbind(-2)
        sigma = softplus(raw) + MIN_SIGMA
        z = (target[:, None, None] - mean) / sigma
        inside = torch.special.ndtr((self.high - mean) / sigma) - torch.special.ndtr((self.low - mean) / sigma)
        log_normal = -0.5 * z**2 - torch.log(sigma) - 0.5 * math.log(2 * math.pi)
        log_density = torch.log_softmax(logit, -1) + log_normal - torch.log(inside.clamp(min=_LOWEST_MASS))
        return torch.logsumexp(log_density, -1)

    def counts(self, code):
        """Which networks (n, n_networks) count for rows with these codes (n,)."""
        code = code[:, None]
        return (code == ALL) | ((code > 0) & (code != self.code)) | (code == -self.code)


class Mixture:
    """
    One density per object: a mixture of normal distributions, each cut at the bounds and normalised within.

    Parameters
    ----------
    weight, mean, sigma : `numpy.ndarray`, float64 (n, n_components)
        Of the normal distributions; the weights of an object add up to one.
    bounds : tuple of float
        Lowest and highest possible value.
    """

    def __init__(self, weight, mean, sigma, bounds):
        self.bounds = float(bounds[0]), float(bounds[1])
        self.weight = weight
        # wider ones are flat between the bounds, and differences of their ends drown in rounding
        self.sigma = sigma = np.minimum(sigma, _FLAT * (self.bounds[1] - self.bounds[0]))
        # so far outside a normal distribution between the bounds is their edge: numbers would say 0 / 0
        self.mean = np.clip(mean, self.bounds[0] - 5 * sigma, self.bounds[1] + 5 * sigma)
        self._below = ndtr((self.bounds[0] - self.mean) / sigma)
        self._mass = ndtr((self.bounds[1] - self.mean) / sigma) - self._below

    @classmethod
    def from_network(cls, output, centre, scale, bounds):
        """
        The density that an ensemble of networks gives: the mean of theirs.

        Parameters
        ----------
        output : `numpy.ndarray` (n, n_networks, 3 * n_components)
        centre, scale : float
            Of the targets.
        bounds : tuple of float
            In the unit of the targets.
        """
        output = np.asarray(output, dtype=np.float64)
        n, n_networks, _ = output.shape
        logit, mean, raw = np.moveaxis(output.reshape(n, n_networks, 3, -1), 2, 0)
        weight = np.exp(log_softmax(logit, axis=-1)) / n_networks
        sigma = np.logaddexp(0, raw) + MIN_SIGMA
        return cls(*(x.reshape(n, -1) for x in (weight, centre + scale * mean, scale * sigma)), bounds)

    def __len__(self):
        return len(self.weight)

    def pdf(self, grid):
        """Density (n, n_grid) at the same values for all objects."""
        grid = np.asarray(grid, dtype=float)
        out = np.zeros((len(self), len(grid)))
        for weight, mean, sigma, mass in zip(
            self.weight.T, self.mean.T, self.sigma.T, self._mass.T, strict=True
        ):  # one component at a time: memory for one density, not for all components'
            z = (grid - mean[:, None]) / sigma[:, None]
            out += (weight / (mass * sigma * math.sqrt(2 * math.pi)))[:, None] * np.exp(-0.5 * z**2)
        return np.where((grid < self.bounds[0]) | (grid > self.bounds[1]), 0.0, out)

    def cdf(self, y):
        """Probability (n,) below one value per object, (n,)."""
        y = np.clip(y, *self.bounds)[:, None]
        parts = (ndtr((y - self.mean) / self.sigma) - self._below) / self._mass
        return np.clip((self.weight * parts).sum(axis=1), 0.0, 1.0)

    def ppf(self, q):
        """
        Quantiles (n,).

        Parameters
        ----------
        q : float or array (n,)
            Probability below.
        """
        q = np.broadcast_to(np.asarray(q, dtype=float), len(self))
        low, high = (np.full(len(self), bound) for bound in self.bounds)
        for _ in range(40):  # halves the interval each time: to 1e-12 of the range
            middle = 0.5 * (low + high)
            below = self.cdf(middle) < q
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return 0.5 * (low + high)

    def mode(self):
        """Of the means of the components that at which the density is highest, (n,)."""
        candidates = np.clip(self.mean, *self.bounds)
        density = np.zeros_like(candidates)
        for weight, mean, sigma, mass in zip(self.weight.T, self.mean.T, self.sigma.T, self._mass.T, strict=True):
            z = (candidates - mean[:, None]) / sigma[:, None]
            density += (weight / (mass * sigma))[:, None] * np.exp(-0.5 * z**2)
        return np.take_along_axis(candidates, density.argmax(axis=1)[:, None], axis=1)[:, 0]

    def moments(self):
        """Mean and standard deviation, each (n,)."""
        low, high = ((bound - self.mean) / self.sigma for bound in self.bounds)
        density_low, density_high = (np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi) for z in (low, high))
        shift = (density_low - density_high) / self._mass
        first = self.mean + self.sigma * shift
        variance = self.sigma**2 * (1 + (low * density_low - high * density_high) / self._mass - shift**2)
        mean = (self.weight * first).sum(axis=1)
        second = (self.weight * (np.maximum(variance, 0) + (first - mean[:, None]) ** 2)).sum(axis=1)
        return mean, np.sqrt(second)

    def sample(self, n_samples, rng):
        """Draws (n, n_samples)."""
        cumulative = np.cumsum(self.weight, axis=1)
        choice = rng.uniform(0, cumulative[:, -1:], size=(len(self), n_samples))
        component = (choice[:, :, None] > cumulative[:, None, :-1]).sum(axis=2)
        mean, sigma, below, mass = (
            np.take_along_axis(x, component, axis=1) for x in (self.mean, self.sigma, self._below, self._mass)
        )
        draws = mean + sigma * ndtri(np.clip(below + mass * rng.uniform(size=component.shape), 1e-300, 1 - 1e-16))
        return np.clip(draws, *self.bounds)
