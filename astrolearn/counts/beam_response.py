"""
What a source does to the pixels around it, as P(D) needs it: how much sky a beam covers at each of its levels.

The kernel of P(D) is K(y), the integral of exp(i y B) - 1 over the sky, with B the beam around a source. It depends
only on the sky per level of B. A Gaussian covers the same sky in each interval of ln B up to its peak, which makes K a
sine and cosine integral; any other beam is a sum of such steps at its levels, positive and negative.
"""

import astropy.units as u
import numpy as np
from scipy import ndimage, signal
from scipy.interpolate import CubicSpline
from scipy.special import sici

from astrolearn.core.inputs import as_quantity, to_float

__all__ = ["LOG_STEP", "PER_DEX", "BeamResponse"]

PER_DEX = 40
"""Flux densities per decade at which counts are integrated."""

LOG_STEP = np.log(10) / PER_DEX
_TABLE_STEP = LOG_STEP / 4
_LEVELS = 1100  # of the beam on each side, in steps of _TABLE_STEP: down to 1e-7 of its peak
_MAX_VALUES = 1e6  # of the refined PSF
_SHARED = 4  # neighbouring flux densities above the CLEAN threshold that share a beam
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


class BeamResponse:
    """
    The kernel K(y) of a Gaussian beam, a point-spread function, or an image restored by CLEAN.

    Parameters
    ----------
    beam : `~astropy.units.Quantity`, str, float or a pair
        Full width at half maximum, or major and minor; plain numbers in arcsec.
    psf : array-like, (n, m), optional
        With a peak of 1; in place of the Gaussian.
    pixel_scale : `~astropy.units.Quantity`, str or float, optional
        Of the PSF; a plain number in arcsec.
    clean_threshold : `~astropy.units.Quantity`, str or float, optional
        What a source has above it has the shape of the beam, the rest that of the PSF. A plain number in Jy/beam.

    Attributes
    ----------
    solid_angle : float
        Of the Gaussian beam in sr.

    Raises
    ------
    ValueError
        If the beam is not positive, the PSF has no pixel scale or no peak of 1, or there is a CLEAN threshold that is
        not positive or has no PSF.
    """

    def __init__(self, beam, psf=None, pixel_scale=None, clean_threshold=None):
        fwhm = np.atleast_1d(as_quantity(beam, u.arcsec, "beam").to_value(u.rad))
        if fwhm.shape not in ((1,), (2,)) or not (fwhm > 0).all():
            raise ValueError(f"beam={beam} must be a positive width or a pair of them (major, minor)")
        self.solid_angle = np.pi * fwhm[0] * fwhm[-1] / (4 * np.log(2))
        self._psf = None
        self._threshold = np.inf
        if psf is not None:
            if pixel_scale is None:
                raise ValueError("the PSF needs its pixel_scale")
            pixel = float(as_quantity(pixel_scale, u.arcsec, "pixel_scale").to_value(u.rad))
            self._read_psf(to_float(psf, None, "psf", shape=("height", "width"), dtype=np.float64), pixel)
        if clean_threshold is not None:
            self._threshold = float(as_quantity(clean_threshold, u.Jy / u.beam, "clean_threshold").value)
            if psf is None or not self._threshold > 0:
                raise ValueError(f"clean_threshold={clean_threshold} must be positive, and needs a psf")

    def _read_psf(self, psf, pixel):
        if not abs(psf.max() - 1) < 0.02 or psf.min() < -1:
            raise ValueError(f"psf must have a peak of 1, not {psf.max():.4g}: divide it by its peak")
        # Sources lie anywhere in a pixel. Splines do not ring, as a Fourier series would.
        factor = int(np.clip(np.sqrt(_MAX_VALUES / psf.size), 1, 9))
        fine = ndimage.zoom(psf, factor, order=5, mode="grid-constant", grid_mode=True)
        self._psf = np.clip(fine, -1, 1).ravel()
        self._sky = pixel**2 / factor**2
        peak = np.unravel_index(np.argmax(psf), psf.shape)
        y, x = (
            ((np.arange(n * factor) + 0.5) / factor - 0.5 - middle) * pixel
            for n, middle in zip(psf.shape, peak, strict=True)
        )
        self._beam = np.exp(-np.pi * (x**2 + y[:, None] ** 2) / self.solid_angle).ravel()

    def moment(self, order):
        """Integral of B**order over the sky, in sr: the cumulants of P(D) are this times that of S**order n(S)."""
        return self.solid_angle / order if self._psf is None else self._sky * (self._psf**order).sum()

    def mean(self, flux):
        """Integral of B over the sky in sr, which above the CLEAN threshold depends on the flux density."""
        cleaned = np.maximum(1 - self._threshold / flux, 0)
        return cleaned * self.solid_angle + (1 - cleaned) * self.moment(1)

    def kernel(self, frequency, flux):
        """
        Compute K(frequency * flux), averaged over intervals of ln S.

        The average over triangles around each S_j with the weight S_j / S integrates counts exactly where S**2 n is
        linear in ln S, and washes out the oscillations of K.

        Parameters
        ----------
        frequency : `numpy.ndarray`, (n,)
            In rad/(Jy/beam).
        flux : `numpy.ndarray`, (n_flux,)
            In Jy, increasing in steps of `LOG_STEP` in ln S.

        Returns
        -------
        kernel : `numpy.ndarray` of complex, (n, n_flux)
            In sr: times S n(S), its sum over fluxes is ln phi.
        """
        log_y = np.log(frequency)[:, None] + np.log(flux)
        margin = _LEVELS + 2
        n_table = margin + int((log_y.max() - log_y.min()) / _TABLE_STEP) + 3
        table = log_y.min() + _TABLE_STEP * (np.arange(n_table) - margin)
        top = 0.0 if self._psf is None else _TABLE_STEP / 2  # ln B of the highest step
        groups = list(self._steps(flux))
        kernel = np.zeros(log_y.shape, complex)
        for side in (-1, 1):
            shift = side * LOG_STEP * (_NODES + 1) / 2
            weight = _WEIGHTS * LOG_STEP / 2 * (1 - np.abs(shift) / LOG_STEP) * np.exp(-shift)
            one = _gaussian_kernel(np.exp(table[:, None] + top + shift)) @ weight
            for columns, steps in groups:
                total = _sum_of_steps(one, steps[1]) + _sum_of_steps(one, steps[-1]).conj()
                # There are no sources beyond the ends.
                columns = columns[columns > 0] if side < 0 else columns[columns < len(flux) - 1]
                kernel[:, columns] += CubicSpline(table[margin:], total[margin:])(log_y[:, columns])
        return kernel

    def _steps(self, flux):
        """Groups of fluxes that share a beam, and its sky per unit of ln B as steps at positive and negative levels."""
        columns = np.arange(len(flux))
        if self._psf is None:
            yield columns, {1: np.array([self.solid_angle]), -1: np.zeros(1)}
            return
        n_faint = np.searchsorted(flux, self._threshold)
        if n_faint:
            yield columns[:n_faint], self._levels(self._psf)
        for start in range(n_faint, len(flux), _SHARED):
            group = columns[start : start + _SHARED]
            cleaned = 1 - self._threshold / np.sqrt(flux[group[0]] * flux[group[-1]])
            yield group, self._levels(cleaned * self._beam + (1 - cleaned) * self._psf)

    def _levels(self, values):
        steps = {}
        for sign in (1, -1):
            # Shared between the two nearest levels, so that the mean of B is kept.
            position = -np.log(sign * values[sign * values > np.exp(-_TABLE_STEP * _LEVELS)]) / _TABLE_STEP
            level = position.astype(int)
            share = np.bincount(level, level + 1 - position, _LEVELS + 1)
            share += np.bincount(level + 1, position - level, _LEVELS + 1)
            steps[sign] = np.diff(share * self._sky / _TABLE_STEP, prepend=0, append=0)
        return steps


def _gaussian_kernel(y):
    """Integral of (exp(i y B) - 1) / B over B from 0 to 1: K of a Gaussian beam per unit of solid angle."""
    sine, cosine = sici(y)
    real = np.where(y < 0.05, -(y**2) / 4 + y**4 / 96, cosine - np.log(y) - np.euler_gamma)
    return real + 1j * sine


def _sum_of_steps(one, steps):
    return one * steps[0] if len(steps) == 1 else signal.fftconvolve(one, steps)[: len(one)]
