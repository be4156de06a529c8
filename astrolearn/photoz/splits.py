"""
Which networks see which galaxies in training: each part of the galaxies is held out of some of the networks.

What these say of it is what they say of new galaxies, so it tells when to stop and how wide intervals must be. No
galaxy is lost to the training, as all but those networks learn from it, and every one of them counts in the
calibration, which is five times as sure as from a fifth that is held out of all.
"""

import numpy as np

from astrolearn.photoz.duplicates import merged_groups
from astrolearn.photoz.galaxies import fingerprints

__all__ = ["ALL", "assign_folds", "held_by", "held_out", "seen"]

ALL = 0  # the code of a row that all networks learn from


def assign_folds(galaxies, groups, n_folds, rng):
    """
    Divide galaxies into folds.

    Parameters
    ----------
    galaxies : `astrolearn.photoz.galaxies.Galaxies`
        Rows that are equal are one group.
    groups : array-like, (n,), or None
        Rows of one group are in one fold.
    n_folds : int
        How many are wanted; there are fewer if there are fewer groups.
    rng : `numpy.random.Generator`

    Returns
    -------
    fold : `numpy.ndarray` of int, (n,)
        From 0; -1 for rows of groups that are larger than a fold, which are in none.

    Raises
    ------
    ValueError
        If all rows are one group.
    """
    n = len(galaxies)
    parts = (part for part in (galaxies.values, galaxies.images) if part is not None)
    group = np.unique(fingerprints(*parts), return_inverse=True)[1]
    if groups is not None:
        groups = np.asarray(groups)
        if groups.shape != (n,):
            raise ValueError(f"groups has the shape {groups.shape}; expected ({n},)")
        group = merged_groups(group, np.unique(groups, return_inverse=True)[1])
    sizes = np.bincount(group)
    if len(sizes) == 1:
        raise ValueError("all rows of X are equal or of one group: nothing can be held out")
    small = np.flatnonzero(sizes <= max(1.2 * n / n_folds, 1))
    small = rng.permutation(small) if small.size else np.array([np.argmin(sizes)])
    middle = np.cumsum(sizes[small]) - 0.5 * sizes[small]
    wanted = (middle / sizes[small].sum() * n_folds).astype(int)
    of_group = np.full(len(sizes), -1)
    of_group[small] = np.unique(wanted, return_inverse=True)[1]  # without gaps
    return of_group[group]


def seen(fold):
    """Codes of rows to train on: fold number k + 1 for all networks but those that hold it out."""
    return fold + 1


def held_out(fold, n_networks):
    """Codes of held-out rows: -k - 1 for only those networks that have not seen them, `ALL` where there are none."""
    return np.where((fold >= 0) & (fold < n_networks), -fold - 1, ALL)


def held_by(n_networks, n_folds):
    """
    Fold that each network holds out.

    Parameters
    ----------
    n_networks, n_folds : int

    Returns
    -------
    fold : `numpy.ndarray` of int, (n_networks,)
    """
    return np.arange(n_networks) % n_folds
