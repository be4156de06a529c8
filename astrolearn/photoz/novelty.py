"""
Which galaxies are unlike those of the training: nothing is known of their redshifts, whatever a network says.

In the space of the principal components of the features every direction has a variance of one, also those in which the
training galaxies hardly differ, and it is there that the unusual stand apart. A galaxy is novel if it is farther from
its neighbours among the training galaxies than all but one in 200 of these are from each other.
"""

import numpy as np
from scipy.spatial import cKDTree

from astrolearn.photoz.features import TableFeatures

__all__ = ["describe_known", "is_novel"]

_REFERENCES, _NEIGHBOURS, _RARE = 2000, 5, 5e-3
_MISSING = 0.5  # of the columns of a table: who lacks more says too little to be compared


def describe_known(values, undetected, features):
    """
    What the training galaxies are like.

    Parameters
    ----------
    values, undetected : `numpy.ndarray` (n, n_columns)
        As for `TableFeatures.fit`.
    features : dict
        State of `TableFeatures`.

    Returns
    -------
    known : dict
        ``positions`` of 2000 of them, or all, and the ``distance`` beyond which a galaxy is novel.
    """
    positions = _positions(values, undetected, features)
    positions = positions[:: -(-len(positions) // _REFERENCES)]
    distance = cKDTree(positions).query(positions, [min(_NEIGHBOURS, len(positions) - 1) + 1])[0]
    rare = float(np.quantile(distance, 1 - _RARE)) if np.isfinite(distance).all() else np.inf
    return {"positions": positions, "distance": rare}


def is_novel(values, undetected, features, known):
    """
    Tell which galaxies are novel.

    Parameters
    ----------
    values, undetected, features
        See `describe_known`.
    known : dict
        From `describe_known`.

    Returns
    -------
    novel : `numpy.ndarray` of bool, (n,)
        Also those that lack more than half of the columns of the table.
    """
    tree = cKDTree(known["positions"])
    distance = tree.query(_positions(values, undetected, features), [min(_NEIGHBOURS, tree.n)])[0][:, 0]
    novel = distance > known["distance"]
    if values.shape[1] > 1:
        novel |= (np.isnan(values) & ~undetected).mean(axis=1) > _MISSING
    return novel


def _positions(values, undetected, state):
    features = TableFeatures(state)
    return features.transform(values, undetected)[:, features.components]
