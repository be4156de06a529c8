"""What the finder loses under a diffuse model that it was not trained on, and what each way to locate sources costs."""

import astropy.units as u
import numpy as np

from astrolearn.sources.localize import LOCALIZERS
from benchmarks import tsmap
from benchmarks.fermi.calibration import map_kinds, wanted
from benchmarks.fermi.comparison import PURITY, Comparison, everywhere, latitude
from benchmarks.fermi.finders import FINDER, TS_MAP, run_finder, run_peer
from benchmarks.fermi.settings import TS_OPTIONS
from benchmarks.fermi.skies import SEED, skies
from benchmarks.report import Report, with_error
from benchmarks.scoring import Ranking, bootstrap, match_region, median_offset

__all__ = ["diffuse_models", "localizers"]

_N_SKIES = 2
_LONG_LIST = 0.1
_OFFICIAL, _ANALYTIC = "gll_iem_v07", "analytic"
_REGIONS = {"all": everywhere, "|b| < 10": latitude(0, 10), "|b| > 10": latitude(10)}


def diffuse_models(context):
    """Skies of the same seeds under two diffuse models, with the right, the wrong or no template."""
    n = context.n_skies or _N_SKIES
    pairs = zip(skies("wide", n, context.data), skies("wide", n, context.data, diffuse=None), strict=True)
    cases = {
        (true, given): {FINDER: [], TS_MAP: []}
        for true in (_OFFICIAL, _ANALYTIC)
        for given in (_OFFICIAL, _ANALYTIC, "none")
    }
    truths = {_OFFICIAL: [], _ANALYTIC: []}
    for official, analytic in pairs:
        maps = {_OFFICIAL: official, _ANALYTIC: analytic}
        templates = {name: m.background.copy() for name, m in maps.items()} | {"none": None}
        for (true, given), lists in cases.items():
            maps[true].background = templates[given]
            lists[FINDER].append(run_finder(context.finder, maps[true], _LONG_LIST)[0])
            lists[TS_MAP].append(run_peer(tsmap.find_sources, maps[true], **TS_OPTIONS["wide"])[0])
        for name, m in maps.items():
            truths[name].append(wanted(m, context.finder)[0])
    report = Report(
        "diffuse-models",
        "Diffuse models that were not trained on",
        f"{n} pairs of simulated six-bin FRONT skies (nside 256; seeds {SEED} to {SEED + n - 1}): the same sources "
        "under the diffuse model gll_iem_v07 and under the analytic one, each given either template or none; match "
        f"radius 0.3 deg; true sources of expected significance {context.finder.min_significance:g} or more.",
    )
    report.text(
        "The finder was trained on skies made from gll_iem_v07, distorted at random. The first line is that case; "
        "*loss* is against it, with an error from the same bootstrap samples."
    )
    base = None
    for region in _REGIONS:
        rows = []
        for (true, given), lists in cases.items():
            comparison = Comparison(lists, truths[true], 0.3 * u.deg, _REGIONS)
            base = comparison if (true, given) == (_OFFICIAL, _OFFICIAL) else base
            row = [true, given]
            for name in (FINDER, TS_MAP):
                scores = comparison.scores(name, region)
                loss = bootstrap(_loss, base.ranking(name, region), comparison.ranking(name, region))
                value = _loss(base.ranking(name, region), comparison.ranking(name, region), None)
                row += [
                    with_error(scores["f1"], scores["f1_error"]),
                    with_error(scores["completeness"], scores["completeness_error"]),
                    with_error(value, loss.std()),
                ]
                report.numbers[f"{region}, {true} sky, {given} template, {name}"] = scores | {
                    "loss": value,
                    "loss_error": loss.std(),
                }
            rows.append(row)
        header = ["sky made of", "template given"]
        for name in (FINDER, TS_MAP):
            header += [f"{name}: best F1", f"completeness at purity {PURITY}", "loss of completeness"]
        report.table(f"Diffuse models, {region}", header, rows)
    return report


def _loss(base, other, weights):
    """Completeness at purity 0.9 that is lost."""
    return base.completeness_at_purity(PURITY, weights) - other.completeness_at_purity(PURITY, weights)


def localizers(context):
    """F1, offsets and time of the three ways from a map of probabilities to positions."""
    finder = context.finder
    report = Report(
        "localizers",
        "Ways to locate sources",
        f"Simulated skies of four kinds, seeds from {SEED} on, each searched with every ``localizer`` at the default "
        f"threshold; true sources of expected significance {finder.min_significance:g} or more.",
    )
    report.text(
        "``offset`` takes the peaks of the probability map and the network's own offsets, ``log`` fits the "
        "Laplacian of Gaussian, and ``kmeans`` is the published clustering (Panes et al. 2021). Seconds are those "
        "of a whole ``predict``."
    )
    for kind, (_, maps) in map_kinds(context, share=0.5).items():
        matches, seconds = {name: [] for name in LOCALIZERS}, dict.fromkeys(LOCALIZERS, 0.0)
        n = 0
        for skymap in maps:
            truth, radius = wanted(skymap, finder)
            n += 1
            for name in LOCALIZERS:
                found, took = run_finder(finder, skymap, finder.threshold, localizer=name)
                seconds[name] += took
                matches[name].append(match_region(found, truth, radius, everywhere))
        rows = []
        for name, ms in matches.items():
            ranking = Ranking.of(ms, [m.catalogue["score"] for m in ms])
            f1 = ranking.f1(-np.inf)
            error = bootstrap(lambda r, w: r.f1(-np.inf, w), ranking).std()
            offset, offset_error = median_offset(ms)
            rows.append(
                [f"``{name}``", with_error(f1, error), with_error(offset, offset_error, 4), f"{seconds[name] / n:.1f}"]
            )
            report.numbers[f"{kind}, {name}"] = {
                "f1": f1,
                "f1_error": error,
                "offset": offset,
                "offset_error": offset_error,
                "seconds": seconds[name] / n,
                "n_maps": n,
            }
        report.table(f"{kind} ({n} map(s))", ["localizer", "F1", "median offset [deg]", "seconds per map"], rows)
    return report
