"""
What is known of the counts of a sky: a normal distribution of log10 n in all bins of flux.

A network may be too sure of itself, or not sure enough. So the widths are stretched, bin by bin, until they hold what
they should for skies that were held out, and compared with the width of the prior: a bin that is hardly narrower was
not measured.
"""

import numpy as np
from scipy.special import ndtr, ndtri

__all__ = [
    "MEASURED", "ONE_SIGMA", "combine_widths", "conformal_widths", "information", "quantiles", "spread_of_residuals",
]  # fmt: skip

ONE_SIGMA = float(2 * ndtr(1) - 1)
"""Probability within one standard deviation of a normal distribution, 0.683."""

MEASURED = 0.5
"""Information from which on a bin counts as measured."""

_DIFFERENCE = 0.2  # of the logarithms of widths of real and expected skies, beforehand


def conformal_widths(residuals, sigma):
    """
    Find what to stretch standard deviations with.

    Parameters
    ----------
    residuals : `numpy.ndarray`, (n, n_bins)
        Of skies that were held out.
    sigma : `numpy.ndarray`, (n, n_bins)
        What was stated for them.

    Returns
    -------
    widths : `numpy.ndarray`, (n_bins,)
        So that one standard deviation holds 68 % of further skies of the kind: the quantile of
        ceil(0.683 (n + 1)) of n (Vovk et al. 2005), or the largest.
    """
    ratio = np.sort(np.abs(residuals) / sigma, axis=0)
    rank = min(int(np.ceil(ONE_SIGMA * (len(ratio) + 1))), len(ratio))
    return np.maximum(ratio[rank - 1], 1e-3)


def combine_widths(real, n, expected):
    """
    Widths that few real skies ask for, drawn to those that very many expected ones do.

    The former are uncertain by 0.96 / sqrt(n), the error of a quantile of so many normal numbers at one sigma; where
    they differ from the latter by more, expected skies are unlike real ones.

    Parameters
    ----------
    real, expected : `numpy.ndarray`, (n_bins,)
    n : int
        Real skies.

    Returns
    -------
    widths : `numpy.ndarray`, (n_bins,)
    """
    weight = _DIFFERENCE**2 / (_DIFFERENCE**2 + 0.96**2 / n)
    return expected * (real / expected) ** weight


def spread_of_residuals(residuals, rows):
    """
    Covariance of the errors of a network that gives a point for each image.

    Parameters
    ----------
    residuals : `numpy.ndarray`, (n_images, n_bins)
        Of images that were held out.
    rows : list of `numpy.ndarray` of int
        Which of them are of one sky.

    Returns
    -------
    spread : `numpy.ndarray`, (2, n_bins, n_bins)
        Second moments of what the images of a sky have in common, and of what each has by itself: the mean of m images
        errs by the first plus the second over m.
    """
    means = np.array([residuals[row].mean(axis=0) for row in rows])
    rest = np.concatenate([residuals[row] - mean for row, mean in zip(rows, means, strict=True)])
    own = rest.T @ rest / max(len(rest) - len(rows), 1)
    common = means.T @ means / len(means) - own * np.mean([1 / len(row) for row in rows])
    # few skies do not say how errors are correlated
    diagonal = np.diag(np.diag(common))
    common = diagonal + (common - diagonal) * len(rows) / (len(rows) + len(common))
    size, axes = np.linalg.eigh(common)
    return np.array([(axes * np.maximum(size, 1e-6)) @ axes.T, own])


def quantiles(mean, sigma, q):
    """
    Quantiles of n in each bin.

    Parameters
    ----------
    mean, sigma : `numpy.ndarray`, (n, n_bins)
        Of log10 n.
    q : float or sequence of float
        Probabilities, from 0 to 1.

    Returns
    -------
    n : `numpy.ndarray`, (n, n_bins) or (n, n_bins, n_q)

    Raises
    ------
    ValueError
        If a probability is not between 0 and 1.
    """
    q = np.asarray(q, dtype=float)
    if q.ndim > 1 or not ((q > 0) & (q < 1)).all():
        raise ValueError(f"q={q} must be one probability or a sequence of them, between 0 and 1")
    values = 10 ** (mean[..., None] + sigma[..., None] * ndtri(np.atleast_1d(q)))
    return values if q.ndim else values[..., 0]


def information(sigma, prior_sigma):
    """Share of the prior's variance that the image took away, 0 to 1, of the shape of ``sigma``."""
    return np.clip(1 - (sigma / prior_sigma) ** 2, 0, 1)
