"""
What a network sees of a sky: the histogram of its pixels, in numbers that are as precise as the sky allows.

The counts change the histogram by a few per cent where it is known to a thousandth, and by factors where it holds a
handful of pixels. So bins are compared with those of a mean sky, in units of their noise; the directions in which
skies differ from each other are found, the largest first, and all of them are given the same scale. What is smaller
than the noise is left out.
"""

import numpy as np

__all__ = ["EDGES", "HistogramFeatures", "cumulative_histogram", "moved"]

# Bins: 0.2 standard deviations of the noise wide in the middle, 12 % of the pixel value far from it.
_SCALE, _STEP = 1.77, 0.113
_FIRST, _LAST = -42, 104

EDGES = _SCALE * np.sinh(_STEP * np.arange(_FIRST, _LAST + 1))
"""Edges of the bins of pixel values from the median, in standard deviations of the noise: from -102 to 110 000."""

_MEDIAN_STEPS = 4
_EMPTY = 0.5  # independent samples that are added to each bin: an empty one has no logarithm
_SMALLEST = 1.2  # of the scatter along a direction that is kept, in units of the noise; that of noise alone is about 1
_SKIES_PER_DIRECTION = 3


def cumulative_histogram(images, noise):
    """
    Pool the pixels of the images of one sky.

    Parameters
    ----------
    images : list of `numpy.ndarray`
        In Jy/beam; NaN where there is nothing.
    noise : float
        Standard deviation of a pixel's noise, Jy/beam.

    Returns
    -------
    cumulative : `numpy.ndarray`, float64 (n_bins + 1,)
        Fraction of pixels below each of `EDGES`; pixels beyond are in the first and the last bin.
    median : float
        In Jy/beam.

    Raises
    ------
    ValueError
        If no pixel is left.
    """
    values = np.concatenate([image[~np.isnan(image)] for image in images])
    if len(values) == 0:
        raise ValueError("X has a sky without a pixel that is not NaN or masked")
    median = np.median(values)
    values -= median
    position = np.arcsinh(values / np.float32(_SCALE * noise)) / np.float32(_STEP)
    index = np.clip(np.floor(position).astype(np.intp) - _FIRST, 0, len(EDGES) - 2)
    counts = np.bincount(index, minlength=len(EDGES) - 1)
    return np.concatenate([[0.0], np.cumsum(counts) / counts.sum()]), float(median)


def moved(cumulative, stretch=1.0):
    """
    Histograms of stretched pixel values, about their median.

    Parameters
    ----------
    cumulative : `numpy.ndarray`, float64 (n, n_bins + 1)
        Fractions below `EDGES`.
    stretch : float or `numpy.ndarray`, (n,), optional
        What the pixel values are multiplied with. Default: 1.

    Returns
    -------
    cumulative : `numpy.ndarray`, float64 (n, n_bins + 1)
    """
    n = len(cumulative)
    stretch = np.broadcast_to(stretch, n)
    # the median, by secants of the interpolated histogram
    above = (cumulative >= 0.5).argmax(axis=1)
    rows = np.arange(n)
    low, high = cumulative[rows, above - 1], cumulative[rows, above]
    position = above - 1 + (0.5 - low) / np.maximum(high - low, 1e-12)
    for _ in range(_MEDIAN_STEPS):
        slope = np.maximum(high - low, 1e-12)
        position -= np.clip((_interpolate(cumulative, position[:, None])[:, 0] - 0.5) / slope, -0.5, 0.5)
    median = _SCALE * np.sinh(_STEP * (position + _FIRST))
    target = np.arcsinh((EDGES / stretch[:, None] + median[:, None]) / _SCALE) / _STEP - _FIRST
    out = _interpolate(cumulative, target)
    out[:, 0], out[:, -1] = 0, 1
    return np.maximum.accumulate(np.clip(out, 0, 1), axis=1)


def _interpolate(cumulative, position):
    """Values at fractional indices (n, m), by Lagrange's polynomials through the six nearest points."""
    n_edges = cumulative.shape[1]
    position = np.clip(position, 0, n_edges - 1)
    first = np.clip(np.floor(position).astype(np.intp) - 2, 0, n_edges - 6)
    t = position - first
    total = np.zeros(t.shape)
    for k in range(6):
        others = [j for j in range(6) if j != k]
        weight = np.take_along_axis(cumulative, first + k, axis=1) / np.prod([k - j for j in others])
        for j in others:
            weight *= t - j
        total += weight
    return total


class HistogramFeatures:
    """
    From histograms to the numbers that a network takes.

    Parameters
    ----------
    state : dict
        As `fit` finds it: plain numbers and arrays, which can be saved.
    """

    def __init__(self, state):
        self.state = state

    @property
    def n_features(self):
        """Numbers per sky."""
        return len(self.state["axes"])

    @classmethod
    def fit(cls, cumulative, n_samples):
        """
        Find the directions in which skies differ.

        Parameters
        ----------
        cumulative : `numpy.ndarray`, float64 (n, n_bins + 1)
        n_samples : float or `numpy.ndarray`, (n,)
            Independent pixels of each sky; those of the largest set the scale.

        Returns
        -------
        features : HistogramFeatures
        """
        n_samples = np.broadcast_to(n_samples, len(cumulative)).astype(float)
        state = {"fraction": np.diff(cumulative, axis=1).mean(axis=0), "n_samples": float(n_samples.max())}
        features = cls(state)
        scores = features._scores(cumulative, n_samples)
        state["centre"] = scores.mean(axis=0)
        _, size, axes = np.linalg.svd(scores - state["centre"], full_matrices=False)
        size = size / np.sqrt(max(len(scores) - 1, 1))
        kept = size > _SMALLEST
        kept[max(len(scores) // _SKIES_PER_DIRECTION, 1) :] = False
        kept[0] = True
        state["size"] = np.maximum(size[kept], 1.0)
        state["axes"] = axes[kept]
        return features

    def _scores(self, cumulative, n_samples):
        """Logarithms of bins over those of the mean sky, in units of the noise of the logarithm in the largest sky."""
        largest, fraction = self.state["n_samples"], self.state["fraction"]
        n_samples = np.broadcast_to(n_samples, len(cumulative))[:, None]
        ratio = (n_samples * np.diff(cumulative, axis=1) + _EMPTY) / (n_samples * fraction + _EMPTY)
        return np.sqrt(largest * fraction + _EMPTY) * np.log(ratio)

    def transform(self, cumulative, n_samples):
        """
        Numbers for the network, which have a variance of about 1 whatever the size of the sky.

        Parameters
        ----------
        cumulative : `numpy.ndarray`, float64 (n, n_bins + 1)
        n_samples : float or `numpy.ndarray`, (n,)
            Independent pixels of each sky.

        Returns
        -------
        features : `numpy.ndarray`, float64 (n, n_features)
        """
        along = (self._scores(cumulative, n_samples) - self.state["centre"]) @ self.state["axes"].T
        return along / self.scale(n_samples)

    def scale(self, n_samples):
        """What the features of skies of so many independent pixels are divided with, (n, n_features)."""
        noise = self.state["n_samples"] / np.atleast_1d(n_samples)[:, None]
        return np.sqrt(self.state["size"] ** 2 + np.maximum(noise - 1, 0))
