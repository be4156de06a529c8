"""The detectors that are compared, and the scores of all of them on the same series."""

from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from astropy.table import vstack

from astrolearn import EMRIDetector
from astrolearn.core.parallel import in_batches, map_batches
from astrolearn.core.progress import progress
from astrolearn.core.weights import find_pretrained
from astrolearn.emri import track_statistic
from benchmarks.emri.peers import PEERS, train_peer

__all__ = ["NAMES", "N_SAMPLES", "TRACKS", "Context", "binomial", "noise_series", "thresholds", "white_noise"]

TRACKS = "tracks (default)"
NAMES = {
    TRACKS: "EMRIDetector, tracks (default)",
    "zhang2022": "EMRIDetector, zhang2022",
    "zhang2022, loud": "EMRIDetector, zhang2022, trained at SNR 50 to 120",
    "spectrogram": "plain CNN on the spectrogram",
    "smooth": "smooth track (no training)",
    "viterbi": "Viterbi track (no training)",
}
_STATISTICS = ("smooth", "viterbi")
N_SAMPLES = 262144
_BATCH = 8  # series in one job: the networks travel with each


@dataclass
class Context:
    """
    What the benchmarks share.

    Attributes
    ----------
    detector : EMRIDetector
        The one that is measured.
    weights : dict
        Its name and SHA-256.
    data : path-like
        Folder of the real data and reference waveforms.
    cache : `pathlib.Path`
        Folder in which the trained peers are kept: they are too large to be shipped.
    n_noise, n_signals : int
        Size of the test sets.
    """

    detector: EMRIDetector
    weights: dict
    data: Path
    cache: Path
    n_noise: int = 5000
    n_signals: int = 500
    _peers: dict = field(default_factory=dict)
    _noise: dict = field(default_factory=dict)

    @classmethod
    def of(cls, weights, data, cache, skies=None):
        """Context of a weight file, or of the shipped one."""
        path = Path(weights) if weights else Path(find_pretrained("tianqin-3month"))
        named = {"name": path.stem, "sha256": sha256(path.read_bytes()).hexdigest()}
        sizes = {} if skies is None else {"n_noise": 10 * skies, "n_signals": skies}
        return cls(EMRIDetector.load(path), named, data, Path(cache), **sizes)

    def detectors(self):
        """Trained scorers by name: functions from (n, 2, n_samples) to scores (n,)."""
        if not self._peers:
            self._peers = {TRACKS: self.detector} | {name: train_peer(name, self.cache) for name in PEERS}
        return self._peers

    def scores(self, series, total, description, methods=tuple(NAMES)):
        """
        Scores of several methods on the same series.

        Parameters
        ----------
        series : iterable of `numpy.ndarray`, float32 (2, n_samples)
            Whitened.
        total : int
            How many.
        description : str
            What they are, shown beside the progress.
        methods : sequence of str, optional
            Default: all.

        Returns
        -------
        scores : dict of str to `numpy.ndarray`, shape (total,)
        """
        detectors = {name: detector for name, detector in self.detectors().items() if name in methods}
        score = partial(_score, detectors, [name for name in _STATISTICS if name in methods])
        parts = map_batches(score, in_batches(series, _BATCH), -1)
        parts = list(progress(parts, description, total=-(-total // _BATCH)))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def noise(self, seed):
        """Scores of pure noise; those of one seed are computed once."""
        if seed not in self._noise:
            self._noise[seed] = self.scores(noise_series(seed, self.n_noise), self.n_noise, "noise")
        return self._noise[seed]

    def fresh_noise(self, seed, n):
        """Scores (n,) of the measured detector alone on pure noise."""
        return self.scores(noise_series(seed, n), n, "noise", [TRACKS])[TRACKS]

    def false_alarms(self, series, total, description):
        """False-alarm probabilities (total,) that the measured detector gives to series of any length."""
        parts = map_batches(partial(_false_alarms, self.detector), in_batches(series, _BATCH), -1)
        return np.concatenate(list(progress(parts, description, total=-(-total // _BATCH))))

    def signals(self, population, snrs, seed, n=None, methods=tuple(NAMES)):
        """
        Scores of the same signals at several signal-to-noise ratios, each in its own noise.

        Parameters
        ----------
        population : EMRIPopulation
            Of any SNR.
        snrs : sequence of float or None
            Wanted ratios; None is that which the population gives.
        seed : sequence of int
            Of signals and noise: that of the benchmark, and the point's own.
        n : int, optional
            Number of signals. Default: ``n_signals``.
        methods : sequence of str, optional
            Default: all.

        Returns
        -------
        scores : dict of float to dict of str to `numpy.ndarray`
        parameters : `~astropy.table.Table`
            Of the signals.
        """
        n = n or self.n_signals
        # two streams: one seed for both would give noise and parameters the same numbers
        rng, noise_rng = (np.random.default_rng(part) for part in np.random.SeedSequence(seed).spawn(2))
        tables = []

        def series():
            for batch in population.stream(n, rng, n_jobs=1):
                signals = np.asarray(batch["signal"])
                batch.remove_column("signal")
                tables.append(batch)
                for signal, own in zip(signals, batch["snr"], strict=True):
                    for snr in snrs:
                        factor = 1.0 if snr is None else snr / own
                        yield white_noise(noise_rng) + np.float32(factor) * signal

        scores = self.scores(series(), n * len(snrs), "signals", methods)
        by_snr = {snr: {name: values[i :: len(snrs)] for name, values in scores.items()} for i, snr in enumerate(snrs)}
        return by_snr, vstack(tables)


def white_noise(rng):
    """Series of two channels of noise."""
    return rng.standard_normal((2, N_SAMPLES), dtype=np.float32)


def noise_series(seed, n):
    """Iterator of so many series of noise."""
    rng = np.random.default_rng(seed)
    return (white_noise(rng) for _ in range(n))


def _false_alarms(detector, series):
    torch.set_num_threads(1)
    return np.asarray(detector.detect(series)["false_alarm_probability"])


def _score(detectors, statistics, series):
    torch.set_num_threads(1)
    x = np.stack(series)
    scores = {name: detector.decision_function(x) for name, detector in detectors.items()}
    return scores | {name: np.asarray(track_statistic(x, name)) for name in statistics}


def thresholds(noise, false_alarm=0.01):
    """Score that the given share of noise exceeds, by method, and the same of 200 resamplings of the noise."""
    rng = np.random.default_rng(0)
    values = {}
    for name, scores in noise.items():
        resampled = [np.quantile(rng.choice(scores, len(scores)), 1 - false_alarm) for _ in range(200)]
        values[name] = np.quantile(scores, 1 - false_alarm), np.array(resampled)
    return values


def binomial(scores, threshold, resampled):
    """Share of scores above a threshold, with the binomial error and that of the threshold in quadrature."""
    n = len(scores)
    if n == 0:
        return np.nan, np.nan
    share = np.mean(scores > threshold)
    # Wilson's interval has a width where none or all are found
    spread = np.sqrt(share * (1 - share) / n + 1 / (4 * n * n)) / (1 + 1 / n)
    moved = np.std([np.mean(scores > value) for value in resampled])
    return share, np.hypot(spread, moved)
