"""
Noise of the detectors, whitening, and the signal-to-noise ratio.

One convention throughout: the power spectral density of `noise_psd` is one-sided and is that of *one channel* of
`astrolearn.emri.project`, a channel of the long-wavelength limit. The loss of response at wavelengths near the arm
length stands in the noise, so that both detectors have the sky-averaged sensitivity of their references: averaged over
directions and polarisations, the two channels together respond with 3/10 of the power of a wave.

Whitening multiplies the Fourier transform of a series by sqrt(2 dt / S_n(f)): Gaussian noise of that density becomes
white with unit variance, and the squared signal-to-noise ratio of a signal is the sum of the squares of its whitened
samples in both channels.
"""

import astropy.constants as const
import astropy.units as u
import numpy as np
import torch
from scipy.interpolate import PchipInterpolator

from astrolearn.core.inputs import as_quantity
from astrolearn.core.transformers import StatelessTransformer
from astrolearn.emri.parameters import read_interval
from astrolearn.emri.response import check_detector
from astrolearn.emri.series import as_series

__all__ = ["MIN_FREQUENCY", "Whitener", "noise_psd", "signal_to_noise", "whiten", "whitening_filter"]

MIN_FREQUENCY = 1e-4 * u.Hz  # below it both detectors' noise rises steeply and nothing is searched
_FINE = 0.02  # distance of the last two frequencies of a measured density, over the last
_TIANQIN_ARM = np.sqrt(3) * 1e8 * u.m
_LISA_ARM = 2.5e9 * u.m


def noise_psd(frequency, detector="tianqin"):
    """
    Power spectral density of the noise in one channel of a detector.

    Parameters
    ----------
    frequency : `~astropy.units.Quantity` or array-like
        Positive frequencies; plain numbers are in Hz.
    detector : {"tianqin", "lisa"}, optional
        Default: TianQin.

    Returns
    -------
    psd : `~astropy.units.Quantity`
        One-sided, in 1/Hz, for a channel of `project`.

    Raises
    ------
    ValueError
        If the detector is unknown or a frequency is not positive.

    Notes
    -----
    TianQin: acceleration noise 1e-15 m/s2/rtHz, rising as 1e-4 Hz / f below 0.1 mHz, and position noise 1e-12 m/rtHz,
    on arms of sqrt(3) 1e8 m (Luo et al. 2016, 1512.02076; Fan et al. 2020, 2005.08212, for two channels).

    LISA: Robson, Cornish & Liu (2019), 1803.01944: equations 1, 10 and 11, and the Galactic foreground of equation 14
    for six months of data; 3/10 of their sky-averaged curve.

    Both times 1 + 0.6 (2 pi f L / c)2 for the loss of response (Robson et al., equation 9).
    """
    f = as_quantity(np.asanyarray(frequency), u.Hz, "frequency")
    if not (f > 0).all():
        raise ValueError("frequency must be positive: the noise at zero frequency is infinite")
    return {"tianqin": _tianqin_psd, "lisa": _lisa_psd}[check_detector(detector)](f).to(1 / u.Hz)


def _response_loss(f, arm):
    return 1 + 0.6 * (2 * np.pi * f * arm / const.c).to_value(u.one) ** 2


def _tianqin_psd(f):
    acceleration = (1e-15 * u.m / u.s**2) ** 2 / u.Hz * (1 + (1e-4 * u.Hz / f).to_value(u.one))
    position = (1e-12 * u.m) ** 2 / u.Hz
    return (4 * acceleration / (2 * np.pi * f) ** 4 + position) / _TIANQIN_ARM**2 * _response_loss(f, _TIANQIN_ARM)


def _lisa_psd(f):
    hz = f.to_value(u.Hz)
    optical = (1.5e-11 * u.m) ** 2 / u.Hz * (1 + (2e-3 / hz) ** 4)
    acceleration = (3e-15 * u.m / u.s**2) ** 2 / u.Hz * (1 + (0.4e-3 / hz) ** 2) * (1 + (hz / 8e-3) ** 4)
    light_travel = (2 * np.pi * f * _LISA_ARM / const.c).to_value(u.one)
    links = optical + 2 * (1 + np.cos(light_travel) ** 2) * acceleration / (2 * np.pi * f) ** 4
    # the fit is for the band of the foreground, beyond which the exponent would overflow
    foreground = 9e-45 * hz ** (-7 / 3) * np.exp(np.clip(-(hz**0.133) + 243 * hz * np.sin(482 * hz), None, 100))
    foreground = foreground * (1 + np.tanh(917 * (2.58e-3 - hz))) / u.Hz
    return links / _LISA_ARM**2 * _response_loss(f, _LISA_ARM) + 0.3 * foreground


def whitening_filter(n_samples, sample_interval, psd):
    """
    What the Fourier transform of a series is multiplied by.

    Parameters
    ----------
    n_samples : int
        Length of the series.
    sample_interval : float
        In s.
    psd : str or callable
        A detector, or a function from frequencies in Hz to the noise density in 1/Hz, both plain arrays.

    Returns
    -------
    factors : `numpy.ndarray`, shape (n_samples // 2 + 1,)
        sqrt(2 dt / S_n(f)), and zero below 0.1 mHz.
    """
    frequency = np.fft.rfftfreq(n_samples, sample_interval)
    used = frequency >= MIN_FREQUENCY.value
    density = psd(frequency[used]) if callable(psd) else noise_psd(frequency[used], psd).value
    factors = np.zeros(len(frequency))
    factors[used] = np.sqrt(2 * sample_interval / density)
    return factors


def whiten(h, factors):
    """Apply the factors of `whitening_filter` to a tensor (..., n_samples)."""
    factors = torch.as_tensor(factors, dtype=h.dtype, device=h.device)
    return torch.fft.irfft(torch.fft.rfft(h) * factors, n=h.shape[-1])


def _differenced_filter(n_samples, sample_interval, psd):
    """How often to take differences before whitening, and the filter for what they leave."""
    factors = whitening_filter(n_samples, sample_interval, psd)
    if not factors.any():
        raise ValueError(f"{n_samples} samples every {sample_interval:g} s hold no frequency from "
                         f"{MIN_FREQUENCY.to('mHz'):g} on, where whitening begins")
    difference = 1 - np.exp(-2j * np.pi * np.arange(len(factors)) / n_samples)
    used = factors > 0
    spread = [np.ptp(np.log(factors[used] / np.abs(difference[used]) ** order)) for order in range(4)]
    order = int(np.argmin(spread))
    return order, factors / np.where(used, difference, 1) ** order


def _whiten_differences(x, order, factors):
    """Whiten a series with the filter for its differences; NaN where these are unknown."""
    differences = np.zeros_like(x)  # the first ones would need samples from before the beginning
    differences[:, order:] = np.diff(x, n=order)
    gaps = np.isnan(differences) | np.isnan(x)
    white = np.fft.irfft(np.fft.rfft(np.where(gaps, 0, differences)) * factors, n=x.shape[1])
    white[gaps] = np.nan
    return white.astype(np.float32)


def signal_to_noise(whitened):
    """
    Optimal signal-to-noise ratio of whitened signals.

    Parameters
    ----------
    whitened : `torch.Tensor` or array, shape (..., 2, n_samples)
        Both channels.

    Returns
    -------
    snr : `torch.Tensor`, shape (...)
        That of a filter that knows the signal, over both channels.
    """
    return torch.as_tensor(whitened).double().square().sum(dim=(-2, -1)).sqrt()


class Whitener(StatelessTransformer):
    """
    Turns strain into series whose noise is white with unit variance; it learns nothing from data.

    The noise of a detector is red: its slow drifts are many orders of magnitude above what is searched for, and where
    data begin, end or are missing they would jump. So the series is differenced first, as often as makes its density
    flattest (twice for TianQin and LISA at 30 s). Differences know no drifts, so that the rest of the filter is short
    and a gap in them does no more harm than a gap in white noise.

    Parameters
    ----------
    psd : str, `~astropy.table.QTable` or tuple, optional
        ``"tianqin"`` (default) or ``"lisa"`` for `noise_psd`, or the measured density of one channel: a table with the
        columns ``frequency`` and ``psd``, or a tuple of these two Quantities (plain numbers: Hz and 1/Hz). It is
        interpolated in the logarithms and must reach from 0.1 mHz to half the sampling frequency; where it is fine, the
        value at this last frequency, of which Welch's method gives one half, is not used.
    sample_interval : `~astropy.units.Quantity`, str or float, optional
        Time between samples; plain numbers are seconds.
    """

    def __init__(self, psd="tianqin", *, sample_interval=30 * u.s):
        self.psd = psd
        self.sample_interval = sample_interval

    def transform(self, X):
        """
        Whiten strain.

        Parameters
        ----------
        X : array-like, `~astropy.units.Quantity` or list of `~astropy.timeseries.TimeSeries`, (n, 2, n_samples)
            Dimensionless strain of the channels I and II, in double precision. NaN and masked samples are gaps.

        Returns
        -------
        whitened : `numpy.ndarray` of float32 (n, 2, n_samples), or a list of arrays (2, n_samples)
            A list where the series differ in length. Gaps are NaN; each takes the few samples after it along whose
            differences reach back into it.

        Raises
        ------
        ValueError
            If the sampling interval of a TimeSeries is another one, the shape is wrong or there are infinite values.
        """
        interval = read_interval(self.sample_interval)
        density = self._prepare()
        series = as_series(X, interval, dtype=np.float64)
        filters = {n: _differenced_filter(n, interval, density) for n in {x.shape[1] for x in series}}
        out = [_whiten_differences(x, *filters[x.shape[1]]) for x in series]
        return np.stack(out) if len(filters) == 1 else out

    def _prepare(self):
        if isinstance(self.psd, str):
            return check_detector(self.psd)
        if isinstance(self.psd, tuple) and len(self.psd) == 2:
            frequency, psd = self.psd
        else:
            try:
                frequency, psd = self.psd["frequency"], self.psd["psd"]
            except (TypeError, KeyError, IndexError) as error:
                raise ValueError("psd must be 'tianqin', 'lisa', a table with the columns frequency and psd, or a "
                                 "tuple of these two") from error
        frequency = as_quantity(np.asanyarray(frequency), u.Hz, "frequency").value
        psd = as_quantity(np.asanyarray(psd), 1 / u.Hz, "psd").value
        if frequency.ndim != 1 or frequency.shape != psd.shape or len(psd) < 2:
            raise ValueError("frequency and psd must be two columns of one length, of at least 2 rows")
        if not (psd > 0).all() or not (frequency >= 0).all() or not (np.diff(frequency) > 0).all():
            raise ValueError("psd must be positive, and its frequencies must increase")
        used = frequency > 0
        # a one-sided density from Welch's method is half of the truth at half the sampling frequency; where the table
        # is fine, the value before it will do
        spacing = (frequency[-1] - frequency[-2]) / frequency[-1]
        nyquist = 0.5 / read_interval(self.sample_interval)
        halved = spacing < _FINE and np.isclose(frequency[-1], nyquist, rtol=1e-6)
        used[-1] &= not halved
        if used.sum() < 2:
            raise ValueError("the psd needs at least 2 positive frequencies")
        spline = PchipInterpolator(np.log(frequency[used]), np.log(psd[used]), extrapolate=False)

        def density(f):
            values = np.exp(spline(np.log(np.minimum(f, frequency[used][-1]) if halved else f)))
            if np.isnan(values).any():
                raise ValueError(f"the psd reaches from {frequency[used][0]:g} to {frequency[-1]:g} Hz, "
                                 f"but {f[0]:g} to {f[-1]:g} Hz is needed")
            return values

        return density
