"""
From catalogues to numbers: which columns, in which unit, with which errors, and what is missing.

Magnitudes stay as they are. Fluxes become asinh magnitudes (Lupton, Gunn & Szalay 1999), which stay finite where a flux
is zero or negative. Errors become their logarithm in magnitudes: they tell a bright galaxy from a large one. What is
neither of these and has no unit (an extinction, a size) is taken as it stands; everything else (coordinates,
identifiers, text) is refused, because a network would learn it by heart.
"""

import astropy.units as u
import numpy as np
from astropy.table import Table

from astrolearn.core.inputs import to_float
from astrolearn.sky.fits_tools import column_unit

__all__ = ["NOT_DETECTED", "NOT_OBSERVED", "as_table", "asinh_magnitude", "describe_table", "read_table"]

NOT_DETECTED = 99.0  # as in LSST's and RAIL's tables
NOT_OBSERVED = (-99.0, -999.0, -9999.0)  # as in those of LePHARE, BPZ and SDSS
_AB_ZERO = 3631.0  # Jy, Oke & Gunn (1983)
_SMALLEST_ERROR = 1e-4  # mag
_LARGEST = 2.0**31  # of numbers without a unit: beyond are identifiers
_PLACES_AND_NUMBERS = {  # by which a galaxy is found again, in the words of SDSS and others
    "ra", "dec", "raj2000", "dej2000", "glon", "glat", "id", "objid", "specobjid", "bestobjid", "fluxobjid",
    "source_id", "plate", "mjd", "fiberid", "fiber", "run", "rerun", "camcol", "field",
}  # fmt: skip
_ERROR_NAMES = (
    "{}_err", "{}_error", "{}err", "{}error", "err_{}", "error_{}", "e_{}", "sigma_{}", "magerr_{}", "{}_unc",
)  # fmt: skip


def asinh_magnitude(flux, softening):
    """
    Asinh magnitude in the AB system: equation 3 of Lupton, Gunn & Szalay (1999), astro-ph/9903081.

    Parameters
    ----------
    flux : array-like or `~astropy.units.Quantity`
        Spectral flux density; plain numbers are Jy.
    softening : float or array-like
        Their *b*, in units of 3631 Jy: the flux at which the scale goes from logarithmic to linear, about the noise.

    Returns
    -------
    magnitude : `numpy.ndarray`
        In mag.
    """
    relative = _in_jansky(flux) / _AB_ZERO
    return -2.5 / np.log(10) * (np.arcsinh(relative / (2 * softening)) + np.log(softening))


def describe_table(table, columns=None):
    """
    Find out what the columns of a training table are.

    Parameters
    ----------
    table : `~astropy.table.Table`
    columns : sequence of str, optional
        Those to use. Default: all.

    Returns
    -------
    description : dict
        ``names``, and for each of them ``kinds`` (``"magnitude"``, ``"flux"``, ``"error"`` or ``"number"``), ``units``,
        ``of`` (of an error: the number of the column that it belongs to, else -1) and ``softening`` (of a flux, and of
        its error).

    Raises
    ------
    ValueError
        If there is no such column, or one cannot be used.
    """
    names = list(table.colnames if columns is None else columns)
    if not names:
        raise ValueError("X has no columns")
    table = _recognised(table, names)
    units = [_unit(table, name) for name in names]
    of = [_belongs_to(name, names) for name in names]
    kinds = [_kind(table, name, unit, of[i] >= 0) for i, (name, unit) in enumerate(zip(names, units, strict=True))]
    for i, band in enumerate(of):
        if band >= 0:
            units[i] = _error_unit(names[i], units[i], names[band], kinds[band], units[band])
    description = {
        "names": names, "kinds": kinds, "units": [None if unit is None else unit.to_string() for unit in units],
        "of": of, "softening": [0.0] * len(names),
    }  # fmt: skip
    for i, kind in enumerate(kinds):
        if kind == "flux":
            errors = [names[j] for j in range(len(names)) if of[j] == i]
            description["softening"][i] = _softening(table, names[i], errors)
    for i, band in enumerate(of):
        if band >= 0:
            description["softening"][i] = description["softening"][band]
    return description


def read_table(table, description):
    """
    Read the columns of a table into numbers.

    Parameters
    ----------
    table : `~astropy.table.Table`
    description : dict
        What `describe_table` said of the training table.

    Returns
    -------
    values : `numpy.ndarray`, float64 (n, n_columns)
        In mag, log10 of mag for errors. NaN where a value is missing: NaN, masked, and except in fluxes -99, -999 or
        -9999, or 99, which means that the galaxy was not detected.
    undetected : `numpy.ndarray`, bool (n, n_columns)
        Where the value is 99.

    Raises
    ------
    astropy.units.UnitConversionError
        If a unit does not convert to that of the training table.
    ValueError
        If a column is missing or not numerical.
    """
    absent = [name for name in description["names"] if name not in table.colnames]
    if absent:
        raise ValueError(f"X has no column {', '.join(map(repr, absent))}, which this was trained on; fill a band that "
                         "was not observed with NaN")
    if len(table) == 0:
        raise ValueError("X is empty: it has no rows")
    table = _recognised(table, description["names"])
    raw = np.stack([_read(table, i, description) for i in range(len(description["names"]))], axis=1)
    values, undetected = drop_flags(raw)
    fluxes = np.array([kind == "flux" for kind in description["kinds"]])
    values, undetected = np.where(fluxes, raw, values), undetected & ~fluxes
    for i, (kind, band, soft) in enumerate(
        zip(description["kinds"], description["of"], description["softening"], strict=True)
    ):
        if kind == "flux":
            values[:, i] = asinh_magnitude(values[:, i], soft)
        elif kind == "error":
            error = values[:, i]
            if soft > 0:
                error = _magnitude_error(raw[:, band], error, soft)
            good = error > 0  # also of a flag that is not ours, such as -1
            smallest = 0.0 if description["kinds"][band] == "number" else _SMALLEST_ERROR
            values[:, i] = np.where(good, np.log10(np.maximum(np.where(good, error, 1), smallest)), np.nan)
    return values, undetected


def drop_flags(values):
    """Numbers without the flags of what is missing, and where the flag said: not detected."""
    undetected = values == NOT_DETECTED
    return np.where(undetected | np.isin(values, NOT_OBSERVED), np.nan, values), undetected


def _belongs_to(name, names):
    """Number of the column whose error this one holds, by its name; -1 for none."""
    lower = name.lower()
    for i, other in enumerate(names):
        candidates = [pattern.format(other.lower()) for pattern in _ERROR_NAMES]
        candidates += [other.lower().replace("mag", "magerr", 1), other.lower().replace("mag", "mag_err", 1)]
        candidates += [other.lower().replace("flux", "fluxerr", 1), other.lower().replace("flux", "flux_err", 1)]
        if other != name and lower in candidates:
            return i
    return -1


def _recognised(table, names):
    """The table with units of columns that astropy did not recognise in a file, such as nanomaggies."""
    unknown = [name for name in names if name in table.colnames
               and isinstance(getattr(table[name], "unit", None), u.UnrecognizedUnit)]
    if unknown:
        table = table.copy(copy_data=False)
    for name in unknown:
        unit = column_unit(table[name].unit.to_string(), None, f"column {name!r}")
        if isinstance(table[name], u.Quantity):
            table[name] = u.Quantity(table[name].value, unit)
        else:
            table[name].unit = unit
    return table


def _unit(table, name):
    if name not in table.colnames:
        raise ValueError(f"X has no column {name!r}; it has {', '.join(table.colnames)}")
    return getattr(table[name], "unit", None)


def _kind(table, name, unit, is_error):
    remedy = "name the columns to use, such as columns=('u', 'g', 'r', 'i', 'z')"
    column = table[name]
    if getattr(column, "ndim", None) != 1 or np.asarray(getattr(column, "value", column)).dtype.kind not in "fiu":
        raise ValueError(f"column {name!r} does not hold one number per galaxy: {remedy}")
    if unit is None or unit == u.dimensionless_unscaled:
        kind = "number"
        values = np.abs(np.ma.filled(np.ma.asarray(_bare(column)), 0).astype(float))
        largest = values.max(initial=0, where=np.isfinite(values))
        if name.lower() in _PLACES_AND_NUMBERS or largest > _LARGEST:
            raise ValueError(f"column {name!r} looks like an identifier or a place, by which a network would know "
                             f"galaxies again: {remedy}")
    elif _is_magnitude(unit):
        kind = "magnitude"
    elif _is_flux(unit):
        kind = "flux"
    else:
        raise ValueError(f"column {name!r} has the unit '{unit}', neither magnitude nor flux: {remedy}")
    return "error" if is_error else kind


def _error_unit(name, unit, band, kind, band_unit):
    """Unit of an error, which must be that of its band; without one it is."""
    if kind == "flux" and unit is None:
        return band_unit
    fits = {"flux": _is_flux, "magnitude": lambda own: own is None or own == u.mag,
            "number": lambda own: own is None or own == u.dimensionless_unscaled}[kind]  # fmt: skip
    if not fits(unit):
        raise ValueError(f"column {name!r} has the unit '{unit}', which no error of {band!r} in '{band_unit}' has")
    return unit


def _is_magnitude(unit):
    return isinstance(unit, u.MagUnit) or unit == u.mag


def _is_flux(unit):
    return not isinstance(unit, u.function.FunctionUnitBase) and unit.is_equivalent(
        u.Jy, u.zero_point_flux(_AB_ZERO * u.Jy)
    )


def _in_jansky(flux):
    if getattr(flux, "unit", None) is None:
        return np.asarray(flux, dtype=float)
    return u.Quantity(flux).to_value(u.Jy, u.zero_point_flux(_AB_ZERO * u.Jy))


def _read(table, i, description):
    """One column in mag, Jy or its own numbers; NaN where there is none."""
    name, trained = description["names"][i], description["units"][i]
    unit, column = _unit(table, name), table[name]
    trained = None if trained is None else u.Unit(trained)
    in_magnitudes = trained is not None and _is_magnitude(trained)
    if trained is None:
        target = None
    elif in_magnitudes:
        # mag and mag(AB) are the same numbers, mag(AB) and mag(ST) are not
        same = unit is None or unit == trained or (_is_magnitude(unit) and u.mag in (unit, trained))
        if not same:
            raise u.UnitConversionError(f"column {name!r} has the unit '{unit}', which does not convert to '{trained}'")
        return to_float(np.ma.asarray(_bare(column)), name=f"column {name!r}", missing="keep", dtype=np.float64)
    else:
        target = u.Jy
        if unit is None:
            column = u.Quantity(np.ma.filled(np.ma.asarray(_bare(column), dtype=float), np.nan), trained)
        elif not _is_flux(unit):
            raise u.UnitConversionError(f"column {name!r} has the unit '{unit}', which does not convert to '{trained}'")
        values = to_float(np.ma.asarray(_bare(column)), name=f"column {name!r}", missing="keep", dtype=np.float64)
        return _in_jansky(values * column.unit)
    return to_float(column, target, f"column {name!r}", missing="keep", dtype=np.float64)


def _bare(column):
    """The numbers of a column, with its mask but without its unit."""
    unmasked = getattr(column, "unmasked", None)
    if unmasked is not None:
        return np.ma.array(getattr(unmasked, "value", unmasked), mask=column.mask)
    return getattr(column, "value", column) if isinstance(column, u.Quantity) else np.ma.asarray(column)


def _softening(table, name, errors):
    """The median error of a flux; without errors, a tenth of what most galaxies exceed. In units of 3631 Jy."""
    unit = table[errors[0] if errors else name].unit or table[name].unit
    values = np.ma.asarray(_bare(table[errors[0] if errors else name]), dtype=float).filled(np.nan)
    values = _in_jansky(drop_flags(values)[0] * unit)
    values = values[values > 0]
    if not values.size:
        raise ValueError(f"column {name!r} has no positive flux or error")
    return float((np.median(values) if errors else 0.1 * np.quantile(values, 0.05)) / _AB_ZERO)


def _magnitude_error(flux, error, softening):
    """Error of an asinh magnitude: the derivative of `asinh_magnitude` times the error of the flux, all in Jy."""
    relative = np.where(np.isfinite(flux), flux, 0.0) / _AB_ZERO
    return 2.5 / np.log(10) * (error / _AB_ZERO) / np.hypot(2 * softening, relative)


def as_table(X):
    """A table as it is, a structured array as one; None for what has no names of columns."""
    if isinstance(X, Table):
        return X
    return Table(X) if getattr(getattr(X, "dtype", None), "names", None) else None
