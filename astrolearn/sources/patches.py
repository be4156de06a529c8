"""Training patches: channels and targets cut from maps whose sources are known."""

import numpy as np
import torch
from torch.utils.data import Dataset

from astrolearn.sources.features import LEVELS

__all__ = ["PatchDataset", "augment", "cut_training_patches", "draw_targets"]

_SOURCE_RADIUS = 1.0  # pixels around a source that say "source"
_MOST_PATCHES = 256  # of one map, so that one of fine pixels does not outweigh many of coarse ones
TRAIN_HALO = 16


def draw_targets(lattice, valid, coords, match_radius):
    """
    Maps of what the network should say.

    Parameters
    ----------
    lattice : NestedLattice or ImageLattice
    valid : array of bool, shape lattice.shape
        Where the sky was observed; elsewhere nothing counts.
    coords : `~astropy.coordinates.SkyCoord`, shape (n,)
        The sources to be found.
    match_radius : float
        In pixels.

    Returns
    -------
    array of float16, shape (6, *lattice.shape)
        source, match, dx, dy, whether the offset counts, whether the pixel counts.
    """
    flat = np.zeros((6, int(np.prod(lattice.shape))), np.float16)
    flat[5] = valid.ravel()
    if len(coords):
        pixel, dx, dy = lattice.offsets(coords)
        inside = pixel >= 0
        pixel, dx, dy = pixel[inside], dx[inside], dy[inside]
        around, step_x, step_y, same_axes = lattice.around(pixel, int(np.ceil(match_radius)))
        off_x, off_y = dx[:, None] - step_x, dy[:, None] - step_y
        distance = np.hypot(off_x, off_y)
        # the nearest source has the last word
        order = np.argsort(-distance, axis=None)
        around, off_x, off_y, distance, same = (a.ravel()[order] for a in (around, off_x, off_y, distance, same_axes))
        near = (around >= 0) & (distance <= match_radius)
        flat[1, around[near]] = 1
        near = (around >= 0) & (distance <= _SOURCE_RADIUS)
        flat[0, around[near]] = 1
        near &= same
        flat[2, around[near]], flat[3, around[near]], flat[4, around[near]] = off_x[near], off_y[near], 1
    flat[:5] *= flat[5]
    return flat.reshape(6, *lattice.shape)


def cut_training_patches(features, targets, valid, rng):
    """
    Patches of a map that hold valid pixels: all or, of a map of very many, a random choice.

    Parameters
    ----------
    features : Features
    targets : array, shape (6, *lattice.shape)
        From `draw_targets`.
    valid : array of bool, shape lattice.shape
    rng : `numpy.random.Generator`

    Returns
    -------
    dict of float16 arrays
        ``level0``, ``level1`` ... (n, n_channel, side, side) and ``target`` (n, 6, side, side).
    """
    lattice = features.lattices[0]
    patches = np.arange(lattice.n_patches)
    used = lattice.cut(valid[None].astype(np.float16), patches, 0).max(axis=(1, 2, 3)) > 0
    patches = patches[used]
    if len(patches) > _MOST_PATCHES:
        patches = np.sort(rng.choice(patches, _MOST_PATCHES, replace=False))
    out = {f"level{i}": cut for i, cut in enumerate(features.cut(patches, TRAIN_HALO))}
    out["target"] = lattice.cut(targets, patches, TRAIN_HALO)
    # offsets of the halo may be in the axes of another base face: only the core says where its sources are
    core = np.zeros(out["target"].shape[-2:], bool)
    core[TRAIN_HALO:-TRAIN_HALO, TRAIN_HALO:-TRAIN_HALO] = True
    out["target"][:, 4] *= core
    return out


class PatchDataset(Dataset):
    """
    Patches of several maps, as skorch wants them: ({level0, level1, ...}, target).

    Parameters
    ----------
    parts : list of dict
        From `cut_training_patches`.

    Raises
    ------
    ValueError
        If patches differ in size: HEALPix maps of nside below 64 have smaller ones.
    """

    def __init__(self, parts):
        sides = sorted({part["target"].shape[-1] - 2 * TRAIN_HALO for part in parts})
        if len(sides) > 1:
            raise ValueError(
                f"the maps are cut into patches of {' and '.join(map(str, sides))} pixels: HEALPix maps of nside below "
                "64 can only be trained on together with others of the same nside"
            )
        self.parts = parts
        self.starts = np.cumsum([0] + [len(p["target"]) for p in parts])

    def __len__(self):
        return int(self.starts[-1])

    def __getitem__(self, index):
        part = np.searchsorted(self.starts, index, side="right") - 1
        row = index - self.starts[part]
        arrays = self.parts[part]
        return {f"level{i}": arrays[f"level{i}"][row] for i in range(LEVELS)}, arrays["target"][row]


def augment(batch, generator=None):
    """
    Collate samples under one random symmetry of the square: the sky has no preferred direction.

    Parameters
    ----------
    batch : list of (dict, array)
    generator : numpy.random.Generator, optional
        None: as they are.
    """
    inputs = {key: torch.from_numpy(np.stack([b[0][key] for b in batch])).float() for key in batch[0][0]}
    target = torch.from_numpy(np.stack([b[1] for b in batch])).float()
    if generator is None:
        return inputs, target
    flip, turns = generator.integers(2), int(generator.integers(4))
    if flip:
        inputs = {key: value.flip(-1) for key, value in inputs.items()}
        target = target.flip(-1)
        target[:, 2] *= -1
    for _ in range(turns):
        # rot90 takes (y, x) to (-x, y): the array's +x axis turns to -y
        inputs = {key: torch.rot90(value, 1, (-2, -1)) for key, value in inputs.items()}
        target = torch.rot90(target, 1, (-2, -1))
        target[:, 2:4] = torch.stack([target[:, 3], -target[:, 2]], 1)
    return inputs, target
