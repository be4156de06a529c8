"""Photon lists of the LAT as maps: which energy bins and pixels suit a list, and which sky and years it covers.

A list says itself what is best done with it. Its energies give the bins; the PSF in those bins that hold a fair share
of a source's photons gives the pixels; its times give the years; and the selection that the Fermi tools record in the
header (data sub-space keywords) gives the energies, and the cone on the sky, beyond which there are no photons because
none were asked for.
"""

import re
import warnings
from numbers import Real

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord

from astrolearn.sky import bin_events, bin_events_in_time, read_events, stack_maps
from astrolearn.sky.energy import parse_edges, power_law_weights

from .instrument import ENERGY_RANGE, lat_psf

__all__ = ["choose_edges", "choose_nside", "map_photons", "map_photons_yearly", "selected_energies"]

_LADDER = (0.3, 0.5, 1, 2, 7, 20)  # GeV: lower edges of the bins of Bhattacharyya et al. (2022)
_FEWEST_BINS = 3
_LEAST_SHARE = 0.01
_LARGEST_PIXEL = 2.1  # in 68 % radii: six bins of FRONT photons from 0.3 GeV have nside 256, photons > 50 GeV 512
_PIXELS = (64, 512)  # smallest and largest nside
_CIRCLE = re.compile(r"\s*CIRCLE\s*\(([^,]+),([^,]+),([^)]+)\)", re.IGNORECASE)
_INTERVAL = re.compile(r"\s*({0})\s*:\s*({0})\s*".format(r"\d+\.?\d*(?:[eE][+-]?\d+)?"))
_SELECTED_UNITS = {"MEV": u.MeV, "GEV": u.GeV}
_COUNTED = ("n_events", "n_event_type", "n_outside_energy")  # in the metadata of the map of each year


def map_photons(path, *, energy_edges=None, nside=None, event_type=None):
    """
    Bin a photon list of the LAT into a HEALPix map, for finding sources.

    Parameters
    ----------
    path : path-like
        FITS file, see `~astrolearn.sky.bin_events`.
    energy_edges : `~astropy.units.Quantity`, str or callable, optional
        Bin edges; a bare sequence is taken in GeV. Or a function that makes them of the photons, a table as of
        `~astrolearn.sky.read_events`. Default: `choose_edges`.
    nside : int, optional
        HEALPix resolution. Default: `choose_nside`.
    event_type : {"FRONT", "BACK"}, optional
        Take photons that converted in this part of the tracker only. Default: all.

    Returns
    -------
    SkyMap
        In Galactic coordinates and NESTED order, with the PSF of the events. Where the header records a cone in which
        photons were selected (``gtselect``: keywords DSTYPn and DSVALn), pixels outside are masked.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it holds no such list, or no photons of the event type and energies; the message names the file.
    """
    return _map_photons(path, energy_edges, nside, event_type, by_year=False)[0]


def map_photons_yearly(path, *, energy_edges=None, nside=None, event_type=None):
    """
    Bin a photon list of the LAT into HEALPix maps year by year, for finding sources and telling what they are.

    Parameters
    ----------
    path, energy_edges, nside, event_type
        As for `map_photons`.

    Returns
    -------
    skymap : SkyMap
        All photons, as of `map_photons`.
    yearly : list of SkyMap
        Those of each year, which add up to ``skymap``, with the same PSF and mask. The time from the first photon to
        the last, or from TSTART to TSTOP of the header where these are farther apart, is cut into as many equal
        intervals as it has years (of 365.25 days), rounded, but at least one. Of all maps ``meta["years"]`` says how
        long they are, if that is known.

    Raises
    ------
    OSError, ValueError
        As for `map_photons`.

    Warns
    -----
    UserWarning
        If the list has no times (column TIME), or is shorter than a year and a half: then there is one map.
    """
    return _map_photons(path, energy_edges, nside, event_type, by_year=True)


def _map_photons(path, energy_edges, nside, event_type, by_year):
    """Map of a list, and of each of its years (of which there are none if they are not asked for)."""
    events = read_events(path)
    choose = (lambda events: choose_edges(events["ENERGY"])) if energy_edges is None else energy_edges
    ends, yearly = None, []
    try:
        edges = parse_edges(choose(events) if callable(choose) else choose)
        psf = lat_psf(edges, event_type or "FRONT+BACK")
        nside = choose_nside(edges, psf) if nside is None else nside
        options = {"nest": True, "event_type": event_type and event_type.lower()}
        if by_year:
            ends = _ends(events)
        if by_year and "TIME" in events.colnames:
            yearly = bin_events_in_time(events, edges, nside, _years(*ends), **options)
        skymap = _sum(yearly) if yearly else bin_events(events, edges, nside, **options)
    except ValueError as error:
        raise type(error)(f"{path}: {error}") from error
    if by_year and len(yearly) < 2:
        why = "the photons are of less than two years" if yearly else "the photons have no times (column TIME)"
        warnings.warn(f"{path}: {why}: they are taken together, and which sources vary from year to year is not known: "
                      "spectra and surroundings alone say what they are", UserWarning, stacklevel=3)
        yearly = [skymap]
    cone = _selected_cone(skymap.meta)
    if cone is not None:
        centre, radius = cone
        skymap.mask = skymap.pixel_coords().separation(centre) > radius
    for one in (skymap, *yearly):
        one.psf, one.mask = psf, skymap.mask
        if ends is not None and ends[0] < ends[1]:
            one.meta["years"] = (ends[1] - ends[0]) * u.s.to(u.yr) / (1 if one is skymap else len(yearly))
    return skymap, yearly


def _sum(yearly):
    """The map of all years."""
    skymap = stack_maps(yearly)
    skymap.meta |= {name: sum(one.meta[name] for one in yearly) for name in _COUNTED}
    return skymap


def selected_energies(events):
    """
    Energies of which a photon list has all photons, as its header says.

    Parameters
    ----------
    events : `~astropy.table.QTable`
        Photons, as of `~astrolearn.sky.read_events`.

    Returns
    -------
    `~astropy.units.Quantity` or None
        The lowest and the highest, as ``gtselect`` records them (keyword DSTYPn ENERGY, DSVALn ``low:high``, DSUNIn MeV
        or GeV), or those of the photons where these go beyond. None if the header does not say.
    """
    for text, unit in _selections(events.meta, "ENERGY"):
        found, unit = _INTERVAL.fullmatch(text), _SELECTED_UNITS.get(unit.strip().upper())
        if found and unit:
            ends = [float(end) for end in found.groups()] * unit
            return [min(ends[0], events["ENERGY"].min()), max(ends[1], events["ENERGY"].max())] << u.GeV
    return None


def choose_edges(energies):
    """
    Energy bins for a photon list.

    Parameters
    ----------
    energies : `~astropy.units.Quantity`
        Energies of the photons.

    Returns
    -------
    `~astropy.units.Quantity`
        In GeV. The range of the photons, to two digits and within 0.3 GeV to 2 TeV, divided at 0.5, 1, 2, 7 and
        20 GeV; or, where this leaves fewer than three bins, into three of equal ratio.

    Raises
    ------
    ValueError
        If no photon is in that range.
    """
    lowest, highest = (float(end.to_value(u.GeV)) for end in (energies.min(), energies.max()))
    low, high = _LADDER[0], ENERGY_RANGE[1].to_value(u.GeV)
    if highest < low or lowest > high:
        raise ValueError(f"no photons between {low:g} and {high:g} GeV, where sources are found, but from "
                         f"{lowest:.3g} to {highest:.3g} GeV")
    low, high = max(low, _two_digits(lowest, np.floor)), min(high, _two_digits(highest, np.ceil))
    inner = [edge for edge in _LADDER if 1.2 * low < edge < high / 1.2]
    if len(inner) + 1 < _FEWEST_BINS:
        equal = np.geomspace(low, max(high, 1.2 * low), _FEWEST_BINS + 1)
        return [float(f"{edge:.3g}") for edge in equal] * u.GeV
    return [low, *inner, high] * u.GeV


def choose_nside(energy_edges, psf):
    """
    HEALPix resolution for finding sources.

    Parameters
    ----------
    energy_edges : `~astropy.units.Quantity`
        Edges of the energy bins.
    psf : `~astrolearn.sky.RadialPSF`
        PSF in these bins.

    Returns
    -------
    int
        The coarsest whose pixels are no larger than 2.1 times the 68 % radius of the sharpest PSF, among the bins with
        at least 1 % of the photons of a typical source (dN/dE ~ E**-2.2); from 64 to 512.
    """
    matters = power_law_weights(energy_edges) >= _LEAST_SHARE
    sharpest = psf.containment_radius()[matters].min().to_value(u.rad)
    order = np.ceil(np.log2(np.sqrt(np.pi / 3) / (_LARGEST_PIXEL * sharpest)))
    return int(np.clip(2**order, *_PIXELS))


def _ends(events):
    """First and last time of a list, s, or None; keywords of its header that say less than the photons do not count."""
    ends = []
    if "TIME" in events.colnames:
        times = events["TIME"]
        if not np.all(np.isfinite(times)):
            raise ValueError("column TIME has values that are not finite")
        ends += [times.min().to_value(u.s), times.max().to_value(u.s)]
    start, stop = (events.meta.get(key) for key in ("TSTART", "TSTOP"))
    if isinstance(start, Real) and isinstance(stop, Real) and start < stop:
        # a list that was put together from several often has the header of the first
        ends += [start, stop]
    return (min(ends), max(ends)) if ends else None


def _years(first, last):
    """Edges of the years of a list."""
    n_years = max(1, round((last - first) * u.s.to(u.yr)))
    return np.linspace(first, max(last, np.nextafter(first, np.inf)), n_years + 1) * u.s


def _two_digits(value, rounding):
    """Round a positive number, up or down, to two significant digits; float32 noise is no reason to."""
    scale = 10 ** (np.floor(np.log10(value)) - 1)
    nearest = np.round(value / scale)
    return float((nearest if np.isclose(nearest, value / scale, rtol=1e-5) else rounding(value / scale)) * scale)


def _selections(meta, kind):
    """Value and unit, as text, of the header's data sub-space keywords of one kind."""
    for key, name in meta.items():
        if key.startswith("DSTYP") and str(name).strip().upper().startswith(kind):
            number = key.removeprefix("DSTYP")
            yield str(meta.get(f"DSVAL{number}", "")), str(meta.get(f"DSUNI{number}", ""))


def _selected_cone(meta):
    """Centre and radius of the cone that the header's data sub-space keywords select, or None."""
    for text, _ in _selections(meta, "POS"):
        found = _CIRCLE.match(text)
        if found:
            lon, lat, radius = (float(text) for text in found.groups())
            return SkyCoord(lon, lat, unit="deg", frame="icrs"), radius * u.deg
    return None
