"""What is measured of redshifts, with errors, and the rows of the tables that show it."""

import numpy as np
import torch
from scipy.stats import kstest

from astrolearn.photoz import metrics
from benchmarks.report import with_error

__all__ = ["CORES", "difference", "header", "measure", "note", "predicted", "row"]

CORES = {1: "one core", 2: "two cores"}.get(torch.get_num_threads(), f"{torch.get_num_threads()} cores")
_RESAMPLINGS = 200
_NOTE = (
    "dz = error / (1 + z); points are medians of the densities where there are any. Errors are those of "
    f"{_RESAMPLINGS} resamplings of the test galaxies. CRPS is in units of redshift. KS is the largest distance "
    "between the distribution of the PIT and the uniform one; of as many exact densities it would exceed {limit:.3f} "
    "once in twenty times. The interval of PhotoZRegressor is its conformal one, that of the others is between the "
    "quantiles 0.16 and 0.84 of their densities."
)


def header(threshold):
    """The columns of `row`."""
    return ["method", "sigma_MAD", "bias (mean)", f"|dz| > {threshold:g}", "R²", "CRPS", "KS of PIT",
            "in 68 % intervals", "seconds"]


def note(n):
    """The text below a table on so many galaxies."""
    return _NOTE.format(limit=1.358 / np.sqrt(n))


def measure(z, points, densities=None, inside=None, threshold=0.05):
    """
    The numbers of one method.

    Parameters
    ----------
    z, points : `numpy.ndarray` (n,)
        True and predicted redshifts.
    densities : tuple of `numpy.ndarray` (n, n_z) and (n_z,), or None
        Densities and their grid.
    inside : `numpy.ndarray` of bool, (n,), optional
        Whether z is in an interval of 68 %. Default: that between the quantiles of the densities.
    threshold : float, optional
        Of ``abs(dz)`` for an outlier.

    Returns
    -------
    numbers : dict of str to tuple
        Values and errors.
    """
    rng = np.random.default_rng(0)
    resampled = [rng.integers(len(z), size=len(z)) for _ in range(_RESAMPLINGS)]
    functions = {
        "sigma_MAD": metrics.sigma_mad, "bias": metrics.bias,
        "outliers": lambda true, predicted: metrics.outlier_fraction(true, predicted, threshold), "R2": _r2,
    }  # fmt: skip
    numbers = {
        name: (function(z, points), np.std([function(z[rows], points[rows]) for rows in resampled]))
        for name, function in functions.items()
    }
    if densities is not None:
        score, transform = metrics.crps(z, *densities), metrics.pit(z, *densities)
        inside = np.abs(transform - 0.5) < 0.34 if inside is None else inside
        numbers["CRPS"] = score.mean(), score.std() / np.sqrt(len(z))
        numbers["KS"] = kstest(transform, "uniform").statistic, np.nan
        numbers["coverage"] = inside.mean(), np.sqrt(inside.mean() * (1 - inside.mean()) / len(z))
    return numbers


_DIGITS = {"sigma_MAD": 5, "bias": 5, "outliers": 4, "R2": 3, "CRPS": 5, "KS": 3, "coverage": 3}


def row(name, numbers, seconds):
    """One line of the table."""
    cells = [with_error(*numbers.get(key, (None, None)), digits) for key, digits in _DIGITS.items()]
    return [name, *cells, f"{seconds:.0f}"]


def difference(z, first, second):
    """How much larger sigma_MAD of the second points is than that of the first on the same galaxies, and its error."""
    rng = np.random.default_rng(0)
    resampled = [rng.integers(len(z), size=len(z)) for _ in range(_RESAMPLINGS)]

    def of(rows):
        return metrics.sigma_mad(z[rows], second[rows]) - metrics.sigma_mad(z[rows], first[rows])

    return of(slice(None)), np.std([of(rows) for rows in resampled])


def predicted(regressor, X, true):
    """What a regressor says: its table, and as `measure` takes it: points, densities, and what is in its intervals."""
    table = regressor.predict_pdf(X)
    lower, upper = (np.asarray(end) for end in regressor.predict_interval(X))
    z = np.asarray(true)
    grid = np.asarray(table.meta["z_grid"])
    return table, (np.asarray(table["z_median"]), (np.asarray(table["pdf"]), grid), (lower <= z) & (z <= upper))


def _r2(true, predicted):
    return 1 - ((true - predicted) ** 2).sum() / ((true - true.mean()) ** 2).sum()
