"""
Training data without end: expected histograms, made like those of real skies.

The noise of the histograms is new in every epoch, so a network has nothing to learn by heart. What P(D) does not know
of real skies is learnt from a few hundred simulated images beforehand: how their features differ from those expected
for the same counts, as a linear function of these, and how much more they scatter.
"""

import numpy as np
import torch
from torch.utils.data import Dataset, default_collate

from astrolearn.counts.expected import evaluate
from astrolearn.counts.features import moved

__all__ = [
    "SMALLEST_AREA", "Correction", "FreshSkies", "SkySampler", "collate", "learn_correction", "sky_inputs",
]  # fmt: skip

SMALLEST_AREA = 1 / 400
"""Of the full area: a cutout of 128 pixels of an image of 2560."""

_RIDGE = 4.0  # variance of the noise over that which coefficients are expected to have
_DRAWS = 16  # expected histograms of each real sky
_CLUMPING = np.arange(0, 1.3, 0.15)  # that are tried: clustering within a beam, relative to theory
_WHOLE = 0.5  # of the skies have the full area
_NOISE_ERROR = 0.02  # relative, of the noise that is stated


class Correction:
    """
    How features of real skies differ from expected ones: a mean, linear in the counts, and a scatter.

    Parameters
    ----------
    mean, scale : `numpy.ndarray`, (n_nodes,)
        Of log10 n at the nodes.
    coefficients : `numpy.ndarray`, (n_nodes + 1, n_features)
    scatter : `numpy.ndarray`, (n_features, n_features)
        A factor L of the covariance L L' that real skies have beyond the expected noise.
    optimism : `numpy.ndarray`, (n, n_features), optional
        How much less a correction without the sky itself would take off each of the skies that it was found from.
    """

    def __init__(self, mean, scale, coefficients, scatter, optimism=None):
        self.mean, self.scale, self.coefficients = mean, scale, coefficients
        self.scatter, self.optimism = scatter, optimism

    @classmethod
    def fit(cls, log_n, differences, noise, mean, scale):
        """
        Find it from skies with known counts.

        Parameters
        ----------
        log_n : `numpy.ndarray`, (n, n_nodes)
        differences : `numpy.ndarray`, (n, n_features)
        noise : `numpy.ndarray`, (n_features, n_features)
            Covariance of the differences that is expected.
        mean, scale : `numpy.ndarray`, (n_nodes,)

        Returns
        -------
        correction : Correction
            Its mean is nothing, where others of the skies are not described better by it.
        """
        correction = cls(mean, scale, None, None)
        design = correction._design(log_n)
        normal = design.T @ design + _RIDGE * np.diag(np.arange(design.shape[1]) > 0)
        coefficients = np.linalg.solve(normal, design.T @ differences)
        leverage = np.einsum("ij,ji->i", design, np.linalg.solve(normal, design.T))
        # what a fit without the sky leaves of it
        left = (differences - design @ coefficients) / (1 - np.minimum(leverage, 0.99))[:, None]
        better = (left**2).sum(axis=0) < (differences**2).sum(axis=0)
        correction.coefficients = coefficients * better
        correction.optimism = (left - (differences - design @ coefficients)) * better
        left = np.where(better, left, differences)
        root = np.linalg.cholesky(noise)
        white = np.linalg.solve(root, left.T)
        size, axes = np.linalg.eigh(white @ white.T / len(left))
        # so large are eigenvalues of noise of this variance by chance (Marchenko & Pastur 1967)
        chance = (1 + np.sqrt(len(size) / len(left))) ** 2
        correction.scatter = root @ axes * np.sqrt(np.where(size > chance, size - 1, 0.0))
        return correction

    def _design(self, log_n):
        return np.column_stack([np.ones(len(log_n)), (log_n - self.mean) / self.scale])

    def __call__(self, log_n):
        """Mean differences for these counts, (n, n_features)."""
        return self._design(log_n) @ self.coefficients


class SkySampler:
    """
    Makes inputs and targets of a network from histograms of skies with known counts.

    Parameters
    ----------
    expected : ExpectedSkies
    features : HistogramFeatures
    correction : Correction or None
    log_flux : `numpy.ndarray`, (n_bins,)
        log10 of the flux densities at which counts are wanted.
    reference : tuple of float
        Pixels of a whole sky, and independent samples per pixel.
    noise_range : pair of float
        Relative to the noise of the instrument.
    """

    def __init__(self, expected, features, correction, log_flux, reference, noise_range):
        self.expected, self.features, self.correction = expected, features, correction
        self.log_flux, self.noise_range = log_flux, noise_range
        self.n_pixels, self.per_pixel = reference

    def draw(self, n, rng, *, share=None, noise=None):
        """
        Draw expected skies.

        Parameters
        ----------
        n : int
        rng : `numpy.random.Generator`
        share : float, optional
            Area, relative to the whole. Default: half of the skies are whole, the others log-uniform down to
            `SMALLEST_AREA`.
        noise : float, optional
            Relative to that of the instrument. Default: log-uniform in the range.

        Returns
        -------
        inputs : dict of `numpy.ndarray`, float32
            ``features`` (n, n_features) and ``sky`` (n, 2).
        log_n : `numpy.ndarray`, float64 (n, n_bins)
        """
        part = np.exp(rng.uniform(np.log(SMALLEST_AREA), 0, n))
        share = np.where(rng.random(n) < _WHOLE, 1.0, part) if share is None else np.full(n, share)
        drawn = np.exp(rng.uniform(*np.log(self.noise_range), n))
        noise = drawn if noise is None else np.full(n, noise)
        log_n, cumulative = self.expected.draw(n, share * self.n_pixels, rng, noise=noise)
        inputs = self.inputs(cumulative, share * self.n_pixels, rng, noise)
        if self.correction is not None:
            nodes, shift = self.expected.counts.log_flux, np.log10(noise)[:, None]
            added = self.correction(evaluate(nodes, log_n, nodes + shift) + shift)
            scatter = rng.standard_normal(added.shape) @ self.correction.scatter.T
            added += scatter / np.sqrt(share)[:, None]
            inputs["features"] += (added * self._shrunk(share)).astype(np.float32)
        return inputs, self.targets(log_n)

    def inputs(self, cumulative, n_pixels, rng, noise=1.0, added=0.0):
        """
        Inputs of skies whose noise is not stated exactly.

        Parameters
        ----------
        cumulative : `numpy.ndarray`, float64 (n, n_bins + 1)
        n_pixels : `numpy.ndarray`, (n,)
        rng : `numpy.random.Generator`
        noise : float or `numpy.ndarray`, (n,), optional
            True noise, relative to that of the instrument. Default: 1.
        added : float or `numpy.ndarray`, (n, n_features), optional
            What to add to the features.

        Returns
        -------
        inputs : dict of `numpy.ndarray`, float32
        """
        stated = 1 + _NOISE_ERROR * rng.standard_normal(len(cumulative))
        features = self.features.transform(moved(cumulative, 1 / stated), self.per_pixel * n_pixels) + added
        return {"features": features.astype(np.float32), "sky": sky_inputs(n_pixels / self.n_pixels, noise * stated)}

    def targets(self, log_n):
        """log10 n at the bins (n, n_bins) of counts at the nodes (n, n_nodes)."""
        return evaluate(self.expected.counts.log_flux, log_n, self.log_flux[None])

    def _shrunk(self, share):
        """Features of a part of the sky in units of those of the whole, for the same difference of histograms."""
        whole = self.features.scale(self.per_pixel * self.n_pixels)
        return whole / self.features.scale(self.per_pixel * self.n_pixels * share)


def sky_inputs(area, noise):
    """What a network is told beside the histogram: logarithms of area and noise over the trained ones, (n, 2)."""
    return np.column_stack([np.log10(np.clip(area, SMALLEST_AREA, 1)), 10 * np.log10(noise)]).astype(np.float32)


def learn_correction(sampler, log_n, cumulative, rng):
    """
    Learn how real skies differ from expected ones.

    How much clustering widens the histogram is found first, because it is not linear in the counts, and is set in
    ``sampler.expected``; what is left is the correction.

    Parameters
    ----------
    sampler : SkySampler
    log_n : `numpy.ndarray`, float64 (n, n_nodes)
    cumulative : `numpy.ndarray`, float64 (n, n_bins + 1)
        Of whole skies.
    rng : `numpy.random.Generator`

    Returns
    -------
    correction : Correction
    """
    family, theory, seed = sampler.expected.counts, sampler.expected.clumping, rng.integers(2**63)
    n_samples = sampler.per_pixel * sampler.n_pixels
    again = np.repeat(log_n, _DRAWS, axis=0)
    found = sampler.features.transform(cumulative, n_samples)
    best = None
    for factor in _CLUMPING if theory > 0 else (0.0,):
        sampler.expected.clumping = factor * theory
        _, expected = sampler.expected.draw(len(again), sampler.n_pixels, np.random.default_rng(seed), again)
        expected = sampler.features.transform(moved(expected), n_samples).reshape(len(log_n), _DRAWS, -1)
        middle = expected.mean(axis=1)
        differences = found - middle
        # in units of the noise
        size = ((differences * sampler.features.scale(n_samples)) ** 2).sum()
        if best is None or size < best[0]:
            around = (expected - middle[:, None]).reshape(len(again), -1)
            # of one histogram and of the mean of the drawn ones
            noise = around.T @ around / (len(log_n) * (_DRAWS - 1)) * (1 + 1 / _DRAWS)
            best = size, factor, differences, noise
    sampler.expected.clumping = best[1] * theory
    return Correction.fit(log_n, *best[2:], family.mean, np.maximum(family.sigma, 1e-3))


class FreshSkies(Dataset):
    """
    Rows for training that are drawn anew whenever all have been read.

    Parameters
    ----------
    draw : callable
        Gives inputs (a dict of arrays) and targets of so many skies.
    n : int
    """

    def __init__(self, draw, n):
        self.draw, self.n, self.n_read = draw, n, 0

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        inputs, targets = self.__getitems__([i])
        return {name: values[0] for name, values in inputs.items()}, targets[0]

    def __getitems__(self, rows):
        """A whole batch as arrays, for `collate`: row by row, reading would take longer than learning."""
        if self.n_read % self.n == 0:
            self.inputs, self.targets = self.draw(self.n)
        self.n_read += len(rows)
        return {name: values[rows] for name, values in self.inputs.items()}, self.targets[rows]


def collate(batch):
    """Tensors of a batch, be it a list of rows or whole already."""
    if isinstance(batch, list):
        return default_collate(batch)
    inputs, targets = batch
    return {name: torch.from_numpy(values) for name, values in inputs.items()}, torch.from_numpy(targets)
