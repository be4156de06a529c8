"""The network: convolutions over width, height and energy, over width, height and year, and what was measured.

A cutout is four-dimensional (year, energy, height, width), and no source needs a filter that is: a spectrum does not
care when its photons came, and variability in single bins is too faint to see. So two towers of 3-D convolutions share
the work, one over the sum of all years, the other over years with the energy bins as its channels. Years go in by
falling counts, less their mean (Bhattacharyya et al. 2022): a flare is at the same place whenever it happened, and a
steady source is zero but for noise. A third tower takes the features of `describe`.
"""

import torch
from torch import nn

__all__ = ["SIDE", "ClassNetwork", "PartialLabelLoss"]

SIDE = 7
"""Pixels along a cutout: 1.6 deg at nside 256, whose 3 x 3 convolutions end in one pixel."""

_SLOTS = 10  # years that the network sees, whatever their number
_CENTRE = slice(SIDE // 2 - 1, SIDE // 2 + 2)
_FAINTEST = 0.03  # photons per pixel below which the background does not matter
_BRIGHTEST = 8.0  # standard deviations


def _convolution(n_in, n_out, padding):
    return nn.Sequential(
        nn.Conv3d(n_in, n_out, 3, padding=(1, padding, padding), bias=False), nn.BatchNorm3d(n_out), nn.ReLU()
    )


def _tower(n_in, width):
    """From (n, n_in, depth, 7, 7) to (n, 2 width, depth, 1, 1)."""
    return [
        _convolution(n_in, width, 1),
        _convolution(width, 2 * width, 0),
        _convolution(2 * width, 2 * width, 0),
        _convolution(2 * width, 2 * width, 0),
    ]


class ClassNetwork(nn.Module):
    """
    Logits of classes.

    Parameters
    ----------
    n_energy, n_features, n_classes : int
        Energy bins, features, classes.
    cutouts, features : bool
        Whether the towers of cutouts and the tower of features take part.
    year_order : {"counts", "time"}
        Order of the years.
    subtract_mean : bool
        Whether the mean over years is subtracted from each.
    width : int
        Channels of the first convolutions.
    """

    def __init__(self, n_energy, n_features, n_classes, *, cutouts=True, features=True, year_order="counts",
                 subtract_mean=True, width=16):
        super().__init__()
        self.cutouts, self.features = cutouts, features
        self.year_order, self.subtract_mean = year_order, subtract_mean
        n_hidden = 0
        if cutouts:
            self.energy_tower = nn.Sequential(*_tower(4, width), nn.Flatten())
            first, *rest = _tower(n_energy, width)
            self.year_tower = nn.Sequential(first, nn.MaxPool3d((2, 1, 1)), *rest, nn.Flatten())
            n_hidden += 2 * width * (n_energy + _SLOTS // 2)
        if features:
            self.feature_tower = nn.Sequential(
                nn.BatchNorm1d(n_features), nn.Linear(n_features, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()
            )
            n_hidden += 128
        self.head = nn.Sequential(
            nn.Dropout(0.2), nn.Linear(n_hidden, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, n_classes)
        )

    def forward(self, counts, background, features, years_known):
        """
        Run the network.

        Parameters
        ----------
        counts : tensor, shape (n, n_year, n_energy, 7, 7)
            Photons.
        background : tensor, shape (n, n_energy, 7, 7)
            Expected without sources, all years together.
        features : tensor, shape (n, n_features)
        years_known : tensor, shape (n,)
            0 where the years are not to be told apart, else 1.

        Returns
        -------
        tensor, shape (n, n_classes)
        """
        parts = []
        if self.cutouts:
            total = counts.sum(dim=1)
            parts.append(self.energy_tower(_space(total, background)))
            parts.append(self.year_tower(self._years(counts, total) * years_known[:, None, None, None, None]))
        if self.features:
            parts.append(self.feature_tower(features))
        return self.head(torch.cat(parts, dim=1))

    def _years(self, counts, total):
        """Cutouts (n, n_energy, 10, 7, 7) of years, in units of the noise of their mean."""
        n_years = counts.shape[1]
        mean = total[:, None] / n_years
        if self.year_order == "counts":
            order = counts[..., _CENTRE, _CENTRE].sum(dim=(2, 3, 4)).argsort(dim=1, descending=True, stable=True)
            counts = torch.gather(counts, 1, order[:, :, None, None, None].expand_as(counts))
        deviation = (counts - mean if self.subtract_mean else counts) / torch.sqrt(mean + 1)
        if not self.subtract_mean:
            deviation = torch.asinh(deviation)
        if n_years != _SLOTS:  # linear in the place in the order
            place = torch.linspace(0, n_years - 1, _SLOTS, device=counts.device)
            low = place.long().clamp(max=max(n_years - 2, 0))
            share = (place - low)[:, None, None, None]
            deviation = deviation[:, low] * (1 - share) + deviation[:, (low + 1).clamp(max=n_years - 1)] * share
        return deviation.clamp(-_BRIGHTEST, _BRIGHTEST).transpose(1, 2)


def _space(total, background):
    """Channels (n, 4, n_energy, 7, 7) of the sum of all years."""
    excess = (total - background) / torch.sqrt(background + 1)
    level = background.mean(dim=(-2, -1), keepdim=True).expand_as(background)
    logs = [torch.log1p(total), torch.log(background + _FAINTEST), torch.log(level + _FAINTEST)]
    return torch.stack([torch.asinh(excess / 3), *(one / 3 for one in logs)], dim=1)


class PartialLabelLoss(nn.Module):
    """
    Cross entropy with sets of classes: minus the log of the probability of the set that a label allows.

    The target is (n, n_class + 1): which classes are allowed, and the weight of the sample in the mean.
    """

    def forward(self, logits, target):
        """Mean loss of a batch."""
        allowed, weight = target[:, :-1] > 0, target[:, -1]
        log_probability = torch.log_softmax(logits, dim=1).masked_fill(~allowed, -torch.inf)
        return -(weight * torch.logsumexp(log_probability, dim=1)).sum() / weight.sum()
