"""
What a space detector makes of a wave: two channels, turning with the constellation and moving around the Sun.

Long-wavelength limit (Cutler 1998, gr-qc/9703068): each channel is the wave tensor contracted with a detector tensor
D = sqrt(3)/2 (xx - yy)/2 for channel I and sqrt(3)/2 (xy + yx)/2 for channel II, where x and y are perpendicular unit
vectors that turn in the plane of the three satellites. What differs between detectors is only how that plane and the
satellites in it turn, so that one function of time per detector is all there is to write.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import astropy.units as u
import numpy as np
import torch
from scipy.special import i0

from astrolearn.core.inputs import as_quantity
from astrolearn.emri.geometry import polarization_basis
from astrolearn.emri.parameters import AU, read_columns, read_interval
from astrolearn.emri.series import as_wave

__all__ = ["DETECTORS", "Constellation", "check_detector", "project"]

_YEAR = u.yr.to(u.s)
# TianQin (Luo et al. 2016, 1512.02076): normal of the plane toward RX J0806.3+1527 (ecliptic), period of the satellites
_TIANQIN_THETA, _TIANQIN_PHI = np.deg2rad(94.7), np.deg2rad(120.5)
_TIANQIN_PERIOD = 3.65 * u.day.to(u.s)


def _tianqin_axes(time):
    """
    Axes x, y (3, n) of TianQin: a fixed plane, in which x is the projected ecliptic north pole at time 0.

    The satellites turn clockwise as seen from RX J0806.3+1527. The sense is our choice.
    """
    north, east = polarization_basis(np.array([_TIANQIN_THETA]), np.array([_TIANQIN_PHI]))
    angle = 2 * np.pi * time / _TIANQIN_PERIOD
    cos, sin = np.cos(angle), np.sin(angle)
    return north.T * -cos + east.T * sin, north.T * sin + east.T * cos


def _lisa_axes(time):
    """Axes of LISA (Cutler 1998): the plane is tilted by 60 deg and both it and the satellites turn once a year."""
    angle = 2 * np.pi * time / _YEAR
    cos, sin = np.cos(angle), np.sin(angle)
    x = np.stack([sin, -cos, np.zeros_like(cos)])
    y = np.stack([0.5 * cos, 0.5 * sin, np.full_like(cos, np.sqrt(0.75))])
    return cos * x - sin * y, sin * x + cos * y


@dataclass(frozen=True)
class Constellation:
    """
    How a detector's satellites move.

    Attributes
    ----------
    axes : callable
        Two perpendicular unit vectors (3, n) in the plane of the satellites, that turn with them, at times (n,) in s.
    rotation_frequency : float
        How often the satellites go around their centre, in Hz.
    """

    axes: Callable
    rotation_frequency: float


DETECTORS = {
    "tianqin": Constellation(_tianqin_axes, 1 / _TIANQIN_PERIOD), "lisa": Constellation(_lisa_axes, 1 / _YEAR),
}


def check_detector(detector):
    """Refuse an unknown detector: `ValueError`."""
    if detector not in DETECTORS:
        raise ValueError(f"detector={detector!r} is none of {', '.join(map(repr, DETECTORS))}")
    return detector


def project(h_plus, h_cross, p, detector, *, sample_interval=30 * u.s, start_time=0 * u.s):
    """
    The response of a detector's two channels to a wave.

    Parameters
    ----------
    h_plus, h_cross : `torch.Tensor` or array, shape (n, n_samples)
        Polarisations at the solar-system barycentre in the ecliptic basis, as of `analytic_kludge`.
    p : `~astropy.table.QTable`, row or dict
        The parameters of the n sources, of which ``theta_S`` and ``phi_S`` are needed.
    detector : {"tianqin", "lisa"}
        TianQin's plane is fixed, with its normal toward RX J0806.3+1527; LISA's turns as in Cutler (1998).
    sample_interval, start_time : `~astropy.units.Quantity`, str or float, optional
        Time between samples, and time of the first one, when the detector stands at ecliptic longitude
        2 pi ``start_time`` / yr; plain numbers are seconds.

    Returns
    -------
    h : `torch.Tensor`, shape (n, 2, n_samples)
        Dimensionless strain of the channels I and II. The detector is at 1 au from the Sun; the wave reaches it up to
        500 s earlier or later than the barycentre, and what would lie beyond the ends of the given series is zero.

    Raises
    ------
    ValueError
        If the detector is unknown, the shapes differ, or a direction or the interval cannot be used.
    astropy.units.UnitConversionError
        If the unit of a direction is not one of angles.

    Notes
    -----
    Equations 11-17 and 20-22 of Barack & Cutler (2004), with the delay applied to the waves themselves (by an
    interpolation of 32 samples, whose error is below 0.2 % up to 0.88 of half the sampling frequency, and 2 % at 0.9)
    instead of to their phases.
    """
    check_detector(detector)
    h_plus, h_cross = as_wave(h_plus, "h_plus"), as_wave(h_cross, "h_cross")
    theta, phi = read_columns(p, ("theta_S", "phi_S")).values()
    if h_plus.dim() != 2 or h_plus.shape != h_cross.shape or len(h_plus) != len(theta):
        raise ValueError(f"h_plus {tuple(h_plus.shape)}, h_cross {tuple(h_cross.shape)} and {len(theta)} sources "
                         "do not fit together: both must be (n, n_samples)")
    interval = read_interval(sample_interval)
    start = as_quantity(start_time, u.s, "start_time").value
    if start.ndim:
        raise ValueError(f"start_time={start_time} must be one time")
    n_samples = h_plus.shape[1]
    knots = start + interval * _BLOCK * np.arange(-(-n_samples // _BLOCK) + 1)
    shift = AU / interval * np.sin(theta)[:, None] * np.cos(2 * np.pi * knots / _YEAR - phi[:, None])
    waves = _shifted(torch.stack([h_plus, h_cross]), shift)
    patterns = torch.tensor(_wave_tensors(theta, phi), dtype=waves.dtype, device=waves.device)
    tensors = _detector_tensors(detector, n_samples, interval, float(start), waves.dtype).to(waves.device)
    h = torch.empty(len(theta), 2, n_samples, dtype=waves.dtype, device=waves.device)
    for channel in range(2):
        antenna = patterns @ tensors[channel]  # (2, n, n_samples)
        torch.mul(antenna[0], waves[0], out=h[:, channel])
        h[:, channel].addcmul_(antenna[1], waves[1])
    return h


def _wave_tensors(theta, phi):
    """Components xx, yy, zz, xy, xz, yz (twice off the diagonal) of the plus and the cross tensor: (2, n, 6)."""
    p, q = polarization_basis(theta, phi)
    plus = np.einsum("ni,nj->nij", p, p) - np.einsum("ni,nj->nij", q, q)
    cross = np.einsum("ni,nj->nij", p, q) + np.einsum("ni,nj->nij", q, p)
    both = np.stack([plus, cross])
    return np.stack([both[..., 0, 0], both[..., 1, 1], both[..., 2, 2],
                     2 * both[..., 0, 1], 2 * both[..., 0, 2], 2 * both[..., 1, 2]], axis=-1)


@lru_cache(maxsize=4)
def _detector_tensors(detector, n_samples, interval, start, dtype):
    """Components of the detector tensors of both channels over time: (2, 6, n_samples)."""
    x, y = DETECTORS[detector].axes(start + interval * np.arange(n_samples))
    pairs = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
    first = [x[i] * x[j] - y[i] * y[j] for i, j in pairs]
    second = [x[i] * y[j] + y[i] * x[j] for i, j in pairs]
    return torch.tensor(np.sqrt(3) / 4 * np.array([first, second]), dtype=dtype)


_BLOCK = 64  # samples over which the delay changes linearly: it changes by at most 1e-4 of the time that passes
_TAPS = 32
_KAISER = 6.0


def _kernel(fraction):
    """Kaiser-windowed sinc that evaluates a series at ``fraction`` (0 to 1) after the middle of 32 samples."""
    offset = np.arange(_TAPS) - (_TAPS // 2 - 1) - fraction[..., None]
    window = i0(_KAISER * np.sqrt(np.clip(1 - (offset / (_TAPS / 2)) ** 2, 0, None))) / i0(_KAISER)
    return np.sinc(offset) * window


def _shifted(series, shift):
    """
    Series (2, n, n_samples) evaluated later by a slowly changing number of samples.

    ``shift`` (n, n_blocks + 1), in samples, is given at the starts of the blocks and is linear between them.
    """
    n_samples = series.shape[-1]
    n_blocks = shift.shape[1] - 1
    first = np.floor(np.minimum(shift[:, :-1], shift[:, 1:])).astype(int)  # (n, n_blocks)
    start = _kernel(shift[:, :-1] - first)
    slope = _kernel(shift[:, 1:] - first) - start
    begin = np.arange(n_blocks) * _BLOCK + first - (_TAPS // 2 - 1)
    pad = int(max(-begin.min(), 0)), int(max((begin + _BLOCK + _TAPS).max() - n_samples, 0))
    padded = torch.nn.functional.pad(series, pad)
    kwargs = {"dtype": series.dtype, "device": series.device}
    start, slope = torch.tensor(start, **kwargs), torch.tensor(slope, **kwargs)
    windows = padded.unfold(-1, _BLOCK + _TAPS - 1, 1)
    s = torch.arange(_BLOCK, **kwargs) / _BLOCK
    out = torch.empty(*series.shape[:-1], n_blocks, _BLOCK, **kwargs)
    at_once = 256 if series.device.type == "cpu" else n_blocks
    for i in range(series.shape[1]):
        at = torch.tensor(begin[i] + pad[0], device=series.device)
        for b in range(0, n_blocks, at_once):
            rows = slice(b, b + at_once)
            window = windows[:, i, at[rows]]  # (2, blocks, block + taps - 1)
            constant = window[..., :_BLOCK] * start[i, rows, :1]
            change = window[..., :_BLOCK] * slope[i, rows, :1]
            for k in range(1, _TAPS):
                part = window[..., k : k + _BLOCK]
                constant.addcmul_(part, start[i, rows, k, None])
                change.addcmul_(part, slope[i, rows, k, None])
            out[:, i, rows] = constant.addcmul_(s, change)
    return out.flatten(-2)[..., :n_samples]
