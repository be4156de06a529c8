"""
How good redshifts and their densities are, in the words of the field.

Errors are dz = (z_predicted - z_true) / (1 + z_true). There are two conventions. The literature on the SDSS Main Galaxy
Sample takes the mean of dz as bias and calls abs(dz) > 0.05 an outlier (Pasquet et al. 2019), deep surveys 0.15;
RAIL and LSST take the median and the larger of 0.06 and three times the interquartile width. Here the first is the
default and the other an argument away; a comparison needs one of them for all. R² is none of these metrics: it grows
with the range of the redshifts, and ranks methods in another order than their errors do.
"""

import numpy as np
from astropy.cosmology import units as cu
from sklearn.metrics import make_scorer

from astrolearn.core.inputs import to_float

__all__ = [
    "bias",
    "coverage",
    "crps",
    "normalised_error",
    "outlier_fraction",
    "pit",
    "sigma_iqr",
    "sigma_mad",
    "sigma_mad_scorer",
]


def normalised_error(z_true, z_predicted):
    """
    Error of redshifts, dz = (z_predicted - z_true) / (1 + z_true).

    Parameters
    ----------
    z_true, z_predicted : array-like or `~astropy.units.Quantity`, (n,)

    Returns
    -------
    dz : `numpy.ndarray`, float64 (n,)
    """
    z_true, z_predicted = _redshifts(z_true, "z_true"), _redshifts(z_predicted, "z_predicted")
    if z_true.shape != z_predicted.shape:
        raise ValueError(f"z_true has the shape {z_true.shape}, z_predicted {z_predicted.shape}")
    return (z_predicted - z_true) / (1 + z_true)


def sigma_mad(z_true, z_predicted):
    """
    Robust width of the errors: 1.4826 times the median of abs(dz - median(dz)).

    Parameters
    ----------
    z_true, z_predicted : array-like or `~astropy.units.Quantity`, (n,)

    Returns
    -------
    float
    """
    error = normalised_error(z_true, z_predicted)
    return float(1.4826 * np.median(np.abs(error - np.median(error))))


def sigma_iqr(z_true, z_predicted):
    """
    Interquartile range of the errors over 1.349, RAIL's robust width.

    Parameters
    ----------
    z_true, z_predicted : array-like or `~astropy.units.Quantity`, (n,)

    Returns
    -------
    float
    """
    low, high = np.quantile(normalised_error(z_true, z_predicted), (0.25, 0.75))
    return float((high - low) / 1.349)


def bias(z_true, z_predicted, statistic="mean"):
    """
    Mean error, or the median one.

    Parameters
    ----------
    z_true, z_predicted : array-like or `~astropy.units.Quantity`, (n,)
    statistic : {"mean", "median"}, optional
        Default: the mean; RAIL's is the median.

    Returns
    -------
    float
    """
    if statistic not in ("mean", "median"):
        raise ValueError(f"statistic={statistic!r} is not 'mean' or 'median'")
    return float(getattr(np, statistic)(normalised_error(z_true, z_predicted)))


def outlier_fraction(z_true, z_predicted, threshold=0.05):
    """
    Share of galaxies with a large error.

    Parameters
    ----------
    z_true, z_predicted : array-like or `~astropy.units.Quantity`, (n,)
    threshold : float or "rail", optional
        Of ``abs(dz)``. Default: 0.05; 0.15 is usual in deep surveys. ``"rail"``: the larger of 0.06 and three times
        `sigma_iqr`.

    Returns
    -------
    float
    """
    if isinstance(threshold, str):
        if threshold != "rail":
            raise ValueError(f"threshold={threshold!r} is neither a number nor 'rail'")
        threshold = max(0.06, 3 * sigma_iqr(z_true, z_predicted))
    return float((np.abs(normalised_error(z_true, z_predicted)) > threshold).mean())


def coverage(z_true, lower, upper):
    """
    Share of galaxies whose redshift is in its interval.

    Parameters
    ----------
    z_true, lower, upper : array-like or `~astropy.units.Quantity`, (n,)

    Returns
    -------
    float
    """
    unit = getattr(lower, "unit", None) or getattr(upper, "unit", None) or cu.redshift
    z_true, lower, upper = (
        to_float(values, unit, name, shape=("n",), dtype=np.float64)
        for values, name in ((z_true, "z_true"), (lower, "lower"), (upper, "upper"))
    )
    return float(((z_true >= lower) & (z_true <= upper)).mean())


def pit(z_true, pdf, z_grid=None):
    """
    Probability integral transform: the probability that each density puts below the true redshift.

    If the densities are right the values are uniform between 0 and 1.

    Parameters
    ----------
    z_true : array-like or `~astropy.units.Quantity`, (n,)
    pdf : `~astropy.table.QTable` or array-like, (n, n_z)
        What `PhotoZRegressor.predict_pdf` gives, or densities on ``z_grid``.
    z_grid : array-like, (n_z,), optional
        Needed for an array.

    Returns
    -------
    pit : `numpy.ndarray`, float64 (n,)
    """
    z_true, cumulative, grid = _cumulative(z_true, pdf, z_grid)
    position = np.clip(np.searchsorted(grid, z_true) - 1, 0, len(grid) - 2)
    share = np.clip((z_true - grid[position]) / (grid[position + 1] - grid[position]), 0, 1)
    rows = np.arange(len(z_true))
    low, high = cumulative[rows, position], cumulative[rows, position + 1]
    return low + share * (high - low)


def crps(z_true, pdf, z_grid=None):
    """
    Continuous ranked probability score, in units of the target: small is good; a point's is its absolute error.

    The integral of (F(z) - [z >= z_true])² over z, F being the cumulative distribution (Gneiting & Raftery 2007,
    equation 20).

    Parameters
    ----------
    z_true, pdf, z_grid
        See `pit`.

    Returns
    -------
    crps : `numpy.ndarray`, float64 (n,)
        One value per galaxy: take the mean.
    """
    z_true, cumulative, grid = _cumulative(z_true, pdf, z_grid)
    # within the step that holds the true redshift the integrand jumps: it is integrated on a grid that has it
    out = np.empty(len(z_true))
    for i, (true, one) in enumerate(zip(z_true, cumulative, strict=True)):
        at = np.searchsorted(grid, true)
        below, above = np.append(grid[:at], true), np.insert(grid[at:], 0, true)
        middle = np.interp(true, grid, one, left=0.0, right=1.0)
        out[i] = np.trapezoid(np.append(one[:at], middle) ** 2, below) + np.trapezoid(
            (1 - np.insert(one[at:], 0, middle)) ** 2, above
        )
    return out


sigma_mad_scorer = make_scorer(sigma_mad, greater_is_better=False)
"""Scorer for scikit-learn's ``scoring=``: minus `sigma_mad`."""


def _redshifts(values, name):
    return to_float(values, cu.redshift, name, shape=("n",), dtype=np.float64)


def _cumulative(z_true, pdf, z_grid):
    """True redshifts, cumulative distributions (n, n_z) from 0 to 1, and their grid, all in one unit."""
    if hasattr(pdf, "colnames"):
        z_grid, pdf = pdf.meta["z_grid"], pdf["pdf"]
    elif z_grid is None:
        raise ValueError("densities in an array need their z_grid")
    unit = getattr(z_grid, "unit", None) or cu.redshift
    grid = to_float(z_grid, unit, "z_grid", shape=("n_z",), dtype=np.float64)
    z_true = to_float(z_true, unit, "z_true", shape=("n",), dtype=np.float64)
    density = np.asarray(getattr(pdf, "value", pdf), dtype=float)
    if density.shape != (len(z_true), len(grid)):
        raise ValueError(f"pdf has the shape {density.shape}; expected {(len(z_true), len(grid))}")
    steps = 0.5 * (density[:, 1:] + density[:, :-1]) * np.diff(grid)
    cumulative = np.pad(np.cumsum(steps, axis=1), ((0, 0), (1, 0)))
    total = cumulative[:, -1:]
    if not (total > 0).all():
        raise ValueError(f"{(total <= 0).sum()} densities are zero on all of z_grid")
    return z_true, cumulative / total, grid
