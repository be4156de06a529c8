"""What the finder's network sees: any map turned into the same few channels at three resolutions.

A weak source of known spectrum is best found by the score test: photons weighed by PSF over background, summed over
energy bins (`significance`). That is the optimal linear filter and the classical finders' own statistic; the network
starts from it and learns what it cannot know: neighbours that overlap, backgrounds that are wrong, too few photons for
Gaussian errors.

The number of energy bins is free because bins are summed, never stacked: each bin goes to the level of the pyramid
whose pixels match its PSF, and every level holds the counts, the background and the significance of its bins together.
So a network trained on six bins takes eleven, or one.
"""

import numpy as np

from astrolearn.core.progress import progress
from astrolearn.sky.convolve import correlate
from astrolearn.sources.background import fit_background

__all__ = ["CHANNELS", "LEVELS", "Features", "extract_features", "significance"]

LEVELS = 3
SPECTRAL_INDICES = (1.8, 2.3, 2.8)  # hard, typical and soft sources: dN/dE ~ E^-index
_OWN = ("significance", "counts", "background", "psf", "valid")
CHANNELS = {0: tuple(f"significance {g}" for g in SPECTRAL_INDICES) + _OWN, 1: _OWN, 2: _OWN}
_SYSTEMATIC = (
    0.03  # relative error of the background under a source: Abdollahi et al. 2020, ApJS 247, 33 (4FGL), section 3.2
)
_LEVEL_PIXELS = 1.8  # a bin belongs to the coarsest level whose pixels fit this often into ... its 68 % radius or fewer


class Features:
    """
    Channels of one observation.

    Attributes
    ----------
    lattices : list of lattices
        One per level, each twice as coarse as the one before.
    channels : list of float16 arrays, shape (n_channel, *lattices[level].shape)
    background : array of float32, shape (n_energy, *lattices[0].shape)
    """

    def __init__(self, lattices, channels, background):
        self.lattices, self.channels, self.background = lattices, channels, background

    def cut(self, patches, halo):
        """Patches of all levels: list of (n, n_channel, side, side), float16."""
        return [
            lattice.cut(channel, patches, halo >> level)
            for level, (lattice, channel) in enumerate(zip(self.lattices, self.channels, strict=True))
        ]


def bin_levels(observation):
    """Level of the pyramid for each energy bin, from its PSF in pixels."""
    r68 = observation.pixel_psf.containment_radius().to_value("rad") / observation.lattice.pixel_size
    return np.clip(np.floor(np.log2(r68 / (_LEVEL_PIXELS / 2))), 0, LEVELS - 1).astype(int)


def spectral_weights(observation, index):
    """Fraction of a power-law source's photons in each energy bin, (n_energy,); equal where energies are unknown."""
    if observation.energy_edges is None:
        return np.full(observation.n_energy, 1 / observation.n_energy)
    edges = observation.energy_edges.to_value("GeV") ** (1.0 - index)
    photons = -np.diff(edges) / (index - 1)
    if observation.exposure is not None:
        spatial = tuple(range(1, observation.exposure.ndim))
        photons = photons * observation.exposure.sum(axis=spatial)
    return photons / photons.sum()


def score_terms(observation, background, verbose=0):
    """
    The sums under the PSF from which every significance is made.

    Returns
    -------
    ratio, variance, area : arrays of float32, shape (n_energy, *lattice.shape)
        Sums of k n / b, of k^2 / b, and of k over the observed pixels.
    """
    lattice = observation.lattice
    ratio, variance, area = (np.empty_like(observation.counts) for _ in range(3))
    whole = observation.valid.all()
    area[:] = 1
    bins = progress(observation.counts, "summing under the PSF", verbose=verbose)
    for i, (counts, expected) in enumerate(zip(bins, background, strict=True)):
        inverse = np.divide(1, expected, out=np.zeros_like(expected), where=expected > 0)
        maps = [counts * inverse] + ([] if whole else [observation.valid])
        ratio[i], *seen, variance[i] = correlate(lattice, maps, observation.pixel_psf, i, squared=[inverse])
        if seen:
            area[i] = np.clip(seen[0], 0, 1)
    ratio = np.maximum(ratio, 0)
    return ratio, np.maximum(variance, 1e-12), area


def significance(terms, weights):
    r"""
    Significance, in standard deviations, of a source of given spectrum at every pixel.

    The score :math:`T = \sum w k n / b` has mean :math:`\mu = \sum w k` and variance :math:`V = \sum (w k)^2 / b`
    without a source. It is taken as a scaled Poisson variable of the same mean and variance (Fay & Feuer 1997, Stat.
    Med. 16, 791), :math:`N = T \mu / V` around :math:`M = \mu^2 / V`, whose signed likelihood-ratio root
    :math:`\sqrt{2 (N \ln (N / M) - N + M)}` (Li & Ma 1983, ApJ 272, 317, known background) is near normal even where
    photons are few.

    Where photons are many the background's own error counts, not statistics: as in the 4FGL catalogue a bin is weighed
    down by :math:`1 / (1 + \epsilon^2 N)`, with N the background photons under the PSF and :math:`\epsilon` = 3 %.

    Parameters
    ----------
    terms : tuple of arrays
        From `score_terms`.
    weights : array, shape (n_energy,)
        Share of the source's photons in each bin.

    Returns
    -------
    array of float32, shape (*lattice.shape)
        0 where nothing was observed.
    """
    ratio, variance, area = terms
    weights = np.asarray(weights, np.float32)
    score, mean, spread, whole = (np.zeros(ratio.shape[1:], np.float32) for _ in range(4))
    for weight, r, v, a in zip(weights, ratio, variance, area, strict=True):
        trust = 1 / (1 + _SYSTEMATIC**2 / v)
        score += weight * trust * r
        mean += weight * trust * a
        spread += weight**2 * trust * v
        whole += weight * trust
    seen = mean > 0.05 * whole
    scale = np.where(seen, mean / np.maximum(spread, 1e-30), 0)
    found, expected = np.maximum(score * scale, 1e-6), np.maximum(mean * scale, 1e-6)
    deviance = 2 * (found * np.log(found / expected) - found + expected)
    return np.where(seen, np.sign(found - expected) * np.sqrt(np.maximum(deviance, 0)), 0).astype(np.float32)


def _squash(z):
    """Linear for weak, logarithmic for strong significance."""
    return np.arcsinh(z / 3)


def extract_features(observation, verbose=0):
    """
    Channels of an observation at the three levels, see the module's text.

    Parameters
    ----------
    observation : Observation
    verbose : int, optional
        With 1, progress bars.

    Returns
    -------
    Features
    """
    background = fit_background(observation, verbose)
    terms = score_terms(observation, background, verbose)
    levels = bin_levels(observation)
    typical = spectral_weights(observation, SPECTRAL_INDICES[1])
    joint = [significance(terms, spectral_weights(observation, g)) for g in SPECTRAL_INDICES]
    r68 = observation.pixel_psf.containment_radius().to_value("rad")
    lattices, channels = [observation.lattice], []
    counts, expected, valid = observation.counts, background, observation.valid.astype(np.float32)
    for level in range(LEVELS):
        lattice = lattices[level]
        here = levels == level
        if here.any():
            z = significance(tuple(t[here] for t in terms), typical[here])
            size = np.log2(np.average(r68[here], weights=typical[here]) / lattice.pixel_size)
            total, flat = counts[here].sum(axis=0), expected[here].sum(axis=0)
        else:
            z, size = np.zeros(observation.lattice.shape, np.float32), 0.0
            total = flat = np.zeros(lattice.shape, np.float32)
        coarse = observation.lattice
        for _ in range(level):
            z, coarse = coarse.sum_children(z) / 4, coarse.coarser
        own = [_squash(z), np.log1p(total), np.log(flat + 0.01), size * (valid > 0), valid]
        channels.append(np.stack([_squash(j) for j in joint] * (level == 0) + own).astype(np.float16))
        if level < LEVELS - 1:
            counts, expected = lattice.sum_children(counts), lattice.sum_children(expected)
            valid = lattice.sum_children(valid) / 4
            lattices.append(lattice.coarser)
    return Features(lattices, channels, background)
