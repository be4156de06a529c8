"""The network for stars: a U-Net at half resolution whose output is at the resolution of the image.

After AutoSourceID-Light (Stoppa et al. 2022, A&A 662, A109): a U-Net says where in an image stars are. Four pixels
enter together as channels and leave together, so that the costly convolutions run on a quarter of the positions: an
image of 4096 x 4096 pixels takes seconds. The outputs are those of the finder of gamma-ray sources: a heat map that
peaks at the star, the probability that a star lies within the radius at which catalogues are matched, the offset and
its error.
"""

import torch
from torch import nn
from torch.nn import functional

from astrolearn.core.layers import double_convolution
from astrolearn.sources.network import OUTPUTS, PRIOR_LOGIT
from astrolearn.sources.optical.images import CHANNELS

__all__ = ["HALO", "STEP", "StarUNet"]

STEP = 8  # pixels: sides of an input are multiples of this
HALO = 48  # pixels that can influence an output: 2 x (2 + 2) + 4 x (2 + 2) + 8 x 2 of the convolutions, and their grid


class StarUNet(nn.Module):
    """
    U-Net of three levels, at a half, a quarter and an eighth of the resolution.

    Parameters
    ----------
    width : int, optional
        Feature channels at the finest level; the coarser ones have a third more.
    """

    def __init__(self, width=48):
        super().__init__()
        wide = width * 4 // 3
        self.down = nn.ModuleList(
            double_convolution(*widths) for widths in ((4 * len(CHANNELS), width), (width, wide), (wide, wide))
        )
        self.up = nn.ModuleList(double_convolution(*widths) for widths in ((2 * wide, wide), (width + wide, width)))
        self.head = nn.Conv2d(width, 4 * len(OUTPUTS), 1)
        with torch.no_grad():
            self.head.bias.zero_()
            self.head.bias[:8] = PRIOR_LOGIT  # the first two outputs, four pixels each

    def forward(self, image):
        """
        Maps of `~astrolearn.sources.network.OUTPUTS`.

        Parameters
        ----------
        image : torch.Tensor
            (n, 4, height, width) of `~astrolearn.sources.optical.images.CHANNELS`; sides are multiples of `STEP`.

        Returns
        -------
        torch.Tensor
            (n, 5, height, width).
        """
        # channels last: a third less time on a CPU
        fine = self.down[0](functional.pixel_unshuffle(image, 2).contiguous(memory_format=torch.channels_last))
        middle = self.down[1](functional.max_pool2d(fine, 2))
        coarse = self.down[2](functional.max_pool2d(middle, 2))
        middle = self.up[0](torch.cat([middle, functional.interpolate(coarse, scale_factor=2)], 1))
        fine = self.up[1](torch.cat([fine, functional.interpolate(middle, scale_factor=2)], 1))
        return functional.pixel_shuffle(self.head(fine), 2)
