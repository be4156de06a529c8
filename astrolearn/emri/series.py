"""Two-channel series from what astronomers hold them in: arrays, Quantities, masked arrays, TimeSeries."""

import warnings

import astropy.units as u
import numpy as np
import torch
from astropy.timeseries import TimeSeries
from erfa import ErfaWarning

from astrolearn.core.inputs import to_float

__all__ = ["as_series", "as_wave", "check_whitened", "is_mostly_gaps"]


def as_series(X, sample_interval, *, name="X", dtype=np.float32):
    """
    Read two-channel series into plain arrays.

    Parameters
    ----------
    X : array-like (n, 2, n_samples), or list of arrays (2, n_samples) or of `~astropy.timeseries.TimeSeries`
        Dimensionless. A TimeSeries has two columns beside its time, the channels I and II in this order. The items of
        a list may differ in length.
    sample_interval : float
        That of a TimeSeries must be this one, in s.
    name : str, optional
        What X is called in error messages.
    dtype : {numpy.float32, numpy.float64}, optional
        Of the result. Single precision is enough for white series; strain needs double, as the drifts of a detector are
        a hundred million times what is searched for.

    Returns
    -------
    series : list of `numpy.ndarray` of ``dtype``, (2, n_samples)
        Missing samples, NaN or masked, are NaN.

    Raises
    ------
    ValueError
        If a shape or a sampling interval is wrong, or X is empty or holds infinite values.
    """
    if isinstance(X, TimeSeries):
        X = [X]
    if isinstance(X, (list, tuple)):
        if not X:
            raise ValueError(f"{name} is empty: it has no series")
        return [_one(x, sample_interval, f"{name}[{i}]", dtype) for i, x in enumerate(X)]
    return list(to_float(X, name=name, shape=("n", 2, "n_samples"), missing="keep", dtype=dtype))


def _one(x, sample_interval, name, dtype):
    if isinstance(x, TimeSeries):
        x = _columns(x, sample_interval, name)
    return to_float(x, name=name, shape=(2, "n_samples"), missing="keep", dtype=dtype)


def _columns(series, sample_interval, name):
    times = series.time
    if len(series) < 2:
        raise ValueError(f"{name} has {len(series)} samples")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ErfaWarning)  # leap seconds of the future are unknown
        steps = np.diff((times - times[0]).to_value(u.s))
    # times are float64 pairs of days: good to nanoseconds
    if not np.allclose(steps, sample_interval, rtol=1e-3, atol=0):
        raise ValueError(f"{name} is sampled every {np.median(steps):g} s (from {steps.min():g} to {steps.max():g} s), "
                         f"but every {sample_interval:g} s is needed: resample it, and fill gaps with NaN")
    columns = [column for column in series.colnames if column != "time"]
    if len(columns) != 2:
        raise ValueError(f"{name} needs two columns beside its time, the channels I and II, "
                         f"but has {', '.join(columns) or 'none'}")
    first, second = (series[column] for column in columns)
    return np.ma.stack([_masked(first), _masked(second)])


def _masked(column):
    values = u.Quantity(getattr(column, "unmasked", column)).to_value(u.one)
    return np.ma.MaskedArray(values, mask=getattr(column, "mask", False))


def as_wave(h, name):
    """
    Read a polarisation of a wave.

    Parameters
    ----------
    h : `torch.Tensor`, array-like or `~astropy.units.Quantity`
        Dimensionless.
    name : str
        What it is called in error messages.

    Returns
    -------
    h : `torch.Tensor`
        A tensor of floating point numbers as it is; what is not a tensor in its own precision, single or double.
    """
    if isinstance(h, torch.Tensor) and h.is_floating_point():
        return h
    if isinstance(h, torch.Tensor):
        h = h.cpu().numpy()
    single = np.asarray(h).dtype == np.float32
    return torch.from_numpy(to_float(h, name=name, dtype=np.float32 if single else np.float64))


def check_whitened(x, name, shortest):
    """
    Refuse a series that cannot be searched.

    Parameters
    ----------
    x : `numpy.ndarray`, shape (2, n_samples)
        One of those that `as_series` returns.
    name : str
        What it is called in error messages.
    shortest : int
        Smallest number of samples.

    Raises
    ------
    ValueError
        If it is too short, mostly gaps, or its noise does not have a variance of one.
    """
    if x.shape[1] < shortest:
        raise ValueError(f"{name} has {x.shape[1]} samples; at least {shortest} are needed")
    gaps = np.isnan(x).any(axis=0)
    if is_mostly_gaps(x):
        raise ValueError(f"{name} has values in only {1 - gaps.mean():.1%} of its samples: too few to search")
    # signals are far below the noise in any sample, and outliers do not move the median
    for channel, values in zip(("I", "II"), x[:, ~gaps], strict=True):
        deviation = 1.4826 * np.median(np.abs(values))
        if not 0.5 < deviation < 2:
            raise ValueError(f"{name}: the noise in channel {channel} has a standard deviation of {deviation:.3g}, not "
                             "1: whiten the strain first, with Whitener(detector or psd)")


def is_mostly_gaps(x):
    """Whether more than nine tenths of a series (2, n_samples) are missing."""
    return np.isnan(x).any(axis=0).mean() > 0.9
