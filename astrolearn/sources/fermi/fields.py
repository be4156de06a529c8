"""Random fields on the sphere, beams on maps, and how the true sky departs from the model of the diffuse emission.

Most false detections are structure that the diffuse model lacks. So a simulated sky needs two versions of it: the one
that the photons follow, and the one that the analyst believes in. `DiffusePerturbation` makes the first from the
second.
"""

import numbers
from dataclasses import dataclass

import healpy as hp
import numpy as np

__all__ = ["DiffusePerturbation", "random_field", "smear"]

_NARROW = 0.5  # a beam that keeps this much of the finest multipole has a 68 % radius of half a pixel


def random_field(spectrum, rng):
    """
    A Gaussian random field of unit variance on the sphere.

    Parameters
    ----------
    spectrum : array, shape (lmax + 1,)
        Angular power C_l; its scale does not matter.
    rng : `numpy.random.Generator`

    Returns
    -------
    complex array
        Spherical-harmonic coefficients in healpy's order. (`healpy.synalm` draws from numpy's global state.) Low l are
        drawn first, so that a longer spectrum refines the same field.
    """
    lmax = len(spectrum) - 1
    ell, m = hp.Alm.getlm(lmax)
    variance = np.sum((2 * np.arange(lmax + 1) + 1) * spectrum) / (4 * np.pi)
    normal = rng.normal(size=(lmax + 1) ** 2)
    alm = np.where(m > 0, np.sqrt(0.5) * (normal[ell**2 + m] + 1j * normal[ell**2 + ell + m]), normal[ell**2])
    return alm * np.sqrt(spectrum[ell] / variance)


@dataclass(frozen=True)
class DiffusePerturbation:
    """
    How far the true diffuse emission may lie from the template that goes with a map.

    Parameters
    ----------
    norm : tuple of float, default=(0.7, 1.3)
        Range of the factor on each component, the isotropic one included.
    sigma : tuple of float, default=(0.1, 0.2)
        Range of the rms of a smooth log-normal factor on Galactic components.
    lmax : int, default=60
        Multipole up to which the smooth factor has structure (3 deg), with C_l ~ l^-2.
    clumps : tuple of float, default=(0.0, 0.1)
        Range of the rms of a log-normal factor of 0.3 to 2 deg size: interstellar clouds that the template lacks, such
        as those flagged "c" in the LAT catalogues.

    Notes
    -----
    The ranges of norm and sigma follow the randomised skies of Panes et al. (2021, A&A 656, A62), whose networks had
    to work under several interstellar emission models.
    """

    norm: tuple = (0.7, 1.3)
    sigma: tuple = (0.1, 0.2)
    lmax: int = 60
    clumps: tuple = (0.0, 0.1)

    def __post_init__(self):
        for name in ("norm", "sigma", "clumps"):
            value = getattr(self, name)
            if len(value) != 2 or not all(isinstance(v, numbers.Real) for v in value) or not 0 <= value[0] <= value[1]:
                raise ValueError(f"{name} must be a range (low, high) of numbers that are not negative, not {value!r}")
        if self.lmax < 2:
            raise ValueError(f"lmax must be at least 2, not {self.lmax}")

    def draw_norms(self, names, rng):
        """
        Draw one factor per component.

        Parameters
        ----------
        names : iterable of str
            The components.
        rng : `numpy.random.Generator`
            Source of randomness.

        Returns
        -------
        dict
            Name to factor.
        """
        return {name: rng.uniform(*self.norm) for name in names}

    def draw_fields(self, nside, windows, rng):
        """
        Factors on the Galactic emission, one map per beam of mean about 1.

        Clumps are smeared with each bin's own PSF. That the factor and the emission are smeared apart, instead of
        their product, is exact for structure that is much larger or much smaller than the PSF.

        Parameters
        ----------
        nside : int
        windows : list of arrays, shape (n_bins, lmax + 1)
            Beam window functions, one array per event type.
        rng : `numpy.random.Generator`

        Returns
        -------
        list of iterators
            Per event type, one NESTED map (n_pix,) after another for the bins.
        """
        ell = np.arange(max(self.lmax, 2) + 1.0)
        smooth = random_field(np.where(ell > 0, 1 / np.maximum(ell, 1) ** 2, 0), rng)
        sigma, clumps = rng.uniform(*self.sigma), rng.uniform(*self.clumps)
        base = sigma * hp.alm2map(smooth, nside, lmax=len(ell) - 1)
        lmax = len(windows[0][0]) - 1
        ell = np.arange(lmax + 1.0)
        # power between 2 deg and 0.3 deg, l^-2.7 as interstellar dust
        cloud = random_field(np.where(ell > 90, np.maximum(ell, 1) ** -2.7, 0), rng) if lmax > 90 else None

        def maps(beams):
            for beam in beams:
                field = base - sigma**2 / 2
                if cloud is not None and clumps > 0:
                    detail = clumps * hp.alm2map(hp.almxfl(cloud, beam), nside, lmax=lmax)
                    field = field + detail - detail.var() / 2
                yield hp.reorder(np.exp(field), r2n=True)

        return [maps(beams) for beams in windows]


def smear(maps, windows):
    """
    Convolve RING maps with beams, without ringing below zero.

    Parameters
    ----------
    maps : array, shape (n, n_pix) or (1, n_pix)
        Not negative. One map is convolved with each beam.
    windows : array, shape (n, lmax + 1)
        Beam window functions.

    Returns
    -------
    array, shape (n, n_pix)
        Float32. Beams that are narrower than a pixel leave the map as it is, because a map that is cut off at its
        finest multipoles rings; what rings below the smallest intensity of the map is set to that.
    """
    nside, lmax = hp.get_nside(maps[0]), len(windows[0]) - 1
    smeared = []
    alm = None
    for i, window in enumerate(windows):
        sky = maps[min(i, len(maps) - 1)].astype(float)
        if window[-1] < _NARROW:
            if alm is None or len(maps) > 1:
                alm = hp.map2alm(sky, lmax=lmax, iter=1)
            sky = np.clip(hp.alm2map(hp.almxfl(alm, window), nside, lmax=lmax), sky.min(), sky.max())
        smeared.append(sky)
    return np.array(smeared, dtype=np.float32)
