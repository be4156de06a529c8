"""Catalogue against truth: which detections are real, what was missed, and how much of the agreement is chance.

On a crowded sky, a detection anywhere matches some source by accident: within 0.5 deg, one in ten does in the 4FGL. So
every comparison comes with the rate of such chance matches, measured with the same catalogue moved a few degrees along
Galactic longitude, where it has the same density of sources around it and none of its own.
"""

from dataclasses import dataclass
from itertools import pairwise

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.stats import binom_conf_interval
from astropy.table import QTable, Table
from scipy.spatial import cKDTree

from astrolearn.core.inputs import as_quantity

__all__ = ["Match", "match", "source_coords"]

_SKY_COLUMNS = (("GLON", "GLAT", "galactic"), ("L", "B", "galactic"), ("RAJ2000", "DEJ2000", "icrs"),
                ("RA", "DEC", "icrs"), ("ra", "dec", "icrs"))
_PIXEL_COLUMNS = (("x_centroid", "y_centroid"), ("x", "y"))

# How far catalogues are moved to count chance matches: beyond any match radius and PSF, within the same kind of sky.
# In images, which have no sky around, it is a fraction of their size.
_SHIFT_DEG = (3, 9)
_SHIFT_FRACTION = (0.1, 0.4)


def match(catalogue, reference, radius, *, ignore=None, ignore_radius=None, n_shifts=8):
    """
    Match detections with the sources of a reference catalogue.

    Pairs are made one to one, the closest first: each detection gets one reference source at most, and the other way
    round.

    Parameters
    ----------
    catalogue, reference : `~astropy.table.Table`, `~astropy.coordinates.SkyCoord` or dict of arrays
        Detections and true sources. Positions are the SkyCoord column ``coord`` (or GLON and GLAT, L and B, RAJ2000 and
        DEJ2000, RA and DEC in degrees); or, if one of the two has none, ``x_centroid`` and ``y_centroid``
        (or x and y) in pixels in both.
    radius : `~astropy.units.Quantity`, str or float
        Largest separation of a pair; a bare number is in degrees, or pixels.
    ignore : as reference, optional
        Further known sources: detections that are unmatched but close to one of these count neither as right nor as
        wrong.
    ignore_radius : as radius, optional
        How close. Default: ``radius``.
    n_shifts : int
        Number of shifted copies of the catalogue that measure the rate of chance matches, at least 2. On the sky they
        are moved by 3 to 9 deg in Galactic longitude (true angle), half of them each way, so that they keep their
        Galactic latitude; the reference must reach that much farther than the detections. In pixels they are moved by
        10 to 40 % of the image, around its borders.

    Returns
    -------
    Match

    Raises
    ------
    ValueError
        If there are no positions, or ``radius`` is not positive.
    `~astropy.units.UnitConversionError`
        If ``radius`` is neither an angle nor, for pixel positions, a number of pixels.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.coordinates import SkyCoord
    >>> from astrolearn.sky import match
    >>> truth = SkyCoord([10, 40, 70], [5, 5, 5], unit="deg", frame="galactic")
    >>> found = SkyCoord([10.1, 25], [5, 5], unit="deg", frame="galactic")
    >>> result = match(found, truth, 0.3 * u.deg)
    >>> result.purity, round(result.completeness, 2)
    (0.5, 0.33)
    """
    if n_shifts < 2:
        raise ValueError(f"n_shifts={n_shifts}: at least 2 are needed")
    tables = [_as_table(catalogue), _as_table(reference)] + ([] if ignore is None else [_as_table(ignore)])
    coords = [source_coords(table, missing_ok=True) for table in tables]
    on_sky = all(coord is not None for coord in coords)
    unit = u.deg if on_sky else u.pix
    radius, ignore_radius = (as_quantity(value, unit, "radius") for value in
                             (radius, radius if ignore_radius is None else ignore_radius))
    if not (radius > 0 and ignore_radius >= 0):
        raise ValueError(f"radius={radius} must be positive")
    detected, true, *ignored = coords if on_sky else [_pixel_positions(table) for table in tables]
    if on_sky:
        shifted = _shifted_sky(detected, n_shifts)
        detected, true, *ignored = (_unit_vectors(coord) for coord in (detected, true, *ignored))
    else:
        shifted = _shifted_pixels(detected, true, n_shifts)

    pairs = _pairs(detected, true, radius)
    by_separation = pairs[:, np.argsort(pairs[2], kind="stable")]
    taken = _greedy(*by_separation[:2])
    first, second, separation = by_separation[:, taken]
    near_ignored = np.zeros(len(detected), dtype=bool)
    if ignored:
        near_ignored[_pairs(detected, ignored[0], ignore_radius)[0].astype(int)] = True
    rates = np.array([_match_count(points, true, radius) for points in shifted]) / max(len(detected), 1)
    return Match(
        catalogue=tables[0], reference=tables[1], radius=radius, catalogue_index=first.astype(int),
        reference_index=second.astype(int), separation=separation * unit,
        chance_rate=float(rates.mean()), chance_rate_error=float(rates.std(ddof=1) / np.sqrt(n_shifts)),
        _pairs=pairs, _near_ignored=near_ignored,
    )


@dataclass(frozen=True, eq=False, repr=False)
class Match:
    """
    What `match` found.

    Attributes
    ----------
    catalogue, reference : `~astropy.table.Table`
        What was matched.
    radius : `~astropy.units.Quantity`
        Largest separation.
    catalogue_index, reference_index : int array, shape (n_match,)
        Rows of the matched pairs, closest first.
    separation : `~astropy.units.Quantity`, shape (n_match,)
        Their separations, in degrees (pixels for images).
    chance_rate, chance_rate_error : float
        The purity of a catalogue without a true detection: the fraction of detections that match where they are
        shifted, and the standard error of this mean. For few detections among n reference sources per unit of solid
        angle it is 1 - exp(-n pi radius^2).
    """

    catalogue: Table
    reference: Table
    radius: u.Quantity
    catalogue_index: np.ndarray
    reference_index: np.ndarray
    separation: u.Quantity
    chance_rate: float
    chance_rate_error: float
    _pairs: np.ndarray
    _near_ignored: np.ndarray

    @property
    def matched(self):
        """Which detections have a reference source: bool array (n_detection,)."""
        return _members(self.catalogue_index, len(self.catalogue))

    @property
    def ignored(self):
        """Which detections count neither as right nor as wrong: bool array (n_detection,)."""
        return self._near_ignored & ~self.matched

    @property
    def found(self):
        """Which reference sources were detected: bool array (n_reference,)."""
        return _members(self.reference_index, len(self.reference))

    @property
    def purity(self):
        """Fraction of the detections (that are not ignored) with a reference source; NaN if there are none."""
        return _fraction(self.matched[~self.ignored])

    @property
    def purity_interval(self):
        """68 % interval of the purity (Wilson 1927): tuple of two floats."""
        return _interval(self.matched[~self.ignored])

    @property
    def purity_corrected(self):
        """
        Purity less chance matches, (purity - chance_rate) / (1 - chance_rate): 0 for a random catalogue.

        It is a little too low otherwise: beside a reference source that was truly detected, a false detection has no
        chance to match, but ``chance_rate`` counts all reference sources.
        """
        return (self.purity - self.chance_rate) / (1 - self.chance_rate) if self.chance_rate < 1 else np.nan

    @property
    def completeness(self):
        """Fraction of the reference sources that were detected; NaN if there are none."""
        return _fraction(self.found)

    @property
    def completeness_interval(self):
        """68 % interval of the completeness (Wilson 1927): tuple of two floats."""
        return _interval(self.found)

    @property
    def f1(self):
        """Harmonic mean of purity and completeness; 0 if nothing matches."""
        n_used = np.sum(~self.ignored) + len(self.found)
        return float(2 * len(self.separation) / n_used) if n_used else np.nan

    def by(self, quantity, bins, *, reference_quantity=None):
        """
        Purity and completeness in bins of a quantity.

        Parameters
        ----------
        quantity : str
            ``"latitude"`` (absolute Galactic latitude), or a column: of the catalogue for the purity, of the reference
            for the completeness. Where one of them lacks it, that half of the result is left out.
        bins : `~astropy.units.Quantity` or array
            Bin edges, in the unit of the column where they have none. A bin holds its lower edge and not its upper one.
        reference_quantity : str, optional
            The column of the reference, if it has another name there.

        Returns
        -------
        `~astropy.table.QTable`
            A row per bin: ``low``, ``high``; ``n_detected`` (not counting ignored ones), ``n_matched``, ``purity``,
            ``purity_low``, ``purity_high``; ``n_reference``, ``n_found``, ``completeness``, ``completeness_low``,
            ``completeness_high``; the intervals are 68 % (Wilson 1927).

        Raises
        ------
        ValueError
            If neither table has the quantity, or bins do not increase.
        `~astropy.units.UnitConversionError`
            If the unit of a column is not that of the bins.
        """
        edges = np.asarray(getattr(bins, "value", bins), dtype=float)
        unit = getattr(bins, "unit", None)
        if edges.ndim != 1 or len(edges) < 2 or not np.all(np.diff(edges) > 0):
            raise ValueError("bins must be at least two increasing edges")
        used = ~self.ignored
        halves = ((self.catalogue, quantity, used, self.matched, ("n_detected", "n_matched", "purity")),
                  (self.reference, reference_quantity or quantity, np.ones(len(self.reference), dtype=bool), self.found,
                   ("n_reference", "n_found", "completeness")))
        columns = [_column(table, name) for table, name, *_ in halves]
        if all(column is None for column in columns):
            raise ValueError(f"no column {quantity!r}; the catalogue has {', '.join(self.catalogue.colnames)}, "
                             f"the reference {', '.join(self.reference.colnames)}")
        if unit is None:
            unit = next((column.unit for column in columns if getattr(column, "unit", None) is not None), None)
        result = QTable({"low": edges[:-1], "high": edges[1:]})
        if unit is not None:
            result["low"].unit = result["high"].unit = unit
            result = QTable(result)
        for column, (_, name, counted, success, (n_all, n_good, fraction)) in zip(columns, halves, strict=True):
            if column is None:
                continue
            values = _plain(column, unit, name)
            inside = [counted & (values >= low) & (values < high) for low, high in pairwise(edges)]
            result[n_all] = [int(chosen.sum()) for chosen in inside]
            result[n_good] = [int(success[chosen].sum()) for chosen in inside]
            result[fraction] = [_fraction(success[chosen]) for chosen in inside]
            intervals = np.array([_interval(success[chosen]) for chosen in inside])
            result[fraction + "_low"], result[fraction + "_high"] = intervals.T
        return result

    def curve(self, score):
        """
        Purity and completeness as the threshold on a score is lowered.

        Here detections choose their reference source in the order of their score, each the closest one that is free.
        So what is said of a threshold depends only on the detections above it.

        Parameters
        ----------
        score : str or array, shape (n_detection,)
            Column of the catalogue, or values; higher is surer.

        Returns
        -------
        `~astropy.table.QTable`
            ``threshold`` (decreasing, each value of the score once), ``purity`` and ``completeness`` of the detections
            at or above it.

        Raises
        ------
        ValueError
            If the scores are not finite, or not as many as detections.
        """
        if isinstance(score, str):
            if score not in self.catalogue.colnames:
                raise ValueError(f"the catalogue has no column {score!r}; it has {', '.join(self.catalogue.colnames)}")
            score = self.catalogue[score]
        score = np.asarray(getattr(score, "value", score), dtype=float)
        if score.shape != (len(self.catalogue),) or not np.all(np.isfinite(score)):
            raise ValueError(f"a finite score for each of the {len(self.catalogue)} detections is needed")
        first, second, separation = self._pairs
        order = np.lexsort((separation, -score[first.astype(int)]))
        taken = _greedy(first[order], second[order])
        right = _members(first[order][taken].astype(int), len(score))
        wrong = ~right & ~self._near_ignored
        order = np.argsort(-score, kind="stable")
        last = np.append(np.diff(score[order]) != 0, True)[: len(score)]  # equal scores stand or fall together
        n_right, n_wrong = right[order].cumsum()[last], wrong[order].cumsum()[last]
        n_used = n_right + n_wrong
        purity = np.divide(n_right, n_used, out=np.ones(len(n_used)), where=n_used > 0)
        completeness = n_right / len(self.reference) if len(self.reference) else np.full(len(n_right), np.nan)
        return QTable({"threshold": score[order][last], "purity": purity, "completeness": completeness})

    def completeness_at_purity(self, score, target=0.9):
        """
        Largest completeness at which the purity is at least ``target``.

        Parameters
        ----------
        score : str or array, shape (n_detection,)
            As for `curve`.
        target : float
            The purity.

        Returns
        -------
        float
            0 if no threshold reaches it.
        """
        curve = self.curve(score)
        return float(np.max(curve["completeness"][curve["purity"] >= target], initial=0))

    def average_precision(self, score):
        """
        Area under the curve of purity over completeness.

        The sum of purity times the step in completeness over all thresholds; what is never detected counts as 0.

        Parameters
        ----------
        score : str or array, shape (n_detection,)
            As for `curve`.

        Returns
        -------
        float
        """
        curve = self.curve(score)
        return float(np.sum(np.diff(curve["completeness"], prepend=0) * curve["purity"]))

    def __repr__(self):
        return f"<Match: {self}>"

    def __str__(self):
        low, high = self.purity_interval
        c_low, c_high = self.completeness_interval
        return (f"{len(self.separation)} of {len(self.catalogue)} detections match {len(self.reference)} sources "
                f"within {self.radius:.3g}: purity {self.purity:.3f} ({low:.3f}-{high:.3f}), "
                f"{self.purity_corrected:.3f} less chance matches ({self.chance_rate:.3f} +- "
                f"{self.chance_rate_error:.3f}); completeness {self.completeness:.3f} ({c_low:.3f}-{c_high:.3f})")


def source_coords(sources, *, missing_ok=False):
    """
    Positions of the sources of a table.

    Parameters
    ----------
    sources : `~astropy.coordinates.SkyCoord` or `~astropy.table.Table`
        A table with a SkyCoord column ``coord``, or GLON and GLAT, L and B, RAJ2000 and DEJ2000, or RA and DEC (in
        degrees where they have no unit).
    missing_ok : bool
        Return None instead of raising if there are none.

    Returns
    -------
    `~astropy.coordinates.SkyCoord`, shape (n_source,)

    Raises
    ------
    ValueError
        If there are no such columns.
    """
    if isinstance(sources, SkyCoord):
        return sources.reshape(-1)
    if "coord" in sources.colnames:
        return sources["coord"]
    for lon, lat, frame in _SKY_COLUMNS:
        if {lon, lat} <= set(sources.colnames):
            angles = [u.Quantity(sources[name], getattr(sources[name], "unit", None) or u.deg) for name in (lon, lat)]
            return SkyCoord(*angles, frame=frame)
    if missing_ok:
        return None
    raise ValueError(f"the table has no positions (coord, or GLON and GLAT, ...); it has {', '.join(sources.colnames)}")


def _as_table(sources):
    if isinstance(sources, SkyCoord):
        return QTable({"coord": sources.reshape(-1)})
    return sources if isinstance(sources, Table) else Table(sources)


def _pixel_positions(table):
    for names in _PIXEL_COLUMNS:
        if set(names) <= set(table.colnames):
            return np.column_stack([np.asarray(getattr(table[n], "value", table[n]), dtype=float) for n in names])
    raise ValueError("there are no positions (coord, or x_centroid and y_centroid, ...) that both tables have; "
                     f"one has {', '.join(table.colnames)}")


def _unit_vectors(coord):
    return coord.icrs.represent_as("unitspherical").to_cartesian().xyz.value.reshape(3, -1).T


def _shifted_sky(coord, n_shifts):
    """Copies of the positions, moved at constant Galactic latitude by the same true angles on all latitudes."""
    galactic = coord.galactic
    low, high = _SHIFT_DEG
    sizes = np.linspace(low, high, (n_shifts + 1) // 2)
    shifts = np.concatenate([sizes, -sizes])[:n_shifts]
    # close to the poles there is no room for the whole angle
    steps = np.clip(shifts[:, None] / np.cos(galactic.b.rad).clip(1e-9), -180, 180)
    for step in steps:
        yield _unit_vectors(SkyCoord(galactic.l + step * u.deg, galactic.b, frame="galactic"))


def _shifted_pixels(detected, true, n_shifts):
    """Copies of the positions, moved around the borders of the rectangle that holds all positions."""
    everything = np.concatenate([detected, true])
    if len(everything) == 0:
        return [detected] * n_shifts
    corner, size = everything.min(axis=0), np.ptp(everything, axis=0).clip(min=1e-9)
    angles = 2 * np.pi * np.arange(n_shifts) / n_shifts
    directions = np.column_stack([np.cos(angles), np.sin(angles)])
    lengths = np.linspace(*_SHIFT_FRACTION, n_shifts)[:, None]
    return [corner + (detected - corner + step) % size for step in directions * lengths * size]


def _pairs(first, second, radius):
    """All pairs within the radius: array (3, n_pair) of index, index and separation in the radius' unit."""
    if len(first) == 0 or len(second) == 0:
        return np.empty((3, 0))
    on_sky = radius.unit != u.pix
    reach = 2 * np.sin(min(radius.to_value(u.rad), np.pi) / 2) if on_sky else radius.value
    found = cKDTree(first).sparse_distance_matrix(cKDTree(second), reach, output_type="ndarray")
    separation = np.rad2deg(2 * np.arcsin((found["v"] / 2).clip(max=1))) if on_sky else found["v"]
    return np.array([found["i"], found["j"], separation])


def _greedy(first, second):
    """
    Give, of pairs in the order of their priority, those that a one-to-one choice in this order takes.

    A pair that comes first for both of its members is taken, and leaves no others with them; so on until none is left.
    """
    taken = []
    left = np.arange(len(first))
    while len(left):
        firsts = np.zeros(len(left), dtype=int)
        for members in (first[left], second[left]):
            firsts[np.unique(members, return_index=True)[1]] += 1
        chosen = left[firsts == 2]
        taken.append(chosen)
        left = left[~np.isin(first[left], first[chosen]) & ~np.isin(second[left], second[chosen])]
    return np.sort(np.concatenate(taken)) if taken else left


def _match_count(first, second, radius):
    pairs = _pairs(first, second, radius)
    return len(_greedy(*pairs[:2, np.argsort(pairs[2], kind="stable")]))


def _members(index, size):
    members = np.zeros(size, dtype=bool)
    members[index] = True
    return members


def _fraction(success):
    return float(success.mean()) if len(success) else np.nan


def _interval(success):
    if len(success) == 0:
        return 0.0, 1.0
    low, high = binom_conf_interval(int(success.sum()), len(success), interval="wilson")
    return float(low), float(high)


def _column(table, name):
    if name == "latitude":
        coord = source_coords(table, missing_ok=True)
        return None if coord is None else np.abs(coord.galactic.b).to(u.deg)
    return table[name] if name in table.colnames else None


def _plain(column, unit, name):
    """Values in ``unit``; missing ones are NaN, which is in no bin."""
    own = getattr(column, "unit", None)
    values = np.ma.filled(np.ma.asarray(getattr(column, "value", column), dtype=float), np.nan)
    if own is None or unit is None:
        return values
    for photons in (u.dimensionless_unscaled, u.ph, u.ph**-1):  # fluxes are per photon, or do not say so
        if (own * photons).is_equivalent(unit):
            return values * (own * photons).to(unit)
    raise u.UnitConversionError(f"column {name} has the unit '{own}', which does not convert to '{unit}'")
