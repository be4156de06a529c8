"""One view of every optical image: light above the background, in units of the noise, strip units once, at the edge.

Gain, unit, pedestal and byte order of an image say nothing about where its stars are. All of them drop out when the
background is taken off and the rest is divided by the noise, which both come from the image itself: clipped in boxes
and interpolated between them, as SExtractor does (Bertin & Arnouts 1996, A&AS 117, 393).
"""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.nddata import NDData
from astropy.stats import SigmaClip
from photutils.background import Background2D, SExtractorBackground, StdBackgroundRMS
from scipy.ndimage import correlate1d

from astrolearn.core.inputs import as_quantity
from astrolearn.sky.nddata import fits_wcs, has_blank_zeros, standard_deviations
from astrolearn.sky.skymap import SkyMap
from astrolearn.sources.optical.psf import SIGMA_OF_FWHM
from astrolearn.sources.optical.seeing import measure_fwhm

__all__ = ["CHANNELS", "StarImage", "filter_image", "read_image"]

CHANNELS = ("light", "significance", "width", "valid")
_BOX = 64  # pixels: SExtractor's default BACK_SIZE
_CLIP = SigmaClip(sigma=3.0, maxiters=10)
_MASKED = 80  # per cent of a box that may be masked or clipped
_SAMPLES = 1_000_000  # pixels from which the image's level and scatter are taken
_WIDTH = 3.0  # pixels: FWHM at which the channel is 0, and which is assumed where there are no stars to measure it
_LEAST_NOISE = 1e-6  # in units of the image's scatter: an image without noise has no significances


@dataclass
class StarImage:
    """
    An optical image in plain arrays.

    Attributes
    ----------
    light : array of float32, shape (height, width)
        Image minus background, in units of ``scale``; 0 where not valid.
    noise : array of float32, shape (height, width)
        Standard deviation of the background's noise in the same units.
    errors : array of float32, shape (height, width), or None
        That of each pixel, of which the stars' own photons may be a part; None if the image does not say.
    valid : array of bool, shape (height, width)
        Pixels that are neither masked, nor NaN, nor saturated.
    fwhm : float
        Full width at half maximum in pixels of the Gaussian that matches the stars best.
    n_stars : int or None
        Stars from which that was measured; None if it was given, 0 if it is a guess.
    scale : float
        What ``light`` is to be multiplied by, in the image's unit.
    unit : unit or None
    wcs : celestial WCS or None
    """

    light: np.ndarray
    noise: np.ndarray
    errors: np.ndarray | None
    valid: np.ndarray
    fwhm: float
    n_stars: int | None
    scale: float
    unit: object
    wcs: object

    def channels(self):
        """What the network sees, `CHANNELS`: float32, shape (4, height, width)."""
        ratio = self.light / self.noise
        significance = filter_image(ratio, self.valid, self.fwhm)
        width = np.float32(np.log2(self.fwhm / _WIDTH)) * self.valid
        return np.stack([np.arcsinh(ratio), np.arcsinh(significance), width, self.valid])


def filter_image(ratio, valid, fwhm):
    """
    Significance of a star at the centre of each pixel, by the matched filter.

    Parameters
    ----------
    ratio : array of float32, shape (height, width)
        Light over noise, 0 where not valid.
    valid : array of bool, shape (height, width)
    fwhm : float
        Of the Gaussian that stands for the PSF, in pixels.

    Returns
    -------
    array of float32
        In standard deviations: sum(p r) / sqrt(sum(p^2)) over the valid pixels of light over noise r.
    """
    reach = int(np.ceil(1.7 * fwhm))
    profile = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (fwhm * SIGMA_OF_FWHM)) ** 2)

    def smooth(values, kernel):
        return correlate1d(correlate1d(values, kernel, axis=0, mode="constant"), kernel, axis=1, mode="constant")

    weight = smooth(valid.astype(np.float32), profile**2)
    # where next to nothing is seen of a star, nothing is said of it
    return smooth(ratio, profile) / np.sqrt(np.maximum(weight, 0.05 * float(np.sum(profile**2)) ** 2))


def read_image(image, fwhm=None):
    """
    Bring an image into the form that the network and the measurements use.

    Parameters
    ----------
    image : `~astropy.nddata.NDData`
        With two axes, of any unit. ``mask`` is True where pixels are bad; ``uncertainty`` is the noise of each pixel,
        which is otherwise estimated, and of which the lower quartile in boxes of 64 pixels is that of the background;
        ``meta["SATURATE"]`` is the level from which pixels are saturated.
    fwhm : float, optional
        Of the stars, in pixels. Default: measured.

    Returns
    -------
    StarImage

    Raises
    ------
    TypeError
        If it is no NDData, or a map of the sphere.
    ValueError
        If it has other dimensions, is empty, has no valid pixels, or an uncertainty or a WCS that cannot be used.
    astropy.units.UnitConversionError
        If the unit of the saturation level is not that of the image.

    Warns
    -----
    `~astropy.utils.exceptions.AstropyUserWarning`
        If many pixels are exactly 0, which are taken as not observed.
    """
    if isinstance(image, SkyMap):
        raise TypeError("cannot look for stars in a SkyMap: for counts maps use weights of kind 'counts'")
    if not isinstance(image, NDData):
        raise TypeError(f"cannot look for stars in a {type(image).__name__}: give an NDData or CCDData")
    data = np.asarray(image.data)
    if data.ndim != 2:
        raise ValueError(f"an optical image must be (height, width), not {data.shape}")
    if data.size == 0:
        raise ValueError("the image is empty")
    valid = np.isfinite(data)
    if has_blank_zeros(data):
        valid &= data != 0
    if image.mask is not None:
        valid &= ~np.broadcast_to(np.asarray(image.mask, bool), data.shape)
    if image.meta.get("SATURATE") is not None:
        unit = image.unit or u.dimensionless_unscaled
        valid &= data < as_quantity(image.meta["SATURATE"], unit, "meta['SATURATE']").value
    given = standard_deviations(image)
    if given is not None:
        valid &= np.isfinite(given) & (given > 0)
    if not valid.any():
        raise ValueError("the image has no valid pixels: everything is masked, NaN, saturated or of unknown error")
    level, scale = _level(data, valid)
    # in double precision, or a pedestal would eat up the digits
    values = np.where(valid, (data.astype(np.float64) - level) / scale, 0).astype(np.float32)
    background, noise = _background(values, valid)
    errors = None
    if given is not None:
        errors = np.where(valid, given / scale, 1).astype(np.float32)
        noise = _lower_quartile(errors, valid)
    light = np.where(valid, values - background, np.float32(0))
    n_stars = None
    if fwhm is None:
        fwhm, n_stars = measure_fwhm(light / noise, valid)
        fwhm, n_stars = (_WIDTH, 0) if fwhm is None else (fwhm, n_stars)
    wcs = fits_wcs(image)
    wcs = wcs.celestial if wcs is not None and wcs.has_celestial else None
    return StarImage(light, noise, errors, valid, float(fwhm), n_stars, scale, image.unit, wcs)


def _lower_quartile(errors, valid):
    """In boxes, float32: there is more sky than stars in a box, and stars have more noise."""
    height, width = errors.shape
    pad = [(0, -height % _BOX), (0, -width % _BOX)]
    values = np.pad(np.where(valid, errors, np.float32(np.nan)), pad, constant_values=np.nan)
    boxes = values.reshape(len(values) // _BOX, _BOX, -1, _BOX).swapaxes(1, 2).reshape(-1, _BOX**2)
    some = np.isfinite(boxes).any(axis=1)
    quartile = np.ones(len(boxes), np.float32)
    quartile[some] = np.nanquantile(boxes[some], 0.25, axis=1)
    plane = quartile.reshape(len(values) // _BOX, -1).repeat(_BOX, axis=0).repeat(_BOX, axis=1)
    return plane[:height, :width]


def _level(data, valid):
    """Median and scatter of an image, from some of its pixels."""
    some = data[valid][:: max(1, int(valid.sum()) // _SAMPLES)].astype(np.float64)
    level = np.median(some)
    scatter = 1.4826 * np.median(np.abs(some - level)) or np.std(some) or 1.0
    return float(level), float(scatter)


def _background(values, valid):
    """Background and noise, float32."""
    box = [min(_BOX, side) for side in values.shape]
    settings = {"mask": ~valid, "exclude_percentile": _MASKED, "sigma_clip": _CLIP}
    settings |= {"bkg_estimator": SExtractorBackground(), "bkg_rms_estimator": StdBackgroundRMS()}
    try:
        background = Background2D(values, box, **settings).background
        # again on what is left: a slope within a box is not noise, and at the rim, where there is nothing to
        # interpolate to, the first background is level
        left = Background2D(values - background, box, **settings)
        background, noise = background + left.background, left.background_rms
    except ValueError:  # too little is left of every box: one level for all
        some = _CLIP(values[valid], masked=False)
        background, noise = (np.full_like(values, value) for value in (np.median(some), np.std(some)))
    return background.astype(np.float32), np.maximum(noise, _LEAST_NOISE).astype(np.float32)
