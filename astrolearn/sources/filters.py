r"""Matched filters for photon counts: how significant a source would be at each pixel.

A source that would bring :math:`s k` photons to pixels that expect :math:`b` is best told from background by the
likelihood ratio, whose part that depends on the counts is :math:`\sum n \ln(1 + s k / b)` (Ofek & Zackay 2018, AJ 155,
169). That is a linear filter, and the best one for sources near strength s. Where photons are many it is the matched
filter :math:`\sum n k / b`; where they are few, it keeps one photon at the centre from outweighing three around it. So
s is chosen at every pixel as the strength that is just detectable there, and energy bins add up.

:math:`s / b` varies over the sky and the kernel with it; sums are made for a ladder of its values and interpolated.
"""

from functools import partial

import numpy as np

from astrolearn.core.progress import progress
from astrolearn.sky.convolve import correlate, kernel_sum

__all__ = ["significances"]

_DETECTABLE = 4.0  # standard deviations: the strength for which the filter is best
# relative error of the background under a source: Abdollahi et al. 2020, ApJS 247, 33 (4FGL), section 3.2
_SYSTEMATIC = 0.03
_LINEAR = 0.2  # s k / b at the centre below which the logarithm is a straight line
_LADDER = 4.0  # ratio of successive values of s / b


def significances(observation, background, spectra, verbose=0):
    r"""
    Significance, in standard deviations, of a source of given spectrum at every pixel.

    The filter's sum over the counts is taken as a scaled Poisson variable of the mean :math:`\mu` and the variance V
    that it has without a source (Fay & Feuer 1997, Stat. Med. 16, 791): :math:`N = T \mu / V` around :math:`M = \mu^2 /
    V`, whose signed likelihood-ratio root :math:`\sqrt{2 (N \ln (N / M) - N + M)}` (Li & Ma 1983, ApJ 272, 317, known
    background) is near normal even where photons are few.

    Where photons are many the background's own error counts, not statistics: as in the 4FGL catalogue a bin is weighed
    down by :math:`1 / (1 + \epsilon^2 N)`, with N the background photons under the PSF and :math:`\epsilon` = 3 %.

    Parameters
    ----------
    observation : Observation
    background : array, shape (n_energy, *lattice.shape)
        Expected counts without sources.
    spectra : array, shape (n_spectra, n_energy)
        Share of the source's photons in each bin; bins of share 0 are left out.
    verbose : int, optional
        With 1, a progress bar.

    Returns
    -------
    array of float32, shape (n_spectra, *search_lattice.shape)
        0 where nothing was observed.
    """
    spectra = np.asarray(spectra, np.float32)
    lattice, psf, valid = observation.lattice, observation.pixel_psf, observation.valid
    squares = [kernel_sum(lattice, psf, i, np.square) for i in range(observation.n_energy)]
    strength, seen = _detectable(background, spectra, squares), valid.astype(np.float32)
    mean, spread, area = (np.zeros(strength.shape, np.float32) for _ in range(3))
    excess = [np.zeros((1, *lattice.shape), np.float32) for _ in spectra]
    bins = progress(observation.counts, "summing under the PSF", verbose=verbose)
    for i, (counts, expected) in enumerate(zip(bins, background, strict=True)):
        used = np.flatnonzero(spectra[:, i])
        if not len(used):
            continue
        inside = np.ones_like(seen) if valid.all() else np.clip(correlate(lattice, [seen], psf, i)[0], 0, 1)
        trust = _trust(expected, squares[i])
        amplitudes = strength[used] * spectra[used, i].reshape(-1, *[1] * valid.ndim) * _over(trust, expected)
        ladder = _Ladder(amplitudes[:, valid], counts - expected, observation, i)
        for row, amplitude in zip(used, amplitudes, strict=True):
            found, one, two = ladder.at(amplitude)
            excess[row] = excess[row] + found
            mean[row] += expected * inside * one
            spread[row] += expected * inside * two / trust
            area[row] += spectra[row, i] * trust * (inside - 0.05)
    seen = (area > 0) & valid & (spread > 0)
    scale = np.where(seen, mean / np.maximum(spread, 1e-30), 0)
    expected = np.maximum(mean * scale, 1e-6)
    out = np.zeros((len(spectra), *observation.search_lattice.shape), np.float32)
    for row, trials in enumerate(excess):
        found = np.maximum(expected[row] + trials * scale[row], 1e-6)
        deviance = 2 * (found * np.log(found / expected[row]) - found + expected[row])
        z = np.where(seen[row], np.sign(found - expected[row]) * np.sqrt(np.maximum(deviance, 0)), 0)
        out[row] = lattice.interleave(np.broadcast_to(z, (4, *lattice.shape))) if observation.undersampled else z[0]
    return out


def _over(numerator, denominator):
    return np.divide(numerator, denominator, out=np.zeros_like(denominator), where=denominator > 0)


def _trust(expected, square):
    """Weight of a bin against its systematic error: ``square`` is the sum of k^2, so b / square are the photons."""
    return 1 / (1 + _SYSTEMATIC**2 * expected / np.float32(square))


def _detectable(background, spectra, squares):
    """Photons, over all bins, of a source that is just detectable: (n_spectra, *lattice.shape)."""
    out = []
    for shares in spectra:
        mean, spread = (np.zeros(background.shape[1:], np.float32) for _ in range(2))
        for share, square, expected in zip(shares, squares, background, strict=True):
            trust = _trust(expected, square)
            mean += share * trust
            spread += share**2 * square * _over(trust, expected)
        effective = _over(mean**2, spread)
        out.append(_over(_DETECTABLE * np.sqrt(effective) + _DETECTABLE**2 / 4, mean))
    return np.array(out)


def _log_kernel(k, amplitude):
    return np.log1p(amplitude * k) / amplitude


class _Ladder:
    """Sums of one bin's excess under the kernels of a ladder of amplitudes, and the kernels' own sums."""

    def __init__(self, amplitudes, excess, observation, energy_bin):
        lattice, psf = observation.lattice, observation.pixel_psf
        central = psf.evaluate(0.0, energy_bin) * lattice.pixel_size**2
        low = max(float(amplitudes.min()), _LINEAR / central)
        n = 1 + max(0, int(np.ceil(np.log(amplitudes.max() / low) / np.log(_LADDER))))
        self.low = low
        kernels = [partial(_log_kernel, amplitude=low * _LADDER**step) for step in range(n)]
        sums = correlate(lattice, [excess] * n, psf, energy_bin, kernels, quarters=observation.undersampled)
        self.sums = sums if observation.undersampled else sums[:, None]
        self.ones = [kernel_sum(lattice, psf, energy_bin, kernel) for kernel in kernels]
        self.twos = [
            [kernel_sum(lattice, psf, energy_bin, partial(_product, a=a, b=b)) for b in kernels[j : j + 2]]
            for j, a in enumerate(kernels)
        ]

    def at(self, amplitude):
        """Excess, mean and variance per expected photon of the filter ln(1 + amplitude k), at every pixel."""
        step = np.log(np.maximum(amplitude, self.low) / self.low) / np.float32(np.log(_LADDER))
        one, two = np.zeros_like(amplitude), np.zeros_like(amplitude)
        found = np.zeros(self.sums.shape[1:], np.float32)
        last = len(self.sums) - 1
        for j, values in enumerate(self.sums):
            weight = np.clip(1 - np.abs(step - j), 0, 1) if j < last else np.clip(step - j + 1, 0, 1)
            found += weight * values
            one += weight * self.ones[j]
            two += weight**2 * self.twos[j][0]
            if j < last:
                two += 2 * weight * np.clip(step - j, 0, 1) * (step < j + 1) * self.twos[j][1]
        return amplitude * found, amplitude * one, amplitude**2 * two


def _product(k, a, b):
    return a(k) * b(k)
