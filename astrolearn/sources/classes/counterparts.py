"""A catalogue beside its detections: which known source, of which class, lies closest to each.

The table of detections and their counterparts is how a new catalogue is compared with an old one (Bhattacharyya et al.
2022, "Snapshot of a Comparison Table"). It answers a question about each detection alone, so two detections may have
the same counterpart; counting which are right is another question, answered one to one by `astrolearn.sky.match`.
"""

import os
import warnings

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io.fits import BinTableHDU
from astropy.io.registry import IORegistryError
from astropy.table import Table

from astrolearn.core.inputs import as_quantity
from astrolearn.sky.fits_tools import open_fits
from astrolearn.sky.matching import source_coords

__all__ = ["add_counterparts", "read_reference"]

# In lower case, the first that is there counts: FGL and FHL catalogues have Source_Name with ASSOC1 and CLASS1, or
# ASSOC and CLASS
_NAMES = ("source_name", "source", "name", "assoc1", "assoc")
_CLASSES = ("class1", "class")

_FITS = (b"SIMPLE", b"\x1f\x8b", b"BZh")  # how such a file begins: as it is, gzip, bzip2


def add_counterparts(catalogue, reference, radius="0.3 deg"):
    """
    Name the nearest source of a reference catalogue for every detection.

    Parameters
    ----------
    catalogue : `~astropy.table.Table`
        Detections, with positions as `~astrolearn.sky.source_coords` reads them (usually the SkyCoord column
        ``coord``). It is not changed.
    reference : `~astropy.table.Table`
        Known sources: positions likewise, names in the first of the columns Source_Name, Source, Name, ASSOC1 and ASSOC
        that is there, and classes in CLASS1 or CLASS, in upper or lower case. `read_reference` reads one. Rows without
        a position are left out.
    radius : `~astropy.units.Quantity`, str or float, default="0.3 deg"
        Largest separation; a bare number is in degrees.

    Returns
    -------
    `~astropy.table.Table` of the class of ``catalogue``
        A copy of it with the columns ``counterpart``, the name of the nearest source within ``radius`` (empty if there
        is none); ``counterpart_class``, its class in lower case (empty if there is none or the reference does not say;
        in LAT catalogues upper case means that the identification is firm, and ``unk`` that the counterpart's nature
        is unknown); ``counterpart_separation`` in degrees, and ``counterpart_coord``, its position in the frame of the
        reference (both NaN if there is none). Columns of these names are replaced.

        The nearest source is found for each detection separately, so that several may have the same.

    Raises
    ------
    ValueError
        If a table has no positions, the reference no names, or ``radius`` is not positive.
    `~astropy.units.UnitConversionError`
        If ``radius`` is not an angle.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.coordinates import SkyCoord
    >>> from astropy.table import QTable
    >>> from astrolearn.sources.classes.counterparts import add_counterparts
    >>> found = QTable({"coord": SkyCoord([97.39, 25.30] * u.deg, [-87.91, 81.42] * u.deg, frame="galactic")})
    >>> known = QTable({"Source_Name": ["4FGL J0047.5-2517"], "CLASS1": ["sbg"], "GLON": [97.574], "GLAT": [-87.969]})
    >>> table = add_counterparts(found, known)
    >>> [(str(row["counterpart"]), str(row["counterpart_class"])) for row in table]
    [('4FGL J0047.5-2517', 'sbg'), ('', '')]
    """
    radius = as_quantity(radius, u.deg, "radius")
    if not radius > 0:
        raise ValueError(f"radius={radius} must be positive")
    detected, known = _positions(catalogue), _positions(reference)
    name = _column(reference, _NAMES)
    if name is None:
        raise ValueError("the reference has no column of names (Source_Name, Source, Name, ASSOC1 or ASSOC); it has "
                         f"{', '.join(reference.colnames)}")
    names, classes = _text(name), _text(_column(reference, _CLASSES), len(reference))
    nearest, separation = _nearest(detected, known)
    near = separation <= radius
    row = nearest[near]

    result = catalogue.copy()
    columns = {"counterpart": names, "counterpart_class": np.char.lower(classes)}
    for column, values in columns.items():
        text = np.full(len(catalogue), "", dtype=values.dtype)
        text[near] = values[row]
        result[column] = text
    result["counterpart_separation"] = np.where(near, separation, np.nan * u.deg)
    position = np.full((2, len(catalogue)), np.nan)
    position[:, near] = known.spherical.lon.deg[row], known.spherical.lat.deg[row]
    result["counterpart_coord"] = SkyCoord(*position, unit="deg", frame=known.frame.replicate_without_data())
    return result


def read_reference(path):
    """
    Read a catalogue of known sources.

    Parameters
    ----------
    path : path-like
        FITS file, may be compressed, such as ``gll_psc_v27.fit`` of the LAT: the first table with positions is taken,
        there the extension LAT_Point_Source_Catalog. Or a table of any other kind that astropy recognises by its name
        or contents: ECSV, VOTable, CSV.

    Returns
    -------
    `~astropy.table.Table`
        As it is in the file.

    Raises
    ------
    OSError
        If the file cannot be read (FileNotFoundError if there is none).
    ValueError
        If there is no table in it, or it has no positions.
    """
    path = os.fspath(path)
    try:
        with open(path, "rb") as file:
            is_fits = file.read(6).startswith(_FITS)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    if is_fits or path.lower().endswith((".fits", ".fit")):
        return _read_fits(path)
    try:
        table = Table.read(path)
    except IORegistryError:
        raise ValueError(f"{path}: neither its name (.ecsv, .fits, .csv, .vot) nor its contents say what kind of table "
                         "it is") from None
    except (ValueError, OSError, SyntaxError) as error:  # the last one for what is no VOTable
        raise ValueError(f"{path}: not a readable table ({' '.join(str(error).split())})") from error
    try:
        source_coords(table)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return table


def _read_fits(path):
    with open_fits(path) as hdus:
        tables = [hdu for hdu in hdus if isinstance(hdu, BinTableHDU)]
        for hdu in tables:
            with warnings.catch_warnings():
                # units such as photon/cm**2/MeV/s are not by the book, but understood or not needed
                warnings.simplefilter("ignore", u.UnitsWarning)
                table = Table.read(hdu, format="fits")
            if source_coords(table, missing_ok=True) is not None:
                return table
        found = "; ".join(f"{hdu.name or 'a table'} has {', '.join(hdu.columns.names)}" for hdu in tables)
        raise ValueError(f"no table with positions (GLON and GLAT, RAJ2000 and DEJ2000, ...): {found or 'no tables'}")


def _positions(table):
    """Positions of a table as plain SkyCoord, NaN where they are masked."""
    plain = table.copy(copy_data=False)
    for name in table.colnames:
        column = table[name]
        if hasattr(column, "filled") and getattr(column, "dtype", np.dtype("O")).kind in "iuf":
            plain[name] = column.astype(float).filled(np.nan)
    coords = source_coords(plain)
    angles = [getattr(angle, "unmasked", angle) for angle in (coords.spherical.lon, coords.spherical.lat)]
    masked = getattr(coords.spherical.lon, "mask", False) | getattr(coords.spherical.lat, "mask", False)
    return SkyCoord(*(np.where(masked, np.nan, angle.deg) for angle in angles), unit="deg",
                    frame=coords.frame.replicate_without_data())


def _nearest(detected, known):
    """Row of the nearest known source, and its separation, infinite where there is none."""
    nearest, separation = np.zeros(len(detected), int), np.full(len(detected), np.inf) * u.deg
    placed, usable = (np.isfinite(coord.spherical.lon + coord.spherical.lat) for coord in (detected, known))
    if placed.any() and usable.any():
        found, angle, _ = detected[placed].match_to_catalog_sky(known[usable])
        nearest[placed], separation[placed] = np.flatnonzero(usable)[found], angle
    return nearest, separation


def _column(table, names):
    """The first of some columns, whatever its case; None if there is none of them."""
    known = {name.lower(): name for name in reversed(table.colnames)}
    return next((table[known[name]] for name in names if name in known), None)


def _text(column, length=0):
    """Strings of a column, masked ones empty, without the blanks that FITS pads them with; all empty for None."""
    if column is None:
        return np.full(length, "")
    missing = np.broadcast_to(getattr(column, "mask", False), len(column))
    words = ["" if lost or word is None else word.decode() if isinstance(word, bytes) else str(word)
             for word, lost in zip(column, missing, strict=True)]
    return np.array([word.strip() for word in words], dtype=str)
