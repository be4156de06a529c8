"""
Strain from files: FITS and HDF5, in the few layouts that people use.

FITS: a table with a column of times and one per channel, or an image (2, n_samples) or (n, 2, n_samples). HDF5: data
sets of the two channels in one group, or one data set (2, n_samples) or (n, 2, n_samples). The sampling interval comes
from the times, from an attribute or keyword (sample_interval, dt, delta_t, TIMEDEL, or CDELT1 with CUNIT1), or from the
caller.
"""

from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.io import fits

__all__ = ["read_strain"]

_TIMES = {"time", "t", "times"}
_INTERVALS = ("sample_interval", "dt", "delta_t", "timedel", "cdelt1")


def read_strain(path):
    """
    Read two-channel series.

    Parameters
    ----------
    path : path-like
        ``.fits`` (or ``.fit``, ``.fits.gz``), ``.hdf5`` or ``.h5``.

    Returns
    -------
    series : `numpy.ndarray`, float64 (n, 2, n_samples)
        As in the file; missing values are NaN.
    sample_interval : float or None
        In s, where the file says it.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If there are no series of two channels in it, or its times are not regular.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    read = _read_hdf5 if path.suffix.lower() in (".hdf5", ".h5", ".hdf") else _read_fits
    series, interval = read(path)
    series = np.asarray(series, dtype=float)
    if series.ndim == 2:
        series = series[None]
    if series.ndim != 3 or series.shape[1] != 2:
        raise ValueError(f"{path} holds an array of the shape {series.shape}; strain is (2, n_samples) or "
                         "(n, 2, n_samples)")
    if interval is not None and not interval > 0:
        raise ValueError(f"{path}: a sampling interval of {interval:g} s is not possible")
    return series, interval


def _read_fits(path):
    found = []
    with fits.open(path) as hdus:
        for hdu in hdus:
            if isinstance(hdu, (fits.BinTableHDU, fits.TableHDU)):
                columns = {name: hdu.data[name] for name in hdu.columns.names}
                units = dict(zip(hdu.columns.names, hdu.columns.units, strict=True))
                found.append(_channels(path, columns, units, dict(hdu.header)))
            elif hdu.is_image and hdu.data is not None:
                found.append((hdu.data.astype(float), _stated_interval(path, dict(hdu.header))))
    return _only(path, found, "images or tables")


def _read_hdf5(path):
    try:
        import h5py
    except ImportError as error:
        raise ValueError(f'{path}: HDF5 files need h5py: pip install "astrolearn[hdf5]"') from error
    with h5py.File(path) as file:
        groups = {}
        file.visititems(lambda name, item: groups.setdefault(item.parent.name, {}).update({name.split("/")[-1]: item})
                        if isinstance(item, h5py.Dataset) else None)
        found = [series for name, members in groups.items() for series in _in_group(path, file, name, members)]
        shapes = [f"{item.name} {item.shape}" for members in groups.values() for item in members.values()]
    held = f"data sets of two channels, (2, n_samples), (n, 2, n_samples) or two columns ({', '.join(shapes)})"
    return _only(path, found, held)


def _only(path, found, held):
    """The one pair of series and interval that a file holds."""
    if len(found) == 1:
        return found[0]
    count = "no" if not found else len(found)
    raise ValueError(f"{path} holds {count} {held}; there must be one")


def _in_group(path, file, name, members):
    """Series and intervals from the data sets of one group."""
    stated = dict(file.attrs) | dict(file[name].attrs)
    columns = {key: item[()] for key, item in members.items() if item.ndim == 1 and len(item) > 1}
    units = {key: _text(members[key].attrs.get("unit", members[key].attrs.get("units"))) for key in columns}
    found = []
    for item in members.values():
        if item.ndim in (2, 3) and item.shape[-2] == 2:
            interval = _interval(path, columns, units, item.shape[-1], stated | dict(item.attrs))
            found.append((item[()], interval))
    if not found and len(columns) >= 2:
        found.append(_channels(path, columns, units, stated))
    return found


def _channels(path, columns, units, stated):
    """Both channels and the interval from named columns."""
    names = [name for name in columns if name.lower() not in _TIMES]
    if len(names) != 2:
        raise ValueError(f"{path} needs two channels beside its times, but has the columns {', '.join(columns)}")
    for name in names:
        if units[name] and units[name] != "strain" and _unit(path, name, units[name]) != u.dimensionless_unscaled:
            raise u.UnitConversionError(f"{path}: the column {name} has the unit '{units[name]}', but strain has none")
    lengths = {name: len(columns[name]) for name in names}
    if len(set(lengths.values())) > 1:
        several = " and ".join(str(length) for length in lengths.values())
        raise ValueError(f"{path}: the channels {names[0]} and {names[1]} have {several} samples")
    interval = _interval(path, columns, units, lengths[names[0]], stated)
    return np.stack([np.asarray(columns[name], dtype=float) for name in names]), interval


def _interval(path, columns, units, n_samples, stated):
    """The sampling interval in s, from times and from what is stated; `None` if there is neither."""
    given = _stated_interval(path, stated)
    times = [name for name in columns if name.lower() in _TIMES]
    if not times:
        return given
    name = times[0]
    time = np.asarray(columns[name], dtype=float)
    if len(time) != n_samples:
        raise ValueError(f"{path}: {name} has {len(time)} times for {n_samples} samples")
    steps = np.diff(time) * _unit(path, name, units[name] or "s").to(u.s)
    interval = float(np.median(steps))
    if not np.allclose(steps, interval, rtol=1e-3, atol=0):
        raise ValueError(f"{path}: the times are not regular, from {steps.min():g} to {steps.max():g} s apart: "
                         "resample the strain, and fill gaps with NaN")
    if given is not None and not np.isclose(given, interval, rtol=1e-3):
        raise ValueError(f"{path}: its times are {interval:g} s apart, but it states an interval of {given:g} s")
    return interval


def _unit(path, name, unit):
    """A unit from its text."""
    try:
        return u.Unit(unit)
    except ValueError as error:
        raise ValueError(f"{path}: the unit '{unit}' of {name} is not one that astropy knows") from error


def _stated_interval(path, stated):
    """The sampling interval among attributes or keywords, in s."""
    stated = {key.lower(): _text(value) for key, value in stated.items()}
    for key in _INTERVALS:
        if key in stated:
            try:
                interval = u.Quantity(stated[key])
                if key == "cdelt1":
                    interval = interval * u.Unit(stated.get("cunit1", "s"))
                return float((interval * u.s if interval.unit == u.one else interval).to_value(u.s))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{path}: {key} = {stated[key]!r} is not a time") from error
    return None


def _text(value):
    """A string where h5py gives bytes, a number where it gives an array of one."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    return value.decode() if isinstance(value, bytes) else value
