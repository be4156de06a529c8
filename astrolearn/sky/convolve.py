"""Weighted sums of a map under a radial kernel, at every pixel of a lattice.

``correlate`` answers "how much light is here, weighed with the PSF" for sphere and image alike. On the sphere a kernel
wider than the pixels goes through spherical harmonics (isotropic everywhere, no borders, a tenth of a second at nside
256); a narrower one, which harmonics up to 3 nside - 1 cannot hold without ringing, is summed over neighbouring pixels
at their true distances. On an image both go through the FFT.
"""

import healpy as hp
import numpy as np
from scipy.signal import fftconvolve

__all__ = ["correlate"]

_WIDE = 1.3  # kernels whose 68 % radius exceeds this many pixels go through harmonics
_NARROW_REACH = 2.8  # 68 % radii to which a narrow kernel is summed, rounded up to whole pixels
_CHUNK = 48  # patches summed at a time: bounds memory


def correlate(lattice, values, psf, energy_bin, *, squared=()):
    """
    Sum of maps times the PSF centred on each pixel.

    Parameters
    ----------
    lattice : NestedLattice or ImageLattice
        Where the maps live.
    values : sequence of arrays of float, shape lattice.shape
        Maps to be weighed with k, the fraction of the photons that fall in a pixel (their sum is 1). Masked pixels must
        be 0.
    psf : RadialPSF
        As the pixels see it (see `RadialPSF.pixelised`).
    energy_bin : int
        The bin of ``psf``.
    squared : sequence of arrays, optional
        Maps to be weighed with k squared.

    Returns
    -------
    array of float32, shape (n_values + n_squared, *lattice.shape)
    """
    if len(lattice.shape) == 2:
        way = _by_fft
    elif psf.containment_radius().to_value("rad")[energy_bin] > _WIDE * lattice.pixel_size:
        way = _by_harmonics
    else:
        way = _by_neighbours
    maps = [np.asarray(m, np.float32) for m in (*values, *squared)]
    return way(lattice, maps, [1] * len(values) + [2] * len(squared), psf, energy_bin)


def _by_fft(lattice, maps, powers, psf, energy_bin):
    reach = max(3, int(np.ceil(3 * psf.containment_radius(0.8).to_value("rad")[energy_bin] / lattice.pixel_size)))
    axis = np.arange(-reach, reach + 1) * lattice.pixel_size
    kernel = psf.evaluate(np.hypot(axis[:, None], axis), energy_bin)
    kernel /= kernel.sum()
    sums = [fftconvolve(m, kernel**power, mode="same") for m, power in zip(maps, powers, strict=True)]
    return np.stack(sums).astype(np.float32)


def _by_harmonics(lattice, maps, powers, psf, energy_bin):
    lmax = 3 * lattice.nside - 1
    theta = psf.theta.to_value("rad")
    theta = np.unique(np.concatenate([theta, np.linspace(0, theta[-1], 2000)]))
    profile = psf.evaluate(theta, energy_bin)
    windows = {power: hp.beam2bl(profile**power, theta, lmax) for power in set(powers)}
    out = np.empty((len(maps), *lattice.shape), np.float32)
    for i, power in enumerate(powers):
        # the integral of a power of the profile, in pixels, is the sum of that power of the weights
        window = windows[power] * lattice.pixel_size ** (2 * (power - 1))
        window = window / windows[1][0] if power == 1 else window
        alm = hp.map2alm(hp.reorder(maps[i].astype(np.float64), n2r=True), lmax=lmax, iter=0)
        out[i] = hp.reorder(hp.alm2map(hp.almxfl(alm, window, inplace=True), lattice.nside, lmax=lmax), r2n=True)
    return out


def _by_neighbours(lattice, maps, powers, psf, energy_bin):
    r68 = psf.containment_radius().to_value("rad")[energy_bin] / lattice.pixel_size
    reach = int(np.clip(np.ceil(_NARROW_REACH * r68), 2, 4))
    # the kernel is looked up in the squared chord, on a table so fine that it need not be interpolated
    farthest2, steps = ((reach + 1) * 1.8 * lattice.pixel_size) ** 2, 4096
    chord2 = (np.arange(steps) + 0.5) / steps * farthest2
    table = (psf.evaluate(np.sqrt(chord2), energy_bin) * lattice.pixel_size**2).astype(np.float32)
    out = np.empty((len(maps), *lattice.shape), np.float32)
    side, middle = lattice.core, slice(reach, reach + lattice.core)
    for first in range(0, lattice.n_patches, _CHUNK):
        patches = np.arange(first, min(first + _CHUNK, lattice.n_patches))
        pixels = lattice.patch_pixels(patches, reach)
        exists = pixels >= 0
        vectors = [v.astype(np.float32) for v in hp.pix2vec(lattice.nside, np.maximum(pixels, 0), nest=True)]
        light = [np.where(exists, m[pixels], 0) for m in maps]
        centre = [v[:, middle, middle] for v in vectors]
        total = [np.zeros_like(centre[0]) for _ in maps]
        norm = np.zeros_like(centre[0])
        for dy in range(2 * reach + 1):
            for dx in range(2 * reach + 1):
                there = (slice(None), slice(dy, dy + side), slice(dx, dx + side))
                d2 = sum((v[there] - c) ** 2 for v, c in zip(vectors, centre, strict=True))
                d2 *= np.float32(steps / farthest2)
                k = table[np.minimum(d2, steps - 1).astype(np.int32)] * exists[there]
                norm += k
                for t, value, power in zip(total, light, powers, strict=True):
                    t += (k if power == 1 else k * k) * value[there]
        for t, power, result in zip(total, powers, out, strict=True):
            result[pixels[:, middle, middle]] = t / norm**power
    return out
