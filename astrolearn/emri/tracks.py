"""
Searches without training: the best track through the spectrogram.

A line of an inspiral rises smoothly in frequency. Its power is summed along tracks that are made of one straight line
per block of data, where a track goes on where it was and its slope changes little. Dynamic programming finds the best
of all such tracks at once, from the first block forward and from the last one backward, so that for every line in every
block the best track through it is known. All this is done for six polarisations, because a line has one.
"""

from dataclasses import dataclass
from functools import partial

import astropy.units as u
import numpy as np
import torch

from astrolearn.core.parallel import map_batches
from astrolearn.emri.levels import levelled
from astrolearn.emri.noise import MIN_FREQUENCY
from astrolearn.emri.parameters import read_interval
from astrolearn.emri.response import check_detector
from astrolearn.emri.series import as_series, check_whitened
from astrolearn.emri.spectrogram import LineSearch, power_along

__all__ = ["POLARIZATIONS", "SEARCH", "Tracks", "best_tracks", "track_statistic"]

SEARCH = LineSearch()
# the six ends of the axes of the Poincare sphere
POLARIZATIONS = torch.cat([torch.eye(3), -torch.eye(3)])
# From block to block the slope may fall by one step or rise by two.
_FALL, _RISE = 1, 2
_NOWHERE = -1e9
# Frames overlap by half, so that their powers are correlated: the variance of a sum is 1.2 times as large.
_OVERLAP = 1.2
_VITERBI_FRAME = 2048


def track_statistic(X, method="smooth", *, detector="tianqin", sample_interval=30 * u.s, n_jobs=None):
    """
    The strength of the best track through each series, in standard deviations of noise.

    Parameters
    ----------
    X : array-like, `~astropy.units.Quantity` or list of `~astropy.timeseries.TimeSeries`, shape (n, 2, n_samples)
        Whitened channels I and II of any length from 4096 samples on; NaN and masked samples are gaps.
    method : {"smooth", "viterbi"}, optional
        ``"smooth"`` (default): the best track whose slope changes slowly, of the power in the best of six
        polarisations, after the rotation of the detector is undone. ``"viterbi"``: the best track that moves by at most
        one bin from one frame to the next, of the power of both channels in frames of 2048 samples; the usual statistic
        (SOAP: Bayley et al. 2019, 1903.12614).
    detector : {"tianqin", "lisa"}, optional
        Default: TianQin.
    sample_interval : `~astropy.units.Quantity`, str or float, optional
        Plain numbers are seconds.
    n_jobs : int or None, optional
        Processes, as for `joblib.Parallel`.

    Returns
    -------
    statistic : `numpy.ndarray`, float64 (n,)
        What a value means depends on the length: compare with that of noise of the same length.

    Raises
    ------
    ValueError
        If a series is too short, not white, or sampled at another interval.
    """
    if method not in _METHODS:
        raise ValueError(f"method={method!r} is none of {', '.join(map(repr, _METHODS))}")
    interval = read_interval(sample_interval)
    series = as_series(X, interval)
    for i, x in enumerate(series):
        check_whitened(x, f"X[{i}]", shortest=SEARCH.frame)
    score = partial(_METHODS[method], detector=check_detector(detector), sample_interval=interval)
    return np.array(list(map_batches(score, series, n_jobs)))


def _smooth_statistic(x, detector, sample_interval):
    x = torch.from_numpy(levelled(x[:, : x.shape[1] // 2 * 2], sample_interval))
    power = power_along(SEARCH.sums(x, detector, sample_interval), POLARIZATIONS)
    # tracks that left the band before the last block are in the maximum over their last block
    best = max(table.max().item() for table in _forward(power, SEARCH.slope_step))
    return best / noise_deviation(x)


def _viterbi_statistic(x, detector, sample_interval):
    del detector  # the plain search does not know how it turns
    x = torch.from_numpy(np.nan_to_num(levelled(x, sample_interval)))
    n = _VITERBI_FRAME
    lowest = max(int(MIN_FREQUENCY.value * sample_interval * n), 1)
    window = torch.sin(torch.pi * (torch.arange(n) + 0.5) / n) * (2 / n) ** 0.5
    power = torch.fft.rfft(x.unfold(-1, n, n // 2) * window).abs().square().sum(dim=0)[:, lowest : n // 2]
    best = power[0]
    for frame in power[1:]:
        best = frame + torch.nn.functional.max_pool1d(best[None], 3, 1, 1)[0]
    return (best.max().item() - 2 * len(power)) / (2 * _OVERLAP * len(power)) ** 0.5


_METHODS = {"smooth": _smooth_statistic, "viterbi": _viterbi_statistic}


def noise_deviation(x):
    """Standard deviation of the power of noise in one polarisation along a track through a series, NaN in its gaps."""
    share = 1 - torch.isnan(x).any(dim=0).float().mean().item()
    return (SEARCH.n_frames(x.shape[1]) * share * _OVERLAP) ** 0.5


def _arrivals(tables, step):
    """Tables (..., n_slopes, n_bins) by where lines end instead of where they begin; -inf where none ends."""
    n_slopes, n_bins = tables.shape[-2:]
    reach = n_slopes * step
    padded = torch.nn.functional.pad(tables, (reach, 0), value=_NOWHERE)
    return _sheared(padded, n_slopes, n_bins, n_bins + reach - step, reach)


def _departures(tables, step):
    """Tables by where the next line begins as seen from where this one does; zero if it leaves the band."""
    n_slopes, n_bins = tables.shape[-2:]
    reach = n_slopes * step
    return _sheared(torch.nn.functional.pad(tables, (0, reach)), n_slopes, n_bins, n_bins + reach + step, 0)


def _sheared(padded, n_slopes, n_bins, row, offset):
    """A view of padded tables in which each slope's row is shifted by the slope."""
    flat = padded.reshape(*padded.shape[:-2], -1)
    stride = flat.stride()
    size = (*flat.shape[:-1], n_slopes, n_bins)
    return torch.as_strided(flat, size, (*stride[:-1], row, 1), flat.storage_offset() + offset)


def _best_neighbour(tables, fall, rise):
    """For each slope the best of those from ``fall`` steps above to ``rise`` steps below it."""
    best = tables.clone()
    for d in range(1, rise + 1):
        torch.maximum(best[..., d:, :], tables[..., :-d, :], out=best[..., d:, :])
    for d in range(1, fall + 1):
        torch.maximum(best[..., :-d, :], tables[..., d:, :], out=best[..., :-d, :])
    return best


def _forward(power, step):
    """For each block the best sum over tracks that end with a line: (n_blocks of) (n, n_slopes, n_bins)."""
    tables = [power[:, 0]]
    for block in range(1, power.shape[1]):
        before = _best_neighbour(_arrivals(tables[-1], step), _FALL, _RISE)
        tables.append(power[:, block] + before)
    return tables


def _backward(power, step):
    """For each block the best sum over tracks that begin with a line."""
    tables = [power[:, -1]]
    for block in range(power.shape[1] - 2, -1, -1):
        after = _departures(_best_neighbour(tables[-1], _RISE, _FALL), step)
        tables.append(power[:, block] + after)
    return tables[::-1]


@dataclass
class Tracks:
    """
    The strongest tracks through a series.

    Attributes
    ----------
    score : `torch.Tensor`, shape (n,)
        Power in the best of the six polarisations, in standard deviations of noise, strongest first.
    middle : `torch.Tensor` of int, shape (n,)
        Frequency bin at the beginning of the middle block.
    bins, slopes : `torch.Tensor` of int, shape (n, n_blocks)
        Where each block's line begins, and the number of its slope.
    """

    score: torch.Tensor
    middle: torch.Tensor
    bins: torch.Tensor
    slopes: torch.Tensor


def best_tracks(sums, n_tracks, deviation):
    """
    The strongest tracks that differ in the middle of the data.

    Parameters
    ----------
    sums : `torch.Tensor`, shape (4, n_blocks, n_slopes, n_bins)
        Of a `LineSearch`.
    n_tracks : int
        How many; they are at least four bins apart in the middle block.
    deviation : float
        See `noise_deviation`.

    Returns
    -------
    tracks : Tracks
    """
    step, n_slopes, n_bins = SEARCH.slope_step, *sums.shape[2:]
    power = power_along(sums, POLARIZATIONS)
    n_blocks = power.shape[1]
    middle = n_blocks // 2
    forward, backward = _forward(power, step), _backward(power, step)
    through = (forward[middle] + backward[middle] - power[:, middle]).reshape(-1, n_bins)
    best, which = through.max(dim=0)
    peak = torch.nn.functional.max_pool1d(best[None], 7, 1, 3)[0]
    score, start = torch.where(best == peak, best, _NOWHERE).topk(n_tracks)
    polarization, slope = which[start] // n_slopes, which[start] % n_slopes

    bins, slopes = (torch.empty(n_tracks, n_blocks, dtype=torch.long, device=sums.device) for _ in range(2))
    bins[:, middle], slopes[:, middle] = start, slope

    def follow(table, at, now, changes, moves):
        """The best slope in a neighbouring block, where ``moves`` says whether its line ends or begins at a bin."""
        wanted = now[:, None] + torch.arange(changes[0], changes[1] + 1, device=now.device)
        there = wanted.clamp(0, n_slopes - 1)
        begins = at[:, None] - there * step if moves else at[:, None].expand_as(there)
        values = table[polarization[:, None], there, begins.clamp(0, n_bins - 1)]
        values = torch.where((there == wanted) & (begins >= 0), values, _NOWHERE)
        return there.gather(1, values.argmax(dim=1, keepdim=True))[:, 0]

    at, now = start, slope
    for block in range(middle - 1, -1, -1):
        now = follow(forward[block], at, now, (-_RISE, _FALL), True)
        at = (at - now * step).clamp(min=0)
        bins[:, block], slopes[:, block] = at, now
    at, now = start, slope
    for block in range(middle + 1, n_blocks):
        at = at + now * step
        now = follow(backward[block], at, now, (-_FALL, _RISE), False)
        bins[:, block], slopes[:, block] = at, now
    return Tracks(score / deviation, start, bins, slopes)
