"""
The networks, and their losses.

From the numbers of a histogram a dense network gives a normal distribution of log10 n in all bins of flux at once, as a
mean and a Cholesky factor of the inverse covariance: neighbouring bins share the sources near their border, so what is
known of them together is part of the answer. Beside it are a network for the loss of List (2021), and the convolutional
network of the talk of Regis et al. (2022).
"""

import numpy as np
import torch
from torch import nn
from torch.nn.functional import softplus

__all__ = [
    "EarthMoverLoss", "EarthMoverNetwork", "HistogramNetwork", "NormalLoss", "Regis2022Network", "n_normal",
    "read_normal",
]  # fmt: skip

_LARGEST = 7.0  # of the logarithm of the prior's width over the posterior's


class HistogramNetwork(nn.Module):
    """
    Dense network, with a straight path from the inputs to the means.

    Parameters
    ----------
    n_features : int
        Of the histogram.
    n_sky : int
        Further numbers about the sky.
    n_bins, n_out : int
        Means, and all outputs: the means come first.
    width : int, optional
        Of the hidden layers.
    """

    def __init__(self, n_features, n_sky, n_bins, n_out, width=256):
        super().__init__()
        n_in = n_features + n_sky
        self.n_bins = n_bins
        self.linear = nn.Linear(n_in, n_bins)
        self.hidden = nn.Sequential(
            nn.Linear(n_in, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
        )  # fmt: skip
        self.head = nn.Linear(width, n_out)
        nn.init.zeros_(self.head.weight)  # it begins as the prior
        nn.init.zeros_(self.head.bias)

    def forward(self, features, sky):
        """Features (n, n_features) and (n, n_sky) to (n, n_out)."""
        x = torch.cat([features, sky], dim=1)
        output = self.head(self.hidden(x))
        return torch.cat([self.linear(x) + output[:, : self.n_bins], output[:, self.n_bins :]], dim=1)


def n_normal(n_bins):
    """Numbers that describe a normal distribution in so many dimensions."""
    return n_bins + n_bins * (n_bins + 1) // 2


class NormalLoss(nn.Module):
    """Mean negative logarithm of multivariate normal densities, without its constant."""

    def forward(self, output, target):
        """
        Loss of output (n, n_bins + n_bins (n_bins + 1) / 2) for targets (n, n_bins).

        The outputs are the means, the logarithms of the diagonal of D and what is below the diagonal of L; the inverse
        covariance is L' D^2 L, with ones on the diagonal of L.
        """
        n_bins = target.shape[1]
        log_diagonal = _bounded(output[:, n_bins : 2 * n_bins])
        factor = output.new_zeros(len(output), n_bins, n_bins)
        rows, columns = torch.tril_indices(n_bins, n_bins, -1)
        factor[:, rows, columns] = output[:, 2 * n_bins :]
        deviation = target - output[:, :n_bins]
        white = torch.exp(log_diagonal) * (deviation + (factor @ deviation[:, :, None])[:, :, 0])
        return (white.square().sum(1) / 2 - log_diagonal.sum(1)).mean()


def read_normal(output, n_bins):
    """
    Mean and covariance of what a network for `NormalLoss` says.

    Parameters
    ----------
    output : `numpy.ndarray` (n, n_bins + n_bins (n_bins + 1) / 2)
    n_bins : int

    Returns
    -------
    mean : `numpy.ndarray`, float64 (n, n_bins)
    covariance : `numpy.ndarray`, float64 (n, n_bins, n_bins)
    """
    output = output.astype(float)
    factor = np.tile(np.eye(n_bins), (len(output), 1, 1))
    rows, columns = np.tril_indices(n_bins, -1)
    factor[:, rows, columns] = output[:, 2 * n_bins :]
    width = np.exp(-_bounded(torch.tensor(output[:, n_bins : 2 * n_bins])).numpy())
    inverse = np.linalg.inv(factor) * width[:, None, :]
    return output[:, :n_bins], inverse @ inverse.swapaxes(1, 2)


def _bounded(log_diagonal):
    return _LARGEST * torch.tanh(log_diagonal / _LARGEST)


class EarthMoverNetwork(HistogramNetwork):
    """
    Shares of the brightness in bins of flux, and the total, at a quantile that is an input (List 2021, 2106.02051).

    Parameters
    ----------
    n_features, n_sky, n_bins
        See `HistogramNetwork`.
    """

    def __init__(self, n_features, n_sky, n_bins):
        super().__init__(n_features, n_sky + 1, n_bins + 1, n_bins + 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features, sky):
        """
        Features (n, n_features) and (n, n_sky) to (n, n_bins + 2).

        Logarithms of the shares before they are normalised, of the total, and the quantile: random in training, else
        0.5.
        """
        tau = torch.rand_like(sky[:, :1]) if self.training else torch.full_like(sky[:, :1], 0.5)
        return torch.cat([super().forward(features, torch.cat([sky, tau - 0.5], dim=1)), tau], dim=1)


class EarthMoverLoss(nn.Module):
    """
    Pinball loss of the cumulative shares of brightness, and of the logarithm of the total.

    The shares are positive by a softplus and add up to 1, as in List (2021), eq. 3 and below.

    Parameters
    ----------
    mean, scale : array-like, (n_bins,)
        Targets are (log10 n - mean) / scale.
    log_flux : array-like, (n_bins,)
        log10 of the flux density of the bins.
    """

    def __init__(self, mean, scale, log_flux):
        super().__init__()
        for name, values in (("mean", mean), ("scale", scale), ("log_flux", log_flux)):
            self.register_buffer(name, torch.as_tensor(np.asarray(values), dtype=torch.float32))

    def forward(self, output, target):
        """Loss of output (n, n_bins + 2) for targets (n, n_bins)."""
        share, log_total = self.brightness(output)
        true = 10 ** (target * self.scale + self.mean + 2 * self.log_flux)
        tau = output[:, -1:]
        total = true.sum(1, keepdim=True)
        off = torch.cat([
            true.cumsum(1) / total - share.cumsum(1), torch.log10(total) - log_total,
        ], dim=1)  # fmt: skip
        return torch.maximum(tau * off, (tau - 1) * off).mean()

    def brightness(self, output):
        """Shares (n, n_bins) and log10 of the total of S^2 n (n, 1)."""
        usual = 10 ** (self.mean + 2 * self.log_flux)
        positive = softplus(output[:, :-2]) * usual + 1e-9 * usual.sum()
        return positive / positive.sum(1, keepdim=True), output[:, -2:-1] + torch.log10(usual.sum())

    def log_n(self, output):
        """log10 of n that the shares and the total say, (n, n_bins)."""
        share, log_total = self.brightness(output)
        return torch.log10(share) + log_total - 2 * self.log_flux


class Regis2022Network(nn.Module):
    """
    Convolutional network on single cutouts, after the talk of Regis et al. (2022).

    The talk says: convolutions, maximum pooling, rectifiers, the mean squared error, cutouts of 128 pixels. Its layers
    are not given, so these are our choice: five times a convolution of 3 x 3 (16, 32, 64, 128, 128 filters), a
    rectifier and a halving, then a layer of 128 and the counts; 510 000 parameters for 128 pixels and 12 bins.

    Parameters
    ----------
    n_bins : int
    shape : tuple of int
        Height and width of the cutouts, of which 4 pixels at least are needed.
    """

    WIDTHS = (16, 32, 64, 128, 128)

    def __init__(self, n_bins, shape):
        super().__init__()
        layers, n_channels, side = [], 1, np.array(shape)
        for width in self.WIDTHS:
            layers += [nn.Conv2d(n_channels, width, 3, padding=1), nn.ReLU()]
            n_channels = width
            if side.min() >= 4:
                layers.append(nn.MaxPool2d(2))
                side = side // 2
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(n_channels * int(side.prod()), 128), nn.ReLU(), nn.Linear(128, n_bins)
        )

    def forward(self, images):
        """Images (n, 1, height, width) to (n, n_bins)."""
        return self.layers(images)
