"""Sky maps as square lattices: what a convolutional network needs to know of the sphere.

The pixels of a HEALPix map in NESTED order *are* square images: each of the twelve base faces is an nside x nside
grid, each pixel splits into 2 x 2 children. Patches cut from that grid hold every photon exactly once and
coarsening by two is a sum over children, so nothing is ever resampled: Poisson counts stay Poisson, and the pyramid of
a U-Net is the pyramid of HEALPix. What it takes is knowing what lies beyond the edge of a face (`NestedLattice`
derives this from healpy's neighbour relations), and which pixel of the sphere each patch owns: patches tile the sphere
with the pixels of a coarser HEALPix, so a pixel belongs to one patch and every patch sees a halo around its own.

`ImageLattice` offers the same operations on a WCS image. Values live on ``lattice.shape``: (n_pix,) or (height, width);
lattice coordinates (x, y) put pixel centres on integers.
"""

from functools import cache, lru_cache

import astropy.units as u
import healpy as hp
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs.utils import pixel_to_skycoord, proj_plane_pixel_area, skycoord_to_pixel, wcs_to_celestial_frame

__all__ = ["CORE", "ImageLattice", "NestedLattice"]

CORE = 64  # pixels along one side that a patch owns
_FINE = 2**29  # nside of the finest HEALPix of 64-bit integers: 0.4 milliarcsec, our continuous coordinate


def _dihedral(element, x, y, n):
    """One of the eight symmetries of an n x n square, applied to pixel coordinates."""
    if element & 1:
        x = n - 1 - x
    if element & 2:
        y = n - 1 - y
    return (y, x) if element & 4 else (x, y)


@cache
def _face_edges():
    """{(axis, side): [(face beyond, symmetry) per face]}, read off healpy's neighbours at nside 4."""
    n, edges = 4, {}
    along = np.arange(n)
    # healpy orders neighbours SW, W, NW, N, NE, E, SE, S; the lattice's +x is NE and its +y is NW
    for axis, side, direction in ((0, -1, 0), (1, 1, 2), (0, 1, 4), (1, -1, 6)):
        border = np.full(n, 0 if side < 0 else n - 1)
        entry = n - 1 - border  # the same row, seen from the far side in our orientation
        xy, beyond_xy = ((border, along), (entry, along)) if axis == 0 else ((along, border), (along, entry))
        found = []
        for face in range(12):
            pixels = hp.xyf2pix(n, *xy, np.full(n, face), nest=True)
            x, y, faces = hp.pix2xyf(n, hp.get_all_neighbours(n, pixels, nest=True)[direction], nest=True)
            (symmetry,) = [s for s in range(8) if np.array_equal(_dihedral(s, *beyond_xy, n), (x, y))]
            found.append((faces[0], symmetry))
        edges[axis, side] = np.array(found)
    return edges


def _step_over(face, x, y, n, axes):
    """Follow coordinates that left their face over its edges, first along ``axes[0]``, then along ``axes[1]``."""
    face, x, y = face.copy(), x.copy(), y.copy()
    for _ in range(2):
        for axis in axes:
            for side in (-1, 1):
                coordinate = x if axis == 0 else y
                out = coordinate < 0 if side < 0 else coordinate >= n
                if not out.any():
                    continue
                beyond = _face_edges()[axis, side][face[out]]
                xo, yo = x[out] - (side * n if axis == 0 else 0), y[out] - (side * n if axis == 1 else 0)
                for symmetry in np.unique(beyond[:, 1]):
                    pick = beyond[:, 1] == symmetry
                    xo[pick], yo[pick] = _dihedral(symmetry, xo[pick], yo[pick], n)
                face[out], x[out], y[out] = beyond[:, 0], xo, yo
    return face, x, y


def _inside(face, x, y, n):
    """Face, x, y of lattice positions up to one face away; ``exists``: False beyond three-face corners."""
    face, x, y = (np.array(a) for a in np.broadcast_arrays(face, x, y))
    by_x = _step_over(face, x, y, n, (0, 1))
    by_y = _step_over(face, x, y, n, (1, 0))
    exists = np.all([a == b for a, b in zip(by_x, by_y, strict=True)], axis=0)
    return *by_x, exists


@lru_cache(maxsize=8)
def _patch_table(nside, core, halo):
    """Pixels (int32) of all patches of the sphere; -1 where the sphere has none."""
    px, py, face = hp.pix2xyf(nside // core, np.arange(hp.nside2npix(nside // core)), nest=True)
    offset = np.arange(-halo, core + halo)
    x = (px * core)[:, None, None] + offset
    y = (py * core)[:, None, None] + offset[:, None]
    face, x, y, exists = _inside(face[:, None, None], x, y, nside)
    x, y = np.clip(x, 0, nside - 1), np.clip(y, 0, nside - 1)
    return np.where(exists, hp.xyf2pix(nside, x, y, face, nest=True), -1).astype(np.int32)


class NestedLattice:
    """
    HEALPix pixels in NESTED order as twelve square grids.

    Parameters
    ----------
    nside : int
        HEALPix nside, a power of two.
    frame : str
        Astropy frame of the map's coordinates.
    """

    def __init__(self, nside, frame="galactic"):
        self.nside, self.frame = nside, frame
        self.shape = (hp.nside2npix(nside),)
        self.core = min(CORE, nside)

    @property
    def pixel_size(self):
        """Side of a pixel, in radians."""
        return hp.nside2resol(self.nside)

    @property
    def n_patches(self):
        """Number of patches that tile the sphere."""
        return hp.nside2npix(self.nside // self.core)

    @property
    def coords(self):
        """Pixel centres: a `~astropy.coordinates.SkyCoord` (n_pix,)."""
        lon, lat = hp.pix2ang(self.nside, np.arange(self.shape[0]), nest=True, lonlat=True)
        return SkyCoord(lon, lat, unit=u.deg, frame=self.frame)

    @property
    def coarser(self):
        """The lattice with pixels twice as large."""
        lattice = NestedLattice(self.nside // 2, self.frame)
        lattice.core = self.core // 2  # the same patches
        return lattice

    @property
    def finer(self):
        """The lattice with pixels half as large."""
        return NestedLattice(self.nside * 2, self.frame)

    def recut(self):
        """The same pixels in patches of full size."""
        return NestedLattice(self.nside, self.frame)

    def sum_children(self, values):
        """Sums of 2 x 2 pixels, (..., n_pix) -> (..., n_pix / 4)."""
        return values.reshape(*values.shape[:-1], values.shape[-1] // 4, 4).sum(axis=-1)

    def max_children(self, values):
        """Largest of 2 x 2 pixels, (..., n_pix) -> (..., n_pix / 4)."""
        return values.reshape(*values.shape[:-1], values.shape[-1] // 4, 4).max(axis=-1)

    def interleave(self, quarters):
        """Four maps of the quarters of each pixel, (4, n_pix), as one map of the finer lattice, (4 n_pix,)."""
        return quarters.T.reshape(-1)

    def spread(self, values):
        """Copy every value to its four children, (..., n_pix / 4) -> (..., n_pix)."""
        return np.repeat(values, 4, axis=-1)

    def patch_pixels(self, patches, halo):
        """
        Pixels of patches with their halo.

        Parameters
        ----------
        patches : array of int, shape (n,)
            Patch numbers.
        halo : int
            Pixels around the core.

        Returns
        -------
        array of int, shape (n, core + 2 halo, core + 2 halo)
            Indexed [patch, y, x]; -1 beyond the eight corners of the sphere where only three faces meet.
        """
        return _patch_table(self.nside, self.core, halo)[np.atleast_1d(patches)]

    def cut(self, values, patches, halo):
        """Patches of maps (n_map, n_pix) -> (n, n_map, side, side); 0 where the sphere has no pixel."""
        pixels = self.patch_pixels(patches, halo)
        out = values[:, pixels]
        out[:, pixels < 0] = 0
        return np.moveaxis(out, 0, 1)

    def assemble(self, cores, patches, out):
        """Write the cores (n, n_map, core, core) of ``patches`` into the maps ``out`` (n_map, n_pix)."""
        pixels = self.patch_pixels(patches, 0)
        out[:, pixels] = np.moveaxis(cores, 1, 0)

    def cells(self):
        """Number of the block of up to 16 x 16 pixels that holds each pixel, (n_pix,)."""
        return np.arange(self.shape[0]) // min(16, self.nside) ** 2

    def around(self, pixels, reach):
        """
        Pixels within ``reach`` steps of each pixel.

        Returns
        -------
        pixel : array of int, shape (n, (2 reach + 1)^2)
            -1 where the sphere has none.
        dx, dy : arrays of int, shape ((2 reach + 1)^2,)
            The steps.
        same_axes : array of bool, shape of ``pixel``
            False where an edge of a base face lies between, beyond which x and y may point elsewhere.
        """
        dy, dx = (d.ravel() for d in np.mgrid[-reach : reach + 1, -reach : reach + 1])
        x, y, own = hp.pix2xyf(self.nside, np.asarray(pixels)[:, None], nest=True)
        face, x, y, exists = _inside(own, x + dx, y + dy, self.nside)
        x, y = np.clip(x, 0, self.nside - 1), np.clip(y, 0, self.nside - 1)
        return np.where(exists, hp.xyf2pix(self.nside, x, y, face, nest=True), -1), dx, dy, exists & (face == own)

    def offsets(self, coords):
        """Pixel that holds each position, and the position relative to its centre: (pixel, dx, dy), (n,) each."""
        sky = coords.transform_to(self.frame).spherical
        fine = hp.ang2pix(_FINE, sky.lon.deg, sky.lat.deg, nest=True, lonlat=True)
        ratio = _FINE // self.nside
        x, y, face = hp.pix2xyf(_FINE, fine, nest=True)
        pixel = hp.xyf2pix(self.nside, x // ratio, y // ratio, face, nest=True)
        return pixel, (x % ratio + 0.5) / ratio - 0.5, (y % ratio + 0.5) / ratio - 0.5

    def positions(self, pixels, dx=0.0, dy=0.0):
        """`~astropy.coordinates.SkyCoord` of points given relative to pixel centres, in pixels."""
        ratio = _FINE // self.nside
        x, y, face = hp.pix2xyf(self.nside, pixels, nest=True)
        fine_x, fine_y = (np.floor((c + d + 0.5) * ratio).astype(np.int64) for c, d in ((x, dx), (y, dy)))
        face, fine_x, fine_y, exists = _inside(face, fine_x, fine_y, _FINE)
        # the sliver beyond a three-face corner does not exist: stay at the pixel's centre
        fine = hp.xyf2pix(_FINE, *(np.clip(c, 0, _FINE - 1) for c in (fine_x, fine_y)), face, nest=True)
        lon, lat = hp.pix2ang(_FINE, fine, nest=True, lonlat=True)
        lon0, lat0 = hp.pix2ang(self.nside, pixels, nest=True, lonlat=True)
        return SkyCoord(np.where(exists, lon, lon0), np.where(exists, lat, lat0), unit=u.deg, frame=self.frame)


class ImageLattice:
    """
    The pixels of an image with a celestial WCS.

    Parameters
    ----------
    shape : tuple of int
        (height, width), both multiples of 4: pad first.
    wcs : `~astropy.wcs.WCS`
        Celestial WCS of the image.
    factor : float
        Pixels of the WCS along one lattice pixel, a power of two.
    """

    core = CORE

    def __init__(self, shape, wcs, factor=1):
        self.shape, self.wcs, self.factor = tuple(shape), wcs, factor

    @property
    def pixel_size(self):
        """Side of a pixel, in radians (square root of the area at the reference pixel)."""
        return np.deg2rad(np.sqrt(proj_plane_pixel_area(self.wcs))) * self.factor

    @property
    def frame(self):
        """Astropy frame of the image's coordinates."""
        return wcs_to_celestial_frame(self.wcs)

    @property
    def _tiles(self):
        return tuple(-(-n // self.core) for n in self.shape)

    @property
    def n_patches(self):
        """Number of patches that tile the image."""
        return int(np.prod(self._tiles))

    @property
    def coords(self):
        """Pixel centres: a `~astropy.coordinates.SkyCoord` (height, width)."""
        y, x = np.indices(self.shape)
        return self._to_sky(x, y)

    @property
    def coarser(self):
        """The lattice with pixels twice as large."""
        lattice = ImageLattice(tuple(n // 2 for n in self.shape), self.wcs, self.factor * 2)
        lattice.core = self.core // 2
        return lattice

    @property
    def finer(self):
        """The lattice with pixels half as large."""
        return ImageLattice(tuple(n * 2 for n in self.shape), self.wcs, self.factor / 2)

    def recut(self):
        """The same pixels in patches of full size."""
        return ImageLattice(self.shape, self.wcs, self.factor)

    def _blocks(self, values):
        height, width = self.shape
        return values.reshape(*values.shape[:-2], height // 2, 2, width // 2, 2)

    def sum_children(self, values):
        """Sums of 2 x 2 pixels, (..., h, w) -> (..., h / 2, w / 2)."""
        return self._blocks(values).sum(axis=(-3, -1))

    def max_children(self, values):
        """Largest of 2 x 2 pixels, (..., h, w) -> (..., h / 2, w / 2)."""
        return self._blocks(values).max(axis=(-3, -1))

    def interleave(self, quarters):
        """Four maps of the quarters of each pixel, (4, h, w), as one map of the finer lattice, (2 h, 2 w)."""
        height, width = self.shape
        return quarters.reshape(2, 2, height, width).transpose(2, 0, 3, 1).reshape(2 * height, 2 * width)

    def spread(self, values):
        """Copy every value to its four children, (..., h / 2, w / 2) -> (..., h, w)."""
        return np.repeat(np.repeat(values, 2, axis=-2), 2, axis=-1)

    def _corners(self, patches):
        row, column = np.divmod(np.atleast_1d(patches), self._tiles[1])
        return row * self.core, column * self.core

    def cut(self, values, patches, halo):
        """Patches of maps (n_map, h, w) -> (n, n_map, side, side); 0 outside of the image."""
        side = self.core + 2 * halo
        out = np.zeros((np.size(patches), len(values), side, side), values.dtype)
        for patch, top, left in zip(out, *self._corners(patches), strict=True):
            rows = slice(max(0, top - halo), min(self.shape[0], top + self.core + halo))
            columns = slice(max(0, left - halo), min(self.shape[1], left + self.core + halo))
            at = (
                slice(rows.start - top + halo, rows.stop - top + halo),
                slice(columns.start - left + halo, columns.stop - left + halo),
            )
            patch[:, at[0], at[1]] = values[:, rows, columns]
        return out

    def assemble(self, cores, patches, out):
        """Write the cores (n, n_map, core, core) of ``patches`` into the maps ``out`` (n_map, h, w)."""
        for core, top, left in zip(cores, *self._corners(patches), strict=True):
            target = out[:, top : top + self.core, left : left + self.core]
            target[...] = core[:, : target.shape[1], : target.shape[2]]

    def cells(self):
        """Number of the block of up to 16 x 16 pixels that holds each pixel, (height * width,)."""
        y, x = (c.ravel() // 16 for c in np.indices(self.shape))
        return y * (x.max() + 1) + x

    def around(self, pixels, reach):
        """Pixels within ``reach`` steps of each pixel, as `NestedLattice.around`; -1 beyond the border."""
        dy, dx = (d.ravel() for d in np.mgrid[-reach : reach + 1, -reach : reach + 1])
        y, x = (c[:, None] for c in np.unravel_index(pixels, self.shape))
        x, y = x + dx, y + dy
        exists = (y >= 0) & (y < self.shape[0]) & (x >= 0) & (x < self.shape[1])
        return np.where(exists, y * self.shape[1] + x, -1), dx, dy, exists

    def _to_sky(self, x, y):
        # a lattice pixel covers `factor` WCS pixels, whose centre is half a block off its first pixel
        shift = (self.factor - 1) / 2
        return pixel_to_skycoord(x * self.factor + shift, y * self.factor + shift, self.wcs)

    def image_xy(self, pixels, dx=0.0, dy=0.0):
        """WCS pixel coordinates (0-based centres) of points given relative to lattice pixel centres."""
        y, x = np.unravel_index(pixels, self.shape)
        shift = (self.factor - 1) / 2
        return (x + dx) * self.factor + shift, (y + dy) * self.factor + shift

    def offsets(self, coords):
        """Pixel (flat index; -1 outside of the image) of each position, and the position relative to its centre."""
        shift = (self.factor - 1) / 2
        x, y = ((c - shift) / self.factor for c in skycoord_to_pixel(coords, self.wcs))
        # positions that the projection cannot show come back as NaN: outside, like those beyond the border
        x, y = np.nan_to_num(x, nan=-9.0), np.nan_to_num(y, nan=-9.0)
        column, row = np.rint(x).astype(int), np.rint(y).astype(int)
        exists = (row >= 0) & (row < self.shape[0]) & (column >= 0) & (column < self.shape[1])
        return np.where(exists, row * self.shape[1] + column, -1), x - column, y - row

    def positions(self, pixels, dx=0.0, dy=0.0):
        """`~astropy.coordinates.SkyCoord` of points given relative to pixel centres, in pixels."""
        x, y = self.image_xy(pixels, dx, dy)
        return pixel_to_skycoord(x, y, self.wcs)
