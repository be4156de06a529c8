"""What the classifier loses on skies that it was not trained for: another diffuse emission, exposure, resolution."""

from dataclasses import replace

import numpy as np

from astrolearn.sources.classes.features import without_years
from astrolearn.sources.classes.labels import FAKE
from benchmarks.classes.scores import SCORES, TOP, Sample, calibration, difference, measure, own_weights
from benchmarks.classes.skies import SEED, skies
from benchmarks.report import Report, with_error

__all__ = ["diffuse", "elsewhere", "one_map", "without_probability"]

_N_PAIRS, _N_ELSEWHERE = 5, 3
_BASE = "as trained"
_DIFFUSE = {
    _BASE: ("gll_iem_v07", "right"),
    "wrong template": ("gll_iem_v07", "wrong (analytic)"),
    "no template": ("gll_iem_v07", "none"),
    "analytic": ("analytic", "right"),
    "analytic, wrong template": ("analytic", "wrong (gll_iem_v07)"),
    "analytic, no template": ("analytic", "none"),
}
_SHOWN = ("overall", *(f"recall {name}" for name in TOP), "balanced", "bll against fsrq")


def diffuse(context):
    """Skies of equal seeds under two diffuse models, each with the right, the wrong and no template."""
    n = context.number(_N_PAIRS)
    report = Report(
        "classes-diffuse",
        "Classes under other diffuse models",
        f"{n} pairs of simulated skies (seeds from {SEED} on; ten years, FRONT+BACK, six bins, nside 256): the same "
        "sources under the diffuse model gll_iem_v07 and under the analytic one, which was not trained on, each given "
        "the right template, the other one or none. Finder and classifier as they are shipped.",
    )
    report.text(
        "The classifier was trained on skies made from gll_iem_v07, distorted at random, six in seven with the "
        "template. Detections differ from case to case, and are labelled anew in each; those of faint sources and of "
        "unknown class are left out. *Loss* is against the first line, in points (hundredths), with an error from "
        "bootstrap samples of the same parts of the sky (215 square degrees)."
    )
    cases = {kind: Sample.of(skies(kind, n, context), context.classifier) for kind in _DIFFUSE}
    labels = {kind: list(names) for kind, names in _DIFFUSE.items()}
    _compare(report, context.classifier, cases, labels, ["sky made of", "template given"])
    names = ("agn", "psr", "pwn_snr", FAKE)
    rows = []
    for kind, sample in cases.items():
        results = {name: calibration(sample, name) for name in names}
        report.numbers[kind]["calibration"] = {name: r["distance"] for name, r in results.items()}
        rows.append([*labels[kind], *(with_error(r["distance"], r["distance_error"], 3) for r in results.values())])
    report.table("Mean distance of predicted probability and true share",
                 ["sky made of", "template given", *(f"p_{name}" for name in names)], rows)
    return report


def elsewhere(context):
    """Other exposure and resolution, and inputs that are missing."""
    n = context.number(_N_ELSEWHERE)
    report = Report(
        "classes-elsewhere",
        "Classes of sources in other maps",
        f"{n} simulated skies each, of the same seeds (from {SEED} on) and thus with the same sources. The base case "
        "is the training's: ten yearly maps of FRONT+BACK photons, six bins, nside 256, with the finder's probability.",
    )
    report.text(
        "Finder and classifier are as shipped, and not told of the change. Detections differ where maps do, and are "
        "labelled anew; those of faint sources and of unknown class are left out. *Loss* is against the base case, in "
        "points (hundredths), with an error from bootstrap samples of the same parts of the sky (215 square degrees)."
    )
    cases = {
        _BASE: (_BASE, None),
        "FRONT photons only": ("FRONT", None),
        "8 years, 8 maps": ("8 years", None),
        "15 years, 15 maps": ("15 years", None),
        "one map, years not told apart": (_BASE, one_map),
        "without the finder's probability": (_BASE, without_probability),
        "nside 512": ("nside 512", None),
        "exposure of years scatters by 5 %": ("uneven years", None),
    }
    samples = {name: Sample.of(skies(kind, n, context), context.classifier, change)
               for name, (kind, change) in cases.items()}  # fmt: skip
    _compare(report, context.classifier, samples, {name: [name] for name in cases}, ["maps"])
    return report


def one_map(seen):
    """Detections as they are seen in the sum of all years."""
    features = without_years(seen.features, seen.counts.shape[2])
    return replace(seen, counts=seen.counts.sum(axis=1, keepdims=True, dtype=np.float32), features=features)


def without_probability(seen):
    """Detections as they are seen if the finder's probability is not known."""
    features = seen.features.copy()
    features[:, -2:] = 0
    return replace(seen, features=features)


def _compare(report, classifier, cases, labels, header):
    """Add tables of scores and of what is lost against the first case."""
    verdicts = {name: sample.verdicts(own_weights(classifier)) for name, sample in cases.items()}
    base = next(iter(verdicts.values()))
    scores, losses = [], []
    for name, one in verdicts.items():
        result = measure(one)
        number = int(np.isin(one.true, ("bll", "fsrq", *TOP)).sum())
        scores.append([*labels[name], number, *(with_error(*result[key]) for key in _SHOWN)])
        entry = {"scores": result, "number": number}
        if one is not base:
            lost = {key: (-100 * value, 100 * error) for key, (value, error) in difference(base, one).items()}
            losses.append([*labels[name], *(with_error(*lost[key], 1) for key in _SHOWN)])
            entry["loss in points"] = {key: lost[key] for key in SCORES}
        report.numbers[name] = entry
    report.table("Scores", [*header, "detections", *_SHOWN], scores)
    report.table("Loss in points", [*header, *_SHOWN], losses)
