"""The classes of what is detected in skies of the training's kind, beside boosted trees and the finder alone."""

from functools import partial
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure

from astrolearn.sources.classes.labels import FAINT, FAKE
from benchmarks.classes.decision import GOALS, choose_threshold, choose_weights
from benchmarks.classes.peers import TUNED_ON, boosted_trees, features_of
from benchmarks.classes.scores import (
    CONVENTIONS,
    LEAVES,
    ROWS,
    SCORES,
    TOP,
    Sample,
    Verdicts,
    calibration,
    difference,
    measure,
    own_weights,
    row_shares,
    score_cells,
)
from benchmarks.classes.skies import SEED, TUNING_SEED, skies
from benchmarks.report import Report, with_error

__all__ = ["FINDER", "OURS", "PROBABLE", "RULE", "TREES", "TREES_PROBABLE", "simulated"]

OURS, PROBABLE = "SourceClassifier", "SourceClassifier, most probable class"
RULE = "SourceClassifier, weights by the rule"
TREES, TREES_PROBABLE = "boosted trees", "boosted trees, most probable class"
FINDER = "probability of the finder alone"
_N_TEST, _N_TUNING = 10, 6
_SIGNIFICANCE = (0, 4, 6, 10, 20, 50, np.inf)
_TRUE = ("bll", "fsrq", "psr", "pwn_snr", "fake", "unk", "faint")
_ENOUGH = 20  # detections in a bin whose share can be judged
# Panes et al. (2021), A&A 656, A62: shares recognised, on their own simulations
_PUBLISHED = {"overall": 0.71, "agn": 0.70, "psr": 0.80, "fake": 0.75}


def simulated(context):
    """Scores, confusion, calibration."""
    n, n_tuning = context.number(_N_TEST), context.number(_N_TUNING)
    classifier = context.classifier
    test = Sample.of(skies("as trained", n, context), classifier)
    tuning = Sample.of(skies("as trained", n_tuning, context, TUNING_SEED), classifier)
    report = Report(
        "classes-simulated",
        "Classes of simulated sources",
        f"What the finder detects in {n} simulated skies of the training's kind (seeds from {SEED} on): ten years of "
        "FRONT+BACK photons, six bins of 0.3 GeV to 1 TeV, nside 256, the diffuse model gll_iem_v07 distorted at "
        "random and given undistorted; classes as frequent as they are.",
    )
    number = {name: int(np.sum(test.labels == name)) for name in _TRUE}
    report.numbers["number"] = number
    report.text(
        "The detections are " + ", ".join(f"{count} {name}" for name, count in number.items()) + ". *unk* are real "
        "sources of unknown class, *faint* those whose only counterpart is a source of expected significance below "
        "2.5: both are left out of the scores, unless a table says otherwise. *Recall* is the share of a class that "
        "is recognised, *precision* the share of those called so that are; *balanced* is the mean recall of the four "
        "classes; *bll against fsrq* is the share of BL Lacs and FSRQs with the right sub-class, among those that are "
        "recognised as active galaxies. Errors: bootstrap over parts of 215 square degrees of all skies."
    )
    methods, chosen = _methods(context, test, tuning)
    report.numbers |= {"class_weight": classifier.class_weight} | chosen
    report.text(
        f"Weights of the classes at which {OURS} decides: {_weights_in_words(own_weights(classifier))}. "
        f"On {n_tuning} skies of seeds from {TUNING_SEED} on, on which the settings of all methods were chosen, the "
        "rule that the smallest of the margins to "
        + ", ".join(f"{goal:.2f} ({name})" for name, goal in GOALS.items()) + " be largest gives "
        f"{_weights_in_words(chosen['rule'])}. The same rule on the same skies gives the trees "
        f"{_weights_in_words(chosen['rule of trees'])}, and the finder's probability a threshold of "
        f"{chosen['threshold']:.3f}. The trees are scikit-learn's HistGradientBoostingClassifier with "
        + ", ".join(f"{name} {value:g}" for name, value in chosen["trees"].items())
        + f", the best there of those that learn from every {TUNED_ON}th detection; these learn from all, and from "
        "the skies, too, that the network's training held back."
    )
    for convention, text in CONVENTIONS.items():
        _score_table(report, methods, convention, text)
    report.text(
        "Panes et al. (2021) give "
        + ", ".join(f"{value:.2f} ({name})" for name, value in _PUBLISHED.items())
        + " for their networks, on their own simulations, where fakes and faint sources are drawn differently: a "
        "scale, not a comparison."
    )
    verdicts = methods[OURS]()
    _confusion(report, verdicts)
    _by_brightness(report, test, verdicts)
    _reliability(report, test)
    return report


def _methods(context, test, tuning):
    """Name to verdicts under a convention; and what was chosen."""
    classifier = context.classifier
    trees, settings = boosted_trees(
        features_of(context.training_skies()), (tuning.features, tuning.labels), context.cache
    )
    p_test, p_tuning = (trees.predict_proba(sample.features) for sample in (test, tuning))
    rule = choose_weights(tuning.probability, tuning.labels, tuning.classes)
    rule_of_trees = choose_weights(p_tuning, tuning.labels, trees.classes_)
    threshold = choose_threshold(tuning.finder, tuning.labels)

    def of_finder(convention="left out"):
        return Verdicts(test.truth(convention), np.where(test.finder < threshold, FAKE, "agn"), test.cell)

    methods = {
        OURS: partial(_verdicts, test, own_weights(classifier), None),
        RULE: partial(_verdicts, test, rule, None),
        PROBABLE: partial(_verdicts, test, None, None),
        TREES: partial(_verdicts, test, rule_of_trees, p_test),
        TREES_PROBABLE: partial(_verdicts, test, None, p_test),
        FINDER: of_finder,
    }
    if np.allclose([rule[name] for name in TOP], [own_weights(classifier)[name] for name in TOP]):
        del methods[RULE]
    return methods, {"rule": rule, "rule of trees": rule_of_trees, "threshold": threshold, "trees": settings}


def _verdicts(sample, weights, probability, convention="left out"):
    return sample.verdicts(weights, probability, convention)


def _weights_in_words(weights):
    return ", ".join(f"{name} {weight / weights['agn']:.3g}" for name, weight in weights.items())


def _score_table(report, methods, convention, text):
    results = {name: measure(of(convention)) for name, of in methods.items()}
    report.numbers[f"faint: {convention}"] = results
    caption = f"Scores; detections of faint sources {text}"
    header = ["", "overall", *(f"recall {name}" for name in TOP), "balanced", "bll against fsrq"]
    shown = [name for name in SCORES if "precision" not in name]
    report.table(caption, header, [[name, *score_cells(result, shown)] for name, result in results.items()])
    precision = [f"precision {name}" for name in TOP]
    report.table(f"Precision; detections of faint sources {text}", ["", *TOP],
                 [[name, *score_cells(result, precision)] for name, result in results.items()])
    if convention == "left out":
        base = methods[OURS]()
        better = {name: difference(of(), base) for name, of in methods.items() if name != OURS}
        report.numbers["better by"] = better
        report.table(f"What {OURS} is better by, on the same parts of the sky", header,
                     [[name, *score_cells(result, shown)] for name, result in better.items()])


def _confusion(report, verdicts, true=_TRUE):
    """Add the table of what each class is taken for, with and without sub-classes, and a figure of it."""
    top = Verdicts(_joined(verdicts.true), _joined(verdicts.found), verdicts.cell)
    levels = {"sub-classes": (verdicts, true, LEAVES),
              "top-level classes": (top, tuple(dict.fromkeys(_joined(true).tolist())), TOP)}  # fmt: skip
    for level, (one, labels, found) in levels.items():
        place = np.ix_([ROWS.index(label) for label in labels], [ROWS.index(label) for label in found])
        number, share, error = (values[place] for values in (one.table(), *row_shares(one)))
        report.numbers[f"confusion, {level}"] = {"true": labels, "found": found, "number": number, "share": share,
                                                 "error": error}  # fmt: skip
        rows = [[label, *(f"{count:g} ({with_error(*pair)})" for count, *pair in zip(*parts, strict=True))]
                for label, *parts in zip(labels, number, share, error, strict=True)]  # fmt: skip
        report.table(f"What each is taken for, number (share of the row), {level}", ["true", *found], rows)
    confusion = report.numbers["confusion, sub-classes"]
    share, number = confusion["share"], confusion["number"]
    figure = Figure(figsize=(6, 0.55 * len(true) + 1.6), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(share, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for (i, j), value in np.ndenumerate(share):
        if np.isfinite(value):
            axis.text(j, i, f"{value:.2f}\n{number[i, j]:g}", ha="center", va="center", fontsize=8,
                      color="black" if value > 0.5 else "white")
    axis.set(xticks=range(len(LEAVES)), xticklabels=LEAVES, yticks=range(len(true)), yticklabels=true,
             xlabel="reported class", ylabel="true class")
    figure.colorbar(image, label="share of the true class")
    report.figure("classes-confusion", figure, "Share of each true class that is reported as each class, and numbers.")


def _joined(names):
    """Top-level names."""
    return np.where(np.isin(names, ("bll", "fsrq")), "agn", names)


def _by_brightness(report, sample, verdicts):
    """Recall in bins of the finder's significance, and at low and high latitude."""
    cuts = {f"{low:g}-{high:g}" if np.isfinite(high) else f"> {low:g}":
            (sample.significance >= low) & (sample.significance < high) for low, high in pairwise(_SIGNIFICANCE)}
    places = {"|b| < 10": np.abs(sample.latitude) < 10, "|b| > 10": np.abs(sample.latitude) > 10}
    names = [f"recall {name}" for name in TOP]
    for caption, groups in {"significance of the detection": cuts, "Galactic latitude [deg]": places}.items():
        rows, results = [], {}
        for label, chosen in groups.items():
            one = verdicts.take(chosen)
            number = [int(np.isin(one.true, ("bll", "fsrq") if name == "agn" else (name,)).sum()) for name in TOP]
            results[label] = measure(one) if chosen.any() else dict.fromkeys(SCORES, (np.nan, np.nan))
            rows.append([label, *(f"{with_error(*results[label][key])} (of {count})"
                                  for key, count in zip(names, number, strict=True)),
                         with_error(*results[label]["overall"])])  # fmt: skip
        report.numbers[f"by {caption}"] = results
        report.table(f"{OURS}, recall by {caption}", [caption, *TOP, "overall"], rows)
        if groups is cuts:
            figure = Figure(figsize=(6, 4), layout="constrained")
            axis = figure.subplots()
            place = np.arange(len(groups))
            for shift, (name, key) in enumerate(zip(TOP, names, strict=True)):
                value, error = np.array([results[label][key] for label in groups]).T
                axis.errorbar(place + 0.06 * (shift - 1.5), value, error, marker="osD^"[shift], capsize=2, label=name)
            axis.set(xticks=place, xticklabels=list(groups), xlabel="significance of the detection", ylabel="recall",
                     ylim=(0, 1.02))  # fmt: skip
            axis.legend()
            report.figure("classes-significance", figure, "Share of each class that is recognised, by the "
                          "significance of the detection.")  # fmt: skip


def _reliability(report, sample):
    """Whether probabilities mean what they say."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots(2, 3, sharex=True, sharey=True).ravel()
    rows, results = [], {}
    for axis, name in zip(axes, ("agn", *LEAVES), strict=True):
        result = results[name] = calibration(sample, name)
        rows.append([f"p_{name}", with_error(result["distance"], result["distance_error"], 4),
                     *(f"{with_error(value, error, 2)} (of {n:g})" if n else "-" for value, error, n in
                       zip(result["true"], result["error"], result["n"], strict=True))])  # fmt: skip
        axis.plot([0, 1], [0, 1], color="0.7", linestyle="-", zorder=0)
        shown = result["n"] >= _ENOUGH
        points = (result[key][shown] for key in ("predicted", "true", "error"))
        axis.errorbar(*points, marker="o", color="C0", capsize=2)
        axis.set(title=f"p_{name}", xlim=(0, 1), ylim=(0, 1))
    figure.supxlabel("predicted probability")
    figure.supylabel("true share")
    report.numbers["calibration"] = results
    header = ["probability", "mean distance", *(f"{low / 10:g}-{(low + 1) / 10:g}" for low in range(10))]
    report.table("True share of detections by predicted probability, and the mean distance of the two", header, rows)
    report.text(f"*unk* count as not {FAKE} for p_fake, and are left out for the others; {FAINT} are left out.")
    report.figure("classes-reliability", figure, "Predicted probability of each class against the share that is of it, "
                  f"in bins of {_ENOUGH} detections or more.")
