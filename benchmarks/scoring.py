"""Scores of ranked detections and their errors, for one finder and for the difference of two.

Which detection is right is for `astrolearn.sky.match` to say. Here its answers are pooled over maps and resampled:
sources and backgrounds come in regions, so errors are the scatter over bootstrap samples of parts of the sky (HEALPix
pixels of nside 4, 215 square degrees), and two finders are compared on the same samples, where most of the scatter is
common to both.
"""

from dataclasses import dataclass

import astropy.units as u
import healpy as hp
import numpy as np
from astropy.table import Table

from astrolearn.sky import match
from astrolearn.sky.matching import source_coords

__all__ = ["Ranking", "bootstrap", "cells", "match_region"]

_NSIDE_CELLS = 4
_N_BOOTSTRAP = 400


def match_region(catalogue, reference, radius, inside, *, ignore=None, ignore_radius=None):
    """
    Match within a part of the sky.

    Parameters
    ----------
    catalogue, reference : Table
        Detections and true sources.
    radius : Quantity
        Match radius.
    inside : callable
        From a Galactic SkyCoord to a bool array. Detections and sources outside do not count; an unmatched detection
        near a source just outside is neither right nor wrong.
    ignore : Table or SkyCoord, optional
        Further sources of that kind.
    ignore_radius : Quantity, optional
        Default: ``radius``.

    Returns
    -------
    Match
    """
    near, far = source_coords(catalogue).galactic, source_coords(reference).galactic
    within = inside(far)
    others = [far[~within]] if ignore is None else [far[~within], source_coords(ignore).galactic]
    lon, lat = (np.concatenate([getattr(c, name).deg for c in others]) for name in ("l", "b"))
    return match(
        catalogue[inside(near)],
        reference[within],
        radius,
        ignore=Table({"GLON": lon, "GLAT": lat}),
        ignore_radius=ignore_radius,
    )


@dataclass
class Ranking:
    """
    Detections of one finder on one or more maps, by falling score.

    Attributes
    ----------
    score : array of float, shape (n,)
    right, wrong : arrays of bool, shape (n,)
        Whether there is a source; detections that are ignored are neither.
    cell, reference_cell : arrays of int
        Part of the sky of each detection and of each true source.
    """

    score: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    cell: np.ndarray
    reference_cell: np.ndarray

    @classmethod
    def of(cls, matches, scores):
        """
        Pool maps.

        Parameters
        ----------
        matches : list of Match
        scores : list of arrays
            Of the detections of each match.
        """
        parts = [
            _one_map(m, np.asarray(s, dtype=float), i) for i, (m, s) in enumerate(zip(matches, scores, strict=True))
        ]
        score, right, wrong, cell, reference_cell = (np.concatenate(p) for p in zip(*parts, strict=True))
        order = np.argsort(-score, kind="stable")
        return cls(score[order], right[order], wrong[order], cell[order], reference_cell)

    def curve(self, weights):
        """Purity and completeness down to each detection, with weights per cell."""
        w, n = (
            (np.ones(len(self.cell)), len(self.reference_cell))
            if weights is None
            else (weights[self.cell], weights[self.reference_cell].sum())
        )
        n_right, n_wrong = np.cumsum(w * self.right), np.cumsum(w * self.wrong)
        return n_right / np.maximum(n_right + n_wrong, 1e-9), n_right / max(n, 1)

    def average_precision(self, weights=None):
        """Area under the curve of purity over completeness."""
        purity, completeness = self.curve(weights)
        return float(np.sum(np.diff(completeness, prepend=0) * purity))

    def completeness_at_purity(self, target=0.9, weights=None):
        """Largest completeness of a list at least as pure as ``target``."""
        purity, completeness = self.curve(weights)
        return float(np.max(completeness[purity >= target], initial=0))

    def threshold_at_purity(self, target=0.9):
        """Score of the last detection of that list."""
        purity, completeness = self.curve(None)
        good = np.flatnonzero(purity >= target)
        return float(self.score[good[np.argmax(completeness[good])]]) if len(good) else np.inf

    def f1(self, threshold, weights=None):
        """Harmonic mean of purity and completeness of the detections at or above a score."""
        n = int(np.sum(self.score >= threshold))
        purity, completeness = (np.append(0.0, c)[n] for c in self.curve(weights))
        return float(2 * purity * completeness / max(purity + completeness, 1e-9))

    def best_f1(self, weights=None):
        """Largest F1 of any threshold, and that threshold."""
        purity, completeness = self.curve(weights)
        f1 = 2 * purity * completeness / np.maximum(purity + completeness, 1e-9)
        best = int(np.argmax(f1)) if len(f1) else 0
        return (float(f1[best]), float(self.score[best])) if len(f1) else (0.0, np.inf)


def _one_map(result, score, number):
    """Score, right, wrong, cell of a map's detections by falling score, and the cells of its sources."""
    order = np.argsort(-score, kind="stable")
    rank = np.empty(len(score))
    rank[order] = np.arange(len(score))[::-1]
    curve = result.curve(rank)  # ranks are unique: a row per detection
    n_right = np.rint(curve["completeness"] * len(result.reference)).astype(int)
    right = np.diff(n_right, prepend=0) > 0
    n_used = np.rint(n_right / np.where(n_right > 0, curve["purity"], 1))
    # before the first right one, purity is 0 and does not tell how many were counted
    start = n_right == 0
    used = np.where(start, ~result.ignored[order], np.diff(n_used, prepend=0) > 0)
    parts = [cells(source_coords(table), number) for table in (result.catalogue, result.reference)]
    return score[order], right, used & ~right, parts[0][order], parts[1]


def cells(coords, number):
    """Part of the sky of each position, different for every sky."""
    galactic = coords.galactic
    return hp.ang2pix(_NSIDE_CELLS, galactic.l.deg, galactic.b.deg, lonlat=True) + number * hp.nside2npix(_NSIDE_CELLS)


def bootstrap(metric, *rankings, seed=0):
    """
    Values of a metric on bootstrap samples of the sky's parts.

    Parameters
    ----------
    metric : callable
        From rankings and weights per cell to a float or an array of them.
    *rankings : Ranking
        Of finders that saw the same maps; or anything else with the attributes ``cell`` and ``reference_cell``.
    seed : int
        The same seed gives the same samples.

    Returns
    -------
    array, shape (n_sample, ...)
    """
    cells = np.unique(np.concatenate([c for r in rankings for c in (r.cell, r.reference_cell)]))
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(_N_BOOTSTRAP):
        weights = np.zeros(cells.max() + 1)
        np.add.at(weights, rng.choice(cells, len(cells)), 1)
        values.append(metric(*rankings, weights))
    return np.array(values)


def median_offset(matches):
    """Median separation of matched pairs and its error (1.25 sigma / sqrt n, sigma from the quartiles), in deg."""
    separation = np.concatenate([m.separation.to_value(u.deg) for m in matches])
    if len(separation) < 2:
        return np.nan, np.nan
    spread = np.subtract(*np.percentile(separation, [75, 25])) / 1.349
    return float(np.median(separation)), float(1.2533 * spread / np.sqrt(len(separation)))
