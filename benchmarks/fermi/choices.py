"""How the peers were tuned, and the energy bins above 50 GeV chosen: on simulated skies that no result uses."""

from functools import partial

import astropy.units as u
import numpy as np

from benchmarks import peers, tsmap
from benchmarks.fermi.calibration import wanted
from benchmarks.fermi.comparison import Comparison, everywhere, latitude
from benchmarks.fermi.data import EDGES_50, analytic_template
from benchmarks.fermi.finders import FINDER, TS_MAP, observation_of, run_finder
from benchmarks.fermi.settings import GROUPS_50, TEMPLATE_50, TS_OPTIONS, TS_THRESHOLD
from benchmarks.fermi.skies import TUNING_SEED, skies
from benchmarks.report import Report

__all__ = ["choices"]

_N_SKIES = {"2-20": 2, "wide": 1, "50": 2}
_RADIUS = {"2-20": 0.5 * u.deg, "wide": 0.3 * u.deg, "50": 0.3 * u.deg}
_REGIONS = {"all": everywhere, "|b| < 10": latitude(0, 10), "|b| > 10": latitude(10)}
_CONTAINMENT = (0.3, 0.4, 0.6, 0.8, 0.9, 0.95)
_MIN_DISTANCE = (1.0, 3.0)
_IMAGE_PEERS = {
    "blob_log": [partial(peers.detect_blobs, threshold=t) for t in (0.2, 0.5, 1.0)],
    "sep": [partial(peers.detect_sep, threshold=t, deblend=d) for t in (0.7, 1.0, 2.0) for d in (1e-5, 1e-3)],
    "DAOStarFinder": [partial(peers.detect_dao, threshold=t, fwhm=f) for t in (1.0, 2.0) for f in (0.7, 1.0, 1.4)],
}
_GROUPS = {"1 bin": ((0, 1, 2),), "2 bins": ((0,), (1, 2)), "3 bins": ((0,), (1,), (2,))}


def choices(context):
    """Scores of alternatives."""
    report = Report(
        "choices",
        "What was chosen, and on what",
        f"Simulated skies of seeds from {TUNING_SEED} on, used for nothing else: 2-20 GeV (PSF3, nside 128), six "
        "FRONT bins (nside 256) and above 50 GeV (nside 512).",
    )
    report.text(
        "Every peer was given the settings that serve it best here, before a real map was scored. Chosen for the TS "
        "map: "
        + "; ".join(f"{kind}: {options}" for kind, options in TS_OPTIONS.items())
        + f"; threshold of best F1 on six bins sqrt(TS) = {TS_THRESHOLD:g}. "
        f"Above 50 GeV: {len(GROUPS_50)} bin(s), template " + ("given" if TEMPLATE_50 else "not given") + "."
    )
    for kind, default in _N_SKIES.items():
        maps = list(skies(kind, context.n_skies or default, context.data, TUNING_SEED))
        truths = [wanted(m, context.finder)[0] for m in maps]
        _settings(report, kind, maps, truths)
        if kind == "50":
            _bins(report, maps, truths, context)
    return report


def _settings(report, kind, maps, truths):
    """Settings of the TS map, and of the image finders on maps of one bin."""
    lists = {}
    if kind == "50":
        maps = [m.rebin(groups=[list(g) for g in GROUPS_50]) for m in maps]
    for observation in map(observation_of, maps):
        for finer in (False, True):
            for containment in _CONTAINMENT:
                result = tsmap.ts_map(observation, containment=containment, finer=finer)
                for distance in _MIN_DISTANCE:
                    trials = 4 if finer else 1
                    name = f"TS map, window {containment:g}, {trials} trial(s) per pixel, peaks {distance:g} r68 apart"
                    lists.setdefault(name, []).append(tsmap.find_peaks(observation, *result, min_distance=distance))
        for name, variants in _IMAGE_PEERS.items() if kind == "2-20" else ():
            for detect in variants:
                label = f"{name}, " + ", ".join(f"{key} {value:g}" for key, value in detect.keywords.items())
                lists.setdefault(label, []).append(peers.search(observation, detect))
    _add(report, f"Settings of the peers on {kind} maps", Comparison(lists, truths, _RADIUS[kind], _REGIONS))


def _bins(report, maps, truths, context):
    """Energy bins, and the analytic template or none, for photons above 50 GeV."""
    analytic, lists = analytic_template(EDGES_50, maps[0].nside), {}
    for name, groups in _GROUPS.items():
        for how in ("estimated background", "analytic template"):
            for original in maps:
                sky = original.rebin(groups=[list(g) for g in groups])
                sky.background = (
                    np.array([analytic[list(g)].sum(axis=0) for g in groups]) if how == "analytic template" else None
                )
                lists.setdefault(f"{FINDER}, {name}, {how}", []).append(run_finder(context.finder, sky)[0])
                peer = tsmap.find_sources(observation_of(sky), **TS_OPTIONS["50"])
                lists.setdefault(f"{TS_MAP}, {name}, {how}", []).append(peer)
    _add(report, "Bins and background above 50 GeV", Comparison(lists, truths, _RADIUS["50"], _REGIONS))


def _add(report, caption, comparison):
    header, cells = comparison.score_cells()
    rows = []
    for name, regions in comparison.results.items():
        whole = regions["all"]
        rows.append([name, *cells[name], f"{whole['f1']:.3f} at {whole['f1_threshold']:.2f}"])
    report.table(caption, ["settings", *header, "best F1"], rows)
    report.numbers[caption] = comparison.results
