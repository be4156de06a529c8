"""
The same galaxy in training and in test: how a network is praised for its memory.

In the talk of Menkó (2024) a loop filled a database of 8,000 rows with the same few hundred galaxies over and over, and
R² was 0.94 on held-out rows; on galaxies that stand there once it was 0.4. What gives such a table away are equal
identifiers, equal places on the sky, equal pixels, and targets that are equal to the last digit.
"""

import warnings

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from astrolearn.core.inputs import as_quantity, to_float
from astrolearn.photoz.galaxies import fingerprints, split_input
from astrolearn.photoz.images import read_images
from astrolearn.photoz.photometry import as_table

__all__ = ["DuplicateWarning", "check_duplicates", "grouped_positions", "merged_groups", "object_groups"]

_SUSPICIOUS = 0.5  # share of the targets that repeat, beyond those that do by chance
_CELLS = 50  # of the resolution of the targets on either side, in which galaxies are counted


class DuplicateWarning(UserWarning):
    """The same object stands in a table more than once."""


def object_groups(X, *, ids=None, coord=None, radius="2 arcsec"):
    """
    Number the objects: rows of the same one have the same number, for `~sklearn.model_selection.GroupKFold`.

    Parameters
    ----------
    X, ids, coord, radius
        See `check_duplicates`. Rows are one object if any of these says so.

    Returns
    -------
    groups : `numpy.ndarray` of int, (n,)
    """
    keys = _keys(X, None, ids, coord)
    first, *others = (_numbered(key, radius) for key in keys.values())
    for other in others:
        first = merged_groups(first, other)
    return first


def check_duplicates(X, y=None, groups=None, *, ids=None, coord=None, radius="2 arcsec", test=None):
    """
    Look for objects that stand in the data more than once, in training and in held-out rows.

    Parameters
    ----------
    X : table, images or both
        As for `PhotoZRegressor.fit`: rows that are equal in all columns (but identifiers, positions and integers that
        only count the rows), or in all pixels, are the same object.
    y : array-like, (n,), optional
        Targets. One that repeats is no proof; if most of them do, the rows are copies.
    groups : array-like, (n,), optional
        Of a group-aware split: rows of one object are in order in one group, and reported in several. Default: every
        row is on its own.
    ids : array-like, (n,), optional
        Identifiers. Default: the columns ``objID`` and ``specObjID`` of a table, if it has them.
    coord : `~astropy.coordinates.SkyCoord`, (n,), optional
        Positions. Default: the column ``coord`` of a table, or its ``ra`` and ``dec`` (ICRS; deg without a unit), if it
        has them.
    radius : `~astropy.units.Quantity`, str or float, optional
        Positions that are closer are one object; plain numbers are arcsec. Default: 2 arcsec.
    test : array-like of bool, (n,), optional
        Which rows are held out: then only objects are reported that stand on both sides.

    Returns
    -------
    duplicate : `numpy.ndarray` of bool, (n,)
        Rows that have such a double.

    Warns
    -----
    DuplicateWarning
        If there are any; it says how many, and by what they were recognised.
    """
    keys = _keys(X, y, ids, coord)
    n = len(next(iter(keys.values())))
    side = np.arange(n)
    for given, name in ((groups, "groups"), (test, "test")):
        if given is not None:
            side = np.unique(np.asarray(given), return_inverse=True)[1]
            if side.shape != (n,):
                raise ValueError(f"{name} has the shape {side.shape}; expected ({n},)")
    if groups is not None and test is not None:
        raise ValueError("give groups or test, not both")
    found = {name: _on_several_sides(_numbered(key, radius), side) for name, key in keys.items()}
    if "target" in found and found["target"].mean() <= _by_chance(keys["target"]) + _SUSPICIOUS:
        del found["target"]
    duplicate = np.any(list(found.values()), axis=0)
    if duplicate.any():
        by = ", ".join(f"{name} ({rows.sum()})" for name, rows in found.items() if rows.any())
        where = "in training and test" if test is not None else "more than once" if groups is None else "in two groups"
        warnings.warn(
            f"{duplicate.sum()} of {n} rows are of objects that stand {where}, recognised by {by}: a score on them "
            "measures memory. Keep each object once, or split with GroupKFold and object_groups",
            DuplicateWarning, stacklevel=2,
        )  # fmt: skip
    return duplicate


def _keys(X, y, ids, coord):
    """What an object may be recognised by, one array or SkyCoord each."""
    table, images = split_input(X)
    keys = {}
    named_table = as_table(table)
    if named_table is not None:
        table = named_table
        named = {name.lower(): name for name in table.colnames}
        names = [named[name] for name in ("objid", "specobjid") if name in named]
        if ids is None:
            keys |= {name: _identifiers(table[name]) for name in names}
        places = [named[name] for name in ("ra", "dec") if name in named and _is_angle(table[named[name]])]
        if coord is None and "coord" in named and isinstance(table[named["coord"]], SkyCoord):
            coord = table[named["coord"]]
        elif coord is None and len(places) == 2:
            coord = _positions(*(table[name] for name in places))
        columns = [to_float(table[name], getattr(table[name], "unit", None), name, missing="keep", dtype=np.float64)
                   for name in table.colnames if name not in (*names, *places) and _describes(table[name])]
        if columns:
            rows = np.hstack([column.reshape(len(table), -1) for column in columns])
            keys["equal rows"] = _own_where(np.isnan(rows).all(axis=1), fingerprints(rows))
    elif table is not None:
        keys["equal rows"] = fingerprints(np.asarray(table, dtype=float))
    if images is not None:
        pixels = images if not isinstance(images, (list, tuple)) else read_images(images)[0]
        keys["equal pixels"] = fingerprints(np.asarray(pixels))
    if ids is not None:
        keys["identifier"] = _identifiers(ids)
    if coord is not None:
        keys["position"] = coord
    if y is not None:
        keys["target"] = np.asarray(getattr(y, "value", y))
    if not keys:
        raise ValueError("X has nothing by which an object could be recognised: give ids or coord")
    lengths = {name: len(key) for name, key in keys.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"X, y, ids and coord differ in length: {lengths}")
    return keys


def _describes(column):
    """Whether a column says what an object is like: numbers, but none that only count the rows."""
    if isinstance(column, SkyCoord) or np.asarray(getattr(column, "value", column)).dtype.kind not in "fiu":
        return False
    values = np.asarray(getattr(column, "value", column))
    counts = values.dtype.kind in "iu" and np.ptp(values) == len(values) - 1 and len(np.unique(values)) == len(values)
    return not counts


def _is_angle(column):
    values, unit = np.asarray(getattr(column, "value", column)), getattr(column, "unit", None)
    return values.dtype.kind in "fiu" and (unit is None or u.Unit(unit).is_equivalent(u.deg))


def _positions(ra, dec):
    """Coordinates of two columns; those that are missing, or none on the sky, are NaN."""
    ra, dec = (to_float(column, u.deg, name, missing="keep", dtype=np.float64)
               for column, name in ((ra, "ra"), (dec, "dec")))
    return SkyCoord(ra, np.where(np.abs(dec) <= 90, dec, np.nan), unit=u.deg)


def _by_chance(target):
    """
    Share of targets that repeat because they are rounded.

    A galaxy shares its value with another if that is taken, and the values that are taken are so many of all there are
    nearby. Distinct values are counted, so copies of galaxies do not count as galaxies.
    """
    target = np.asarray(target, dtype=float)
    distinct = np.unique(target)
    if len(distinct) < 2:
        return 0.0
    reach = (_CELLS + 0.5) * np.diff(distinct).min()
    near = np.searchsorted(distinct, target + reach) - np.searchsorted(distinct, target - reach)
    return float(np.mean(near) / (2 * _CELLS + 1))


def _identifiers(column):
    """Numbers of identifiers; what is masked, zero or negative is no identifier, and each of its own."""
    values = np.ma.asarray(column)
    none = np.ma.getmaskarray(values).copy()
    values = np.ma.getdata(values)
    if values.dtype.kind in "iuf":
        none |= ~(values > 0)
    return _own_where(none, values)


def _own_where(none, key):
    """Numbers of keys, the same for the same; each a number of its own where there is none."""
    number = np.unique(key, return_inverse=True)[1]
    number[none] = number.max() + 1 + np.arange(none.sum())
    return number


def _numbered(key, radius):
    """Number per row; rows with the same key have the same, or positions within the radius."""
    if not isinstance(key, SkyCoord):
        return np.unique(key, return_inverse=True)[1]
    known = np.isfinite(key.data.lon) & np.isfinite(key.data.lat)
    number = np.arange(len(key))
    number[known] = len(key) + grouped_positions(key[known], as_quantity(radius, u.arcsec, "radius"))
    return np.unique(number, return_inverse=True)[1]


def grouped_positions(coord, radius):
    """
    Number positions: those that are connected by steps within a radius have the same number.

    Parameters
    ----------
    coord : `~astropy.coordinates.SkyCoord`, (n,)
    radius : `~astropy.units.Quantity`

    Returns
    -------
    groups : `numpy.ndarray` of int, (n,)
    """
    first, second, *_ = coord.search_around_sky(coord, radius)
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(len(coord), len(coord)))
    return connected_components(graph, directed=False)[1]


def _on_several_sides(number, side):
    """Whether the rows with the same number are on several sides."""
    low, high = np.full(number.max() + 1, side.max()), np.zeros(number.max() + 1, int)
    np.minimum.at(low, number, side)
    np.maximum.at(high, number, side)
    return (low < high)[number]


def merged_groups(first, second):
    """
    Number the rows that are connected through either of two groupings.

    Parameters
    ----------
    first, second : `numpy.ndarray` of int, (n,)
        From 0.

    Returns
    -------
    groups : `numpy.ndarray` of int, (n,)
    """
    n_first, n_second = first.max() + 1, second.max() + 1
    graph = coo_array((np.ones(len(first)), (first, n_first + second)), shape=2 * (n_first + n_second,))
    return connected_components(graph, directed=False)[1][first]
