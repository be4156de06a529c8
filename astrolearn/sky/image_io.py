"""Flat images and counts cubes in FITS files, as `~astropy.nddata.CCDData`.

What a `SkyMap` has as attributes, such an image carries in its ``meta``: ``energy_edges``, and where known
``background``, ``exposure`` and ``psf``.
"""

import logging
import re
import warnings

import astropy.units as u
import numpy as np
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty, VarianceUncertainty
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS, FITSFixedWarning

from .fits_tools import column_unit, header_meta, read_energies

__all__ = ["image_from_hdus", "without_stray_sip"]

_WCS_KEYWORD = re.compile(r"(?:WCSAXES|WCSNAME|WCSSHAPE|C(?:TYPE|RVAL|RPIX|DELT|UNIT|ROTA)\d+|(?:CD|PC|PV|PS)\d+_\d+"
                          r"|LONPOLE|LATPOLE|RADE?SYS|RADECSYS|EQUINOX|AXCOLS\d+|INTERP\d+|[AB]P?_.*)$")


def image_from_hdus(hdus, *, hdu=None, unit=None, default_unit=u.ct, name="the image"):
    """
    Read an image, or a cube with energy first, from an open FITS file.

    Parameters
    ----------
    hdus : `~astropy.io.fits.HDUList`
        The open file.
    hdu : str or int, optional
        The extension. Default: the first one with an image.
    unit : unit, optional
        Instead of BUNIT.
    default_unit : unit, optional
        If BUNIT says nothing. Default: counts.
    name : str, optional
        What the image is called in a warning.

    Returns
    -------
    `~astropy.nddata.CCDData`
        2-D, or 3-D with energy first; axes of length 1 are dropped. ``wcs`` is the celestial WCS, or None; ``mask`` is
        True where the data are not finite, or an extension MASK is not 0; ``uncertainty`` is that of an extension
        UNCERT, with its kind in UTYPE, as `~astropy.nddata.CCDData` writes them; ``meta["energy_edges"]`` holds the
        edges of the energy bins (or ``meta["energies"]`` the energies) of a cube.

    Raises
    ------
    ValueError
        If there is no image, or it has other dimensions.

    Warns
    -----
    `~astropy.utils.exceptions.AstropyUserWarning`
        If there are SIP distortion coefficients but the CTYPE has no ``-SIP``: they are leftovers (of an image that
        was since resampled, say) and are ignored, as the SIP convention demands (Shupe et al. 2005); astropy's WCS
        would apply them. The warning says by how much.
    """
    if hdu is None:
        image = next((candidate for candidate in hdus if candidate.is_image and candidate.header["NAXIS"] >= 2), None)
    else:
        image = hdus[hdu] if hdus[hdu].is_image else None
    if image is None or image.data is None:
        raise ValueError("no map or image in this file" if hdu is None else f"extension {hdu} is no image")
    data = image.data
    edges, energies = read_energies(hdus, image)
    while data.ndim > (2 if edges is None else 3) and 1 in data.shape[:-2]:  # Stokes and frequency of radio images
        data = np.squeeze(data, axis=data.shape.index(1))
    if data.ndim not in {2, 3}:
        raise ValueError(f"the image has the shape {data.shape}; 2-D, or 3-D with energy first, is needed")
    dtype = np.float64 if data.dtype.itemsize > 4 else np.float32
    data = data.astype(dtype, copy=data.dtype != np.dtype(dtype))
    meta = header_meta(hdus[0].header, image.header)
    meta = {key: value for key, value in meta.items() if not _WCS_KEYWORD.match(key)}
    n_energy = data.shape[0] if data.ndim == 3 else 1
    if edges is not None:
        if len(edges) != n_energy + 1:
            raise ValueError(f"the image has {n_energy} planes, but the file {len(edges) - 1} energy bins")
        meta["energy_edges"] = edges
    elif energies is not None:
        meta["energies"] = energies
    bad = ~np.isfinite(data)
    if unit is None:
        unit = column_unit(image.header.get("BUNIT"), default_unit, "the image")
    wcs = _celestial_wcs(image.header, data.shape[-2:], name)
    mask, uncertainty = _planes_beside(hdus, data.shape)
    bad = bad if mask is None else bad | mask
    return CCDData(data, unit=unit, uncertainty=uncertainty, mask=bad if bad.any() else None, wcs=wcs, meta=meta)


def _planes_beside(hdus, shape):
    """Mask and uncertainty in the extensions that CCDData writes, or None, where they have the shape of the image."""
    mask = uncertainty = None
    if "MASK" in hdus and hdus["MASK"].is_image and hdus["MASK"].shape == shape:
        mask = hdus["MASK"].data != 0
    if "UNCERT" in hdus and hdus["UNCERT"].is_image and hdus["UNCERT"].shape == shape:
        kind = str(hdus["UNCERT"].header.get("UTYPE", StdDevUncertainty.__name__))
        known = {cls.__name__.lower(): cls for cls in (StdDevUncertainty, VarianceUncertainty, InverseVariance)}
        if kind.lower() not in known:
            raise ValueError(f"the extension UNCERT is of the unknown kind {kind}; known are {', '.join(known)}")
        values = hdus["UNCERT"].data
        uncertainty = known[kind.lower()](values.astype(values.dtype.newbyteorder("=")))
    return mask, uncertainty


def without_stray_sip(wcs, shape, name="the image"):
    """
    Leave out distortion terms that a WCS has but does not announce.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        Celestial.
    shape : tuple of int
        Height and width of the image.
    name : str, optional
        What the image is called in the warning.

    Returns
    -------
    wcs : `~astropy.wcs.WCS`
        The same object, if there is nothing to leave out.

    Warns
    -----
    `~astropy.utils.exceptions.AstropyUserWarning`
        If there are SIP coefficients but no CTYPE has ``-SIP``; it says by how much they would move positions.
    """
    if wcs.sip is None or any(str(ctype).endswith("-SIP") for ctype in wcs.wcs.ctype):
        return wcs
    plain = wcs.deepcopy()
    plain.sip = None
    height, width = shape
    x, y = np.meshgrid(np.linspace(0, width - 1, 5), np.linspace(0, height - 1, 5))
    moved = wcs.pixel_to_world(x, y)
    pixels = np.hypot(*(np.array(plain.world_to_pixel(moved)) - [x, y])).max()
    angle = moved.separation(plain.pixel_to_world(x, y)).max().to(u.arcsec)
    warnings.warn(f"the WCS of {name} has SIP distortion coefficients but its CTYPE has no -SIP; they are ignored. "
                  f"They would move positions by up to {pixels:.1f} pixels ({angle:.3g})", AstropyUserWarning,
                  stacklevel=4)
    return plain


def _celestial_wcs(header, shape, name):
    """Celestial WCS of a header, or None; without SIP coefficients that the CTYPE does not announce."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)  # dates and the like, which say nothing about positions
        chatter, level = logging.getLogger("astropy"), logging.getLogger("astropy").level
        chatter.setLevel(logging.WARNING)  # astropy explains stray SIP terms at length, but not how much they do
        try:
            wcs = WCS(header)
        finally:
            chatter.setLevel(level)
    return without_stray_sip(wcs.celestial, shape, name) if wcs.has_celestial else None
