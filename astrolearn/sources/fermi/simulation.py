"""Simulated LAT skies: photons of sources and diffuse emission, binned as a finder gets them, with the truth.

Diffuse emission is drawn pixel by pixel from its expectation, which is made once per simulator; photons of sources are
drawn one by one and binned, so that every source sits at its own place within a pixel and its PSF is exact.
"""

import astropy.units as u
import healpy as hp
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData
from astropy.wcs import WCS

from astrolearn.sky import SkyMap

from .diffuse import GalacticTemplate, isotropic_counts
from .fields import DiffusePerturbation, smear
from .galactic import GalacticModel
from .instrument import check_energy_edges, exposure_shape, lat_psf, mean_exposure
from .population import SourcePopulation
from .significance import AsimovSignificance
from .spectra import normalised_counts

__all__ = ["LATSkySimulator"]

# The effective area of UltracleanVeto events (zenith angle < 90 deg) relative to SOURCE (< 105 deg): all-sky mean of
# the 2-20 GeV exposure of the NPTFit data set (413 weeks, PSF3) over that of `lat_exposure`.
_ACCEPTANCE = {"SOURCE": 1.0, "ULTRACLEANVETO": 0.75}
_IMAGE_NSIDE = 256  # the diffuse emission of images is interpolated from maps of 0.23 deg
_PHOTON_BLOCK = 1_000_000  # photons placed at a time: bounds the memory


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
        How the true diffuse emission differs from the template; the default draws it anew for every sky. None: the
        template is exact.
    population : `SourcePopulation` or None
        The sources. None: none at all.
    background : bool, default=True
        Attach the unperturbed template to the maps.
    random_state : int, `numpy.random.Generator` or None
        Default seed of `sample` and `simulate_image`.

    Raises
    ------
    astropy.units.UnitConversionError
        If ``energy_edges`` has no unit of energy.
    ValueError
        If energies leave the range, an event type is unknown, nside is no power of two, or years is not positive.
    """

    def __init__(self, energy_edges=(0.3, 0.5, 1, 2, 7, 20, 1000) * u.GeV, *, nside=256, years=10.0,
                 event_type="FRONT", event_class="SOURCE", diffuse=None, perturb=DiffusePerturbation(),
                 population=SourcePopulation(), background=True, random_state=None):
        self.energy_edges = check_energy_edges(energy_edges)
        if not hp.isnsideok(nside, nest=True):
            raise ValueError(f"nside must be a power of two, not {nside}")
        if not years > 0:
            raise ValueError(f"years must be positive, not {years}")
        if event_class not in _ACCEPTANCE:
            raise ValueError(f"unknown event class {event_class!r}: choose from {', '.join(_ACCEPTANCE)}")
        self.nside = int(nside)
        self.years = float(years)
        self.event_type = event_type
        self.event_class = event_class
        if diffuse is None:
            diffuse = GalacticModel()
        self.diffuse = diffuse if hasattr(diffuse, "counts") else GalacticTemplate(diffuse)
        self.perturb = perturb
        self.population = population
        self.background = background
        self.random_state = random_state
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
        """Cached per event type: exposure (n_energy, n_pix), diffuse photons per pixel by component, beam windows."""
        if (event_type, nside) in self._cache:
            return self._cache[event_type, nside]
        edges, mean = self.energy_edges.value, self._mean_exposure(event_type)
        lon, lat = hp.pix2ang(nside, np.arange(hp.nside2npix(nside)), nest=True, lonlat=True)
        shape = exposure_shape(SkyCoord(lon, lat, unit="deg", frame="galactic")).astype(np.float32)
        lmax = 3 * nside - 1
        windows = self._psf[event_type].beam_window(lmax)
        per_pixel = shape * hp.nside2pixarea(nside)
        components = {}
        for name, (level, maps) in self.diffuse.counts(edges, mean, nside).items():
            smeared = hp.reorder(smear(maps, windows), r2n=True)
            components[name] = np.float32(level)[:, None] * smeared * per_pixel
        isotropic = isotropic_counts(edges, mean, event_type, self.event_class)
        components["isotropic"] = isotropic[:, None].astype(np.float32) * per_pixel
        unresolved = np.zeros_like(isotropic)
        if self.population is not None:
            unresolved = self.population.unresolved_intensity(edges, mean)
        level = normalised_counts({"index": [2.2], "beta": [0.0], "expfactor": [0.0], "exp_index": [0.0],
                                   "pivot_energy": [1.0]}, edges, mean)[0]
        level = level / normalised_counts({"index": [2.2], "beta": [0.0], "expfactor": [0.0], "exp_index": [0.0],
                                           "pivot_energy": [1.0]}, edges, np.ones_like)[0]
        self._cache[event_type, nside] = {
            "shape": shape, "components": components, "windows": windows,
            "unresolved": np.minimum(unresolved / isotropic, 0.9),
            "exposure": level.astype(np.float32)[:, None] * shape * (u.cm**2 * u.s),
            "background": np.sum(list(components.values()), axis=0, dtype=np.float32),
        }
        return self._cache[event_type, nside]

    def _true_diffuse(self, nside, rng):
        """One sky's true diffuse expectation: per event type (n_energy, n_pix), and the factors drawn."""
        norms = {}
        if self.perturb is not None:
            norms = self.perturb.draw_norms([*self.diffuse.components, "isotropic"], rng)
            windows = [self._expectation(t, nside)["windows"] for t in self._types]
            fields = self.perturb.draw_fields(nside, windows, rng)
        truth = {}
        for i, event_type in enumerate(self._types):
            expected = self._expectation(event_type, nside)
            total = np.zeros_like(expected["background"])
            for name in self.diffuse.components:
                total += np.float32(norms.get(name, 1.0)) * expected["components"][name]
            if self.perturb is not None:
                for row, field in zip(total, fields[i], strict=True):
                    row *= field
            # the template's isotropic intensity holds the faint sources, which are drawn one by one
            share = norms.get("isotropic", 1.0) - expected["unresolved"]
            total += np.maximum(share, 0.05)[:, None].astype(np.float32) * expected["components"]["isotropic"]
            truth[event_type] = total
        return truth, norms

    # -- sources ------------------------------------------------------------------------------------------------------
    def _expected_photons(self, sources, event_type):
        """Photons expected of each source: (n_sources, n_energy)."""
        counts = normalised_counts(sources, self.energy_edges.value, self._mean_exposure(event_type))
        flux = sources["flux"].to_value(1 / u.cm**2 / u.s)
        return counts * (flux * exposure_shape(sources["coord"]))[:, None]

    def _photon_directions(self, sources, counts, event_type, energy_bin, rng):
        """Unit vectors (n, 3) of the photons of all sources in one bin, block by block."""
        centre = np.asarray(sources["coord"].cartesian.xyz.value).T
        east = np.cross([0.0, 0.0, 1.0], centre)
        east /= np.linalg.norm(east, axis=1, keepdims=True)
        north = np.cross(centre, east)
        radius = sources["extension"].to_value(u.rad)
        disc = sources["extended_shape"] == "disc"
        ends = np.cumsum(counts)
        for start in range(0, int(ends[-1]) if len(ends) else 0, _PHOTON_BLOCK):
            stop = min(start + _PHOTON_BLOCK, int(ends[-1]))
            which = np.searchsorted(ends, np.arange(start, stop), side="right")
            offset = _polar(self._psf[event_type].sample(which.size, energy_bin, rng), rng)
            extended = radius[which] > 0
            if extended.any():
                mine = which[extended]
                # 68 % radius to Gaussian sigma and disc radius
                uniform = rng.uniform(size=mine.size)
                r = radius[mine] * np.where(disc[mine], np.sqrt(uniform / 0.68),
                                            np.sqrt(np.log1p(-uniform) / np.log(0.32)))
                offset[:, extended] += _polar(r, rng)
            r = np.hypot(*offset)
            scale = np.sinc(r / np.pi)  # sin(r) / r
            yield (np.cos(r)[:, None] * centre[which] + (scale * offset[0])[:, None] * east[which]
                   + (scale * offset[1])[:, None] * north[which])

    def _draw_sources(self, rng):
        return SourcePopulation(flux_min=1e-8, agn=0, galactic=0).sample(0) if self.population is None \
            else self.population.sample(rng)

    def _truth(self, sources, event_type, density, pixel_size, rng):
        """Table of the sources with photons expected and drawn, and significance, in one map."""
        table = sources.copy()
        npred = self._expected_photons(table, event_type)
        table["npred"] = npred
        table["counts"] = rng.poisson(npred)
        significance = AsimovSignificance(self._psf[event_type], pixel_size)
        table["significance"] = significance(npred, density, table["extension"])
        return table

    # -- maps ---------------------------------------------------------------------------------------------------------
    def _seeds(self, n, random_state):
        rng = np.random.default_rng(self.random_state if random_state is None else random_state)
        return [int(seed) for seed in rng.integers(2**63 - 1, size=n)]

    def _meta(self, event_type, seed, norms, sources):
        names, numbers = np.unique(np.asarray(sources["class"]), return_counts=True)
        return {"event_type": event_type, "event_class": self.event_class, "years": self.years, "seed": seed,
                "diffuse_norms": norms, "n_sources": {str(k): int(v) for k, v in zip(names, numbers, strict=True)}}

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
            unperturbed template), psf, energy_edges, ``sources`` and meta (event_type, years, seed, factors on the
            diffuse components, number of sources by class). With several event types, each item is a dict from event
            type to SkyMap. The truth table is that of `SourcePopulation.sample` with ``npred`` and ``counts``
            (n_energy): photons expected and drawn, and ``significance``: see `AsimovSignificance`.
        """
        return [self._sample_one(seed) for seed in self._seeds(n, random_state)]

    def _sample_one(self, seed):
        rng = np.random.default_rng(seed)
        nside = self.nside
        sources = self._draw_sources(rng)
        truth, norms = self._true_diffuse(nside, rng)
        pixel = hp.ang2pix(nside, sources["coord"].l.deg, sources["coord"].b.deg, nest=True, lonlat=True)
        maps = {}
        for event_type in self._types:
            expected = self._expectation(event_type, nside)
            density = truth[event_type] + expected["unresolved"][:, None].astype(np.float32) \
                * expected["components"]["isotropic"]
            table = self._truth(sources, event_type, density[:, pixel].T / hp.nside2pixarea(nside),
                                hp.nside2resol(nside), rng)
            del density
            data = np.empty(truth[event_type].shape, dtype=np.float32)
            for i, row in enumerate(truth[event_type]):
                total = rng.poisson(row)
                for xyz in self._photon_directions(table, table["counts"][:, i], event_type, i, rng):
                    total += np.bincount(hp.vec2pix(nside, *xyz.T, nest=True), minlength=total.size)
                data[i] = total
            maps[event_type] = SkyMap(
                data, nest=True, energy_edges=self.energy_edges, exposure=expected["exposure"],
                background=expected["background"] if self.background else None, psf=self._psf[event_type],
                meta=self._meta(event_type, seed, norms, sources))
            maps[event_type].sources = table
        return maps[self.event_type] if isinstance(self.event_type, str) else maps

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
        random_state : int, `numpy.random.Generator` or None
            Seed; default that of the simulator.

        Returns
        -------
        `~astropy.nddata.CCDData`, or a dict of them by event type
            Counts (n_energy, rows, columns) with a celestial WCS in Galactic coordinates; meta holds ``energy_edges``,
            ``exposure`` and ``background`` (n_energy, rows, columns), ``psf`` and ``sources``: those within the image,
            with the columns of `sample`, ``x`` and ``y`` (0-based pixel centres).

        Raises
        ------
        ValueError
            For another projection, a shape that is not two positive numbers, or a pixel scale that is not positive.
        """
        scale = u.Quantity(pixel_scale, u.deg).value
        if projection not in ("CAR", "TAN"):
            raise ValueError(f"projection must be CAR or TAN, not {projection!r}")
        if len(shape) != 2 or min(shape) < 1 or not scale > 0:
            raise ValueError(f"shape {shape} and pixel_scale {pixel_scale} must be positive, with two axes")
        wcs = _image_wcs(center.galactic, shape, scale, projection)
        rng = np.random.default_rng(seed := self._seeds(1, random_state)[0])
        nside = _IMAGE_NSIDE
        grid = wcs.pixel_to_world(*np.meshgrid(np.arange(shape[1]), np.arange(shape[0])))
        area = _pixel_area(wcs, shape)
        sources = self._draw_sources(rng)
        truth, norms = self._true_diffuse(nside, rng)
        x, y = wcs.world_to_pixel(sources["coord"])
        margin = 0.5
        inside = (x > -margin) & (x < shape[1] - margin) & (y > -margin) & (y < shape[0] - margin)
        # photons reach the image from sources up to 99 % of the widest PSF away
        reach = max(p.containment_radius(0.99).max() for p in self._psf.values()) + sources["extension"].max(initial=0)
        border = np.hypot(*shape) / 2 * scale * u.deg + reach
        near = sources["coord"].separation(center) < border
        images = {}
        for event_type in self._types:
            expected = self._expectation(event_type, nside)
            pixarea = hp.nside2pixarea(nside)

            def on_grid(maps, pixarea=pixarea):
                return np.array([hp.get_interp_val(m, grid.l.deg, grid.b.deg, nest=True, lonlat=True) for m in maps]
                                ) / pixarea * area

            pixel = hp.ang2pix(nside, sources["coord"].l.deg[near], sources["coord"].b.deg[near], nest=True, lonlat=True)
            density = truth[event_type][:, pixel] \
                + expected["unresolved"][:, None] * expected["components"]["isotropic"][:, pixel]
            table = sources[near]
            table["x"], table["y"] = x[near], y[near]
            table = self._truth(table, event_type, density.T / pixarea, np.deg2rad(scale), rng)
            data = rng.poisson(on_grid(truth[event_type])).astype(np.float32)
            for i, image in enumerate(data):
                for xyz in self._photon_directions(table, table["counts"][:, i], event_type, i, rng):
                    image += _bin_on_image(xyz, wcs, shape)
            meta = self._meta(event_type, seed, norms, sources[inside])
            meta |= {"energy_edges": self.energy_edges, "psf": self._psf[event_type], "sources": table[inside[near]],
                     "exposure": np.array([hp.get_interp_val(m, grid.l.deg, grid.b.deg, nest=True, lonlat=True)
                                           for m in expected["exposure"].value], dtype=np.float32) * (u.cm**2 * u.s)}
            if self.background:
                meta["background"] = on_grid(expected["background"]).astype(np.float32)
            images[event_type] = CCDData(data, unit=u.ct, wcs=wcs, meta=meta)
        return images[self.event_type] if isinstance(self.event_type, str) else images


def _polar(r, rng):
    """Offsets (2, n) of lengths ``r`` in random directions."""
    angle = rng.uniform(0, 2 * np.pi, size=r.size)
    return np.array([r * np.cos(angle), r * np.sin(angle)])


def _image_wcs(center, shape, scale, projection):
    """WCS of an image centred on ``center``; CAR keeps its reference on the equator, so that rows are latitudes."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"GLON-{projection}", f"GLAT-{projection}"]
    wcs.wcs.cdelt = [-scale, scale]
    latitude = center.b.deg if projection == "TAN" else 0.0
    wcs.wcs.crval = [center.l.deg, latitude]
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2 - (center.b.deg - latitude) / scale]
    wcs.wcs.set()
    return wcs


def _pixel_area(wcs, shape):
    """Solid angle [sr] of each pixel, from the diagonals of its corners."""
    corner = wcs.pixel_to_world(*np.meshgrid(np.arange(shape[1] + 1) - 0.5, np.arange(shape[0] + 1) - 0.5))
    xyz = np.moveaxis(np.asarray(corner.cartesian.xyz.value), 0, -1)
    first, second = xyz[1:, 1:] - xyz[:-1, :-1], xyz[1:, :-1] - xyz[:-1, 1:]
    return 0.5 * np.linalg.norm(np.cross(first, second), axis=-1)


def _bin_on_image(xyz, wcs, shape):
    """Photons (n, 3) counted in the pixels of an image; those outside are dropped."""
    lon, lat = np.rad2deg(np.arctan2(xyz[:, 1], xyz[:, 0])), np.rad2deg(np.arcsin(np.clip(xyz[:, 2], -1, 1)))
    x, y = wcs.wcs_world2pix(lon, lat, 0)
    x, y = np.floor(x + 0.5), np.floor(y + 0.5)
    ok = (x >= 0) & (x < shape[1]) & (y >= 0) & (y < shape[0])
    flat = y[ok].astype(int) * shape[1] + x[ok].astype(int)
    return np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)
