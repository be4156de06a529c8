"""Morpheus' inference as published: overlapping windows vote on every pixel.

Each window of 40 x 40 pixels is standardised and classified by itself. Its outer 5 pixels say nothing, so every pixel
is classified once by each window that has it among its inner 30 x 30: up to 900 times at a stride of 1. Either each
window votes for its most probable class, and the fractions of votes are the answer (rank vote), or probabilities are
averaged. The outer 5 pixels of the image stay unclassified. Windows overlap so much that at a stride of 1 a pixel costs
about as much as a window of 1600.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.special import softmax

from astrolearn.core.parallel import in_batches
from astrolearn.morphology.morpheus import MARGIN, WINDOW, standardised

__all__ = ["WindowStatistics", "classify_windows", "count_windows"]

_ROWS = 64  # image rows read at once, beside those of a window
_SUMS = {
    "votes": lambda p: np.arange(p.shape[1])[:, None, None] == p.argmax(axis=1)[:, None],
    "probability": lambda p: p,
    "square": np.square,
}


@dataclass
class WindowStatistics:
    """
    What the windows say of every pixel.

    Attributes
    ----------
    n : `numpy.ndarray`, int32 (h, w)
        Windows that classified the pixel; 0 where it is not covered.
    votes : `numpy.ndarray`, float32 (n_classes, h, w)
        Fraction of them in which the class was the most probable; NaN where there are none.
    mean, variance : `numpy.ndarray`, float32 (n_classes, h, w)
        Of the probabilities.
    """

    n: np.ndarray
    votes: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


def _starts(length, stride):
    """First pixels of the windows along an axis: at the stride, and one at the end."""
    return np.unique([*range(0, length - WINDOW + 1, stride), length - WINDOW])


def count_windows(shape, stride):
    """
    How many windows an image has.

    Parameters
    ----------
    shape : tuple of int
        Height and width.
    stride : int

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If the image is smaller than a window.
    """
    if min(shape) < WINDOW:
        raise ValueError(f"the images have {shape[0]} x {shape[1]} pixels, but Morpheus needs {WINDOW} x {WINDOW}: "
                         "give a larger part of the sky")
    return len(_starts(shape[0], stride)) * len(_starts(shape[1], stride))


def classify_windows(field, run, n_classes, *, stride, batch_size, planes, out=None):
    """
    Classify an image.

    Parameters
    ----------
    field : BandImages
    run : callable
        Given an iterable of batches of standardised windows (n, n_bands, 40, 40), yields their logits.
    n_classes : int
    stride : int
        Pixels from one window to the next; 1 is published. The last window of each row and column ends with the image.
    batch_size : int
        Windows of a batch.
    planes : sequence of str
        Which sums to take: ``"votes"``, ``"probability"``, ``"square"`` (of the probability).
    out : array-like, float (len(planes) * n_classes, h, w), optional
        Where to put the result; zeros.

    Returns
    -------
    means : `numpy.ndarray`, float32 (len(planes) * n_classes, h, w)
        Of the sums over windows; NaN where there are none.
    n : `numpy.ndarray`, int32 (h, w)
        Windows.
    """
    shape = field.shape
    count_windows(shape, stride)
    if out is None:
        out = np.zeros((len(planes) * n_classes, *shape), np.float32)
    n = np.zeros(shape, np.int32)
    corners = [product(_starts(shape[0], stride), _starts(shape[1], stride)) for _ in range(2)]
    outputs = run(_batches(field, corners[0], batch_size))
    inner = slice(MARGIN, WINDOW - MARGIN)
    for batch, logits in zip(in_batches(corners[1], batch_size), outputs, strict=True):
        probability = softmax(logits[:, :, inner, inner], axis=1)
        added = np.concatenate([_SUMS[plane](probability) for plane in planes], axis=1).astype(np.float32)
        for (y, x), values in zip(batch, added, strict=True):
            part = (slice(y + MARGIN, y + WINDOW - MARGIN), slice(x + MARGIN, x + WINDOW - MARGIN))
            out[:, *part] += values
            n[part] += 1
    for y in range(0, shape[0], _ROWS):
        rows = slice(y, y + _ROWS)
        n[rows] *= ~np.isnan(field.read((rows, slice(None)))[0])
        with np.errstate(invalid="ignore", divide="ignore"):
            out[:, rows] = np.where(n[rows] > 0, out[:, rows] / n[rows], np.nan)
    return out, n


def _batches(field, corners, batch_size):
    """Standardised windows at the corners, reading the image in bands of rows."""
    first, rows = 0, None
    for batch in in_batches(corners, batch_size):
        windows = []
        for y, x in batch:
            if rows is None or y + WINDOW > first + rows.shape[1]:
                first = y
                rows = field.read((slice(y, y + WINDOW + _ROWS), slice(None)))
            windows.append(rows[:, y - first : y - first + WINDOW, x : x + WINDOW])
        yield standardised(np.stack(windows))
