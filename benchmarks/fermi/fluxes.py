"""Purity and completeness by photon flux on simulated six-bin skies, beside UNEK's published ones."""

import astropy.units as u
import numpy as np
from astropy.stats import binom_conf_interval
from matplotlib.figure import Figure

from astrolearn.sources.recovery import FLUX_BINS
from benchmarks import tsmap
from benchmarks.fermi.comparison import Comparison, everywhere, latitude
from benchmarks.fermi.finders import FINDER, TS_MAP, run_finder, run_peer
from benchmarks.fermi.settings import TS_OPTIONS, TS_THRESHOLD
from benchmarks.fermi.skies import SEED, skies
from benchmarks.report import Report
from benchmarks.scoring import match_region, median_offset

__all__ = ["by_flux"]

_N_SKIES = 5
_RADIUS = 0.3 * u.deg
_FAINTEST = 3e-11 / u.cm**2 / u.s  # sources from here on are the truth that detections are matched with
_LONG_LIST = 0.1
_REGIONS = {"|b| > 20": latitude(20), "all": everywhere}
# Panes et al. (2021, A&A 656, A62), code repository, network F0-B1: (purity, completeness) by FLUX_BINS
_UNEK = {
    "|b| > 20": [(0.69, 0.14), (0.90, 0.54), (0.95, 0.88), (0.96, 0.95), (0.96, 0.97), (0.97, 0.99)],
    "all": [(0.59, 0.10), (0.84, 0.41), (0.93, 0.74), (0.95, 0.88), (0.94, 0.93), (0.96, 0.96), (0.94, 0.97)],
}


def by_flux(context):
    """Measure purity (by estimated flux) and completeness (by true flux) of the finder and the TS map."""
    n = context.n_skies or _N_SKIES
    rows = {FINDER: [], f"{TS_MAP}, TS > 25": [], f"{TS_MAP}, sqrt(TS) > {TS_THRESHOLD:g}": []}
    long, truths = {FINDER: [], TS_MAP: []}, []
    for sky in skies("wide", n, context.data):
        truth = sky.sources[sky.sources["flux"] >= _FAINTEST]
        found, _ = run_finder(context.finder, sky, context.finder.threshold)
        found["flux"] = found["bin_flux"][:, sky.energy_edges[:-1] >= 1 * u.GeV].sum(axis=1)
        peer, _ = run_peer(tsmap.find_sources, sky, **TS_OPTIONS["wide"])
        for name, table in zip(rows, (found, peer[peer["score"] > 5], peer[peer["score"] > TS_THRESHOLD]), strict=True):
            rows[name].append(table)
        long[FINDER].append(run_finder(context.finder, sky, _LONG_LIST)[0])
        long[TS_MAP].append(peer)
        truths.append(truth)
    report = Report(
        "fluxes",
        "Simulated six-bin skies, by flux",
        f"{n} simulated ten-year skies of FRONT photons (0.3, 0.5, 1, 2, 7, 20, 1000 GeV; nside 256; seeds {SEED} to "
        f"{SEED + n - 1}); true sources above {_FAINTEST.value:g} / (cm2 s) over 1 GeV; match radius {_RADIUS:g}.",
    )
    report.text(
        "Purity is by estimated flux, completeness by true flux (both > 1 GeV), 68 % intervals. The finder reports "
        "at its default threshold; the TS map at TS > 25, the threshold of the LAT catalogues, and at the threshold "
        "of best F1 on other simulated skies. UNEK's numbers are those of the authors' own simulations (Panes et "
        "al. 2021), for sources above the same fluxes."
    )
    for region, inside in _REGIONS.items():
        matches = {
            name: [match_region(t, truth, _RADIUS, inside) for t, truth in zip(tables, truths, strict=True)]
            for name, tables in rows.items()
        }
        pooled = {name: _pool([m.by("flux", FLUX_BINS) for m in ms]) for name, ms in matches.items()}
        _tables(report, region, pooled)
        lines = []
        for name, ms in matches.items():
            n_detected, n_right = sum(np.sum(~m.ignored) for m in ms), sum(len(m.separation) for m in ms)
            chance = np.average([m.chance_rate for m in ms], weights=[max(len(m.catalogue), 1) for m in ms])
            offset, error = median_offset(ms)
            lines.append(
                [
                    name,
                    int(n_detected),
                    f"{n_right / max(n_detected, 1):.3f}",
                    f"{chance:.3f}",
                    f"{offset:.4f} ± {error:.4f}",
                ]
            )
            report.numbers[f"{region}, {name}"] = {
                "bins": pooled[name],
                "n_detections": n_detected,
                "purity": n_right / max(n_detected, 1),
                "chance_rate": chance,
                "median_offset": offset,
            }
        report.table(
            f"Detections of all fluxes, {region} deg" if region != "all" else "Detections of all fluxes, whole sky",
            ["finder", "detections", "purity", "chance matches", "median offset [deg]"],
            lines,
        )
        report.figure(
            f"fluxes-{'high' if region != 'all' else 'all'}",
            _figure(pooled, region),
            f"Purity and completeness by flux, {region}; dashed: UNEK as published.",
        )
    comparison = Comparison(long, truths, _RADIUS, _REGIONS)
    comparison.add_tables(report, "Whole lists, by probability and by TS")
    return report


def _pool(tables):
    """Sum the numbers of several `Match.by` tables, and make fractions and 68 % intervals of them."""
    out = {}
    for fraction, n_all, n_good in (("purity", "n_detected", "n_matched"), ("completeness", "n_reference", "n_found")):
        total, good = (np.sum([t[name] for t in tables], axis=0) for name in (n_all, n_good))
        low, high = binom_conf_interval(good, np.maximum(total, 1), interval="wilson")
        out |= {
            n_all: total,
            n_good: good,
            fraction: good / np.maximum(total, 1),
            f"{fraction}_low": low,
            f"{fraction}_high": high,
        }
    return out


def _tables(report, region, pooled):
    for fraction, number in (("purity", "n_detected"), ("completeness", "n_reference")):
        lines = []
        for i, low in enumerate(FLUX_BINS[:-1].value):
            cells = [f"{low:.3g}"]
            for table in pooled.values():
                cells.append(
                    f"{table[fraction][i]:.3f} "
                    f"({table[fraction + '_low'][i]:.3f}-{table[fraction + '_high'][i]:.3f}) of {table[number][i]}"
                    if table[number][i]
                    else "-"
                )
            published = _UNEK[region]
            cells.append(f"{published[i][fraction == 'completeness']:.2f}" if i < len(published) else "-")
            lines.append(cells)
        where = "whole sky" if region == "all" else f"{region} deg"
        report.table(
            f"{fraction.capitalize()} by {'estimated' if fraction == 'purity' else 'true'} flux, {where}",
            ["flux > 1 GeV from [1 / (cm2 s)]", *pooled, "UNEK"],
            lines,
        )


def _figure(pooled, region):
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    low = FLUX_BINS[:-1].value
    middle = low * np.sqrt(low[1] / low[0])
    for axis, fraction in zip(figure.subplots(1, 2, sharey=True), ("purity", "completeness"), strict=True):
        for name, table in pooled.items():
            error = np.abs(np.array([table[f"{fraction}_low"], table[f"{fraction}_high"]]) - table[fraction])
            axis.errorbar(middle, table[fraction], error, label=name, lw=2 if name == FINDER else 1, marker=".")
        published = np.array(_UNEK[region])[:, int(fraction == "completeness")]
        axis.plot(middle[: len(published)], published, "k--", label="UNEK")
        axis.set(xscale="log", xlabel="flux above 1 GeV [1 / (cm$^2$ s)]", ylabel=fraction, ylim=(0, 1.02))
    axis.legend(fontsize=8, loc="lower right")
    return figure
