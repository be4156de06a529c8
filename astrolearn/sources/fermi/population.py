"""The source populations of the gamma-ray sky, down to far below the detection threshold.

A catalogue shows a population through its own threshold; a simulated sky must contain what the catalogue misses too,
because those sources make the fluctuations that a finder takes for detections. Each population is a broken power law
of number against flux, normalised where the catalogue is complete, with the catalogue's positions and spectra.
"""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import QTable

from .spectra import normalised_counts

__all__ = ["CATALOGUE_THRESHOLD", "SourcePopulation"]

CATALOGUE_THRESHOLD = 1.2e-10
"""Photon flux above 1 GeV [cm-2 s-1] at which 4FGL-DR2 finds half of the sources away from the plane."""

_HIGH_LATITUDE = 1 - np.sin(np.deg2rad(10))  # share of the sky at |b| > 10 deg


@dataclass(frozen=True)
class _Counts:
    """
    Number of sources brighter than S: a broken power law.

    ``number`` sources above ``flux`` [cm-2 s-1, > 1 GeV]; integral slopes ``faint`` below and ``bright`` above
    ``knee``; nothing above ``brightest``.
    """

    number: float
    flux: float
    faint: float
    bright: float
    knee: float
    brightest: float

    def _relative(self, flux):
        x = np.asarray(flux, dtype=float) / self.knee
        return np.where(x < 1, x ** -self.faint, x ** -self.bright)

    def above(self, flux):
        """Expected number of sources above ``flux``."""
        cut = self._relative(self.brightest)
        return self.number * np.clip(self._relative(flux) - cut, 0, None) / (self._relative(self.flux) - cut)

    def sample(self, n, flux_min, rng):
        """``n`` fluxes above ``flux_min``."""
        low, high = self._relative(self.brightest), self._relative(flux_min)
        y = rng.uniform(low, high, size=n)
        return self.knee * np.where(y > 1, y ** (-1 / self.faint), y ** (-1 / self.bright))

    def total_flux(self, low, high):
        """Expected summed flux of the sources between ``low`` and ``high`` [cm-2 s-1]."""
        edges = np.geomspace(low, min(high, self.brightest), 400)
        return np.sum(-np.diff(self.above(edges)) * np.sqrt(edges[1:] * edges[:-1]))


@dataclass(frozen=True)
class _Place:
    """
    Where a population lies: a mixture of latitude laws and one longitude law, in degrees.

    ``latitude``: pairs of weight and scale height of exp(-|b| / scale); a scale of None is isotropic.
    ``longitude``: scale of exp(-|l| / scale), for the share 1 - ``uniform``; the rest lies at any longitude.
    """

    latitude: tuple
    longitude: float = np.inf
    uniform: float = 1.0

    def sample(self, n, rng):
        weights = np.array([w for w, _ in self.latitude])
        which = rng.choice(len(weights), size=n, p=weights / weights.sum())
        sin_b = rng.uniform(-1, 1, size=n)
        for i, (_, scale) in enumerate(self.latitude):
            if scale is not None:
                mine = which == i
                size = mine.sum()
                b = scale * -np.log1p(-rng.uniform(size=size) * -np.expm1(-90 / scale))
                sin_b[mine] = np.sin(np.deg2rad(b)) * rng.choice([-1, 1], size=size)
        lon = rng.uniform(-180, 180, size=n)
        near = rng.uniform(size=n) >= self.uniform
        size = near.sum()
        if size:
            x = self.longitude * -np.log1p(-rng.uniform(size=size) * -np.expm1(-180 / self.longitude))
            lon[near] = x * rng.choice([-1, 1], size=size)
        return SkyCoord(lon, np.rad2deg(np.arcsin(sin_b)), unit="deg", frame="galactic")


# Numbers of sources over the whole sky, fitted to 4FGL-DR2 (gll_psc_v27) fluxes above 1 GeV where it is complete.
# Active galaxies: 405 above 1e-9 at |b| > 10 deg, 64 above 5e-9; the integral slope below is 1.0.
_AGN = _Counts(405 / _HIGH_LATITUDE, 1e-9, faint=1.0, bright=1.15, knee=1e-9, brightest=4e-7)
_ISOTROPIC = _Place(((1.0, None),))
# Pulsars: the young ones in the plane, the millisecond ones nearly everywhere.
_YOUNG_PULSARS = _Counts(95, 1e-9, faint=0.35, bright=1.2, knee=1e-8, brightest=1.5e-6)
_MILLISECOND_PULSARS = _Counts(90, 1e-9, faint=0.5, bright=1.1, knee=1e-9, brightest=1e-7)
# Pulsar wind nebulae and supernova remnants, or coincident with one (spp).
_NEBULAE = _Counts(84, 1e-9, faint=0.5, bright=0.95, knee=3e-9, brightest=1e-7)
# Unassociated sources of the plane (thin) and of the inner Galaxy (thick), less the expected active galaxies.
_UNKNOWN_THIN = _Counts(210, 1e-9, faint=0.6, bright=1.9, knee=2e-9, brightest=3e-8)
_UNKNOWN_THICK = _Counts(430, 5e-10, faint=0.7, bright=2.1, knee=5e-10, brightest=2e-8)

_GALACTIC = (
    ("psr", _YOUNG_PULSARS, _Place(((0.75, 0.8), (0.25, 4.0)), 45.0, 0.15)),
    ("psr", _MILLISECOND_PULSARS, _Place(((0.55, 15.0), (0.45, None)), 50.0, 0.4)),
    ("nebula", _NEBULAE, _Place(((0.65, 0.6), (0.35, 3.5)), 45.0, 0.3)),
    ("unk", _UNKNOWN_THIN, _Place(((1.0, 0.7),), 45.0, 0.15)),
    ("unk", _UNKNOWN_THICK, _Place(((1.0, 5.0),), 45.0, 0.2)),
)

_NEBULA_CLASSES = (("pwn", 0.08), ("snr", 0.30), ("spp", 0.62))  # shares in 4FGL-DR2
# Extended sources (about 75 in 4FGL-DR2): chance by class above 1e-9 cm-2 s-1, and log10 of the 68 % radius [deg].
_EXTENDED_CHANCE = {"pwn": 0.8, "snr": 0.9, "spp": 0.35, "unk": 0.05}
_EXTENDED_FLUX = 1e-9
_EXTENSION = (-0.55, 0.35)
_EXTENSION_RANGE = (0.05, 2.5)


def _lognormal(rng, n, median, dex, low=0.0, high=np.inf):
    return np.clip(median * 10 ** rng.normal(0, dex, size=n), low, high)


def _spectra(kind, n, rng):
    """
    Spectral parameters of ``n`` sources of one class.

    Medians and widths are those of 4FGL-DR2 (gll_psc_v27): BLL index 1.95 (1.70-2.20), beta 0.067 at 2.45 GeV; FSRQ
    2.39 (2.20-2.63), 0.10 at 0.76 GeV; unassociated 2.33, 0.27; PWN, SNR and SPP 2.0-2.5, 0.02-0.29; pulsars PLEC
    index 1.01 (0.34-1.54), factor 0.0114 (0.0069-0.0188), exponent 2/3.
    """
    spectra = {"beta": np.zeros(n), "expfactor": np.zeros(n), "exp_index": np.zeros(n)}
    if kind == "bll":
        spectra["index"] = np.clip(rng.normal(1.96, 0.25, size=n), 1.2, 2.9)
        spectra["beta"] = np.clip(rng.normal(0.07, 0.075, size=n), 0, 0.4)
        pivot = _lognormal(rng, n, 2.45, 0.2, 0.5, 20)
    elif kind == "fsrq":
        spectra["index"] = np.clip(rng.normal(2.40, 0.21, size=n), 1.7, 3.2)
        spectra["beta"] = _lognormal(rng, n, 0.10, 0.32, high=0.5)
        pivot = _lognormal(rng, n, 0.76, 0.15, 0.3, 5)
    elif kind == "psr":
        spectra["index"] = np.clip(rng.normal(0.97, 0.58, size=n), -0.2, 2.1)
        spectra["expfactor"] = _lognormal(rng, n, 0.0114, 0.215, 2e-3, 0.06)
        spectra["exp_index"] = np.full(n, 2 / 3)
        pivot = np.full(n, 1.5)
    elif kind == "unk":
        spectra["index"] = np.clip(rng.normal(2.33, 0.27, size=n), 1.4, 3.2)
        spectra["beta"] = _lognormal(rng, n, 0.22, 0.35, high=0.9)
        pivot = _lognormal(rng, n, 1.67, 0.2, 0.4, 10)
    else:
        spectra["index"] = np.clip(rng.normal(2.30, 0.27, size=n), 1.4, 3.0)
        spectra["beta"] = _lognormal(rng, n, 0.11, 0.4, high=0.7)
        pivot = _lognormal(rng, n, 2.5, 0.25, 0.4, 20)
    return {**spectra, "pivot_energy": pivot}


class SourcePopulation:
    """
    Random catalogues of gamma-ray sources.

    Parameters
    ----------
    flux_min : float or `~astropy.units.Quantity`, default=2e-11
        Photon flux above 1 GeV of the faintest sources, cm-2 s-1; 4FGL-DR2 finds half of those at 1.2e-10.
    agn, galactic : float, default=1
        Factors on the numbers of active galaxies, and of pulsars, nebulae and unassociated Galactic sources.

    Raises
    ------
    astropy.units.UnitConversionError
        If ``flux_min`` is no photon flux.
    ValueError
        If ``flux_min`` is not within 1e-12 to 1e-8, or a factor is negative.

    Notes
    -----
    Active galaxies follow N(> S) = 405 (S / 1e-9)^-1.0 at ``|b|`` > 10 deg, steepening to -1.15 above 1e-9, which
    meets 4FGL-DR2: 405 above 1e-9, 64 above 5e-9. Their share of FSRQs grows from 33 % of the faint to 55 % of the
    brightest. The Galactic populations reproduce the density of 4FGL-DR2 sources at ``|b|`` < 10 deg, unassociated
    ones (class "unk") included.
    """

    def __init__(self, *, flux_min=2e-11, agn=1.0, galactic=1.0):
        flux_min = u.Quantity(flux_min, 1 / u.cm**2 / u.s).value
        if not 1e-12 <= flux_min <= 1e-8:
            raise ValueError(f"flux_min must lie within 1e-12 and 1e-8 cm-2 s-1, not {flux_min:g}")
        if agn < 0 or galactic < 0:
            raise ValueError("the factors agn and galactic must not be negative")
        self.flux_min = flux_min
        self.agn = agn
        self.galactic = galactic

    def __repr__(self):
        return f"SourcePopulation(flux_min={self.flux_min:g}, agn={self.agn:g}, galactic={self.galactic:g})"

    @staticmethod
    def _agn_classes(flux, rng):
        # FSRQ share of 4FGL-DR2 active galaxies of known class at |b| > 10 deg against flux
        share = 0.33 + 0.13 * np.clip(np.log10(flux) + 9.5, 0, None)
        return np.where(rng.uniform(size=len(flux)) < share, "fsrq", "bll")

    def sample(self, random_state=None):
        """
        Draw a sky of sources.

        Parameters
        ----------
        random_state : int, `numpy.random.Generator` or None
            Seed.

        Returns
        -------
        `~astropy.table.QTable`
            Sorted by falling flux: ``coord`` (Galactic SkyCoord), ``class`` (bll, fsrq, psr, pwn, snr, spp, unk),
            ``flux`` (photon flux above 1 GeV), ``spectrum_type`` (LogParabola or PLSuperExpCutoff2), ``index``,
            ``beta``, ``expfactor`` (energies in MeV, as in the LAT catalogues), ``exp_index``, ``pivot_energy``,
            ``extension`` (68 % radius, 0 for a point source) and ``extended_shape`` (gaussian, disc or empty).
        """
        rng = np.random.default_rng(random_state)
        tables = []
        laws = [("agn", _AGN, _ISOTROPIC, self.agn)] + [(*law, self.galactic) for law in _GALACTIC]
        for kind, counts, place, factor in laws:
            n = rng.poisson(factor * counts.above(self.flux_min))
            flux = counts.sample(n, self.flux_min, rng)
            coord = place.sample(n, rng)
            if kind == "agn":
                classes = self._agn_classes(flux, rng)
            elif kind == "nebula":
                names, shares = zip(*_NEBULA_CLASSES, strict=True)
                classes = rng.choice(names, size=n, p=shares)
            else:
                classes = np.full(n, kind)
            columns = {name: np.zeros(n) for name in ("index", "beta", "expfactor", "exp_index", "pivot_energy")}
            for name in np.unique(classes):
                mine = classes == name
                for column, values in _spectra(name, mine.sum(), rng).items():
                    columns[column][mine] = values
            tables.append((coord.l.deg, coord.b.deg, classes, flux, columns))
        lon, lat, classes, flux = (np.concatenate([t[i] for t in tables]) for i in range(4))
        columns = {name: np.concatenate([t[4][name] for t in tables]) for name in tables[0][4]}
        extension, shape = self._extensions(classes, flux, rng)
        order = np.argsort(flux)[::-1]
        return QTable({
            "coord": SkyCoord(lon[order], lat[order], unit="deg", frame="galactic"),
            "class": classes[order].astype("U4"),
            "flux": flux[order] / u.cm**2 / u.s,
            "spectrum_type": np.where(columns["expfactor"] > 0, "PLSuperExpCutoff2", "LogParabola")[order],
            **{name: values[order] for name, values in columns.items() if name != "pivot_energy"},
            "pivot_energy": columns["pivot_energy"][order] * u.GeV,
            "extension": extension[order] * u.deg,
            "extended_shape": shape[order],
        })

    @staticmethod
    def _extensions(classes, flux, rng):
        """68 % radii [deg] and shapes of all sources."""
        chance = np.zeros(len(flux))
        for name, value in _EXTENDED_CHANCE.items():
            chance[(classes == name) & (flux > _EXTENDED_FLUX)] = value
        extended = rng.uniform(size=len(flux)) < chance
        radius = np.clip(10 ** rng.normal(*_EXTENSION, size=len(flux)), *_EXTENSION_RANGE)
        shape = np.where(rng.uniform(size=len(flux)) < 0.5, "gaussian", "disc")
        return np.where(extended, radius, 0.0), np.where(extended, shape, "")

    def unresolved_intensity(self, edges, exposure=np.ones_like, n_sources=4000):
        """
        Mean intensity of the active galaxies that the catalogue misses.

        They are part of the isotropic emission that was measured, and so have to be taken out of it where they are
        simulated one by one.

        Parameters
        ----------
        edges : array, shape (n_bins + 1,)
            GeV.
        exposure : callable, optional
            From energies [GeV] to exposure [cm2 s]; default 1.
        n_sources : int, default=4000
            Number of spectra that are averaged; always the same ones.

        Returns
        -------
        array, shape (n_bins,)
            Photons per sr and unit exposure, summed over sources fainter than ``CATALOGUE_THRESHOLD``.
        """
        if self.flux_min >= CATALOGUE_THRESHOLD:
            return np.zeros(len(edges) - 1)
        rng = np.random.default_rng(0)
        classes = self._agn_classes(np.full(n_sources, CATALOGUE_THRESHOLD), rng)
        mean = sum(normalised_counts(_spectra(name, (classes == name).sum(), rng), edges, exposure).sum(0)
                   for name in np.unique(classes)) / n_sources
        total = self.agn * _AGN.total_flux(self.flux_min, CATALOGUE_THRESHOLD)
        return mean * total / (4 * np.pi)
