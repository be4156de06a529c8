"""Exposure and PSF of an instrument from files, brought to the energy bins and pixels of a map."""

import astropy.units as u
import healpy as hp
import numpy as np

from .energy import SPECTRAL_INDEX, node_weights, parse_edges
from .fits_tools import open_fits, read_table
from .healpix_io import read_skymap
from .psf import RadialPSF
from .skymap import SkyMap

__all__ = ["read_exposure", "read_psf"]


def read_exposure(path, skymap, *, index=SPECTRAL_INDEX):
    """
    Read an exposure cube and interpolate it to the bins and pixels of a map.

    Parameters
    ----------
    path : path-like
        HEALPix exposure cube as of fermitools ``gtexpcube2``: exposure in cm2 s at energies.
    skymap : SkyMap or `~astropy.nddata.NDData`
        The map, or an image or cube with a celestial WCS and ``meta["energy_edges"]``; it is not changed
        (``skymap.exposure = read_exposure(path, skymap)`` attaches the exposure, to an image
        ``image.meta["exposure"] = read_exposure(path, image)``).
    index : float
        Photon index of the power law that weighs the energies in a bin.

    Returns
    -------
    `~astropy.units.Quantity`, shape (n_energy, n_pix) or (n_energy, ny, nx)
        Exposure in cm2 s, linear in log(energy) and bilinear on the sphere between the values of the file; float32;
        0 for pixels of an image that are not on the sky.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the map has no energy edges or an image no celestial WCS, or the file does not cover the energies or is no
        exposure cube.
    """
    edges, shape, pixel_coords = _geometry(skymap)
    if edges is None:
        raise ValueError("the map has no energy_edges, which an exposure needs")
    cube = read_skymap(path)
    if "energies" not in cube.meta or not cube.unit.is_equivalent(u.cm**2 * u.s):
        raise ValueError(f"{path}: not an exposure cube (its unit is '{cube.unit}', "
                         f"energies are {'' if 'energies' in cube.meta else 'not '}given)")
    try:
        weights = node_weights(edges, cube.meta["energies"], index)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    # the bins first: the file has many energies but coarse pixels
    binned = weights @ cube.to_order(nest=False).data.astype(float) * cube.unit.to(u.cm**2 * u.s)
    n_pix = np.prod(shape)
    exposure = np.zeros((len(edges) - 1, n_pix), dtype=np.float32)
    for pixels in np.array_split(np.arange(n_pix), max(1, n_pix // 200_000)):  # bounds the memory
        sphere = pixel_coords(pixels).transform_to(cube.frame).spherical
        on_sky = np.isfinite(sphere.lon.deg)  # the corners of an image of the whole sky are not
        lon, lat = sphere.lon.deg[on_sky], sphere.lat.deg[on_sky]
        exposure[:, pixels[on_sky]] = hp.get_interp_val(binned, lon, lat, lonlat=True)
    return exposure.reshape(-1, *shape) << u.cm**2 * u.s


def _geometry(skymap):
    """Energy edges, shape of one plane, and the function that gives coordinates of its pixels by number."""
    if isinstance(skymap, SkyMap):
        return skymap.energy_edges, (skymap.n_pix,), skymap.pixel_coords
    edges = skymap.meta.get("energy_edges")
    if skymap.wcs is None or not skymap.wcs.has_celestial:
        raise ValueError("the image has no celestial WCS, without which its exposure is not known")
    wcs, shape = skymap.wcs.celestial, skymap.data.shape[-2:]
    return (None if edges is None else parse_edges(edges)), shape, lambda pixels: wcs.pixel_to_world(
        *np.unravel_index(pixels, shape)[::-1])


def read_psf(path, energy_edges, *, index=SPECTRAL_INDEX):
    """
    Read a table of PSFs and average it over energy bins.

    Parameters
    ----------
    path : path-like
        Table as of fermitools ``gtpsf``: extension PSF with columns Energy (MeV), Exposure (cm2 s) and Psf (1/sr), and
        extension THETA with the angles (deg).
    energy_edges : `~astropy.units.Quantity` or str
        Edges of the bins; a bare sequence is taken in GeV.
    index : float
        Photon index of the power law that, times the exposure, weighs the energies in a bin.

    Returns
    -------
    RadialPSF

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no such table, or does not cover the energies.
    """
    with open_fits(path) as hdus:
        energies, exposure, profile = read_table(hdus, "PSF", {"Energy": u.MeV, "Exposure": None, "Psf": None})
        theta, = read_table(hdus, "THETA", {"Theta": u.deg})
        weights = node_weights(parse_edges(energy_edges), energies, index) * exposure
        return RadialPSF(theta, weights @ profile)
