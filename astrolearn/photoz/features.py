"""
What the networks see of a table: numbers of order one, complete, with the gaps marked.

The redshift is in small differences between bands that rise and fall together with the brightness of the galaxy. So the
columns are given twice: each by itself, and as the principal components of all, every one with a variance of one. The
colours are in these, whichever columns they come from.

A missing value is replaced by the mean of its conditional normal distribution, given those that the galaxy has, and a
flag says so. A band in which the galaxy was not detected gets the faintest value detected in training, and a flag of
its own: that it is faint is known. Networks learn what the flags mean from the gaps of the training data, and from
values taken out of some of its rows.
"""

import numpy as np

__all__ = ["TableFeatures"]

_CLIP = 8.0  # spreads: beyond this all values are far away
_SMALLEST_VARIANCE = 1e-6  # of the largest: principal components below are noise of the arithmetic


class TableFeatures:
    """
    Features of rows of numbers.

    Parameters
    ----------
    state : dict of str to `numpy.ndarray`
        What `fit` found.
    """

    def __init__(self, state):
        self.state = state

    @classmethod
    def fit(cls, values, undetected):
        """
        Find the scales.

        Parameters
        ----------
        values : `numpy.ndarray`, float64 (n, n_columns)
            NaN where missing.
        undetected : `numpy.ndarray`, bool (n, n_columns)
            Which of the missing were looked at, but too faint.
        """
        present = ~np.isnan(values)
        filled = np.where(present, values, 0.0)
        limit = np.where(present, values, -np.inf).max(axis=0, initial=-np.inf)
        limit[~np.isfinite(limit)] = 0.0  # a column without any value
        quantiles = np.array([
            np.quantile(column[there], (0.16, 0.5, 0.84)) if there.any() else (0.0, 0.0, 0.0)
            for column, there in zip(filled.T, present.T, strict=True)
        ])
        centre, scale = quantiles[:, 1], (quantiles[:, 2] - quantiles[:, 0]) / 2
        flat = scale <= 1e-9 * np.abs(centre)
        deviation = np.sqrt((np.where(present, values - centre, 0.0) ** 2).sum(0) / np.maximum(present.sum(0), 1))
        scale = np.where(flat, deviation, scale)
        scale[scale <= 1e-9 * np.abs(centre)] = 1.0
        state = {"centre": centre, "scale": scale, "limit": limit}
        scaled = _scaled(np.where(undetected, limit, values), state)
        state["covariance"] = _covariance(scaled)
        state["mean"] = np.array([column[~np.isnan(column)].mean() if not np.isnan(column).all() else 0.0
                                  for column in scaled.T])
        variance, axes = np.linalg.eigh(state["covariance"])
        kept = variance > max(_SMALLEST_VARIANCE * variance[-1], 1e-12)
        state["rotation"] = axes[:, kept] / np.sqrt(variance[kept])
        return cls(state)

    @property
    def n_columns(self):
        """Columns of the table."""
        return len(self.state["centre"])

    @property
    def n_features(self):
        """Columns, principal components, and two flags for each column."""
        return 3 * self.n_columns + self.state["rotation"].shape[1]

    @property
    def components(self):
        """Where among the features the principal components are."""
        return slice(self.n_columns, self.n_features - 2 * self.n_columns)

    def transform(self, values, undetected):
        """
        Features of rows.

        Parameters
        ----------
        values, undetected
            As for `fit`.

        Returns
        -------
        features : `numpy.ndarray`, float32 (n, n_features)
            The columns, their principal components, and the flags of what is missing and of what was not detected.
        """
        scaled = _scaled(np.where(undetected, self.state["limit"], values), self.state)
        missing = np.isnan(scaled)
        scaled = self._complete(scaled, missing)
        components = np.clip((scaled - self.state["mean"]) @ self.state["rotation"], -_CLIP, _CLIP)
        return np.hstack([scaled, components, missing, undetected]).astype(np.float32)

    def _complete(self, scaled, missing):
        """Conditional means for what is missing, in one go for all rows with the same gaps."""
        mean, covariance = self.state["mean"], self.state["covariance"]
        scaled = scaled.copy()
        patterns, which = np.unique(missing, axis=0, return_inverse=True)
        for i, gaps in enumerate(patterns):
            if gaps.any():
                rows = np.flatnonzero(which == i)
                there = ~gaps
                known = covariance[np.ix_(there, there)] + 1e-6 * np.eye(there.sum())
                weights = np.linalg.solve(known, covariance[np.ix_(there, gaps)])
                guess = mean[gaps] + (scaled[np.ix_(rows, there)] - mean[there]) @ weights
                scaled[np.ix_(rows, gaps)] = np.clip(guess, -_CLIP, _CLIP)
        return scaled


def _scaled(values, state):
    with np.errstate(over="ignore"):  # what is infinitely far away is clipped, too
        return np.clip((values - state["centre"]) / state["scale"], -_CLIP, _CLIP)


def _covariance(scaled):
    """Covariance of columns with gaps, from the rows that both columns have; made positive semi-definite."""
    present = ~np.isnan(scaled)
    count = np.maximum(present.sum(axis=0), 1)
    mean = np.where(present, scaled, 0.0).sum(axis=0) / count
    centred = np.where(present, scaled - mean, 0.0)
    both = np.maximum(present.T.astype(float) @ present, 1)
    variance, axes = np.linalg.eigh(centred.T @ centred / both)
    return (axes * np.maximum(variance, 0)) @ axes.T
