"""What images of the kinds of `~astropy.nddata.NDData` carry beside their data, read without losing it silently.

An uncertainty may be a standard deviation, a variance or a weight, and have a unit of its own; the WCS of a slice of an
NDData is wrapped, so that it does not look like one; and mosaics are exactly 0 beyond what was observed.
"""

import warnings

import astropy.units as u
import numpy as np
from astropy.nddata import StdDevUncertainty
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS

__all__ = ["fits_wcs", "has_blank_zeros", "standard_deviations"]

_ZEROS = 1e-3  # share of exact zeros above which they are no measurements


def fits_wcs(image, name="the image"):
    """
    The FITS WCS of an image.

    Parameters
    ----------
    image : `~astropy.nddata.NDData`
        With any kind of WCS.
    name : str, optional
        What the image is called in error messages.

    Returns
    -------
    wcs : `~astropy.wcs.WCS` or None
        None if the image has none.

    Raises
    ------
    ValueError
        If it is of another type, such as slices of NDData have: its positions would be lost.
    """
    wcs = image.wcs
    if wcs is None or isinstance(wcs, WCS):
        return wcs
    plain = getattr(wcs, "low_level_wcs", wcs)
    if not isinstance(plain, WCS):
        raise ValueError(f"{name} has a WCS of the type {type(plain).__name__}, such as slices of NDData have, and not "
                         "of a FITS image: slice a CCDData instead, or use astropy.nddata.Cutout2D")
    return plain


def has_blank_zeros(values, name="the image"):
    """
    Whether zeros in an image mean that nothing was observed there.

    Parameters
    ----------
    values : array-like
        The image, or a fair sample of its pixels.
    name : str, optional
        What the image is called in the warning.

    Returns
    -------
    bool
        True if more than one pixel in a thousand is exactly 0, and others are no whole numbers: counts may be 0.

    Warns
    -----
    `~astropy.utils.exceptions.AstropyUserWarning`
        If so.
    """
    values = np.asarray(values)
    if values.dtype.kind != "f" or not values.size:
        return False
    share = np.mean(values == 0)
    known = values[np.isfinite(values)]
    if share <= _ZEROS or np.array_equal(known, np.rint(known)):
        return False
    warnings.warn(f"{share:.1%} of the pixels in {name} are exactly 0: they are taken as not observed",
                  AstropyUserWarning, stacklevel=5)  # fmt: skip
    return True


def standard_deviations(image, name="the image"):
    """
    Standard deviation of every pixel.

    Parameters
    ----------
    image : `~astropy.nddata.NDData`
        With an uncertainty of any kind that is one.
    name : str, optional
        What the image is called in error messages.

    Returns
    -------
    sigma : `numpy.ndarray` of the shape of the data, or None
        In the unit of the data, infinite where the weight is 0; None if the image has no uncertainty.

    Raises
    ------
    ValueError
        If the uncertainty is of another kind, or its unit does not convert.
    """
    if image.uncertainty is None:
        return None
    try:
        with np.errstate(divide="ignore", invalid="ignore"):  # weights of 0 are errors without end
            sigma = image.uncertainty.represent_as(StdDevUncertainty)
        values = sigma.array if sigma.unit is None or image.unit is None else sigma.quantity.to_value(image.unit)
    except (AttributeError, TypeError, ValueError, u.UnitsError) as error:
        raise ValueError(f"the uncertainty of {name} is not a standard deviation, variance or inverse variance in its "
                         f"unit ({error})") from error
    return np.broadcast_to(np.asarray(values), image.data.shape)
