"""Weighted sums of a map under a radial kernel, at every pixel of a lattice.

``correlate`` answers "how much light is here, weighed with the PSF" - or with any function of it - for sphere and
image alike. On the sphere a kernel wider than the pixels goes through spherical harmonics (isotropic everywhere, no
borders, a tenth of a second at nside 256); a narrower one, which harmonics up to 3 nside - 1 cannot hold without
ringing, is summed over neighbouring pixels at their true distances. On an image both go through the FFT.
"""

import healpy as hp
import numpy as np
from scipy.signal import fftconvolve

__all__ = ["correlate"]

_WIDE = 1.3  # kernels whose 68 % radius exceeds this many pixels go through harmonics
_NARROW_REACH = 2.8  # 68 % radii to which a narrow kernel is summed, rounded up to whole pixels
_CHUNK = 48  # patches summed at a time: bounds memory


def correlate(lattice, values, psf, energy_bin, kernels=None, *, quarters=False):
    """
    Sum of maps times the PSF, or a function of the PSF, centred on each pixel.

    Parameters
    ----------
    lattice : NestedLattice or ImageLattice
        Where the maps live.
    values : sequence of arrays of float, shape lattice.shape
        Masked pixels must be 0.
    psf : RadialPSF
        As the pixels see it (see `RadialPSF.pixelised`).
    energy_bin : int
        The bin of ``psf``.
    kernels : sequence of callables, optional
        One per map: weight of a pixel as a function of k, the fraction of a source's photons that fall in it (the sum
        of k is 1). Where a map is given more than once, as the same object, work is shared. Default: k itself.
    quarters : bool, optional
        Where the PSF is no wider than the pixels, centre the kernel on the four quarters of each pixel.

    Returns
    -------
    array of float32, shape (n_values, *lattice.shape), with ``quarters`` (n_values, 4 or 1, *lattice.shape). A map of
    ones gives `kernel_sum` everywhere on the sphere, whatever the shape of the pixels.
    """
    values = list(values)  # of an array, each row as one object
    kernels = [_itself] * len(values) if kernels is None else kernels
    at_quarters = quarters and _r68(lattice, psf, energy_bin) < _WIDE
    sums = _way(lattice, psf, energy_bin)(lattice, values, kernels, psf, energy_bin, at_quarters)
    return sums if quarters else sums[:, 0]


def kernel_sum(lattice, psf, energy_bin, kernel):
    """Sum of a kernel's weights over the pixels that `correlate` looks at, by integration over the sky."""
    theta = _fine_angles(psf)
    if _way(lattice, psf, energy_bin) is _by_neighbours:
        theta = np.linspace(0, (_reach(lattice, psf, energy_bin) + 0.5) * lattice.pixel_size, 2000)
    weight = kernel(psf.evaluate(theta, energy_bin) * lattice.pixel_size**2)
    return float(np.trapezoid(weight * 2 * np.pi * np.sin(theta), theta) / lattice.pixel_size**2)


def _itself(k):
    return k


def _way(lattice, psf, energy_bin):
    if len(lattice.shape) == 2:
        return _by_fft
    return _by_harmonics if _r68(lattice, psf, energy_bin) > _WIDE else _by_neighbours


def _r68(lattice, psf, energy_bin):
    """68 % radius in pixels."""
    return psf.containment_radius().to_value("rad")[energy_bin] / lattice.pixel_size


def _fine_angles(psf):
    theta = psf.theta.to_value("rad")
    return np.unique(np.concatenate([theta, np.linspace(0, theta[-1], 2000)]))


_QUARTERS = np.array([(-0.25, -0.25), (-0.25, 0.25), (0.25, -0.25), (0.25, 0.25)])


def _by_fft(lattice, values, kernels, psf, energy_bin, quarters):
    reach = max(3, int(np.ceil(3 * psf.containment_radius(0.8).to_value("rad")[energy_bin] / lattice.pixel_size)))
    axis = np.arange(-reach, reach + 1)
    out = []
    for dy, dx in _QUARTERS if quarters else [(0, 0)]:
        # a kernel moved one way gathers from the other
        k = psf.evaluate(np.hypot(axis[:, None] + dy, axis + dx) * lattice.pixel_size, energy_bin)
        k /= k.sum()
        out.append([fftconvolve(m, kernel(k), mode="same") for m, kernel in zip(values, kernels, strict=True)])
    return np.array(out, np.float32).swapaxes(0, 1)


def _by_harmonics(lattice, values, kernels, psf, energy_bin, _quarters):
    lmax = 3 * lattice.nside - 1
    theta = _fine_angles(psf)
    k = psf.evaluate(theta, energy_bin) * lattice.pixel_size**2
    norm = hp.beam2bl(k, theta, lmax)[0] / lattice.pixel_size**2
    out, last = np.empty((len(values), 1, *lattice.shape), np.float32), None
    for i, (m, kernel) in enumerate(zip(values, kernels, strict=True)):
        if m is not last:
            alm = hp.map2alm(hp.reorder(np.asarray(m, np.float64), n2r=True), lmax=lmax, iter=0)
            last = m
        window = hp.beam2bl(kernel(k / norm), theta, lmax) / lattice.pixel_size**2
        out[i, 0] = hp.reorder(hp.alm2map(hp.almxfl(alm, window), lattice.nside, lmax=lmax), r2n=True)
    return out


def _reach(lattice, psf, energy_bin):
    """Pixels, in each direction, that are summed."""
    return int(np.clip(np.ceil(_NARROW_REACH * _r68(lattice, psf, energy_bin)), 2, 4))


def _by_neighbours(lattice, values, kernels, psf, energy_bin, quarters):
    reach = _reach(lattice, psf, energy_bin)
    # the kernel is looked up in the squared chord, on a table so fine that it need not be interpolated
    farthest2, steps = ((reach + 1) * 1.8 * lattice.pixel_size) ** 2, 4096
    chord2 = (np.arange(steps) + 0.5) / steps * farthest2
    k = psf.evaluate(np.sqrt(chord2), energy_bin) * lattice.pixel_size**2
    tables = [kernel(k).astype(np.float32) for kernel in kernels]
    whole = [kernel_sum(lattice, psf, energy_bin, kernel) for kernel in kernels]
    out = np.empty((len(values), 4 if quarters else 1, *lattice.shape), np.float32)
    side, middle = lattice.core, slice(reach, reach + lattice.core)
    for first in range(0, lattice.n_patches, _CHUNK):
        patches = np.arange(first, min(first + _CHUNK, lattice.n_patches))
        pixels = lattice.patch_pixels(patches, reach)
        exists = pixels >= 0
        vectors = _vectors(lattice.nside, np.maximum(pixels, 0))
        light = {id(m): np.where(exists, m[pixels], 0).astype(np.float32) for m in values}
        own = pixels[:, middle, middle]
        for trial in range(out.shape[1]):
            centre = _vectors(2 * lattice.nside, 4 * own + trial) if quarters else _vectors(lattice.nside, own)
            total = np.zeros((len(values), *own.shape), np.float32)
            norm = np.zeros_like(total)
            for dy in range(2 * reach + 1):
                for dx in range(2 * reach + 1):
                    there = (slice(None), slice(dy, dy + side), slice(dx, dx + side))
                    d2 = sum((v[there] - c) ** 2 for v, c in zip(vectors, centre, strict=True))
                    d2 *= np.float32(steps / farthest2)
                    step = np.minimum(d2, steps - 1).astype(np.int32)
                    for t, n, m, table in zip(total, norm, values, tables, strict=True):
                        weight = table[step] * exists[there]
                        n += weight
                        t += weight * light[id(m)][there]
            for t, n, w, result in zip(total, norm, whole, out, strict=True):
                result[trial, own] = t * (w / n)
    return out


def _vectors(nside, pixels):
    return [v.astype(np.float32) for v in hp.pix2vec(nside, pixels, nest=True)]
