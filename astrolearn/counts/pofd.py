"""
The probability of deflection, P(D): how the pixel values of a confused image are distributed, given the source counts.

Sources that lie at random make the characteristic function of a pixel value an exponential (Scheuer 1957; Condon 1974,
eq. 8): log phi(w) = integral of n(S) K(w S) dS, where K(y) is the integral of exp(i y B) - 1 over the beam B. For a
Gaussian beam K is a sine and cosine integral, and for any other beam a sum of them, because a beam matters only by how
much sky it covers at each of its levels. Counts of radio sources reach over eight decades and so do pixel values, too
many for a fast Fourier transform on one linear grid. So everything here is smooth in the logarithm: fluxes and
frequencies are on logarithmic grids, and the probabilities of the bins of a histogram are a fixed matrix times phi. A
model, and its derivatives with respect to all counts, then takes two products of small matrices.
"""

import astropy.units as u
import numpy as np
from scipy.interpolate import make_interp_spline

from astrolearn.core.inputs import as_quantity, to_float
from astrolearn.counts.beam_response import LOG_STEP, PER_DEX, BeamResponse

__all__ = ["deflection_probability"]

_MARGIN = 1.0  # dex, how far the counts are continued below the first and above the last node
_CORE = 16  # widths: pixel values within are computed without a window
_MAX_CONFUSION = 30
_WINDOW = 16  # width of the window at a pixel value x is x / 16
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


def deflection_probability(
    counts, edges, *, beam, noise, zero_level=0, psf=None, pixel_scale=None, clean_threshold=None, flux_range=None
):
    """
    Compute the probability that a pixel of an image falls into each of a list of bins.

    Sources are points at random positions.

    Parameters
    ----------
    counts : CountModel
        Source counts: anything with ``log_flux`` (log10 of Jy, increasing) and ``log_n`` (log10 of 1/(Jy sr)), between
        which log n is linear.
    edges : `~astropy.units.Quantity` or array-like, (n_bins + 1,)
        Edges of the bins, increasing; plain numbers in Jy/beam. Beyond 16 widths of the core a bin may reach from one
        edge to twice it at most.
    beam : `~astropy.units.Quantity`, str, float or a pair
        Full width at half maximum of the Gaussian beam, or of its major and minor axis; plain numbers in arcsec.
    noise : `~astropy.units.Quantity`, str or float
        Standard deviation of the Gaussian noise of a pixel; a plain number in Jy/beam.
    zero_level : `~astropy.units.Quantity`, str or float, optional
        The mean of the image where there is no source. Default: 0 Jy/beam.
    psf : array-like, (n, m), optional
        Point-spread function with a peak of 1 on the image's pixels, in place of the Gaussian beam.
    pixel_scale : `~astropy.units.Quantity`, str or float, optional
        Of ``psf``; a plain number in arcsec.
    clean_threshold : `~astropy.units.Quantity`, str or float, optional
        Of a restored image: what a source has above it has the shape of the Gaussian beam, the rest that of the PSF. A
        plain number in Jy/beam. Default: no CLEAN.
    flux_range : pair of `~astropy.units.Quantity` or float, optional
        Flux densities of the faintest and the brightest source (the faintest to within 1/40 dex); plain numbers in Jy.
        Default: the counts go on with their end slopes over one decade beyond the first and the last flux.

    Returns
    -------
    probability : `numpy.ndarray`, (n_bins,)
        Their sum is the probability to lie between the first and the last edge.

    Raises
    ------
    ValueError
        If a bin is empty or too wide, the noise is not positive or below 1/30 of the width of the distribution, or the
        PSF has no pixel scale or no peak of 1.
    """
    edges = to_float(edges, u.Jy / u.beam, "edges", shape=("n_bins + 1",), dtype=np.float64)
    noise = as_quantity(noise, u.Jy / u.beam, "noise").value
    zero_level = as_quantity(zero_level, u.Jy / u.beam, "zero_level").value
    if not noise > 0:
        raise ValueError(f"noise={noise} Jy/beam must be positive")
    response = BeamResponse(beam, psf, pixel_scale, clean_threshold)
    log_n = np.asarray(counts.log_n, float)
    sources = SourceGrid(counts.log_flux, flux_range)
    number = sources.density(log_n) * sources.flux * LOG_STEP
    variance = response.moment(2) * np.cumsum(number * sources.flux**2)
    width = noise
    for _ in range(10):  # the core is what noise and sources below five times its width make
        width = np.hypot(noise, np.sqrt(np.interp(5 * width, sources.flux, variance)))
    model = DeflectionModel(counts.log_flux, response, width, noise, flux_range)
    centre = zero_level + model.faint_mean(log_n)
    model.set_bins(edges - centre)
    return model.probability(log_n, 0.0, noise)


class SourceGrid:
    """
    Counts between nodes, at the fluxes at which they are integrated.

    Parameters
    ----------
    log_flux : array-like, (n_nodes,)
        log10 of Jy, increasing.
    flux_range : pair of `~astropy.units.Quantity` or float, optional
        See `deflection_probability`.

    Attributes
    ----------
    flux : `numpy.ndarray`, (n_flux,)
        In Jy, 40 per decade.
    weights : `numpy.ndarray`, (n_flux, n_nodes)
        log n at ``flux`` is their product with log n at the nodes.
    """

    def __init__(self, log_flux, flux_range=None):
        nodes = np.asarray(log_flux, float)
        if nodes.ndim != 1 or len(nodes) < 2 or not np.isfinite(nodes).all() or not (np.diff(nodes) > 0).all():
            raise ValueError("the fluxes of the counts must be two or more, finite and increasing")
        low, high = nodes[0] - _MARGIN, nodes[-1] + _MARGIN
        if flux_range is not None:
            pair = as_quantity(flux_range, u.Jy, "flux_range").value
            if pair.shape != (2,) or not 0 < pair[0] < pair[1]:
                raise ValueError(f"flux_range={flux_range} must be two positive flux densities, the lower one first")
            low, high = np.log10(pair)
        n_flux = max(int(np.rint((high - low) * PER_DEX)), 1) + 1
        grid = high - np.arange(n_flux)[::-1] / PER_DEX
        self.flux = 10**grid
        left = np.clip(np.searchsorted(nodes, grid, side="right") - 1, 0, len(nodes) - 2)
        right_weight = (grid - nodes[left]) / (nodes[left + 1] - nodes[left])
        rows = np.arange(n_flux)
        self.weights = np.zeros((n_flux, len(nodes)))
        self.weights[rows, left] = 1 - right_weight
        self.weights[rows, left + 1] = right_weight

    def density(self, log_n):
        """Differential counts at ``flux``."""
        return 10 ** (self.weights @ log_n)


class DeflectionModel:
    """
    Probabilities of bins of pixel values as a function of counts, level and noise, with derivatives.

    The mean of the faint sources (below one width) is taken out of phi: a pixel value is the level, plus noise, plus
    bright sources, plus the deviation of the faint ones from their mean. So the level can be measured, which the zero
    level of an image that is full of faint sources cannot.

    Parameters
    ----------
    log_flux : array-like, (n_nodes,)
        Nodes of the counts, log10 of Jy.
    response : BeamResponse
    width : float
        Of the core of the distribution, in Jy/beam.
    noise : float
        In Jy/beam; the model holds for noise down to 0.85 of it.
    flux_range : pair of `~astropy.units.Quantity` or float, optional
        See `deflection_probability`.

    Attributes
    ----------
    width : float
    sources : SourceGrid
        The flux densities at which counts are integrated.

    Raises
    ------
    ValueError
        If the nodes do not increase, or the noise is less than 1/30 of the width, where the matrices would be large.
    """

    def __init__(self, log_flux, response, width, noise, flux_range=None):
        if width > _MAX_CONFUSION * noise:
            raise ValueError(
                f"noise={noise:.3g} Jy/beam is less than 1/{_MAX_CONFUSION} of the width of the distribution, "
                f"{width:.3g} Jy/beam: are their units the same?"
            )
        self.sources = SourceGrid(log_flux, flux_range)
        flux = self.sources.flux
        self.width = width
        self._frequency, self._knots = _frequencies(1e-5 / flux[-1], 7.5 / (0.85 * noise), width)
        kernel = response.kernel(self._frequency, flux)
        self._faint = response.mean(flux) * LOG_STEP * flux * (flux < width)
        self._faint[[0, -1]] /= 2
        kernel -= 1j * self._frequency[:, None] * self._faint
        # Times S: the density in ln S is S n.
        self._kernel = np.concatenate([kernel.real, kernel.imag]) * flux
        self._faint *= flux
        self._bins = None

    def set_bins(self, edges):
        """
        Prepare for a histogram.

        Parameters
        ----------
        edges : array-like, (n_bins + 1,)
            In Jy/beam, relative to the level.
        """
        edges = np.asarray(edges, float)
        size = np.diff(edges)
        if not (size > 0).all():
            raise ValueError("the edges of the bins must increase")
        middle = edges[:-1] + size / 2
        nearest, farthest = np.sort(np.abs([edges[:-1], edges[1:]]), axis=0)
        core = _CORE * self.width
        if (farthest > 2.2 * np.maximum(nearest, core)).any():
            raise ValueError("bins beyond the core of the distribution may span a factor of two in pixel value at most")
        # An octave of pixel values shares a window and the frequencies at which phi is integrated.
        octave = np.where(nearest < core, -1, np.floor(np.log2(np.maximum(nearest, core) / core))).astype(int)
        matrix = np.empty((len(size), 2 * len(self._frequency)))
        for k in np.unique(octave):
            rows = octave == k
            window = 0.0 if k < 0 else core * 2.0**k / _WINDOW
            matrix[rows] = self._transform(middle[rows], size[rows], farthest[rows].max(), window)
        self._bins = matrix

    def _transform(self, middle, size, reach, window):
        """Matrix from phi at the knots (real, imaginary) to the probabilities of bins."""
        top = self._frequency[-1] if window == 0 else min(self._frequency[-1], 9 / window)
        frequency, weight = _panels(self._frequency[0], top, 2 * np.pi / max(reach, self.width))
        # A Gaussian window with its second and fourth moment taken out: P(D) keeps its value where it is a power law.
        t = (window * frequency) ** 2
        weight = weight * np.exp(-t / 2) * (1 + t / 2 + t**2 / 8) / np.pi
        phase = np.outer(middle, frequency)
        weight = weight * size[:, None] * np.sinc(np.outer(size, frequency) / (2 * np.pi))
        spline = self._knots(frequency)
        return np.concatenate([(weight * np.cos(phase)) @ spline, (weight * np.sin(phase)) @ spline], axis=1)

    def faint_mean(self, log_n):
        """Mean of the sources fainter than one width, in Jy/beam: the level less the zero level."""
        return self._faint @ self.sources.density(log_n)

    def log_characteristic(self, log_n, level, noise):
        """
        Compute log phi.

        Parameters
        ----------
        log_n : `numpy.ndarray`, (n_nodes,)
            log10 of 1/(Jy sr).
        level, noise : float
            In Jy/beam.

        Returns
        -------
        frequency : `numpy.ndarray`, (n,)
            In rad/(Jy/beam).
        log_phi : `numpy.ndarray` of complex, (n,)
        """
        w = self._frequency
        real, imaginary = np.split(self._kernel @ self.sources.density(log_n), 2)
        return w, real - (noise * w) ** 2 / 2 + 1j * (imaginary + level * w)

    def probabilities(self, densities, noise, clumping=0.0):
        """
        Compute the probabilities of the bins for many models at once, with a level of 0.

        Parameters
        ----------
        densities : `numpy.ndarray`, (n_flux, n)
            Counts in 1/(Jy sr) at the fluxes of ``sources``.
        noise : float
            In Jy/beam.
        clumping : float, optional
            Variance of the density of sources from beam to beam, relative to its mean: sources are clustered. The
            density is taken to follow a gamma distribution. Default: 0.

        Returns
        -------
        probabilities : `numpy.ndarray`, (n_bins, n)
        """
        w = self._frequency[:, None]
        log_phi = np.empty((len(w), densities.shape[1]), complex)
        log_phi.real, log_phi.imag = np.split(self._kernel @ densities, 2)
        if clumping:
            # the mean of the faint sources, which is no part of phi, varies as well
            mean = 1j * w * (self._faint @ densities)
            log_phi = -np.log1p(-clumping * (log_phi + mean)) / clumping - mean
        phi = np.exp(log_phi - (noise * w) ** 2 / 2)
        return self._bins @ np.concatenate([phi.real, phi.imag])

    def probability(self, log_n, level, noise, *, gradient=False):
        """
        Compute the probabilities of the bins.

        Parameters
        ----------
        log_n : `numpy.ndarray`, (n_nodes,)
            log10 of 1/(Jy sr).
        level, noise : float
            In Jy/beam; the level is relative to the zero of the bins' edges.
        gradient : bool, optional
            Whether to return derivatives, too.

        Returns
        -------
        probability : `numpy.ndarray`, (n_bins,)
        derivatives : `numpy.ndarray`, (n_bins, n_nodes + 2)
            With respect to log10 n at the nodes, the level in units of the width, and ln noise. Only with ``gradient``.
        """
        w, log_phi = self.log_characteristic(log_n, level, noise)
        phi = np.exp(log_phi)
        probability = self._bins @ np.concatenate([phi.real, phi.imag])
        if not gradient:
            return probability
        density = self.sources.density(log_n)
        change = self._kernel @ (np.log(10) * density[:, None] * self.sources.weights)
        slopes = np.empty((len(w), change.shape[1] + 2), complex)
        slopes[:, :-2] = change[: len(w)] + 1j * change[len(w) :]
        slopes[:, -2] = 1j * w * self.width
        slopes[:, -1] = -((noise * w) ** 2)
        slopes *= phi[:, None]
        return probability, self._bins @ np.concatenate([slopes.real, slopes.imag])


def _frequencies(low, high, width):
    """Knots of phi, logarithmic below one over the width and linear above; the spline from them to any frequency."""
    log_step, linear_step = 0.12, 0.15

    def position(w):
        return np.log(w) / log_step + w * width / linear_step

    n = int(np.ceil(position(high) - position(low))) + 1
    uniform = np.linspace(position(low), position(high), n)
    dense = np.geomspace(low, high, 100 * n)
    knots = np.interp(uniform, position(dense), dense)
    knots[[0, -1]] = low, high
    spline = make_interp_spline(position(knots), np.eye(n), k=5)
    return knots, lambda w: spline(position(np.clip(w, low, high)))


def _panels(low, high, step):
    """Gauss-Legendre nodes and weights from 0 to ``high``: panels that double up to a width of ``step``."""
    start = min(step, high)
    doubling = start * 0.5 ** np.arange(int(np.ceil(np.log2(start / low))), 0, -1)
    edges = np.concatenate([[0.0], doubling, np.linspace(start, high, int(np.ceil((high - start) / step)) + 1)])
    edges = np.unique(edges)
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (_NODES + 1)).ravel(), (half * _WEIGHTS).ravel()
