"""From probability maps to positions: three ways, one answer.

``"offset"`` takes the peaks of the map and moves each by the offset that the network gives for its pixel. ``"log"``
fits a paraboloid to the smoothed map (Laplacian of Gaussian, Perez-Romero et al. 2025, arXiv 2509.25128) around each
peak. ``"kmeans"`` is the published clustering of AutoSourceID (Panes et al. 2021, A&A 656, A62): pixels above a
threshold are grouped, and the number of groups is the one of highest penalised intensity; here it is done per connected
island of pixels instead of per patch, which gives the same groups in a fraction of the time.
"""

from dataclasses import dataclass

import numpy as np
from astropy.coordinates import SkyCoord
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from sklearn.cluster import KMeans

__all__ = ["LOCALIZERS", "MERGE", "Peaks", "find_peaks", "merge", "merge_points", "near_a_former"]

MERGE = 1.0
"""Pixels within which two detections are one."""

_FLOOR = 0.02  # peaks of the source map below this are noise
_KMEANS_THRESHOLD = 0.2  # Panes et al. 2021
_PENALTY = -10.0  # what an already counted pixel adds to the intensity, ibid.
_MAX_GROUPS = 49  # ibid.
_BOX = 2.0  # pixels to each side of a centre whose score counts for it, ibid.


@dataclass
class Peaks:
    """Candidate positions: flat pixel index and offset from its centre in pixels, (n,) each."""

    pixel: np.ndarray
    dx: np.ndarray
    dy: np.ndarray

    def __len__(self):
        return len(self.pixel)

    def __getitem__(self, rows):
        return Peaks(self.pixel[rows], self.dx[rows], self.dy[rows])


def _local_maxima(lattice, values, floor):
    """Flat indices of pixels above ``floor`` that no touching pixel exceeds; of equal neighbours the first counts."""
    flat = values.ravel()
    above = np.flatnonzero(flat > floor)
    around = lattice.around(above, 1)[0]
    value = np.where(around >= 0, flat[around], -np.inf)
    beaten = (value > flat[above, None]) | ((value == flat[above, None]) & (around < above[:, None]))
    return above[~beaten.any(axis=1)]


def by_offset(lattice, maps):
    """Peaks of the source probability, moved by the network's own offsets."""
    pixel = _local_maxima(lattice, maps["source"], _FLOOR)
    return Peaks(pixel, *(np.clip(maps[axis].ravel()[pixel], -1, 1) for axis in ("dx", "dy")))


def by_log(lattice, maps):
    """Peaks of the source probability's Laplacian, with a paraboloid through the nine pixels around each."""
    source = maps["source"].ravel()
    above = np.flatnonzero(source > _FLOOR / 2)
    around, step_x, step_y, _ = lattice.around(above, 2)
    value = np.where(around >= 0, source[around], 0)
    radius2 = (step_x**2 + step_y**2) / 2 / 0.9**2  # a blob of one pixel radius has its extremum at sigma = 0.7 to 1
    kernel = (1 - radius2) * np.exp(-radius2)
    kernel -= kernel.mean()
    response = np.zeros(lattice.shape, np.float32)
    response.ravel()[above] = value @ kernel
    pixel = _local_maxima(lattice, response, _FLOOR)
    pixel = pixel[source[pixel] > _FLOOR]
    near, step_x, step_y, _ = lattice.around(pixel, 1)
    height = np.where(near >= 0, response.ravel()[near], 0)
    design = np.stack([np.ones(9), step_x, step_y, step_x**2, step_y**2, step_x * step_y], axis=1)
    _, bx, by, cxx, cyy, cxy = np.linalg.lstsq(design, height.T, rcond=None)[0]
    determinant = 4 * cxx * cyy - cxy**2
    peaked = (determinant > 0) & (cxx < 0)
    safe = np.where(peaked, determinant, 1)
    dx = np.where(peaked, (cxy * by - 2 * cyy * bx) / safe, 0)
    dy = np.where(peaked, (cxy * bx - 2 * cxx * by) / safe, 0)
    return Peaks(pixel, np.clip(dx, -1, 1), np.clip(dy, -1, 1))


def by_kmeans(lattice, maps):
    """Centres of the k-means groups of pixels above 0.2, the number of groups chosen as published."""
    source = maps["source"].ravel()
    above = np.flatnonzero(source > _KMEANS_THRESHOLD)
    if not len(above):
        return Peaks(above, np.zeros(0), np.zeros(0))
    row = np.full(source.size, -1)
    row[above] = np.arange(len(above))
    around = lattice.around(above, 1)[0]
    linked = np.where(around >= 0, row[around], -1)
    i, j = np.nonzero(linked >= 0)
    graph = coo_array((np.ones(len(i)), (i, linked[i, j])), shape=(len(above),) * 2)
    n_islands, island = connected_components(graph, directed=False)
    vectors = _unit_vectors(lattice.positions(above))
    centres = []
    for pixels in np.split(np.argsort(island, kind="stable"), np.cumsum(np.bincount(island, minlength=n_islands))[:-1]):
        middle = vectors[pixels].mean(axis=0)
        middle /= np.linalg.norm(middle)
        plane = np.linalg.svd(middle[None])[2][1:]  # two directions at right angles to the island's middle
        xy = vectors[pixels] @ plane.T / lattice.pixel_size
        best = _choose_groups(xy, source[above[pixels]])
        centres.append(middle + best @ plane * lattice.pixel_size)
    return Peaks(*lattice.offsets(_to_coords(np.concatenate(centres), lattice)))


def _choose_groups(xy, score):
    """Centres (k, 2) of the clustering of highest penalised intensity."""
    best, best_intensity = None, -np.inf
    for k in range(1, min(_MAX_GROUPS, max(1, len(xy) // 2)) + 1):
        if k == 1:
            centres = np.average(xy, axis=0, weights=score)[None]
        else:
            centres = KMeans(k, n_init=1, random_state=0).fit(xy, sample_weight=score).cluster_centers_
        left, intensity = score.astype(float).copy(), 0.0
        for centre in centres:
            box = np.abs(xy - centre).max(axis=1) <= _BOX
            intensity += left[box].sum()
            left[box] = _PENALTY
        if intensity > best_intensity:
            best, best_intensity = centres, intensity
        elif intensity < 0:
            break  # ever more boxes overlap
    return best


def _unit_vectors(coords):
    return coords.cartesian.xyz.value.T


def _to_coords(vectors, lattice):
    directions = SkyCoord(*vectors.T, representation_type="cartesian", frame=lattice.frame)
    return SkyCoord(directions.represent_as("unitspherical"), frame=lattice.frame)


LOCALIZERS = {"offset": by_offset, "log": by_log, "kmeans": by_kmeans}


def find_peaks(lattice, maps, localizer):
    """
    Candidate positions.

    Parameters
    ----------
    lattice : NestedLattice or ImageLattice
    maps : dict of arrays, shape lattice.shape
        ``source`` (probability), ``dx``, ``dy``.
    localizer : str
        A key of `LOCALIZERS`.

    Returns
    -------
    Peaks
    """
    return LOCALIZERS[localizer](lattice, maps)


def merge(coords, score, radius):
    """
    Rows to keep so that no two positions are closer than ``radius`` (radians): the one of higher score stays.

    Returns
    -------
    array of int
        Ordered by falling score.
    """
    return merge_points(_unit_vectors(coords), score, _chord(radius))


def merge_points(points, score, distance):
    """
    Rows to keep so that no two points are closer than a distance: the one of higher score stays.

    Parameters
    ----------
    points : array, shape (n, n_dim)
    score : array, shape (n,)
    distance : float

    Returns
    -------
    array of int
        Ordered by falling score.
    """
    order = np.argsort(-score, kind="stable")
    kept = np.ones(len(order), bool)
    for first, second in _close_pairs(points[order], distance):
        if kept[first]:
            kept[second] = False
    return order[kept]


def near_a_former(coords, radius):
    """Whether each position lies within ``radius`` (radians) of one that comes before it."""
    near = np.zeros(len(coords), bool)
    near[_close_pairs(_unit_vectors(coords), _chord(radius))[:, 1]] = True
    return near


def _chord(angle):
    """Distance of unit vectors that are an angle (radians) apart."""
    return 2 * np.sin(angle / 2)


def _close_pairs(points, distance):
    """Pairs (n, 2) of rows closer than ``distance``, the lower row first, in order."""
    if len(points) < 2:
        return np.zeros((0, 2), int)
    pairs = cKDTree(points).query_pairs(distance, output_type="ndarray")
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
