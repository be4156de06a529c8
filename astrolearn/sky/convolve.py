"""Weighted sums of a map under a radial kernel, at every pixel of a lattice.

``correlate`` answers "how much light is here, weighed with the PSF" for sphere and image alike. On the sphere a kernel
wider than the pixels goes through spherical harmonics (isotropic everywhere, no borders, a tenth of a second at nside
256); a narrower one, which harmonics up to 3 nside - 1 cannot hold without ringing, is summed over neighbouring pixels at their true
distances. On an image both go through the FFT.
"""

import healpy as hp
import numpy as np
from scipy.signal import fftconvolve

__all__ = ["correlate"]

_WIDE = 1.3  # kernels whose 68 % radius exceeds this many pixels go through harmonics
_REACH = 3  # pixels to each side that a narrow kernel reaches
_CHUNK = 48  # patches summed at a time: bounds memory


def correlate(lattice, values, psf, energy_bin, power=1):
    """
    Sum of ``values`` times the PSF (to a power) centred on each pixel.

    Parameters
    ----------
    lattice : NestedLattice or ImageLattice
        Where the values live.
    values : array of float, shape (n_map, \\*lattice.shape)
        Maps; masked pixels must be 0.
    psf : RadialPSF
        As the pixels see it (see `RadialPSF.pixelised`).
    energy_bin : int
        The bin of ``psf``.
    power : int
        1: weights k, the fraction of the photons that fall in a pixel (sum 1). 2: k squared.

    Returns
    -------
    array of float32, shape (n_map, \\*lattice.shape)
    """
    area = lattice.pixel_size**2
    if len(lattice.shape) == 2:
        return _by_fft(lattice, values, psf, energy_bin, power, area)
    if psf.containment_radius().to_value("rad")[energy_bin] > _WIDE * lattice.pixel_size:
        return _by_harmonics(lattice, values, psf, energy_bin, power, area)
    return _by_neighbours(lattice, values, psf, energy_bin, power, area)


def _by_fft(lattice, values, psf, energy_bin, power, area):
    reach = max(_REACH, int(np.ceil(3 * psf.containment_radius(0.8).to_value("rad")[energy_bin] / lattice.pixel_size)))
    axis = np.arange(-reach, reach + 1) * lattice.pixel_size
    kernel = psf.evaluate(np.hypot(axis[:, None], axis), energy_bin) * area
    kernel = (kernel / kernel.sum()) ** power
    return fftconvolve(values, kernel[None], mode="same", axes=(1, 2)).astype(np.float32)


def _by_harmonics(lattice, values, psf, energy_bin, power, area):
    lmax = 3 * lattice.nside - 1
    theta = psf.theta.to_value("rad")
    theta = np.unique(np.concatenate([theta, np.linspace(0, theta[-1], 2000)]))
    profile = psf.evaluate(theta, energy_bin)
    window = hp.beam2bl(profile, theta, lmax)
    window /= window[0]
    if power == 2:
        window = hp.beam2bl(profile**2, theta, lmax) * area
    out = np.empty(values.shape, np.float32)
    for i, value in enumerate(values):
        ring = hp.reorder(value.astype(np.float64), n2r=True)
        alm = hp.map2alm(ring, lmax=lmax, iter=0)
        out[i] = hp.reorder(hp.alm2map(hp.almxfl(alm, window, inplace=True), lattice.nside, lmax=lmax), r2n=True)
    return out


def _by_neighbours(lattice, values, psf, energy_bin, power, area):
    # kernel looked up in the squared chord, on a table fine enough that interpolation is not needed
    reach2 = ((_REACH + 1) * 1.8 * lattice.pixel_size) ** 2
    steps = 4096
    chord2 = (np.arange(steps) + 0.5) / steps * reach2
    table = (psf.evaluate(np.sqrt(chord2), energy_bin) * area).astype(np.float32) ** power
    out = np.zeros(values.shape, np.float32)
    side = lattice.core
    for first in range(0, lattice.n_patches, _CHUNK):
        patches = np.arange(first, min(first + _CHUNK, lattice.n_patches))
        pixels = lattice.patch_pixels(patches, _REACH)
        vectors = np.stack(hp.pix2vec(lattice.nside, np.maximum(pixels, 0), nest=True)).astype(np.float32)
        light = values[:, pixels].astype(np.float32)
        light[:, pixels < 0] = 0
        middle = slice(_REACH, _REACH + side)
        centre = vectors[:, :, middle, middle]
        total = np.zeros((len(values), *centre.shape[1:]), np.float32)
        for dy in range(2 * _REACH + 1):
            for dx in range(2 * _REACH + 1):
                there = (..., slice(dy, dy + side), slice(dx, dx + side))
                d2 = np.square(vectors[there] - centre).sum(axis=0)
                bin_ = np.minimum(d2 * np.float32(steps / reach2), steps - 1).astype(np.int32)
                total += table[bin_] * light[there]
        out[:, pixels[:, middle, middle]] = total
    return out
