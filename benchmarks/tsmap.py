"""The Poisson maximum-likelihood test-statistic map, the gamma-ray astronomer's standard source finder, in plain numpy.

At every trial position a point source of fixed spectrum is added to the background and its brightness fitted: the same
mathematics as gammapy's ``TSMapEstimator`` (Stewart 2009, A&A 495, 989). It is a peer that the learned finder has to
beat, so it is given all that helps it: the exact PSF of every energy bin averaged over the pixels; the true distance
of each pixel from the trial position, so that no map is resampled and every photon counts once; trial positions finer
than the pixels; a paraboloid through each peak.
"""

from functools import partial

import astropy.units as u
import healpy as hp
import numpy as np
from astropy.table import QTable

from astrolearn.core.parallel import map_batches
from astrolearn.sky.lattice import NestedLattice
from astrolearn.sources.localize import merge

__all__ = ["find_peaks", "find_sources", "power_law_counts", "ts_map"]

INDEX = 2.2  # of the power law that is fitted
# Chosen on simulated skies, see docs/benchmarks/choices.rst
CONTAINMENT = 0.9  # share of the photons of a bin that the fit's window holds
MIN_DISTANCE = 1.0  # of two peaks, in 68 % radii of the sharpest bin
FLOOR = 1.0  # sqrt(TS) of the faintest peak that is reported

_TOLERANCE = 0.005  # relative, of the fitted amplitude
_MAX_STEPS = 50
_TABLE = 8192  # entries of the PSF table in the squared distance
_ROWS = 8  # lattice rows fitted together: what fits into the processor's cache


def power_law_counts(edges, exposure, index=INDEX):
    """
    Photons of a power-law source in each bin, for a flux of 1 / (cm2 s) above 1 GeV.

    Parameters
    ----------
    edges : `~astropy.units.Quantity`, shape (n_energy + 1,)
    exposure : array, shape (n_energy, ...)
        In cm2 s.
    index : float

    Returns
    -------
    array, shape (n_energy, ...)
    """
    integral = -np.diff(edges.to_value(u.GeV) ** (1 - index))  # over that above 1 GeV, which is 1
    return integral.reshape(-1, *[1] * (np.ndim(exposure) - 1)) * exposure


def ts_map(observation, *, index=INDEX, containment=CONTAINMENT, finer=True, n_jobs=None):
    """
    Test statistic and fitted counts of a source at every pixel, or at the four quarters of each.

    Parameters
    ----------
    observation : Observation
        With its background fitted.
    index : float
        Spectral index of the source.
    containment : float
        Share of the photons within the window of the fit.
    finer : bool
        Trial positions on pixels half as large as those of the map (HEALPix only; images keep theirs).
    n_jobs : int, optional
        Processes.

    Returns
    -------
    lattice : NestedLattice or ImageLattice
        Of the trial positions.
    sqrt_ts, counts : arrays, shape lattice.shape
        0 where no photons are in excess, or nothing was observed.
    """
    lattice = observation.lattice
    finer = finer and isinstance(lattice, NestedLattice)
    trials = NestedLattice(lattice.nside * 2, lattice.frame) if finer else lattice
    if finer:
        trials.core = lattice.core * 2  # the same patches
    windows = _windows(observation, containment)
    used = [p for p in range(lattice.n_patches) if lattice.cut(observation.valid[None].astype(np.uint8), [p], 0).any()]
    patches = _patches(observation, trials, max(w[0] for w in windows), index, used)
    out = np.zeros((2, *trials.shape), np.float32)
    for patch, result in zip(used, map_batches(partial(_fit_patch, windows), patches, n_jobs), strict=True):
        trials.assemble(result[None], [patch], out)
    return trials, np.sqrt(out[0]), out[1]


def _windows(observation, containment):
    """Per bin: half width in pixels, the steps (n, 2) inside a circle, PSF table, and its steps per squared chord."""
    pixel, windows = observation.lattice.pixel_size, []
    for i, radius in enumerate(observation.pixel_psf.containment_radius(containment).to_value(u.rad)):
        # HEALPix pixels are up to 1.6 times longer than wide: look that far, cut at the true distance
        reach = int(np.ceil(1.3 * max(radius, pixel) / pixel))
        dy, dx = (d.ravel() for d in np.mgrid[-reach : reach + 1, -reach : reach + 1])
        inside = np.hypot(dy, dx) <= reach + 0.5
        limit2 = max(radius, pixel) ** 2
        chord = np.sqrt((np.arange(_TABLE) + 0.5) / _TABLE * limit2)
        table = np.append(observation.pixel_psf.evaluate(chord, i) * pixel**2, 0).astype(np.float32)
        windows.append((reach, dy[inside], dx[inside], table, np.float32(_TABLE / limit2)))
    return windows


def _patches(observation, trials, halo, index, numbers):
    """Generate, per patch: counts and background, pixel vectors, trial vectors, share of the photons in each bin."""
    lattice = observation.lattice
    background = np.where(observation.valid, np.maximum(observation.background, 1e-9), 0).astype(np.float32)
    for number in numbers:
        exposure = np.ones(observation.n_energy)
        if observation.exposure is not None:
            exposure = lattice.cut(observation.exposure, [number], 0)[0].mean(axis=(1, 2))
        share = power_law_counts(observation.energy_edges, exposure, index)
        yield (
            lattice.cut(observation.counts, [number], halo)[0], lattice.cut(background, [number], halo)[0],
            _vectors(lattice, number, halo), _vectors(trials, number, 0), (share / share.sum()).astype(np.float32),
        )  # fmt: skip


def _vectors(lattice, patch, halo):
    """Unit vectors (3, side, side) of the pixels of a patch."""
    if isinstance(lattice, NestedLattice):
        pixels = lattice.patch_pixels(patch, halo)[0]
        return np.array(hp.pix2vec(lattice.nside, np.maximum(pixels, 0), nest=True), np.float32)
    return lattice.cut(lattice.coords.cartesian.xyz.value.astype(np.float32), [patch], halo)[0]


def _fit_patch(windows, patch):
    """TS and counts at the trial positions of one patch: (2, core, core)."""
    counts, background, vectors, at, share = patch
    halo, core = max(w[0] for w in windows), at.shape[-1]
    side = counts.shape[-1]
    scale = core // (side - 2 * halo)
    counts, background, vectors = (cube.reshape(len(cube), -1) for cube in (counts, background, vectors))
    rows, columns = np.indices((core, core)) // scale + halo
    result = np.zeros((2, core, core), np.float32)
    for first in range(0, core, _ROWS):
        part = slice(first, first + _ROWS)
        centre = (rows[part] * side + columns[part]).ravel()
        position = at[:, part].reshape(3, -1)
        use = (background[:, centre] > 0).any(axis=0)
        if not use.any():
            continue
        centre, position = centre[use], position[:, use]
        n, b, k = [], [], []
        for i, (_, dy, dx, table, per_chord2) in enumerate(windows):
            pixel = centre[:, None] + (dy * side + dx)
            chord2 = sum((v[pixel] - p[:, None]) ** 2 for v, p in zip(vectors, position, strict=True))
            weight = table[np.minimum(chord2 * per_chord2, _TABLE).astype(np.int32)] * share[i]
            n.append(counts[i][pixel])
            b.append(background[i][pixel])
            k.append(np.where(b[-1] > 0, weight, 0))
        ts, amplitude = fit_amplitude(*(np.concatenate(a, axis=1) for a in (n, b, k)))
        result[:, part].reshape(2, -1)[:, use] = ts, amplitude
    return result


def fit_amplitude(n, b, k):
    r"""
    Maximise the Poisson likelihood of :math:`n` under :math:`b + s k` in :math:`s \ge 0`, row by row.

    Newton's method on the derivative :math:`\sum n k / (b + s k) - \sum k`, which is convex and falls, so that from
    below it converges without overshooting; it starts at gammapy's lower bound, :math:`\max (n / \sum k - b / k)`.

    Parameters
    ----------
    n, b, k : arrays of float32, shape (n_fit, n_pixel)
        Counts, background and the source's share of photons; pixels with b = 0 take no part and need k = 0.

    Returns
    -------
    ts, s : arrays, shape (n_fit,)
        Twice the gain in log likelihood over s = 0, and the amplitude.
    """
    n, b = np.where(k > 0, n, 0), np.where(k > 0, b, 1)
    whole = k.sum(axis=1)
    ratio = k / b
    s = np.zeros(len(n), np.float32)
    rising = np.flatnonzero((n * ratio).sum(axis=1) > whole)
    nr, total = n[rising], whole[rising]
    r = ratio[rising]
    bound = np.where((nr > 0) & (r > 0), nr / total[:, None] - 1 / np.maximum(r, 1e-30), 0).max(axis=1)
    now = np.maximum(bound, 0).astype(np.float32)
    active = np.arange(len(rising))
    for _ in range(_MAX_STEPS):
        share = r / (1 + now[active, None] * r)
        gain = nr * share
        step = (gain.sum(axis=1) - total) / np.einsum("ij,ij->i", gain, share)
        now[active] += step
        left = step > _TOLERANCE * now[active]
        if not left.any():
            break
        active, nr, r, total = active[left], nr[left], r[left], total[left]
    s[rising] = now
    gain = n[rising] * np.log1p(now[:, None] * ratio[rising])
    ts = np.zeros(len(n), np.float32)
    ts[rising] = np.maximum(2 * (gain.sum(axis=1) - now * whole[rising]), 0)
    return ts, s


def find_sources(observation, *, min_distance=MIN_DISTANCE, floor=FLOOR, **options):
    """
    Peaks of the test-statistic map.

    Parameters
    ----------
    observation : Observation
        With its background fitted.
    min_distance, floor
        Of `find_peaks`.
    **options
        Of `ts_map`.

    Returns
    -------
    QTable
        As `find_peaks`.
    """
    return find_peaks(observation, *ts_map(observation, **options), min_distance=min_distance, floor=floor)


def find_peaks(observation, lattice, sqrt_ts, counts, *, min_distance=MIN_DISTANCE, floor=FLOOR):
    """
    Catalogue of a test-statistic map.

    Parameters
    ----------
    observation : Observation
    lattice, sqrt_ts, counts
        From `ts_map`.
    min_distance : float
        Of two peaks, in 68 % radii of the sharpest PSF.
    floor : float
        Smallest square root of TS.

    Returns
    -------
    QTable
        ``coord``, ``score`` (square root of TS), ``counts``, and ``flux`` above 1 GeV where the exposure is known.
    """
    flat = sqrt_ts.ravel()
    above = np.flatnonzero(flat > floor)
    around, dx, dy, _ = lattice.around(above, 1)
    near = np.where(around >= 0, flat[around], 0)
    peak = (near <= flat[above, None]).all(axis=1)
    pixel, near = above[peak], near[peak]
    coords = lattice.positions(pixel, *_vertex(near, dx, dy))
    kept = merge(coords, flat[pixel], min_distance * observation.pixel_psf.containment_radius().to_value(u.rad).min())
    pixel, coords = pixel[kept], coords[kept]
    table = QTable({"coord": coords, "score": flat[pixel].astype(float), "counts": counts.ravel()[pixel]})
    if observation.exposure is not None:
        at = observation.lattice.offsets(coords)[0]
        exposure = observation.exposure.reshape(observation.n_energy, -1)[:, at]
        per_flux = power_law_counts(observation.energy_edges, exposure).sum(axis=0)
        table["flux"] = table["counts"] / per_flux / (u.cm**2 * u.s)
    return table


def _vertex(values, dx, dy):
    """Vertex of the paraboloid through 3 x 3 values (n, 9), at most half a pixel from the middle."""
    design = np.stack([np.ones(9), dx, dy, dx**2, dy**2, dx * dy], axis=1)
    _, bx, by, cxx, cyy, cxy = np.linalg.lstsq(design, values.T.astype(float), rcond=None)[0]
    determinant = 4 * cxx * cyy - cxy**2
    peaked = (determinant > 0) & (cxx < 0)
    safe = np.where(peaked, determinant, 1)
    x, y = (cxy * by - 2 * cyy * bx) / safe, (cxy * bx - 2 * cxx * by) / safe
    return tuple(np.where(peaked, np.clip(v, -0.5, 0.5), 0) for v in (x, y))
