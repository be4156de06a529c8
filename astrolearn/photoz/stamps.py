"""
Simulated images of galaxies with known magnitudes: Sersic profiles under the seeing and noise of SDSS.

Given the magnitudes and redshifts of real galaxies, they make a training set of images in which all there is to know
about the redshift is in the magnitudes. So a regression on the magnitudes themselves is the ceiling of what a network
can do on the images: what it stays below that, it loses.
"""

import astropy.units as u
import numpy as np
from scipy.special import gammaincinv

from astrolearn.core.inputs import as_quantity, to_float
from astrolearn.core.seeding import make_rng

__all__ = ["SDSS_DEPTH", "simulate_stamps"]

# magnitudes of point sources of 5 standard deviations, u to z: the medians of the survey (sdss.org/dr12/scope)
SDSS_DEPTH = (22.15, 23.13, 22.70, 22.20, 20.71)
_OVERSAMPLING = 3
_AT_ONCE = 250
_SIZES = (2.2, 0.35)  # arcsec, median half-light radius and its spread in ln: our choice for galaxies with r < 17.8
_ZERO_POINT = 22.5  # mag of a nanomaggy


def simulate_stamps(
    magnitudes, *, size=32, pixel_scale="0.396 arcsec", seeing="1.2 arcsec", depth=SDSS_DEPTH, random_state=None
):
    """
    Simulate images of galaxies.

    Half are discs (Sersic index 1), half spheroids (4), of random half-light radius (log-normal around 2.2 arcsec),
    axis ratio (0.3 to 1) and position angle, none of which depends on the magnitudes; the centre is within a pixel of
    the middle.

    Parameters
    ----------
    magnitudes : array-like or `~astropy.units.Quantity`, (n, n_bands)
        AB magnitudes.
    size : int, optional
        Side in pixels. Default: 32.
    pixel_scale, seeing : `~astropy.units.Quantity`, str or float, optional
        Pixel, and full width at half maximum of the Gaussian point-spread function; plain numbers are arcsec.
    depth : sequence of float, (n_bands,), optional
        Magnitude in each band of a point source of 5 standard deviations, from which the noise of the sky follows.
        Default: that of SDSS.
    random_state : int, Generator or None, optional

    Returns
    -------
    images : `~astropy.units.Quantity`, float32 (n, n_bands, size, size)
        In nanomaggies. The noise is that of the sky, to which the galaxies' own adds little.

    Raises
    ------
    ValueError
        If there is no depth for each band.
    """
    unit = getattr(magnitudes, "unit", None)
    if not (unit is None or unit == u.mag or isinstance(unit, u.MagUnit)):
        raise u.UnitConversionError(f"magnitudes has the unit '{unit}', which does not convert to 'mag'")
    magnitudes = to_float(magnitudes, unit, "magnitudes", shape=("n", "n_bands"), dtype=np.float64)
    if len(depth) != magnitudes.shape[1]:
        raise ValueError(f"depth has {len(depth)} bands, magnitudes {magnitudes.shape[1]}")
    pixel = as_quantity(pixel_scale, u.arcsec, "pixel_scale").value
    sigma = as_quantity(seeing, u.arcsec, "seeing").value / 2.3548 / pixel
    rng = make_rng(random_state)
    # 5 standard deviations of a matched filter: the noise of 4 pi sigma^2 pixels
    noise = _nanomaggies(np.asarray(depth, float)) / 5 / np.sqrt(4 * np.pi * sigma**2)
    out = np.empty((*magnitudes.shape, size, size), np.float32)
    for start in range(0, len(magnitudes), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        flux = _nanomaggies(magnitudes[rows])
        profile = _profiles(len(flux), size, pixel, sigma, rng)
        out[rows] = flux[:, :, None, None] * profile[:, None]
        out[rows] += noise[:, None, None] * rng.standard_normal(out[rows].shape, dtype=np.float32)
    return out * u.nmgy


def _nanomaggies(magnitude):
    return 10 ** (0.4 * (_ZERO_POINT - magnitude))


def _profiles(n, size, pixel, sigma, rng):
    """Light of galaxies in pixels (n, size, size); what falls outside the image is lost to it."""
    fine = 2 * size * _OVERSAMPLING  # twice the image, so that the light outside is counted
    index = rng.choice((1.0, 4.0), n)
    radius = _SIZES[0] * np.exp(_SIZES[1] * rng.standard_normal(n)) / pixel
    ratio, angle = rng.uniform(0.3, 1, n), rng.uniform(0, np.pi, n)
    position = (np.arange(fine) + 0.5) / _OVERSAMPLING - size + size % 2 / 2  # of odd sizes the middle is in a pixel
    x, y = (position[None] - rng.uniform(-1, 1, n)[:, None] for _ in range(2))
    x, y = x[:, None, :], y[:, :, None]
    cosine, sine = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    along, across = x * cosine + y * sine, y * cosine - x * sine
    ratio = ratio[:, None, None]
    # half of the light within the radius (Ciotti & Bertin 1999): b is where the incomplete gamma function is a half
    b = gammaincinv(2 * index, 0.5)[:, None, None]
    r = np.sqrt(ratio * along**2 + across**2 / ratio + 0.25 / _OVERSAMPLING**2) / radius[:, None, None]
    light = np.exp(-b * r ** (1 / index)[:, None, None])
    light /= light.sum(axis=(1, 2), keepdims=True)
    frequency = np.fft.fftfreq(fine) * _OVERSAMPLING
    blur = np.exp(-2 * np.pi**2 * sigma**2 * frequency**2)
    light = np.fft.irfft2(np.fft.rfft2(light) * blur[:, None] * blur[: fine // 2 + 1], s=(fine, fine))
    light = light.reshape(n, 2 * size, _OVERSAMPLING, 2 * size, _OVERSAMPLING).sum(axis=(2, 4))
    half = size // 2
    return light[:, half : half + size, half : half + size]
