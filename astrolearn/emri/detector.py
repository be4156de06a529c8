"""Detection of extreme-mass-ratio inspirals in whitened strain, with a false-alarm probability that holds."""

import shutil
import tempfile
from functools import partial
from importlib.metadata import version
from numbers import Integral, Real
from pathlib import Path

import astropy.units as u
import numpy as np
import torch
from scipy.special import expit
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn
from torch.utils.data import Dataset

from astrolearn.core.estimator import NetworkEstimator
from astrolearn.core.net import OneCycle
from astrolearn.core.parallel import in_batches, map_batches
from astrolearn.core.progress import progress
from astrolearn.core.seeding import make_rng
from astrolearn.core.tables import SampleTable
from astrolearn.emri.candidates import candidates
from astrolearn.emri.networks import TrackSetNetwork, Zhang2022Network
from astrolearn.emri.parameters import read_interval
from astrolearn.emri.population import EMRIPopulation
from astrolearn.emri.response import DETECTORS
from astrolearn.emri.series import as_series, check_whitened, is_mostly_gaps
from astrolearn.emri.tracks import SEARCH

__all__ = ["EMRIDetector"]

_HELD_OUT = 0.2  # of the signals: they calibrate the probability
_ZHANG_SHORTEST = 521  # what its convolutions and poolings need
_AT_ONCE = 8  # series of one job in prediction: a first convolution of 64 would hold 2 GB


class EMRIDetector(ClassifierMixin, NetworkEstimator):
    """
    Finds gravitational waves of extreme-mass-ratio inspirals in series of strain, of three months or another length.

    A series is given a score by a network; the scores of many series of pure noise say how probable a false alarm
    with such a score is, and held-out signals how probable a signal is. The network on tracks searches from 0.1 mHz on,
    takes the level of the noise from the series itself, and samples that stand out by 8 standard deviations as gaps.

    Parameters
    ----------
    architecture : {"tracks", "zhang2022"}, optional
        ``"tracks"`` (default): a network on the strongest tracks through the spectrogram and the combs of harmonics
        that they may belong to. ``"zhang2022"``: the convolutional network on the series of Zhang et al. (2022),
        2202.07158.
    false_alarm_probability : float, optional
        Of `predict`, per series of noise. Default: 0.01. It can be changed after fitting.
    prior_odds : float, optional
        Of a signal of the trained kind against none, before the data are seen: what `predict_proba` starts from.
        Default: 1.
    detector : {"tianqin", "lisa"}, optional
        Default: TianQin.
    sample_interval : `~astropy.units.Quantity`, str or float, optional
        Time between samples. Default: 30 s.
    n_signals : int, optional
        Signals to simulate when a population is given to `fit`.
    n_draws : int, optional
        How often each of them is put into new noise for ``"tracks"``; the epochs take the draws in turn.
        ``"zhang2022"`` gets new noise in every epoch.
    n_noise : int, optional
        Series of noise from which the false-alarm probabilities are found. Default: 5000, good to 1e-3.
    device, batch_size, max_epochs, lr, random_state, verbose, n_jobs
        See `~astrolearn.core.estimator.NetworkEstimator`. In prediction a batch has 8 series at most, and each process
        takes one batch at a time.

    Attributes
    ----------
    classes_ : `numpy.ndarray`
        0 for noise and 1 for a signal.
    n_samples_ : int
        Length of the series that it was trained on.
    noise_scores_ : `numpy.ndarray`, shape (n_noise,)
        Scores of noise, increasing.
    calibration_ : `numpy.ndarray`, shape (2,)
        Slope and intercept from scores to logarithmic odds, for equal prior odds.
    net_ : `skorch.NeuralNet`
        The trained network.

    Examples
    --------
    >>> from astrolearn import EMRIDetector
    >>> from astrolearn.emri import EMRIPopulation, Whitener
    >>> detector = EMRIDetector.from_pretrained("tianqin-3month")  # doctest: +SKIP
    >>> table = detector.detect(Whitener("tianqin").transform(strain))  # doctest: +SKIP
    """

    _parameter_constraints = {
        **NetworkEstimator._parameter_constraints,
        "architecture": [StrOptions({"tracks", "zhang2022"})],
        "false_alarm_probability": [Interval(Real, 0, 1, closed="neither")],
        "prior_odds": [Interval(Real, 0, None, closed="neither")],
        "detector": [StrOptions(set(DETECTORS))],
        "sample_interval": [str, u.Quantity, Interval(Real, 0, None, closed="neither")],
        "n_signals": [Interval(Integral, 10, None, closed="left")],
        "n_draws": [Interval(Integral, 1, None, closed="left")],
        "n_noise": [Interval(Integral, 1, None, closed="left")],
    }
    _mixed_precision = True
    _fitted_names = ("classes_", "n_samples_", "noise_scores_", "calibration_")

    def __init__(
        self,
        *,
        architecture="tracks",
        false_alarm_probability=0.01,
        prior_odds=1.0,
        detector="tianqin",
        sample_interval="30 s",
        n_signals=5000,
        n_draws=4,
        n_noise=5000,
        device="auto",
        batch_size=64,
        max_epochs=12,
        lr=2e-3,
        random_state=None,
        verbose=0,
        n_jobs=None,
    ):
        super().__init__(
            device=device,
            batch_size=batch_size,
            max_epochs=max_epochs,
            lr=lr,
            random_state=random_state,
            verbose=verbose,
            n_jobs=n_jobs,
        )
        self.architecture = architecture
        self.false_alarm_probability = false_alarm_probability
        self.prior_odds = prior_odds
        self.detector = detector
        self.sample_interval = sample_interval
        self.n_signals = n_signals
        self.n_draws = n_draws
        self.n_noise = n_noise

    def fit(self, X, y=None):
        """
        Train on given series, or on a population.

        Parameters
        ----------
        X : array-like, `~astropy.units.Quantity`, list of `~astropy.timeseries.TimeSeries`, or `EMRIPopulation`
            Whitened channels I and II, (n, 2, n_samples), all of one length; see `Whitener`. NaN and masked samples are
            gaps. A population's signals are put into Gaussian noise, with an equal number of series of noise; they are
            kept in a file in the temporary folder (`tempfile.gettempdir`), 1 MB each at the default length, and
            ``"tracks"`` holds 150 kB per signal and draw in memory.
        y : array-like of int, shape (n,)
            1 where there is a signal, 0 where there is none. Not for a population.

        Returns
        -------
        self : EMRIDetector

        Raises
        ------
        ValueError
            If there are not two signals and one series of noise at least, or an input is not usable; the message names
            it.
        OSError
            If the temporary folder has no room for the signals.

        Notes
        -----
        The false-alarm probabilities and the calibration of `predict_proba` always come from ``n_noise`` fresh series
        of Gaussian noise, also where X brings noise of its own; `calibrate` takes the former from other noise.
        """
        self._validate_params()
        rng = make_rng(self.random_state)
        if isinstance(X, EMRIPopulation):
            with tempfile.TemporaryDirectory() as folder:
                return self._fit_population(X, y, rng, Path(folder))
        series = self._read(X)
        if len({x.shape[1] for x in series}) > 1:
            raise ValueError("the series of X differ in length; cut them to one")
        y = np.asarray(y)
        if y.shape != (len(series),) or not np.isin(y, (0, 1)).all():
            raise ValueError(f"y must say 0 or 1 for each of the {len(series)} series of X")
        if (y == 1).sum() < 2 or (y == 0).sum() < 1:
            raise ValueError("y must name two signals (1) and one series of noise (0) at least")
        self._start(series[0].shape[1])
        series = [x[:, : self.n_samples_] for x in series]
        signals = rng.permutation(np.flatnonzero(y == 1))
        held_out = signals[: max(int(_HELD_OUT * len(signals)), 1)]
        training = np.setdiff1d(np.arange(len(y)), held_out)
        inputs = self._prepare([series[i] for i in training])
        self._fit_net(inputs, y[training].astype(np.float32), rng)
        return self._finish([series[i] for i in held_out], len(held_out), rng)

    def _fit_population(self, population, y, rng, folder):
        if y is not None:
            raise ValueError("a population has no y: it makes both signals and noise")
        self._check_population(population)
        self._start(population.n_samples)
        n_held_out = int(_HELD_OUT * self.n_signals)
        needed, free = 4 * self.n_signals * self.n_samples_, shutil.disk_usage(folder).free
        if free < needed:
            raise OSError(f"{folder.parent} has {free / 1e9:.1f} GB left, but the signals take {needed / 1e9:.1f} GB: "
                          "set TMPDIR to a larger folder, or n_signals to fewer")
        signals = np.lib.format.open_memmap(
            folder / "signals.npy", "w+", np.float16, (self.n_signals, 2, self.n_samples_)
        )
        stream = population.stream(self.n_signals, rng, n_jobs=self.n_jobs)
        row = 0
        for batch in progress(stream, "simulating signals", total=-(-self.n_signals // 16), verbose=self.verbose):
            signals[row : row + len(batch)] = batch["signal"][:, :, : self.n_samples_]
            row += len(batch)
        training, held_out = signals[n_held_out:], signals[:n_held_out]
        self._fit_net(self._training_set(training, rng), None, rng)
        noisy = (signal.astype(np.float32) + _noise(rng, signal.shape[1]) for signal in held_out)
        return self._finish(noisy, n_held_out, rng)

    def _training_set(self, signals, rng):
        if self.architecture == "zhang2022":
            return _FreshNoise(signals, rng)
        seeds = rng.integers(2**63, size=(self.n_draws, 2 * len(signals)))
        draws = []
        for seed in seeds:
            jobs = [(signals[i // 2] if i % 2 else None, signals.shape[2], s) for i, s in enumerate(seed)]
            prepare = partial(_noisy_candidates, self.detector, self._interval)
            results = progress(map_batches(prepare, jobs, self.n_jobs), "preparing series", total=len(jobs),
                               verbose=self.verbose)
            draws.append(_stack(results, len(jobs)))
        return _Draws(draws, np.arange(len(seeds[0])) % 2)

    def _check_population(self, population):
        interval = population.sample_interval.value
        if population.detector != self.detector or not np.isclose(interval, self._interval):
            raise ValueError(f"the population is for {population.detector} every {interval:g} s, this detector for "
                             f"{self.detector} every {self._interval:g} s")
        if population.n_samples < self._shortest:
            raise ValueError(f"the population has series of {population.n_samples} samples; at least {self._shortest} "
                             "are needed")

    @property
    def _interval(self):
        return read_interval(self.sample_interval)

    @property
    def _shortest(self):
        return SEARCH.frame if self.architecture == "tracks" else _ZHANG_SHORTEST

    def _start(self, n_samples):
        self.n_samples_ = n_samples // 2 * 2 if self.architecture == "tracks" else n_samples
        self.classes_ = np.array([0, 1])

    def _finish(self, signals, n_signals, rng):
        """Scores of noise and of signals that were not trained on, and what follows from them."""
        noise = (_noise(rng, self.n_samples_) for _ in range(self.n_noise))
        self.noise_scores_ = np.sort(self._scores(noise, self.n_noise)).astype(np.float32)
        scores = self._scores(signals, n_signals)
        both = np.concatenate([self.noise_scores_, scores])[:, None]
        labels = np.repeat([0, 1], [len(self.noise_scores_), len(scores)])
        fit = LogisticRegression(class_weight="balanced").fit(both, labels)
        self.calibration_ = np.array([fit.coef_[0, 0], fit.intercept_[0]])
        return self

    def calibrate(self, X):
        """
        Take the false-alarm probabilities from noise of one's own, which need not be Gaussian.

        Parameters
        ----------
        X : as for `fit`
            Whitened series without signals, each of the trained length. A thousand of them show probabilities
            down to 1e-3.

        Returns
        -------
        self : EMRIDetector
        """
        self._require_fitted()
        series = self._read(X)
        if any(x.shape[1] != self.n_samples_ for x in series):
            raise ValueError(f"the series of noise must have {self.n_samples_} samples each")
        self.noise_scores_ = np.sort(self._scores(series, len(series))).astype(np.float32)
        return self

    def decision_function(self, X):
        """
        Scores of series; the larger, the more like a signal.

        Parameters
        ----------
        X : as for `fit`
            The items of a list may differ in length.

        Returns
        -------
        score : `numpy.ndarray`, float64 (n,)
            Of a series longer than the trained length, the largest over windows that overlap by half.
        """
        score, _ = self._best_windows(X)
        return score

    def predict_proba(self, X):
        """
        Probabilities of noise and of a signal of the trained kind, for the stated prior odds.

        Parameters
        ----------
        X : as for `decision_function`

        Returns
        -------
        probability : `numpy.ndarray`, float64 (n, 2)
            In a series of several windows a signal may be in any of them: the odds of each are so much smaller.
        """
        return self._probabilities(*self._best_windows(X))

    def predict(self, X):
        """
        Whether there is a signal, at the false-alarm probability that is set.

        Parameters
        ----------
        X : as for `decision_function`

        Returns
        -------
        y : `numpy.ndarray` of int (n,)
            1 where a series of noise would reach such a score with at most ``false_alarm_probability``.

        Raises
        ------
        ValueError
            If there were too few series of noise to measure so small a probability.
        """
        score, n_windows = self._best_windows(X)
        detected = self._detected(self._false_alarms(score, n_windows), n_windows)
        return self.classes_[detected.astype(int)]

    def score(self, X, y, sample_weight=None):
        """
        Share of series that `predict` is right about.

        Parameters
        ----------
        X : as for `decision_function`
        y : array-like of int, shape (n,)
            1 where there is a signal, 0 where there is none.
        sample_weight : array-like, shape (n,), optional
            Weights of the series.

        Returns
        -------
        accuracy : float
        """
        return super().score(X, y, sample_weight)

    def detect(self, X):
        """
        Everything that is known about each series.

        Parameters
        ----------
        X : as for `decision_function`

        Returns
        -------
        table : SampleTable
            ``statistic`` (that of `decision_function`), ``probability`` of a signal (see `predict_proba`),
            ``false_alarm_probability`` that noise alone scores as high, ``upper_limit`` (True: no series of noise did,
            and the probability is below the one given), and ``detected``. The noise is that of the trained length,
            without gaps; for a longer series the number of its windows is allowed for.
        """
        score, n_windows = self._best_windows(X)
        false_alarm = self._false_alarms(score, n_windows)
        table = SampleTable({
            "statistic": score,
            "probability": self._probabilities(score, n_windows)[:, 1],
            "false_alarm_probability": false_alarm,
            "upper_limit": score > self.noise_scores_[-1],
            "detected": self._detected(false_alarm, n_windows),
        })
        table.meta |= {
            "false_alarm_probability": self.false_alarm_probability, "prior_odds": self.prior_odds,
            "n_noise": len(self.noise_scores_), "astrolearn": version("astrolearn"),
        }
        return table

    def _probabilities(self, score, n_windows=1):
        slope, intercept = self.calibration_
        signal = expit(slope * score + intercept + np.log(self.prior_odds / n_windows))
        return np.stack([1 - signal, signal], axis=1)

    def _false_alarms(self, score, n_windows):
        """Probability that noise scores as high; with one more count than seen, it is valid at any number of draws."""
        n = len(self.noise_scores_)
        higher = n - np.searchsorted(self.noise_scores_, score.astype(np.float32), side="left")
        return 1 - (1 - (higher + 1) / (n + 1)) ** n_windows

    def _detected(self, false_alarm, n_windows):
        n = len(self.noise_scores_)
        smallest = 1 - (1 - 1 / (n + 1)) ** n_windows.max()
        if self.false_alarm_probability < smallest * (1 - 1e-9):
            in_windows = f" in a series of {n_windows.max()} windows" if n_windows.max() > 1 else ""
            raise ValueError(f"false_alarm_probability={self.false_alarm_probability:g}{in_windows} cannot be measured "
                             f"with {n} series of noise: fit with a larger n_noise, or calibrate with more")
        return false_alarm <= self.false_alarm_probability * (1 + 1e-9)

    def _read(self, X):
        """List of series (2, n), each fit to be searched."""
        series = as_series(X, self._interval)
        for i, x in enumerate(series):
            check_whitened(x, f"X[{i}]", self._shortest)
            if self.architecture == "zhang2022" and np.isnan(x).any():
                raise ValueError(f"X[{i}] has gaps (NaN or masked samples), which the network of Zhang et al. (2022) "
                                 "does not take; architecture='tracks' does")
        return series

    def _windows(self, x, name):
        """A series in pieces of the trained length."""
        n, length = self.n_samples_, x.shape[1]
        if length != n and self.architecture == "zhang2022":
            raise ValueError(f"{name} has {length} samples, but the network of Zhang et al. (2022) was trained on {n} "
                             "and takes no other length; architecture='tracks' does")
        if length < n:
            return [x[:, : length // 2 * 2]]
        starts = range(0, length - n + 1, n // 2)
        last = [] if (length - n) % (n // 2) < SEARCH.frame // 2 else [length - n]
        windows = [x[:, start : start + n] for start in (*starts, *last)]
        return [window for window in windows if not is_mostly_gaps(window)] or windows[:1]

    def _best_windows(self, X):
        """Largest score of each series, and the number of its windows."""
        self._require_fitted()
        self._validate_params()  # some of them may have been changed after fitting
        pieces = [self._windows(x, f"X[{i}]") for i, x in enumerate(self._read(X))]
        n_windows = np.array([len(windows) for windows in pieces])
        scores = self._scores([window for windows in pieces for window in windows], n_windows.sum())
        return np.maximum.reduceat(scores, np.cumsum(n_windows) - n_windows), n_windows

    def _scores(self, series, total):
        """Scores (n,) of an iterable of series of the trained length; memory is bounded."""
        size = min(self.batch_size, _AT_ONCE)
        outputs = self._forward_batches(in_batches(series, size), -(-total // size), self._prepare)
        return np.concatenate(list(outputs)).astype(float)

    @property
    def _prepare(self):
        """Function from a list of series to the input of the network."""
        return partial(_candidates_of, self.detector, self._interval) if self.architecture == "tracks" else np.stack

    def _network(self):
        if self.architecture == "tracks":
            return TrackSetNetwork
        return partial(Zhang2022Network, self.n_samples_)

    def _net_options(self):
        return {
            "criterion": nn.BCEWithLogitsLoss, "optimizer": torch.optim.AdamW, "optimizer__weight_decay": 1e-2,
            "callbacks": [OneCycle()],
        }


def _noise(rng, n_samples):
    return rng.standard_normal((2, n_samples), dtype=np.float32)


def _candidates_of(detector, sample_interval, series):
    return _stack((candidates(x, detector, sample_interval) for x in series), len(series))


def _stack(results, n):
    """Dict of arrays of n results, filled as they come: small arrays kept one by one would fragment the memory."""
    inputs = {}
    for row, (patches, scalars) in enumerate(results):
        if not inputs:
            inputs = {"patches": np.empty((n, *patches.shape), patches.dtype),
                      "scalars": np.empty((n, *scalars.shape), scalars.dtype)}
        inputs["patches"][row], inputs["scalars"][row] = patches, scalars
    return inputs


def _noisy_candidates(detector, sample_interval, job):
    """Candidates of a signal, or of nothing, in noise of some seed."""
    signal, n_samples, seed = job
    x = _noise(np.random.default_rng(seed), n_samples)
    if signal is not None:
        x += signal.astype(np.float32)
    return candidates(x, detector, sample_interval)


class _FreshNoise(Dataset):
    """Series of signals and of none in turn, with new noise whenever they are read."""

    def __init__(self, signals, rng):
        self.signals, self.rng = signals, rng

    def __len__(self):
        return 2 * len(self.signals)

    def __getitem__(self, i):
        x = _noise(self.rng, self.signals.shape[2])
        if i % 2:
            x += self._signal(i // 2)
        return x, np.float32(i % 2)

    def _signal(self, i):
        return self.signals[i].astype(np.float32)


class _Draws(Dataset):
    """Candidates of the same signals in several draws of noise, which are taken in turn."""

    def __init__(self, draws, labels):
        self.draws, self.labels, self.n_read = draws, labels.astype(np.float32), 0

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        draw = self.draws[self.n_read // len(self) % len(self.draws)]
        self.n_read += 1
        return {name: values[i] for name, values in draw.items()}, self.labels[i]
