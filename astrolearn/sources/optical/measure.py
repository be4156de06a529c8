"""Where exactly stars are and how bright, with their neighbours taken off.

A star's light is compared with a round Gaussian of the image's own stellar width. Fluxes of stars that overlap are
solved for together; then every star is looked at alone, the Gaussians of all others subtracted. Positions are windowed
centroids, the XWIN of SExtractor (Bertin & Arnouts 1996, A&AS 117, 393; SExtractor manual, section "Windowed positional
parameters"), which are nearly as precise as a fit of the true PSF and need not know it.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, eye_array
from scipy.sparse.linalg import cg
from scipy.spatial import cKDTree

from astrolearn.sources.measure import local_variances
from astrolearn.sources.optical.psf import SIGMA_OF_FWHM

__all__ = ["APERTURE", "Photometry", "measure_flux", "windowed_centroids"]

APERTURE = 3.0
"""Radius in which fluxes hold all light, in units of the stars' full width at half maximum."""

_WINDOW = 4.0  # standard deviations of the Gaussian to each side of a star that are looked at
_CHUNK = 4_000_000  # pixels of stamps at a time
_RIDGE = 0.02  # of the overlap matrix: two stars of one place cannot be told apart
_APART = 6.0  # standard deviations beyond which two Gaussians do not overlap
_ROUNDS = 12  # of the centroids, which come nearer by a factor of two or more in each
_CONVERGED = 2e-3  # pixels
_BRIGHT, _FEWEST, _MOST = 40.0, 5, 300  # significance and numbers of stars that tell the light beyond the Gaussian
_TYPICAL = 1.14  # of Moffat stars of beta 3, on simulated fields
_QUIET = 0.02  # light of neighbours, as a share of a star's own, with which it stands alone


@dataclass
class Photometry:
    """
    Fluxes of stars.

    Attributes
    ----------
    flux, flux_error : array, shape (n_star,)
        In units of the image's scale; the error knows of the stars' own photons if the image does.
    significance : array, shape (n_star,)
        Standard deviations over the background and the neighbours.
    gaussian : array, shape (n_star,)
        Fluxes of the best Gaussians alone.
    """

    flux: np.ndarray
    flux_error: np.ndarray
    significance: np.ndarray
    gaussian: np.ndarray


def _stamps(image, x, y, reach):
    """Chunks of stars: rows, and the offsets (columns, rows) and flat indices of the pixels around them; -1 outside."""
    step = np.arange(-reach, reach + 1)
    height, width = image.valid.shape
    per_chunk = max(1, _CHUNK // len(step) ** 2)
    for first in range(0, len(x), per_chunk):
        some = slice(first, first + per_chunk)
        column, row = (np.rint(c[some]).astype(int)[:, None] + step for c in (x, y))
        inside = ((row >= 0) & (row < height))[:, :, None] & ((column >= 0) & (column < width))[:, None, :]
        flat = np.where(inside, row[:, :, None] * width + column[:, None, :], -1)
        yield some, (column - x[some, None])[:, None, :], (row - y[some, None])[:, :, None], flat


def _gaussian(dx, dy, sigma):
    """Share of the light per pixel."""
    return np.exp(-0.5 * (dx**2 + dy**2) / sigma**2) / (2 * np.pi * sigma**2)


def measure_flux(image, x, y):
    """
    Fluxes of stars at known positions.

    Each pixel of light is a sum of Gaussians; weighted least squares for all stars together. What real stars have
    beyond the Gaussian, up to three times their width, is measured on bright stars that stand alone (in a crowd on the
    five that do so most), and put on top for all.

    Parameters
    ----------
    image : StarImage
    x, y : array, shape (n_star,)

    Returns
    -------
    Photometry
    """
    sigma = image.fwhm * SIGMA_OF_FWHM
    seen, information, own = np.zeros(len(x)), np.zeros(len(x)), np.ones(len(x))
    weight = (image.valid / np.square(image.noise, dtype=np.float64)).ravel()
    light = image.light.ravel()
    for some, dx, dy, flat in _stamps(image, x, y, int(np.ceil(_WINDOW * sigma))):
        shape, w = _gaussian(dx, dy, sigma), np.where(flat >= 0, weight[flat], 0)
        seen[some] = (shape * w * light[flat]).sum(axis=(1, 2))
        information[some] = (shape**2 * w).sum(axis=(1, 2))
        if image.errors is not None:
            variance = np.square(np.where(flat >= 0, image.errors.ravel()[flat], 0), dtype=np.float64)
            excess = ((shape * w) ** 2 * variance).sum(axis=(1, 2)) / np.maximum(information[some], 1e-300)
            own[some] = np.sqrt(np.maximum(excess, 1))
    root = np.sqrt(np.where(information > 0, information, np.inf))
    overlap = _overlap(x, y, sigma)
    # in units of each star's own error: the matrix is that of correlations
    alone = seen / root
    found = cg(overlap, alone, rtol=1e-6, maxiter=300)[0] if len(x) else alone
    error = np.sqrt(local_variances(overlap.tocsr(), len(x))) if len(x) else alone
    gaussian = found / root
    correction = _beyond_the_gaussian(image, x, y, gaussian, found)
    return Photometry(correction * gaussian, correction * own * error / root, found / error, gaussian)


def _overlap(x, y, sigma):
    """Correlations of the stars' Gaussians, exp(-d^2 / 4 sigma^2), kept invertible: sparse (n_star, n_star)."""
    pairs = np.zeros((0, 2), int)
    if len(x) > 1:
        pairs = cKDTree(np.column_stack([x, y])).query_pairs(_APART * sigma, output_type="ndarray")
    first, second = pairs.T
    value = np.exp(-((x[first] - x[second]) ** 2 + (y[first] - y[second]) ** 2) / (4 * sigma**2))
    rows, columns = np.concatenate([first, second]), np.concatenate([second, first])
    upper = coo_array((np.concatenate([value, value]), (rows, columns)), shape=(len(x), len(x)))
    return (upper + eye_array(len(x)) * (1 + _RIDGE)).tocsr()


def _beyond_the_gaussian(image, x, y, gaussian, significance):
    """Light within the aperture over that of the Gaussian; a typical value if there are no stars to tell."""
    radius = APERTURE * image.fwhm
    bright = np.flatnonzero(significance > _BRIGHT)
    bright = bright[np.argsort(-significance[bright], kind="stable")[:_MOST]]
    if not len(bright):
        return _TYPICAL
    places, positive = np.column_stack([x, y]), np.maximum(gaussian, 0)
    near = cKDTree(places).query_ball_point(places[bright], radius + 2 * image.fwhm)
    others = np.array([positive[rows].sum() for rows in near]) / gaussian[bright] - 1
    # those that stand most alone
    bright = bright[np.argsort(others, kind="stable")[: max(_FEWEST, np.sum(others < _QUIET))]]
    rest, ratios = _without_stars(image, x, y, gaussian), []
    for some, dx, dy, flat in _stamps(image, x[bright], y[bright], int(np.ceil(radius))):
        inside = dx**2 + dy**2 <= radius**2
        whole = (np.where(flat >= 0, image.valid.ravel()[flat], False) | ~inside).all(axis=(1, 2))
        own = gaussian[bright[some]]
        total = ((rest[flat] + own[:, None, None] * _gaussian(dx, dy, image.fwhm * SIGMA_OF_FWHM)) * inside).sum((1, 2))
        ratios.append((total / own)[whole])
    ratios = np.concatenate(ratios)
    return float(np.median(ratios)) if len(ratios) else _TYPICAL


def _without_stars(image, x, y, gaussian):
    """The image's light less the Gaussians of all stars, flat."""
    sigma = image.fwhm * SIGMA_OF_FWHM
    rest = image.light.astype(np.float64).ravel()
    for some, dx, dy, flat in _stamps(image, x, y, int(np.ceil(_WINDOW * sigma))):
        model = gaussian[some, None, None] * _gaussian(dx, dy, sigma)
        np.subtract.at(rest, flat[flat >= 0], model[flat >= 0])
    return rest


def windowed_centroids(image, x, y, photometry):
    """
    Windowed centroids, neighbours taken off.

    Parameters
    ----------
    image : StarImage
    x, y : array, shape (n_star,)
        First positions.
    photometry : Photometry

    Returns
    -------
    x, y : array, shape (n_star,)
        NaN where there is no answer: bad pixels in the core, no light, or no convergence within half a width.
    error : array, shape (n_star,)
        Standard deviation per axis in pixels, from the noise alone: ERRX2WIN and ERRY2WIN of SExtractor.
    """
    sigma = image.fwhm * SIGMA_OF_FWHM
    reach = int(np.ceil(_WINDOW * sigma))
    rest = _without_stars(image, x, y, photometry.gaussian)
    out, error = np.full((2, len(x)), np.nan), np.full(len(x), np.nan)
    noise = (image.noise if image.errors is None else image.errors).ravel()
    valid = image.valid.ravel()
    for some, dx, dy, flat in _stamps(image, x, y, reach):
        seen = np.where(flat >= 0, valid[flat], False)
        light = np.where(seen, rest[flat] + photometry.gaussian[some, None, None] * _gaussian(dx, dy, sigma), 0)
        core_seen = (seen | (dx**2 + dy**2 > (2 * sigma) ** 2)).all(axis=(1, 2))
        move = np.zeros((2, len(light)))
        for _ in range(_ROUNDS):
            from_x, from_y = dx - move[0, :, None, None], dy - move[1, :, None, None]
            window = np.exp(-0.5 * (from_x**2 + from_y**2) / sigma**2)
            total = np.maximum((window * light).sum(axis=(1, 2)), 1e-30)
            step = np.stack([2 * (window * light * d).sum(axis=(1, 2)) / total for d in (from_x, from_y)])
            move = np.clip(move + step, -image.fwhm, image.fwhm)
        good = core_seen & (np.abs(step) < _CONVERGED).all(axis=0) & (np.hypot(*move) < image.fwhm / 2)
        out[:, some] = np.where(good, np.stack([x[some], y[some]]) + move, np.nan)
        squared = np.square(np.where(flat >= 0, noise[flat], 0) * window)
        spread = [(squared * d**2).sum(axis=(1, 2)) for d in (from_x, from_y)]
        error[some] = np.where(good, 2 * np.sqrt(np.mean(spread, axis=0)) / total, np.nan)
    return *out, error
