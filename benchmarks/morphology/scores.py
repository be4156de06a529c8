"""Scores of pixels and of sources, with errors from one field to the next.

A source that was simulated and would be seen (it has a label, and its centre lies within the image) is found if a
detection lies within 0.3 arcsec, one for one, the closest first. Detections of fainter sources count neither as right
nor as wrong. Errors are the scatter over bootstrap samples of whole fields.
"""

import warnings
from dataclasses import dataclass, field

import astropy.units as u
import numpy as np

from astrolearn.morphology.segmenter import CLASSES
from astrolearn.sky import match

__all__ = ["MAGNITUDES", "RADIUS", "Fields", "bootstrap"]

RADIUS = 5 * u.pix  # 0.3 arcsec
MAGNITUDES = (18, 21, 22, 23, 24, 25, 26.5)
_N = len(CLASSES)
_BOOTSTRAP = 400


@dataclass
class Fields:
    """
    What a method found in fields with known sources.

    Attributes
    ----------
    pixels : list of array, (n_classes + 1, n_classes + 1)
        Pixels by true and found class, of each scene.
    true, found : list of array of int
        Class of the matched pairs.
    probability : list of array, (n, n_classes)
        Of those.
    magnitude : list of array
        Of those, in H.
    all_magnitude, is_found : list of array
        Of all sources that would be seen.
    n_false, n_right : list of int
        Detections of nothing and of something.
    """

    pixels: list = field(default_factory=list)
    true: list = field(default_factory=list)
    found: list = field(default_factory=list)
    probability: list = field(default_factory=list)
    magnitude: list = field(default_factory=list)
    all_magnitude: list = field(default_factory=list)
    is_found: list = field(default_factory=list)
    n_false: list = field(default_factory=list)
    n_right: list = field(default_factory=list)

    def add(self, scene, catalogue, classes=None):
        """
        Add a scene.

        Parameters
        ----------
        scene : Scene
        catalogue : Table
            ``x_centroid``, ``y_centroid``, ``class`` and ``p_<class>``.
        classes : array of int, (h, w), optional
            Of the pixels; with -1 for those that are not covered. Without them, pixels are not scored.
        """
        sources = scene.sources
        height, width = scene.labels.shape[1:]
        x, y = np.asarray(sources["x_centroid"]), np.asarray(sources["y_centroid"])
        seen = (sources["label"] > 0) & (x > 0) & (y > 0) & (x < width - 1) & (y < height - 1)
        wanted, others = sources[seen], sources[~seen]
        if classes is not None:
            counted = classes >= 0
            table = np.zeros((_N + 1, _N + 1))
            np.add.at(table, (scene.labels.argmax(0)[counted], classes[counted]), 1)
            self.pixels.append(table)
        positions = ("x_centroid", "y_centroid")
        matches = match(catalogue[positions], wanted[positions], RADIUS, ignore=others[positions])
        detected, true = catalogue[matches.catalogue_index], wanted[matches.reference_index]
        self.true.append(_numbers(true["class"]))
        self.found.append(_numbers(detected["class"]))
        self.probability.append(np.stack([np.asarray(detected[f"p_{name}"]) for name in CLASSES], axis=-1))
        self.magnitude.append(np.asarray(true["mag_F160W"].value))
        self.all_magnitude.append(np.asarray(wanted["mag_F160W"].value))
        self.is_found.append(matches.found)
        self.n_right.append(int(matches.matched.sum()))
        self.n_false.append(int((~matches.matched & ~matches.ignored).sum()))

    def __len__(self):
        return len(self.n_right)

    def take(self, rows):
        """Some of the scenes."""
        return Fields(**{name: [values[i] for i in rows] if values else [] for name, values in vars(self).items()})

    # -- scores -------------------------------------------------------------------------------------------------------
    def pixel_table(self):
        """Pixels by true and found class."""
        return np.sum(self.pixels, axis=0)

    def overlap(self):
        """Intersection over union of each class, the background last."""
        table = self.pixel_table()
        return np.diag(table) / (table.sum(0) + table.sum(1) - np.diag(table))

    def source_overlap(self):
        """Intersection over union of sources of any class."""
        table = self.pixel_table()
        both = table[:-1, :-1].sum()
        return both / (table.sum() - table[-1, -1])

    def confusion(self, bright=-np.inf, faint=np.inf):
        """Sources by true and found class."""
        table = np.zeros((_N, _N))
        magnitude = np.concatenate(self.magnitude)
        chosen = (magnitude >= bright) & (magnitude < faint)
        np.add.at(table, (np.concatenate(self.true)[chosen], np.concatenate(self.found)[chosen]), 1)
        return table

    def accuracy(self, bright=-np.inf, faint=np.inf):
        """Share of the sources whose class is right."""
        table = self.confusion(bright, faint)
        return np.trace(table) / table.sum()

    def recall(self, bright=-np.inf, faint=np.inf):
        """Share of each class that is recognised."""
        table = self.confusion(bright, faint)
        return np.diag(table) / table.sum(1)

    def precision(self, bright=-np.inf, faint=np.inf):
        """Share of those said to be of a class that are."""
        table = self.confusion(bright, faint)
        return np.diag(table) / table.sum(0)

    def completeness(self, bright=-np.inf, faint=np.inf):
        """Share of the sources that are found."""
        magnitude = np.concatenate(self.all_magnitude)
        return np.concatenate(self.is_found)[(magnitude >= bright) & (magnitude < faint)].mean()

    def purity(self):
        """Share of the detections with a source."""
        return np.sum(self.n_right) / (np.sum(self.n_right) + np.sum(self.n_false))

    def reliability(self, edges):
        """Mean probability of a class, and share that is of it, in bins of probability: two arrays."""
        p = np.concatenate(self.probability)
        true = np.eye(_N)[np.concatenate(self.true)]
        which = np.digitize(p.ravel(), edges[1:-1])
        n = np.maximum(np.bincount(which, minlength=len(edges) - 1), 1)
        return tuple(np.bincount(which, values.ravel(), len(edges) - 1) / n for values in (p, true))

    def calibration_error(self):
        """Mean distance of probability and share over all sources and classes, in ten bins."""
        if not sum(map(len, self.true)):
            return np.nan
        edges = np.linspace(0, 1, 11)
        said, share = self.reliability(edges)
        weight = np.bincount(np.digitize(np.concatenate(self.probability).ravel(), edges[1:-1]), minlength=10)
        return np.average(np.abs(said - share), weights=weight)


def _numbers(classes):
    return np.array([CLASSES.index(name) for name in classes], dtype=int)


def bootstrap(fields, score, seed=0):
    """
    A score and its error.

    Parameters
    ----------
    fields : Fields
    score : callable
        From `Fields` to a number or array.
    seed : int, optional

    Returns
    -------
    value, error : float or array
    """
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # bins without sources have no score: NaN
        drawn = [score(fields.take(rng.integers(len(fields), size=len(fields)))) for _ in range(_BOOTSTRAP)]
        return score(fields), np.nanstd(drawn, axis=0)
