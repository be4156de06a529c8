"""The parameters of an inspiral: the columns of a table, their units, and what they may be."""

from dataclasses import dataclass

import astropy.constants as const
import astropy.units as u
import numpy as np
from astropy.table import Row, Table
from astropy.utils.masked import Masked

from astrolearn.core.inputs import as_quantity

__all__ = ["COLUMNS", "Inspirals", "read_columns", "read_interval"]

# name: (unit, smallest, largest) with the unit that a plain number is taken to be in
COLUMNS = {
    "mass_1": (u.Msun, 0, np.inf),
    "mass_2": (u.Msun, 0, np.inf),
    "spin": (u.one, 0, 1),
    "p0": (u.one, 0, np.inf),
    "e0": (u.one, 0, 1),
    "inclination": (u.rad, 0, np.pi),
    "gamma0": (u.rad, -np.inf, np.inf),
    "phase0": (u.rad, -np.inf, np.inf),
    "theta_S": (u.rad, 0, np.pi),
    "phi_S": (u.rad, -np.inf, np.inf),
    "theta_K": (u.rad, 0, np.pi),
    "phi_K": (u.rad, -np.inf, np.inf),
    "alpha0": (u.rad, -np.inf, np.inf),
    "distance": (u.Gpc, 0, np.inf),
}
_POSITIVE = {"mass_1", "mass_2", "p0", "distance"}
_BELOW_ONE = {"spin", "e0"}


@dataclass
class Inspirals:
    """
    Parameters of n inspirals as plain float64 arrays (n,).

    Masses and the distance are in seconds (G = c = 1), angles in rad.
    The angles are those of Barack & Cutler (2004): the direction to the source (``theta_S``, ``phi_S``) and of the spin
    (``theta_K``, ``phi_K``) in ecliptic barycentric polar coordinates, the inclination of the orbit to the spin, the
    direction of the periapsis (``gamma0``, in the orbital plane from L x S), the angle of the precession of L around S
    (``alpha0``), and the mean anomaly (``phase0``).
    """

    mass_1: np.ndarray
    mass_2: np.ndarray
    spin: np.ndarray
    p0: np.ndarray
    e0: np.ndarray
    inclination: np.ndarray
    gamma0: np.ndarray
    phase0: np.ndarray
    theta_S: np.ndarray
    phi_S: np.ndarray
    theta_K: np.ndarray
    phi_K: np.ndarray
    alpha0: np.ndarray
    distance: np.ndarray

    def __len__(self):
        return len(self.mass_1)

    def __getitem__(self, rows):
        return Inspirals(**{name: getattr(self, name)[rows] for name in COLUMNS})

    @classmethod
    def from_table(cls, table):
        """
        Read a table (or a row, or a dict) with the columns of `COLUMNS`.

        Parameters
        ----------
        table : `~astropy.table.Table`, `~astropy.table.Row` or dict
            Columns without a unit are taken to be in that of `COLUMNS`. ``p0`` is in units of GM/c2 of ``mass_1``.

        Returns
        -------
        inspirals : Inspirals

        Raises
        ------
        astropy.units.UnitConversionError
            If the unit of a column does not convert; the message names it.
        ValueError
            If a column is missing or a value lies outside its range.
        """
        values = read_columns(table, COLUMNS)
        values["mass_1"] = values["mass_1"] * MSUN
        values["mass_2"] = values["mass_2"] * MSUN
        values["distance"] = values["distance"] * GPC
        return cls(**{name: np.array(column) for name, column in values.items()})


# Geometric units: a mass is the time GM/c3, a distance the light travel time.
MSUN = (const.GM_sun / const.c**3).to_value(u.s)
GPC = (u.Gpc / const.c).to_value(u.s)
AU = (const.au / const.c).to_value(u.s)


def read_columns(table, names):
    """
    Read some of the columns of `COLUMNS`.

    Parameters
    ----------
    table : `~astropy.table.Table`, `~astropy.table.Row` or dict
        Columns without a unit are taken to be in that of `COLUMNS`.
    names : iterable of str
        Which of them.

    Returns
    -------
    values : dict of str to `numpy.ndarray`, shape (n,)
        In the units of `COLUMNS`; a dict's single numbers stand for all n.

    Raises
    ------
    astropy.units.UnitConversionError
        If the unit of a column does not convert; the message names it.
    ValueError
        If a column is missing or masked, or a value lies outside its range.
    """
    if isinstance(table, Row):  # the values of a row have lost the units of a table's columns
        table = table.table[table.index : table.index + 1]
    if not isinstance(table, dict):
        table = {name: table[name] for name in table.colnames}
    missing = [name for name in names if name not in table]
    if missing:
        raise ValueError(f"the table of inspirals lacks the columns {', '.join(missing)}")
    values = {name: _read(table[name], name) for name in names}
    try:
        return dict(zip(values, np.broadcast_arrays(*values.values()), strict=True))
    except ValueError as error:
        lengths = ", ".join(f"{name} {len(column)}" for name, column in values.items())
        raise ValueError(f"the columns differ in length: {lengths}") from error


def read_interval(sample_interval):
    """A sampling interval as a positive float in s; `ValueError` if it is none."""
    interval = as_quantity(sample_interval, u.s, "sample_interval")
    if interval.ndim or not interval > 0:
        raise ValueError(f"sample_interval={sample_interval} must be one positive time")
    return float(interval.value)


def _read(column, name):
    unit, low, high = COLUMNS[name]
    try:
        values = np.atleast_1d(as_quantity(column if isinstance(column, str) else _array(column), unit, name).value)
    except TypeError as error:
        raise ValueError(f"{name} is not a column of numbers") from error
    outside = (values < low) | (values > high)
    if name in _POSITIVE:
        outside |= values == 0
    if name in _BELOW_ONE:
        outside |= values == 1
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        first = f"above {low:g}" if name in _POSITIVE else f"{low:g}"
        last = f"below {high:g}" if name in _BELOW_ONE else f"{high:g}"
        raise ValueError(f"{name}[{row}] = {values[row]:g} is outside its range, {first} to {last} {unit}".rstrip())
    return values


def _array(column):
    """A column as something that `as_quantity` takes, with its unit and its mask."""
    if isinstance(column, (list, tuple, Masked, np.ma.MaskedArray)):
        return column
    if isinstance(column, Table.Column) and column.unit is None:
        return np.asarray(column)
    return np.atleast_1d(column if getattr(column, "unit", None) is None else u.Quantity(column))
