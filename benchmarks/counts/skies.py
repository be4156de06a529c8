"""Fresh skies, and what every method says of each: networks, the fit of fluctuations, detection.

All see the same image. The fit starts from the reference counts, which are 0.4 dex away from those of the skies, and
has the prior of the training skies. Detections are those of sep above five times the noise; their numbers are divided
by the numbers found in skies with the reference counts, which corrects for completeness and for noise that lifts
sources over the threshold.
"""

import time
from dataclasses import dataclass
from functools import partial

import astropy.units as u
import numpy as np
import sep

from astrolearn.core.parallel import map_batches
from astrolearn.core.progress import progress
from astrolearn.counts import (
    GaussianProcess,
    IndependentBins,
    RadioSkySimulator,
    ReferenceCounts,
    TalkFamily,
    fluctuation_analysis,
)
from astrolearn.counts.expected import evaluate
from astrolearn.counts.features import cumulative_histogram
from astrolearn.counts.simulator import squares

__all__ = ["FAMILIES", "FAMILY", "METHODS", "OURS", "PD", "SEP", "TALK", "Answers", "observe", "rms_of"]

FAMILIES = {"independent bins": IndependentBins, "Gaussian process": GaussianProcess, "talk": TalkFamily}
OURS, PD, SEP = "SourceCountRegressor", "P(D) fit", "detection with sep"
FAMILY, TALK = "SourceCountRegressor, trained on the talk's family", "regis2022, trained on the talk's family"
METHODS = (OURS, PD, SEP, FAMILY, TALK)
_FLUX_RANGE = (10**-7.5, 1.0)  # Jy: what the simulator has
_THRESHOLD = 5.0  # times the noise
_CALIBRATED = 6  # skies with the reference counts
_CUTOUT, _CUTOUTS = 128, 100  # the talk's squares, of which its network sees so many of each sky
_FEWEST = 0.05  # completeness below which nothing is said


@dataclass
class Answers:
    """
    What was said of the skies of one family.

    Attributes
    ----------
    nodes : `numpy.ndarray`, (n_skies, n_nodes)
        True log10 n at the nodes of the family.
    true : `numpy.ndarray`, (n_skies, n_bins)
        True log10 n at the middles of the bins.
    cumulative : `numpy.ndarray`
        Histograms of the pixels.
    mean, sigma : dict of str to `numpy.ndarray`, (n_skies, n_bins)
        log10 n of each method, and its stated error, which detections lack.
    driven : `numpy.ndarray` of bool, (n_skies, n_bins)
        Where the regressor says ``prior_driven``.
    seconds : dict of str to `numpy.ndarray`, (n_skies,)
    """

    nodes: np.ndarray
    true: np.ndarray
    cumulative: np.ndarray
    mean: dict
    sigma: dict
    driven: np.ndarray
    seconds: dict

    def error(self, method):
        """Estimate less truth, (n_skies, n_bins)."""
        return self.mean[method] - self.true


def observe(regressor, trained_otherwise, tool, n_pixels, n_skies, seed, detect=True, n_jobs=2):
    """
    Simulate fresh skies of all families and ask every method.

    Parameters
    ----------
    regressor : SourceCountRegressor
    trained_otherwise : dict of str to SourceCountRegressor
        Further ones, of either architecture.
    tool : Instrument
    n_pixels, n_skies, seed : int
        Side of the images, their number for each family, and the seed of all.
    detect : bool, optional
        Whether to detect sources, too.
    n_jobs : int, optional
        Processes.

    Returns
    -------
    answers : dict of str to Answers
    """
    reference = ReferenceCounts(frequency=tool.frequency)
    make = partial(RadioSkySimulator, instrument=tool, n_pixels=n_pixels)
    seeds = np.random.default_rng(seed).integers(2**63, size=(len(FAMILIES) + 1, max(n_skies, _CALIBRATED)))
    usual = None
    if detect:
        found = map_batches(partial(_detections, make(counts=reference), regressor.flux_bins_.value),
                            seeds[-1, :_CALIBRATED], n_jobs)
        usual = np.mean(list(found), axis=0)
        expected = reference.number(regressor.flux_bins_[:-1], regressor.flux_bins_[1:]).value
        area = (n_pixels * tool.pixel_scale.to_value(u.rad)) ** 2
        usual = np.where(usual > _FEWEST * expected * area, usual, np.nan)
    answers = {}
    for name, row in zip(FAMILIES, seeds, strict=False):
        ask = partial(_ask, make(counts=FAMILIES[name](reference)), regressor, trained_otherwise, usual, reference)
        found = map_batches(ask, row[:n_skies], n_jobs, ahead=2)
        shown = list(progress(found, f"skies of {name}", total=n_skies, verbose=1))
        nodes, cumulative, means, sigmas, driven, seconds = (list(part) for part in zip(*shown, strict=True))
        nodes = np.array(nodes)
        answers[name] = Answers(
            nodes, evaluate(FAMILIES[name](reference).log_flux, nodes, regressor._log_flux[None]), np.array(cumulative),
            *({method: np.array([part[method] for part in parts]) for method in parts[0]} for parts in (means, sigmas)),
            np.array(driven), {method: np.array([part[method] for part in seconds]) for method in seconds[0]},
        )  # fmt: skip
    return answers


def _detections(simulator, edges, seed):
    """Numbers of detections in bins of flux."""
    (image,) = simulator.sample(1, int(seed))
    return _count(image.data, simulator.instrument, edges)


def _count(values, tool, edges):
    values = np.ascontiguousarray(values, dtype=np.float32)
    background = sep.Background(values, bw=128, bh=128)
    sep.set_extract_pixstack(10_000_000)
    threshold = _THRESHOLD * tool.noise.value
    found = sep.extract(values - background.back(), threshold, minarea=3, deblend_cont=0.005)
    return np.histogram(found["peak"], edges)[0]


def _ask(simulator, regressor, trained_otherwise, usual, reference, seed):
    """What one sky is, and what is said of it."""
    (image,) = simulator.sample(1, int(seed))
    tool, log_flux, mean, sigma, seconds = simulator.instrument, regressor._log_flux, {}, {}, {}
    for name, network in {OURS: regressor, **trained_otherwise}.items():
        X, groups = [image], None
        if network.architecture == "regis2022":
            cutouts = squares(image.data, _CUTOUT)
            X = cutouts[np.random.default_rng(int(seed)).permutation(len(cutouts))[:_CUTOUTS]]
            groups = np.zeros(len(X), int)
        start = time.perf_counter()
        table = network.predict_counts(X, groups, noise=tool.noise)
        seconds[name] = time.perf_counter() - start
        mean[name], sigma[name] = np.log10(table["n"].value), np.sqrt(np.diag(table.meta["covariance"][0]))
        if name == OURS:
            driven = np.asarray(table["prior_driven"])

    start = time.perf_counter()
    fit = fluctuation_analysis(
        image, beam=tool.beam_major, pixel_scale=tool.pixel_scale, noise=tool.noise, frequency=tool.frequency,
        flux_range=_FLUX_RANGE,
    )  # fmt: skip
    seconds[PD] = time.perf_counter() - start
    rows = np.abs(np.log10(fit["S_mid"].value)[:, None] - log_flux).argmin(axis=0)
    mean[PD], sigma[PD] = np.log10(fit["n"].value)[rows], fit["log_n_error"][rows]

    if usual is not None:
        start = time.perf_counter()
        number = _count(image.data, tool, regressor.flux_bins_.value)
        seconds[SEP] = time.perf_counter() - start
        mean[SEP] = reference.log_density(log_flux) + np.log10(np.maximum(number, 0.5) / usual)
    cumulative = cumulative_histogram([image.data], tool.noise.value)[0]
    return image.meta["counts"].log_n, cumulative, mean, sigma, driven, seconds


def rms_of(errors):
    """Root mean square of each bin and its standard error, of errors (n, n_bins); NaN where there are none."""
    n = np.maximum((~np.isnan(errors)).sum(axis=0), 1)
    value = np.sqrt(np.nansum(errors**2, axis=0) / n)
    value = np.where(np.isnan(errors).all(axis=0), np.nan, value)
    return list(zip(value, value / np.sqrt(2 * n), strict=True))
