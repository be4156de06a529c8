"""What the map would hold without sources: the given template put to scale, or an estimate from the counts.

Both are one recipe. Start from a shape - the template, or the mean profile across Galactic latitude - and multiply it
by the smoothed ratio of counts to expectation on ever smaller scales, each correction trusted only as far as there are
photons to support it. Sources would leak into that ratio, so before smoothing the counts are seen through the PSF and
clipped at three standard deviations: what stands out like a source is not background.
"""

import astropy.units as u
import healpy as hp
import numpy as np
from scipy.ndimage import gaussian_filter

from astrolearn.core.progress import progress
from astrolearn.sky.convolve import correlate
from astrolearn.sky.lattice import NestedLattice
from astrolearn.sky.psf import RadialPSF

__all__ = ["fit_background"]

# Steps of the fit: the scale of the correction (degrees, 1 sigma) and how far, as a fraction of the model so far,
# counts may stray beyond statistics before they count as a source. A template starts near the truth, a profile far off.
_STEPS = {
    "template": ((12.0, 0.5), (6.0, 0.2), (3.0, 0.1), (3.0, 0.05)),
    "profile": ((12.0, 1e3), (12.0, 0.7), (6.0, 0.4), (3.0, 0.2), (1.5, 0.1), (1.5, 0.05)),
}
_SMALLEST = 3.0  # no correction on scales below this many 68 % radii: it would follow the sources
_PRIOR_COUNTS = 80.0  # a correction of ratio r from N photons is taken as (N + prior) / (N / r + prior)
_CLIP = 3.0  # standard deviations
_SHARPEST = 1.4  # pixels: 68 % radius of the sharpest beam that spherical harmonics hold without ringing


def fit_background(observation, verbose=0):
    """
    Expected counts without sources.

    Parameters
    ----------
    observation : Observation
        If it has a background, that shape is scaled to the counts on scales of 3 degrees and more; if not, one is
        estimated.
    verbose : int, optional
        With 1, a progress bar.

    Returns
    -------
    array of float32, shape (n_energy, *lattice.shape)
        Positive wherever the map is valid, 0 elsewhere.
    """
    lattice, valid = observation.lattice, observation.valid
    seen = valid.astype(np.float32)
    kind = "profile" if observation.background is None else "template"
    strips = _latitude_strips(observation) if kind == "profile" else None
    r68 = observation.pixel_psf.containment_radius().to_value("deg")
    out = np.zeros_like(observation.counts)
    for i, counts in enumerate(progress(observation.counts, "fitting the background", verbose=verbose)):
        # what a source looks like: its light spread over the PSF, or a little more where the PSF is sharper
        # than the pixels
        beam = RadialPSF.gaussian(max(r68[i], _SHARPEST * np.rad2deg(lattice.pixel_size)) * u.deg)
        light, *area = correlate(lattice, [counts] if valid.all() else [counts, seen], beam, 0)
        light = np.where(valid, light / np.maximum(area[0], 0.05), 0) if area else light
        # one photon in the core of the PSF must not count as a source where photons are rare
        one_photon = 1.5 * float(beam.evaluate(0.0, 0)) * lattice.pixel_size**2
        k2 = one_photon / 3  # of a Gaussian: half its peak
        floor = max(1e-4 * counts.sum() / valid.sum(), 1e-9)
        model = _profile(counts, strips, valid, floor) if kind == "profile" else observation.background[i]
        model = np.where(valid, np.maximum(model, floor), 0)
        for scale, tolerance in _STEPS[kind]:
            scale = max(scale, _SMALLEST * r68[i], 2 * np.rad2deg(lattice.pixel_size))
            spread = np.maximum(np.hypot(_CLIP * np.sqrt(model * k2), tolerance * model), one_photon)
            clipped = np.clip(light, model - spread, model + spread) * seen
            found, expected, *share = _smooth(lattice, np.stack([clipped, model] + [seen] * (not valid.all())), scale)
            n_pixels = 4 * np.pi * (np.deg2rad(scale) / lattice.pixel_size) ** 2  # that a Gaussian averages
            prior = _PRIOR_COUNTS / n_pixels * (np.maximum(share[0], 1e-3) if share else 1)
            model = np.where(valid, np.maximum(model * (found + prior) / (expected + prior), floor), 0)
        out[i] = model
    return out


def _latitude_strips(observation):
    """Strip number of every pixel: strips in latitude, as wide as a pixel or half a degree."""
    latitude = observation.lattice.coords.galactic.b.deg
    width = max(0.5, 1.5 * np.rad2deg(observation.lattice.pixel_size))
    return np.floor((np.nan_to_num(latitude) + 90) / width).astype(int)


def _profile(counts, strips, valid, floor):
    """Mean counts of each strip, given to its pixels; strips with few photons borrow from their neighbours."""
    n = strips.max() + 1
    total = np.bincount(strips[valid], counts[valid], minlength=n)
    pixels = np.bincount(strips[valid], minlength=n).astype(float)
    wide = gaussian_filter(total, 4, mode="nearest") / np.maximum(gaussian_filter(pixels, 4, mode="nearest"), 1e-9)
    mean = (total + 20 * (wide > 0)) / (pixels + 20 / np.maximum(wide, floor))
    return np.where(valid, np.maximum(mean[strips], floor), 0).astype(np.float32)


def _smooth(lattice, maps, sigma):
    """Maps smoothed with a Gaussian of ``sigma`` degrees, worked out on coarser pixels and spread back."""
    if _has_coarser(lattice) and np.rad2deg(lattice.pixel_size) * 2 < sigma / 4:
        return lattice.spread(_smooth(lattice.coarser, lattice.sum_children(maps) / 4, sigma))
    if isinstance(lattice, NestedLattice):
        return np.stack([_smooth_sphere(m, lattice.nside, sigma) for m in maps])
    pixels = np.deg2rad(sigma) / lattice.pixel_size
    return np.stack([gaussian_filter(m, pixels, mode="constant", truncate=3) for m in maps])


def _has_coarser(lattice):
    if isinstance(lattice, NestedLattice):
        return lattice.nside > 8
    return all(n % 2 == 0 for n in lattice.shape)


def _smooth_sphere(values, nside, sigma):
    lmax = min(3 * nside - 1, int(np.ceil(4 / np.deg2rad(sigma))))
    ring = hp.reorder(values.astype(np.float64), n2r=True)
    alm = hp.map2alm(ring, lmax=lmax, iter=0)
    ell = np.arange(lmax + 1)
    window = np.exp(-0.5 * ell * (ell + 1) * np.deg2rad(sigma) ** 2)
    smoothed = hp.reorder(hp.alm2map(hp.almxfl(alm, window), nside, lmax=lmax), r2n=True)
    return np.maximum(smoothed, 0).astype(np.float32)
