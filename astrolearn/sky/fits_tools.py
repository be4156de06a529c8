"""What readers of FITS maps share: one-line errors that name the file, units as people write them, energy bins.

astropy reports a damaged file in a dozen ways (`EOFError`, `TypeError`, a warning, ...), often not saying which file;
whoever reads maps should see one line that does.
"""

import gzip
import os
import re
import warnings
import zlib
from contextlib import contextmanager, suppress
from io import BytesIO

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning, AstropyWarning

__all__ = ["column_unit", "header_meta", "open_fits", "read_energies", "read_table"]

# Names of tables with the energies of a map: OGIP and fermitools, gammapy (GADF), fermitools and GALPROP
_ENERGY_TABLES = ("EBOUNDS", "{name}_BANDS", "BANDS", "ENERGIES")

# Units as people write them where the FITS standard has others, in lower case
_UNIT_WORDS = {
    "counts": "ct", "count": "ct", "cts": "ct", "photons": "ct", "photon": "ct", "ph": "ct", "adu": "adu", "dn": "adu",
    "electrons": "electron", "jy": "Jy", "beam": "beam", "kelvin": "K", "sec": "s", "second": "s", "seconds": "s",
    "nanomaggies": "nmgy", "nanomaggy": "nmgy", "nmgy": "nmgy",
}

_STRUCTURE = (
    "SIMPLE", "BITPIX", "NAXIS", "EXTEND", "XTENSION", "EXTNAME", "PCOUNT", "GCOUNT", "TFIELDS", "TTYPE", "TFORM",
    "TUNIT", "TDISP", "TNULL", "TDIM", "TSCAL", "TZERO", "CHECKSUM", "DATASUM", "HDUNAME", "BANDSHDU", "BUNIT",
    "PIXTYPE", "ORDERING", "ORDER", "NSIDE", "FIRSTPIX", "LASTPIX", "INDXSCHM", "HPX_CONV", "HPX_REG", "COORDSYS",
    "COORDTYPE", "CREATOR", "COMMENT", "HISTORY",
)


@contextmanager
def open_fits(path):
    """
    Open a FITS file for the body of a ``with`` statement.

    Whatever goes wrong in the body is raised as one line that begins with the path.

    Parameters
    ----------
    path : path-like
        The file, may be compressed.

    Yields
    ------
    `~astropy.io.fits.HDUList`

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    OSError
        If it is not FITS, truncated, or cannot be decompressed.
    ValueError
        For a `ValueError` or `LookupError` in the body: the contents are not what is needed.
    """
    path = os.fspath(path)
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*(truncated|corrupted)", category=AstropyUserWarning)
            # old images have cards that are no keywords, which say nothing of interest here
            warnings.filterwarnings("ignore", message="The following header keyword is invalid")
            if file.peek(2)[:2] == b"\x1f\x8b":
                # astropy takes the end of a truncated gzip stream for the end of the file, without a word
                file = BytesIO(gzip.decompress(file.read()))
            # not memory-mapped: what is read outlives the open file
            with fits.open(file, memmap=False) as hdus:
                yield hdus
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise IsADirectoryError(f"{path}: is a folder, not a FITS file") from None
    except u.UnitConversionError as error:
        raise u.UnitConversionError(f"{path}: {error}") from error
    except (ValueError, LookupError) as error:
        raise ValueError(f"{path}: {error.args[0] if error.args else error}") from error
    except (OSError, EOFError, TypeError, zlib.error, fits.VerifyError, AstropyWarning) as error:
        raise OSError(f"{path}: not a readable FITS file ({' '.join(str(error).split())})") from error


def column_unit(text, default, name):
    """
    Unit from a FITS keyword.

    Parameters
    ----------
    text : str or None
        As in the header. Counts, photons, JY/BEAM and the like are understood, too.
    default : unit
        If ``text`` is missing or empty.
    name : str
        What has this unit, for the error message.

    Raises
    ------
    ValueError
        If it is no unit.
    """
    text = (text or "").strip()
    if not text:
        return u.Unit(default)
    if text.lower() in _UNIT_WORDS:  # photons alone are counts
        return u.Unit(_UNIT_WORDS[text.lower()])
    by_the_book = re.sub("[A-Za-z]+", lambda word: _UNIT_WORDS.get(word[0].lower(), word[0]), text)
    for form in (text, by_the_book):
        with warnings.catch_warnings():  # deprecated forms are still right
            warnings.simplefilter("ignore", u.UnitsWarning)
            with suppress(ValueError):
                return u.Unit(form)
    raise ValueError(f"{name} has the unit {text!r}, which is not known; pass the right one")


def read_table(hdus, name, columns):
    """
    Columns of a table extension by name, whatever their case.

    Parameters
    ----------
    hdus : `~astropy.io.fits.HDUList`
        The open file.
    name : str
        Name of the extension.
    columns : dict of str to unit or None
        Columns and their units where the file does not say; None: a plain array.

    Returns
    -------
    list of `~astropy.units.Quantity` or array

    Raises
    ------
    ValueError
        If the extension or a column is missing; the message says what is there.
    """
    if name not in hdus:
        raise ValueError(f"there is no extension {name}; there are {', '.join(hdu.name for hdu in hdus)}")
    hdu = hdus[name]
    known = {column.name.upper(): column for column in hdu.columns}
    missing = [column for column in columns if column.upper() not in known]
    if missing:
        raise ValueError(f"{name} has no column {', '.join(missing)}; it has {', '.join(hdu.columns.names)}")
    result = []
    for column, unit in columns.items():
        found = known[column.upper()]
        values = np.asarray(hdu.data[found.name])
        values = values.astype(values.dtype.newbyteorder("="))
        result.append(values if unit is None else values << column_unit(found.unit, unit, column))
    return result


def read_energies(hdus, hdu):
    """
    Energies that belong to a map.

    Parameters
    ----------
    hdus : `~astropy.io.fits.HDUList`
        The open file.
    hdu : HDU
        The map.

    Returns
    -------
    edges : `~astropy.units.Quantity` or None
        Edges of contiguous bins, from columns E_MIN, E_MAX (OGIP: keV where no unit is given).
    energies : `~astropy.units.Quantity` or None
        If there are no bins, the energies at which the map's values hold, from a column ENERGY (fermitools: MeV).

    Raises
    ------
    ValueError
        If there are gaps between bins.
    """
    name = hdu.header.get("BANDSHDU")
    candidates = [name] if name else [table.format(name=hdu.name) for table in _ENERGY_TABLES]
    for name in candidates:
        columns = {c.upper() for c in hdus[name].columns.names} if name in hdus else set()
        if {"E_MIN", "E_MAX"} <= columns:
            low, high = read_table(hdus, name, {"E_MIN": u.keV, "E_MAX": u.keV})
            if not np.allclose(low[1:].value, high[:-1].to_value(low.unit), rtol=1e-3):
                raise ValueError(f"the energy bins of {name} are not contiguous")
            edges = np.append(low, high[-1:])
            # fermitools wants keV here; the unit that the map was made with is beside it
            return edges.to(column_unit(hdus[name].header.get("EUNIT"), edges.unit, "EUNIT")), None
        if "ENERGY" in columns:
            return None, read_table(hdus, name, {"ENERGY": u.MeV})[0]
    return None, None


def header_meta(*headers):
    """
    Keywords that do not describe the structure of the file.

    Parameters
    ----------
    *headers : `~astropy.io.fits.Header`
        Where several have a keyword, the last one counts.

    Returns
    -------
    dict
    """
    return {key: value for header in headers for key, value in header.items()
            if key and not key.startswith(_STRUCTURE) and not isinstance(value, fits.card.Undefined)}
