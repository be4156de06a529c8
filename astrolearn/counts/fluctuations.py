"""
Source counts from the histogram of an image's pixels: the classical analysis of fluctuations, or P(D) fit.

The counts at nodes of flux, the level of the image and its noise are fitted to the histogram of the pixel values with
the probability of deflection of `astrolearn.counts.pofd` (as Vernstrom et al. 2014, 1311.7451). Nothing is trained, so
what this says about a bin of flux is what one-point statistics can say, and a network is measured against it.
"""

import warnings

import astropy.units as u
import numpy as np
from astropy.utils.exceptions import AstropyUserWarning
from scipy.special import entr

from astrolearn.core.inputs import as_quantity, to_float
from astrolearn.core.tables import SampleTable
from astrolearn.counts.beam_response import BeamResponse
from astrolearn.counts.models import LOG_FLUX, ReferenceCounts
from astrolearn.counts.pofd import DeflectionModel
from astrolearn.counts.posterior import MEASURED, information

__all__ = ["fluctuation_analysis"]

_WEAK_WIDTH, _FIRST_WIDTH = 2.0, 0.4  # dex
# Bins: widths of the core apart by 0.2 in the middle and by 12 % of the pixel value far from it.
_BIN_SCALE, _BIN_STEP = 1.77, 0.113
_BEYOND = 8  # empty bins above the brightest pixel: there being none brighter is information, too
_FLOOR = 1e-9  # of probabilities; the model's own errors are smaller
_MAX_STEP = 0.5  # of a parameter in one iteration: dex, widths, or e-folds
_TOLERANCE = 1e-6  # of the gain in ln(posterior) that is still expected
_MIN_BEAMS = 100
_BLOCK_BEAMS, _MIN_BLOCKS, _MAX_BLOCKS = 8, 25, 256  # side of a block in beams, and their number


def fluctuation_analysis(
    image,
    *,
    beam,
    pixel_scale,
    noise,
    frequency,
    psf=None,
    clean_threshold=None,
    flux=None,
    flux_range=None,
    start=None,
    prior=None,
    prior_width=0.4,
    noise_uncertainty=0.02,
    samples_per_beam=4.0,
    errors="blocks",
    max_iter=1000,
):
    """
    Fit source counts to the distribution of an image's pixel values.

    The posterior of log10 n at nodes of flux (power laws between them), of the level and of the noise is maximised by
    Fisher scoring. The likelihood is the multinomial one of the histogram with ``samples_per_beam`` independent pixels
    per beam. Priors are Gaussian: on log10 n at each node by itself, and on the logarithm of the noise; the level is
    free. Sources are points at random positions within the pixels: clustering and sizes are not modelled (the method
    is that of Scheuer 1957, Condon 1974 and Vernstrom et al. 2014).

    Pixels are not independent, and how much they say depends on what is asked of them: over simulated images the
    scatter of the counts was that of 4 to 7 independent samples per beam at the fluxes around the noise, and of 1 to 2
    for the brightest sources. So by default the error is not left to one number: the scatter of the score (the
    derivative of ln(likelihood)) between blocks of the image, of at least eight beams, takes the place of the expected
    one. The estimate itself depends little on ``samples_per_beam``.

    Parameters
    ----------
    image : `~astropy.units.Quantity`, `~astropy.nddata.NDData` or array-like, (height, width)
        In a unit of flux density per beam or of brightness temperature; plain numbers in Jy/beam. Pixels that are NaN
        or masked are left out.
    beam : `~astropy.units.Quantity`, str, float or a pair
        Full width at half maximum of the Gaussian beam, or of its major and minor axis; plain numbers in arcsec.
    pixel_scale : `~astropy.units.Quantity`, str or float
        Side of a pixel; a plain number in arcsec.
    noise : `~astropy.units.Quantity`, str or float
        Standard deviation of the noise of a pixel; a plain number in Jy/beam.
    frequency : `~astropy.units.Quantity`, str or float
        Of the image, for the prior and for brightness temperatures; a plain number in GHz.
    psf : array-like, (n, m), optional
        Point-spread function on the pixels of the image with a peak of 1, positive or negative elsewhere. Sources then
        have its shape; ``beam`` still says what "per beam" is.
    clean_threshold : `~astropy.units.Quantity`, str or float, optional
        Of a restored image: what a source has above it has the shape of the Gaussian beam, the rest that of the PSF. A
        plain number in Jy/beam. Default: no CLEAN.
    flux : `~astropy.units.Quantity` or array-like, (n_nodes,), optional
        Nodes, increasing; plain numbers in Jy. Default: 10**-7.5 to 1 Jy in steps of 0.5 dex.
    flux_range : pair of `~astropy.units.Quantity` or float, optional
        Flux densities of the faintest and the brightest source that there can be; plain numbers in Jy. Default: counts
        go on with their end slopes over one decade beyond the nodes.
    start : callable, optional
        Counts to start from, such as a `CountModel`: flux to 1/(Jy sr). Default: the prior's centre.
    prior : callable, optional
        Counts that are the centre of the prior. Default: `ReferenceCounts` at ``frequency``.
    prior_width : float or None, optional
        Standard deviation of the prior of log10 n at each node in dex. Default: 0.4, that of the skies which networks
        are trained on. `None`: 2 dex, which is hardly any prior at all.
    noise_uncertainty : float, optional
        Relative standard deviation of the prior of the noise. Default: 0.02.
    samples_per_beam : float, optional
        Independent samples per solid angle of the beam, but no more than the pixels: the weight of the data against the
        priors, and the scale of Fisher errors. Default: 4.
    errors : {"blocks", "fisher"}, optional
        Covariance from the scatter between blocks of the image (default; Fisher's where there are less than 25), or the
        inverse of the expected information (Fisher's).
    max_iter : int, optional
        Of each of the two fits with a weak prior, or of the one. Default: 1000; about twenty are needed.

    Returns
    -------
    table : SampleTable, (n_nodes,)
        ``S_lo``, ``S_mid``, ``S_hi`` (Jy; the node is in the middle), ``n`` (1/(Jy sr)), ``n_q16``, ``n_q84`` (one
        standard deviation of log10 n away), ``log_n_error`` (dex), ``euclidean`` (S^2.5 n in Jy^1.5/sr),
        ``prior_width`` (dex), ``information`` (1 less the ratio of posterior and prior variance) and ``prior_driven``
        (information below 0.5). Its ``meta`` has ``covariance`` of log10 n (dex^2, (n_nodes, n_nodes)), ``zero_level``
        (the fitted level less the fitted faint sources), ``level`` and ``level_error`` (with the mean of the faint
        sources, which is what can be measured), ``noise``, ``noise_error``, ``beam``, ``pixel_scale``, ``area``,
        ``frequency``, ``n_samples``, ``n_iterations`` and ``converged``.

    Raises
    ------
    astropy.units.UnitConversionError
        If a unit does not convert.
    ValueError
        If a parameter is out of its range, the image holds less than 100 beams, is constant or has fluctuations of more
        than 30 times the noise, or there is something wrong with the PSF or the nodes.

    Warns
    -----
    astropy.utils.exceptions.AstropyUserWarning
        If the fit has not converged, or the fitted noise is five standard deviations of its prior away from ``noise``.
    """
    frequency = as_quantity(frequency, u.GHz, "frequency")
    noise = float(as_quantity(noise, u.Jy / u.beam, "noise").value)
    pixel_scale = as_quantity(pixel_scale, u.arcsec, "pixel_scale")
    pixel = float(pixel_scale.to_value(u.rad))
    named = {
        "frequency": frequency.value,
        "noise": noise,
        "pixel_scale": pixel_scale.value,
        "samples_per_beam": samples_per_beam,
        "noise_uncertainty": noise_uncertainty,
        "max_iter": max_iter,
        "prior_width": _WEAK_WIDTH if prior_width is None else prior_width,
    }
    for name, value in named.items():
        if not 0 < value < np.inf:
            raise ValueError(f"{name}={value} must be positive")
    if errors not in ("blocks", "fisher"):
        raise ValueError(f"errors={errors!r} is neither 'blocks' nor 'fisher'")
    log_flux = _read_nodes(flux)
    response = BeamResponse(beam, psf, pixel_scale, clean_threshold)
    values = _read_image(image, frequency, response.solid_angle)
    n_pixels = np.count_nonzero(~np.isnan(values))
    area = n_pixels * pixel**2
    if area < _MIN_BEAMS * response.solid_angle:
        raise ValueError(f"the image holds {area / response.solid_angle:.1f} beams; at least {_MIN_BEAMS} are needed")
    n_samples = min(n_pixels, samples_per_beam * area / response.solid_angle)

    prior_mean = _evaluate(ReferenceCounts(frequency=frequency) if prior is None else prior, log_flux, "prior")
    width = np.full(len(log_flux), _WEAK_WIDTH if prior_width is None else prior_width, float)
    begin = prior_mean if start is None else _evaluate(start, log_flux, "start")
    block = max(int(_BLOCK_BEAMS * np.sqrt(response.solid_angle) / pixel), int(np.sqrt(n_pixels / _MAX_BLOCKS)), 1)
    centre, scale, edges, counts = _histogram(values, block)
    model = DeflectionModel(log_flux, response, scale, noise, flux_range)
    model.set_bins(edges)
    posterior = _Posterior(model, counts, n_samples, noise, prior_mean, width, noise_uncertainty)
    x = np.append(begin, [0.0, 0.0])
    if width[0] > _FIRST_WIDTH:  # a weak prior leaves long curved valleys, which are slow to follow from far away
        first = _Posterior(model, counts, n_samples, noise, prior_mean, 0 * width + _FIRST_WIDTH, noise_uncertainty)
        x = _maximise(first, x, max_iter)[0]
    best, n_iterations, converged = _maximise(posterior, x, max_iter)
    covariance = posterior.covariance(best, errors)

    log_n, level, log_noise = best[:-2], centre + scale * best[-2], best[-1]
    if not converged:
        warnings.warn(f"the fit has not converged in {max_iter} iterations", AstropyUserWarning, stacklevel=2)
    if abs(log_noise) > 5 * noise_uncertainty:
        warnings.warn(
            f"the image's noise is {noise * np.exp(log_noise):.3g} Jy/beam rather than noise={noise:.3g}: counts near "
            "and below it are unreliable; give its noise, and the PSF where it has sidelobes",
            AstropyUserWarning, stacklevel=2,
        )
    error = np.sqrt(np.diag(covariance))
    table = _table(log_flux, log_n, error[:-2], width)
    per_beam = u.Jy / u.beam
    table.meta = {
        "covariance": covariance[:-2, :-2],
        "zero_level": (level - model.faint_mean(log_n)) * per_beam,
        "level": level * per_beam,
        "level_error": error[-2] * scale * per_beam,
        "noise": noise * np.exp(log_noise) * per_beam,
        "noise_error": noise * np.exp(log_noise) * error[-1] * per_beam,
        "beam": as_quantity(beam, u.arcsec, "beam"),
        "pixel_scale": pixel_scale,
        "area": area * u.sr,
        "frequency": frequency,
        "n_samples": n_samples,
        "n_iterations": n_iterations,
        "converged": converged,
    }
    return table


class _Posterior:
    """Minus ln(posterior) of (log10 n at the nodes, level in widths, ln of noise over its prior's centre)."""

    def __init__(self, model, counts, n_samples, noise, prior_mean, prior_width, noise_uncertainty):
        self._model, self._counts, self._n_samples, self._noise = model, counts, n_samples, noise
        self._fraction = fraction = counts.sum(axis=0) / counts.sum()
        self._entropy = -entr(fraction).sum()  # taken off, so that small gains are not lost in rounding
        self._mean = np.append(prior_mean, [0.0, 0.0])
        self._precision = np.append(prior_width, [np.inf, noise_uncertainty]) ** -2.0

    def value(self, x):
        p = self._model.probability(x[:-2], x[-2] * self._model.width, self._noise * np.exp(x[-1]))
        p = _floored(p)[0]
        return self._value(x, p)

    def _value(self, x, p):
        # Given that a pixel lies in the range of the histogram: hence the sum.
        likelihood = self._n_samples * (self._fraction @ np.log(p) - np.log(p.sum()) - self._entropy)
        return (self._precision * (x - self._mean) ** 2).sum() / 2 - likelihood

    def _slopes(self, x):
        p, slopes = self._model.probability(
            x[:-2], x[-2] * self._model.width, self._noise * np.exp(x[-1]), gradient=True
        )
        p, factor = _floored(p)
        return p, slopes * factor[:, None]

    def expand(self, x):
        """Value, gradient and the expected second derivatives (Fisher's information)."""
        p, slopes = self._slopes(x)
        total, drift = p.sum(), slopes.sum(axis=0)
        gradient = self._n_samples * (drift / total - (self._fraction / p) @ slopes)
        information = (slopes.T / p) @ slopes / total - np.outer(drift, drift) / total**2
        gradient += self._precision * (x - self._mean)
        return self._value(x, p), gradient, self._n_samples * information + np.diag(self._precision)

    def covariance(self, x, errors):
        """Covariance of the estimate around the truth, both for noise and for truths that follow the prior."""
        inverse = np.linalg.inv(self.expand(x)[2])
        if errors == "fisher" or len(self._counts) < _MIN_BLOCKS:
            return inverse
        p, slopes = self._slopes(x)
        score = slopes / p[:, None]
        size, n_blocks = self._counts.sum(axis=1), len(self._counts)
        deviation = self._counts @ score - size[:, None] * (self._fraction @ score)
        scatter = deviation.T @ deviation * (self._n_samples / size.sum()) ** 2 * n_blocks / (n_blocks - 1)
        return inverse @ (scatter + np.diag(self._precision)) @ inverse


def _floored(p):
    """Probabilities kept positive smoothly, and the derivative of that: far in the wings they are below rounding."""
    root = np.sqrt(p**2 + 4 * _FLOOR**2)
    return (p + root) / 2, (1 + p / root) / 2


def _maximise(posterior, x, max_iter):
    """Fisher scoring, damped as by Levenberg and Marquardt: the maximum, iterations, and whether it converged."""
    damping, growth = 1e-3, 2.0
    value, gradient, information = posterior.expand(x)
    converged = False
    for iteration in range(1, max_iter + 1):  # noqa: B007
        step = -np.linalg.solve(information + damping * np.diag(np.diag(information)), gradient)
        step *= min(1.0, _MAX_STEP / np.abs(step).max())
        expected = -(gradient + information @ step / 2) @ step
        gain = (value - posterior.value(x + step)) / expected
        if gain > 0:
            x = x + step
            # Nielsen's rule: it settles where the expected information is far from the observed one, too.
            damping, growth = max(damping * max(1 / 10, 1 - (2 * gain - 1) ** 3), 1e-9), 2.0
            value, gradient, information = posterior.expand(x)
            if gradient @ np.linalg.solve(information, gradient) / 2 < _TOLERANCE:
                converged = True
                break
        else:
            damping, growth = max(damping, 1e-6) * growth, growth * 2
    return x, iteration, converged


def _read_nodes(flux):
    if flux is None:
        return LOG_FLUX
    flux = to_float(flux, u.Jy, "flux", shape=("n_nodes",), dtype=np.float64)
    if len(flux) < 2 or (flux <= 0).any() or (np.diff(flux) <= 0).any():
        raise ValueError("flux must be two or more positive nodes in increasing order")
    return np.log10(flux)


def _read_image(image, frequency, solid_angle):
    """The image in Jy/beam, NaN where there is nothing."""
    unit = getattr(image, "unit", None)
    if unit is not None and u.Unit(unit).is_equivalent(u.K):
        to_flux = u.brightness_temperature(frequency, solid_angle * u.sr)
        values = to_float(image, u.K, "image", shape=("height", "width"), missing="keep")
        values *= (1 * u.K).to_value(u.Jy / u.beam, to_flux)
    else:
        values = to_float(image, u.Jy / u.beam, "image", shape=("height", "width"), missing="keep")
    if np.isnan(values).all():
        raise ValueError("image has no pixel that is not NaN or masked")
    return values


def _evaluate(counts, log_flux, name):
    """log10 n of a count model at the nodes."""
    n = as_quantity(counts(10**log_flux * u.Jy), 1 / (u.Jy * u.sr), name).value
    if n.shape != log_flux.shape or not (n > 0).all():
        raise ValueError(f"{name} must give positive counts at each node")
    return np.log10(n)


def _histogram(values, block):
    """Centre, width of the core, edges of bins relative to the centre, and the pixels of each block in each bin."""
    rows, columns = np.nonzero(~np.isnan(values))
    values = values[rows, columns]
    low, centre, high = np.quantile(values, [0.158655, 0.5, 0.841345]).astype(np.float32)
    scale = float(high - low) / 2
    if not scale > 0:
        raise ValueError("image is constant: there are no fluctuations to analyse")
    position = np.arcsinh((values - centre) / np.float32(_BIN_SCALE * scale)) / np.float32(_BIN_STEP)
    first, last = int(np.floor(position.min())) - 1, int(np.ceil(position.max())) + _BEYOND
    edges = _BIN_SCALE * scale * np.sinh(_BIN_STEP * np.arange(first, last + 1))
    bins = np.floor(position).astype(int) - first
    blocks = rows // block * (columns.max() // block + 1) + columns // block
    counts = np.bincount(blocks * (last - first) + bins, minlength=(blocks.max() + 1) * (last - first))
    counts = counts.reshape(-1, last - first)
    return float(centre), scale, edges, counts[counts.any(axis=1)]


def _table(log_flux, log_n, error, prior_width):
    middles = (log_flux[1:] + log_flux[:-1]) / 2
    edges = np.concatenate([[2 * log_flux[0] - middles[0]], middles, [2 * log_flux[-1] - middles[-1]]])
    density = 1 / (u.Jy * u.sr)
    known = information(error, prior_width)
    return SampleTable(
        {
            "S_lo": 10 ** edges[:-1] * u.Jy,
            "S_mid": 10**log_flux * u.Jy,
            "S_hi": 10 ** edges[1:] * u.Jy,
            "n": 10**log_n * density,
            "n_q16": 10 ** (log_n - error) * density,
            "n_q84": 10 ** (log_n + error) * density,
            "log_n_error": error,
            "euclidean": 10 ** (log_n + 2.5 * log_flux) * u.Jy**1.5 / u.sr,
            "prior_width": prior_width,
            "information": known,
            "prior_driven": known < MEASURED,
        }
    )
