"""Real photons against the LAT catalogues: 4FGL at 2 to 20 GeV, 2FHL above 50 GeV, and the tables of the UNEK talk."""

from itertools import pairwise

import astropy.units as u
import numpy as np
from matplotlib.figure import Figure

from benchmarks.fermi.comparison import PURITY, Comparison, latitude
from benchmarks.fermi.data import EDGES_50, analytic_template, catalogue, map_2_20, map_50
from benchmarks.fermi.finders import FINDER, TS_MAP, run_finder, run_peer
from benchmarks.fermi.settings import GROUPS_50, TEMPLATE_50, TS_OPTIONS
from benchmarks.peers import PEERS
from benchmarks.report import Report
from benchmarks.scoring import match_region

__all__ = ["above_50_gev", "talk_tables", "two_to_twenty_gev"]

_BORDER = 1.0  # deg: the maps end at b = 0, and closer than this to the border nobody is scored
REGIONS = {
    "all": latitude(_BORDER, north=True),
    "|b| < 10": latitude(_BORDER, 10, north=True),
    "|b| > 10": latitude(10, north=True),
}
_SIGNIFICANCE = np.array([3, 5, 7, 10, 15, 20, 40, np.inf])
_CLASSES = ("all", "associated", "unassociated", "Flags = 0", "without 'c'", "associated, without 'c'")
_TALK_THRESHOLD = 0.2  # of Bhattacharyya et al. (2022)


def all_finders(context, skymap, kind):
    """Lists and seconds of the finder and all peers on one map."""
    lists, seconds = {}, {}
    lists[FINDER], seconds[FINDER] = run_finder(context.finder, skymap)
    for name, peer in PEERS.items():
        options = TS_OPTIONS[kind] if name == TS_MAP else {}
        lists[name], seconds[name] = run_peer(peer, skymap, **options)
    return lists, seconds


def compare(lists, reference, radius, **options):
    """`Comparison` of lists on one northern map."""
    return Comparison({name: [table] for name, table in lists.items()}, [reference], radius, REGIONS, **options)


def two_to_twenty_gev(context):
    """Real 2-20 GeV counts against the 4FGL catalogue of 8 years."""
    reference = catalogue(context.data, "4fgl_8yr")
    lists, seconds = all_finders(context, map_2_20(context.data), "2-20")
    report = Report(
        "real-2-20",
        "Real photons of 2 to 20 GeV",
        f"One map: LAT counts of 2-20 GeV (UltracleanVeto PSF3, 413 weeks), HEALPix nside 128, b > {_BORDER:g} deg, "
        f"against the {np.sum(reference['GLAT'] >= _BORDER)} sources of the 8-year 4FGL catalogue there.",
    )
    report.text(
        "Every finder gets the same expected background (the Galactic, isotropic and bubble templates, fitted by "
        "Poisson likelihood in bands of latitude, then scaled by the finder's own smooth correction) and the same "
        f"PSF. *Completeness at purity {PURITY}* is the largest completeness of any list at least that pure; *AP* is "
        "the average precision; *less chance matches* gives completeness and purity of that list without those "
        "detections that would match where they are shifted. Errors: bootstrap over 215 square degrees. 4FGL was made "
        "from photons of all types and energies: no finder can see all of its sources here."
    )
    for radius in (0.5, 0.3) * u.deg:
        comparison = compare(lists, reference, radius)
        comparison.add_tables(report, "Real 2-20 GeV against 4FGL", seconds)
        if radius == 0.5 * u.deg:
            _by_significance(report, comparison, "Signif_Avg", _SIGNIFICANCE)
            report.figure(
                "real-2-20", _curves(comparison), "Purity over completeness on real 2-20 GeV photons, 0.5 deg."
            )
    return report


def above_50_gev(context):
    """Real photons above 50 GeV against 2FHL."""
    reference, others = catalogue(context.data, "2fhl"), catalogue(context.data, "4fgl_dr2")
    skymap = map_50(context.data, groups=GROUPS_50)
    report = Report(
        "real-50",
        "Real photons above 50 GeV",
        f"One map: LAT photons above 50 GeV (P8 SOURCE, 80 months), HEALPix nside 512, {len(GROUPS_50)} energy "
        f"bin(s), b > {_BORDER:g} deg, against the {np.sum(reference['GLAT'] >= _BORDER)} sources of 2FHL there.",
    )
    report.text(
        "Unmatched detections within 0.3 deg of a 4FGL-DR2 source count as neither right nor wrong. The number of "
        "bins and whether a template of the diffuse emission is given were chosen on simulated skies "
        "(:ref:`benchmark-choices`): the first table is that choice, the second the other one, for the record."
    )
    template = analytic_template(EDGES_50, 512)
    template = np.array([template[list(g)].sum(axis=0) for g in GROUPS_50])
    for given in (TEMPLATE_50, not TEMPLATE_50):
        skymap.background = template if given else None
        lists, seconds = all_finders(context, skymap, "50")
        comparison = compare(lists, reference, 0.3 * u.deg, ignore=others, ignore_radius=0.3 * u.deg)
        how = "analytic template given" if given else "background estimated"
        comparison.add_tables(report, f"Real photons above 50 GeV against 2FHL, {how}", seconds)
        if given == TEMPLATE_50:
            sigma = np.sqrt(reference["TS"])
            comparison.references[0]["sigma"] = sigma
            _by_significance(report, comparison, "sigma", np.array([5, 6, 8, 10, 15, np.inf]))
            report.figure(
                "real-50", _curves(comparison), "Purity over completeness on real photons above 50 GeV, 0.3 deg."
            )
    return report


def _by_significance(report, comparison, column, edges):
    """Completeness of the lists of purity 0.9 by the catalogue's significance."""
    report.numbers["by significance"] = {}
    for region in comparison.regions:
        rows, numbers = [], {}
        for name in comparison.lists:
            threshold = comparison.ranking(name, region).threshold_at_purity(PURITY)
            table = comparison.matches(name, region, threshold)[0].by(column, edges)
            numbers[name] = {
                key: np.asarray(table[key])
                for key in ("completeness", "completeness_low", "completeness_high", "n_reference")
            }
            rows.append([name] + [_interval(row, "completeness") for row in table])
        header = ["finder"] + [
            f"{_range(low, high)} ({n})"
            for (low, high), n in zip(pairwise(edges), numbers[name]["n_reference"], strict=True)
        ]
        report.table(
            f"Completeness of the list of purity {PURITY} by the catalogue's significance (number of sources), "
            f"{region}",
            header,
            rows,
        )
        report.numbers["by significance"][region] = {"edges": edges[:-1], "finders": numbers}


def _interval(row, name):
    """Value and 68 % interval of a fraction."""
    if not np.isfinite(row[name]):
        return "-"
    return f"{row[name]:.2f} ({row[name + '_low']:.2f}-{row[name + '_high']:.2f})"


def _range(low, high):
    return f"> {low:g}" if np.isinf(high) else f"{low:g}-{high:g}"


def _curves(comparison):
    figure = Figure(figsize=(4.2 * len(comparison.regions), 4), layout="constrained")
    for axis, region in zip(figure.subplots(1, len(comparison.regions), sharey=True), comparison.regions, strict=True):
        for name in comparison.lists:
            purity, completeness = comparison.ranking(name, region).curve(None)
            axis.plot(completeness, purity, label=name, lw=2 if name == FINDER else 1)
        axis.axhline(PURITY, color="0.8", linestyle="-", lw=0.8, zorder=0)
        axis.set(title=region, xlabel="completeness", xlim=(0, 1), ylim=(0, 1.02))
    axis.legend(loc="lower left", fontsize=8)
    figure.axes[0].set_ylabel("purity")
    return figure


def talk_tables(context):
    """The share of catalogued sources that are found, as in the UNEK talk (Bhattacharyya et al. 2022)."""
    reference = catalogue(context.data, "4fgl_dr2")
    subsets = _subsets(reference)
    skymap, radius = map_2_20(context.data), 0.5 * u.deg
    report = Report(
        "talk",
        "Association with 4FGL-DR2 on the real sky",
        f"One map: real 2-20 GeV counts as in :ref:`benchmark-real-2-20`, b > {_BORDER:g} deg, against 4FGL-DR2 at "
        f"{radius:g}.",
    )
    report.text(
        "After the tables of Bhattacharyya et al. (2022), who used six FRONT bins of 0.3 GeV-1 TeV and a threshold "
        "of 0.2: found 48 % of all and 59 % of the associated sources below 10 sigma, more than 90 % above, all "
        "associated ones above 40 sigma. This map holds the best-measured photons of 2-20 GeV only. A detection "
        "anywhere matches by chance as often as the last lines say. 'c' sources coincide with interstellar clumps; "
        "intervals are 68 %."
    )
    edges = np.array([0, 5, 7, 10, 15, 20, 40, np.inf])
    bands = np.array([1, 5, 10, 20, 30, 50, 90])
    for threshold in (context.finder.threshold, _TALK_THRESHOLD):
        found, _ = run_finder(context.finder, skymap, threshold)
        rows, latitude_rows, numbers = [], [], {}
        for name, chosen in subsets.items():
            result = match_region(found, reference[chosen], radius, REGIONS["all"])
            by_sigma, by_latitude = result.by("Signif_Avg", edges), result.by("latitude", bands)
            split = result.by("Signif_Avg", [0, 10, np.inf])
            rows.append(
                [
                    name,
                    *(_interval(r, "completeness") for r in by_sigma),
                    *(_interval(r, "completeness") for r in split),
                ]
            )
            latitude_rows.append([name, *(_interval(r, "completeness") for r in by_latitude)])
            numbers[name] = {
                "by significance": _plain(by_sigma),
                "by latitude": _plain(by_latitude),
                "below and above 10": _plain(split),
            }
        report.table(
            f"Share of 4FGL-DR2 sources found by significance, probability at least {threshold:g}",
            ["sources", *(_range(*e) for e in pairwise(edges)), "< 10", "> 10"],
            rows,
        )
        report.table(
            f"Share of 4FGL-DR2 sources found by Galactic latitude, probability at least {threshold:g}",
            ["sources", *(f"{low:g}-{high:g} deg" for low, high in pairwise(bands))],
            latitude_rows,
        )
        result = match_region(found, reference, radius, REGIONS["all"])
        low, high = result.purity_interval
        report.text(
            f"At this threshold there are {len(result.catalogue)} detections; {result.purity:.3f} "
            f"({low:.3f}-{high:.3f}) of them match, {result.purity_corrected:.3f} without chance matches, which "
            f"happen to {result.chance_rate:.3f} ± {result.chance_rate_error:.3f} of shifted detections."
        )
        report.numbers[f"threshold {threshold:g}"] = numbers | {
            "n_detections": len(result.catalogue),
            "purity": result.purity,
            "purity_corrected": result.purity_corrected,
            "chance_rate": result.chance_rate,
        }
    return report


def _subsets(reference):
    """Which rows of 4FGL belong to each of `_CLASSES`."""
    classes = np.char.strip(
        np.asarray(
            reference["CLASS1"].filled("") if hasattr(reference["CLASS1"], "filled") else reference["CLASS1"], str
        )
    )
    associated = (classes != "") & (classes != "unk")
    clump = np.char.endswith(np.char.strip(np.asarray(reference["Source_Name"], str)), "c")
    rows = (
        np.ones(len(reference), bool),
        associated,
        ~associated,
        np.asarray(reference["Flags"]) == 0,
        ~clump,
        associated & ~clump,
    )
    return dict(zip(_CLASSES, rows, strict=True))


def _plain(table):
    return {name: np.asarray(table[name]) for name in table.colnames}
