"""What form the density of a redshift has: mixtures of normal distributions beside probabilities of bins."""

import time

import numpy as np
import torch
from sklearn.model_selection import KFold
from torch import nn

from astrolearn import PhotoZRegressor
from astrolearn.photoz.mixture import MixtureLoss
from benchmarks.photoz.data import main_galaxies, simulated_lsst
from benchmarks.photoz.scores import CORES, header, measure, predicted, row
from benchmarks.report import Report

__all__ = ["Binned", "BinnedRegressor", "choices"]

_FOLDS = 3


def choices(context):
    """Forms of the density, by cross-validation within training galaxies."""
    report = Report(
        "photoz-choices",
        "The form of the density",
        f"{_FOLDS}-fold cross-validation within the training galaxies of two other pages; their test galaxies, and the "
        "shipped weights, take no part.",
        of_weights=False,
    )
    methods = {f"mixture of {k}": (PhotoZRegressor, k) for k in (1, 3, 5)}
    methods |= {f"{3 * k} bins": (BinnedRegressor, k) for k in (20, 60)}
    for title, galaxies, threshold in (
        ("SDSS Main Galaxy Sample", main_galaxies(context.data), 0.05),
        ("Simulated LSST galaxies", simulated_lsst(context.data), 0.15),
    ):
        table, redshift = galaxies[:2]
        rows = []
        for name, (kind, n_components) in methods.items():
            start = time.perf_counter()
            said = _cross_validated(lambda: kind(random_state=0, n_components=n_components), table, redshift)  # noqa: B023
            seconds = (time.perf_counter() - start) / _FOLDS
            numbers = measure(redshift.value, *said, threshold)
            report.numbers[f"{title}: {name}"] = numbers | {"seconds": seconds}
            rows.append(row(name, numbers, seconds))
        report.table(f"{title}: {len(table)} galaxies, each held out once", header(threshold), rows)
    report.text(
        "dz = error / (1 + z); points are medians of the densities. Errors are those of 200 resamplings of the "
        "galaxies. CRPS is in units of redshift, KS the largest distance between the distribution of the PIT and the "
        "uniform one; intervals are the conformal ones. All are ensembles of ten networks of the same size, trained "
        "alike; bins are equally wide in redshift between the same bounds, and learn by cross-entropy. A mixture of "
        f"five is the default. Seconds are for training and prediction, per fold, on {CORES}."
    )
    return report


def _cross_validated(make, table, redshift):
    """What is said of all galaxies, of each by a regressor that has not seen it, as `measure` takes it."""
    true = redshift.value
    points, inside, pdf, grid = np.empty(len(true)), np.empty(len(true), bool), None, None
    for train, held in KFold(_FOLDS, shuffle=True, random_state=0).split(true):
        regressor = make().fit(table[train], redshift[train])
        if grid is None:  # the regressors' own grids differ by their bounds
            grid = np.linspace(0, 1.05 * true.max(), 1001)
            pdf = np.empty((len(true), len(grid)))
        points[held], _, inside[held] = predicted(regressor, table[held], true[held])[1]
        pdf[held] = np.asarray(regressor.predict_pdf(table[held], grid)["pdf"])
    return points, (pdf, grid), inside


class BinnedRegressor(PhotoZRegressor):
    """A `PhotoZRegressor` on tables whose networks give probabilities of ``3 * n_components`` bins."""

    def _net_options(self):
        return super()._net_options() | {"criterion": _BinLoss}

    def _density(self, outputs):
        return Binned(torch.softmax(torch.tensor(outputs), -1).mean(1).numpy(), self.bounds_)


class _BinLoss(MixtureLoss):
    """Cross-entropy, summed over those networks that learn from a galaxy."""

    def of_rows(self, output, target):
        value, code = target.unbind(1)
        n_networks, n_bins = output.shape[1:]
        which = ((value - self.low) / (self.high - self.low) * n_bins).long().clamp(0, n_bins - 1)
        loss = nn.functional.cross_entropy(
            output.flatten(0, 1), which.repeat_interleave(n_networks), reduction="none"
        )
        return (loss.reshape(-1, n_networks) * self.counts(code)).sum(1)


class Binned:
    """
    Densities that are even within bins; see `astrolearn.photoz.mixture.Mixture` for the methods.

    Parameters
    ----------
    probability : `numpy.ndarray` (n, n_bins)
    bounds : tuple of float
    """

    def __init__(self, probability, bounds):
        self.bounds = bounds
        probability = probability.astype(float)
        self.probability = probability / probability.sum(axis=1, keepdims=True)
        self.edges = np.linspace(*bounds, probability.shape[1] + 1)
        self._cumulative = np.pad(np.cumsum(self.probability, axis=1), ((0, 0), (1, 0)))

    def pdf(self, grid):
        """Density (n, n_grid)."""
        which = np.searchsorted(self.edges, grid, side="right") - 1
        inside = (which >= 0) & (which < self.probability.shape[1])
        return np.where(inside, self.probability[:, which * inside], 0) / np.diff(self.edges)[0]

    def cdf(self, y):
        """Probability (n,) below one value per object."""
        return np.array([np.interp(one, self.edges, row) for one, row in zip(y, self._cumulative, strict=True)])

    def ppf(self, q):
        """Quantiles (n,)."""
        return np.array([np.interp(q, row, self.edges) for row in self._cumulative])

    def mode(self):
        """Middle of the most probable bin, (n,)."""
        return (0.5 * (self.edges[1:] + self.edges[:-1]))[self.probability.argmax(axis=1)]

    def moments(self):
        """Mean and standard deviation, each (n,)."""
        middle, width = 0.5 * (self.edges[1:] + self.edges[:-1]), np.diff(self.edges)[0]
        mean = self.probability @ middle
        return mean, np.sqrt(self.probability @ middle**2 - mean**2 + width**2 / 12)
