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
    with fits.open(path) as hdus:
        for hdu in hdus:
            if isinstance(hdu, (fits.BinTableHDU, fits.TableHDU)):
                columns = {name: hdu.data[name] for name in hdu.columns.names}
                units = dict(zip(hdu.columns.names, hdu.columns.units, strict=True))
                return _channels(path, columns, units, dict(hdu.header))
            if hdu.is_image and hdu.data is not None:
                return hdu.data.astype(float), _stated_interval(path, dict(hdu.header))
    raise ValueError(f"{path} holds neither an image nor a table")


def _read_hdf5(path):
    try:
        import h5py
    except ImportError as error:
        raise ValueError(f'{path}: HDF5 files need h5py: pip install "astrolearn[hdf5]"') from error
    with h5py.File(path) as file:
        groups = {}
        file.visititems(lambda name, item: groups.setdefault(item.parent.name, {}).update({name.split("/")[-1]: item})
                        if isinstance(item, h5py.Dataset) else None)
        found = [series for name, members in groups.items() if (series := _in_group(path, file, name, members))]
        shapes = [f"{name} {item.shape}" for members in groups.values() for name, item in members.items()]
    if len(found) > 1:
        raise ValueError(f"{path} holds {len(found)} series of two channels ({', '.join(shapes)}): keep one")
    if not found:
        raise ValueError(f"{path} holds no data sets of two channels, which are (2, n_samples), (n, 2, n_samples) or "
                         f"two columns; it holds {', '.join(shapes) or 'nothing'}")
    return found[0]


def _in_group(path, file, name, members):
    """Channels and interval from the data sets of one group, if they are there."""
    stated = dict(file.attrs) | dict(file[name].attrs)
    for item in members.values():
        if item.ndim in (2, 3) and item.shape[-2] == 2:
            return item[()], _stated_interval(path, stated | dict(item.attrs))
    columns = {key: item[()] for key, item in members.items() if item.ndim == 1 and len(item) > 1}
    if len(columns) < 2:
        return None
    units = {key: _text(members[key].attrs.get("unit", members[key].attrs.get("units"))) for key in columns}
    return _channels(path, columns, units, stated)


def _channels(path, columns, units, stated):
    """Both channels and the interval from named columns."""
    times = [name for name in columns if name.lower() in _TIMES]
    names = [name for name in columns if name not in times]
    if len(names) != 2:
        raise ValueError(f"{path} needs two channels beside its times, but has the columns {', '.join(columns)}")
    for name in names:
        if units[name] and units[name] != "strain" and u.Unit(units[name]) != u.dimensionless_unscaled:
            raise u.UnitConversionError(f"{path}: the column {name} has the unit '{units[name]}', but strain has none")
    interval = _stated_interval(path, stated)
    if times:
        unit = u.Unit(units[times[0]] or "s")
        steps = np.diff(np.asarray(columns[times[0]], dtype=float)) * unit.to(u.s)
        interval = float(np.median(steps))
        if not np.allclose(steps, interval, rtol=1e-3, atol=0):
            raise ValueError(f"{path}: the times are not regular, from {steps.min():g} to {steps.max():g} s apart: "
                             "resample the strain, and fill gaps with NaN")
    return np.stack([np.asarray(columns[name], dtype=float) for name in names]), interval


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
