"""The command ``astrolearn photoz``: from a catalogue in a file to redshifts in another."""

from pathlib import Path

import numpy as np
from astropy.cosmology import units as cu
from astropy.io.registry import IORegistryError
from astropy.table import QTable

from astrolearn.core.console import PICTURES, TABLES, list_of, load_weights, require_matplotlib, say, write_table
from astrolearn.core.outputs import check_outputs, write_outputs
from astrolearn.core.tables import SampleTable
from astrolearn.photoz import metrics
from astrolearn.photoz.plots import plot_redshifts
from astrolearn.photoz.regressor import PhotoZRegressor

__all__ = ["photoz"]

_KEPT = ("objID", "specObjID", "objid", "specobjid", "id", "ID", "name", "coord", "ra", "dec", "RA", "DEC")


def photoz(
    catalogue, output, *, columns=None, missing=None, true_redshift=None, pdf=False, coverage=0.68, plot=None,
    weights="sdss-mgs-ugriz", overwrite=False, quiet=False,
):
    """
    Give each galaxy of a catalogue a redshift.

    Parameters
    ----------
    catalogue : path-like
        Table that astropy can read: ECSV, FITS, CSV, VOTable ...
    output : path-like
        The table to write, ``.ecsv`` or ``.fits``.
    columns : sequence of str, optional
        What the catalogue calls the columns of the weights, as ``"name=column"``, each once. Default: the same.
    missing : sequence of str, optional
        Columns of the weights that the catalogue does not have; they count as not observed.
    true_redshift : str, optional
        Column with spectroscopic redshifts to compare with; galaxies without one are left out of the comparison.
    pdf : bool, optional
        Whether to write the densities, too.
    coverage : float, optional
        Of the interval ``z_lower`` to ``z_upper``. Default: 0.68.
    plot : path-like, optional
        Picture of the comparison to write, ``.png``, ``.pdf``, ``.svg`` or ``.jpg``; needs ``true_redshift``.
    weights : str or path-like, optional
        Name of weights that come with the package, or a file that ``PhotoZRegressor.save`` wrote.
    overwrite : bool, optional
        Whether existing files may be replaced.
    quiet : bool, optional
        Show neither progress nor results.

    Returns
    -------
    SampleTable
        See `PhotoZRegressor.predict_pdf`; with the identifiers and positions of the catalogue, and the ends of the
        interval, ``z_lower`` and ``z_upper``. Redshifts are plain numbers here, because FITS has no unit for them; the
        densities are at ``meta["n_z"]`` even steps from ``meta["z_first"]`` to ``meta["z_last"]``.

    Raises
    ------
    OSError
        If a file cannot be read or written.
    ValueError
        If the contents of a file or an option cannot be used.
    """
    outputs = [(output, TABLES), (plot, PICTURES)]
    if plot is not None and true_redshift is None:
        raise ValueError("--plot compares with spectroscopic redshifts: name their column with --true-redshift")
    if not 0 < coverage < 1:
        raise ValueError(f"--coverage {coverage:g} must be between 0 and 1")
    check_outputs(outputs, overwrite=overwrite, inputs=(catalogue, *([weights] if Path(weights).is_file() else [])))
    if plot is not None:
        require_matplotlib()
    regressor = load_weights(PhotoZRegressor, weights, quiet)
    if regressor.table_format_ is None:
        raise ValueError(f"{weights} was trained on images or on arrays without names: use it in Python")
    say(f"reading {catalogue}", quiet)
    table = _read(catalogue)
    true = None if true_redshift is None else _true_redshifts(table, true_redshift)
    bands = _bands(table, regressor.table_format_["names"], columns or (), missing or (), catalogue, true_redshift)
    # densities on a grid are many numbers, and only needed to be written or scored
    result = regressor.predict_pdf(bands, None if pdf or true is not None else regressor.bounds_)
    result["z_lower"], result["z_upper"] = regressor.predict_interval(bands, coverage)
    summary = _summary(result, true, coverage)
    result = _for_files(result, pdf)
    kept = [name for name in dict.fromkeys((*_KEPT, true_redshift)) if name in table.colnames]
    for name in reversed(kept):
        result.add_column(table[name], name=name if name not in result.colnames else f"catalogue_{name}", index=0)
    result.meta |= {"input": str(catalogue), "weights": str(weights), "coverage": coverage}
    say("writing files", quiet)
    written = write_outputs([
        (output, lambda path: write_table(result, path)),
        (plot, lambda path: plot_redshifts(*_known(true, result["z_median"])).savefig(path, dpi=200)),
    ], overwrite=overwrite)
    if not quiet:
        print(summary, list_of(written), sep="\n")
    return result


def _read(path):
    try:
        return SampleTable(QTable.read(path))
    except IORegistryError as error:
        raise ValueError(f"{path} cannot be read as a table: neither its name (.ecsv, .fits, .csv, .vot) nor its "
                         "contents say of what kind it is") from error
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be read as a table ({' '.join(str(error).split())})") from error


def _bands(table, names, renamed, missing, path, true_redshift):
    """The columns of the weights, by their names there."""
    has = f"it has {', '.join(table.colnames)}"
    own, named = dict(zip(names, names, strict=True)), set()
    for text in renamed:
        name, _, column = text.partition("=")
        if name in named:
            raise ValueError(f"--columns {text}: {name} is named twice")
        named.add(name)
        if name not in own:
            raise ValueError(f"--columns {text}: the weights have no column {name!r}, but {', '.join(names)}")
        if column not in table.colnames:
            raise ValueError(f"--columns {text}: {path} has no column {column!r}; {has}")
        own[name] = column
    unknown = [name for name in missing if name not in own]
    if unknown:
        raise ValueError(f"--missing {unknown[0]}: the weights have no such column, but {', '.join(names)}")
    absent = [name for name in names if own[name] not in table.colnames and name not in missing]
    if absent:
        raise ValueError(f"{path} has no column {', '.join(absent)}: say with --columns what it is called there, or "
                         f"with --missing that there is none; {has}")
    present = [name for name in names if name not in missing]
    for name in present:
        same = [other for other in present if own[other] == own[name]]
        if len(same) > 1:
            raise ValueError(f"column {own[name]} would be {', '.join(same)} at once")
    taken = [name for name in names if own[name] == true_redshift and name not in missing]
    if taken:
        raise ValueError(f"column {true_redshift} cannot be the true redshift and the band {taken[0]}: say with "
                         f"--columns {taken[0]}=... which column holds the band")
    nothing = np.full(len(table), np.nan)
    return SampleTable({name: nothing if name in missing else table[own[name]] for name in names})


def _true_redshifts(table, name):
    """Numbers; NaN where there is none."""
    if name not in table.colnames:
        raise ValueError(f"--true-redshift {name}: the catalogue has no such column, but {', '.join(table.colnames)}")
    column = getattr(table[name], "unmasked", table[name])
    values = np.ma.asarray(getattr(column, "value", column))
    if values.dtype.kind not in "fiu":
        raise ValueError(f"--true-redshift {name}: this column does not hold numbers")
    values = values.astype(float).filled(np.nan)
    masked = np.asarray(getattr(table[name], "mask", False))
    values = np.where(masked | ~np.isfinite(values) | (values <= -1), np.nan, values)
    if np.isnan(values).all():
        raise ValueError(f"--true-redshift {name}: this column holds no redshift")
    return values


def _known(true, predicted):
    """Pairs of redshifts where both are there."""
    known = ~np.isnan(true)
    return true[known], np.asarray(getattr(predicted, "value", predicted))[known]


def _for_files(result, pdf):
    """The table without what files cannot say: the unit of redshifts, and a grid beside the columns."""
    grid = result.meta["z_grid"]
    meta = {key: value for key, value in result.meta.items() if key != "z_grid"}
    if pdf:
        first, last = np.asarray(getattr(grid, "value", grid))[[0, -1]].tolist()
        meta |= {"z_first": first, "z_last": last, "n_z": len(grid)}
    else:
        result.remove_column("pdf")
    plain = (cu.redshift, cu.redshift**-1)
    columns = {name: column.value if getattr(column, "unit", None) in plain else column
               for name, column in result.columns.items()}
    return SampleTable(columns, meta=meta)


def _summary(result, true, coverage):
    """Text on all galaxies."""
    z = np.asarray(getattr(result["z_median"], "value", result["z_median"]))
    lines = [f"{len(result)} galaxies: redshifts from {z.min():.3f} to {z.max():.3f}, median {np.median(z):.3f}"]
    n_novel = int(result["out_of_distribution"].sum())
    if n_novel:
        lines.append(f"{n_novel} are unlike the training galaxies (out_of_distribution): do not trust their redshifts")
    if true is not None:
        known = ~np.isnan(true)
        own, rows = true[known], result[known]
        inside = metrics.coverage(own, rows["z_lower"], rows["z_upper"])
        lines.append(
            f"against {known.sum()} true redshifts: sigma_MAD {metrics.sigma_mad(own, z[known]):.4f}, "
            f"bias {metrics.bias(own, z[known]):+.4f}, |dz| > 0.05 {metrics.outlier_fraction(own, z[known]):.2%}, "
            f"CRPS {metrics.crps(own, rows).mean():.4f}; "
            f"{inside:.1%} in the intervals for {coverage:.0%}"
        )
    return "\n".join(lines)
