"""Peaks and positions on maps that are known in closed form."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from astrolearn.sky.lattice import NestedLattice
from astrolearn.sources.localize import LOCALIZERS, find_peaks, merge

LATTICE = NestedLattice(64)


def blobs(coords, width=1.2):
    """Probability and offset maps of sources that are perfectly known."""
    source = np.zeros(LATTICE.shape, np.float32)
    offset = np.zeros((2, *LATTICE.shape), np.float32)
    pixel, dx, dy = LATTICE.offsets(coords)
    around, step_x, step_y, _ = LATTICE.around(pixel, 5)
    centres = LATTICE.positions(np.maximum(around, 0).ravel()).reshape(around.shape)
    distance = np.where(around >= 0, centres.separation(coords[:, None]).rad / LATTICE.pixel_size, np.inf)
    order = np.argsort(-distance, axis=None)
    order = order[np.isfinite(distance.ravel()[order])]
    rows = around.ravel()[order]
    source[rows] = np.maximum(source[rows], 0.95 * np.exp(-0.5 * (distance.ravel()[order] / width) ** 2))
    offset[0, rows] = (dx[:, None] - step_x).ravel()[order]
    offset[1, rows] = (dy[:, None] - step_y).ravel()[order]
    return {"source": source, "dx": offset[0], "dy": offset[1]}


def scattered(n=60, seed=0):
    rng = np.random.default_rng(seed)
    return SkyCoord(rng.uniform(0, 360, n), np.rad2deg(np.arcsin(rng.uniform(-1, 1, n))), unit="deg", frame="galactic")


@pytest.mark.parametrize(("localizer", "tolerance"), [("offset", 0.05), ("log", 0.35), ("kmeans", 0.35)])
def test_isolated_sources(localizer, tolerance):
    coords = scattered(30)
    apart = np.array([c.separation(coords).deg[np.arange(30) != i].min() > 8 for i, c in enumerate(coords)])
    coords = coords[apart]
    peaks = find_peaks(LATTICE, blobs(coords), localizer)
    found = LATTICE.positions(peaks.pixel, peaks.dx, peaks.dy)
    assert len(found) == len(coords)
    assert np.median(coords.match_to_catalog_sky(found)[1].rad) < tolerance * LATTICE.pixel_size
    assert coords.match_to_catalog_sky(found)[1].rad.max() < 1.0 * LATTICE.pixel_size


def test_sources_on_every_kind_of_border():
    """Poles, edges and corners of base faces, edges of patches: each source found once, none lost."""
    lat_corner = np.rad2deg(np.arcsin(2 / 3))
    lon = [0, 90, 0, 45, 90, 30, 0, 0, 45, 180]
    lat = [90, -90, lat_corner, lat_corner, -lat_corner, 60, 0, 10, 0, 41]
    centres = SkyCoord(lon, lat, unit="deg", frame="galactic")
    peaks = find_peaks(LATTICE, blobs(centres), "offset")
    found = LATTICE.positions(peaks.pixel, peaks.dx, peaks.dy)
    kept = merge(found, np.ones(len(found)), LATTICE.pixel_size)
    assert len(kept) == len(centres)
    # where axes turn from face to face the made-up offsets may point astray, by about a pixel
    assert centres.match_to_catalog_sky(found[kept])[1].rad.max() < 1.2 * LATTICE.pixel_size


@pytest.mark.parametrize("localizer", sorted(LOCALIZERS))
def test_an_empty_map_has_no_peaks(localizer):
    empty = dict.fromkeys(("source", "dx", "dy"), np.zeros(LATTICE.shape, np.float32))
    assert len(find_peaks(LATTICE, empty, localizer)) == 0


def test_kmeans_splits_blends():
    pair = SkyCoord([50, 55.0], [20, 20], unit="deg", frame="galactic")
    peaks = find_peaks(LATTICE, blobs(pair), "kmeans")
    found = LATTICE.positions(peaks.pixel, peaks.dx, peaks.dy)
    assert len(found) == 2
    assert pair.match_to_catalog_sky(found)[1].rad.max() < 0.7 * LATTICE.pixel_size


def test_merge_keeps_the_better_of_two():
    coords = SkyCoord([10, 10.3, 50, 10.6], [0, 0, 0, 0], unit="deg", frame="galactic")
    kept = merge(coords, np.array([0.5, 0.9, 0.1, 0.6]), np.deg2rad(0.4))
    np.testing.assert_array_equal(kept, [1, 2])
    assert len(merge(coords[:0], np.zeros(0), 0.1)) == 0
