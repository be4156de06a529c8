"""The default network of `MorphologySegmenter`: fully convolutional, so that an image may have any size.

A U-Net. Four neighbouring pixels enter as channels of one, so that the costly layers work on a quarter of the pixels
and each looks twice as far; the same is undone at the end. What it sees of a pixel is its brightness in each band in
units of the noise, compressed (asinh), and whether it was observed; it does not see how large the image is, nor where
its borders are but for pixels that were not observed. So an answer depends on what lies within `HALO` pixels, and on
nothing else.
"""

from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from astrolearn.core.layers import double_convolution

__all__ = ["HALO", "STEP", "SegmentationUNet", "channels"]

HALO = 112  # pixels that can influence the answer, rounded up to a multiple of STEP
STEP = 16  # sides of inputs are multiples of this
_FOLD = 2  # pixels along a side that enter as one
_WIDTHS = (1.0, 1.5, 2.0, 3.0)  # features at each level, in units of the width


def channels(light, noise):
    """
    What the network sees.

    Parameters
    ----------
    light : `numpy.ndarray`, float32 (n_bands, h, w)
        Brightness above the sky; NaN where not observed.
    noise : `numpy.ndarray`, broadcastable to that
        Standard deviation, in the same unit.

    Returns
    -------
    channels : `numpy.ndarray`, float32 (n_bands + 1, h, w)
        asinh of brightness over noise; 1 where observed.
    """
    seen = ~np.isnan(light).any(axis=0)
    compressed = np.arcsinh(light / noise)
    return np.concatenate([np.where(seen, compressed, 0), seen[None]]).astype(np.float32)


class SegmentationUNet(nn.Module):
    """
    U-Net from `channels` to logits of classes.

    Parameters
    ----------
    n_bands : int
    n_classes : int
    width : int, optional
        Features at the finest level.
    """

    def __init__(self, n_bands, n_classes, width=32):
        super().__init__()
        widths = [int(width * factor) for factor in _WIDTHS]
        inputs = [(n_bands + 1) * _FOLD**2, *widths[:-1]]
        self.down = nn.ModuleList(double_convolution(n_in, n_out) for n_in, n_out in zip(inputs, widths, strict=True))
        pairs = reversed(list(pairwise(widths)))
        self.up = nn.ModuleList(double_convolution(finer + coarser, finer) for finer, coarser in pairs)
        self.head = nn.Conv2d(widths[0], n_classes * _FOLD**2, 1)

    def forward(self, images):
        """
        Logits of the classes.

        Parameters
        ----------
        images : torch.Tensor
            (n, n_bands + 1, h, w); sides are multiples of `STEP`.

        Returns
        -------
        torch.Tensor
            (n, n_classes, h, w)
        """
        features = functional.pixel_unshuffle(images, _FOLD)
        across = []
        for level, block in enumerate(self.down):
            features = block(features if level == 0 else functional.max_pool2d(features, 2))
            across.append(features)
        for block, other in zip(self.up, reversed(across[:-1]), strict=True):
            features = block(torch.cat([other, functional.interpolate(features, scale_factor=2)], 1))
        return functional.pixel_shuffle(self.head(features), _FOLD)
