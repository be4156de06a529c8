"""What a classifier is compared with: boosted trees on the same features, and the finder's probability alone.

The trees get what the network's third tower gets, the finder's probability included, from the same training skies.
Their learning rate, number of leaves and number of iterations are those of the lowest log loss on validation skies;
while these are chosen they learn from a quarter of the detections. Sources of unknown class are left out, because trees
cannot learn from a set of classes.
"""

from hashlib import sha256

import joblib
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss

from astrolearn.core.tables import atomic_write
from benchmarks.classes.scores import LEAVES

__all__ = ["TUNED_ON", "boosted_trees", "features_of"]

_RATES, _N_LEAVES, _N_ITERATIONS, _STEP = (0.03, 0.1), (15, 31, 63), 300, 25
TUNED_ON = 4  # every fourth detection


def features_of(skies):
    """Features and labels of the detections of skies, each a tuple (Detections, None, labels)."""
    features, labels = zip(*((seen.features, labels) for seen, _, labels in skies), strict=True)
    return np.concatenate(features), np.concatenate(labels)


def boosted_trees(training, tuning, cache=None, every=TUNED_ON):
    """
    Train gradient-boosted trees.

    Parameters
    ----------
    training, tuning : tuple
        Features and labels, of the skies that are learned from and of those on which settings are chosen.
    cache : Path, optional
        Folder where the result is kept.
    every : int, optional
        Of how many detections one takes part in the choice of settings.

    Returns
    -------
    trees : HistGradientBoostingClassifier
    settings : dict
        What was chosen.
    """
    (x, y), (x_tuning, y_tuning) = (_known(*pair) for pair in (training, tuning))
    key = sha256()
    for values in (x, y, x_tuning, y_tuning):
        key.update(np.ascontiguousarray(values).tobytes())
    path = None if cache is None else cache / f"trees-{key.hexdigest()[:12]}.joblib"
    if path is not None and path.is_file():
        return joblib.load(path)
    best, settings = np.inf, {}
    for rate in _RATES:
        for leaves in _N_LEAVES:
            tried = {"learning_rate": rate, "max_leaf_nodes": leaves}
            trees = _fit(x[::every], y[::every], max_iter=_N_ITERATIONS, **tried)
            for number, p in enumerate(trees.staged_predict_proba(x_tuning), start=1):
                if number % _STEP == 0 and (loss := log_loss(y_tuning, p, labels=trees.classes_)) < best:
                    best, settings = loss, tried | {"max_iter": number}
    result = _fit(x, y, **settings), settings
    if path is not None:
        atomic_write(lambda partial_path: joblib.dump(result, partial_path), path, overwrite=True)
    return result


def _known(features, labels):
    known = np.isin(labels, LEAVES)
    return features[known], labels[known]


def _fit(x, y, **settings):
    return HistGradientBoostingClassifier(early_stopping=False, random_state=0, **settings).fit(x, y)
