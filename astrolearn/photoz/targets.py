"""What is predicted: numbers with any unit, or none, among them redshifts, which are their own unit in astropy."""

import astropy.units as u
import numpy as np
from astropy.cosmology import units as cu
from astropy.utils.masked import Masked
from sklearn.utils.validation import check_array, column_or_1d

from astrolearn.core.inputs import to_float

__all__ = ["read_targets", "refuse_target", "unit_of"]

# astropy does not do so by itself: without it the unit of redshifts that come from a file or from another process is
# not the same as this one, and does not convert to it
u.add_enabled_units(cu)


def read_targets(y, n):
    """
    Read targets.

    Parameters
    ----------
    y : array-like or `~astropy.units.Quantity`, (n,)
    n : int
        Rows that there are.

    Returns
    -------
    y : `numpy.ndarray`, float64 (n,)
    unit : str or None
        What `unit_of` reads.

    Raises
    ------
    ValueError
        If they are not so many finite numbers, or in a unit of logarithms.
    """
    unit = getattr(y, "unit", None)
    if isinstance(unit, u.function.FunctionUnitBase):
        raise ValueError(f"y is in '{unit}', which densities cannot have: pass plain numbers, or mag or dex")
    if unit is None and not isinstance(y, (np.ma.MaskedArray, Masked)):
        y = column_or_1d(y, warn=True)
        if y.dtype == object:
            y = check_array(y, dtype=np.float64, ensure_2d=False, ensure_all_finite=False, input_name="y")
    y = to_float(y, unit, "y", dtype=np.float64)
    if y.shape != (n,):
        raise ValueError(f"y has the shape {y.shape}; X has {n} rows, so ({n},) was expected")
    return y, None if unit is None else unit.to_string()


def unit_of(text):
    """A unit from its text, or None."""
    return None if text is None else u.Unit(text)


def refuse_target(values, names, y):
    """
    Refuse a table that contains its own answer: it would be learned in no time.

    Parameters
    ----------
    values : `numpy.ndarray` (n, n_columns)
    names : sequence of str
        Of the columns.
    y : `numpy.ndarray` (n,)

    Raises
    ------
    ValueError
        If a column equals the target; it names the column.
    """
    for name, column in zip(names, values.T, strict=True):
        if np.array_equal(column, y):
            raise ValueError(f"column {name!r} of X is the target: name the columns to use, such as "
                             "columns=('u', 'g', 'r', 'i', 'z')")
