"""The real LAT maps and catalogues of the northern Galactic hemisphere, ready for any finder."""

import itertools

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy.table import Table

from astrolearn.sky import SkyMap, read_exposure, read_psf
from astrolearn.sources.fermi import LATSkySimulator, lat_psf

__all__ = ["EDGES_50", "analytic_template", "catalogue", "map_2_20", "map_50"]

EDGES_50 = [50, 171, 585, 2000] * u.GeV  # of the 2FHL catalogue
_YEARS_50 = 80 / 12
_BANDS = (0, 5, 10, 20, 30, 50, 90)  # deg in |b|
_STEPS = 100
_CLIP = 4.0  # standard deviations above the fit beyond which pixels are taken to hold sources


def catalogue(data, name):
    """One of "4fgl_8yr", "4fgl_dr2", "2fhl": the sources at b > 0."""
    table = Table.read(data / "gamma" / f"{name}_north.fits.gz", hdu=1)
    table.meta.clear()
    return table


def map_2_20(data):
    """
    Counts of 2 to 20 GeV of the best-measured photons (UltracleanVeto PSF3, 413 weeks) with a fitted background.

    The file's templates of the Galactic, isotropic and bubble emission are shapes of counts (the isotropic one is that
    of the exposure). Their levels maximise the Poisson likelihood in each band of Galactic latitude.
    """
    path = data / "gamma" / "fermi_lat_2-20gev_nside128_north.fits.gz"
    columns = fits.getdata(path, 1)
    counts, exposure, *templates = (
        np.asarray(columns[name], float).ravel() for name in ("counts", "exposure", "galactic", "isotropic", "bubbles")
    )
    seen = counts >= 0
    edges = [2, 20] * u.GeV
    skymap = SkyMap(
        np.where(seen, counts, 0)[None],
        nest=False,
        energy_edges=edges,
        mask=~seen,
        exposure=exposure[None] * u.cm**2 * u.s,
        psf=lat_psf(edges, "PSF3"),
    )
    b = np.abs(skymap.pixel_coords().b.deg)
    background = np.zeros(len(counts))
    for low, high in itertools.pairwise(_BANDS):
        band = (b >= low) & (b < high)
        use = band & seen
        for _ in range(3):
            levels = _poisson_levels(counts[use], np.array(templates)[:, use])
            background[band] = levels @ np.array(templates)[:, band]
            use &= counts < background + _CLIP * np.sqrt(background)
    skymap.background = background[None]
    return skymap


def _poisson_levels(counts, templates):
    """Non-negative levels of templates of highest Poisson likelihood, by expectation maximisation."""
    levels = np.full(len(templates), counts.sum() / templates.sum())
    for _ in range(_STEPS):
        levels = levels * (templates @ (counts / (levels @ templates))) / np.maximum(templates.sum(axis=1), 1e-30)
    return levels


def map_50(data, nside=512, groups=((0, 1, 2),)):
    """
    Photons above 50 GeV (P8 SOURCE, 80 months), without a background.

    Parameters
    ----------
    data : Path
    nside : int
    groups : sequence of sequences of int
        The bins of `EDGES_50` that make up each bin of the map.
    """
    skymap = SkyMap.from_events(data / "gamma" / "fermi_lat_50gev_events_north.fits.gz", EDGES_50, nside)
    skymap.mask = skymap.pixel_coords().b.deg <= 0
    skymap.exposure = read_exposure(data / "gamma" / "fermi_2fhl_exposure_cube_hpx.fits.gz", skymap)
    skymap.psf = read_psf(data / "gamma" / "fermi_2fhl_psf_gc.fits.gz", EDGES_50)
    return skymap.rebin(groups=[list(g) for g in groups]).to_order(nest=True)


def analytic_template(edges, nside, years=_YEARS_50):
    """Expected diffuse photons of the analytic Galactic model for photons of both types, (n_energy, n_pix), NESTED."""
    simulator = LATSkySimulator(edges, nside=nside, years=years, event_type="FRONT+BACK", population=None, perturb=None)
    return simulator.sample(1, 0)[0].background
