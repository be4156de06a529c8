"""Probabilities that mean what they say: vector scaling of a segmenter's logits.

The training loss makes all classes count alike, so that the network's own probabilities are those of a sky with as many
pixels of irregular galaxies as of background. A shift of each class's logit undoes that, and a common factor its over-
or underconfidence (vector scaling with one slope; Guo et al. 2017, arXiv 1706.04599); both are found on images that the
network has not seen.
"""

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

__all__ = ["calibrated", "fit_calibration"]

_PIXELS = 200_000  # that are enough for six numbers
_HELD = 1e-3  # pull towards no change, relative to the entropy of a pixel


def calibrated(logits, calibration):
    """
    Log probabilities.

    Parameters
    ----------
    logits : `numpy.ndarray`, (n_classes, ...)
    calibration : dict or None
        Of `fit_calibration`; with None they are taken as they are.

    Returns
    -------
    `numpy.ndarray`
        The same shape.
    """
    if calibration is not None:
        shift = np.reshape(calibration["shift"], (-1, *[1] * (logits.ndim - 1))).astype(logits.dtype)
        logits = logits * np.asarray(calibration["slope"], logits.dtype) + shift
    return log_softmax(logits, axis=0)


def fit_calibration(logits, labels, rng):
    """
    Find slope and shifts of least cross-entropy.

    Parameters
    ----------
    logits : `numpy.ndarray`, (n_classes, n)
        Of pixels.
    labels : `numpy.ndarray`, (n_classes, n)
        Soft; pixels without labels do not count.
    rng : `numpy.random.Generator`
        Chooses among too many pixels.

    Returns
    -------
    calibration : dict
        ``slope`` (float) and ``shift`` (`numpy.ndarray`, (n_classes,); 0 for the last class).
    """
    rows = np.flatnonzero(labels.sum(axis=0) > 0)
    if len(rows) > _PIXELS:
        rows = rng.choice(rows, _PIXELS, replace=False)
    logits, labels = logits[:, rows].astype(float), labels[:, rows].astype(float)

    def unpack(parameters):
        return {"slope": float(np.exp(parameters[0])), "shift": np.append(parameters[1:], 0.0)}

    def loss(parameters):
        entropy = -(labels * calibrated(logits, unpack(parameters))).sum() / max(len(rows), 1)
        return entropy + _HELD * np.square(parameters).sum()

    return unpack(minimize(loss, np.zeros(len(logits)), method="L-BFGS-B").x)
