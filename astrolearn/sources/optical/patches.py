"""Training patches of star fields: channels and targets, cut from images whose stars are known."""

import numpy as np
from torch.utils.data import Dataset

__all__ = ["PatchDataset", "StarPatches", "draw_targets"]

SIDE = 128  # pixels along a patch
_HEAT = 0.7  # pixels, 1 sigma of the heat around a star
_NEAR = 1.5  # pixels from a star within which pixels know where it is
_REACH = 3


class StarPatches:
    """
    An image to be cut into patches.

    Parameters
    ----------
    image : StarImage
    x, y : array, shape (n_star,)
        Positions of the stars that are to be found or left alone.
    asked : array of bool, shape (n_star,)
        Which of them are to be found; near the others nothing counts.
    match_radius : float
        In pixels.
    """

    def __init__(self, image, x, y, asked, match_radius):
        # half the memory of single precision, and digits enough
        self.channels = image.channels().astype(np.float16)
        shape = image.valid.shape
        at = tuple(np.clip(np.rint(c).astype(int), 0, side - 1) for c, side in zip((y, x), shape, strict=True))
        self.x, self.y, self.asked = x, y, asked & image.valid[at]  # what is under a mask cannot be asked for
        self.match_radius = match_radius
        corners = np.stack(np.mgrid[tuple(slice(0, n, SIDE) for n in shape)], -1).reshape(-1, 2)
        self.corners = [c for c in corners if image.valid[c[0] : c[0] + SIDE, c[1] : c[1] + SIDE].any()]

    def __len__(self):
        return len(self.corners)

    def __getitem__(self, index):
        """Channels (4, side, side) and targets (6, side, side), float32; beyond the image nothing is valid."""
        row, column = self.corners[index]
        cut = self.channels[:, row : row + SIDE, column : column + SIDE]
        channels = np.zeros((len(cut), SIDE, SIDE), np.float32)
        channels[:, : cut.shape[1], : cut.shape[2]] = cut
        x, y = self.x - column, self.y - row
        here = (x > -_REACH) & (x < SIDE + _REACH) & (y > -_REACH) & (y < SIDE + _REACH)
        return channels, draw_targets(channels[-1] > 0, x[here], y[here], self.asked[here], self.match_radius)


def draw_targets(valid, x, y, asked, match_radius):
    """
    Maps of what the network should say.

    Parameters
    ----------
    valid : array of bool, shape (height, width)
        Elsewhere nothing counts.
    x, y : array, shape (n_star,)
    asked : array of bool, shape (n_star,)
        Which of them are to be found; within 1.5 pixels of the others nothing counts.
    match_radius : float
        In pixels.

    Returns
    -------
    array of float32, shape (6, height, width)
        heat, match, dx, dy, whether the offset counts, whether the pixel counts.
    """
    target = np.zeros((6, *valid.shape), np.float32)
    target[5] = valid
    step = np.arange(-_REACH, _REACH + 1)
    for wanted in (False, True):  # those to be found have the last word
        star_x, star_y = x[asked == wanted], y[asked == wanted]
        column, row = (np.rint(c).astype(int)[:, None] + step for c in (star_x, star_y))
        column, row = np.broadcast_arrays(column[:, None, :], row[:, :, None])
        dx, dy = star_x[:, None, None] - column, star_y[:, None, None] - row
        inside = (column >= 0) & (column < valid.shape[1]) & (row >= 0) & (row < valid.shape[0])
        distance = np.hypot(dx, dy)
        # of several stars the nearest has the last word
        order = np.argsort(-distance[inside], kind="stable")
        column, row, dx, dy, distance = (a[inside][order] for a in (column, row, dx, dy, distance))
        near = distance <= _NEAR
        if not wanted:
            target[5, row[near], column[near]] = 0
            continue
        np.maximum.at(target[0], (row, column), np.exp(-0.5 * (distance / _HEAT) ** 2))
        matched = distance <= match_radius
        target[1, row[matched], column[matched]] = 1
        target[2, row[near], column[near]], target[3, row[near], column[near]] = dx[near], dy[near]
        target[4, row[near], column[near]] = 1
        target[5, row[near], column[near]] = valid[row[near], column[near]]
    target[:5] *= target[5]
    return target


class PatchDataset(Dataset):
    """
    Patches of several images, as skorch wants them: ({"image": channels}, target).

    Parameters
    ----------
    parts : list of StarPatches
    """

    def __init__(self, parts):
        self.parts = parts
        self.starts = np.cumsum([0] + [len(part) for part in parts])

    def __len__(self):
        return int(self.starts[-1])

    def __getitem__(self, index):
        part = np.searchsorted(self.starts, index, side="right") - 1
        channels, target = self.parts[part][index - self.starts[part]]
        return {"image": channels}, target
