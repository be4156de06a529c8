"""The command ``astrolearn detect``: from strain in a file to a table of detections."""

from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.io.registry import IORegistryError
from astropy.table import QTable

from astrolearn.core.console import (
    PICTURES,
    TABLES,
    list_of,
    load_weights,
    require_matplotlib,
    say,
    write_table,
)
from astrolearn.core.inputs import as_quantity
from astrolearn.core.outputs import check_outputs, write_outputs
from astrolearn.emri.detector import EMRIDetector
from astrolearn.emri.io import read_strain
from astrolearn.emri.noise import Whitener
from astrolearn.emri.parameters import read_interval
from astrolearn.emri.plots import plot_spectrogram

__all__ = ["detect"]


def detect(
    strain, output, *, psd=None, whitened=False, sample_interval=None, false_alarm_probability=None, plot=None,
    weights="tianqin-3month", overwrite=False, quiet=False,
):
    """
    Look for inspirals in strain.

    Parameters
    ----------
    strain : path-like
        FITS or HDF5 file, see `astrolearn.emri.io.read_strain`.
    output : path-like
        The table to write, ``.ecsv`` or ``.fits``.
    psd : path-like, optional
        Table with the columns ``frequency`` and ``psd`` of the noise in one channel. Default: that of the detector
        which the weights are for.
    whitened : bool, optional
        Whether the strain is white already.
    sample_interval : str or `~astropy.units.Quantity`, optional
        For a file that does not state it; plain numbers are seconds.
    false_alarm_probability : float, optional
        Default: that of the weights.
    plot : path-like, optional
        Spectrogram of the series with the highest score to write, ``.png``, ``.pdf``, ``.svg`` or ``.jpg``.
    weights : str or path-like, optional
        Name of weights that come with the package, or a file that ``EMRIDetector.save`` wrote.
    overwrite : bool, optional
        Whether existing files may be replaced.
    quiet : bool, optional
        Show neither progress nor results.

    Returns
    -------
    SampleTable
        See `EMRIDetector.detect`; with a column ``series``, the number in the file, from 0.

    Raises
    ------
    OSError
        If a file cannot be read or written.
    ValueError
        If the contents of a file or an option cannot be used.
    """
    outputs = [(output, TABLES), (plot, PICTURES)]
    if whitened and psd is not None:
        raise ValueError("--psd is for strain that is not white: leave out --whitened or --psd")
    if psd is not None and not Path(psd).is_file():
        raise FileNotFoundError(f"{psd}: no such file")
    read = (path for path in (psd, weights) if path is not None and Path(path).is_file())
    check_outputs(outputs, overwrite=overwrite, inputs=(strain, *read))
    if plot is not None:
        require_matplotlib()
    detector = load_weights(EMRIDetector, weights, quiet)
    if false_alarm_probability is not None:
        detector.set_params(false_alarm_probability=false_alarm_probability)
    say(f"reading {strain}", quiet)
    series, stated = read_strain(strain)
    _check_interval(strain, stated, sample_interval, detector)
    if not whitened:
        density = detector.detector if psd is None else _read_psd(psd)
        series = Whitener(density, sample_interval=detector.sample_interval).transform(series)
    table = detector.detect(series)
    table.add_column(np.arange(len(table)), name="series", index=0)
    table.meta |= {"input": str(strain), "weights": str(weights)}
    say("writing files", quiet)
    best = int(np.argmax(table["statistic"]))
    written = write_outputs([
        (output, lambda path: write_table(table, path)),
        (plot, lambda path: plot_spectrogram(
            series[best], sample_interval=detector.sample_interval, detector=detector.detector
        ).savefig(path, dpi=200)),
    ], overwrite=overwrite)
    if not quiet:
        print(_summary(table), list_of(written), sep="\n")
    return table


def _check_interval(path, stated, given, detector):
    """Refuse strain at another interval than that of the weights, or at an unknown one."""
    wanted = read_interval(detector.sample_interval)
    given = None if given is None else as_quantity(given, u.s, "--sample-interval").value
    if stated is None and given is None:
        raise ValueError(f"{path} does not state its sampling interval: give it with --sample-interval")
    interval = stated if given is None else given
    if stated is not None and given is not None and not np.isclose(stated, given, rtol=1e-3):
        raise ValueError(f"{path} is sampled every {stated:g} s, not every {given:g} s")
    if not np.isclose(interval, wanted, rtol=1e-3):
        raise ValueError(f"{path} is sampled every {interval:g} s, but the weights are for {wanted:g} s: resample it")


def _read_psd(path):
    """A table of frequencies and densities."""
    try:
        table = QTable.read(path)
        return table["frequency"], table["psd"]
    except (KeyError, ValueError, OSError, IORegistryError) as error:
        raise ValueError(f"{path}: no table with the columns frequency and psd, .ecsv, .fits or .csv "
                         f"({' '.join(str(error).split())})") from error


def _summary(table, n=10):
    """Text on the most significant series."""
    n_detected = int(table["detected"].sum())
    head = (f"a signal is detected in {n_detected} of {len(table)} series at a false-alarm probability of "
            f"{table.meta['false_alarm_probability']:g}")
    rows = table[np.argsort(-np.asarray(table["statistic"]))[:n]]
    shown = QTable({
        "series": rows["series"],
        "statistic": [f"{value:.2f}" for value in rows["statistic"]],
        "probability": [f"{value:.4f}" for value in rows["probability"]],
        "false alarm": [f"{'<' if limit else ' '}{value:.2g}" for value, limit in
                        zip(rows["false_alarm_probability"], rows["upper_limit"], strict=True)],
        "detected": ["yes" if value else "no" for value in rows["detected"]],
    })
    head += f"; the {n} most significant:" if len(table) > n else ":"
    return "\n".join([head, *shown.pformat(max_lines=-1, max_width=-1)])
