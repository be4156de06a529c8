"""What a star looks like on pixels: Moffat, Gaussian and measured profiles, averaged over each pixel.

A telescope's image is sampled by pixels that may be as wide as the PSF itself. A profile evaluated at pixel centres
would then be wrong by tens of per cent in its core, so every profile here gives the share of a star's light that falls
into a pixel: the integral over the pixel's square.
"""

import astropy.units as u
import numpy as np
from scipy.ndimage import map_coordinates, spline_filter, uniform_filter

from astrolearn.core.inputs import as_quantity

__all__ = ["SIGMA_OF_FWHM", "EmpiricalPSF", "MoffatPSF", "add_stars"]

SIGMA_OF_FWHM = 1 / np.sqrt(8 * np.log(2))
"""Standard deviation of a Gaussian of full width at half maximum 1."""

_NODES = ((2.0, 5), (3.5, 3), (np.inf, 2))  # up to this FWHM, so many points along a pixel: integrals right to 1e-4
_RADII = (6, 12, 24, 48, 96, 192)  # pixels to each side of a star within which it is drawn
_CHUNK = 1_000_000  # pixels of stars drawn at a time


class MoffatPSF:
    """
    Moffat profile, the shape of stars seen through turbulent air (Moffat 1969, A&A 3, 455).

    Parameters
    ----------
    fwhm : float
        Full width at half maximum in pixels, before the integration over pixels; of an elliptical profile the geometric
        mean of the two axes.
    beta : float, optional
        Exponent, above 1: 2.5 to 4.8 in the optical (Trujillo et al. 2001, MNRAS 328, 977); `numpy.inf` is a Gaussian.
    ellipticity : float, optional
        1 - minor / major axis.
    angle : `~astropy.units.Quantity`, str or float, optional
        Of the major axis from x towards y; bare numbers are degrees.

    Raises
    ------
    ValueError
        If the width is not positive, beta not above 1 or the ellipticity not within 0 (included) and 1.
    """

    def __init__(self, fwhm, beta=3.0, ellipticity=0.0, angle=0.0):
        if not fwhm > 0 or not beta > 1 or not 0 <= ellipticity < 1:
            raise ValueError(f"fwhm={fwhm} must be positive, beta={beta} above 1, ellipticity={ellipticity} in [0, 1)")
        self.fwhm, self.beta, self.ellipticity = float(fwhm), float(beta), float(ellipticity)
        self.angle = as_quantity(angle, u.deg, "angle")

    def __call__(self, dx, dy):
        """
        Share of a star's light in pixels.

        Parameters
        ----------
        dx, dy : array
            Pixel centre minus star, in pixels.

        Returns
        -------
        array
            Of their shape.
        """
        narrow = self.fwhm * np.sqrt(1 - self.ellipticity)
        nodes, weights = np.polynomial.legendre.leggauss(next(n for sharpest, n in _NODES if narrow <= sharpest))
        share = 0.0
        for x, weight_x in zip(nodes / 2, weights / 2, strict=True):
            for y, weight_y in zip(nodes / 2, weights / 2, strict=True):
                share = share + weight_x * weight_y * self._density(dx + x, dy + y)
        return share

    def _density(self, dx, dy):
        cos, sin = np.cos(self.angle.to_value(u.rad)), np.sin(self.angle.to_value(u.rad))
        stretch = 1 / (1 - self.ellipticity)
        squared = (dx * cos + dy * sin) ** 2 / stretch + (dy * cos - dx * sin) ** 2 * stretch
        if np.isinf(self.beta):
            variance = (self.fwhm * SIGMA_OF_FWHM) ** 2
            return np.exp(-squared / (2 * variance)) / (2 * np.pi * variance)
        core = self.fwhm**2 / (4 * (2 ** (1 / self.beta) - 1))
        return (self.beta - 1) / (np.pi * core) * (1 + squared / core) ** -self.beta


class EmpiricalPSF:
    """
    A measured or computed profile, by spline interpolation.

    Parameters
    ----------
    values : array, shape (height, width)
        The profile, its centre at the central element: both sides are odd. It is put to the sum 1.
    oversampling : int, optional
        Elements along a pixel, an odd number.

    Raises
    ------
    ValueError
        If a side or the oversampling is even, or the values have no positive sum.
    """

    def __init__(self, values, oversampling=1):
        values = np.asarray(values, dtype=float)
        if values.ndim != 2 or not all(side % 2 for side in values.shape) or oversampling % 2 == 0:
            raise ValueError(
                f"a PSF of the shape {values.shape}, oversampled {oversampling} times: all these must be odd"
            )
        if not values.sum() > 0:
            raise ValueError("the PSF has no positive sum")
        self.oversampling = int(oversampling)
        per_pixel = uniform_filter(values / values.sum(), self.oversampling, mode="constant") * self.oversampling**2
        self._coefficients = spline_filter(per_pixel, order=3)
        peak = per_pixel.max()
        # of the circle that holds as many elements as are above half of the maximum
        self.fwhm = float(np.sqrt(4 / np.pi * np.sum(per_pixel > peak / 2)) / self.oversampling)

    def __call__(self, dx, dy):
        """
        Share of a star's light in pixels.

        Parameters
        ----------
        dx, dy : array
            Pixel centre minus star, in pixels.

        Returns
        -------
        array
            Of their shape; 0 beyond the profile that was given.
        """
        middle = (np.array(self._coefficients.shape) - 1) / 2
        places = [np.asarray(d) * self.oversampling + m for d, m in zip((dy, dx), middle, strict=True)]
        return map_coordinates(self._coefficients, np.broadcast_arrays(*places), order=3, prefilter=False)


def add_stars(image, psf, x, y, flux, faintest):
    """
    Draw stars into an image, in place.

    Parameters
    ----------
    image : array, shape (height, width)
    psf : MoffatPSF, EmpiricalPSF or callable
        Share of the light in pixels at (dx, dy) from a star.
    x, y : array, shape (n,)
        Positions, 0-based pixel centres; stars may lie outside.
    flux : array, shape (n,)
        In the image's unit.
    faintest : float
        Light per pixel below which the wings of a star are cut, in the image's unit.
    """
    distance = np.array([0, *_RADII])
    wings = np.maximum(psf(distance, 0 * distance), psf(0 * distance, distance))
    # the smallest radius from which on the star is faint
    radius = np.searchsorted(-wings[1:-1], -faintest / np.maximum(flux, 1e-300))
    for number, reach in enumerate(_RADII):
        stars = np.flatnonzero(radius == number)
        step = np.arange(-reach, reach + 1)
        per_chunk = max(1, _CHUNK // len(step) ** 2)
        for first in range(0, len(stars), per_chunk):
            some = stars[first : first + per_chunk]
            column, row = (np.rint(c[some]).astype(int)[:, None] + step for c in (x, y))
            light = psf((column - x[some, None])[:, None, :], (row - y[some, None])[:, :, None])
            light = light * flux[some, None, None]
            column, row = np.broadcast_arrays(column[:, None, :], row[:, :, None])
            inside = (column >= 0) & (column < image.shape[1]) & (row >= 0) & (row < image.shape[0])
            flat = row[inside] * image.shape[1] + column[inside]
            np.add.at(image.reshape(-1), flat, light[inside].astype(image.dtype))
