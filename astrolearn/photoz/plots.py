"""Pictures of photometric redshifts: against the true ones, and whether their densities are right."""

import numpy as np

from astrolearn.photoz.metrics import bias, normalised_error, outlier_fraction, pit, sigma_mad

__all__ = ["plot_pit", "plot_redshifts"]


def plot_redshifts(z_true, z_predicted, *, threshold=0.05, figure=None):
    """
    Predicted against true redshifts, and below it the error over the true redshift.

    Parameters
    ----------
    z_true, z_predicted : array-like or `~astropy.units.Quantity`, (n,)
    threshold : float, optional
        Of ``abs(dz)`` for an outlier, drawn as dashed lines. Default: 0.05.
    figure : `~matplotlib.figure.Figure`, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
    """
    from matplotlib.ticker import LogLocator

    error = normalised_error(z_true, z_predicted)
    true, predicted = (np.asarray(getattr(z, "value", z), dtype=float) for z in (z_true, z_predicted))
    figure = figure or _new_figure((5.5, 6.5))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    low, high = min(true.min(), predicted.min()), max(true.max(), predicted.max())
    low, high = (low, high) if low < high else (low - threshold, high + threshold)
    line = np.linspace(low, high, 100)
    density = upper.hexbin(true, predicted, gridsize=70, bins="log", mincnt=1, cmap="viridis", linewidths=0.1)
    bar = figure.colorbar(density, ax=[upper, lower], label="galaxies", aspect=40)
    bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    bar.ax.yaxis.set_major_formatter("{x:g}")
    bar.ax.yaxis.set_minor_formatter("")
    upper.plot(line, line, color="0.2", lw=1)
    reach = max(3 * threshold, 1e-6)
    lower.hexbin(true, error, gridsize=(70, 12), bins="log", mincnt=1, cmap="viridis", linewidths=0.1,
                 extent=(low, high, -reach, reach))
    lower.axhline(0, color="0.2", lw=1)
    for sign in (-1, 1):
        upper.plot(line, line + sign * threshold * (1 + line), color="#D55E00", ls="--", lw=1)
        lower.axhline(sign * threshold, color="#D55E00", ls="--", lw=1)
    bins = np.quantile(true, np.linspace(0, 1, 11))
    which = np.clip(np.searchsorted(bins, true, side="right") - 1, 0, 9)
    middle = [(np.median(true[which == k]), np.median(error[which == k])) for k in range(10) if (which == k).any()]
    lower.plot(*zip(*middle, strict=True), color="#D55E00", marker="o", ms=3, lw=1, label="median")
    lower.legend(loc="upper right", fontsize="small", frameon=False)
    numbers = (f"$\\sigma_{{MAD}}$ = {sigma_mad(true, predicted):.4f}", f"bias = {bias(true, predicted):+.4f}",
               f"|dz| > {threshold:g}: {outlier_fraction(true, predicted, threshold):.2%}")
    upper.set(ylabel="photometric redshift", xlim=(low, high), ylim=(low, high))
    upper.set_title(f"{len(true)} galaxies\n{', '.join(numbers)}", fontsize="medium")
    lower.set(xlabel="spectroscopic redshift", ylabel="dz = error / (1 + z)", ylim=(-reach, reach))
    return figure


def plot_pit(z_true, pdf, z_grid=None, *, figure=None):
    """
    Histogram of the probability integral transform, which is flat where densities are right.

    A hill says that they are too wide, a valley that they are too narrow, a slope that they are biased.

    Parameters
    ----------
    z_true, pdf, z_grid
        See `astrolearn.photoz.metrics.pit`.
    figure : `~matplotlib.figure.Figure`, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
    """
    values = pit(z_true, pdf, z_grid)
    figure = figure or _new_figure((5.5, 3.8))
    axes = figure.subplots()
    n_bins = int(np.clip(len(values) // 50, 5, 20))
    expected = len(values) / n_bins
    spread = np.sqrt(expected * (1 - 1 / n_bins))
    axes.axhspan(expected - 2 * spread, expected + 2 * spread, color="0.85", label="2 standard deviations")
    axes.hist(values, bins=n_bins, range=(0, 1), histtype="step", color="#0072B2", lw=1.5)
    axes.axhline(expected, color="0.3", lw=1)
    axes.set(xlabel="probability below the spectroscopic redshift", ylabel="galaxies", xlim=(0, 1), ylim=(0, None))
    axes.legend(loc="lower right", fontsize="small", frameon=False)
    return figure


def _new_figure(size):
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")
