"""
Training skies without images: histograms as P(D) expects them, with the noise of a finite sky.

An image takes seconds to simulate, the histogram that P(D) expects of it a hundred microseconds. A real histogram
differs from it because the sky holds so many sources and no others, and because the pixels of a beam are not
independent. The numbers of sources are drawn, which makes the noise of the bright tail; that of the core is the noise
of a correlated Gaussian field, in Hermite polynomials. Shapes and clustering of sources are as in the simulator.
"""

import astropy.units as u
import numpy as np
from scipy.special import gamma, ndtri

from astrolearn.counts.beam_response import LOG_STEP, BeamResponse
from astrolearn.counts.features import EDGES
from astrolearn.counts.models import CountModel
from astrolearn.counts.pofd import DeflectionModel
from astrolearn.counts.shapes_response import ShapesResponse

__all__ = ["ExpectedSkies", "evaluate"]

_ORDERS = 8  # Hermite polynomials of the noise in the core
_AT_ONCE = 1000
_SELF_PAIR = 2.248  # mean of d^-0.8 over pairs of points in a square of side 1 (as in `catalogues`)


class ExpectedSkies:
    """
    Draws histograms of skies.

    Parameters
    ----------
    simulator : RadioSkySimulator
        Whose skies these are: its counts, instrument, kind of image, range of fluxes, clustering and shapes. In
        restored images sources are points, and clustering changes their numbers only.

    Attributes
    ----------
    clumping : float
        Variance of the density of sources from beam to beam, relative to its mean.
    """

    def __init__(self, simulator):
        tool = simulator.instrument
        self.counts, self.noise = simulator.counts, tool.noise.value
        beam = u.Quantity([tool.beam_major, tool.beam_minor])
        if simulator.image == "restored":
            response = BeamResponse(beam, tool.psf, tool.pixel_scale, tool.clean_threshold)
        elif simulator.morphology == "mixed":
            response = ShapesResponse(beam, tool.frequency.value)
        else:
            response = BeamResponse(beam)
        self._clustering = simulator.clustering or 0.0
        # the mean of (theta / deg)^-0.8 over pairs of points under a Gaussian beam, of which this is twice the standard
        # deviation; an interferometer does not see the mean of its field, on which this acts
        width = np.rad2deg(np.sqrt(2 * response.solid_angle / np.pi))
        self.clumping = 0.0 if simulator.image == "restored" else self._clustering * gamma(0.6) * width**-0.8
        middle = CountModel.from_logs(self.counts.log_flux, self.counts.mean)
        width = self._width(middle, response)
        self._model = DeflectionModel(self.counts.log_flux, response, width, self.noise, simulator.flux_range)
        self._model.set_bins(EDGES * self.noise)
        self._pixel_area = tool.pixel_area.value
        self._correlation = _correlation(tool, simulator.image)

    def _width(self, counts, response):
        """Standard deviation of an image by noise and the sources below five times the result, in Jy/beam."""
        width = self.noise
        for _ in range(10):
            width = np.hypot(self.noise, np.sqrt(response.moment(2) * counts.moment(2, 1e-9, 5 * width)))
        return width

    def draw(self, n, n_pixels, rng, log_n=None, noise=1.0):
        """
        Draw histograms.

        In units of the noise, an image with a times the noise and counts n(S) is one with that noise and a n(a S).

        Parameters
        ----------
        n : int
        n_pixels : float or `numpy.ndarray`, (n,)
            Pixels of each sky.
        rng : `numpy.random.Generator`
        log_n : `numpy.ndarray`, float64 (n, n_nodes), optional
            Counts of each sky at the nodes. Default: drawn from the family.
        noise : float or `numpy.ndarray`, (n,), optional
            Of each image, relative to that of the instrument. Default: 1.

        Returns
        -------
        log_n : `numpy.ndarray`, float64 (n, n_nodes)
            The true counts.
        cumulative : `numpy.ndarray`, float64 (n, n_bins + 1)
            Fractions of pixels below `EDGES`, about some level: see `features.moved`.
        """
        if log_n is None:
            log_n = self.counts.sample(n, rng)
        n_pixels, noise = (np.broadcast_to(np.asarray(part, float), n)[:, None] for part in (n_pixels, noise))
        batches = (slice(start, start + _AT_ONCE) for start in range(0, n, _AT_ONCE))
        return log_n, np.concatenate([self._draw(log_n[rows], n_pixels[rows], noise[rows], rng) for rows in batches])

    def _draw(self, log_n, n_pixels, noise, rng):
        sources, shift = self._model.sources, np.log10(noise)
        log_n = evaluate(self.counts.log_flux, log_n, np.log10(sources.flux) + shift) + shift
        area = self._pixel_area * n_pixels
        cell = sources.flux * LOG_STEP * area
        variance = self._clustering * _SELF_PAIR * np.rad2deg(np.sqrt(area)) ** -0.8
        density = np.exp(np.sqrt(np.log1p(variance)) * rng.standard_normal(variance.shape) - np.log1p(variance) / 2)
        number = rng.poisson(density * 10**log_n * cell)
        p = np.maximum(self._model.probabilities((number / cell).T, self.noise, self.clumping).T, 0)
        p = rng.poisson(n_pixels * p / p.sum(axis=1, keepdims=True)) + 1e-12
        cumulative = np.cumsum(p, axis=1)
        total = cumulative[:, -1:]
        cumulative = np.concatenate([np.zeros_like(total), cumulative / total], axis=1)
        return np.clip(cumulative + self._core_noise(cumulative, n_pixels, rng), 0, 1)

    def _core_noise(self, cumulative, n_pixels, rng):
        """
        Noise of the histogram of a correlated Gaussian field, beyond that of independent pixels.

        By Mehler's formula the covariance of the fractions below x and y is the sum over k of
        phi(x) phi(y) He_k-1(x) He_k-1(y) r_k / k!, with r_k the mean of the k-th power of the correlation.
        """
        z = ndtri(np.clip(cumulative, 1e-15, 1 - 1e-15))
        size = np.sqrt((self._correlation - 1) / n_pixels) * rng.standard_normal((len(z), _ORDERS))
        noise, before, now, norm = np.zeros_like(z), np.zeros_like(z), np.ones_like(z), 1.0
        for k in range(1, _ORDERS + 1):
            norm *= np.sqrt(k)
            noise += size[:, k - 1 : k] / norm * now
            before, now = now, z * now - (k - 1) * before
        return noise * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)


def _correlation(tool, image):
    """Sum over pixels of the k-th power of the noise's correlation, k = 1, 2, ..., 8."""
    order = np.arange(1, _ORDERS + 1)
    if image == "restored":
        return np.maximum([(tool.psf.astype(float) ** k).sum() for k in order], 1)
    return np.maximum(tool.pixels_per_beam / order, 1)


def evaluate(nodes, log_n, log_flux):
    """Straight lines through log_n (n, n_nodes) at ``nodes``, and on beyond them, at log_flux (n, n_points)."""
    segment = np.searchsorted(nodes[1:-1], log_flux)
    rows = np.arange(len(log_n))[:, None]
    low, high = log_n[rows, segment], log_n[rows, segment + 1]
    return low + (high - low) * (log_flux - nodes[segment]) / (nodes[segment + 1] - nodes[segment])
