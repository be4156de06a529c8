"""
What a search looks at: the power of two whitened channels over time, frequency and polarisation.

Three things make the lines of an inspiral stand out.

*Derotation.* A detector whose satellites turn in a fixed plane with the frequency F sees every line split into two, 2 F
above and below. z = (x_I + i x_II) exp(2 i 2 pi F t) undoes this: in z the plane stands still. What z holds at positive
and at negative frequencies are two independent series, the two circular polarisations of the wave; both are kept at
half the sampling rate.

*Stokes parameters.* From the short-time Fourier transforms a, b of these two come S0 = |a|2 + |b|2, S1 = |a|2 - |b|2,
S2 + i S3 = 2 a conj(b). The power in a polarisation, a unit vector n on the Poincare sphere, is (S0 + n S) / 2: half
the noise of S0 for all of the signal.

*Chirps.* A line that drifts over many bins within a frame is smeared. Before the transform the frames are multiplied
with chirps of a few rates, and a line of some slope is looked up in the spectrogram of the nearest rate. So frames can
be longer, and their bins narrower.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch

from astrolearn.emri.noise import MIN_FREQUENCY
from astrolearn.emri.response import DETECTORS

__all__ = ["LineSearch", "circular_series", "power_along"]


def circular_series(x, detector, sample_interval):
    """
    Two complex series at half the sampling rate from two real channels.

    Parameters
    ----------
    x : `torch.Tensor`, shape (2, n_samples)
        Whitened channels, an even number of samples, zero in gaps.
    detector : str
        It says how fast the satellites turn.
    sample_interval : float
        In s.

    Returns
    -------
    y : complex `torch.Tensor`, shape (2, n_samples // 2)
        Of unit variance for noise. The frequency 1 / (2 dt) is the sampling frequency here.
    """
    n_samples = x.shape[-1]
    turning = 2 * DETECTORS[detector].rotation_frequency * sample_interval
    z = torch.fft.fft(torch.complex(x[0], x[1]) * _phasor(n_samples, turning, x.dtype, x.device))
    half = n_samples // 2
    negative = torch.cat([z[:1], z[half + 1 :].flip(-1)]).conj()
    return torch.fft.ifft(torch.stack([z[:half], negative])) / 2


@lru_cache(maxsize=4)
def _phasor(n_samples, turns, dtype, device):
    """exp(2 pi i turns k) of the samples k."""
    cycles = torch.arange(n_samples, dtype=torch.float64, device=device) * turns
    phase = (2 * torch.pi * torch.remainder(cycles, 1)).to(dtype)
    return torch.polar(torch.ones_like(phase), phase)


@dataclass(frozen=True)
class LineSearch:
    """
    Sums of power along short straight lines through the spectrogram.

    The data are cut into blocks; within a block a track is a straight line of one of ``n_slopes`` slopes.

    Parameters
    ----------
    frame : int
        Samples in a frame; frames overlap by half, with a sine window.
    frames_per_block : int
        Frames that start in a block.
    n_slopes, slope_step : int
        Slopes are 0, ``slope_step``, 2 ``slope_step``, ... bins per block: inspirals only rise.
    rate_step : float
        Distance of the chirp rates in bins per frame; infinite for none.
    """

    frame: int = 4096
    frames_per_block: int = 8
    n_slopes: int = 24
    slope_step: int = 2
    rate_step: float = 2.0
    _windows: torch.Tensor = field(init=False, repr=False, compare=False)
    _rate: tuple = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        # a frame lasts two hops
        drift = np.arange(self.n_slopes) * self.slope_step * 2 / self.frames_per_block
        rate = np.round(drift / self.rate_step).astype(int)
        n_rates = rate.max() + 1
        size = self.n_bins
        position = (np.arange(size) + 0.5) / size
        step = self.rate_step if n_rates > 1 else 0.0
        # a line that drifts by d bins over a frame of the length T is a chirp exp(i pi d (t / T - 1/2)^2)
        chirp = np.exp(-1j * np.pi * step * np.arange(n_rates)[:, None] * (position - 0.5) ** 2)
        window = np.sin(np.pi * position) * chirp / np.sqrt(size / 2)
        object.__setattr__(self, "_windows", torch.tensor(window, dtype=torch.complex64))
        object.__setattr__(self, "_rate", tuple(int(r) for r in rate))

    @property
    def n_bins(self):
        """Number of frequencies from 0 to half the sampling frequency."""
        return self.frame // 2

    @property
    def slopes(self):
        """Slopes in bins per block."""
        return [j * self.slope_step for j in range(self.n_slopes)]

    @property
    def block(self):
        """Samples in a block."""
        return self.frames_per_block * self.frame // 2

    def n_frames(self, n_samples):
        """Frames in a series."""
        return (n_samples - self.frame) // (self.frame // 2) + 1

    def stokes(self, y, valid=None):
        """
        Stokes parameters of each frame, frequency and chirp rate, less what noise has on average.

        Parameters
        ----------
        y : complex `torch.Tensor`, shape (2, n)
            From `circular_series`.
        valid : `torch.Tensor`, shape (n,), optional
            Fraction of the samples of y that are not in gaps. Default: all.

        Returns
        -------
        stokes : `torch.Tensor`, shape (n_rates, 4, n_frames, n_bins)
        """
        size = self.n_bins
        frames = y.unfold(-1, size, size // 2)
        windows = self._windows.to(y.device)
        expected = 2.0
        if valid is not None:
            power = windows[0].abs().square()
            expected = 2 * (valid.unfold(-1, size, size // 2) * power).sum(dim=-1)[:, None]
        out = torch.empty(len(windows), 4, frames.shape[1], size, device=y.device)
        for stokes, window in zip(out, windows, strict=True):
            (a, b) = torch.fft.fft(frames * window)
            power_a, power_b = a.real.square() + a.imag.square(), b.real.square() + b.imag.square()
            cross = 2 * a * b.conj()
            stokes[0] = power_a + power_b - expected
            stokes[1] = power_a - power_b
            stokes[2], stokes[3] = cross.real, cross.imag
        return out

    def line_sums(self, stokes, sample_interval):
        """
        Sums over the frames of each block along straight lines.

        Parameters
        ----------
        stokes : `torch.Tensor`, shape (n_rates, 4, n_frames, n_bins)
            From `stokes`; its lowest frequencies are set to zero.
        sample_interval : float
            In s: nothing is searched below 0.1 mHz.

        Returns
        -------
        sums : `torch.Tensor`, shape (4, n_blocks, n_slopes, n_bins)
            By the frequency at which the line begins; beyond the highest frequency there is nothing to add.
        """
        n_rates, _, n_frames, n_bins = stokes.shape
        stokes[..., : self.lowest_bin(sample_interval)] = 0
        n_blocks = -(-n_frames // self.frames_per_block)
        reach = self.slopes[-1] + 1
        padding = (0, reach, 0, n_blocks * self.frames_per_block - n_frames)
        padded = torch.nn.functional.pad(stokes, padding)
        padded = padded.view(n_rates, 4, n_blocks, self.frames_per_block, n_bins + reach)
        sums = torch.zeros(4, n_blocks, self.n_slopes, n_bins, device=stokes.device)
        for j, slope in enumerate(self.slopes):
            for k in range(self.frames_per_block):
                offset = int(slope * (k + 0.5) / self.frames_per_block + 0.5)
                sums[:, :, j] += padded[self._rate[j], :, :, k, offset : offset + n_bins]
        return sums

    def lowest_bin(self, sample_interval):
        """First bin that is searched."""
        return int(MIN_FREQUENCY.value * sample_interval * self.frame)

    def sums(self, x, detector, sample_interval):
        """
        Sums along lines, (4, n_blocks, n_slopes, n_bins), from whitened channels.

        Parameters
        ----------
        x : `torch.Tensor`, shape (2, n_samples)
            NaN in gaps.
        detector, sample_interval
            See `circular_series`.
        """
        gaps = torch.isnan(x).any(dim=0)
        valid = None
        if gaps.any():
            x = torch.where(gaps, 0, x)
            valid = 1 - gaps.view(-1, 2).to(x.dtype).mean(dim=1)
        y = circular_series(x, detector, sample_interval)
        return self.line_sums(self.stokes(y, valid), sample_interval)


def power_along(sums, directions):
    """Power in some polarisations, from Stokes parameters (4, ...) and unit vectors (n, 3) to (n, ...)."""
    polarised = torch.tensordot(directions.to(sums), sums[1:], dims=1)
    return polarised.add_(sums[0]).mul_(0.5)
