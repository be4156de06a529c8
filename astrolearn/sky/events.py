"""Photon lists: from events to maps, of all photons or of those of each interval of time."""

from itertools import pairwise

import astropy.units as u
import healpy as hp
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable, Table

from .energy import parse_edges
from .fits_tools import column_unit, header_meta, open_fits
from .skymap import SkyMap, frame_name

__all__ = ["bin_events", "bin_events_in_time", "read_events"]

_EVENT_TYPES = {"front": 0, "back": 1}

# The columns of fermitools FT1 files that are used here, with the units that they have where a table does not say
_COLUMNS = {"ENERGY": u.MeV, "RA": u.deg, "DEC": u.deg, "L": u.deg, "B": u.deg, "TIME": u.s, "CONVERSION_TYPE": None}
_POSITIONS = {"galactic": ("L", "B"), "icrs": ("RA", "DEC")}


def bin_events(events, energy_edges, nside, *, frame="galactic", nest=False, event_type=None):
    """
    Bin a photon list into a HEALPix map; also called as `SkyMap.from_events`.

    Parameters
    ----------
    events : `~astropy.table.Table` or path-like
        Photons: a table, or a FITS file with one (the extension EVENTS, or else the first with a column ENERGY), such
        as the FT1 files of Fermi-LAT. Columns, in any case: ENERGY (in MeV where it has no unit); RA and DEC, or L and
        B (deg), or a `~astropy.coordinates.SkyCoord` column ``coord``; CONVERSION_TYPE (0 = FRONT, 1 = BACK) if
        ``event_type`` is given.
    energy_edges : `~astropy.units.Quantity` or str, shape (n_energy + 1,)
        Bin edges; a bare sequence is taken in GeV. A bin holds its lower edge and not its upper one.
    nside : int
        HEALPix resolution.
    frame : {"galactic", "icrs"}
        Frame of the map.
    nest : bool
        Whether the map is in NEST order.
    event_type : {"front", "back"}, optional
        Take photons that converted in this part of the tracker only. Default: all.

    Returns
    -------
    SkyMap
        Counts, float32. Its ``meta`` says how many photons were read (``n_events``), had the event type
        (``n_event_type``) and were outside of the energy range (``n_outside_energy``).

    Raises
    ------
    OSError
        If the file cannot be read (FileNotFoundError if there is none).
    ValueError
        If a column is missing, there are no photons or none in the energy range, or a value is not finite.
    `~astropy.units.UnitConversionError`
        If a column has a unit of the wrong kind.
    """
    return _bin_all(events, energy_edges, nside, None, frame, nest, event_type)[0]


def bin_events_in_time(events, energy_edges, nside, time_edges, *, frame="galactic", nest=False, event_type=None):
    """
    Bin a photon list into one HEALPix map for each interval of time.

    Parameters
    ----------
    events, energy_edges, nside
        As for `bin_events`. The photons have a column TIME, too (in s where it has no unit).
    time_edges : `~astropy.units.Quantity`, shape (n_time + 1,)
        Increasing edges of the intervals, on the clock of the column. An interval holds its lower edge and not its
        upper one; the last one holds both, as in `numpy.histogram`. Photons at other times are left out.
    frame, nest, event_type
        As for `bin_events`.

    Returns
    -------
    list of SkyMap
        One map for each interval, which may be empty. ``meta`` is that of `bin_events`, its numbers of photons those of
        the interval.

    Raises
    ------
    OSError, ValueError, `~astropy.units.UnitConversionError`
        As for `bin_events`, and if there are no times, or ``time_edges`` do not increase.
    """
    time_edges = u.Quantity(time_edges)
    if not time_edges.unit.is_equivalent(u.s):
        raise u.UnitConversionError(f"time_edges has the unit '{time_edges.unit}', which does not convert to 's'")
    if time_edges.ndim != 1 or len(time_edges) < 2 or not np.all(np.diff(time_edges.value) > 0):
        raise ValueError(f"time_edges must be at least two increasing values, not {time_edges}")
    return _bin_all(events, energy_edges, nside, time_edges, frame, nest, event_type)


def _bin_all(events, energy_edges, nside, time_edges, frame, nest, event_type):
    edges = parse_edges(energy_edges)
    frame = frame_name(frame)
    if not hp.isnsideok(nside, nest=nest):
        raise ValueError(f"nside={nside} is no HEALPix resolution; use a power of 2")
    if event_type is not None and event_type not in _EVENT_TYPES:
        raise ValueError(f"event_type={event_type!r} is neither 'front' nor 'back' (nor None for both)")
    if isinstance(events, Table):
        return _bin(events, dict(events.meta), edges, nside, time_edges, frame, nest, event_type)
    with open_fits(events) as hdus:  # binned inside, so that every error names the file
        table, meta = _read_events(hdus)
        return _bin(table, meta, edges, nside, time_edges, frame, nest, event_type)


def read_events(path):
    """
    Read a photon list, to look at it before it is binned.

    Parameters
    ----------
    path : path-like
        A FITS file as for `bin_events`.

    Returns
    -------
    `~astropy.table.QTable`
        Those of the columns ENERGY, RA, DEC, L, B, TIME and CONVERSION_TYPE that the file has, named so; ``meta`` holds
        the keywords of its header. `bin_events` takes it.

    Raises
    ------
    OSError
        If the file cannot be read (FileNotFoundError if there is none).
    ValueError
        If there are no photons, or no energies.
    `~astropy.units.UnitConversionError`
        If the energies have a unit of the wrong kind.
    """
    with open_fits(path) as hdus:
        table, meta = _read_events(hdus)
        if len(table) == 0:
            raise ValueError("the photon list is empty")
        table.rename_columns(table.colnames, [name.upper() for name in table.colnames])
        _values(table, {name: name for name in table.colnames}, "ENERGY")
        events = QTable(table)
        events.meta |= meta
        return events


def _bin(table, meta, edges, nside, time_edges, frame, nest, event_type):
    """List of maps, one for each interval of time; one of all photons where there are no edges of time."""
    columns = {name.upper(): name for name in table.colnames}
    if len(table) == 0:
        raise ValueError("the photon list is empty")
    if event_type is None:
        selected = np.ones(len(table), dtype=bool)
    else:
        selected = _values(table, columns, "CONVERSION_TYPE") == _EVENT_TYPES[event_type]
    energy = _values(table, columns, "ENERGY", edges.unit)
    energy_bin = np.searchsorted(edges.value, energy, side="right") - 1
    inside = selected & (energy_bin >= 0) & (energy_bin < len(edges) - 1)
    if not inside.any():
        energy = energy[selected]
        found = f"they have {energy.min():.4g} to {energy.max():.4g} {edges.unit}" if energy.size else "there are none"
        kind = "" if event_type is None else f"{event_type} "
        raise ValueError(f"no {kind}photons between {edges[0]:.4g} and {edges[-1]:.4g}: {found}")
    lon, lat = _positions(table, columns, frame)
    pixel = np.zeros(len(table), dtype=int)
    pixel[inside] = hp.ang2pix(nside, lon[inside], lat[inside], nest=nest, lonlat=True)
    if time_edges is None:
        intervals = [np.ones(len(table), dtype=bool)]
    else:
        times, ends = _values(table, columns, "TIME", time_edges.unit), time_edges.value
        intervals = [(times >= low) & (times < high) for low, high in pairwise(ends)]
        intervals[-1] |= times == ends[-1]
    maps = []
    for interval in intervals:
        chosen = inside & interval
        counts = np.array([np.bincount(pixel[chosen & (energy_bin == number)], minlength=hp.nside2npix(nside))
                           .astype(np.float32) for number in range(len(edges) - 1)])
        numbers = {"n_events": int(interval.sum()), "n_event_type": int((interval & selected).sum()),
                   "n_outside_energy": int((interval & selected & ~inside).sum()), "event_type": event_type}
        maps.append(SkyMap(counts, frame=frame, nest=nest, energy_edges=edges, meta=meta | numbers))
    return maps


def _read_events(hdus):
    """Table with the columns of interest, and meta data, from an open FITS file."""
    tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU)]
    if not tables:
        raise ValueError("no table in this file")
    named = [hdu for hdu in tables if hdu.name == "EVENTS"]
    with_energy = [hdu for hdu in tables if "ENERGY" in {name.upper() for name in hdu.columns.names}]
    hdu = (named or with_energy or tables)[0]
    table = Table()
    for column in hdu.columns:
        default = _COLUMNS.get(column.name.upper())
        if column.name.upper() not in _COLUMNS:
            continue
        table[column.name] = np.array(hdu.data[column.name])
        if default is not None:
            table[column.name].unit = column_unit(column.unit, default, column.name)
    if not table.colnames:
        raise ValueError(f"table {hdu.name or hdu.ver} has none of the columns {', '.join(_COLUMNS)}; "
                         f"it has {', '.join(hdu.columns.names)}")
    return table, header_meta(hdus[0].header, hdu.header)


def _values(table, columns, name, unit=None):
    """Plain array of a column in ``unit`` (by default the usual one of such a column)."""
    if name not in columns:
        raise ValueError(f"the photon list has no column {name}; it has {', '.join(table.colnames) or 'none'}")
    column = table[columns[name]]
    if np.any(getattr(column, "mask", False)):
        raise ValueError(f"column {name} has masked values")
    default = _COLUMNS[name]
    if default is not None:
        column = u.Quantity(column, getattr(column, "unit", None) or default)
        if not column.unit.is_equivalent(default):
            raise u.UnitConversionError(
                f"column {name} has the unit '{column.unit}', which does not convert to '{default}'")
        column = column.to_value(unit or default)
    values = np.asarray(column)
    if not np.all(np.isfinite(values)):
        raise ValueError(f"column {name} has {np.sum(~np.isfinite(values))} values that are not finite")
    return values


def _positions(table, columns, frame):
    """Longitude and latitude in degrees in the frame of the map, from the columns that need the least conversion."""
    if set(_POSITIONS[frame]) <= columns.keys():
        return [_values(table, columns, name) for name in _POSITIONS[frame]]
    for own, names in _POSITIONS.items():
        if set(names) <= columns.keys():
            coord = SkyCoord(*(_values(table, columns, name) for name in names), unit="deg", frame=own)
            break
    else:
        if "COORD" not in columns:
            raise ValueError("the photon list has no positions (columns RA and DEC, L and B, or coord); "
                             f"it has {', '.join(table.colnames) or 'none'}")
        coord = table[columns["COORD"]]
    sphere = coord.transform_to(frame).spherical
    return sphere.lon.deg, sphere.lat.deg
