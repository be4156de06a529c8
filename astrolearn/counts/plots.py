"""
Pictures of source counts: what an image said, what was believed before, and what others have published.

Counts are drawn in the Euclidean normalisation, over which they are nearly flat. What the image did not measure looks
different from what it did, in colour and in grey: open symbols and hatched bands.
"""

import astropy.units as u
import numpy as np

from astrolearn.core.inputs import as_quantity, to_float
from astrolearn.counts.models import DENSITY, EUCLIDEAN, ReferenceCounts, require_one_sky

__all__ = ["plot_counts"]

_BLUE, _VERMILION = "#0072B2", "#D55E00"  # Okabe & Ito
_DETECTED = 5  # times the noise


def plot_counts(
    table, *, published=None, published_frequency=None, spectral_index=-0.7, reference=None, true=None, figure=None
):
    """
    Draw Euclidean source counts S^2.5 n(S).

    Parameters
    ----------
    table : `~astropy.table.QTable`, (n_bins,)
        Counts of one sky as of `SourceCountRegressor.predict_counts` or `fluctuation_analysis`: ``S_lo``, ``S_mid``,
        ``S_hi`` (Jy), ``n``, ``n_q16``, ``n_q84`` (1/(Jy sr)), ``prior_width`` (dex) and ``prior_driven``; ``meta`` may
        have ``frequency``, ``area`` and ``noise``.
    published : `~astropy.table.Table`, optional
        Points as of `read_counts`: ``S``, ``n`` and optionally ``n_error_up`` and ``n_error_down``.
    published_frequency : `~astropy.units.Quantity`, str or float, optional
        Of the published points, which are scaled to that of the table; plain numbers are in GHz. Default: the same.
    spectral_index : float, optional
        With which they are scaled. Default: -0.7.
    reference, true : callable or `~astropy.units.Quantity` (n_bins,), optional
        Counts in the middle of the prior, and the true ones of a simulated sky: 1/(Jy sr) at ``S_mid``, or a function
        of flux, such as a `CountModel`. Default of the former: `ReferenceCounts` at the frequency of the table.
    figure : `~matplotlib.figure.Figure`, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`

    Raises
    ------
    ValueError
        If a column is missing, there is more than one sky, or a frequency is needed that the table does not have.
    """
    names = ("S_lo", "S_mid", "S_hi", "n", "n_q16", "n_q84", "prior_width", "prior_driven")
    missing = [name for name in names if name not in table.colnames]
    if missing:
        raise ValueError(f"the table has no column {', '.join(missing)}; it has {', '.join(table.colnames)}")
    require_one_sky(table)
    flux = to_float(table["S_mid"], u.Jy, "S_mid", dtype=np.float64)
    ends = [to_float(table[name], u.Jy, name, dtype=np.float64) for name in ("S_lo", "S_hi")]
    n, low, high = (to_float(table[name], DENSITY, name, dtype=np.float64) * flux**2.5 for name in names[3:6])
    width = to_float(table["prior_width"], None, "prior_width", dtype=np.float64)
    driven = np.asarray(table["prior_driven"], dtype=bool)
    frequency = table.meta.get("frequency")
    if reference is None:
        reference = ReferenceCounts(frequency=_known(frequency))
    figure = _new_figure() if figure is None else figure
    axes = figure.subplots()
    axes.set(xscale="log", yscale="log", xlabel="flux density S (Jy)",
             ylabel=r"$S^{2.5}\,n(S)$  (Jy$^{1.5}$ sr$^{-1}$)", xlim=(ends[0].min(), ends[1].max()))
    middle = _euclidean(reference, flux)
    axes.fill_between(flux, middle * 10**-width, middle * 10**width, color="0.88", lw=0, label="prior, 68 %")
    axes.plot(flux, middle, color="0.55", lw=1, ls="--", label="middle of the prior")
    _draw_band(axes, flux, low, high, driven)
    _draw_bins(axes, flux, ends, n, low, high, driven)
    if published is not None:
        scale = 1.0
        if published_frequency is not None:
            own = as_quantity(published_frequency, u.GHz, "published_frequency")
            scale = float((_known(frequency) / own).to_value(u.one)) ** spectral_index
        _draw_published(axes, published, scale)
    if true is not None:
        line = np.geomspace(flux[0], flux[-1], 200) if callable(true) else flux
        axes.plot(line, _euclidean(true, line), color="black", lw=1.5, label="truth", zorder=4)
    _draw_threshold(axes, table.meta.get("noise"))
    drawn = np.concatenate([middle * 10**-width, middle * 10**width, low, high])
    axes.set_ylim(drawn.min() / 1.5, drawn.max() * 1.5)
    axes.set_title(_title(table.meta), fontsize="medium")
    axes.legend(loc="upper left", fontsize="small", frameon=False)
    return figure


def _draw_band(axes, flux, low, high, driven):
    """Counts go straight between the bins; a stretch is measured where both of its ends are."""
    measured = ~driven[1:] & ~driven[:-1]
    styles = {True: {"color": _BLUE, "alpha": 0.35, "lw": 0},
              False: {"facecolor": "none", "edgecolor": _BLUE, "alpha": 0.45, "lw": 0, "hatch": "////"}}
    for is_measured, style in styles.items():
        for start in np.flatnonzero(measured == is_measured):
            part = slice(start, start + 2)
            axes.fill_between(flux[part], low[part], high[part], zorder=2, **style)


def _draw_bins(axes, flux, ends, n, low, high, driven):
    for which, face, label in ((~driven, _BLUE, "measured, 68 %"), (driven, "white", "driven by the prior, 68 %")):
        if which.any():
            x = flux[which] - ends[0][which], ends[1][which] - flux[which]
            y = n[which] - low[which], high[which] - n[which]
            axes.errorbar(flux[which], n[which], xerr=x, yerr=np.maximum(y, 0), fmt="o", color=_BLUE, mfc=face, ms=5,
                          lw=1, zorder=3, label=label)


def _draw_published(axes, published, scale):
    """Points whose flux densities are scaled; numbers of sources are conserved, so n goes as 1 / scale."""
    flux = to_float(published["S"], u.Jy, "S", dtype=np.float64) * scale
    to_euclidean = flux**2.5 / scale
    n = to_float(published["n"], DENSITY, "n", missing="keep", dtype=np.float64) * to_euclidean
    errors = [
        np.nan_to_num(to_float(published[name], DENSITY, name, missing="keep", dtype=np.float64)) * to_euclidean
        for name in ("n_error_down", "n_error_up") if name in published.colnames
    ]  # fmt: skip
    axes.errorbar(flux, n, yerr=errors if len(errors) == 2 else None, fmt="D", color=_VERMILION, mfc="none", ms=3,
                  lw=0.7, mew=0.7, zorder=1.5, label="published")


def _draw_threshold(axes, noise):
    if noise is None or np.size(noise) != 1:
        return
    threshold = _DETECTED * u.Quantity(noise, u.Jy / u.beam).value.item()
    if threshold > 0:
        axes.axvline(threshold, color="0.4", lw=1, ls=":")
        axes.annotate(f"{_DETECTED} times the noise", (threshold, 0.02), xycoords=("data", "axes fraction"),
                      xytext=(3, 0), textcoords="offset points", fontsize="small", color="0.3")


def _euclidean(counts, flux):
    """Plain S^2.5 n of a model or of an array, in `EUCLIDEAN`."""
    n = as_quantity(counts(flux * u.Jy) if callable(counts) else counts, DENSITY, "the counts")
    if n.shape != flux.shape:
        raise ValueError(f"counts have the shape {n.shape}; expected {flux.shape}")
    return (n * (flux * u.Jy) ** 2.5).to_value(EUCLIDEAN)


def _known(frequency):
    if frequency is None:
        raise ValueError("meta['frequency'] of the table is needed, or pass reference=... and no published_frequency")
    return as_quantity(frequency, u.GHz, "frequency")


def _title(meta):
    parts = (("frequency", u.MHz, "MHz"), ("area", u.deg**2, "deg$^2$"), ("noise", u.uJy / u.beam, "µJy/beam"))
    known = [(u.Quantity(meta[name], unit).value, text) for name, unit, text in parts if meta.get(name) is not None]
    return ", ".join(f"{value.item():.4g} {text}" for value, text in known if value.size == 1 and value > 0)


def _new_figure():
    from matplotlib.figure import Figure

    return Figure(figsize=(6.5, 5), layout="constrained")
