"""Lists of detections against a reference catalogue: every finder in every region, and the errors of differences."""

from functools import cached_property

import astropy.units as u
import numpy as np

from benchmarks.fermi.finders import FINDER, TS_MAP
from benchmarks.report import with_error
from benchmarks.scoring import Ranking, bootstrap, match_region, median_offset

__all__ = ["PURITY", "Comparison", "everywhere", "latitude"]

PURITY = 0.9


def everywhere(coords):
    """Every position counts."""
    return np.ones(coords.shape, bool)


def latitude(low, high=90.0, *, north=False):
    r"""Region of Galactic latitude: ``low`` <= \\|b\\| < ``high`` degrees; of b itself with ``north``."""

    def inside(coords):
        b = coords.galactic.b.deg if north else np.abs(coords.galactic.b.deg)
        return (b >= low) & (b < high)

    return inside


class Comparison:
    """
    Several finders on the same maps.

    Parameters
    ----------
    lists : dict
        Name of the finder to its tables, one per map, with ``coord`` and ``score``.
    references : list of Table
        Of each map.
    radius : Quantity
        Match radius.
    regions : dict
        Name to a function as `match_region` takes it.
    ignore, ignore_radius
        As `match_region`.
    """

    def __init__(self, lists, references, radius, regions, *, ignore=None, ignore_radius=None):
        self.lists, self.references, self.radius, self.regions = lists, references, radius, regions
        self._options = {"ignore": ignore, "ignore_radius": ignore_radius}
        self._rankings = {}

    def matches(self, name, region, threshold=-np.inf):
        """A `Match` per map, of the detections at or above a score."""
        return [
            match_region(
                table[np.asarray(table["score"]) >= threshold],
                reference,
                self.radius,
                self.regions[region],
                **self._options,
            )
            for table, reference in zip(self.lists[name], self.references, strict=True)
        ]

    def ranking(self, name, region):
        """The pooled `Ranking`."""
        if (name, region) not in self._rankings:
            matches = self.matches(name, region)
            self._rankings[name, region] = Ranking.of(matches, [m.catalogue["score"] for m in matches])
        return self._rankings[name, region]

    def scores(self, name, region):
        """All scores of a finder in a region, with 1 sigma errors from the bootstrap."""
        ranking = self.ranking(name, region)
        errors = bootstrap(
            lambda r, w: (r.average_precision(w), r.completeness_at_purity(PURITY, w), r.best_f1(w)[0]), ranking
        ).std(axis=0)
        f1, f1_threshold = ranking.best_f1()
        threshold = ranking.threshold_at_purity(PURITY)
        matches = self.matches(name, region, threshold)
        n_used = sum(int(np.sum(~m.ignored)) for m in matches)
        n_right = sum(len(m.separation) for m in matches)
        chance = np.average([m.chance_rate for m in matches], weights=[len(m.catalogue) + 1e-9 for m in matches])
        purity = n_right / max(n_used, 1)
        corrected = (purity - chance) / (1 - chance)
        n_reference = sum(len(m.reference) for m in matches)
        offset, offset_error = median_offset(matches)
        return {
            "n_detections": len(ranking.score),
            "n_reference": n_reference,
            "average_precision": ranking.average_precision(),
            "average_precision_error": errors[0],
            "completeness": ranking.completeness_at_purity(PURITY),
            "completeness_error": errors[1],
            "f1": f1,
            "f1_error": errors[2],
            "f1_threshold": f1_threshold,
            "threshold": threshold,
            "chance_rate": chance,
            "purity_corrected": corrected,
            "completeness_corrected": corrected * n_used / max(n_reference, 1),
            "offset": offset,
            "offset_error": offset_error,
        }

    @cached_property
    def results(self):
        """Scores of all finders in all regions."""
        return {name: {region: self.scores(name, region) for region in self.regions} for name in self.lists}

    def gain(self, region, name=FINDER, over=TS_MAP):
        """By how much one finder is better than another, with errors from the same bootstrap samples."""
        first, second = self.ranking(name, region), self.ranking(over, region)

        def metric(a, b, w):
            completeness = a.completeness_at_purity(PURITY, w), b.completeness_at_purity(PURITY, w)
            return completeness[0] / max(completeness[1], 1e-9) - 1, a.average_precision(w) - b.average_precision(w)

        values, errors = metric(first, second, None), bootstrap(metric, first, second).std(axis=0)
        return {
            "completeness_ratio_minus_1": values[0],
            "completeness_ratio_error": errors[0],
            "average_precision_difference": values[1],
            "average_precision_difference_error": errors[1],
        }

    @cached_property
    def gains(self):
        """`gain` of the finder over each kind of TS map in all regions."""
        maps = [name for name in self.lists if name.startswith(TS_MAP)]
        return {name: {region: self.gain(region, over=name) for region in self.regions} for name in maps}

    def score_cells(self):
        """Cells of average precision and completeness of all regions: a header, and a row per finder."""
        header, rows = [], {}
        for region in self.regions:
            header += [f"AP, {region}", f"completeness at purity {PURITY}, {region}"]
        for name, regions in self.results.items():
            rows[name] = [
                with_error(scores[key], scores[f"{key}_error"])
                for scores in regions.values()
                for key in ("average_precision", "completeness")
            ]
        return header, rows

    def add_tables(self, report, caption, seconds=None):
        """Write the scores and gains into a report, and the numbers under the caption."""
        header, cells = self.score_cells()
        header = ["finder", *header, "best F1", "less chance matches", "median offset [deg]"]
        rows = []
        first = next(iter(self.regions))
        for name, regions in self.results.items():
            whole = regions[first]
            row = [
                name,
                *cells[name],
                with_error(whole["f1"], whole["f1_error"]),
                f"{whole['completeness_corrected']:.3f} at {whole['purity_corrected']:.3f}",
                with_error(whole["offset"], whole["offset_error"]),
            ]
            rows.append(row + ([f"{seconds[name]:.1f}"] if seconds else []))
        header += ["seconds"] if seconds else []
        report.table(f"{caption}; match radius {self.radius.to_value(u.deg):g} deg", header, rows)
        report.table(
            f"{FINDER} against the TS map; match radius {self.radius.to_value(u.deg):g} deg",
            ["against", "region", "completeness, relative gain", "average precision, gain"],
            [
                [
                    name,
                    region,
                    with_error(100 * g["completeness_ratio_minus_1"], 100 * g["completeness_ratio_error"], 1) + " %",
                    with_error(g["average_precision_difference"], g["average_precision_difference_error"]),
                ]
                for name, gains in self.gains.items()
                for region, g in gains.items()
            ],
        )
        report.numbers[f"{caption}, {self.radius.to_value(u.deg):g} deg"] = {
            "finders": self.results,
            "gain": self.gains,
            "seconds": seconds,
        }
