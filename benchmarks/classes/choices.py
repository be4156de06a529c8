"""What was tried for the classifier: its inputs, the order of the years, the mean, the weights of classes, and trees.

Ordering the years by counts and subtracting their mean is the trick of UNEK (Bhattacharyya et al. 2022). Each variant
is trained on the same skies and differs from the default in one thing.
"""

import time
from functools import partial
from itertools import islice

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from astrolearn.core.parallel import map_batches
from astrolearn.recipes.fermi_lat_classes import LEARNING_WEIGHT
from astrolearn.sources.classes.labels import FAKE
from astrolearn.sources.classifier import SourceClassifier
from benchmarks.classes.context import JOBS
from benchmarks.classes.scores import LEAVES, Sample, Verdicts, decide
from benchmarks.classes.skies import TUNING_SEED, skies
from benchmarks.report import Report, with_error
from benchmarks.scoring import bootstrap

__all__ = ["choices"]

_N_TRAINING, _N_TEST = 8, 6
_EPOCHS = 4
_DEFAULT, _TREES = "default", "boosted trees on the features"
_VARIANTS = {
    _DEFAULT: {},
    "inputs='cutouts'": {"inputs": "cutouts"},
    "inputs='features'": {"inputs": "features"},
    "year_order='time'": {"year_order": "time"},
    "subtract_mean=False": {"subtract_mean": False},
    "year_order='time', subtract_mean=False": {"year_order": "time", "subtract_mean": False},
    "class_weight=None": {"class_weight": None},
    "class_weight='balanced'": {"class_weight": "balanced"},
}
_SCORES = ("log loss", "AUC fake", "AUC psr", "balanced accuracy")
_TREE_SETTINGS = {"learning_rate": 0.1, "max_leaf_nodes": 31, "max_iter": 100}


def choices(context):
    """Scores of variants on validation skies."""
    n = context.number(_N_TEST)
    report = Report(
        "classes-choices",
        "Choices for the classes of sources",
        f"Networks trained on {_N_TRAINING} skies of the training for {_EPOCHS} epochs, so that many could be, and "
        f"measured on {n} skies of seeds from {TUNING_SEED} on, on which no other page is measured. No shipped weights "
        "take part.",
        of_weights=False,
    )
    report.text(
        "The default is the recipe's: cutouts and features, years by falling counts, their mean subtracted, "
        "class_weight "
        + ", ".join(f"{name} {weight:g}" for name, weight in LEARNING_WEIGHT.items())
        + " in the loss. *Log loss* is that of detections of known class, sub-classes told apart; *AUC* the area under "
        "the curve of true against false positives, for fakes against all that is real and for pulsars against all "
        "other known classes; *balanced accuracy* is the mean share recognised of the four classes where the most "
        "probable one is reported. Faint detections are left out. Second lines: the change against the default, with "
        "an error from the same bootstrap samples (parts of the sky of 215 square degrees). All networks have the same "
        "seed; training again with another one changes numbers, too, by what *default, another seed* shows."
    )
    train = partial(_judge, context=context, n=n)
    variants = _VARIANTS | {"default, another seed": {"random_state": 1}, _TREES: None}
    list(skies("as trained", n, context, TUNING_SEED))  # made by now, before processes ask for them
    judged = dict(zip(variants, map_batches(train, variants.values(), JOBS), strict=True))
    base = judged[_DEFAULT][0]
    rows = []
    for name, (sample, seconds) in judged.items():
        drawn = bootstrap(_scores, sample)
        value, error = _scores(sample), drawn.std(axis=0)
        result = {"seconds": seconds, "scores": dict(zip(_SCORES, zip(value, error, strict=True), strict=True))}
        rows.append([name, *(with_error(v, e) for v, e in zip(value, error, strict=True)), f"{seconds:.0f}"])
        if name != _DEFAULT:
            change = value - _scores(base)
            error = bootstrap(lambda one, two, w: _scores(two, w) - _scores(one, w), base, sample).std(axis=0)
            result["change"] = dict(zip(_SCORES, zip(change, error, strict=True), strict=True))
            rows.append(["change", *(with_error(v, e) for v, e in zip(change, error, strict=True)), ""])
        report.numbers[name] = result
    report.table("Variants of the classifier", ["", *_SCORES, "seconds of training"], rows)
    report.text(
        "The trees have "
        + ", ".join(f"{name} {value:g}" for name, value in _TREE_SETTINGS.items())
        + ", and learn from detections of known class; trees with tuned settings, from all skies, are in "
        ":ref:`benchmark-classes-simulated`. Seconds are those of one thread, two trainings at a time."
    )
    return report


class _Trees:
    """Boosted trees that look like a classifier of detections."""

    def fit(self, training):
        """Learn from features."""
        features, labels = (np.concatenate(parts) for parts in zip(*((s.features, y) for s, _, y in training),
                                                                   strict=True))  # fmt: skip
        known = np.isin(labels, LEAVES)
        self.trees_ = HistGradientBoostingClassifier(early_stopping=False, random_state=0, **_TREE_SETTINGS)
        self.trees_.fit(features[known], labels[known])
        self.classes_ = self.trees_.classes_
        return self

    def predict_proba(self, seen, coords=None):
        """Of the detections."""
        return self.trees_.predict_proba(seen.features)


def _judge(parameters, context, n):
    """What a variant says of the validation skies, and the seconds of its training."""
    torch.set_num_threads(1)
    training = list(islice(context.training_skies(_N_TRAINING), _N_TRAINING))
    if parameters is None:
        classifier = _Trees()
    else:
        defaults = {"class_weight": LEARNING_WEIGHT, "max_epochs": _EPOCHS, "random_state": 0}
        classifier = SourceClassifier(**defaults | parameters)
    start = time.perf_counter()
    classifier.fit(training)
    seconds = time.perf_counter() - start
    return Sample.of(skies("as trained", n, context, TUNING_SEED), classifier), seconds


def _scores(sample, weights=None):
    """Array of `_SCORES`, with weights per cell."""
    weight = np.ones(len(sample.labels)) if weights is None else weights[sample.cell]
    known = np.isin(sample.labels, LEAVES)
    classes = np.array(sample.classes)
    own = sample.probability[known, np.searchsorted(classes, sample.labels[known])]
    loss = np.average(-np.log(np.maximum(own, 1e-12)), weights=weight[known])
    real_or_not = known | (sample.labels == "unk")
    areas = []
    for name, chosen in ((FAKE, real_or_not), ("psr", known)):
        p = sample.probability[chosen, np.searchsorted(classes, name)]
        areas.append(roc_auc_score(sample.labels[chosen] == name, p, sample_weight=weight[chosen]))
    verdicts = Verdicts(sample.labels, decide(sample.probability, sample.classes), sample.cell)
    return np.array([loss, *areas, verdicts.named_scores(weights)["balanced"]])
