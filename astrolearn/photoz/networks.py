"""
The networks: on features of a table, and on images.

All give (n, n_networks, 3 * n_components) numbers, the logits, means and raw widths of mixtures (`mixture`). Networks
on tables are so small that an ensemble of them is one batched product; the mean of their densities is better than each.
For images there is one more network, which corrects what they say by what it sees; in training the images are turned
and mirrored at random, because the sky has no upper side.
"""

import numpy as np
import torch
from torch import nn

__all__ = ["ImageNetwork", "Menko2024Network", "TableNetwork", "dihedral", "views"]


class _EnsembleLinear(nn.Module):
    """The linear layers of several networks at once: (n_networks, n, n_in) to (n_networks, n, n_out)."""

    def __init__(self, n_networks, n_in, n_out):
        super().__init__()
        limit = n_in**-0.5
        self.weight = nn.Parameter(torch.empty(n_networks, n_in, n_out).uniform_(-limit, limit))
        self.bias = nn.Parameter(torch.empty(n_networks, 1, n_out).uniform_(-limit, limit))

    def forward(self, x):
        return torch.baddbmm(self.bias, x, self.weight)


class TableNetwork(nn.Module):
    """
    Ensemble of dense networks.

    Parameters
    ----------
    n_features : int
    n_networks, n_components : int
        Networks, and normal distributions that each gives.
    width : int, optional
        Of the two hidden layers.
    """

    def __init__(self, n_features, n_networks, n_components, width=64):
        super().__init__()
        self.n_networks = n_networks
        self.hidden = nn.Sequential(
            _EnsembleLinear(n_networks, n_features, width), nn.SiLU(),
            _EnsembleLinear(n_networks, width, width), nn.SiLU(),
        )  # fmt: skip
        self.head = _EnsembleLinear(n_networks, width, 3 * n_components)
        with torch.no_grad():  # components that begin apart stay apart
            self.head.bias[:, :, n_components : 2 * n_components] += torch.linspace(-1, 1, n_components)

    def forward(self, table):
        """Features (n, n_features) to (n, n_networks, 3 * n_components)."""
        return self.head(self.hidden(table.expand(self.n_networks, -1, -1))).transpose(0, 1)


class ImageNetwork(nn.Module):
    """
    What a table says, corrected by what a convolutional network sees in the image.

    The correction is nothing at first, so the network begins as the one on the table.

    Parameters
    ----------
    n_features, n_networks, n_components
        See `TableNetwork`.
    n_photometry : int
        Features of the light in the image.
    n_channels : int
        Of the images, which may have any size from 16 pixels.
    widths : tuple of int, optional
        Filters of the blocks, each of two convolutions and a halving.
    """

    def __init__(self, n_features, n_photometry, n_channels, n_networks, n_components, widths=(12, 20, 32, 48)):
        super().__init__()
        self.table_network = TableNetwork(n_features, n_networks, n_components)
        self.trunk = _Trunk(n_channels, widths)
        self.correction = nn.Linear(widths[-1] + n_photometry, 3 * n_components)
        self.correct_nothing()

    def correct_nothing(self):
        """Set the correction to nothing."""
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)

    def forward(self, table, photometry=None, images=None):
        """Features, and images of the same objects, to (n, n_networks, 3 * n_components)."""
        said = self.table_network(table)
        if images is None:
            return said
        return said + self.correction(torch.cat([self.trunk(images), photometry], dim=1))[:, None]


class Menko2024Network(nn.Module):
    """
    The network of Menkó's talk (2024): thirteen convolutions, a mean over the image, one number.

    Every convolution is followed by batch normalisation and a rectifier; there are 3 341 793 parameters for three
    channels.

    Parameters
    ----------
    n_channels : int
    """

    WEIGHT_DECAY = 1e-4  # for a loss in units of redshift: Keras' L2 of 5e-5 adds the squares themselves, not half
    BLOCKS = (
        ((32, 3), (32, 3)),
        ((64, 3), (64, 3)),
        ((128, 3), (64, 1), (128, 3)),
        ((256, 3), (128, 1), (256, 3)),
        ((512, 3), (256, 1), (512, 3)),
    )

    def __init__(self, n_channels=3):
        super().__init__()
        layers = []
        for i, block in enumerate(self.BLOCKS):
            if i:
                layers.append(nn.MaxPool2d(2))
            for n_filters, size in block:
                layers += [
                    nn.Conv2d(n_channels, n_filters, size, padding="same"), nn.BatchNorm2d(n_filters, 1e-3, 0.01),
                    nn.ReLU(),
                ]  # fmt: skip
                n_channels = n_filters
        self.trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(n_channels, 1)
        for layer in self.modules():  # as Keras begins
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    @classmethod
    def convolutions(cls):
        """Names of the weights that decay."""
        layers = cls().named_modules()
        return [f"{name}.weight" for name, layer in layers if isinstance(layer, nn.Conv2d)]

    def forward(self, images):
        """Images (n, n_channels, height, width) to targets (n,)."""
        return self.head(self.trunk(images))[:, 0]


class _Trunk(nn.Sequential):
    """From images to one vector each; in training every image is turned and mirrored at random."""

    def __init__(self, n_channels, widths):
        layers = []
        for width in widths:
            for n_in in (n_channels, width):
                layers += [nn.Conv2d(n_in, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
            n_channels = width
        super().__init__(*layers[:-1], nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, images):
        if self.training:
            images = dihedral(images, torch.randint(8, (len(images),), device=images.device))
        return super().forward(images)


def dihedral(images, which):
    """
    Turn and mirror square images.

    Parameters
    ----------
    images : `torch.Tensor` (n, n_channels, side, side)
    which : `torch.Tensor` of int (n,)
        0 to 7 for each: the bits say whether to flip the rows, the columns, and to swap both axes.

    Returns
    -------
    images : `torch.Tensor`
    """
    which = which[:, None, None, None]
    images = torch.where(which & 1 > 0, images.flip(-2), images)
    images = torch.where(which & 2 > 0, images.flip(-1), images)
    return torch.where(which & 4 > 0, images.transpose(-2, -1), images)


def views(images):
    """
    The eight views of square images: turned and mirrored.

    Parameters
    ----------
    images : `numpy.ndarray` (n, n_channels, side, side)

    Yields
    ------
    view : `numpy.ndarray`
        Of the same shape, one of eight.
    """
    for turned in (images, images.swapaxes(2, 3)):
        for rows in (1, -1):
            for columns in (1, -1):
                yield np.ascontiguousarray(turned[:, :, ::rows, ::columns])
