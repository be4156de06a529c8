"""A small made-up sky whose truth is known by hand: flat background, Gaussian PSF, strong sources."""

import astropy.units as u
import healpy as hp
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData
from astropy.table import QTable
from astropy.wcs import WCS

from astrolearn.sky import SkyMap

EDGES = [1, 3, 10] * u.GeV
R68 = [1.6, 1.0] * u.deg
SIGMA = R68.to_value(u.rad) / np.sqrt(-2 * np.log(0.32))


def scatter(coords, counts, sigma, rng):
    """Directions (n, 3) of photons around their sources."""
    centre = np.repeat(coords.cartesian.xyz.value.T, counts, axis=0)
    moved = centre + sigma * rng.normal(size=centre.shape)  # the radial part drops out on normalising
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)


def toy_sky(seed=0, nside=32, n_sources=40, counts=(60, 300), background=3.0, template=True):
    """A SkyMap in two bins with its sources."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n_sources, 3))
    coords = SkyCoord(*hp.vec2ang(vectors, lonlat=True), unit=u.deg, frame="galactic")
    bright = np.exp(rng.uniform(*np.log(counts), n_sources))
    drawn = rng.poisson(bright[:, None] * [0.5, 0.5])
    n_pix = hp.nside2npix(nside)
    data = rng.poisson(background, (2, n_pix)).astype(np.float32)
    for i in range(2):
        photons = scatter(coords, drawn[:, i], SIGMA[i], rng)
        data[i] += np.bincount(hp.vec2pix(nside, *photons.T, nest=True), minlength=n_pix)
    skymap = SkyMap(
        data,
        nest=True,
        energy_edges=EDGES,
        psf=R68,
        exposure=[1e10, 1e10] * u.cm**2 * u.s,
        background=np.full(data.shape, background, np.float32) if template else None,
    )
    skymap.sources = QTable({"coord": coords, "counts": drawn})
    return skymap


def toy_image(seed=0, shape=(96, 128), scale=0.9, n_sources=12, counts=(60, 300), background=3.0):
    """The same sky as a WCS cube around the Galactic pole."""
    rng = np.random.default_rng(seed)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["GLON-ZEA", "GLAT-ZEA"], [20, 60]
    wcs.wcs.crpix, wcs.wcs.cdelt = [shape[1] / 2, shape[0] / 2], [-scale, scale]
    wcs.wcs.cunit = ["deg", "deg"]
    x, y = rng.uniform(8, shape[1] - 9, n_sources), rng.uniform(8, shape[0] - 9, n_sources)
    drawn = rng.poisson(np.exp(rng.uniform(*np.log(counts), n_sources))[:, None] * [0.5, 0.5])
    data = rng.poisson(background, (2, *shape)).astype(np.float32)
    for i in range(2):
        sigma = np.rad2deg(SIGMA[i]) / scale
        px = np.repeat(x, drawn[:, i]) + sigma * rng.normal(size=drawn[:, i].sum())
        py = np.repeat(y, drawn[:, i]) + sigma * rng.normal(size=drawn[:, i].sum())
        edges = [np.arange(n + 1) - 0.5 for n in shape]
        data[i] += np.histogram2d(py, px, edges)[0]
    sources = QTable({"coord": wcs.pixel_to_world(x, y), "counts": drawn})
    meta = {
        "energy_edges": EDGES,
        "psf": R68,
        "sources": sources,
        "background": np.full(data.shape, background, np.float32),
    }
    return CCDData(data, unit=u.ct, wcs=wcs, meta=meta)


YEAR_EDGES = [0.5, 1.5, 5, 20] * u.GeV
YEAR_R68 = [2.2, 1.5, 1.1] * u.deg
# Shares of the photons in each bin, and the yearly scatter of the log flux
KINDS = {
    "bll": ([0.35, 0.35, 0.30], 0.3),
    "fsrq": ([0.80, 0.17, 0.03], 0.8),
    "psr": ([0.25, 0.70, 0.05], 0.0),
}


def toy_years(seed=0, n_years=4, n_each=14, counts=(250, 900), background=2.0, nside=64, n_fake=14, together=False):
    """
    Yearly SkyMaps of active galaxies, which vary, and pulsars, which do not; what was detected, fakes too; and classes.

    With ``together`` a single map of all years is returned instead.
    """
    rng = np.random.default_rng(seed)
    sigma = YEAR_R68.to_value(u.rad) / np.sqrt(-2 * np.log(0.32))
    names = np.repeat(list(KINDS), n_each)
    vectors = rng.normal(size=(len(names) + n_fake, 3))
    coords = SkyCoord(*hp.vec2ang(vectors, lonlat=True), unit=u.deg, frame="galactic")
    bright = np.exp(rng.uniform(*np.log(counts), len(names)))
    scatter_of = np.array([KINDS[name][1] for name in names])
    curve = np.exp(scatter_of[:, None] * rng.normal(size=(len(names), n_years)))
    curve /= curve.sum(axis=1, keepdims=True)
    shares = np.array([KINDS[name][0] for name in names])
    drawn = rng.poisson(bright[:, None, None] * curve[:, :, None] * shares[:, None, :])
    n_pix = hp.nside2npix(nside)
    level = np.array([1.0, 0.6, 0.3])[:, None] * background
    data = rng.poisson(level / n_years, (n_years, 3, n_pix)).astype(np.float32)
    for year in range(n_years):
        for i in range(3):
            photons = scatter(coords[: len(names)], drawn[:, year, i], sigma[i], rng)
            data[year, i] += np.bincount(hp.vec2pix(nside, *photons.T, nest=True), minlength=n_pix)
    if together:
        data = data.sum(axis=0, keepdims=True)
    maps = [
        SkyMap(
            one,
            nest=True,
            energy_edges=YEAR_EDGES,
            psf=YEAR_R68,
            exposure=[3e11 / len(data)] * 3 * u.cm**2 * u.s,
            background=np.broadcast_to(level / len(data), one.shape).astype(np.float32),
        )
        for one in data
    ]
    catalogue = QTable({"coord": coords, "probability": np.repeat([0.95, 0.6], [len(names), n_fake])})
    return maps[0] if together else maps, catalogue, np.append(names, np.repeat("fake", n_fake))
