"""From astropy objects to plain float arrays: the one place where units are converted and stripped."""

import numbers

import astropy.units as u
import numpy as np
from astropy.nddata import NDData
from astropy.utils.masked import Masked

__all__ = ["as_quantity", "to_float"]


def to_float(x, unit=None, name="X", *, shape=None, missing="raise", dtype=np.float32):
    """
    Copy array data into a plain float array in a known unit.

    Parameters
    ----------
    x : array-like, `~astropy.units.Quantity`, masked array, `~astropy.table.Column`, `~astropy.nddata.NDData` or list
        The data, or a list of data of one shape: of any byte order and layout, read-only or not. They are not changed,
        and the result does not share their memory. Plain numbers are taken to be in ``unit``.
    unit : unit-like, optional
        The unit of the result. With `None` (default) the data must be dimensionless.
    name : str, optional
        What the data are called in error messages.
    shape : tuple, optional
        The expected shape: an integer for an axis of fixed length, a string (its name) for an axis of any length.
        Default: any shape.
    missing : {"raise", "keep"} or float, optional
        What to do with NaN and masked elements: refuse them (default), return them as NaN, or replace them by a number.
    dtype : {numpy.float32, numpy.float64}, optional
        Of the result. Default: single precision, which networks compute in.

    Returns
    -------
    values : `numpy.ndarray` of ``dtype``
        A new C-contiguous array in native byte order.

    Raises
    ------
    astropy.units.UnitConversionError
        If the unit of ``x`` does not convert to ``unit``.
    ValueError
        If ``x`` is empty, is not made of real numbers, has another shape, or holds infinite, missing (with
        ``missing="raise"``) or too large (for ``dtype``) values.
    """
    if isinstance(x, (list, tuple)) and not _is_plain(x):
        items = [to_float(item, unit, f"{name}[{i}]", missing=missing, dtype=dtype) for i, item in enumerate(x)]
        if len({item.shape for item in items}) > 1:
            raise ValueError(f"the items of {name} differ in shape: {', '.join(str(item.shape) for item in items)}")
        x = np.stack(items)
    values, mask = _split_mask(x)
    values = _strip_unit(values, unit, name)
    _check_shape(values, shape, name)
    with np.errstate(over="ignore"):
        values = np.array(values, dtype=dtype, order="C")
    values[np.broadcast_to(mask, values.shape)] = np.nan
    n_infinite = np.isinf(values).sum()
    if n_infinite:
        raise ValueError(f"{name} has {n_infinite} values that are infinite or too large for {values.dtype}")
    absent = np.isnan(values)
    if missing == "raise" and absent.any():
        raise ValueError(f"{name} has {absent.sum()} missing values (NaN or masked) of {values.size}")
    if missing not in ("raise", "keep"):
        values[absent] = missing
    return values


def as_quantity(value, unit, name):
    """
    Read a hyper-parameter that has a unit.

    Parameters
    ----------
    value : `~astropy.units.Quantity`, str, number, or a sequence of these
        For example ``10 * u.arcsec``, ``"10 arcsec"`` or ``10``; a plain number is taken to be in ``unit``.
    unit : unit-like
        The unit of the result.
    name : str
        What the value is called in error messages.

    Returns
    -------
    quantity : `~astropy.units.Quantity`
        The value in ``unit``, in double precision.

    Raises
    ------
    astropy.units.UnitConversionError
        If the unit of ``value`` does not convert to ``unit``.
    ValueError
        If ``value`` cannot be read as a quantity, or is masked or not finite.
    """
    value, mask = _split_mask(value)
    if np.any(mask):
        raise ValueError(f"{name} has masked values: fill or remove them")
    if isinstance(value, (list, tuple)):
        return u.Quantity([as_quantity(item, unit, name) for item in value], unit)
    if isinstance(value, str):
        try:
            value = u.Quantity(value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}={value!r} is not a number with a unit, such as '10 {u.Unit(unit)}'") from error
        if value.unit == u.dimensionless_unscaled:
            value = value.value
    elif isinstance(value, bool) or not isinstance(value, (numbers.Real, np.ndarray)):
        raise ValueError(f"{name}={value!r} is not a quantity, a string such as '10 {u.Unit(unit)}' or a number")
    plain = np.array(_strip_unit(value, unit, name), dtype=float)
    if not np.isfinite(plain).all():
        raise ValueError(f"{name}={value} is not finite")
    return u.Quantity(plain, unit)


def _is_plain(x):
    """Whether a list can be left to numpy, which drops the units and masks of what is in it."""
    if isinstance(x, (list, tuple)):
        return all(_is_plain(item) for item in x)
    return not isinstance(x, (Masked, np.ma.MaskedArray, NDData)) and getattr(x, "unit", None) is None


def _split_mask(x):
    """Data with their unit, and where they are masked: NumPy drops the mask of each of these kinds without a word."""
    if isinstance(x, NDData):
        mask = False if x.mask is None else np.asarray(x.mask, dtype=bool)
        return (x.data if x.unit is None else u.Quantity(x.data, x.unit, subok=True, copy=False)), mask
    if isinstance(x, Masked):
        return x.unmasked, x.mask
    if isinstance(x, np.ma.MaskedArray):
        unit = getattr(x, "unit", None)
        data = np.ma.getdata(x, subok=False)
        return (data if unit is None else u.Quantity(data, unit, subok=True, copy=False)), np.ma.getmaskarray(x)
    return x, False


def _strip_unit(values, unit, name):
    """Plain values in ``unit``; those without a unit are in it already."""
    own = getattr(values, "unit", None)
    if own is not None:
        target = u.dimensionless_unscaled if unit is None else u.Unit(unit)
        try:
            values = u.Quantity(values, own, subok=True).to_value(target)
        except u.UnitConversionError as error:
            wanted = "a dimensionless quantity" if target == u.dimensionless_unscaled else f"'{target}'"
            raise u.UnitConversionError(f"{name} has the unit '{own}', which does not convert to {wanted}") from error
    values = np.asarray(values)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be real numbers in one array, not of type {values.dtype}")
    return values


def _check_shape(values, shape, name):
    if values.size == 0:
        raise ValueError(f"{name} is empty (shape {values.shape})")
    if shape is None:
        return
    fits = values.ndim == len(shape) and all(
        isinstance(wanted, str) or wanted == length for wanted, length in zip(shape, values.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join(str(axis) for axis in shape)
        raise ValueError(f"{name} has the shape {values.shape}; expected ({wanted})")
