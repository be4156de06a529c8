"""The command ``astrolearn counts``: from a radio image in a file to a table of source counts."""

from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.table import QTable

from astrolearn.core.console import PICTURES, TABLES, list_of, load_weights, require_matplotlib, say, write_table
from astrolearn.core.inputs import as_quantity
from astrolearn.core.outputs import check_outputs, write_outputs
from astrolearn.core.tables import SampleTable
from astrolearn.counts.models import DENSITY, read_counts, write_counts
from astrolearn.counts.plots import plot_counts
from astrolearn.counts.regressor import SourceCountRegressor

__all__ = ["counts"]

_TEXTS = (".txt", ".dat")
# What files call the properties of the sky: keywords of radio images, and their units there
_KEYWORDS = {
    "frequency": ("FREQ", u.Hz), "pixel_scale": ("PIXSCALE", u.arcsec), "area": ("AREA", u.sr),
    "noise": ("NOISE", u.Jy / u.beam),
}  # fmt: skip


def counts(
    image, output, *, plot=None, dezotti=None, published=None, published_frequency=None, noise=None, beam=None,
    pixel_scale=None, frequency=None, weights="emu-944mhz", overwrite=False, quiet=False,
):
    """
    Estimate the source counts of an image.

    Parameters
    ----------
    image : path-like
        FITS file, see `astrolearn.counts.images.read_radio_images`.
    output : path-like
        The table to write, ``.ecsv`` or ``.fits``.
    plot : path-like, optional
        Picture of the Euclidean counts to write, ``.png``, ``.pdf``, ``.svg`` or ``.jpg``.
    dezotti : path-like, optional
        Text file to write, ``.txt`` or ``.dat``, with the measured bins, see `write_counts`.
    published : path-like, optional
        Published counts to draw in the picture, see `read_counts`.
    published_frequency : str, float or `~astropy.units.Quantity`, optional
        Their frequency, from which they are scaled; plain numbers are in GHz. Default: that of the image.
    noise, beam, pixel_scale, frequency : str, float or `~astropy.units.Quantity`, optional
        Instead of what the header says; see `read_radio_images`. A text may have two widths of the beam, such as
        ``"18 15 arcsec"``.
    weights : str or path-like, optional
        Name of weights that come with the package, or a file that ``SourceCountRegressor.save`` wrote.
    overwrite : bool, optional
        Whether existing files may be replaced.
    quiet : bool, optional
        Show neither progress nor results.

    Returns
    -------
    SampleTable, (n_bins,)
        See `SourceCountRegressor.predict_counts`, with the covariance of log10 n (dex^2) as a column (n_bins, n_bins).
        ``meta`` has plain numbers, as headers can hold: ``FREQ`` (Hz), ``BMAJ``, ``BMIN`` (deg), ``PIXSCALE`` (arcsec),
        ``AREA`` (sr), ``NOISE`` (Jy/beam), ``input`` and ``weights``.

    Raises
    ------
    OSError
        If a file cannot be read or written.
    ValueError
        If the contents of a file or an option cannot be used.
    """
    outputs = [(output, TABLES), (plot, PICTURES), (dezotti, _TEXTS)]
    if published is not None and plot is None:
        raise ValueError("--published is for the picture: name that with --plot")
    if published_frequency is not None and published is None:
        raise ValueError("--published-frequency is that of counts to draw: name their file with --published")
    given = {
        "noise": _read_option(noise, u.Jy / u.beam, "--noise"),
        "beam": _read_option(beam, u.arcsec, "--beam"),
        "pixel_scale": _read_option(pixel_scale, u.arcsec, "--pixel-scale"),
        "frequency": _read_option(frequency, u.GHz, "--frequency"),
    }
    own = _read_option(published_frequency, u.GHz, "--published-frequency")
    inputs = (image, published, *([weights] if Path(weights).is_file() else []))
    check_outputs(outputs, overwrite=overwrite, inputs=inputs)
    if plot is not None:
        require_matplotlib()
    points = None if published is None else _read_published(published)
    regressor = load_weights(SourceCountRegressor, weights, quiet)
    say(f"reading {image}", quiet)
    table = regressor.predict_counts([image], **given)
    if dezotti is not None and np.all(table["prior_driven"]):
        raise ValueError(f"--dezotti {dezotti} would be empty: no bin of this image is measured")
    result = _for_files(table)
    result.meta |= {"input": str(image), "weights": str(weights)}
    say("writing files", quiet)
    written = write_outputs([
        (output, lambda path: write_table(result, path)),
        (plot, lambda path: plot_counts(
            table, published=points, published_frequency=own, reference=10**regressor.prior_mean_ * DENSITY
        ).savefig(path, dpi=200)),
        (dezotti, lambda path: write_counts(table, path)),
    ], overwrite=overwrite)
    if not quiet:
        print(_summary(table), list_of(written), sep="\n")
    return result


def _read_option(value, unit, name):
    """A quantity or a pair of them, from a text such as '18 15 arcsec', too."""
    if isinstance(value, str):
        *numbers, own = value.split()
        if len(numbers) > 1:
            return u.Quantity([as_quantity(f"{number} {own}", unit, name) for number in numbers])
    return None if value is None else as_quantity(value, unit, name)


def _read_published(path):
    try:
        return read_counts(path)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file with counts") from error


def _for_files(table):
    """The table without what files cannot say: quantities and arrays beside the columns."""
    known = _plain_meta(table.meta)
    rest = {key: value for key, value in table.meta.items() if isinstance(value, (str, bool, int, float))}
    result = SampleTable(table.columns, meta=rest | known)
    result["covariance"] = np.reshape(table.meta["covariance"], (len(table), len(table)))
    return result


def _plain_meta(meta):
    """The properties of one sky as keywords."""
    values = {keyword: np.ravel(u.Quantity(meta[key], unit).value) for key, (keyword, unit) in _KEYWORDS.items()}
    widths = np.ravel(u.Quantity(meta["beam"], u.deg).value)
    values |= {"BMAJ": widths[:1], "BMIN": widths[-1:]}
    return {keyword: value.item() for keyword, value in values.items() if np.isfinite(value).all()}


def _summary(table):
    """Text on the sky and its counts."""
    meta = _plain_meta(table.meta)
    area = (meta["AREA"] * u.sr).to_value(u.deg**2)
    noise = f"a noise of {1e6 * meta['NOISE']:.3g} uJy/beam" if "NOISE" in meta else "a noise that is not known"
    driven = np.asarray(table["prior_driven"], dtype=bool)
    head = (f"{area:.3g} deg2 at {meta['FREQ'] / 1e6:.4g} MHz with {noise}: {np.sum(~driven)} of {len(table)} bins are "
            "measured, the others are driven by the prior:")
    shown = QTable({
        "S (Jy)": [f"{value:.3g}" for value in table["S_mid"].to_value(u.Jy)],
        **{name: [f"{value:.3g}" for value in table[column].to_value(DENSITY)] for name, column in
           {"n (1/(Jy sr))": "n", "16 %": "n_q16", "84 %": "n_q84"}.items()},
        "S^2.5 n": [f"{value:.3g}" for value in table["euclidean"].to_value(u.Jy**1.5 / u.sr)],
        "information": [f"{value:.2f}" for value in table["information"]],
        "measured": ["no" if value else "yes" for value in driven],
    })
    return "\n".join([head, *shown.pformat(max_lines=-1, max_width=-1)])
