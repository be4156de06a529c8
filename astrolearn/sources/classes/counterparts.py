"""The known sources that detections are close to."""

import astropy.units as u
import numpy as np
from astropy.table import QTable

from astrolearn.core.inputs import as_quantity
from astrolearn.sky.matching import source_coords

__all__ = ["add_counterparts", "read_reference"]


def read_reference(path):
    """
    Read a catalogue of known sources.

    Parameters
    ----------
    path : path-like
        FITS or ECSV.

    Returns
    -------
    `~astropy.table.QTable`

    Raises
    ------
    ValueError
        If it has no positions.
    """
    reference = QTable.read(path)
    source_coords(reference)
    return reference


def add_counterparts(catalogue, reference, radius="0.3 deg"):
    """
    Add the nearest known source to every detection.

    Parameters
    ----------
    catalogue : `~astropy.table.QTable`
        Detections.
    reference : `~astropy.table.Table`
        Known sources, with their names in the column ``Source_Name`` or ``name``.
    radius : `~astropy.units.Quantity`, str or float, optional
        Largest separation.

    Returns
    -------
    `~astropy.table.QTable`
        A copy with the column ``counterpart``, empty where there is none.
    """
    result = catalogue.copy()
    radius = as_quantity(radius, u.deg, "radius")
    names = np.asarray(reference["Source_Name" if "Source_Name" in reference.colnames else "name"], dtype=str)
    found = np.zeros(len(catalogue), dtype=names.dtype)
    if len(catalogue) and len(reference):
        nearest, separation, _ = catalogue["coord"].match_to_catalog_sky(source_coords(reference))
        found = np.where(separation < radius, names[nearest], "")
    result["counterpart"] = found
    return result
