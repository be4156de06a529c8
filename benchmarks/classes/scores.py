"""Scores of classes and their errors, all of them from one table of true against reported class.

What is scored are detections of known class: sources of unknown class (``unk``) have a row in the table, but no right
answer. Detections whose only counterpart is a source that should have been too faint (``faint``) have three possible
treatments, `CONVENTIONS`. Errors are the scatter over bootstrap samples of parts of the sky, see `benchmarks.scoring`,
and differences are taken on the same samples.
"""

from dataclasses import dataclass

import numpy as np
from astropy.coordinates import SkyCoord

from astrolearn.sources.classes.labels import FAINT, FAKE, GROUPS, ClassScheme
from benchmarks.report import with_error
from benchmarks.scoring import bootstrap, cells

__all__ = ["CONVENTIONS", "LEAVES", "ROWS", "SCORES", "TOP", "Sample", "Verdicts", "calibration", "decide",
           "difference", "measure", "own_weights", "row_shares", "score_cells"]

LEAVES = ("bll", "fsrq", "psr", "pwn_snr", "fake")
TOP = ("agn", "psr", "pwn_snr", "fake")
ROWS = ("bll", "fsrq", "agn", "psr", "pwn_snr", "fake", "unk", "faint", "other")
"""Everything that a detection can be; ``other`` is a class that is none of ours."""

SCORES = ("overall", *(f"recall {name}" for name in TOP), *(f"precision {name}" for name in TOP), "balanced",
          "bll against fsrq")  # fmt: skip
CONVENTIONS = {"left out": "left out", "fake": "taken as fake",
               "real": "taken as real, with the class of that source"}  # fmt: skip
_GROUP_OF = np.array([0, 0, 0, 1, 2, 3])  # of the first rows, in TOP
_N_KNOWN = len(_GROUP_OF)
_BINS = np.linspace(0, 1, 11)


@dataclass
class Sample:
    """
    Detections of several skies.

    Attributes
    ----------
    labels, faint_labels : arrays of str, shape (n,)
        See `benchmarks.classes.skies.Sky`.
    probability : array, shape (n, n_class)
        Of the classes in ``classes``.
    cell : array of int, shape (n,)
        Part of which sky.
    latitude, significance, finder : arrays, shape (n,)
        Galactic, in degrees; and what the finder says, significance and probability.
    features : array, shape (n, n_feature)
        What was measured, with the finder's probability.
    classes : list of str
    """

    labels: np.ndarray
    faint_labels: np.ndarray
    probability: np.ndarray
    cell: np.ndarray
    latitude: np.ndarray
    significance: np.ndarray
    finder: np.ndarray
    features: np.ndarray
    classes: list

    @property
    def reference_cell(self):
        """As `benchmarks.scoring.bootstrap` asks for it."""
        return self.cell

    @classmethod
    def of(cls, skies, classifier, change=None):
        """
        Classify the detections of skies.

        Parameters
        ----------
        skies : iterable of Sky
        classifier : SourceClassifier
        change : callable, optional
            From detections to those that the classifier is given instead.
        """
        parts = []
        for number, sky in enumerate(skies):
            seen = sky.detections if change is None else change(sky.detections)
            table = sky.catalogue
            cell = cells(SkyCoord(table["l"], table["b"], unit="deg", frame="galactic"), number)
            parts.append((sky.labels, sky.faint_labels, classifier.predict_proba(seen, None), cell,
                          np.asarray(table["b"]), np.asarray(table["significance"]), np.asarray(table["probability"]),
                          seen.features))  # fmt: skip
        columns = (np.concatenate(column) for column in zip(*parts, strict=True))
        return cls(*columns, classes=[str(name) for name in classifier.classes_])

    def truth(self, convention="left out"):
        """Labels under one of `CONVENTIONS`."""
        if convention == "fake":
            return np.where(self.labels == FAINT, FAKE, self.labels)
        return self.faint_labels if convention == "real" else self.labels

    def verdicts(self, class_weight=None, probability=None, convention="left out"):
        """What is reported, with weights of the top-level classes, of these or other probabilities."""
        probability = self.probability if probability is None else probability
        return Verdicts(self.truth(convention), decide(probability, self.classes, class_weight), self.cell)


@dataclass
class Verdicts:
    """
    Detections with what each is and what is reported.

    Attributes
    ----------
    true, found : arrays of str, shape (n,)
        Names of `ROWS`; what is reported is one of the first six.
    cell : array of int, shape (n,)
        Part of the sky.
    """

    true: np.ndarray
    found: np.ndarray
    cell: np.ndarray

    def __post_init__(self):
        self._place = _numbers(self.true) * len(ROWS) + _numbers(self.found)

    @property
    def reference_cell(self):
        """As `benchmarks.scoring.bootstrap` asks for it."""
        return self.cell

    def take(self, chosen):
        """Some of the detections."""
        return Verdicts(self.true[chosen], self.found[chosen], self.cell[chosen])

    def table(self, weights=None):
        """Detections by true and reported class, (n_row, n_row), with weights per cell."""
        n = len(ROWS)
        weights = None if weights is None else weights[self.cell]
        return np.bincount(self._place, weights, n * n).reshape(n, n)

    def scores(self, weights=None):
        """Array of `SCORES`, NaN where there is nothing to score."""
        table = self.table(weights)
        top = np.zeros((len(TOP), len(TOP)))
        np.add.at(top, (_GROUP_OF[:, None], _GROUP_OF[None]), table[:_N_KNOWN, :_N_KNOWN])
        right = np.diag(top)
        recall, precision = _share(right, top.sum(axis=1)), _share(right, top.sum(axis=0))
        known = np.isfinite(recall)
        blazars = table[:2, :2]
        return np.array([
            _share(right.sum(), top.sum()), *recall, *precision, recall[known].mean() if known.any() else np.nan,
            _share(np.trace(blazars), blazars.sum()),
        ])  # fmt: skip

    def named_scores(self, weights=None):
        """Score to value."""
        return dict(zip(SCORES, self.scores(weights).tolist(), strict=True))


def _numbers(names):
    order = np.argsort(ROWS)
    place = np.searchsorted(ROWS, names, sorter=order).clip(max=len(ROWS) - 1)
    number = order[place]
    if not np.array_equal(np.array(ROWS)[number], names):
        raise ValueError(f"classes must be among {', '.join(ROWS)}, not {', '.join(sorted(set(names) - set(ROWS)))}")
    return number


def _share(part, whole):
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def decide(probability, classes, class_weight=None):
    """
    Reported classes, as `SourceClassifier.predict` decides.

    Parameters
    ----------
    probability : array, shape (n, n_class)
    classes : sequence of str
    class_weight : dict, optional
        Of top-level class to weight, 1 where none is given.

    Returns
    -------
    array of str, shape (n,)
    """
    scheme = ClassScheme(classes)
    weights = np.array([(class_weight or {}).get(name, 1.0) for name in scheme.groups])
    return np.array(scheme.classes)[scheme.decide(probability, weights)]


def own_weights(classifier):
    """Weights of the top-level classes at which a classifier decides, by name."""
    scheme = classifier._scheme
    return dict(zip(scheme.groups, classifier._weights(scheme).tolist(), strict=True))


def measure(verdicts):
    """Score to value and error."""
    return _named(verdicts.scores(), bootstrap(Verdicts.scores, verdicts))


def difference(base, other):
    """Score to what ``other`` is better by, and the error of that, on the same parts of the same skies."""
    drawn = bootstrap(lambda one, two, weights: two.scores(weights) - one.scores(weights), base, other)
    return _named(other.scores() - base.scores(), drawn)


def _named(values, drawn):
    # where there are few of a class, some samples have none: the rest tells the error
    error = [np.std(column[np.isfinite(column)]) if np.isfinite(column).any() else np.nan for column in drawn.T]
    return {name: (float(value), float(e)) for name, value, e in zip(SCORES, values, error, strict=True)}


def score_cells(results, names=SCORES, digits=3):
    """Cells of a table: ``0.531 ± 0.012``."""
    return [with_error(*results[name], digits) for name in names]


def row_shares(verdicts):
    """Shares (n_row, n_row) of what each true class is taken for, and their errors."""

    def shares(one, weights=None):
        table = one.table(weights)
        return _share(table, np.broadcast_to(table.sum(axis=1, keepdims=True), table.shape))

    drawn = bootstrap(shares, verdicts)
    finite = np.isfinite(drawn)
    n = np.maximum(finite.sum(axis=0), 1)
    mean = np.where(finite, drawn, 0).sum(axis=0) / n
    spread = np.sqrt(np.where(finite, (drawn - mean) ** 2, 0).sum(axis=0) / n)
    return shares(verdicts), spread


def calibration(sample, name):
    """
    Whether the probability of a class means what it says.

    Detections of faint sources are left out. For ``"fake"``, sources of unknown class are known not to be; for the
    other classes they are left out, too.

    Parameters
    ----------
    sample : Sample
    name : str
        Class, or group of classes.

    Returns
    -------
    dict
        In bins of 0.1 ``predicted`` (mean), ``true`` (share), ``error`` (of the share, bootstrap) and ``n``;
        ``distance``, the mean of |predicted - true| over all detections, and its ``distance_error``.
    """
    scheme = ClassScheme(sample.classes)
    parts = scheme.groups.get(name, [scheme.classes.index(name)] if name in scheme.classes else [])
    members = set(GROUPS.get(name, (name,))) | {name}
    known = np.isin(sample.labels, ROWS[: _N_KNOWN + (name == FAKE)])
    p, true = sample.probability[known][:, parts].sum(axis=1), np.isin(sample.labels[known], list(members))
    bins = np.clip(np.digitize(p, _BINS) - 1, 0, len(_BINS) - 2)

    def in_bins(one, weights=None):
        weight = np.ones(len(p)) if weights is None else weights[one.cell]
        n, predicted, share = (np.bincount(bins, weight * values, len(_BINS) - 1) for values in (1, p, true))
        return n, _share(predicted, n), _share(share, n)

    def distance(one, weights=None):
        n, predicted, share = in_bins(one, weights)
        used = n > 0
        return np.average(np.abs(predicted - share)[used], weights=n[used])

    one = Verdicts(sample.labels[known], sample.labels[known], sample.cell[known])
    drawn = bootstrap(lambda v, w: np.append(in_bins(v, w)[2], distance(v, w)), one)
    n, predicted, share = in_bins(one)
    error = [np.std(column[np.isfinite(column)]) if np.isfinite(column).any() else np.nan for column in drawn.T]
    return {"n": n, "predicted": predicted, "true": share, "error": np.array(error[:-1]),
            "distance": float(distance(one)), "distance_error": float(error[-1])}  # fmt: skip
