"""Images of one field in several bands: by name, on one grid, in one unit, read part by part.

Which image is which band decides every answer and shows in none, so that bands go by name. Their pixels must be the
same pieces of sky. Nothing here copies an image: a mosaic may be a memory map, and what is asked for of it becomes
float32, with NaN where any band is masked or not finite.
"""

import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.nddata import NDData, StdDevUncertainty
from astropy.utils.exceptions import AstropyUserWarning
from astropy.utils.masked import Masked
from astropy.wcs import WCS
from scipy.ndimage import gaussian_filter1d

from astrolearn.sky.fits_tools import open_fits
from astrolearn.sky.image_io import image_from_hdus, without_stray_sip

__all__ = ["BandImages", "read_bands", "read_many"]

_KEYWORDS = ("FILTER", "FILTER1", "FILTER2", "FILTNAM1", "BAND", "FILTNAM")  # of headers that name a band
_SHIFT = 0.1  # pixels by which bands may differ in what part of the sky they show
_ALL = (slice(None), slice(None))
_SQUARE = 64  # pixels, in which the noise is about the same
_SAMPLE = 1_000_000  # pixels that tell the noise of an image
_HALF_NORMAL = 0.6745  # median of the absolute value of a standard normal deviate
_ROUNDS, _BINS, _KERNEL = 6, 20, 0.5  # of finding the densest value: bins per noise, smoothing in units of the noise


@dataclass
class BandImages:
    """
    Images of one field, as `read_bands` reads them.

    Parameters
    ----------
    names : tuple of str, (n_bands,)
        Of the bands.
    unit : `~astropy.units.Unit` or None
        Of all bands.
    wcs : `~astropy.wcs.WCS` or None
        Celestial.
    shape : tuple of int
        Height and width.
    data : list of array, (h, w)
        As they were given.
    factors : list of float
        From the unit of each image to ``unit``.
    masks : list of array of bool, (h, w), or None
        True where a pixel is not to be used.
    sigmas : list of array, (h, w), or None
        Standard deviations, in the unit of each image.
    """

    names: tuple
    unit: u.UnitBase | None
    wcs: WCS | None
    shape: tuple
    data: list
    factors: list
    masks: list
    sigmas: list

    def __post_init__(self):
        self._statistics = None

    def __len__(self):
        return len(self.names)

    def read(self, part=_ALL):
        """
        Brightness of a part.

        Parameters
        ----------
        part : tuple of two slices, optional
            Default: everything.

        Returns
        -------
        values : `numpy.ndarray`, float32 (n_bands, h, w)
            In ``unit``; NaN in all bands where one of them is not known.
        """
        values = np.stack([self._plane(i, part) for i in range(len(self))])
        values[:, np.isnan(values).any(axis=0)] = np.nan
        return values

    def errors(self, part=_ALL):
        """
        Standard deviation of every pixel of a part: the image's uncertainty, or that of the sky where it has none.

        Parameters
        ----------
        part : tuple of two slices, optional
            Default: everything.

        Returns
        -------
        errors : `numpy.ndarray`, float32 (n_bands, h, w) or (n_bands, 1, 1)
            In ``unit``.
        """
        planes = [np.full((1, 1), self.statistics[1][i]) if sigma is None else np.asarray(sigma[part]) * self.factors[i]
                  for i, sigma in enumerate(self.sigmas)]
        return np.stack(np.broadcast_arrays(*planes)).astype(np.float32)

    def noise(self, part=_ALL):
        """
        Standard deviation of the sky's noise around every pixel of a part.

        Of an image with an uncertainty: its lower quartile in squares of 64 pixels, above which are sources, whose own
        noise may be part of it. Else that of the whole image.

        Parameters
        ----------
        part : tuple of two slices, optional
            Default: everything.

        Returns
        -------
        noise : `numpy.ndarray`, float32 (n_bands, h, w) or (n_bands, 1, 1)
            In ``unit``.
        """
        planes = []
        for i, sigma in enumerate(self.sigmas):
            if sigma is None:
                planes.append(np.full((1, 1), self.statistics[1][i]))
                continue
            (top, bottom), (left, right) = (axis.indices(n)[:2] for axis, n in zip(part, self.shape, strict=True))
            rows, columns = (range(first // _SQUARE, -(-last // _SQUARE)) for first, last in
                             ((top, bottom), (left, right)))
            squares = np.array([[self._quartile(i, row, column) for column in columns] for row in rows])
            plane = squares.repeat(_SQUARE, axis=0).repeat(_SQUARE, axis=1)
            y, x = rows[0] * _SQUARE, columns[0] * _SQUARE
            planes.append(plane[top - y : bottom - y, left - x : right - x])
        return np.stack(np.broadcast_arrays(*planes)).astype(np.float32)

    def _quartile(self, band, row, column):
        """Lower quartile of the uncertainty in a square of the image; 1 where nothing is known, nor observed."""
        part = tuple(slice(i * _SQUARE, (i + 1) * _SQUARE) for i in (row, column))
        sigma = np.asarray(self.sigmas[band][part], float)
        sigma = sigma[(sigma > 0) & np.isfinite(sigma)]
        return np.quantile(sigma, 0.25) * self.factors[band] if sigma.size else 1.0

    @property
    def statistics(self):
        """
        Level and noise of the sky in each band, two lists of float.

        Of at most a million pixels on a regular grid.
        """
        if self._statistics is None:
            step = max(1, int(np.ceil(np.sqrt(self.shape[0] * self.shape[1] / _SAMPLE))))
            grid = (slice(None, None, step), slice(None, None, step))
            self._statistics = tuple(zip(*map(_sky, self.read(grid), self.names), strict=True))
        return self._statistics

    def _plane(self, i, part):
        values = np.asarray(self.data[i][part]).astype(np.float32)
        if self.factors[i] != 1:
            values *= np.float32(self.factors[i])
        values[~np.isfinite(values)] = np.nan
        if self.masks[i] is not None:
            values[np.asarray(self.masks[i][part])] = np.nan
        if self.sigmas[i] is not None:
            sigma = np.asarray(self.sigmas[i][part])
            values[~((sigma > 0) & np.isfinite(sigma))] = np.nan
        return values


def read_many(images, bands):
    """
    Read one field or several.

    Parameters
    ----------
    images : BandImages, as for `read_bands`, or a list or array (n, n_bands, h, w) of these
    bands : sequence of str

    Returns
    -------
    fields : list of BandImages
    single : bool
        Whether it was one field, and no list.
    """
    if isinstance(images, BandImages):
        return [images], True
    if len(bands) > 1 and isinstance(images, list | tuple) and images and _is_field(images[0]):
        return [read_bands(field, bands, f"images[{i}]") for i, field in enumerate(images)], False
    if len(bands) == 1 and isinstance(images, list | tuple):
        fields = [field if _is_field(field) else [field] for field in images]
        return [read_bands(field, bands, f"images[{i}]") for i, field in enumerate(fields)], False
    if not isinstance(images, Mapping | list | tuple | NDData) and np.ndim(images) == 4:
        if len(images) == 0:
            raise ValueError(f"images is empty (shape {np.shape(images)})")
        return [read_bands(images[i], bands, f"images[{i}]") for i in range(len(images))], False
    return [read_bands(images, bands)], True


def read_bands(images, bands, name="images"):
    """
    Read the images of one field.

    Parameters
    ----------
    images : dict, list, `~astropy.nddata.NDData`, `~astropy.units.Quantity` or array-like
        A dict of images by the names of the bands, in any order; a list of images in the order of ``bands``; an array
        (n_bands, h, w); or, of a single band, one image. Images are arrays, `~astropy.units.Quantity`, masked arrays,
        `~astropy.nddata.NDData` or paths of FITS files. What a header says of the filter (``FILTER`` and the like) is
        compared: in a list it must be the band's name, in a dict it must not be that of another band.
    bands : sequence of str
        Names of the bands.
    name : str, optional
        What the images are called in error messages.

    Returns
    -------
    field : BandImages

    Raises
    ------
    astropy.units.UnitConversionError
        If the units of two bands do not convert to each other.
    ValueError
        If bands are missing, unknown or in another order, or if they differ in shape or in their WCS.

    Warns
    -----
    `~astropy.utils.exceptions.AstropyUserWarning`
        If a WCS has distortion terms that its projection does not announce; they are ignored.
    """
    parts = [_Part(image, band, f"{name}[{band!r}]") for band, image in _by_band(images, bands, name)]
    shapes = {part.data.shape for part in parts}
    for part in parts:
        if part.data.ndim != 2 or 0 in part.data.shape:
            what = "is empty" if 0 in part.data.shape else "is not an image (h, w)"
            raise ValueError(f"{part.name} {what}: it has the shape {part.data.shape}")
    if len(shapes) > 1:
        listed = ", ".join(f"{part.band} {part.data.shape}" for part in parts)
        raise ValueError(f"the bands of {name} differ in shape: {listed}")
    unit = next((part.unit for part in parts if part.unit is not None), None)
    factors = [part.factor(unit) for part in parts]
    return BandImages(
        tuple(bands), unit, _common_wcs(parts, name), parts[0].data.shape, [part.data for part in parts], factors,
        [part.mask for part in parts], [part.sigma for part in parts],
    )  # fmt: skip


class _Part:
    """One image: data, mask and uncertainty as they are, not copied."""

    def __init__(self, image, band, name):
        self.band, self.name = band, name
        self.mask = self.sigma = self.wcs = None
        self.unit = getattr(image, "unit", None)
        if isinstance(image, NDData):
            self.mask, self.wcs, self.unit = image.mask, image.wcs, image.unit
            self.sigma = _sigma(image, name)
            image = image.data
        elif isinstance(image, Masked):
            self.mask, image = image.mask, image.unmasked
        elif isinstance(image, np.ma.MaskedArray):
            self.mask, image = np.ma.getmaskarray(image), np.ma.getdata(image)
        if isinstance(image, u.Quantity):
            image = image.value
        self.data = np.asarray(image)
        if self.data.dtype.kind not in "biuf":
            raise ValueError(f"{name} must be an image of real numbers, not of type {self.data.dtype}")
        if self.mask is not None:
            self.mask = np.broadcast_to(np.asarray(self.mask, bool), self.data.shape)
        if self.unit == u.dimensionless_unscaled:
            self.unit = None

    def factor(self, unit):
        if self.unit is None or unit is None:
            return 1.0
        try:
            return self.unit.to(unit)
        except u.UnitConversionError as error:
            raise u.UnitConversionError(
                f"{self.name} has the unit '{self.unit}', which does not convert to '{unit}' of the other bands"
            ) from error


def _sigma(image, name):
    if image.uncertainty is None:
        return None
    try:
        sigma = image.uncertainty.represent_as(StdDevUncertainty)
    except (AttributeError, TypeError, ValueError, u.UnitsError) as error:
        raise ValueError(f"the uncertainty of {name} is not a standard deviation, variance or inverse "
                         f"variance ({error})") from error
    values = sigma.array if sigma.unit is None or image.unit is None else sigma.quantity.to_value(image.unit)
    return np.broadcast_to(np.asarray(values), image.data.shape)


def _opened(image):
    """The image of a file; anything else as it is."""
    if not isinstance(image, str | os.PathLike):
        return image
    with open_fits(image) as hdus:
        has_unit = any(str(hdu.header.get("BUNIT", "")).strip() for hdu in hdus)
        return image_from_hdus(hdus, unit=None if has_unit else u.dimensionless_unscaled)


def _is_field(images):
    """Whether something is the images of all bands, and not one image."""
    if isinstance(images, Mapping | list | tuple):
        return True
    return not isinstance(images, NDData | str | os.PathLike) and np.ndim(images) == 3


def _by_band(images, bands, name):
    """Pairs of band and image, in the order of ``bands``."""
    if isinstance(images, Mapping):
        missing, unknown = [band for band in bands if band not in images], [key for key in images if key not in bands]
        if missing or unknown:
            what = f"lacks the band(s) {', '.join(missing)}" if missing else f"has the unknown band(s) {unknown}"
            raise ValueError(f"{name} {what}: it must have {', '.join(bands)}")
        pairs = [(band, _opened(images[band])) for band in bands]
        for band, image in pairs:
            others = {_plain(other) for other in bands if other != band}
            stated = [text for text in _stated_band(image) if _plain(text) in others]
            if stated:
                raise ValueError(f"{name}[{band!r}] states to be {stated[0]}")
        return pairs
    single = len(bands) == 1 and (isinstance(images, NDData | str | os.PathLike) or
                                  (not isinstance(images, list | tuple) and np.ndim(images) == 2))
    images = [images] if single else images
    if isinstance(images, str | os.PathLike) or (isinstance(images, NDData) and images.data.ndim == 2):
        raise ValueError(f"{name} is one image, but the bands are {', '.join(bands)}: give a dict of images by band")
    if isinstance(images, NDData):
        images = [NDData(images.data[i], mask=None if images.mask is None else images.mask[i], unit=images.unit,
                         wcs=images.wcs.celestial if images.wcs is not None else None, meta=images.meta)
                  for i in range(len(images.data))]
    elif not isinstance(images, list | tuple) and np.ndim(images) != 3:
        raise ValueError(f"{name} has the shape {np.shape(images)}; expected ({len(bands)}, h, w), or a dict of images "
                         f"by band: {', '.join(bands)}")
    if len(images) != len(bands):
        raise ValueError(f"{name} has {len(images)} images, but there are {len(bands)} bands: {', '.join(bands)}")
    pairs = [(band, _opened(image)) for band, image in zip(bands, images, strict=True)]
    for i, (band, image) in enumerate(pairs):
        stated = _stated_band(image)
        if stated and not any(_plain(band) == _plain(text) for text in stated):
            raise ValueError(f"{name}[{i}] states to be {' '.join(stated)}, but {band} is expected there: the order of "
                             f"the bands is {', '.join(bands)}; a dict of images by band has none")
    return pairs


def _stated_band(image):
    """What a header calls the band, all of it that could be a filter."""
    if not isinstance(image, NDData):
        return []
    texts = [str(image.meta[key]).strip() for key in _KEYWORDS if key in image.meta]
    return [text for text in texts if text and not text.upper().startswith("CLEAR")]


def _plain(band):
    return re.sub(r"[^a-z0-9]", "", str(band).lower())


def _common_wcs(parts, name):
    """The WCS of the first band that has one; the others must agree with it."""
    known = []
    for part in parts:
        if part.wcs is not None and getattr(part.wcs, "has_celestial", False):
            with warnings.catch_warnings():
                if known:  # one warning for all bands
                    warnings.simplefilter("ignore", AstropyUserWarning)
                known.append((part, without_stray_sip(part.wcs.celestial, part.data.shape, part.name)))
    if not known:
        return None
    (first, wcs), *others = known
    height, width = first.data.shape
    x, y = np.array([0, width - 1, 0, width - 1, width / 2]), np.array([0, 0, height - 1, height - 1, height / 2])
    sky = wcs.pixel_to_world(x, y)
    for part, own in others:
        there = own.world_to_pixel(sky)
        shift = np.hypot(there[0] - x, there[1] - y).max()
        if not shift < _SHIFT:
            raise ValueError(f"the WCS of {part.band} and {first.band} in {name} differ by {shift:.3g} pixels: bring "
                             "all bands to the same pixels first, with the reproject package for example")
    return wcs


def _sky(values, band):
    """
    Level and noise of the sky: where values are densest, and how they scatter below.

    Sources are above it, and may fill half of a small image, where a clipped median is no longer that of the sky.
    """
    values = np.sort(values[np.isfinite(values)])
    if not values.size:
        raise ValueError(f"the image in {band} has no pixels that are valid in all bands: the others are masked, or "
                         "not finite")
    level = np.median(values)
    for _ in range(_ROUNDS):
        below = values[: np.searchsorted(values, level)]
        noise = float(np.median(level - below)) / _HALF_NORMAL if below.size else 0.0
        if not noise > 0:
            raise ValueError(f"the image in {band} has no noise (most of its pixels are equal): give its uncertainty")
        edges = np.arange(level - 4 * noise, level + 4 * noise, noise / _BINS)
        density = gaussian_filter1d(np.diff(np.searchsorted(values, edges)).astype(float), _BINS * _KERNEL)
        level = edges[density.argmax()] + noise / _BINS / 2
    return float(level), noise
