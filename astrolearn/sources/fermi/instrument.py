"""How the LAT sees the sky: point-spread function and exposure per event type and energy.

The official response functions come with a large software package. Detection and classification need two things of
them only, the angular spread of the photons and how many there are, and both are smooth functions that fit on a page:
a double King function with the published scale, and an effective area times a smooth map of the observing time. The
shapes were fitted to the public tables of the 2FHL and 3FHL data sets; ``benchmarks/simulator.py`` compares them again.
"""

from functools import lru_cache

import astropy.units as u
import healpy as hp
import numpy as np
from astropy.coordinates import SkyCoord

from astrolearn.sky.energy import parse_edges
from astrolearn.sky.psf import RadialPSF

from .spectra import bin_integrals, quadrature

__all__ = ["ENERGY_RANGE", "EVENT_TYPES", "bin_exposure", "check_energy_edges", "effective_area_shape",
           "exposure_shape", "lat_exposure", "lat_psf", "mean_exposure"]

ENERGY_RANGE = (0.1, 2000.0) * u.GeV

# (share of the effective area, c0 [rad], c1 [rad]): S_P(E) = sqrt((c0 (E / 100 MeV)^-0.8)^2 + c1^2), the scale of the
# PSF of P8R3_V2 (Cicerone, "LAT IRFs: point spread function", table of scaling parameters). The shares are those of
# the reference set: 55 % of the photons convert in the thin front foils; the four PSF types are quartiles.
_TYPES = {
    "FRONT": (0.55, 6.38e-2, 1.26e-3),
    "BACK": (0.45, 1.23e-1, 2.22e-3),
    "PSF0": (0.25, 1.53e-1, 5.70e-3),
    "PSF1": (0.25, 9.64e-2, 1.78e-3),
    "PSF2": (0.25, 7.02e-2, 1.07e-3),
    "PSF3": (0.25, 4.97e-2, 6.13e-4),
}
EVENT_TYPES = (*_TYPES, "FRONT+BACK")

# Shape at and below 2 GeV, in units of S_P: double King function of UltracleanVeto PSF3 events at 2 GeV
# (NPTFit-Sim, Rodd & Toomey: f_core, sigma_core, gamma_core, sigma_tail, gamma_tail).
_LOW_SHAPE = (0.749, 0.4287, 7.82, 0.716, 3.62)
# FRONT and BACK mix all qualities of events, and their 68 % radius is S_P itself (0.8 deg for all events at 1 GeV),
# where that of the shape above is 0.85 S_P.
_LOW_STRETCH = 1 / 0.85
_LOW_ENERGY, _HIGH_ENERGY = 2.0, 10.0  # GeV: in between, the two shapes are mixed in log energy

# The effective area relative to 10 GeV. Below 10 GeV: LAT performance page, P8R3_SOURCE; from 10 GeV: all-sky mean of
# the 3FHL exposure cube (P8R2_SOURCE_V6).
_AREA_ENERGY = np.array([0.1, 0.3, 1, 3, 10, 30, 100, 300, 421, 575, 785, 1072, 1464, 2000])  # GeV
_AREA_SHAPE = np.array([0.42, 0.72, 0.90, 0.98, 1, 1.015, 1.025, 1.016, 1.004, 0.983, 0.935, 0.858, 0.749, 0.605])

# All-sky mean of the 3FHL exposure cube at 10 GeV is 3.122e11 cm2 s in 84 months: SOURCE class, zenith angle < 105 deg.
_EXPOSURE_PER_YEAR = 3.122e11 / 7 * u.cm**2 * u.s

# Spherical-harmonic coefficients (l <= 4, healpy order, equatorial frame) of the same cube's shape, mean of the planes
# from 10 to 300 GeV: the rocking survey favours the celestial poles, the South Atlantic Anomaly the north.
# They leave 1.5 % rms, and the shape changes by < 1 % from 10 GeV to 1 TeV.
_SHAPE_ALM = np.array([
    3.5449, 0.1808, 0.3841, 0.0546, 0.0427,
    0.0194 - 0.0675j, -0.0118 + 0.0226j, 0.0016 + 0.0130j, -0.0011 + 0.0028j,
    -0.0711 - 0.0148j, 0.0022 + 0.0001j, -0.0056 - 0.0006j,
    -0.0008 + 0.0116j, -0.0019 + 0.0019j,
    -0.0047 - 0.0039j,
])  # fmt: skip
_SHAPE_NSIDE = 32


def check_energy_edges(energy_edges):
    """
    Check energy bin edges and give them in GeV.

    Parameters
    ----------
    energy_edges : `~astropy.units.Quantity`, str or array, shape (n_energy + 1,)
        Increasing edges of contiguous bins, as `astrolearn.sky.energy.parse_edges` reads them.

    Returns
    -------
    `~astropy.units.Quantity`
        The edges in GeV, float64.

    Raises
    ------
    astropy.units.UnitConversionError
        If the unit is not an energy.
    ValueError
        If there are fewer than two edges, they do not increase, or they leave 0.1 GeV to 2 TeV.
    """
    edges = parse_edges(energy_edges).to(u.GeV)
    low, high = ENERGY_RANGE
    if edges[0] < low * (1 - 1e-6) or edges[-1] > high * (1 + 1e-6):
        raise ValueError(f"energy_edges {edges[0]:g} to {edges[-1]:g} leave the range of the response, "
                         f"{low:g} to {high:g}")
    return edges


def _types_of(event_type):
    """The names of the disjoint event types that ``event_type`` is the sum of."""
    if event_type not in EVENT_TYPES:
        raise ValueError(f"unknown event type {event_type!r}: choose from {', '.join(EVENT_TYPES)}")
    return event_type.split("+")


def _king(x, sigma, gamma):
    """King function per unit x^2, normalised to 1 over the plane."""
    return (1 - 1 / gamma) / (2 * np.pi * sigma**2) * (1 + x**2 / (2 * gamma * sigma**2)) ** -gamma


def _double_king(x, core, sigma_core, gamma_core, sigma_tail, gamma_tail):
    return core * _king(x, sigma_core, gamma_core) + (1 - core) * _king(x, sigma_tail, gamma_tail)


def _high_shape(energy):
    """
    Double King parameters from 10 GeV on (``energy`` in GeV).

    Fitted to the containment of the gtpsf tables of 2FHL and 3FHL (P8R2_SOURCE_V6, FRONT and BACK together) at eleven
    fractions from 20 % to 98 %.
    """
    x = np.log10(energy / 10)
    core = 1 / (1 + np.exp(-(2.8047 - 1.9493 * x + 0.4809 * x**2)))
    return (core, np.exp(-1.2527 - 0.2721 * x + 0.0216 * x**2), 1.905,
            np.exp(0.9975 - 0.6750 * x), 1 + np.exp(0.7366 - 0.2034 * x))


def _profile(theta, energy, event_type):
    """PSF [1/sr] of one elementary event type at angles ``theta`` [rad] and one energy [GeV]."""
    _, c0, c1 = _TYPES[event_type]
    x = theta / np.hypot(c0 * (energy / 0.1) ** -0.8, c1)
    stretch = 1.0 if event_type.startswith("PSF") else _LOW_STRETCH
    high = np.clip(np.log(energy / _LOW_ENERGY) / np.log(_HIGH_ENERGY / _LOW_ENERGY), 0, 1)
    shape = (1 - high) * _double_king(x / stretch, *_LOW_SHAPE) / stretch**2
    if high > 0:
        shape = shape + high * _double_king(x, *_high_shape(max(energy, _HIGH_ENERGY)))
    return shape * (x[-1] / theta[-1]) ** 2


def effective_area_shape(energy):
    """
    Effective area relative to 10 GeV.

    Parameters
    ----------
    energy : array
        Energies in GeV.

    Returns
    -------
    array
        Interpolated in log energy from the LAT performance page (P8R3_SOURCE, below 10 GeV) and the 3FHL exposure
        cube (above).
    """
    return np.interp(np.log(energy), np.log(_AREA_ENERGY), _AREA_SHAPE)


def lat_psf(energy_edges, event_type="FRONT+BACK", spectral_index=2.2):
    """
    Point-spread function of the LAT in energy bins.

    Parameters
    ----------
    energy_edges : `~astropy.units.Quantity` or array, shape (n_energy + 1,)
        Bin edges; a bare array is taken in GeV.
    event_type : str, default="FRONT+BACK"
        "FRONT", "BACK", "FRONT+BACK" or "PSF0" to "PSF3".
    spectral_index : float, default=2.2
        The bins average the PSF over photons of the spectrum E^-index, weighted with the effective area.

    Returns
    -------
    `~astrolearn.sky.RadialPSF`
        With ``n_energy`` bins, out to 40 deg.

    Raises
    ------
    ValueError
        For an unknown event type or edges outside 0.1 GeV to 2 TeV.
    """
    edges = check_energy_edges(energy_edges).value
    types = _types_of(event_type)
    theta = np.concatenate([[0], np.deg2rad(np.geomspace(1e-4, 40, 700))])
    profiles = []
    for energy, weights in zip(*quadrature(edges), strict=True):
        weights = weights * energy**-spectral_index * effective_area_shape(energy)
        profiles.append(sum(w * _TYPES[t][0] * _profile(theta, e, t)
                            for w, e in zip(weights, energy, strict=True) for t in types))
    return RadialPSF(theta * u.rad, np.array(profiles))


@lru_cache(maxsize=1)
def _shape_map():
    """The exposure's shape on a coarse equatorial RING map; mean 1."""
    return hp.alm2map(_SHAPE_ALM.astype(complex), _SHAPE_NSIDE, lmax=4)


def exposure_shape(coord):
    """
    Exposure relative to its all-sky mean.

    Parameters
    ----------
    coord : `~astropy.coordinates.SkyCoord`

    Returns
    -------
    array
        The shape of ``coord``; 0.83 to 1.4.
    """
    icrs = coord.icrs
    return hp.get_interp_val(_shape_map(), icrs.ra.deg, icrs.dec.deg, lonlat=True)


def mean_exposure(energy, event_type, years=10.0, acceptance=1.0):
    """
    All-sky mean exposure.

    Parameters
    ----------
    energy : array
        GeV.
    event_type, years, acceptance
        See `lat_exposure`.

    Returns
    -------
    array
        The shape of ``energy``, cm2 s.
    """
    share = sum(_TYPES[t][0] for t in _types_of(event_type))
    return share * acceptance * years * _EXPOSURE_PER_YEAR.to_value(u.cm**2 * u.s) * effective_area_shape(energy)


def bin_exposure(edges, exposure, spectral_index=2.2):
    """
    Exposure averaged over energy bins, as photons of a power law see it.

    Parameters
    ----------
    edges : array, shape (n_bins + 1,)
        GeV.
    exposure : callable
        From energies [GeV] to exposure [cm2 s].
    spectral_index : float, default=2.2
        Of the power law.

    Returns
    -------
    array, shape (n_bins,)
        In cm2 s.
    """
    photons = bin_integrals(lambda e: e**-spectral_index * exposure(e), edges)
    return photons / bin_integrals(lambda e: e**-spectral_index, edges)


def lat_exposure(energy_edges, nside, years=10.0, event_type="FRONT+BACK", *, nest=True, acceptance=1.0,
                 spectral_index=2.2):
    """
    Exposure of the LAT survey in energy bins.

    Parameters
    ----------
    energy_edges : `~astropy.units.Quantity` or array, shape (n_energy + 1,)
        Bin edges; a bare array is taken in GeV.
    nside : int
        HEALPix resolution; Galactic frame.
    years : float, default=10
        Observing time.
    event_type : str, default="FRONT+BACK"
        "FRONT", "BACK", "FRONT+BACK" or "PSF0" to "PSF3".
    nest : bool, default=True
        NESTED pixel order, else RING.
    acceptance : float, default=1
        Factor on the effective area, for event classes other than SOURCE (about 0.75 for UltracleanVeto with zenith
        angles below 90 deg).
    spectral_index : float, default=2.2
        The bins average over the spectrum E^-index.

    Returns
    -------
    `~astropy.units.Quantity`
        Shape (n_energy, n_pix), cm2 s.

    Raises
    ------
    ValueError
        For an unknown event type or edges outside 0.1 GeV to 2 TeV.
    """
    edges = check_energy_edges(energy_edges).value
    lon, lat = hp.pix2ang(nside, np.arange(hp.nside2npix(nside)), nest=nest, lonlat=True)
    shape = exposure_shape(SkyCoord(lon, lat, unit="deg", frame="galactic"))
    level = bin_exposure(edges, lambda e: mean_exposure(e, event_type, years, acceptance), spectral_index)
    return level[:, None] * shape * (u.cm**2 * u.s)
