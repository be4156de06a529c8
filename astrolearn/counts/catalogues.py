"""
Random catalogues of radio sources: numbers, fluxes, places and shapes.

Sources too faint to matter one by one are not drawn one by one. The flux that many sources put into a pixel or a beam
is a compound Poisson variable, whose cumulants are moments of the counts (Campbell's theorem); an even sheet of light
with fewer sources of one flux has the same mean, variance and skewness, everywhere and for every beam. Extended sources
are a few points with the right second moments, which is all that a beam much wider than they are can see.
"""

from functools import lru_cache
from typing import NamedTuple

import astropy.units as u
import numpy as np
from astropy.table import QTable
from scipy import fft

from astrolearn.core.inputs import as_quantity, to_float
from astrolearn.core.seeding import make_rng

__all__ = ["draw_catalogue"]

RESOLVED = 3e-5
"""Flux density in Jy below which sources have no shape: their discs would lower a peak of 15 arcsec by 1 %."""

# Share of active galaxies over log10 of S at 1.4 GHz in Jy: Massardi et al. (2010), who count these alone, over all
# sources of S3-SEX (Wilman et al. 2008)
_LOG_FLUX = (-6, -5, -4, -3, -2.5)
_ACTIVE = (0.09, 0.09, 0.22, 0.76, 1)
_HALF_LIGHT = (0.7, 0.2)  # arcsec, median radius of discs and its scatter in dex: our choice for microjansky sources
# Windhorst, Mathis & Neuschaefer (1990): median extent 2 arcsec S_1.4^0.3 (S in mJy), of which extents h are exceeded
# by 2^-(h^0.62)
_EXTENT = (2.0, 0.30, 0.62)
_LOBES = (0.35, 0.1)  # distance from the centre and standard deviation of lobes in units of the extent: our choice
_CELL = 3  # pixels, side of the cells in which the density of clustered sources is even
_SELF_PAIR = 2.248  # mean of d^-0.8 over pairs of points in a square of side 1


class Sources(NamedTuple):
    """Sources in pixel coordinates: all arrays of one length; sizes are in pixels, 0 for points."""

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    double: np.ndarray
    size: np.ndarray
    ratio: np.ndarray
    angle: np.ndarray

    @classmethod
    def at_points(cls, x, y, flux):
        """Point sources."""
        n = len(x)
        return cls(x, y, flux, np.zeros(n, bool), np.zeros(n), np.ones(n), np.zeros(n))

    def points(self):
        """
        Points that stand for the sources: each with itself, four for a disc and four for each lobe of a double.

        Four points at one standard deviation from the centre along both axes, (+-1, +-1), have the second moments of
        the source and, by symmetry, its third.
        """
        point = self.size == 0
        parts = [(self.x[point], self.y[point], self.flux[point])]
        disc, double = (Sources(*(column[rows] for column in self)) for rows in (~point & ~self.double, self.double))
        # an exponential disc of half-light radius r has the scale length r / 1.678 and the variance 3 scale^2 per axis
        width = np.sqrt(3) / 1.678 * disc.size
        for along, across in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            parts.append(disc._shifted(along * width, across * width * disc.ratio, 0.25))
            for end, share in ((1, double.ratio), (-1, 1 - double.ratio)):
                shift = (end * _LOBES[0] + along * _LOBES[1]) * double.size
                parts.append(double._shifted(shift, across * _LOBES[1] * double.size, 0.25 * share))
        return tuple(np.concatenate(column) for column in zip(*parts, strict=True))

    def _shifted(self, along, across, share):
        sine, cosine = np.sin(self.angle), np.cos(self.angle)
        return self.x - along * sine + across * cosine, self.y + along * cosine + across * sine, self.flux * share


def draw_catalogue(
    counts,
    *,
    n_pixels,
    pixel_scale,
    frequency="1.4 GHz",
    flux_range=(1e-5, 1.0),
    clustering=1e-3,
    morphology="mixed",
    random_state=None,
):
    """
    Draw the radio sources in a square field.

    Parameters
    ----------
    counts : `CountModel`
        Differential counts.
    n_pixels : int
        Side of the field in pixels. Pixels have one solid angle (flat sky).
    pixel_scale : `~astropy.units.Quantity`, str or float
        Side of a pixel; plain numbers are in arcsec.
    frequency : `~astropy.units.Quantity`, str or float, optional
        Of the counts, from which follow the flux densities at 1.4 GHz that set shapes; plain numbers are in GHz.
        Default: 1.4 GHz.
    flux_range : pair of `~astropy.units.Quantity` or float, optional
        Plain numbers are in Jy. Default: 1e-5 to 1 Jy.
    clustering : float or None, optional
        Angular correlation at 1 deg, w = clustering (theta / deg)^-0.8, of a log-normal density of sources. Default:
        1e-3 (radio sources of the NVSS, Blake & Wall 2002, MNRAS 329, L37). `None`: sources are spread at random.
    morphology : {"mixed", "points"}, optional
        ``"mixed"`` (default): star-forming galaxies are exponential discs with half-light radii around 0.7 arcsec,
        active galaxies two lobes with the extents of Windhorst et al. (1990). Below 30 uJy all are points.
    random_state : int, Generator or None, optional

    Returns
    -------
    catalogue : `~astropy.table.QTable`
        ``x``, ``y`` (pixels, 0-based; x to the west), ``S`` (Jy), ``kind`` ("point", "disc" or "double"), ``size``
        (arcsec: half-light radius or extent, 0 for points), ``ratio`` (axis ratio of a disc; share of the first lobe of
        a double) and ``pa`` (deg, from north to east).

    Raises
    ------
    ValueError
        If a value is out of its range.
    """
    rng = make_rng(random_state)
    pixel = as_quantity(pixel_scale, u.arcsec, "pixel_scale").value
    frequency = as_quantity(frequency, u.GHz, "frequency").value
    if pixel <= 0 or frequency <= 0 or n_pixels < 1:
        raise ValueError("n_pixels, pixel_scale and frequency must be positive")
    low, high = read_flux_range(flux_range)
    check_population(clustering, morphology)
    density = None if clustering is None else clustered_density(n_pixels, pixel, clustering, rng)
    x, y = draw_positions((pixel * u.arcsec.to(u.rad)) ** 2 * counts.moment(0, low, high), n_pixels, density, rng)
    flux = draw_fluxes(counts, len(x), low, high, rng)
    draw = draw_shapes if morphology == "mixed" else draw_points
    sources = draw(x, y, flux, pixel, frequency, rng)
    table = QTable({"x": sources.x, "y": sources.y, "S": sources.flux * u.Jy})
    table["kind"] = np.where(sources.size == 0, "point", np.where(sources.double, "double", "disc"))
    table["size"] = sources.size * pixel * u.arcsec
    table["ratio"] = sources.ratio
    table["pa"] = np.rad2deg(sources.angle) * u.deg
    return table


def read_catalogue(table, pixel):
    """`Sources` of a table with the columns x, y, S and optionally all of kind, size, ratio and pa."""
    missing = {"x", "y", "S"} - set(table.colnames)
    if missing:
        raise ValueError(f"the catalogue has no column {', '.join(sorted(missing))}; it needs x, y (pixels) and S (Jy)")
    if len(table) == 0:
        return Sources.at_points(*np.zeros((3, 0)))
    units = {"x": None, "y": None, "S": u.Jy}
    x, y, flux = (to_float(table[name], units[name], f"the column {name}", dtype=np.float64) for name in units)
    if "size" not in table.colnames:
        return Sources.at_points(x, y, flux)
    size = to_float(table["size"], u.arcsec, "the column size", dtype=np.float64) / pixel
    ratio = to_float(table["ratio"], None, "the column ratio", dtype=np.float64)
    angle = to_float(table["pa"], u.rad, "the column pa", dtype=np.float64)
    return Sources(x, y, flux, np.asarray(table["kind"]) == "double", size, ratio, angle)


def read_flux_range(flux_range):
    """A pair of flux densities in Jy."""
    values = as_quantity(flux_range, u.Jy, "flux_range").value
    if values.shape != (2,) or not 0 < values[0] < values[1]:
        raise ValueError(f"flux_range={flux_range!r} must be a pair of positive flux densities, (low, high)")
    return tuple(values)


def check_population(clustering, morphology):
    """Refuse options that `draw_catalogue` does not know."""
    if clustering is not None and not 0 < clustering < 1:
        raise ValueError(f"clustering={clustering!r} must be None or a correlation at 1 deg between 0 and 1")
    if morphology not in ("mixed", "points"):
        raise ValueError(f"morphology={morphology!r} is neither 'mixed' nor 'points'")


def draw_fluxes(counts, n, low, high, rng):
    """``n`` random flux densities in Jy, in random order."""
    nodes = 10 ** counts.log_flux[1:-1]
    edges = np.concatenate([[low], nodes[(nodes > low) & (nodes < high)], [high]])
    number = counts.moment(0, edges[:-1], edges[1:])
    per_segment = rng.multinomial(n, number / number.sum())
    middle = np.log10(np.sqrt(edges[:-1] * edges[1:]))
    power = counts.slopes[np.searchsorted(counts.log_flux[1:-1], middle)] + 1
    power = np.where(np.abs(power) < 1e-9, 1e-9, power)
    flux = rng.random(n)
    start = 0
    for a, b, p, count in zip(edges[:-1], edges[1:], power, per_segment, strict=True):
        part = flux[start : start + count]
        part[:] = a * np.exp(np.log1p(part * np.expm1(p * np.log(b / a))) / p)
        start += count
    rng.shuffle(flux)
    return flux


def equal_sources(counts, low, high):
    """
    Sources of one flux, and a sheet, with the first three cumulants of those between two flux densities.

    Returns
    -------
    number : float
        Sources per sr.
    flux : float
        Jy.
    level : float
        Brightness of the sheet, Jy/sr; never negative.
    """
    first, second, third = (counts.moment(order, low, high) for order in (1, 2, 3))
    flux = third / second
    number = second / flux**2
    return number, flux, first - number * flux


def draw_positions(mean, n_pixels, density, rng):
    """
    Places of a random number of sources.

    Parameters
    ----------
    mean : float
        Expected number in a pixel.
    n_pixels : int
        Side of the field in pixels.
    density : `numpy.ndarray` or None
        From `clustered_density`; `None`: even.
    rng : `numpy.random.Generator`

    Returns
    -------
    x, y : `numpy.ndarray`, float64
        In pixels, -0.5 to n_pixels - 0.5; sorted by place where they are clustered.
    """
    if density is None:
        return n_pixels * rng.random((2, rng.poisson(mean * n_pixels**2))) - 0.5
    cell = np.repeat(np.arange(density.size), rng.poisson(mean * _CELL**2 * density.ravel()))
    place = np.stack(np.divmod(cell, len(density)))[::-1] + rng.random((2, len(cell)))
    place = _CELL * place - 0.5
    return place[:, (place < n_pixels - 0.5).all(axis=0)]


def clustered_density(n_pixels, pixel, amplitude, rng):
    """
    Log-normal random density with the correlation amplitude (theta / deg)^-0.8, even within cells.

    Parameters
    ----------
    n_pixels : int
        Side of the field.
    pixel : float
        Side of a pixel in arcsec.
    amplitude : float
        Correlation at 1 deg.
    rng : `numpy.random.Generator`

    Returns
    -------
    density : `numpy.ndarray`, float32 (n_cells, n_cells)
        With an expected mean of 1; a cell is 3 x 3 pixels, and the last ones may reach out of the field.
    """
    n_cells = -(-n_pixels // _CELL)
    size = fft.next_fast_len(2 * n_cells, real=True)  # twice the field: it must not meet itself across the border
    amplitudes, variance = _lognormal_spectrum(size, _CELL * pixel / 3600, amplitude)
    white = rng.standard_normal((size, size), dtype=np.float32)
    field = fft.irfft2(fft.rfft2(white, workers=2) * amplitudes, s=(size, size), workers=2)[:n_cells, :n_cells]
    return np.exp(field - np.float32(variance / 2))


def density_of_pixels(density, n_pixels):
    """The density of `clustered_density` in each pixel, float32 (n_pixels, n_pixels)."""
    return np.repeat(np.repeat(density, _CELL, axis=0), _CELL, axis=1)[:n_pixels, :n_pixels]


@lru_cache(maxsize=2)
def _lognormal_spectrum(size, cell, amplitude):
    """Fourier amplitudes and variance of the Gaussian field under a log-normal one, on cells of ``cell`` degrees."""
    distance = np.minimum(np.arange(size), size - np.arange(size))
    square = (distance[:, None] ** 2 + distance**2).astype(np.float32)
    square[0, 0] = _SELF_PAIR ** (-2 / 0.8)
    # a Gaussian field with the correlation ln(1 + w) makes a log-normal one with w (Coles & Jones 1991, MNRAS 248, 1)
    correlation = np.log1p(amplitude * cell**-0.8 * square**-0.4)
    power = np.maximum(fft.rfft2(correlation, workers=2).real, 0)
    return np.sqrt(power), float(fft.irfft2(power, s=(size, size), workers=2)[0, 0])


def draw_points(x, y, flux, pixel, frequency, rng):
    """Sources without shapes."""
    return Sources.at_points(x, y, flux)


def draw_shapes(x, y, flux, pixel, frequency, rng):
    """Sources with random shapes: discs and doubles above `RESOLVED`, points below."""
    bright = np.flatnonzero(flux > RESOLVED)
    n = len(bright)
    flux_1p4 = flux[bright] * (1.4 / frequency) ** -0.7
    active = rng.random(n) < np.interp(np.log10(flux_1p4), _LOG_FLUX, _ACTIVE)
    radius = _HALF_LIGHT[0] * 10 ** (_HALF_LIGHT[1] * rng.standard_normal(n))
    median, index, tail = _EXTENT
    extent = median * (1e3 * flux_1p4) ** index * (-np.log2(1 - rng.random(n))) ** (1 / tail)
    uniform = rng.random(n)  # discs are inclined at random; the lobes of doubles differ by up to 7 : 3
    sources = Sources.at_points(x, y, flux)
    sources.double[bright] = active
    sources.size[bright] = np.where(active, extent, radius) / pixel
    sources.ratio[bright] = np.where(active, 0.3 + 0.4 * uniform, uniform)
    sources.angle[bright] = np.pi * rng.random(n)
    return sources
