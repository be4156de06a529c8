"""At which weights a class is decided on, chosen on validation skies.

Pulsars and fakes are few. The most probable class is right most often, but rarely a pulsar; how much more a pulsar
counts than an active galaxy is a choice, and one rule makes it for every method: the smallest margin to the goals for
all, for active galaxies, for pulsars and for fakes is to be as large as it can.
"""

import numpy as np

from astrolearn.sources.classes.labels import FAKE, ClassScheme
from benchmarks.classes.scores import LEAVES, TOP

__all__ = ["GOALS", "choose_threshold", "choose_weights", "margin"]

GOALS = {"overall": 0.80, "agn": 0.80, "psr": 0.85, "fake": 0.80}
"""Shares to be recognised."""

_CLASSES = tuple(sorted(LEAVES))
_LOWEST, _HIGHEST = 0.05, 500.0
_POINTS, _ROUNDS = 11, 3
# Margins this close are equal within their errors: among them the mean over the four classes decides, which is what
# keeps the weight of pwn_snr, for which there is no goal, from being arbitrary.
_EQUAL = 0.002


def margin(table, goals=GOALS):
    """
    Smallest margin to the goals.

    Parameters
    ----------
    table : array, shape (4, 4)
        Detections by true and reported class, in the order of `TOP`.
    goals : dict, optional
        Default: `GOALS`.

    Returns
    -------
    float
    """
    recall = np.diag(table) / np.maximum(table.sum(axis=1), 1)
    reached = {"overall": np.trace(table) / max(table.sum(), 1)} | dict(zip(TOP, recall, strict=True))
    return min(reached[name] - goal for name, goal in goals.items())


def choose_weights(probabilities, labels, classes=_CLASSES):
    """
    Weights of the top-level classes, ``class_weight`` of `SourceClassifier`, relative to that of active galaxies.

    Parameters
    ----------
    probabilities : array, shape (n, n_class)
        Of validation skies.
    labels : array of str, shape (n,)
        Those that are no class do not count.
    classes : sequence of str, optional
        To which the columns belong, sorted. Default: those of ``fermi-lat-classes``.

    Returns
    -------
    dict
        Of ``"agn"``, ``"psr"``, ``"pwn_snr"`` and ``"fake"`` to weight.
    """
    scheme = ClassScheme(classes)
    known = np.isin(labels, [*scheme.classes, *scheme.groups])
    groups = list(scheme.groups)
    order = [groups.index(name) for name in TOP]
    p = scheme.group_sums(np.asarray(probabilities, float)[known]).T[order]
    logs = np.log(np.maximum(p, 1e-12))
    true = np.argsort(order)[scheme.top_level(np.asarray(labels)[known])] * len(TOP)

    def outcome(point):
        found = (logs + np.append(0.0, point)[:, None]).argmax(axis=0)
        table = np.bincount(true + found, minlength=len(TOP) ** 2).reshape(len(TOP), -1)
        return margin(table), np.mean(np.diag(table) / np.maximum(table.sum(axis=1), 1))

    centre = np.full(len(TOP) - 1, (np.log(_LOWEST) + np.log(_HIGHEST)) / 2)
    reach = np.log(_HIGHEST) - centre[0]
    for _ in range(_ROUNDS):
        axes = [np.linspace(c - reach, c + reach, _POINTS) for c in centre]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(centre))
        margins, balanced = np.array([outcome(point) for point in points]).T
        equal = margins >= margins.max() - _EQUAL
        centre = points[np.where(equal, balanced, -np.inf).argmax()]
        reach *= 2 / (_POINTS - 1)
    return {"agn": 1.0} | {name: float(f"{w:.3g}") for name, w in zip(TOP[1:], np.exp(centre), strict=True)}


def choose_threshold(probability, labels):
    """
    The probability of a source below which a detection is called fake, by the same rule; all else is an active galaxy.

    Parameters
    ----------
    probability : array, shape (n,)
        Of the finder.
    labels : array of str, shape (n,)

    Returns
    -------
    float
    """
    known = np.isin(labels, LEAVES)
    p, labels = probability[known], labels[known]
    true = np.array([TOP.index(name) if name in TOP else 0 for name in labels])
    goals = {name: goal for name, goal in GOALS.items() if name != "psr"}  # which it cannot know

    def reached(threshold):
        found = np.where(p < threshold, TOP.index(FAKE), 0)
        return margin(np.bincount(true * len(TOP) + found, minlength=16).reshape(4, 4), goals)

    thresholds = np.quantile(p, np.linspace(0, 1, 201))
    return float(thresholds[np.argmax([reached(t) for t in thresholds])])
