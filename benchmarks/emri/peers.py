"""
The networks that EMRIDetector is compared with, trained on the signals that it was trained on.

`zhang2022` is part of the package. Its authors trained it on signals of SNR 50 to 120; so beside the range of the
default architecture, in which most signals may be too weak for it to learn from, it also gets the same signals in that
range. The plain CNN on the spectrogram is the obvious thing to try, and is here to show whether it beats a statistic
that needs no training: logarithms of the power and the Stokes parameters of the derotated channels, convolutions that
are long in time, and the largest values of the plane.

In trials that no benchmark repeats, `zhang2022` learned nothing from the signals as they are (its loss was still ln 2
after 16,000 series, at SNR 12 to 50 and at 20 to 120 alike), and the plain CNN nothing from its first 3,000. So all of
them begin with signals that are several times louder; the loudness falls to that of the training set during the first
half of the training.
"""

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import nn

from astrolearn import EMRIDetector
from astrolearn.emri import EMRIPopulation
from astrolearn.emri.detector import _FreshNoise
from astrolearn.emri.spectrogram import LineSearch, circular_series
from astrolearn.recipes import tianqin_3month

__all__ = ["PEERS", "SpectrogramNetwork", "train_peer"]

_FRAMES = LineSearch(frame=2048, rate_step=np.inf)


class SpectrogramNetwork(nn.Module):
    """
    Convolutions on (5, n_bins, n_frames): the logarithm of the power, and the Stokes parameters.

    Kernels are 3 bins by 9 frames, with a dilation in time that grows; the largest 32 values of the plane and its mean
    give the logit.
    """

    def __init__(self, n_channels=16):
        super().__init__()
        layers, before = [], 5
        for dilation in (1, 2, 4, 8):
            layers += [nn.Conv2d(before, n_channels, (3, 9), padding=(1, 4 * dilation), dilation=(1, dilation)),
                       nn.ReLU(), nn.MaxPool2d((2, 1))]
            before = n_channels
        self.features = nn.Sequential(*layers, nn.Conv2d(n_channels, n_channels, 1))
        self.dense = nn.Sequential(nn.Linear(2 * n_channels, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, series):
        """Logits (n,) of series (n, 2, n_samples)."""
        with torch.no_grad():
            maps = torch.stack([self._maps(x) for x in series])
        planes = self.features(maps).flatten(2)
        strongest = planes.topk(32, dim=2).values.mean(dim=2)
        return self.dense(torch.cat([strongest, planes.mean(dim=2)], dim=1))[:, 0]

    @staticmethod
    def _maps(x):
        stokes = _FRAMES.stokes(circular_series(x.float(), "tianqin", 30.0))[0].transpose(1, 2)
        return torch.cat([torch.log1p((stokes[:1] + 2).clamp(min=0)), stokes / 4])


class _Fading(_FreshNoise):
    """The detector's own training set of the published network, but its signals are louder at first."""

    def __init__(self, signals, rng, louder, n_epochs):
        super().__init__(signals, rng)
        self.louder, self.n_read, self.n_fading = louder, 0, n_epochs * len(self) / 2

    def __getitem__(self, i):
        item = super().__getitem__(i)
        self.n_read += 1
        return item

    def _signal(self, i):
        factor = self.louder ** max(0, 1 - self.n_read / self.n_fading)
        return np.float32(factor) * super()._signal(i)


class _FadingDetector(EMRIDetector):
    """A detector that is trained on signals which begin so many times louder."""

    louder = 8

    def _training_set(self, signals, rng):
        return _Fading(signals, rng, self.louder, self.max_epochs)


class _PublishedDetector(_FadingDetector):
    """The published network; each batch is half signals: from random shares it hardly learned in our trials."""

    def _net_options(self):
        return super()._net_options() | {"iterator_train__shuffle": False}


class _LoudDetector(_PublishedDetector):
    """The same for a training set whose signals are loud already."""

    louder = 4


class _SpectrogramDetector(_FadingDetector):
    """A detector that has this network in the place of the published one."""

    def _network(self):
        return SpectrogramNetwork


PEERS = {
    "zhang2022": (_PublishedDetector, tianqin_3month.SNR, {"lr": 3e-4, "max_epochs": 1, "batch_size": 16}),
    "zhang2022, loud": (_LoudDetector, (50, 120), {"lr": 3e-4, "max_epochs": 1, "batch_size": 16}),
    "spectrogram": (_SpectrogramDetector, tianqin_3month.SNR, {"lr": 2e-3, "max_epochs": 1, "batch_size": 16}),
}


def train_peer(name, cache, n_signals=tianqin_3month.PARAMETERS["n_signals"]):
    """
    A peer from the cache, or trained on the recipe's signals (the same seed), in new noise in every epoch.

    Parameters
    ----------
    name : str
        One of `PEERS`.
    cache : path-like
        Folder of the trained peers.
    n_signals : int, optional
        Signals to train on. Default: those of the recipe.

    Returns
    -------
    EMRIDetector
    """
    detector_class, snr, parameters = PEERS[name]
    parameters = {"architecture": "zhang2022", "n_signals": n_signals, "n_noise": 1000} | parameters
    parameters["random_state"] = tianqin_3month.SEED
    told = json.dumps([snr, detector_class.louder, parameters], sort_keys=True).encode()
    path = Path(cache) / f"{name.replace(', ', '-')}-{sha256(told).hexdigest()[:8]}.safetensors"
    if path.exists():
        return detector_class.load(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    detector = detector_class(verbose=1, **parameters).fit(EMRIPopulation(snr=snr))
    detector.set_params(verbose=0).save(path)
    return detector
