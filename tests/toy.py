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
