"""Photons of sources one by one, and the image grids that they fall on.

A source's light belongs in a map as photons, not as a blurred disc: each has its own direction, so a source keeps its
place within a pixel whatever the pixels are.
"""

import astropy.units as u
import numpy as np
from astropy.wcs import WCS

__all__ = ["bin_on_image", "image_wcs", "photon_directions", "pixel_areas"]

_BLOCK = 1_000_000  # photons placed at a time: bounds the memory


def photon_directions(sources, counts, psf, energy_bin, rng):
    """
    Draw the directions of photons.

    Parameters
    ----------
    sources : `~astropy.table.QTable`, n_sources rows
        With ``coord``, ``extension`` and ``extended_shape`` as `SourcePopulation.sample` makes them.
    counts : int array, shape (n_sources,)
        Photons of each source.
    psf : `~astrolearn.sky.RadialPSF`
        The PSF they are spread with.
    energy_bin : int
        Its bin.
    rng : `numpy.random.Generator`
        Source of randomness.

    Yields
    ------
    array, shape (n, 3)
        Unit vectors in the frame of ``coord``, a block of photons at a time.
    """
    centre = np.asarray(sources["coord"].cartesian.xyz.value).T
    east = np.cross([0.0, 0.0, 1.0], centre)
    east /= np.linalg.norm(east, axis=1, keepdims=True)
    north = np.cross(centre, east)
    radius = sources["extension"].to_value(u.rad)
    disc = np.asarray(sources["extended_shape"]) == "disc"
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    for start in range(0, total, _BLOCK):
        which = np.searchsorted(ends, np.arange(start, min(start + _BLOCK, total)), side="right")
        offset = _polar(psf.sample(which.size, energy_bin, rng), rng)
        extended = radius[which] > 0
        if extended.any():
            mine = which[extended]
            uniform = rng.uniform(size=mine.size)
            # a disc, or a Gaussian, that holds 68 % of its light within the radius
            shape = np.where(disc[mine], np.sqrt(uniform / 0.68), np.sqrt(np.log1p(-uniform) / np.log(0.32)))
            offset[:, extended] += _polar(radius[mine] * shape, rng)
        r = np.hypot(*offset)
        scale = np.sinc(r / np.pi)  # sin(r) / r
        yield (np.cos(r)[:, None] * centre[which] + (scale * offset[0])[:, None] * east[which]
               + (scale * offset[1])[:, None] * north[which])


def _polar(r, rng):
    """Offsets (2, n) of lengths ``r`` in random directions."""
    angle = rng.uniform(0, 2 * np.pi, size=r.size)
    return np.array([r * np.cos(angle), r * np.sin(angle)])


def image_wcs(center, shape, scale, projection):
    """
    WCS of an image in Galactic coordinates.

    Parameters
    ----------
    center : `~astropy.coordinates.SkyCoord`
        Its centre, in the Galactic frame.
    shape : tuple of int
        Rows and columns.
    scale : float
        Pixel size in deg.
    projection : {"CAR", "TAN"}
        CAR keeps its reference on the equator, so that rows are latitudes.

    Returns
    -------
    `~astropy.wcs.WCS`
    """
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"GLON-{projection}", f"GLAT-{projection}"]
    wcs.wcs.cdelt = [-scale, scale]
    latitude = center.b.deg if projection == "TAN" else 0.0
    wcs.wcs.crval = [center.l.deg, latitude]
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2 - (center.b.deg - latitude) / scale]
    wcs.wcs.set()
    return wcs


def pixel_areas(wcs, shape):
    """
    Solid angle of each pixel of an image, from the diagonals of its corners.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        Celestial.
    shape : tuple of int
        Rows and columns.

    Returns
    -------
    array, shape (rows, columns)
        In sr.
    """
    corner = wcs.pixel_to_world(*np.meshgrid(np.arange(shape[1] + 1) - 0.5, np.arange(shape[0] + 1) - 0.5))
    xyz = np.moveaxis(np.asarray(corner.cartesian.xyz.value), 0, -1)
    first, second = xyz[1:, 1:] - xyz[:-1, :-1], xyz[1:, :-1] - xyz[:-1, 1:]
    return 0.5 * np.linalg.norm(np.cross(first, second), axis=-1)


def bin_on_image(xyz, wcs, shape):
    """
    Count photons in the pixels of an image.

    Parameters
    ----------
    xyz : array, shape (n, 3)
        Directions in the frame of the WCS.
    wcs : `~astropy.wcs.WCS`
        Celestial.
    shape : tuple of int
        Rows and columns.

    Returns
    -------
    int array, shape (rows, columns)
        Photons beyond its borders are dropped.
    """
    lon, lat = np.rad2deg(np.arctan2(xyz[:, 1], xyz[:, 0])), np.rad2deg(np.arcsin(np.clip(xyz[:, 2], -1, 1)))
    x, y = wcs.wcs_world2pix(lon, lat, 0)
    x, y = np.floor(x + 0.5), np.floor(y + 0.5)
    ok = (x >= 0) & (x < shape[1]) & (y >= 0) & (y < shape[0])
    flat = y[ok].astype(int) * shape[1] + x[ok].astype(int)
    return np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)
