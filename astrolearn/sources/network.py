"""The finder's network: a U-Net whose inputs join at three resolutions and whose output is at the finest.

After the multi-input U-Net of Bhattacharyya et al. (2022, LAT catalogue meeting), which extends AutoSourceID (Panes et
al. 2021, A&A 656, A62): energy bins with a wide PSF enter where the pixels are as coarse as the PSF. Beside the
probability that a source lies within a pixel of here, every pixel says where that source is (offset and error), and how
probable it is that a source lies within the radius at which catalogues are matched.
"""

import torch
from torch import nn
from torch.nn import functional

from astrolearn.core.layers import double_convolution

__all__ = ["HALO", "OUTPUTS", "PRIOR_LOGIT", "HeatmapLoss", "PyramidUNet", "bounded"]

HALO = 24  # pixels around a patch that can influence it: 2 + 4 + 8 + 4 + 2 of the convolutions, and their stems
OUTPUTS = ("source", "match", "dx", "dy", "log_error")
PRIOR_LOGIT = -4.0  # sources fill about 2 % of the pixels
_LOG_ERROR_RANGE = 4.0


def bounded(log_error, library):
    """Log of an offset's error, kept within e^-4 to e^4 pixels; ``library`` is torch or numpy."""
    return _LOG_ERROR_RANGE * library.tanh(log_error / _LOG_ERROR_RANGE)


class PyramidUNet(nn.Module):
    """
    U-Net with one input per level.

    Parameters
    ----------
    channels : sequence of int
        Input channels at each level, finest first.
    width : int, optional
        Feature channels at the finest level; each coarser one has twice as many.
    """

    def __init__(self, channels, width=16):
        super().__init__()
        widths = [width * 2**level for level in range(len(channels))]
        self.down = nn.ModuleList(
            double_convolution(n + (widths[level - 1] if level else 0), widths[level])
            for level, n in enumerate(channels)
        )
        self.up = nn.ModuleList(
            double_convolution(widths[level] + widths[level + 1], widths[level])
            for level in reversed(range(len(channels) - 1))
        )
        self.head = nn.Conv2d(widths[0], len(OUTPUTS), 1)
        with torch.no_grad():
            self.head.bias.zero_()
            self.head.bias[:2] = PRIOR_LOGIT

    def forward(self, **levels):
        """
        Maps of `OUTPUTS`.

        Parameters
        ----------
        **levels : torch.Tensor
            ``level0``, ``level1`` ...: (n, channels[level], side / 2^level, side / 2^level).

        Returns
        -------
        torch.Tensor
            (n, 5, side, side): two logits, the offset in pixels, and what `bounded` makes the log of its error per
            axis in pixels.
        """
        features, skips = None, []
        for level, block in enumerate(self.down):
            own = levels[f"level{level}"]
            features = block(own if features is None else torch.cat([own, functional.max_pool2d(features, 2)], 1))
            skips.append(features)
        for block, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            features = block(torch.cat([skip, functional.interpolate(features, scale_factor=2)], 1))
        return self.head(features)


class HeatmapLoss(nn.Module):
    """
    Binary cross-entropy of both probabilities plus the Gaussian likelihood of the offsets where there is a source.

    Parameters
    ----------
    margin : int, optional
        Pixels at the border of a patch that do not count: they see too little of their surroundings.
    """

    def __init__(self, margin=8):
        super().__init__()
        self.margin = margin

    def forward(self, output, target):
        """
        Mean loss of a batch.

        Parameters
        ----------
        output : torch.Tensor
            (n, 5, side, side), see `OUTPUTS`.
        target : torch.Tensor
            (n, 6, side, side): source, match, dx, dy, whether the offset counts, whether the pixel counts.
        """
        inner = (..., *[slice(self.margin, -self.margin or None)] * 2)
        output, target = output[inner], target[inner]
        weight = target[:, 5:]
        entropy = functional.binary_cross_entropy_with_logits(
            output[:, :2], target[:, :2], weight=weight, reduction="sum"
        )
        log_error = bounded(output[:, 4], torch)
        squared = (output[:, 2:4] - target[:, 2:4]).square().sum(1)
        offset = (0.5 * squared * torch.exp(-2 * log_error) + 2 * log_error) * target[:, 4]
        return (entropy + offset.sum()) / weight.sum().clamp(min=1)
