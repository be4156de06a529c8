"""
The networks that EMRIDetector is compared with, trained on the same population.

`zhang2022` is part of the package. The plain CNN on the spectrogram is the obvious thing to try, and is here to show
that it does not beat a statistic that needs no training: logarithms of the power and the Stokes parameters of the
derotated channels, residual-free convolutions that are long in time, and a maximum over the plane.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from astrolearn import EMRIDetector
from astrolearn.emri import EMRIPopulation
from astrolearn.emri.spectrogram import LineSearch, circular_series

__all__ = ["PEERS", "SpectrogramNetwork", "train_peer"]

SEED = 43
TRAINING_SNR = (20, 120)  # with signals down to 12, as the default architecture is trained, they learn less
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


class _SpectrogramDetector(EMRIDetector):
    """A detector that has this network in the place of the published one."""

    def _network(self):
        return SpectrogramNetwork


PEERS = {
    "zhang2022": (EMRIDetector, {"lr": 1e-3, "max_epochs": 8, "batch_size": 16}),
    "spectrogram": (_SpectrogramDetector, {"lr": 2e-3, "max_epochs": 2, "batch_size": 16}),
}


def train_peer(name, cache, n_signals=6250):
    """
    A peer from the cache, or trained.

    Parameters
    ----------
    name : str
        One of `PEERS`.
    cache : path-like
        Folder of the trained peers.
    n_signals : int, optional
        Signals to train on.

    Returns
    -------
    EMRIDetector
    """
    detector_class, parameters = PEERS[name]
    path = Path(cache) / f"{name}.safetensors"
    if path.exists():
        return detector_class.load(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    detector = detector_class(
        architecture="zhang2022", n_signals=n_signals, n_noise=1000, random_state=SEED, verbose=1, **parameters
    )
    detector.fit(EMRIPopulation(snr=TRAINING_SNR)).save(path)
    return detector
