"""How the segmenter learns: the published loss, and windows cut from images at any angle.

After Hausen & Robertson (2020, ApJS 248, 20) and the code of its forerunner: labels are soft (the votes of those who
classified a galaxy, on all of its pixels), every class counts alike however few pixels it has, and a Dice term watches
over the outline of sources. Windows are rotated by any angle without interpolation, mirrored, and cut at random; some
have an edge, or holes, so that the network knows what was not observed when it meets it.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset

__all__ = ["MorpheusLoss", "Windows"]

_TINY = 1e-6
_EDGES, _HOLED = 0.15, 0.15  # of the windows
_MOST_HOLES, _LARGEST = 6, 12  # number, and half the side in pixels


class MorpheusLoss(nn.Module):
    """
    Cross-entropy in which every class counts alike, plus one minus the Dice coefficient of the background.

    The cross-entropy of a pixel is divided by the mean over the batch of its dominant class's label where that class is
    dominant; the Dice coefficient takes the sigmoid of the background's logit alone, as published. Soft labels are
    fractions of 1; pixels whose labels sum to nothing do not count.
    """

    def forward(self, logits, labels):
        """
        Mean loss of a batch.

        Parameters
        ----------
        logits, labels : torch.Tensor
            (n, n_classes, h, w); the last class is the background.

        Returns
        -------
        torch.Tensor
            A single number.
        """
        counts = labels.sum(1)
        entropy = -(labels * functional.log_softmax(logits, 1)).sum(1)
        dominant = functional.one_hot(labels.argmax(1), labels.shape[1]).movedim(-1, 1) * counts[:, None]
        share = (dominant * labels).sum((0, 2, 3)) / counts.sum().clamp(min=1)
        weight = (dominant / share.clamp(min=_TINY)[:, None, None]).sum(1)
        entropy = (entropy * weight).sum() / counts.sum().clamp(min=1)
        background = torch.sigmoid(logits[:, -1]) * counts
        overlap = 2 * (background * labels[:, -1]).sum((1, 2))
        dice = (overlap + _TINY) / ((background + labels[:, -1]).sum((1, 2)) + _TINY)
        return entropy + (1 - dice).mean()


class Windows(Dataset):
    """
    Windows of images and their labels, drawn anew every time.

    Parameters
    ----------
    fields : list of tuple
        Planes (n_planes, h, w) that the network sees, and labels (n_classes, h, w), of each image.
    side : int
        Of a window.
    prepare : callable
        Given the planes of a window, and where it is beyond the image, (h, w), gives what the network takes.
    rng : `numpy.random.Generator`
    per_epoch : int, optional
        Windows of an epoch. Default: as many as have the area of the images.
    """

    def __init__(self, fields, side, prepare, rng, per_epoch=None):
        self.fields, self.side, self.prepare, self.rng = fields, side, prepare, rng
        areas = np.array([planes.shape[1] * planes.shape[2] for planes, _ in fields], float)
        self.chance = areas / areas.sum()
        self.n = max(1, round(areas.sum() / side**2)) if per_epoch is None else per_epoch

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        planes, labels = self.fields[self.rng.choice(len(self.fields), p=self.chance)]
        inside, y, x = self._pixels(planes.shape[1:])
        self._spoil(inside)
        planes, labels = (values[:, y, x].astype(np.float32) for values in (planes, labels))
        labels[:, ~inside] = 0
        return self.prepare(planes, ~inside), labels

    def _pixels(self, shape):
        """Whether each pixel of a window is within the image, and which it is: three arrays (side, side)."""
        angle, mirrored = self.rng.uniform(0, 2 * np.pi), self.rng.random() < 0.5
        step = np.arange(self.side) - (self.side - 1) / 2
        along, across = np.meshgrid(step, step if not mirrored else -step, indexing="ij")
        cos, sin = np.cos(angle), np.sin(angle)
        reach = self.side / 2 * (abs(cos) + abs(sin))
        # as far as the image allows, the whole window is within it
        middle = [self.rng.uniform(min(reach, n / 2), max(n - reach, n / 2)) - 0.5 for n in shape]
        y = np.rint(middle[0] + cos * along - sin * across).astype(int)
        x = np.rint(middle[1] + sin * along + cos * across).astype(int)
        inside = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
        return inside, np.clip(y, 0, shape[0] - 1), np.clip(x, 0, shape[1] - 1)

    def _spoil(self, inside):
        """Mark an edge of an image, or holes in it, as not observed in some of the windows."""
        rng, chance = self.rng, self.rng.random()
        if chance < _EDGES:
            angle, step = rng.uniform(0, 2 * np.pi), np.arange(self.side) - self.side / 2
            along = np.cos(angle) * step[:, None] + np.sin(angle) * step
            inside &= along < rng.uniform(-0.2, 0.5) * self.side
        elif chance < _EDGES + _HOLED:
            for _ in range(rng.integers(1, _MOST_HOLES + 1)):
                (y, x), (height, width) = rng.integers(0, self.side, 2), rng.integers(0, _LARGEST, 2)
                inside[max(y - height, 0) : y + height + 1, max(x - width, 0) : x + width + 1] = False
