"""One way in for maps of any kind: files, `SkyMap`, images, and the maps of gammapy."""

import os

import astropy.units as u
import healpy as hp
import numpy as np
from astropy.nddata import CCDData, NDData

from .fits_tools import open_fits
from .healpix_io import healpix_hdu, read_skymap
from .image_io import image_from_hdus
from .skymap import SkyMap

__all__ = ["as_map", "read_map"]


def read_map(path, *, hdu=None, unit=None):
    """
    Read a counts map from a FITS file, HEALPix or flat.

    Parameters
    ----------
    path : path-like
        The file, may be compressed.
    hdu : str or int, optional
        The extension. Default: the first HEALPix map, or else the first image.
    unit : unit, optional
        Instead of what the file says; counts if it says nothing.

    Returns
    -------
    SkyMap or `~astropy.nddata.CCDData`
        A HEALPix map as of `read_skymap`. A WCS counts cube (fermitools ``gtbin`` CCUBE, GADF) or image as CCDData with
        energy first, the celestial WCS (None if there is none), a mask where values are not finite, and the edges of
        the energy bins in ``meta["energy_edges"]``.

    Raises
    ------
    OSError
        If the file cannot be read (FileNotFoundError if there is none).
    ValueError
        If there is no map in it.

    Warns
    -----
    `~astropy.utils.exceptions.AstropyUserWarning`
        If there are SIP coefficients that the CTYPE does not announce; they are ignored.
    """
    with open_fits(path) as hdus:
        if healpix_hdu(hdus, hdu) is None:
            return image_from_hdus(hdus, hdu=hdu, unit=unit)
    return read_skymap(path, hdu=hdu, unit=unit)


def as_map(obj):
    """
    Turn whatever holds a map into `SkyMap` or `~astropy.nddata.NDData`.

    Parameters
    ----------
    obj : SkyMap, NDData, gammapy map or path-like
        NDData are taken as they are. gammapy's ``HpxNDMap`` and ``WcsNDMap`` are recognised by their ``geom`` and
        ``data``; they may have an energy axis and no other, and their data are taken as counts if they have no unit.
        A path is read with `read_map`.

    Returns
    -------
    SkyMap or `~astropy.nddata.NDData`
        SkyMap and NDData are returned unchanged. Pixels beyond a partial HEALPix geometry are masked.

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If a gammapy map has axes besides energy.
    """
    if isinstance(obj, NDData):
        return obj
    if isinstance(obj, (str, os.PathLike)):
        return read_map(obj)
    if hasattr(obj, "geom") and hasattr(obj, "data"):
        return _from_gammapy(obj)
    raise TypeError(f"a SkyMap, an NDData image, a gammapy map or a path is needed, not {type(obj).__name__}")


def _from_gammapy(obj):
    geom = obj.geom
    axes = list(geom.axes)
    if len(axes) > 1 or (axes and axes[0].name not in {"energy", "energy_true"}):
        raise ValueError(f"the map has the axes {[axis.name for axis in axes]}; only one of energy is understood")
    edges = u.Quantity(axes[0].edges) if axes else None
    unit = u.ct if obj.unit in (None, "", u.dimensionless_unscaled) else obj.unit
    data = np.asarray(obj.data)
    if geom.is_hpx:
        nside = int(np.max(geom.nside))
        pixels = geom.to_image().get_idx(flat=True)[0]
        filled = np.full((data.shape[0] if axes else 1, hp.nside2npix(nside)), hp.UNSEEN, dtype=data.dtype)
        filled[:, pixels] = data
        return SkyMap(filled, unit=unit, frame=geom.frame, nest=bool(geom.nest), energy_edges=edges)
    bad = ~np.isfinite(data)
    meta = {} if edges is None else {"energy_edges": edges}
    return CCDData(data, unit=unit, mask=bad if bad.any() else None, wcs=geom.wcs, meta=meta)
