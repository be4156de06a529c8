"""The Galaxy's diffuse emission from an analytic model, so that skies can be simulated without any file.

Cosmic rays light up the interstellar gas and radiation, and a map of that is a line-of-sight integral through a few
exponential discs seen from the Sun. Shapes and spectra were fitted to the official template; what no smooth disc can
have, clouds and holes, comes from a log-normal random field with the angular power that the template shows.
"""

from functools import lru_cache

import healpy as hp
import numpy as np
from scipy.ndimage import map_coordinates

from .fields import random_field
from .spectra import bin_integrals

__all__ = ["GalacticModel"]

_SUN = 8.2  # kpc from the Galactic centre (GRAVITY Collaboration 2019, A&A 625, L10)

# Shapes (kpc), fitted to gll_iem_v07 at 0.9 to 60 GeV on a grid of 1.5 deg folded onto one quadrant: relative least
# squares, weighted with solid angle and a little more in the plane.
_GAS_HEIGHT, _GAS_FLARE, _GAS_EDGE, _LOCAL_CAVITY = 0.185, 5.43, 14.36, 0.368
_RING_RADIUS, _RING_WIDTH, _RING_HEIGHT = 4.28, 1.27, 0.133
_NUCLEUS_RADIUS, _NUCLEUS = 0.3, 5.4  # its emissivity relative to the ring
_IC_LENGTH, _IC_HEIGHT = 3.37, 2.56
_CLOUD_DISTANCE, _CLOUD_WIDTH, _CLOUD_HEIGHT, _CLOUDS = 0.221, 0.062, 0.075, 2.2  # relative to the disc at the Sun
_BUBBLE_RADIUS, _BUBBLE_CENTRE, _BUBBLE_EDGE = 2.87, 4.5, 0.4

_COMPONENTS = ("gas", "ring", "inverse_compton", "bubbles")
_CLUMPY = ("gas", "ring")

# All-sky mean intensity of each component times E^2.5 [1e-7 GeV^1.5 / (cm2 s sr)] at the energies [GeV] of the first
# row: non-negative least squares in each energy of gll_iem_v07; the total is that of the template.
_ENERGY = np.array([
    0.08446, 0.1427, 0.241, 0.407, 0.6875, 1.161, 1.961, 3.313, 4.306, 7.273, 12.28, 20.75, 59.2, 168.9, 481.9, 814,
    2000,
])
_INTENSITY = {
    "gas": (
        3.371, 7.749, 15.2, 23.6, 32.23, 39.13, 40.65, 39.39, 38.34, 34.17, 29.75, 27.04, 25.48, 26.31, 21.17, 18.8,
        14.73,
    ),
    "ring": (
        0.06673, 0.321, 0.8053, 1.476, 2.425, 3.584, 4.612, 5.485, 5.769, 6.156, 6.716, 7.371, 8.989, 11.05, 15.08,
        16.79, 19.72,
    ),
    "inverse_compton": (
        4.223, 5.585, 7.283, 9.137, 11.27, 12.94, 14.12, 15.19, 15.69, 15.24, 14.31, 13.58, 11.96, 9.7, 5.822, 4.291,
        1.664,
    ),
    "bubbles": (
        0, 0, 0, 0, 0, 0.16, 0.3169, 0.4622, 0.5561, 0.6219, 0.698, 0.793, 1.132, 1.723, 2.748, 3.382, 4.471,
    ),
}  # fmt: skip

# Angular power of ln(gll_iem_v07 / this model without structure) at |b| > 20 deg: C_l = 4e-4 (l / 20)^-2.7 from l = 7
# to 100, and 2.2 times that in the plane; the slope continues to 0.3 deg in templates that follow dust. The gas is
# three quarters of the emission at high latitude and nine tenths in the plane, so its own contrast is higher: 7e-4,
# and 1.25 times the amplitude in the plane.
_POWER, _POWER_SLOPE, _POWER_FLAT, _PLANE_CONTRAST = 7e-4, -2.7, 7, 0.25


def _emissivities(x, y, z):
    """Emissivity of each component (arbitrary scale) at Galactocentric positions in kpc; the Sun is at x = R0."""
    radius, height = np.hypot(x, y), np.abs(z)
    distance = np.sqrt((x - _SUN) ** 2 + y**2 + z**2)
    # the disc of atomic gas flares outwards, and the Sun sits in a bubble of thin gas
    thickness = _GAS_HEIGHT * np.exp(np.clip((radius - _SUN) / _GAS_FLARE, -3, 3))
    gas = np.exp(-height / thickness) / thickness / (1 + np.exp((radius - _GAS_EDGE) / 2))
    # nearby clouds, most of which lie outwards: Taurus, Perseus, Orion
    clouds = np.exp(-0.5 * ((x - _SUN - _CLOUD_DISTANCE) ** 2 + y**2) / _CLOUD_WIDTH**2 - height / _CLOUD_HEIGHT)
    ring = np.exp(-0.5 * ((radius - _RING_RADIUS) / _RING_WIDTH) ** 2)
    nucleus = _NUCLEUS * np.exp(-radius / _NUCLEUS_RADIUS)
    lobe = np.hypot(radius, (height - _BUBBLE_CENTRE) * _BUBBLE_RADIUS / _BUBBLE_CENTRE)
    return {
        "gas": gas * -np.expm1(-((distance / _LOCAL_CAVITY) ** 2)) + _CLOUDS / _GAS_HEIGHT * clouds,
        "ring": (ring + nucleus) * np.exp(-height / _RING_HEIGHT),
        "inverse_compton": np.exp(-radius / _IC_LENGTH - height / _IC_HEIGHT),
        "bubbles": 1 / (1 + np.exp((lobe - _BUBBLE_RADIUS) / _BUBBLE_EDGE)),
    }


@lru_cache(maxsize=1)
def _sight_lines():
    """Line-of-sight integrals on one quadrant: |l| and |b| [deg] and, per component, the logarithm of the integral."""
    lon = np.concatenate([np.linspace(0, 10, 41), np.linspace(11, 60, 50), np.linspace(62, 180, 60)])
    lat = np.sinh(np.linspace(0, np.arcsinh(90 / 0.3), 120)) * 0.3
    edges = np.concatenate([[0], np.geomspace(0.02, 40, 140)])
    s, step = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
    columns = {name: np.empty((lat.size, lon.size)) for name in _COMPONENTS}
    cos_l, sin_l = np.cos(np.deg2rad(lon))[:, None], np.sin(np.deg2rad(lon))[:, None]
    for i, b in enumerate(np.deg2rad(lat)):
        flat = s * np.cos(b)
        for name, values in _emissivities(_SUN - flat * cos_l, flat * sin_l, s * np.sin(b)).items():
            columns[name][i] = values @ step
    return lon, lat, {name: np.log(np.maximum(column, 1e-12 * column.max())) for name, column in columns.items()}


def column_density(name, lon, lat):
    """
    Line-of-sight integral of one component's emissivity, in arbitrary units.

    Parameters
    ----------
    name : str
        One of `GalacticModel.components`.
    lon, lat : array, shape (n,)
        Galactic coordinates in deg.

    Returns
    -------
    array, shape (n,)
    """
    grid_lon, grid_lat, columns = _sight_lines()
    lon, lat = np.abs((lon + 180) % 360 - 180), np.abs(lat)
    x, y = np.interp(lon, grid_lon, np.arange(grid_lon.size)), np.interp(lat, grid_lat, np.arange(grid_lat.size))
    return np.exp(map_coordinates(columns[name], [y, x], order=1, mode="nearest"))


class GalacticModel:
    """
    Analytic model of the Galactic diffuse emission.

    Parameters
    ----------
    structure : int or None, default=0
        Seed of the clumpy structure of the gas. None: smooth discs only.

    Notes
    -----
    Four components, each a line-of-sight integral from the Sun's place: a flaring gas disc with the local cavity and
    nearby clouds; the molecular ring at 4 kpc and the nucleus; an exponential disc of 2.6 kpc height (inverse Compton
    emission); and the Fermi bubbles. Their spectra are free. Smooth, the model meets gll_iem_v07 from 0.3 GeV to 1 TeV
    within 2 % in the all-sky total of each bin, within 8 % in bands of latitude and within 25 % in cells of 30 deg
    longitude. With its random clouds it is a sky like the real one, but not the real one.
    """

    components = _COMPONENTS

    def __init__(self, structure=0):
        self.structure = structure

    def __repr__(self):
        return f"GalacticModel(structure={self.structure})"

    def _contrast(self, nside, lat):
        """Log-normal factor on the gas, mean about 1, RING."""
        ell = np.arange(3 * nside, dtype=float)
        power = _POWER * (np.maximum(ell, _POWER_FLAT) / 20) ** _POWER_SLOPE * (ell >= 2)
        field = hp.alm2map(random_field(power, np.random.default_rng(self.structure)), nside, lmax=ell.size - 1)
        rms = np.sqrt(np.sum((2 * ell + 1) * power) / (4 * np.pi))
        rms = rms * (1 + _PLANE_CONTRAST * np.exp(-np.abs(lat) / 10))
        return np.exp(rms * field - rms**2 / 2)

    def counts(self, edges, exposure, nside):
        """
        Photons per bin.

        Parameters
        ----------
        edges : array, shape (n_bins + 1,)
            GeV.
        exposure : callable
            From energies [GeV] to exposure [cm2 s].
        nside : int

        Returns
        -------
        dict of tuples (level, maps)
            Per component, ``level`` (n_bins,) times ``maps`` (1, n_pix): photons per sr at the pixel centres of a RING
            map in Galactic coordinates.
        """
        lon, lat = hp.pix2ang(nside, np.arange(hp.nside2npix(nside)), lonlat=True)
        contrast = 1.0 if self.structure is None else self._contrast(nside, lat)
        log_energy = np.log(_ENERGY)
        counts = {}
        for name in _COMPONENTS:
            level = bin_integrals(
                lambda e, name=name: np.interp(np.log(e), log_energy, _INTENSITY[name]) * 1e-7 * e**-2.5 * exposure(e),
                edges)
            shape = column_density(name, lon, lat)
            if name in _CLUMPY:
                shape *= contrast
            counts[name] = level, (shape / shape.mean())[None]
        return counts
