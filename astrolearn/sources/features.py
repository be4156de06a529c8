"""What the finder's network sees: any map turned into the same few channels at three resolutions.

A lone source of known spectrum on a known background is best found by a matched filter, summed over energy bins
(`filters`). The network starts from that and learns what the filter cannot know: neighbours that overlap, backgrounds
that are wrong.

The number of energy bins is free because bins are summed, never stacked: each bin goes to the level of the pyramid
whose pixels match its PSF, and every level holds the counts, the background and the significance of its bins together.
So a network trained on six bins takes eleven, or one.
"""

import numpy as np

from astrolearn.sources.background import fit_background
from astrolearn.sources.filters import significances

__all__ = ["CHANNELS", "LEVELS", "Features", "extract_features", "spectral_weights"]

LEVELS = 3
SPECTRAL_INDICES = (1.8, 2.3, 2.8)  # hard, typical and soft sources: dN/dE ~ E^-index
_OWN = ("significance", "counts", "background", "psf", "valid")
CHANNELS = {0: tuple(f"significance {g}" for g in SPECTRAL_INDICES) + _OWN, 1: _OWN, 2: _OWN}
_LEVEL_R68 = 0.9  # a bin belongs to the coarsest level on which its 68 % radius is at least so many pixels


class Features:
    """
    Channels of one observation.

    Attributes
    ----------
    lattices : list of lattices
        One per level, each twice as coarse as the one before.
    channels : list of float16 arrays, shape (n_channel, *lattices[level].shape)
    background : array of float32, shape (n_energy, *observation.lattice.shape)
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
    """Level of the pyramid for each energy bin, from its PSF in pixels; no finer than the map itself."""
    r68 = observation.pixel_psf.containment_radius().to_value("rad") / observation.search_lattice.pixel_size
    return np.clip(np.floor(np.log2(r68 / _LEVEL_R68)), int(observation.undersampled), LEVELS - 1).astype(int)


def spectral_weights(observation, index):
    """Fraction of a power-law source's photons in each energy bin; equal if energies or exposure are unknown or 0."""
    if observation.energy_edges is None:
        return np.full(observation.n_energy, 1 / observation.n_energy)
    edges = observation.energy_edges.to_value("GeV") ** (1.0 - index)
    photons = -np.diff(edges) / (index - 1)
    if observation.exposure is not None:
        spatial = tuple(range(1, observation.exposure.ndim))
        photons = photons * observation.exposure.sum(axis=spatial)
    if not photons.sum() > 0:
        return np.full(observation.n_energy, 1 / observation.n_energy)
    return photons / photons.sum()


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
    levels = bin_levels(observation)
    typical = spectral_weights(observation, SPECTRAL_INDICES[1])
    filled = np.unique(levels[typical > 0])
    spectra = [spectral_weights(observation, index) for index in SPECTRAL_INDICES]
    spectra += [np.where(levels == level, typical, 0) / typical[levels == level].sum() for level in filled]
    found = significances(observation, background, spectra, verbose)
    joint, own = found[: len(SPECTRAL_INDICES)], dict(zip(filled, found[len(SPECTRAL_INDICES) :], strict=True))
    r68 = observation.pixel_psf.containment_radius().to_value("rad")
    lattices, channels = [observation.search_lattice], []
    counts, expected, valid = observation.counts, background, observation.search_valid.astype(np.float32)
    for level in range(LEVELS):
        lattice = lattices[level]
        here = (levels == level) & (typical > 0)
        if here.any():
            z, finer = own[level], lattices[0]
            for _ in range(level):
                z, finer = finer.sum_children(z) / 4, finer.coarser
            size = np.log2(np.average(r68[here], weights=typical[here]) / lattice.pixel_size)
            total, flat = counts[here].sum(axis=0), expected[here].sum(axis=0)
        else:
            z = total = flat = np.zeros(lattice.shape, np.float32)
            size = 0.0
        maps = [_squash(z), np.log1p(total), np.log(flat + 0.01), size * (valid > 0), valid]
        channels.append(np.stack([_squash(j) for j in joint] * (level == 0) + maps).astype(np.float16))
        if level < LEVELS - 1:
            if level >= observation.undersampled:
                counts, expected = lattice.sum_children(counts), lattice.sum_children(expected)
            valid = lattice.sum_children(valid) / 4
            lattices.append(lattice.coarser)
    return Features(lattices, channels, background)
