"""The catalogue of a segmented image: where each source is, what it is, and how bright; and regions to draw it.

Fluxes are sums of light above the sky over segments, read in strips of rows. Their errors are those of sums of pixels
whose noise may be correlated, as drizzling and resampling leave it: it is measured on empty squares of the image.
"""

from datetime import UTC, datetime
from importlib.metadata import version

import astropy.units as u
import numpy as np
from astropy.stats import mad_std
from photutils.segmentation import SourceCatalog
from regions import EllipsePixelRegion, PixCoord, Regions

from astrolearn.core.tables import SampleTable

__all__ = ["make_catalogue", "make_regions"]

_DRAWN = 2.5  # semi-axes of the ellipses that are drawn, in units of the light's standard deviation
_FLOOR = 1e-6  # of the noise, that every pixel weighs beside its light: sources that have none count by their pixels
_ROWS = 512  # that are read at once
_BLOCK = 8  # pixels, side of the squares that tell how noise adds up
_FEWEST = 30  # such squares
_MOST = 2048  # pixels, side of the part of an image in which they are looked for


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
    flux, variance, given, background, area = (values[..., labels] for values in _sums(field, probability, segments))
    given = (given / np.maximum(given.sum(axis=0), np.finfo(float).tiny)).T
    unit = field.unit or u.dimensionless_unscaled
    shapes = _shapes(field, segments)
    x, y = shapes["x_centroid"], shapes["y_centroid"]
    columns = {"label": labels, "x_centroid": x, "y_centroid": y}
    if field.wcs is not None:
        columns["coord"] = field.wcs.pixel_to_world(x, y)
    columns["class"] = np.array(classes, dtype=str)[given.argmax(axis=-1)]
    columns |= {f"p_{name}": given[:, i] for i, name in enumerate(classes)}
    columns["p_source"] = 1 - background / np.maximum(area, 1)
    growth = _growth(field, segments) if len(labels) else np.ones(len(field))
    for i, band in enumerate(field.names):
        columns[f"flux_{band}"] = flux[i] * unit
        # squares of _BLOCK^2 pixels have the excess that was measured, single pixels none; between them borders count
        excess = (growth[i] - 1) * (1 - np.maximum(area, 1) ** -0.5) / (1 - 1 / _BLOCK)
        columns[f"flux_error_{band}"] = np.sqrt(variance[i] * (1 + excess)) * unit
    columns["area"] = area.astype(int) * u.pix**2
    columns |= {"semimajor": shapes["semimajor_axis"] * u.pix, "semiminor": shapes["semiminor_axis"] * u.pix,
                "orientation": shapes["orientation"] * u.deg}  # fmt: skip
    sky = ", ".join(f"{band} {level:.4g}" for band, level in zip(field.names, field.statistics[0], strict=True))
    meta = {
        "bands": ", ".join(field.names), "sky": sky, "astrolearn": version("astrolearn"),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    return SampleTable(columns, meta=meta)


def _sums(field, probability, segments):
    """Sums over all labels from 0 on: flux and variance of each band, weights of the classes, background, pixels."""
    n, n_bands, n_classes = segments.max_label + 1, len(field), len(probability) - 1
    flux, variance = np.zeros((n_bands, n)), np.zeros((n_bands, n))
    given, background, area = np.zeros((n_classes, n)), np.zeros(n), np.zeros(n)
    for first in range(0, field.shape[0], _ROWS):
        part = (slice(first, min(first + _ROWS, field.shape[0])), slice(None))
        inside = segments.data[part] > 0
        label = segments.data[part][inside]

        def add(total, values, label=label):
            total += np.bincount(label, values, n)

        light = np.nan_to_num(field.light(part)[:, inside])
        errors = np.broadcast_to(field.errors(part), (n_bands, *inside.shape))[:, inside].astype(float)
        errors = np.where(np.isfinite(errors), errors, 0)
        classes = np.nan_to_num(np.stack([np.asarray(plane[part])[inside] for plane in probability]), nan=0.0)
        # negative light would count against its class
        weight = np.maximum(light[0], 0) + np.maximum(_FLOOR * errors[0], np.finfo(float).tiny)
        for i in range(n_bands):
            add(flux[i], light[i])
            add(variance[i], errors[i] ** 2)
        for i in range(n_classes):
            add(given[i], weight * classes[i])
        add(background, classes[-1])
        add(area, np.ones(label.size))
    return flux, variance, given, background, area


def _growth(field, segments):
    """The variance of a sum over a square of empty pixels, in units of the sum of their variances, (n_bands,)."""
    part = tuple(slice(max(0, (n - _MOST) // 2), (n - _MOST) // 2 + _MOST if n > _MOST else n) for n in field.shape)
    light = field.light(part) / np.where(field.errors(part) > 0, field.errors(part), np.nan)
    light[:, segments.data[part] > 0] = np.nan
    height, width = (n - n % _BLOCK for n in light.shape[1:])
    blocks = light[:, :height, :width].reshape(len(field), height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    sums = blocks.sum(axis=(2, 4)).reshape(len(field), -1)
    sums = sums[:, np.isfinite(sums).all(axis=0)]
    if sums.shape[1] < _FEWEST:
        return np.ones(len(field))
    return np.maximum((mad_std(sums, axis=1) / _BLOCK) ** 2, 1)


def _shapes(field, segments):
    """Centroid (pixels), semi-axes (pixels) and orientation (deg) of the light; without any, of the pixels."""
    names = ("x_centroid", "y_centroid", "semimajor_axis", "semiminor_axis", "orientation")
    if not segments.n_labels:
        return dict.fromkeys(names, np.zeros(0))
    light = field.first()
    bright = SourceCatalog(np.nan_to_num(light), segments, mask=np.isnan(light))
    outlines = SourceCatalog(np.ones(light.shape, np.float32), segments)
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
