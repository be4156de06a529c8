"""Which galaxies are held out of the training: whole groups, so that no galaxy is on both sides."""

import numpy as np

from astrolearn.photoz.duplicates import merged_groups
from astrolearn.photoz.galaxies import fingerprints

__all__ = ["hold_out"]


def hold_out(galaxies, groups, fraction, rng):
    """
    Draw the galaxies that are held out.

    Parameters
    ----------
    galaxies : `astrolearn.photoz.galaxies.Galaxies`
        Rows that are equal are one group.
    groups : array-like, (n,), or None
        Rows of one group are held out together, or not at all.
    fraction : float
        Of the rows that is wanted.
    rng : `numpy.random.Generator`

    Returns
    -------
    held_out : `numpy.ndarray` of bool, (n,)
        About so many, and one at least; a group that is too large for what is wanted is trained on.

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
    names, sizes = np.unique(group, return_counts=True)
    if len(names) == 1:
        raise ValueError("all rows of X are equal or of one group: nothing can be held out")
    wanted, chosen, n_rows = max(fraction * n, 1), [], 0
    for k in rng.permutation(len(names)):
        if n_rows + sizes[k] <= max(1.2 * wanted, 1):
            chosen.append(k)
            n_rows += sizes[k]
        if n_rows >= wanted:
            break
    return np.isin(group, names[chosen or [np.argmin(sizes)]])
