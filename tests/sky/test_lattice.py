"""The square lattices behind sphere and image: every pixel once, every edge crossed rightly."""

import astropy.units as u
import healpy as hp
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolearn.sky.lattice import ImageLattice, NestedLattice

# healpy orders neighbours SW, W, NW, N, NE, E, SE, S; x points NE, y points NW
STEPS = [(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)]


def small_patches(nside, core):
    lattice = NestedLattice(nside)
    lattice.core = core
    return lattice


def image_lattice(shape=(80, 112), scale=0.1, projection="CAR"):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"GLON-{projection}", f"GLAT-{projection}"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [30, 0], [shape[1] / 2, shape[0] / 2], [-scale, scale]
    return ImageLattice(shape, wcs)


@pytest.mark.parametrize("nside", [8, 32, 64])
def test_patches_know_their_neighbours_as_healpy_does(nside):
    lattice = small_patches(nside, 8)
    pixels = lattice.patch_pixels(np.arange(lattice.n_patches), 1)
    neighbours = hp.get_all_neighbours(nside, pixels[:, 1:-1, 1:-1].ravel(), nest=True)
    for (dx, dy), expected in zip(STEPS, neighbours, strict=True):
        here = pixels[:, 1 + dy : 9 + dy, 1 + dx : 9 + dx].ravel()
        np.testing.assert_array_equal(here, expected)


@pytest.mark.parametrize("nside", [32, 128])
def test_each_patch_owns_its_pixels_alone(nside):
    lattice = NestedLattice(nside)
    pixels = lattice.patch_pixels(np.arange(lattice.n_patches), 0)
    np.testing.assert_array_equal(np.sort(pixels.ravel()), np.arange(hp.nside2npix(nside)))


def test_halos_hold_every_pixel_near_the_core():
    lattice = small_patches(32, 4)
    pixels = lattice.patch_pixels(np.arange(lattice.n_patches), 8)
    for patch in (0, 100, 383, 767):  # poles, faces' edges and corners among them
        core = pixels[patch, 8:-8, 8:-8].ravel()
        near = {
            p for c in core for p in hp.query_disc(32, hp.pix2vec(32, c, nest=True), 5 * hp.nside2resol(32), nest=True)
        }
        assert near <= set(pixels[patch].ravel())


def test_cut_and_assemble_are_inverse():
    lattice = NestedLattice(128)
    values = np.random.default_rng(0).normal(size=(2, *lattice.shape)).astype(np.float32)
    patches = np.arange(lattice.n_patches)
    out = np.zeros_like(values)
    lattice.assemble(lattice.cut(values, patches, 3)[..., 3:-3, 3:-3], patches, out)
    np.testing.assert_array_equal(out, values)


@pytest.mark.parametrize("shape", [(80, 112), (64, 64), (8, 200)])
def test_image_cut_and_assemble_are_inverse(shape):
    lattice = image_lattice(shape)
    values = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    patches = np.arange(lattice.n_patches)
    out = np.zeros_like(values)
    lattice.assemble(lattice.cut(values, patches, 5)[..., 5:-5, 5:-5], patches, out)
    np.testing.assert_array_equal(out, values)


@pytest.mark.parametrize("lattice", [NestedLattice(64), image_lattice()], ids=["sphere", "image"])
def test_coarser_pixels_hold_the_same_photons(lattice):
    counts = np.random.default_rng(1).poisson(2.0, (3, *lattice.shape))
    coarse = lattice.sum_children(counts)
    assert coarse.shape == (3, *lattice.coarser.shape)
    assert coarse.sum() == counts.sum()
    np.testing.assert_array_equal(lattice.sum_children(lattice.spread(coarse)), 4 * coarse)
    assert lattice.coarser.n_patches == lattice.n_patches


def test_coarser_nested_pixels_are_healpix_pixels():
    lattice = NestedLattice(64)
    np.testing.assert_allclose(lattice.sum_children(np.ones(lattice.shape)), 4)
    numbered = lattice.coarser.spread(np.arange(lattice.coarser.shape[0]))
    children = hp.pix2vec(64, np.arange(lattice.shape[0]), nest=True)
    np.testing.assert_array_equal(numbered, hp.vec2pix(32, *children, nest=True))


@settings(max_examples=60, deadline=None)
@given(lon=st.floats(0, 360), lat=st.floats(-90, 90))
def test_positions_go_round(lon, lat):
    lattice = NestedLattice(64)
    coord = SkyCoord([lon], [lat], unit=u.deg, frame="galactic")
    pixel, dx, dy = lattice.offsets(coord)
    assert pixel == hp.ang2pix(64, lon, lat, nest=True, lonlat=True)
    assert abs(dx) <= 0.5 and abs(dy) <= 0.5
    assert lattice.positions(pixel, dx, dy).separation(coord) < 1 * u.mas


def test_positions_cross_the_edges_of_base_faces():
    lattice = NestedLattice(16)
    pixels = np.arange(lattice.shape[0])
    for dx, dy in ((0.9, 0.0), (-0.9, 0.3), (0.0, 1.2), (0.6, -1.1)):
        moved = lattice.positions(pixels, dx, dy)
        step = moved.separation(lattice.positions(pixels)).rad / lattice.pixel_size
        # a step is as long as the pixel's shape makes it, never a jump to another part of the sphere
        assert step.max() < 2.2


@pytest.mark.parametrize("factor", [1, 2])
def test_image_positions_go_round(factor):
    lattice = image_lattice(projection="TAN")
    lattice = lattice if factor == 1 else lattice.coarser
    pixel = np.array([3, 200, 1000])
    coord = lattice.positions(pixel, 0.3, -0.2)
    back, dx, dy = lattice.offsets(coord)
    np.testing.assert_array_equal(back, pixel)
    np.testing.assert_allclose(dx, 0.3, atol=1e-6)
    np.testing.assert_allclose(dy, -0.2, atol=1e-6)


def test_positions_outside_an_image_have_no_pixel():
    lattice = image_lattice(projection="TAN")
    pixel, _, _ = lattice.offsets(SkyCoord([210, 30, 60], [0, 0, 0], unit=u.deg, frame="galactic"))
    np.testing.assert_array_equal(pixel >= 0, [False, True, False])


def test_around_is_the_patch_around_a_pixel():
    lattice = small_patches(32, 8)
    table = lattice.patch_pixels(np.arange(lattice.n_patches), 2)
    centres = table[:, 4, 4]
    around, dx, dy, same = lattice.around(centres, 2)
    np.testing.assert_array_equal(around.reshape(-1, 5, 5), table[:, 2:7, 2:7])
    assert same.all() and dx[0] == dy[0] == -2


def test_cells_are_compact():
    cells = NestedLattice(64).cells()
    assert len(np.unique(cells)) == 12 * 16 and np.all(np.bincount(cells) == 256)
    cells = image_lattice((48, 80)).cells()
    assert len(np.unique(cells)) == 15
