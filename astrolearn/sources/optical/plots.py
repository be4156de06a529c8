"""A picture of an optical image with its stars marked."""

import numpy as np
from astropy.nddata import NDData

from astrolearn.sky import match

__all__ = ["plot_stars"]

_FOUND, _MISSED, _FALSE = "#E69F00", "#56B4E9", "#CC79A7"  # Okabe and Ito's: the colour-blind can tell them apart
_LARGEST = 12.0  # inches


def plot_stars(image, catalogue, *, sources=None, radius=1.0, title=None, figure=None):
    """
    Draw an image with circles around the stars of a catalogue.

    Parameters
    ----------
    image : `~astropy.nddata.NDData`
        With two axes.
    catalogue : `~astropy.table.Table`
        With ``x_centroid`` and ``y_centroid``; ``meta["fwhm"]`` says how large the circles are.
    sources : `~astropy.table.Table`, optional
        True sources with the same columns: detections that are none, and sources that were missed, are then marked by
        squares and crosses.
    radius : float, optional
        Within which a detection is true, in pixels.
    title : str, optional
        Above the picture.
    figure : `~matplotlib.figure.Figure`, optional
        What to draw on, such as ``plt.figure()``. Default: a new one, which needs no display.

    Returns
    -------
    `~matplotlib.figure.Figure`

    Raises
    ------
    TypeError
        If ``image`` is no NDData.
    """
    if not isinstance(image, NDData):
        raise TypeError(f"image must be an NDData or CCDData, not {type(image).__name__}")
    data = np.asarray(image.data, dtype=float)
    seen = np.isfinite(data) & (True if image.mask is None else ~np.asarray(image.mask, bool))
    level, high = np.percentile(data[seen], [50, 99.9]) if seen.any() else (0.0, 1.0)
    scatter = 1.4826 * np.median(np.abs(data[seen] - level)) if seen.any() else 1.0
    scatter = scatter or 1.0
    height, width = data.shape
    scale = _LARGEST / max(width, height)
    if figure is None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(max(width * scale, 5) + 1, max(height * scale, 4) + 1), layout="constrained")
    axes = figure.add_subplot()
    shown = np.arcsinh((np.where(seen, data, np.nan) - level) / scatter)
    axes.set_facecolor("#404040")  # what was not seen
    axes.imshow(shown, origin="lower", cmap="gray", interpolation="nearest", vmin=-2,
                vmax=max(np.arcsinh((high - level) / scatter), 2))
    size = 2.0 * catalogue.meta.get("fwhm", 3.0)
    if sources is None:
        _circles(axes, catalogue, size, _FOUND, f"{len(catalogue)} stars")
    else:
        result = match(catalogue["x_centroid", "y_centroid"], sources["x_centroid", "y_centroid"], radius, n_shifts=2)
        _circles(axes, catalogue[result.matched], size, _FOUND, f"{result.matched.sum()} found")
        missed, false = sources[~result.found], catalogue[~result.matched]
        for table, marker, colour, label in ((missed, "s", _MISSED, "missed"), (false, "x", _FALSE, "false")):
            fill = {"color": colour} if marker == "x" else {"facecolors": "none", "edgecolors": colour}
            axes.scatter(table["x_centroid"], table["y_centroid"], marker=marker, s=40, linewidths=1.0,
                         label=f"{len(table)} {label}", **fill)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(-0.5, height - 0.5), xlabel="x [pixels]", ylabel="y [pixels]", title=title)
    axes.legend(loc="upper right", labelcolor="white", facecolor="#202020", framealpha=0.8)
    return figure


def _circles(axes, table, size, colour, label):
    """Circles of a diameter in pixels, and their line in the legend."""
    from matplotlib.collections import EllipseCollection

    places = np.column_stack([table["x_centroid"], table["y_centroid"]])
    sizes = np.full(len(places), size)
    axes.add_collection(EllipseCollection(sizes, sizes, np.zeros(len(places)), units="xy", offsets=places,
                                          offset_transform=axes.transData, facecolors="none", edgecolors=colour,
                                          linewidths=0.8))
    axes.scatter([], [], marker="o", facecolors="none", edgecolors=colour, label=label)
