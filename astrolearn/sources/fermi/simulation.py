"""Simulated LAT skies: photons of sources and diffuse emission, binned as a finder gets them, with the truth.

Diffuse emission is drawn pixel by pixel from its expectation, which is made once per simulator; photons of sources are
drawn one by one and binned, so that every source sits at its own place within a pixel and its PSF is exact.
"""

from dataclasses import dataclass, replace

import astropy.units as u
import healpy as hp
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData

from astrolearn.core.progress import progress
from astrolearn.sky import SkyMap

from .diffuse import GalacticTemplate, isotropic_counts
from .fields import DiffusePerturbation, smear
from .galactic import GalacticModel
from .instrument import bin_exposure, check_energy_edges, exposure_shape, lat_psf, mean_exposure
from .photons import bin_on_image, image_wcs, photon_directions, pixel_areas
from .population import SourcePopulation
from .significance import AsimovSignificance
from .spectra import normalised_counts
from .variability import light_curves

__all__ = ["LATSkySimulator"]

# The effective area of UltracleanVeto events (zenith angle < 90 deg) relative to SOURCE (< 105 deg): all-sky mean of
# the 2-20 GeV exposure of the NPTFit data set (413 weeks, PSF3) over that of `lat_exposure`.
_ACCEPTANCE = {"SOURCE": 1.0, "ULTRACLEANVETO": 0.76}
_IMAGE_NSIDE = 256  # the diffuse emission of images is interpolated from maps of 0.23 deg
_EDGES = (0.3, 0.5, 1, 2, 7, 20, 1000) * u.GeV  # the six bins of UNEK (Bhattacharyya et al. 2022)
_PERTURBATION = DiffusePerturbation()
_POPULATION = SourcePopulation()


@dataclass(frozen=True)
class _Expectation:
    """What one event type expects of the sky, in NESTED pixels."""

    exposure: u.Quantity  # (n_energy, n_pix)
    components: dict  # diffuse photons per pixel (n_energy, n_pix) by component
    background: np.ndarray  # their sum
    unresolved: np.ndarray  # (n_energy,) share of the isotropic photons that come from sources drawn one by one
    windows: np.ndarray  # beam windows (n_energy, lmax + 1)

    def isotropic(self, share):
        """Isotropic photons (n_energy, n_pix) times a factor (n_energy,)."""
        return np.float32(share)[:, None] * self.components["isotropic"]


class LATSkySimulator:
    """
    Simulate the gamma-ray sky as the LAT sees it.

    Parameters
    ----------
    energy_edges : `~astropy.units.Quantity`, str or array, shape (n_energy + 1,)
        Edges of contiguous bins within 0.1 GeV to 2 TeV; default six bins from 0.3 GeV to 1 TeV. A bare array is
        taken in GeV.
    nside : int, default=256
        HEALPix resolution of the maps.
    years : float, default=10
        Observing time.
    event_type : str or tuple of str, default="FRONT"
        "FRONT", "BACK", "FRONT+BACK" or "PSF0" to "PSF3"; a tuple gives maps of the same sky side by side.
    event_class : {"SOURCE", "ULTRACLEANVETO"}, default="SOURCE"
        The cleaner class has three quarters of the effective area and fewer cosmic rays.
    diffuse : str, path-like, object or None
        Galactic emission: path of a cube like gll_iem_v07.fits, or an object with ``components`` and ``counts`` like
        `GalacticTemplate`, which also downloads the official cube. None: `GalacticModel`, which needs no file.
    perturb : `DiffusePerturbation` or None
        How the true diffuse emission differs from the template, drawn anew for every sky; the default has
        `DiffusePerturbation`'s defaults. None: the template is exact.
    population : `SourcePopulation` or None
        The sources. None: none at all.
    background : bool, default=True
        Attach the unperturbed template to the maps.
    random_state : int, `numpy.random.Generator` or None
        Default seed of `sample` and `simulate_image`.
    verbose : int, default=0
        With 1, progress bars.

    Raises
    ------
    astropy.units.UnitConversionError
        If ``energy_edges`` has no unit of energy.
    ValueError
        If energies leave the range, an event type is unknown, nside is no power of two, or years is not positive.

    Notes
    -----
    Of the sources, BL Lacs and FSRQs vary from year to year, see `sample_yearly`; pulsars, nebulae, remnants and
    unassociated sources are steady, and so is the diffuse emission. Fluxes are means over all years, whose photons
    `sample` draws: no matter in which year they come.

    Left out: energy dispersion, the change of the PSF with a source's own spectrum within a bin (it is averaged with
    index 2.2), the Sun and the Moon; of variability what is faster than years or changes a spectrum; and the small
    changes of the exposure from year to year.

    Examples
    --------
    >>> from astrolearn.sources.fermi import LATSkySimulator
    >>> simulator = LATSkySimulator("1, 3, 10 GeV", nside=64, years=1)
    >>> skymap, = simulator.sample(random_state=1)
    >>> skymap
    <SkyMap nside=64 NEST galactic, 2 bins at [1, 3, 10] GeV, ct; exposure, background, psf, sources>
    """

    def __init__(self, energy_edges=_EDGES, *, nside=256, years=10.0, event_type="FRONT", event_class="SOURCE",
                 diffuse=None, perturb=_PERTURBATION, population=_POPULATION, background=True, random_state=None,
                 verbose=0):
        self.energy_edges = check_energy_edges(energy_edges)
        if not hp.isnsideok(nside, nest=True):
            raise ValueError(f"nside must be a power of two, not {nside}")
        if not years > 0:
            raise ValueError(f"years must be positive, not {years}")
        if event_class not in _ACCEPTANCE:
            raise ValueError(f"unknown event class {event_class!r}: choose from {', '.join(_ACCEPTANCE)}")
        if diffuse is None:
            diffuse = GalacticModel()
        self.nside = int(nside)
        self.years = float(years)
        self.event_type = event_type
        self.event_class = event_class
        self.diffuse = diffuse if hasattr(diffuse, "counts") else GalacticTemplate(diffuse)
        self.perturb = perturb
        self.population = population
        self.background = background
        self.random_state = random_state
        self.verbose = verbose
        self._types = (event_type,) if isinstance(event_type, str) else tuple(event_type)
        self._psf = {t: lat_psf(self.energy_edges, t) for t in self._types}
        self._cache = {}

    def __repr__(self):
        edges = ", ".join(f"{e:g}" for e in self.energy_edges.value)
        return f"<LATSkySimulator [{edges}] GeV, nside={self.nside}, {self.years:g} yr, {self.event_type}>"

    # -- expectations -------------------------------------------------------------------------------------------------
    def _mean_exposure(self, event_type):
        return lambda energy: mean_exposure(energy, event_type, self.years, _ACCEPTANCE[self.event_class])

    def _expectation(self, event_type, nside):
        if (event_type, nside) not in self._cache:
            self._cache[event_type, nside] = self._make_expectation(event_type, nside)
        return self._cache[event_type, nside]

    def _make_expectation(self, event_type, nside):
        edges, mean = self.energy_edges.value, self._mean_exposure(event_type)
        lon, lat = hp.pix2ang(nside, np.arange(hp.nside2npix(nside)), nest=True, lonlat=True)
        shape = exposure_shape(SkyCoord(lon, lat, unit="deg", frame="galactic")).astype(np.float32)
        windows = self._psf[event_type].beam_window(3 * nside - 1)
        per_pixel = shape * np.float32(hp.nside2pixarea(nside))
        components = {}
        counts = self.diffuse.counts(edges, mean, nside)
        for name, (level, maps) in progress(counts.items(), "diffuse emission", verbose=self.verbose):
            smeared = hp.reorder(smear(maps, windows), r2n=True)
            components[name] = np.float32(level)[:, None] * smeared * per_pixel
        isotropic = isotropic_counts(edges, mean, event_type, self.event_class)
        components["isotropic"] = np.float32(isotropic)[:, None] * per_pixel
        unresolved = np.zeros_like(isotropic)
        if self.population is not None:
            unresolved = self.population.unresolved_intensity(edges, mean)
        return _Expectation(
            exposure=np.float32(bin_exposure(edges, mean))[:, None] * shape * (u.cm**2 * u.s),
            components=components, background=np.sum(list(components.values()), axis=0, dtype=np.float32),
            unresolved=np.minimum(unresolved / isotropic, 0.9), windows=windows)

    def _true_diffuse(self, nside, rng):
        """One sky's true diffuse expectation: per event type (n_energy, n_pix), and the factors drawn."""
        expectations = {t: self._expectation(t, nside) for t in self._types}
        norms = dict.fromkeys([*self.diffuse.components, "isotropic"], 1.0)
        fields = dict.fromkeys(self._types)
        if self.perturb is not None:
            norms = self.perturb.draw_norms(norms, rng)
            drawn = self.perturb.draw_fields(nside, [e.windows for e in expectations.values()], rng)
            fields = dict(zip(self._types, drawn, strict=True))
        truth = {}
        for event_type, expected in expectations.items():
            total = sum(np.float32(norms[name]) * expected.components[name] for name in self.diffuse.components)
            if fields[event_type] is not None:
                for row, field in zip(total, fields[event_type], strict=True):
                    row *= field
            # the template's isotropic intensity holds the faint sources, which are drawn one by one
            total += expected.isotropic(np.maximum(norms["isotropic"] - expected.unresolved, 0.05))
            truth[event_type] = total
        return truth, norms

    # -- sources ------------------------------------------------------------------------------------------------------
    def _draw_sources(self, rng):
        population = SourcePopulation(agn=0, galactic=0) if self.population is None else self.population
        return population.sample(rng)

    def _npred(self, sources, event_type):
        """Photons (n_source, n_energy) expected of each source in all years."""
        scale = sources["flux"].to_value(1 / u.cm**2 / u.s) * exposure_shape(sources["coord"])
        mean = self._mean_exposure(event_type)
        return normalised_counts(sources, self.energy_edges.value, mean) * scale[:, None]

    def _observe(self, sources, event_type, npred, counts, truth, nside, pixel_size, share=1.0):
        """
        The table of sources with photons expected and drawn, and their significance in a map of these pixels.

        ``npred`` and ``counts`` belong to a ``share`` of the observing time, the diffuse ``truth`` to all of it.
        """
        table = sources.copy()
        # around a source the unresolved ones are background
        expected = self._expectation(event_type, nside)
        pixel = hp.ang2pix(nside, table["coord"].l.deg, table["coord"].b.deg, nest=True, lonlat=True)
        density = truth[:, pixel] + expected.unresolved[:, None] * expected.components["isotropic"][:, pixel]
        density *= np.float32(share)
        significance = AsimovSignificance(self._psf[event_type], pixel_size)
        table["npred"] = npred
        table["counts"] = counts
        table["significance"] = significance(npred, density.T / hp.nside2pixarea(nside), table["extension"])
        return table

    # -- maps ---------------------------------------------------------------------------------------------------------
    def _seeds(self, n, random_state):
        rng = np.random.default_rng(self.random_state if random_state is None else random_state)
        return [int(seed) for seed in rng.integers(2**63 - 1, size=n)]

    def _meta(self, event_type, seed, norms, sources):
        names, numbers = np.unique(np.asarray(sources["class"]), return_counts=True)
        return {"event_type": event_type, "event_class": self.event_class, "years": self.years, "seed": seed,
                "diffuse_norms": norms, "n_sources": {str(k): int(v) for k, v in zip(names, numbers, strict=True)}}

    def _by_type(self, results):
        return results[self.event_type] if isinstance(self.event_type, str) else results

    def sample(self, n=1, random_state=None):
        """
        Simulate whole skies.

        Parameters
        ----------
        n : int, default=1
            Number of skies.
        random_state : int, `numpy.random.Generator` or None
            Seed; default that of the simulator.

        Returns
        -------
        list
            Of `~astrolearn.sky.SkyMap` in Galactic coordinates and NESTED order, with exposure, background (the
            unperturbed template), psf, energy_edges, ``sources`` and meta (event_type, event_class, years, the seed
            of this sky, the factors on the diffuse components, number of sources by class). With several event types,
            each item is a dict from event type to SkyMap. The truth table is that of `SourcePopulation.sample` with
            ``npred`` and ``counts`` (n_energy), photons expected and drawn, and ``significance``, see
            `AsimovSignificance`.
        """
        return [self._by_type(self._sample_one(seed)) for seed in self._seeds(n, random_state)]

    def sample_yearly(self, n=1, random_state=None):
        """
        Simulate whole skies year by year, with sources that vary.

        Parameters
        ----------
        n : int, default=1
            Number of skies.
        random_state : int, `numpy.random.Generator` or None
            Seed; default that of the simulator. Sources, with their mean fluxes, and expected diffuse emission are
            those of `sample` with this seed; the photons are drawn anew.

        Returns
        -------
        list
            Of pairs: the map of all years, as `sample` makes it, and a list of maps of one year each, which add up to
            it. There are as many as ``years`` rounded, at least one, and all are equally long. With several event
            types, each map of a pair, or of a list, is a dict from event type to SkyMap.

            Yearly fluxes follow `~astrolearn.sources.fermi.light_curves`, the same in all event types; the truth table
            of the whole has them in the column ``yearly_flux`` (n_year), whose mean is ``flux``. The truth table of a
            year, in the same order, has the ``flux``, ``npred``, ``counts`` and ``significance`` of this year, and
            meta its length, ``years``, and its number from 0, ``year``. All yearly maps share one array of exposure
            and one of background.
        """
        n_years = max(1, round(self.years))
        skies = []
        for seed in self._seeds(n, random_state):
            totals, yearly = self._sample_parts(seed, n_years)
            years = [self._by_type({t: maps[year] for t, maps in yearly.items()}) for year in range(n_years)]
            skies.append((self._by_type(totals), years))
        return skies

    def _sample_one(self, seed):
        rng = np.random.default_rng(seed)
        sources = self._draw_sources(rng)
        truth, norms = self._true_diffuse(self.nside, rng)
        maps = {}
        for event_type in self._types:
            npred = self._npred(sources, event_type)
            table = self._observe(sources, event_type, npred, rng.poisson(npred), truth[event_type], self.nside,
                                  hp.nside2resol(self.nside))
            data = self._draw_photons(table, event_type, truth[event_type], rng)
            maps[event_type] = self._as_map(data, event_type, table, self._meta(event_type, seed, norms, sources),
                                            self._expectation(event_type, self.nside))
        return maps

    def _sample_parts(self, seed, n_years):
        """Maps of all years, and lists of maps of each year, by event type."""
        rng = np.random.default_rng(seed)
        sources = self._draw_sources(rng)
        truth, norms = self._true_diffuse(self.nside, rng)
        resolution, share = hp.nside2resol(self.nside), 1 / n_years
        curves = light_curves(sources["class"], n_years, rng)
        totals, yearly = {}, {}
        for event_type in self._types:
            expected, diffuse = self._expectation(event_type, self.nside), truth[event_type]
            of_year = replace(expected, exposure=expected.exposure * np.float32(share),
                              background=expected.background * np.float32(share))
            diffuse_of_year = diffuse * np.float32(share)
            npred = self._npred(sources, event_type)
            meta = self._meta(event_type, seed, norms, sources)
            maps = []
            for year in range(n_years):
                now = sources.copy()
                now["flux"] = sources["flux"] * curves[:, year]
                npred_now = npred * (share * curves[:, year, None])
                table = self._observe(now, event_type, npred_now, rng.poisson(npred_now), diffuse, self.nside,
                                      resolution, share)
                data = self._draw_photons(table, event_type, diffuse_of_year, rng)
                about = meta | {"years": self.years * share, "year": year}
                maps.append(self._as_map(data, event_type, table, about, of_year))
            counts = sum(one.sources["counts"] for one in maps)
            table = self._observe(sources, event_type, npred, counts, diffuse, self.nside, resolution)
            table["yearly_flux"] = sources["flux"][:, None] * curves
            total = sum(one.data for one in maps)
            totals[event_type], yearly[event_type] = self._as_map(total, event_type, table, meta, expected), maps
        return totals, yearly

    def _draw_photons(self, table, event_type, diffuse, rng):
        """Counts (n_energy, n_pix) of diffuse emission and sources."""
        psf, data = self._psf[event_type], np.empty_like(diffuse)
        for i, row in enumerate(progress(diffuse, "drawing photons", verbose=self.verbose)):
            total = rng.poisson(row)
            for xyz in photon_directions(table, table["counts"][:, i], psf, i, rng):
                total += np.bincount(hp.vec2pix(self.nside, *xyz.T, nest=True), minlength=total.size)
            data[i] = total
        return data

    def _as_map(self, data, event_type, sources, meta, expected):
        """The `SkyMap` of some counts, with the exposure and the background of an expectation."""
        skymap = SkyMap(data, nest=True, energy_edges=self.energy_edges, exposure=expected.exposure,
                        background=expected.background if self.background else None, psf=self._psf[event_type],
                        meta=meta)
        skymap.sources = sources
        return skymap

    # -- images -------------------------------------------------------------------------------------------------------
    def simulate_image(self, center, shape, pixel_scale=0.05 * u.deg, *, projection="CAR", random_state=None):
        """
        Simulate a part of the sky on an image grid.

        Parameters
        ----------
        center : `~astropy.coordinates.SkyCoord`
            Centre of the image.
        shape : tuple of int
            (rows, columns); rows follow Galactic latitude.
        pixel_scale : `~astropy.units.Quantity` or float, default=0.05 deg
            A bare number is taken in degrees.
        projection : {"CAR", "TAN"}, default="CAR"
            Plate carree, or gnomonic.
        random_state : int, `numpy.random.Generator` or None
            Seed; default that of the simulator.

        Returns
        -------
        `~astropy.nddata.CCDData`, or a dict of them by event type
            Counts (n_energy, rows, columns) with a celestial WCS in Galactic coordinates; meta is that of `sample`,
            with ``energy_edges``, ``exposure`` and ``background`` (n_energy, rows, columns), ``psf`` and ``sources``:
            those within the image, with 0-based pixel positions ``x`` and ``y`` besides the columns of `sample`.

        Raises
        ------
        ValueError
            For another projection, a shape that is not two positive numbers, or a pixel scale that is not positive.
        """
        scale = u.Quantity(pixel_scale, u.deg).value
        if projection not in ("CAR", "TAN"):
            raise ValueError(f"projection must be CAR or TAN, not {projection!r}")
        if len(shape) != 2 or min(shape) < 1 or not scale > 0:
            raise ValueError(f"shape {shape} must be (rows, columns), and it and pixel_scale {pixel_scale} positive")
        seed = self._seeds(1, random_state)[0]
        rng = np.random.default_rng(seed)
        wcs = image_wcs(center.galactic, shape, scale, projection)
        grid = wcs.pixel_to_world(*np.meshgrid(np.arange(shape[1]), np.arange(shape[0])))
        area = pixel_areas(wcs, shape) / hp.nside2pixarea(_IMAGE_NSIDE)

        def on_grid(maps):
            return np.array([hp.get_interp_val(m, grid.l.deg, grid.b.deg, nest=True, lonlat=True) for m in maps])

        sources = self._draw_sources(rng)
        truth, norms = self._true_diffuse(_IMAGE_NSIDE, rng)
        # photons reach the image from sources up to 99 % of the widest PSF away
        reach = max(p.containment_radius(0.99).max() for p in self._psf.values()) + sources["extension"].max(initial=0)
        sources = sources[sources["coord"].separation(center) < np.hypot(*shape) / 2 * scale * u.deg + reach]
        sources["x"], sources["y"] = wcs.world_to_pixel(sources["coord"])
        inside = (np.abs(sources["x"] - (shape[1] - 1) / 2) < shape[1] / 2) \
            & (np.abs(sources["y"] - (shape[0] - 1) / 2) < shape[0] / 2)
        images = {}
        for event_type in self._types:
            expected, psf = self._expectation(event_type, _IMAGE_NSIDE), self._psf[event_type]
            npred = self._npred(sources, event_type)
            table = self._observe(sources, event_type, npred, rng.poisson(npred), truth[event_type], _IMAGE_NSIDE,
                                  np.deg2rad(scale))
            data = rng.poisson(on_grid(truth[event_type]) * area).astype(np.float32)
            for i, image in enumerate(data):
                for xyz in photon_directions(table, table["counts"][:, i], psf, i, rng):
                    image += bin_on_image(xyz, wcs, shape)
            meta = self._meta(event_type, seed, norms, table[inside])
            meta |= {"energy_edges": self.energy_edges, "psf": psf, "sources": table[inside],
                     "exposure": on_grid(expected.exposure.value).astype(np.float32) * expected.exposure.unit}
            if self.background:
                meta["background"] = (on_grid(expected.background) * area).astype(np.float32)
            images[event_type] = CCDData(data, unit=u.ct, wcs=wcs, meta=meta)
        return self._by_type(images)
