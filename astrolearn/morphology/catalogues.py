"""The catalogue of a segmented image: where each source is, what it is, and how bright; and regions to draw it."""

from datetime import UTC, datetime
from importlib.metadata import version

import astropy.units as u
import numpy as np
from photutils.segmentation import SourceCatalog
from regions import EllipsePixelRegion, PixCoord, Regions
from scipy import ndimage

from astrolearn.core.tables import SampleTable

__all__ = ["make_catalogue", "make_regions"]

_DRAWN = 2.5  # semi-axes of the ellipses that are drawn, in units of the light's standard deviation
_FLOOR = 1e-6  # of the noise, that every pixel weighs beside its light: sources that have none count by their pixels


def make_catalogue(field, probability, segments, classes):
    """
    Measure the sources of an image.

    Parameters
    ----------
    field : BandImages
    probability : `numpy.ndarray`, (n_classes + 1, h, w)
        The background last; NaN where not covered.
    segments : `~photutils.segmentation.SegmentationImage`
    classes : sequence of str, (n_classes,)

    Returns
    -------
    catalogue : SampleTable
        See `MorphologySegmenter.catalog`.
    """
    labels = np.asarray(segments.labels, int)
    light, errors = field.read(), np.broadcast_to(field.errors(), (len(field), *field.shape))
    errors = np.where(np.isfinite(errors), errors, 0).astype(float)
    unit = field.unit or u.dimensionless_unscaled

    def total(values):
        return np.atleast_1d(ndimage.sum_labels(values, segments.data, labels)) if len(labels) else np.zeros(0)

    # negative light would count against its class
    weight = np.where(light[0] > 0, light[0], 0) + _FLOOR * errors[0]
    given = np.stack([total(weight * np.nan_to_num(plane)) for plane in probability[:-1]], axis=-1)
    given /= np.maximum(given.sum(axis=-1, keepdims=True), np.finfo(float).tiny)
    n_pixels = total(np.ones(field.shape))
    shapes = _shapes(light[0], segments)
    x, y = shapes["x_centroid"], shapes["y_centroid"]
    columns = {"label": labels, "x_centroid": x, "y_centroid": y}
    if field.wcs is not None:
        columns["coord"] = field.wcs.pixel_to_world(x, y)
    columns["class"] = np.array(classes, dtype=str)[given.argmax(axis=-1)]
    columns |= {f"p_{name}": given[:, i] for i, name in enumerate(classes)}
    columns["p_source"] = 1 - total(np.nan_to_num(probability[-1], nan=1.0)) / np.maximum(n_pixels, 1)
    for i, band in enumerate(field.names):
        columns[f"flux_{band}"] = total(np.nan_to_num(light[i])) * unit
        columns[f"flux_error_{band}"] = np.sqrt(total(errors[i] ** 2)) * unit
    columns["area"] = n_pixels.astype(int) * u.pix**2
    columns |= {"semimajor": shapes["semimajor_axis"] * u.pix, "semiminor": shapes["semiminor_axis"] * u.pix,
                "orientation": shapes["orientation"] * u.deg}
    meta = {
        "bands": ", ".join(field.names), "astrolearn": version("astrolearn"),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    return SampleTable(columns, meta=meta)


def _shapes(light, segments):
    """Centroid (pixels), semi-axes (pixels) and orientation (deg) of the light; without any, of the pixels."""
    names = ("x_centroid", "y_centroid", "semimajor_axis", "semiminor_axis", "orientation")
    if not segments.n_labels:
        return dict.fromkeys(names, np.zeros(0))
    bright = SourceCatalog(np.nan_to_num(light), segments, mask=np.isnan(light))
    outlines = SourceCatalog(np.ones(light.shape), segments)
    pairs = [[np.atleast_1d(u.Quantity(getattr(found, name)).value) for found in (bright, outlines)] for name in names]
    usable = np.all([np.isfinite(own) for own, _ in pairs], axis=0)
    return {name: np.where(usable, own, other) for name, (own, other) in zip(names, pairs, strict=True)}


def make_regions(catalogue, wcs=None):
    """
    Turn a catalogue into ellipses.

    Parameters
    ----------
    catalogue : `~astropy.table.Table`
        See `MorphologySegmenter.catalog`.
    wcs : `~astropy.wcs.WCS`, optional
        Of the image. Default: the ellipses are in pixels.

    Returns
    -------
    regions : `~regions.Regions`
        In the order of the catalogue; semi-axes are 2.5 standard deviations of the light. The class is the label.
    """
    ellipses = []
    for row in catalogue:
        width, height = (2 * _DRAWN * max(float(row[name].value), 0.5) for name in ("semimajor", "semiminor"))
        ellipse = EllipsePixelRegion(PixCoord(float(row["x_centroid"]), float(row["y_centroid"])), width, height,
                                     row["orientation"])  # fmt: skip
        ellipse = ellipse if wcs is None else ellipse.to_sky(wcs)
        ellipse.meta["text"] = ellipse.meta["label"] = str(row["class"])
        ellipses.append(ellipse)
    return Regions(ellipses)
