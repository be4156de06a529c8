"""How wide the stars of an image are, measured on the image itself.

Stars are all of one width, while cosmic rays are narrower, galaxies wider and both of many widths. So the width that
most bright objects share is that of the stars, even where they are a minority.
"""

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter

from astrolearn.sources.optical.psf import SIGMA_OF_FWHM

__all__ = ["measure_fwhm"]

# Smoothing in pixels, standard deviations of a peak after it, and how many objects are enough: first bright ones; where
# they are too few, any that are there, wide ones too
_PASSES = ((0.7, 10.0, 4), (2.0, 2.0, 2))
_MOST = 800  # objects measured: the brightest
_REACH = 12  # pixels to each side of an object
_ROUNDS = 30
_WIDTHS = (0.5, 4.5)  # pixels, 1 sigma: anything else is no star
_ROUND = 0.45  # largest ellipticity (a^2 - b^2) / (a^2 + b^2) of a star
_BANDWIDTH = 0.06  # in the log of a width: scatter of bright stars


def measure_fwhm(ratio, valid):
    """
    Full width at half maximum of the stars.

    Widths are those of the round Gaussian that matches best: the adaptive moments of Bernstein & Jarvis (2002, AJ 123,
    583), kept round. The answer is where their distribution peaks. It is the full width at half maximum of that
    Gaussian; a Moffat profile of beta 3 has one about an eighth less.

    Parameters
    ----------
    ratio : array, shape (height, width)
        Light over noise, 0 where not valid.
    valid : array of bool, shape (height, width)

    Returns
    -------
    fwhm : float or None
        In pixels, the blurring by the pixels included. None if there are too few stars to tell.
    n_stars : int
        Objects of about that width.
    """
    for smoothing, bright, fewest in _PASSES:
        log_width = _log_widths(ratio, valid, smoothing, bright)
        if len(log_width) >= fewest:
            break
    else:
        return None, len(log_width)
    grid = np.arange(np.log(_WIDTHS[0]), np.log(_WIDTHS[1]), 0.01)
    crowd = np.exp(-0.5 * ((grid[:, None] - log_width) / _BANDWIDTH) ** 2).sum(axis=1)
    alike = np.abs(log_width - grid[np.argmax(crowd)]) < 2 * _BANDWIDTH
    return float(np.exp(np.median(log_width[alike])) / SIGMA_OF_FWHM), int(alike.sum())


def _log_widths(ratio, valid, smoothing, bright):
    """Log of the widths (1 sigma, pixels) of what may be stars among the brightest peaks."""
    smooth = gaussian_filter(ratio, smoothing)
    peak = (smooth > bright) & (maximum_filter(smooth, 5) == smooth)
    rim = min(_REACH, (min(ratio.shape) - 1) // 2)
    inner = (slice(rim, -rim or None),) * 2
    row, column = (axis + rim for axis in np.nonzero(peak[inner]))
    brightest = np.argsort(-smooth[row, column], kind="stable")[:_MOST]
    row, column = row[brightest], column[brightest]
    step = np.arange(-rim, rim + 1)
    pixels = row[:, None, None] + step[:, None], column[:, None, None] + step
    width, ellipticity = _moments(ratio[pixels].astype(float), valid[pixels], step.astype(float))
    usable = (width > _WIDTHS[0]) & (width < _WIDTHS[1]) & (ellipticity < _ROUND)
    usable &= valid[row, column]
    return np.log(width[usable])


def _moments(stamps, valid, step):
    """Width (1 sigma, pixels) and ellipticity of what is at the middle of each stamp; NaN where there is no answer."""
    n = len(stamps)
    x, y, width = np.zeros(n), np.zeros(n), np.full(n, 1.5)
    ellipticity = np.full(n, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(_ROUNDS):
            dx, dy = step - x[:, None, None], step[:, None] - y[:, None, None]
            light = np.exp(-0.5 * (dx**2 + dy**2) / width[:, None, None] ** 2) * stamps * valid
            total = light.sum(axis=(1, 2))
            mean_x, mean_y = ((light * d).sum(axis=(1, 2)) / total for d in (dx, dy))
            xx, yy, xy = ((light * d).sum(axis=(1, 2)) / total for d in (dx**2, dy**2, dx * dy))
            seen = (xx + yy - mean_x**2 - mean_y**2) / 2
            ellipticity = np.hypot(xx - yy, 2 * xy) / (xx + yy)
            x, y = np.clip(x + 2 * mean_x, -2, 2), np.clip(y + 2 * mean_y, -2, 2)
            # of a Gaussian object in a Gaussian window
            own = 1 / np.sqrt(1 / seen - 1 / width**2)
            width = np.clip(np.where(np.isfinite(own), own, 2 * width), 0.4, 6.0)
    return np.where(np.isfinite(ellipticity), width, np.nan), ellipticity
