"""Whether the finder means what it says: the default threshold, the probabilities, and the position errors."""

import itertools

import astropy.units as u
import numpy as np
from astropy.stats import binom_conf_interval
from matplotlib.figure import Figure

from benchmarks.fermi.comparison import everywhere
from benchmarks.fermi.finders import run_finder
from benchmarks.fermi.settings import GROUPS_50
from benchmarks.fermi.skies import SEED, images, skies
from benchmarks.report import Report, with_error
from benchmarks.scoring import Ranking, bootstrap, match_region

__all__ = ["calibration", "map_kinds", "wanted"]

_FAINTEST_LISTED = {"wide": 0.1}  # probability; weak detections on six bins are many, and slow to measure
_LISTED = 0.03
_BINS = np.linspace(0, 1, 11)
_ENOUGH = 50  # detections in a bin whose deviation can be judged


def map_kinds(context, seed=SEED, share=1.0):
    """Name to simulated maps of every kind: (key, maps)."""

    def number(default):
        return context.n_skies or max(1, round(default * share))

    def fifty(n):
        for sky in skies("50", n, context.data, seed):
            yield sky.rebin(groups=[list(g) for g in GROUPS_50])

    return {
        "six FRONT bins, nside 256": ("wide", skies("wide", number(6), context.data, seed)),
        "2-20 GeV PSF3, nside 128": ("2-20", skies("2-20", number(6), context.data, seed)),
        "> 50 GeV, nside 512": ("50", fifty(number(6))),
        "Galactic centre cubes, 0.05 deg, 11 bins": ("image", images(number(24), context.data, seed)),
    }


def wanted(skymap, finder):
    """The true sources that the finder is asked for, and the radius within which a detection is right."""
    truth = skymap.sources if hasattr(skymap, "sources") else skymap.meta["sources"]
    side = np.sqrt(4 * np.pi / skymap.n_pix) * u.rad if hasattr(skymap, "n_pix") else 0 * u.deg
    return truth[truth["significance"] >= finder.min_significance], max(u.Quantity(finder.match_radius), 1.1 * side)


def calibration(context):
    """F1 at the default threshold and at the best one, reliability of probabilities, coverage of position errors."""
    finder, default = context.finder, context.finder.threshold
    report = Report(
        "calibration",
        "Threshold, probabilities and position errors",
        f"Simulated skies of four kinds, seeds from {SEED} on; true sources of expected significance "
        f"{finder.min_significance:g} or more; match radius as the finder's own (0.3 deg, or 1.1 pixels where these "
        "are larger).",
    )
    report.text(
        "Errors are bootstrapped over 215 square degrees, intervals 68 %. The reliability error is the mean "
        "distance of predicted probability and true fraction, over detections in bins of 0.1, the worst bin the "
        f"largest distance in bins of {_ENOUGH} detections or more. *Coverage* is the fraction of true detections of "
        "probability above one half whose source lies within ``coord_error``, which should be 0.68."
    )
    figure = Figure(figsize=(5, 5), layout="constrained")
    axis = figure.subplots()
    rows, reliability, header = [], [], ["map"]
    for name, (key, maps) in map_kinds(context).items():
        matches, n = [], 0
        for skymap in maps:
            truth, radius = wanted(skymap, finder)
            found, _ = run_finder(finder, skymap, _FAINTEST_LISTED.get(key, _LISTED))
            matches.append(match_region(found, truth, radius, everywhere))
            n += 1
        ranking = Ranking.of(matches, [m.catalogue["score"] for m in matches])
        at_default, (best, threshold) = ranking.f1(default), ranking.best_f1()
        errors = bootstrap(lambda r, w: (r.f1(default, w), r.best_f1(w)[0] - r.f1(default, w)), ranking).std(axis=0)
        predicted, fraction, low, high, number = _reliability(ranking)
        used = number > 0
        error = np.average(np.abs(predicted - fraction)[used], weights=number[used])
        worst = np.max(np.abs(predicted - fraction)[number >= _ENOUGH], initial=0)
        coverage = _coverage(matches)
        axis.errorbar(
            predicted[used], fraction[used], [(fraction - low)[used], (high - fraction)[used]], marker=".", label=name
        )
        rows.append(
            [
                name,
                n,
                with_error(at_default, errors[0]),
                f"{best:.3f} at {threshold:.2f}",
                with_error(best - at_default, errors[1]),
                f"{error:.3f}",
                f"{worst:.3f}",
                f"{coverage[0]:.3f} ({coverage[1]:.3f}-{coverage[2]:.3f})",
            ]
        )
        reliability.append(
            [
                name,
                *(
                    f"{f:.2f} ({a:.2f}-{b:.2f})" if m else "-"
                    for f, a, b, m in zip(fraction, low, high, number, strict=True)
                ),
            ]
        )
        report.numbers[name] = {
            "n_maps": n,
            "f1_default": at_default,
            "f1_best": best,
            "threshold_best": threshold,
            "loss": best - at_default,
            "loss_error": errors[1],
            "reliability_error": error,
            "reliability_worst": worst,
            "coverage": coverage[0],
            "coverage_interval": coverage[1:],
            "reliability": {"predicted": predicted, "true": fraction, "low": low, "high": high, "n": number},
        }
    report.table(
        f"F1 at the default threshold ({default:g}) and at the best one",
        [
            "map",
            "number",
            "F1 at default",
            "best F1",
            "difference",
            "reliability error",
            "worst bin",
            "coverage of coord_error",
        ],
        rows,
    )
    header += [f"{low:.1f}-{high:.1f}" for low, high in itertools.pairwise(_BINS)]
    report.table("True fraction of detections by predicted probability", header, reliability)
    axis.plot([0, 1], [0, 1], color="0.7", linestyle="-", zorder=0)
    axis.set(xlabel="predicted probability", ylabel="true fraction", xlim=(0, 1), ylim=(0, 1))
    axis.legend(fontsize=8)
    report.figure(
        "reliability", figure, "Predicted probability against the fraction of true detections, 68 % intervals."
    )
    return report


def _coverage(matches):
    """Fraction of the true detections of probability above one half with their source within ``coord_error``."""
    inside = total = 0
    for m in matches:
        pairs = m.catalogue[m.catalogue_index]
        sure = pairs["probability"] > 0.5
        inside, total = inside + np.sum((m.separation <= pairs["coord_error"])[sure]), total + np.sum(sure)
    low, high = binom_conf_interval(inside, max(total, 1), interval="wilson")
    return inside / max(total, 1), float(low), float(high)


def _reliability(ranking):
    """Per bin of probability: mean prediction, true fraction, its interval, number of detections."""
    counted = ranking.right | ranking.wrong
    bin_ = np.clip(np.digitize(ranking.score, _BINS) - 1, 0, len(_BINS) - 2)
    number = np.bincount(bin_, counted, len(_BINS) - 1)
    right = np.bincount(bin_, ranking.right, len(_BINS) - 1)
    predicted = np.bincount(bin_, ranking.score * counted, len(_BINS) - 1) / np.maximum(number, 1)
    low, high = binom_conf_interval(right, np.maximum(number, 1), interval="wilson")
    return predicted, right / np.maximum(number, 1), low, high, number.astype(int)
