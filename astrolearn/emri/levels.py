"""The level of the noise of a whitened series, taken from itself, so that a search need not be told."""

import numpy as np
import torch
from scipy.ndimage import median_filter

from astrolearn.emri.noise import MIN_FREQUENCY

__all__ = ["levelled"]

_OUTLIER = 8  # standard deviations: one in 1e15 samples of Gaussian noise
_PIECE = 256  # samples, 2 h at 30 s, from whose power the level is found
_NEIGHBOURS = 21  # frequencies, 2.7 mHz at 30 s, over which it is smoothed
_LOWEST = 0.2  # of the level that a tenth of the frequencies exceeds: a band with less has been filtered out


def levelled(x, sample_interval):
    """
    Bring the noise of a whitened series to a variance of one from 0.1 mHz on, to nothing below, and drop outliers.

    A search that adds up power over months notices a density that is wrong by 1 %, and no measured density is better.
    So each channel is divided by its own level: the median over time of the power in pieces of two hours, and the
    median of that over neighbouring frequencies, which the lines of a signal hardly move. It is good to about 1 %
    per channel in three months. A density that is wrong from one frequency to the next is not mended by this. Below
    0.1 mHz there is noise or none, as it was whitened; a level that was taken from there would make false lines. So at
    30 s the first level is that of 0.26 mHz and its neighbours, and the frequencies below share it.

    Parameters
    ----------
    x : `numpy.ndarray`, float32 (2, n_samples)
        One of those that `check_whitened` accepts, NaN in gaps.
    sample_interval : float
        In s.

    Returns
    -------
    x : `numpy.ndarray`, float32 (2, n_samples)
        NaN in both channels where one of them has a gap, or stood out by 8 standard deviations, as a glitch does and an
        inspiral never.

    Raises
    ------
    ValueError
        If the series has no frequencies above 0.1 mHz, or next to no noise in a part of them: the edge of what a filter
        has taken out would pass for a line.
    """
    n = x.shape[1]
    deviation = 1.4826 * np.nanmedian(np.abs(x), axis=1, keepdims=True)
    gaps = ~(np.abs(x) <= _OUTLIER * deviation).all(axis=0, keepdims=True)
    filled = torch.from_numpy(np.where(gaps, 0, x))
    whole = n // _PIECE * _PIECE
    share = 1 - gaps[0, :whole].reshape(-1, _PIECE).mean(axis=1)
    used = share > 0.5 if (share > 0.5).any() else share > 0
    power = torch.fft.rfft(filled[:, :whole].view(2, -1, _PIECE)[:, used])[..., 1:-1].abs().square().numpy()
    level = np.median(power / (_PIECE * share[used, None]).astype(np.float32), axis=1) / np.log(2)
    frequency, known = np.fft.rfftfreq(n, sample_interval), np.fft.rfftfreq(_PIECE, sample_interval)[1:-1]
    # frequencies of a piece reach as far as the next one
    above = known >= MIN_FREQUENCY.value + known[0]
    if not above.any():
        raise ValueError(f"a series every {sample_interval:g} s has no frequencies above {MIN_FREQUENCY.to('mHz'):g}")
    level = median_filter(level[:, above], size=(1, _NEIGHBOURS), mode="reflect")
    empty = (level < _LOWEST * np.quantile(level, 0.9, axis=1, keepdims=True)).any(axis=0)
    if empty.any():
        low, high = 1e3 * known[above][empty][[0, -1]]
        raise ValueError(f"the series has next to no noise between {low:.2g} and {high:.2g} mHz: it is not white. "
                         "Whiten it without filtering it, or resample it to the frequencies that it has")
    factors = np.stack([1 / np.sqrt(np.interp(frequency, known[above], one)) for one in level])
    factors[:, frequency < MIN_FREQUENCY.value] = 0
    flat = torch.fft.irfft(torch.fft.rfft(filled) * torch.from_numpy(factors).float(), n=n).numpy()
    flat[:, gaps[0]] = np.nan
    return flat
