"""Pictures of classified images, after those of Morpheus: the class is the hue, its certainty the saturation.

Hausen & Robertson (2020, ApJS 248, 20) draw spheroids red, disks blue, irregulars green and point sources yellow, pale
where two classes are about as probable, and dark where there is background. The hues here are those of the same names
that the colour-blind can tell apart (Okabe & Ito 2008).
"""

import numpy as np

__all__ = ["MOST_CLASSES", "class_picture", "plot_classes"]

_HUES = ("#D55E00", "#0072B2", "#009E73", "#F0E442", "#CC79A7", "#56B4E9", "#E69F00")  # of the classes, in order
MOST_CLASSES = len(_HUES)
"""That a picture has colours for."""
_NOT_COVERED = 0.35  # grey
_SOFTENING, _STRETCH = 3.0, 30.0  # of asinh: noise that is linear, and what is white


def class_picture(probability):
    """
    Colours of the classes.

    Parameters
    ----------
    probability : array-like, (n_classes + 1, h, w)
        The background last, as of `MorphologySegmenter.predict_proba`; NaN where not covered.

    Returns
    -------
    picture : `numpy.ndarray`, float (h, w, 3)
        Red, green and blue, 0 to 1, y upwards. Hue is the most probable class, saturation the difference of the two
        highest probabilities, value the probability that it is not background; grey is not covered.
    """
    from matplotlib.colors import to_rgb

    probability = np.asarray(probability)
    if probability.ndim != 3 or not 2 <= len(probability) <= len(_HUES) + 1:
        raise ValueError(f"probability has the shape {probability.shape}; expected (n_classes + 1, h, w) with at most "
                         f"{len(_HUES)} classes")
    covered = ~np.isnan(probability[-1])
    given = np.where(covered, probability, 0)
    classes, value = given[:-1], 1 - given[-1]
    ranked = np.sort(classes, axis=0)
    second = ranked[-2] if len(classes) > 1 else 0
    saturation = np.clip(ranked[-1] - second, 0, 1)[..., None]
    hue = np.array([to_rgb(colour) for colour in _HUES])[classes.argmax(axis=0)]
    picture = (saturation * hue + 1 - saturation) * value[..., None]
    return np.where(covered[..., None], np.clip(picture, 0, 1), _NOT_COVERED)


def plot_classes(field, probability, catalogue, classes, figure=None):
    """
    Draw an image and what its pixels are, side by side.

    Parameters
    ----------
    field : BandImages
        The sum of the bands, each in units of its noise, is drawn.
    probability : `numpy.ndarray`, (n_classes + 1, h, w)
    catalogue : `~astropy.table.Table`
        See `MorphologySegmenter.catalog`; its sources are outlined.
    classes : sequence of str, (n_classes,)
    figure : `~matplotlib.figure.Figure`, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Ellipse, Patch

    if figure is None:
        height = 5.2 * np.clip(field.shape[0] / field.shape[1], 0.4, 2.5)
        figure = Figure(figsize=(10.4, height + 0.9), layout="constrained")
    on_sky = field.wcs is not None
    left, right = figure.subplots(1, 2, subplot_kw={"projection": field.wcs} if on_sky else {})
    light = np.mean([plane / max(sigma, 1e-30) for plane, sigma in zip(field.light(), field.statistics[1],
                                                                       strict=True)], axis=0)  # fmt: skip
    left.imshow(np.arcsinh(light / _SOFTENING), origin="lower", cmap="gray_r", interpolation="none",
                vmin=np.arcsinh(-2 / _SOFTENING), vmax=np.arcsinh(_STRETCH / _SOFTENING))
    left.set_title(f"mean of {', '.join(field.names)} over noise", fontsize="medium")
    right.imshow(class_picture(probability), origin="lower", interpolation="none")
    right.set_title("class (hue), certainty (saturation)", fontsize="medium")
    for row in catalogue:
        axes = (5 * max(float(row[name].value), 0.5) for name in ("semimajor", "semiminor"))
        colour = _HUES[list(classes).index(row["class"])]
        left.add_patch(Ellipse((row["x_centroid"], row["y_centroid"]), *axes, angle=float(row["orientation"].value),
                               fill=False, ec=colour, lw=1))
    for axes in (left, right):
        if on_sky:
            axes.coords[0].set_axislabel("right ascension" if _is_equatorial(field.wcs) else "longitude")
            axes.coords[1].set_axislabel("declination" if _is_equatorial(field.wcs) else "latitude")
        else:
            axes.set(xlabel="x (pixels)", ylabel="y (pixels)")
    if on_sky:
        right.coords[1].set_axislabel(" ")
        right.coords[1].set_ticklabel_visible(False)
    patches = [Patch(fc=colour, ec="black", lw=0.5, label=name.replace("_", " "))
               for name, colour in zip(classes, _HUES, strict=False)]
    patches += [Patch(fc="black", label="background"), Patch(fc=str(_NOT_COVERED), label="not covered")]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False, fontsize="small")
    return figure


def _is_equatorial(wcs):
    return str(wcs.wcs.ctype[0]).startswith("RA")
