"""Pieces of networks that several of them have."""

from torch import nn

__all__ = ["double_convolution"]


def double_convolution(n_in, n_out):
    """
    Two convolutions of 3 x 3 pixels, each with batch normalisation and a ReLU.

    Parameters
    ----------
    n_in, n_out : int
        Feature channels.

    Returns
    -------
    torch.nn.Sequential
    """
    layers = []
    for n_before in (n_in, n_out):
        layers += [nn.Conv2d(n_before, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()]
    return nn.Sequential(*layers)
