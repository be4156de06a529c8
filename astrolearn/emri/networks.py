"""The networks of the detector: one on the strongest tracks and their combs, and a published one on the series."""

import math

import torch
from torch import nn
from torch.nn.functional import conv1d, pad

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


class _PooledConvolution(nn.Conv1d):
    """
    A convolution of stride 1, and max-pooling, in one.

    Each of the kernels is laid at every place of a pooling window, and all of them go over the series with the stride
    of the pooling: the plane before the pooling, which would not fit a processor's caches, is never laid out as such.
    It is the same function in half the time.
    """

    def __init__(self, n_inputs, n_kernels, kernel, pool):
        super().__init__(n_inputs, n_kernels, kernel)
        self.pool = pool

    def forward(self, x):
        shifted = torch.stack([pad(self.weight, (i, self.pool - 1 - i)) for i in range(self.pool)], dim=1)
        planes = conv1d(x, shifted.flatten(0, 1), stride=self.pool).unflatten(1, shifted.shape[:2])
        return planes.max(dim=2).values + self.bias[:, None]


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
            _PooledConvolution(2, 32, 34, 8), nn.ReLU(),
            _PooledConvolution(32, 16, 8, 6), nn.ReLU(),
            _PooledConvolution(16, 16, 6, 4), nn.ReLU(),
            nn.Flatten(),
        )
        length = n_samples
        for kernel, pool in ((34, 8), (8, 6), (6, 4)):
            length = (length - kernel + 1) // pool
        self.dense = nn.Sequential(
            nn.Linear(16 * length, 128), nn.ReLU(), nn.Linear(128, 32), nn.ReLU(), nn.Linear(32, 2)
        )

    def forward(self, series):
        """Logits (n,) of series (n, 2, n_samples)."""
        outputs = self.dense(self.features(series))
        return outputs[:, 1] - outputs[:, 0]
