"""The networks of the detector: one on the strongest tracks and their combs, and a published one on the series."""

import math

import torch
from torch import nn

from astrolearn.emri.candidates import N_SCALARS, PATCH_SHAPE

__all__ = ["TrackSetNetwork", "Zhang2022Network"]


class TrackSetNetwork(nn.Module):
    """
    Weighs a set of candidates, each a track with a comb of harmonics, in whatever order.

    Each candidate's patch (around the teeth of the comb) goes through two convolutions, whose kernels cover three
    neighbouring harmonics and five frequencies, and joins the candidate's numbers in a dense network. The series' logit
    is the logarithm of the candidates' summed odds, corrected by what all of them together look like.

    Parameters
    ----------
    n_channels, n_hidden : int, optional
        Width of the convolutions and of the dense layers.
    """

    def __init__(self, n_channels=12, n_hidden=48):
        super().__init__()
        _, n_harmonics, n_bins = PATCH_SHAPE
        self.first = nn.Conv2d(2, n_channels, (3, 5), padding=(1, 2), stride=(1, 2))
        self.second = nn.Conv2d(n_channels, n_channels, (3, 5), padding=(1, 2), stride=(1, 2))
        self.scale = nn.BatchNorm1d(N_SCALARS, affine=False)
        self.candidate = nn.Sequential(
            nn.Linear(2 * n_channels + 2 * n_harmonics + N_SCALARS, n_hidden), nn.SiLU(),
            nn.Linear(n_hidden, n_hidden), nn.SiLU(),
        )
        self.logit = nn.Linear(n_hidden, 1)
        self.whole = nn.Sequential(nn.Linear(2 * n_hidden + 1, n_hidden), nn.SiLU(), nn.Linear(n_hidden, 1))
        self.tooth = n_bins // 2

    def forward(self, patches, scalars):
        """Logits (n,) of patches (n, n_candidates, 2, 9, 33) and scalars (n, n_candidates, 11)."""
        n, n_candidates = scalars.shape[:2]
        patches = patches.float().flatten(0, 1) / 4  # in standard deviations of noise: of order one
        maps = torch.relu(self.second(torch.relu(self.first(patches))))
        features = torch.cat([
            maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3)), patches[..., self.tooth].flatten(1),
            self.scale(scalars.flatten(0, 1)),
        ], dim=1)
        hidden = self.candidate(features).view(n, n_candidates, -1)
        odds = torch.logsumexp(self.logit(hidden)[..., 0], dim=1, keepdim=True) - math.log(n_candidates)
        return (odds + self.whole(torch.cat([hidden.amax(dim=1), hidden.mean(dim=1), odds], dim=1)))[:, 0]


class Zhang2022Network(nn.Module):
    """
    The convolutional network of Zhang et al. (2022), 2202.07158, table III.

    Convolutions of 32, 16 and 16 kernels of sizes 34, 8 and 6 with pooling of sizes 8, 6 and 4 between, dense layers of
    128 and 32, all with ReLU, and two outputs. What the table leaves open is our choice: convolutions with stride 1 and
    without padding, max-pooling with a stride of its size. The two outputs of its softmax are returned as their
    difference, which is the same function.

    Parameters
    ----------
    n_samples : int
        Length of the series.
    """

    def __init__(self, n_samples):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(2, 32, 34), nn.ReLU(), nn.MaxPool1d(8),
            nn.Conv1d(32, 16, 8), nn.ReLU(), nn.MaxPool1d(6),
            nn.Conv1d(16, 16, 6), nn.ReLU(), nn.MaxPool1d(4),
            nn.Flatten(),
        )
        length = n_samples
        for kernel, pool in ((34, 8), (8, 6), (6, 4)):
            length = (length - kernel + 1) // pool
        self.dense = nn.Sequential(nn.Linear(16 * length, 128), nn.ReLU(), nn.Linear(128, 32), nn.ReLU(), nn.Linear(32,
        2))

    def forward(self, series):
        """Logits (n,) of series (n, 2, n_samples)."""
        outputs = self.dense(self.features(series))
        return outputs[:, 1] - outputs[:, 0]
